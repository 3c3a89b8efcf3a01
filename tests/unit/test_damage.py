"""Extents and unread bytes of the image -> exactly those bytes of the file that are not certain."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ntt.copier.damage import certainly_damaged, damaged_ranges, stored_ranges
from ntt.model import Extent
from ntt.ranges import Ranges, normalised

HOLE = -1
UNREAD = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), max_size=8).map(normalised)


@st.composite
def files(draw: st.DrawFn) -> list[Extent]:
    """A file in pieces: linear, holes, and compressed units that are shorter in the image than in the file."""
    extents: list[Extent] = []
    at = 0
    for _ in range(draw(st.integers(0, 6))):
        length = draw(st.integers(1, 20))
        kind = draw(st.sampled_from(["linear", "hole", "unit", "vague"]))
        image_length = {"linear": length, "hole": 0}.get(kind, draw(st.integers(1, 30)))
        image_offset = HOLE if kind == "hole" else draw(st.integers(0, 180))
        extents.append(Extent(at, length, image_offset, image_length, kind == "vague"))
        at += length
    return extents


def bytes_of(ranges: Ranges) -> set[int]:
    return {at for start, end in ranges for at in range(start, end)}


@given(files(), UNREAD)
def test_each_byte_is_damaged_if_and_only_if_what_it_comes_from_was_not_read(
    extents: list[Extent], unread: Ranges
) -> None:
    lost = bytes_of(unread)
    wanted: set[int] = set()
    for extent in extents:
        for at in range(extent.file_length):
            if extent.image_offset == HOLE:
                continue
            if extent.file_length == extent.image_length and not extent.vague:
                comes_from = {extent.image_offset + at}
            else:
                comes_from = set(range(extent.image_offset, extent.image_offset + extent.image_length))
            if comes_from & lost:
                wanted.add(extent.file_offset + at)
    assert bytes_of(damaged_ranges(extents, unread)) == wanted


@given(files(), UNREAD)
def test_the_ranges_are_in_order_and_lie_in_what_is_stored(extents: list[Extent], unread: Ranges) -> None:
    found = damaged_ranges(extents, unread)
    assert found == normalised(found)
    assert bytes_of(found) <= bytes_of(stored_ranges(extents))


@given(files())
def test_what_is_stored_is_all_but_the_holes(extents: list[Extent]) -> None:
    holes = {e.file_offset + at for e in extents if e.image_offset == HOLE for at in range(e.file_length)}
    everything = set(range(sum(extent.file_length for extent in extents)))
    assert bytes_of(stored_ranges(extents)) == everything - holes


def test_a_piece_that_lies_twice_in_the_image_is_damaged_where_it_is_read_from() -> None:
    extents = [Extent(0, 100, 5000, 100), Extent(100, 50, 1000, 50)]
    assert damaged_ranges(extents, ((1010, 1020), (5090, 6000))) == ((90, 100), (110, 120))


def test_touching_pieces_become_one_range() -> None:
    extents = [Extent(0, 512, 4096, 512), Extent(512, 512, 1024, 512)]
    assert damaged_ranges(extents, ((1024, 1100), (4500, 4608))) == ((404, 588),)


def test_a_medium_without_damage_damages_nothing() -> None:
    assert damaged_ranges([Extent(0, 512, 0, 512)], ()) == ()
    assert damaged_ranges([], ((0, 1 << 60),)) == ()


@given(files(), UNREAD)
def test_what_lies_nobody_knows_where_is_never_certain_to_be_damaged(extents: list[Extent], unread: Ranges) -> None:
    certain = bytes_of(certainly_damaged(extents, unread))
    vague = {at for e in extents if e.vague for at in range(e.file_offset, e.file_offset + e.file_length)}
    assert certain == bytes_of(damaged_ranges(extents, unread)) - vague
