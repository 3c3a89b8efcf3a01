"""Bytes of directories -> their records; a file's number -> its entry.

The Sleuth Kit numbers all 32-byte records of the volume, beginning with the first that can lie in a directory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ntt.model import Extent
from ntt.ranges import within
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.boot_sectors import FatGeometry
from ntt.readers.fat.directories import (
    EXFAT_FILE,
    RECORD_BYTES,
    FatEntry,
    Record,
    exfat_checksum,
    exfat_entries,
    fat_entries,
)
from ntt.readers.fat.table import FIRST, FatTable, unread_within
from ntt.readers.tsk_extents import HOLE

FIRST_INO = 3
READ_AT_ONCE = 1 << 16
SET_LIMIT = 19  # records of one file on exFAT


class Listing:
    """The records of a directory up to the one that says that no more follow; `is_ended`: that one was met."""

    def __init__(self, records: Iterator[Record]) -> None:
        self._records = records
        self.is_ended = False

    def __iter__(self) -> Iterator[Record]:
        for record in self._records:
            if record.raw[:1] == b"\0":
                self.is_ended = True
                return
            yield record


class FatRecords:
    def __init__(self, source: ImageSource, offset_bytes: int, geometry: FatGeometry, table: FatTable) -> None:
        self._source = source
        self._area = offset_bytes + geometry.directory_area
        self._clusters_at = offset_bytes + geometry.clusters_at
        self._cluster_bytes = geometry.cluster_bytes
        self._is_exfat = geometry.fstype == "exfat"
        self._table = table

    def ino(self, position: int) -> int:
        return FIRST_INO + (position - self._area) // RECORD_BYTES

    def _position(self, ino: int) -> int:
        return self._area + (ino - FIRST_INO) * RECORD_BYTES

    def of(self, extents: Sequence[Extent]) -> Iterator[Record]:
        """All records of a directory, those that were not read without their bytes. ReadError as `ImageSource`."""
        for extent in extents:
            if extent.image_offset == HOLE:
                continue
            for start in range(0, extent.image_length, READ_AT_ONCE):
                length = min(READ_AT_ONCE, extent.image_length - start)
                yield from self._at(extent.image_offset + start, length)

    def _at(self, position: int, length: int) -> Iterator[Record]:
        content = self._bytes(position, length)
        unread = unread_within(self._source, position, position + length)
        for at in range(0, length - RECORD_BYTES + 1, RECORD_BYTES):
            place = position + at
            is_lost = bool(unread) and bool(within(unread, place, place + RECORD_BYTES))
            yield Record(place, b"" if is_lost else content[at : at + RECORD_BYTES])

    def _bytes(self, position: int, length: int) -> bytes:
        try:
            return self._source.read(position, length)
        except (OSError, OverflowError) as error:
            raise ReadError(f"the image cannot be read at byte {position}: {error}") from None

    def entry(self, ino: int) -> FatEntry:
        """ReadError if no entry stands there, or not all of it was read."""
        position = self._position(ino)
        if ino < FIRST_INO:
            raise ReadError(f"there is no file with number {ino}")
        records = self._set(position) if self._is_exfat else list(self._at(position, RECORD_BYTES))
        for record in records:
            if not record.raw:
                cause = unread_within(self._source, record.position, record.position + RECORD_BYTES)
                raise ReadError("its record was not read", cause)
        found = next(exfat_entries(records) if self._is_exfat else fat_entries(records), None)
        if not isinstance(found, FatEntry) or found.is_label or found.position != position:
            raise ReadError("its record is damaged, or is none")
        return found

    def _set(self, position: int) -> list[Record]:
        """The records of one file: they may go on in the next cluster of a chain, or in the one behind."""
        head = self._bytes(position, 2)
        count = min(head[1] + 1, SET_LIMIT) if head[0] == EXFAT_FILE else 1
        at = (position - self._clusters_at) % self._cluster_bytes
        here = min(count * RECORD_BYTES, self._cluster_bytes - at)
        records = list(self._at(position, here))
        rest = count * RECORD_BYTES - here
        if not rest or not all(record.raw for record in records):
            return records
        stated = int.from_bytes(records[0].raw[2:4], "little")
        for start in self._next_clusters((position - self._clusters_at) // self._cluster_bytes + FIRST):
            found = [*records, *self._at(start, rest)]
            if exfat_checksum(b"".join(record.raw for record in found)) == stated:
                return found
        raise ReadError("its records go on in another cluster, which could not be told, or are damaged")

    def _next_clusters(self, cluster: int) -> Iterator[int]:
        behind = self._table.behind
        if not FIRST <= cluster < behind:
            return
        window = self._table.window(cluster)
        for number in (window.entries[cluster - window.first], cluster + 1):
            if FIRST <= number < behind:
                yield self._clusters_at + (number - FIRST) * self._cluster_bytes
