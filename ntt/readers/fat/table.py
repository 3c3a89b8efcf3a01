"""The allocation tables of a volume -> one table, each sector from the first copy in which it was read."""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from ntt.ranges import Range, Ranges, intersection, normalised, within
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.boot_sectors import FatGeometry
from ntt.readers.fat.facts import table_entries

BITS = {"fat12": 12, "fat16": 16, "fat32": 32, "exfat": 32}
FIRST = 2
WINDOW_BYTES = 3 << 14  # whole entries of every width
WINDOWS = 64
RUNS = re.compile(rb"\x01+")


class Window(NamedTuple):
    """Entries of the table, the first one numbered `first`."""

    first: int
    entries: array[int]


def unread_within(source: ImageSource, start: int, end: int) -> Ranges:
    """What of `[start, end)` was not read, or lies beyond the end of the image."""
    return normalised((*within(source.unread, start, end), (max(start, source.size_bytes), end)))


class FatTable:
    """Which bytes are looked at is decided once: a good copy stands in for what was not read in the one before it.

    `copies` are the places of the tables in the image, the one that is read first; `spares` of those that are never
    read, because they are not kept equal. `bytes` is how much of a table says something, in whole sectors. `lost` are
    the bytes that no copy has, counted from the start of the table.
    """

    def __init__(self, source: ImageSource, offset_bytes: int, geometry: FatGeometry) -> None:
        self._source = source
        self.bits = BITS[geometry.fstype]
        needed = -(-(FIRST + geometry.clusters) * self.bits // 8)
        self.full_bytes = geometry.table_bytes or needed
        self.bytes = min(-(-needed // geometry.sector_bytes) * geometry.sector_bytes, self.full_bytes)
        self.sector_bytes = geometry.sector_bytes
        self.behind = min(FIRST + geometry.clusters, self.bytes * 8 // self.bits)  # the number after the last entry
        self.top = 1 << (28 if geometry.fstype == "fat32" else self.bits)
        starts = [offset_bytes + geometry.table_at + copy * self.full_bytes for copy in range(geometry.tables)]
        only = geometry.only_table
        self.copies = starts if only < 0 else starts[only : only + 1]
        self.spares = [start for start in starts if start not in self.copies]
        self._unread = [self._unread_of(start) for start in self.copies]
        self.lost = self._unread[0]
        for unread in self._unread[1:]:
            self.lost = intersection(self.lost, unread)
        self._windows: dict[int, Window] = {}

    def _unread_of(self, start: int) -> Ranges:
        found = unread_within(self._source, start, start + self.bytes)
        return tuple((low - start, high - start) for low, high in found)

    def window(self, cluster: int) -> Window:
        """The entries around this one. ReadError if the image cannot be read."""
        index = cluster * self.bits // 8 // WINDOW_BYTES
        found = self._windows.get(index)
        if found is None:
            if len(self._windows) >= WINDOWS:
                del self._windows[next(iter(self._windows))]
            at = index * WINDOW_BYTES
            first = at * 8 // self.bits
            entries = self._entries(self._bytes(at, min(WINDOW_BYTES, self.bytes - at)))
            found = self._windows[index] = Window(first, entries[: self.behind - first])
        return found

    def _bytes(self, at: int, length: int) -> bytes:
        try:
            raw = bytearray(self._source.read(self.copies[0] + at, length))
            missing = within(self._unread[0], at, at + length)
            for start, unread in zip(self.copies[1:], self._unread[1:], strict=True):
                for low, high in missing:
                    raw[low - at : high - at] = self._source.read(start + low, high - low)
                missing = intersection(missing, unread)
        except (OSError, OverflowError) as error:
            raise ReadError(f"the image cannot be read at byte {self.copies[0] + at}: {error}") from None
        return bytes(raw)

    def _entries(self, raw: bytes) -> array[int]:
        if self.top != 1 << 32:
            return table_entries(raw, self.bits)
        found = array("I")  # of exFAT all bits are the number's
        found.frombytes(raw[: len(raw) // 4 * 4])
        if sys.byteorder == "big":
            found.byteswap()
        return found

    def cause(self, cluster: int) -> Ranges:
        """The unread bytes of the image for the sake of which this entry is not known; () if it is."""
        if not self.lost:
            return ()
        start, end = cluster * self.bits // 8, ((cluster + 1) * self.bits + 7) // 8
        if not within(self.lost, start, end):
            return ()
        sector = self.sector_bytes
        lost = within(self.lost, start // sector * sector, -(-end // sector) * sector)
        return normalised((copy + low, copy + high) for copy in self.copies for low, high in lost)

    def in_use(self) -> Iterator[Range]:
        """The numbers `[first, behind)` of clusters in use, ascending: neither free nor marked as bad, or not known.

        ReadError if the image cannot be read.
        """
        number, bad = FIRST, self.top - 9
        while number < self.behind:
            at = number * self.bits // 8 // WINDOW_BYTES * WINDOW_BYTES
            end = min(at + WINDOW_BYTES, self.bytes)
            behind = min(end * 8 // self.bits, self.behind)
            lost = within(self.lost, at, end)
            if lost == ((at, end),):
                yield number, behind
            elif number < behind:
                first, entries = self.window(number)
                flags = bytearray(map(bool, entries))
                if bad in entries:
                    flags = bytearray(value not in (0, bad) for value in entries)
                for low, high in lost:
                    low, high = low * 8 // self.bits - first, -(-high * 8 // self.bits) - first
                    flags[low:high] = b"\1" * (min(high, len(flags)) - low)
                found = RUNS.finditer(flags, number - first)
                yield from ((first + run.start(), first + run.end()) for run in found)
            number = max(behind, number + 1)
