"""Bytes that are in use, told one piece after another -> their ranges, in memory that does not follow the pieces."""

from __future__ import annotations

from ntt.ranges import Range, Ranges, normalised

MOST_RANGES = 100_000


class Taken:
    """Pieces in any order. Where they are too scattered to be held, the gaps between them are taken too, small ones
    first: such a place is not known to be free.
    """

    def __init__(self, most: int = MOST_RANGES) -> None:
        self._most = most
        self._start = self._end = 0  # the last piece, as long as others go on from it
        self._pending: list[Range] = []
        self._grain = 1

    def add(self, start: int, end: int) -> None:
        if start == self._end:  # writers put one behind the other
            self._end = max(end, start)
            return
        if self._start < self._end:
            self._pending.append((self._start, self._end))
            if len(self._pending) >= 2 * self._most:
                self._merge()
        self._start, self._end = start, end

    def ranges(self) -> Ranges:
        return normalised((*self._pending, (self._start, self._end)))

    def _merge(self) -> None:
        merged = normalised(self._pending)
        while len(merged) > self._most:
            self._grain *= 2
            merged = normalised((start, -(-end // self._grain) * self._grain) for start, end in merged)
        self._pending = list(merged)
