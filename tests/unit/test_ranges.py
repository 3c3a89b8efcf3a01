"""Ranges are sets of bytes: every operation is what it is for sets of integers."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ntt.ranges import Range, Ranges, difference, intersection, normalised, total, within

EDGE = 60
ANY_RANGES = st.lists(st.tuples(st.integers(0, EDGE), st.integers(0, EDGE)), max_size=12)
RANGES = ANY_RANGES.map(normalised)


def members(ranges: Ranges | list[Range]) -> set[int]:
    return {number for start, end in ranges for number in range(start, end)}


def assert_is(found: Ranges, wanted: set[int]) -> None:
    assert members(found) == wanted
    assert all(start < end for start, end in found), "never empty"
    assert all(left[1] < right[0] for left, right in pairwise(found)), "sorted, never touching"


@given(ANY_RANGES)
def test_normalised_is_the_same_set(ranges: list[Range]) -> None:
    assert_is(normalised(ranges), members(ranges))


@given(RANGES)
def test_normalised_leaves_alone_what_is_normal(ranges: Ranges) -> None:
    assert normalised(ranges) == ranges
    assert normalised(reversed(ranges)) == ranges


@given(RANGES, st.integers(0, EDGE), st.integers(0, EDGE))
def test_within_is_what_lies_inside(ranges: Ranges, start: int, end: int) -> None:
    assert_is(within(ranges, start, end), members(ranges) & set(range(start, end)))


@given(RANGES, RANGES)
def test_intersection_is_what_is_in_both(left: Ranges, right: Ranges) -> None:
    assert_is(intersection(left, right), members(left) & members(right))


@given(RANGES, RANGES)
def test_difference_is_what_is_in_the_first_only(left: Ranges, right: Ranges) -> None:
    assert_is(difference(left, right), members(left) - members(right))


@given(RANGES)
def test_total_counts_the_bytes(ranges: Ranges) -> None:
    assert total(ranges) == len(members(ranges))
