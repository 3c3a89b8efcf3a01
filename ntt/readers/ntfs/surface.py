"""An NTFS volume -> where its own structures lie, and which clusters its $Bitmap has in use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from ntt.model import Extent, Structure
from ntt.ranges import Range, within
from ntt.readers.allocation import BITMAP_LIMIT
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.boot_sectors import NtfsGeometry
from ntt.readers.ntfs.attributes import NtfsAttributes
from ntt.readers.ntfs.indexes import NtfsIndexes
from ntt.readers.ntfs.records import ATTRIBUTE_LIST, DATA, whole_sectors
from ntt.readers.tsk_extents import HOLE, part_of

BITMAP = 0xB0
MFT, CLUSTERS, EXTEND = 0, 6, 11
HIDDEN = {1: "$MFTMirr", 2: "$LogFile", 4: "$AttrDef", 6: "$Bitmap", 9: "$Secure", 10: "$UpCase", 11: "$Extend"}
NAMES_LIMIT = 4096
PIECE = 1 << 16
SAME_BYTES = re.compile(rb"\x00+|\xff+|[^\x00\xff]+")


class NtfsSurface:
    """`source` is the image as it was read, without what copies stand in for: those places are unread, but spare."""

    def __init__(
        self,
        source: ImageSource,
        geometry: NtfsGeometry,
        attributes: NtfsAttributes,
        indexes: NtfsIndexes,
    ) -> None:
        self._source = source
        self._geometry = geometry
        self._attributes = attributes
        self._records = attributes.records
        self._indexes = indexes
        self._start = attributes.offset_bytes
        self._end = self._start + geometry.size_bytes

    @property
    def is_damaged(self) -> bool:
        """Some of the volume was not read."""
        return bool(within(self._source.unread, self._start, self._end))

    # ------------------------------------------------------------ structures

    def structures(self) -> Iterator[Structure]:
        sector, mended = self._geometry.sector_bytes, self._attributes.source
        is_boot_read = not within(mended.unread, self._start, self._start + sector)
        was_boot_read = not within(self._source.unread, self._start, self._start + sector)
        yield Structure(self._start, self._start + sector, "boot sector", -1, is_boot_read and not was_boot_read)
        yield Structure(self._end - sector, self._end, "boot sector", -1, True)
        yield from self._table()
        for number, name in HIDDEN.items():
            yield from self._hidden(number, name)
        for number in self._extended():
            yield from self._hidden(number, "$Extend")
        if self.is_damaged:
            yield from self._attribute_lists()

    def _table(self) -> Iterator[Structure]:
        """The master file table: record by record where it was not read, in long pieces elsewhere."""
        size, unread = self._records.record_bytes, self._source.unread
        in_use = self._records_in_use()
        for extent in self._records.extents:
            start, end = extent.image_offset, extent.image_offset + extent.image_length
            if start == HOLE:
                continue
            at = start
            for low, high in within(unread, start, end):
                low, high = low - (low - start) % size, min(high + -(high - start) % size, end)
                if at < low:
                    yield Structure(at, low, "master file table")
                for place in range(max(at, low), high, size):
                    number = (extent.file_offset + place - start) // size
                    yield from self._record(number, place, min(place + size, end), in_use)
                at = max(at, high)
            if at < end:
                yield Structure(at, end, "master file table")
        yield from self._clusters_of(MFT, "map of records", lambda kind: kind == BITMAP)

    def _record(self, number: int, start: int, end: int, in_use: bytes | None) -> Iterator[Structure]:
        """A record of which some was not read: what it does not use, or what a copy stands in for, is spare."""
        is_spare = in_use is not None and number >> 3 < len(in_use) and not in_use[number >> 3] >> (number & 7) & 1
        used = end - start
        if not is_spare:
            try:
                record = self._records.record(number)
                used = whole_sectors(record.in_use_bytes)
                is_spare = not within(self._attributes.source.unread, start, start + used)
                is_spare = is_spare and bool(within(self._source.unread, start, start + used))
            except ReadError:
                pass
        middle = min(start + used, end)
        yield Structure(start, middle, "master file table", number, is_spare)
        if middle < end:
            yield Structure(middle, end, "master file table", number, True)

    def _records_in_use(self) -> bytes | None:
        """$MFT's own map of its records; what was not read of it counts as in use. None if it is not known."""
        try:
            whole = self._attributes.find(MFT, BITMAP)
            if whole is None:
                return None
            limit = self._records.count // 8 + 1
            extents = part_of(self._attributes.extents(whole), 0, min(whole.size, limit))
            return b"".join(self._known_bits(extents))
        except (ReadError, OSError):
            return None

    def _hidden(self, number: int, name: str) -> Iterator[Structure]:
        """The clusters of one of the files that the file system keeps for itself, and does not need for reading."""
        yield from self._clusters_of(number, name, lambda _: True)

    def _clusters_of(self, number: int, name: str, wanted: Callable[[int], bool]) -> Iterator[Structure]:
        try:
            found = [
                one for one in self._attributes.whole_in(self._records.record(number)) if wanted(one.beginning.kind)
            ]
            extents = [extent for one in found for extent in self._attributes.extents(one)]
        except ReadError:
            return
        for one in extents:
            if one.image_offset != HOLE:
                yield Structure(one.image_offset, one.image_offset + one.image_length, name, -1, True)

    def _extended(self) -> Iterator[int]:
        """Records below $Extend: quotas, object ids, the change journal, what Windows keeps of transactions."""
        pending, seen = [EXTEND], {EXTEND}
        while pending and len(seen) < NAMES_LIMIT:
            try:
                for found in self._indexes.names(pending.pop()):
                    if isinstance(found, str) or found.record in seen:
                        continue
                    seen.add(found.record)
                    if found.is_directory:
                        pending.append(found.record)
                    yield found.record
            except ReadError:
                continue

    def _attribute_lists(self) -> Iterator[Structure]:
        """Lists that lie in clusters, and records of theirs that were not read; each file's record is looked at."""
        for number in range(self._records.count):
            try:
                record = self._records.record(number)
                if not record.is_used or record.base:
                    continue
                found = record.first(ATTRIBUTE_LIST)
                if found is None:
                    continue
                if not found.is_resident:
                    for whole in self._attributes.whole_in(record):
                        if whole.beginning.kind == ATTRIBUTE_LIST:
                            yield from _places(self._attributes.extents(whole), number)
                for holder in {one.record for one in self._attributes.listed(number) or ()} - {number}:
                    yield from self._lost_holder(number, holder)
            except ReadError:
                continue

    def _lost_holder(self, ino: int, number: int) -> Iterator[Structure]:
        try:
            lost = self._records.record(number).lost
        except ReadError as error:
            lost = error.unread
        for start, end in lost:
            yield Structure(start, end, "attribute list", ino)

    # ------------------------------------------------------------ what is in use

    def used(self) -> Iterator[Range] | None:
        try:
            whole = self._attributes.find(CLUSTERS, DATA)
            if whole is None:
                return None
            extents = self._attributes.extents(whole)
        except ReadError as error:
            return iter(((self._start, self._end),)) if error.unread else None
        return self._used(part_of(extents, 0, min(-(-self._attributes.clusters // 8), BITMAP_LIMIT)))

    def _used(self, extents: Sequence[Extent]) -> Iterator[Range]:
        """What the map is too short for, the last sector at least, counts as in use."""
        size, end = self._geometry.cluster_bytes, self._end - self._geometry.sector_bytes
        told = 8 * sum(extent.file_length for extent in extents) * size
        end = min(end, self._start + min(told, self._attributes.clusters * size))
        for first, last in _runs_of_bits(self._known_bits(extents)):
            start = self._start + first * size
            if start < end:
                yield start, min(self._start + last * size, end)
        yield end, self._end

    def _known_bits(self, extents: Sequence[Extent]) -> Iterator[bytes]:
        """Pieces of a map; all ones where it was not read, or has no place."""
        for extent in extents:
            for at in range(0, extent.file_length, PIECE):
                length = min(PIECE, extent.file_length - at)
                if extent.image_offset == HOLE or extent.file_length != extent.image_length:
                    yield b"\xff" * length
                    continue
                start = extent.image_offset + at
                raw = bytearray(self._attributes.source.read(start, length))
                for low, high in within(self._attributes.source.unread, start, start + length):
                    raw[low - start : high - start] = b"\xff" * (high - low)
                yield bytes(raw)


def _places(extents: Iterable[Extent], ino: int) -> Iterator[Structure]:
    for one in extents:
        if one.image_offset != HOLE:
            yield Structure(one.image_offset, one.image_offset + one.image_length, "attribute list", ino)


def _runs_of_bits(pieces: Iterable[bytes]) -> Iterator[Range]:
    """Runs of set bits, the lowest of each byte being its first; ascending, neighbours joined."""
    start, end, at = -1, -1, 0
    for piece in pieces:
        for found in SAME_BYTES.finditer(piece):
            for first, last in _set_in(found.group(), at + 8 * found.start()):
                if first == end:
                    end = last
                    continue
                if start >= 0:
                    yield start, end
                start, end = first, last
        at += 8 * len(piece)
    if start >= 0:
        yield start, end


def _set_in(same: bytes, at: int) -> Iterator[Range]:
    if same[0] == 0:
        return
    if same[0] == 0xFF:
        yield at, at + 8 * len(same)
        return
    for byte in same:
        for bit in range(8):
            if byte >> bit & 1:
                yield at + bit, at + bit + 1
        at += 8
