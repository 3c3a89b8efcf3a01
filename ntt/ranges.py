"""Sets of bytes as sorted, disjoint, half-open ranges: intersect, subtract, merge, measure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

Range = tuple[int, int]
Ranges = tuple[Range, ...]  # sorted by start, disjoint, never touching, never empty; end exclusive


def normalised(ranges: Iterable[Range]) -> Ranges:
    """Any ranges -> the same set of bytes, sorted, with touching and overlapping ones merged."""
    merged: list[Range] = []
    for start, end in sorted(r for r in ranges if r[0] < r[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return tuple(merged)


def within(ranges: Ranges, start: int, end: int) -> Ranges:
    """The part of `ranges` that lies in `[start, end)`; costs one bisection plus what it returns."""
    first = max(bisect_right(ranges, (start, start)) - 1, 0)
    found: list[Range] = []
    for at in range(first, len(ranges)):  # not a slice: that would copy all that follows
        low, high = ranges[at]
        if low >= end:
            break
        if high > start:
            found.append((max(low, start), min(high, end)))
    return tuple(r for r in found if r[0] < r[1])


def intersection(left: Ranges, right: Ranges) -> Ranges:
    """Bytes in both."""
    return normalised(piece for start, end in left for piece in within(right, start, end))


def difference(left: Ranges, right: Ranges) -> Ranges:
    """Bytes in `left` that are not in `right`."""
    kept: list[Range] = []
    for start, end in left:
        at = start
        for low, high in within(right, start, end):
            if at < low:
                kept.append((at, low))
            at = high
        if at < end:
            kept.append((at, end))
    return tuple(kept)


def total(ranges: Iterable[Range]) -> int:
    """How many bytes the set holds."""
    return sum(end - start for start, end in ranges)
