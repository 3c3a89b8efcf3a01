"""A directory of NTFS -> its names: the index in its record, and the blocks of `$I30` where it has outgrown that."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ntt.model import Extent
from ntt.ranges import within
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.fat.directories import utf8
from ntt.readers.ntfs.attributes import NUMBER_MASK, NtfsAttributes, Whole
from ntt.readers.ntfs.records import EPOCH_1601, INDEX_ROOT, SECTOR_BYTES, whole_sectors
from ntt.readers.tsk_extents import HOLE, part_of

INDEX_ALLOCATION, INDEX_BITMAP = 0xA0, 0xB0
NAME = "$I30".encode("utf-16-le")
DOS_NAMESPACE = 2  # the short name beside the long one
LAST_ENTRY = 2
FLAG_DIRECTORY = 0x10000000
KEY_BYTES = 66
BLOCK_HEADER_BYTES = 24
BITMAP_LIMIT = 1 << 24


class FileName(NamedTuple):
    """A name and what it refers to, with what the index repeats of that."""

    record: int
    sequence: int
    name: bytes
    is_directory: bool
    mtime: tuple[int, int]  # seconds from 1970, nanoseconds


def file_name(reference: int, key: bytes) -> FileName | None:
    """`$FILE_NAME`, which the keys of a directory are too; None for short names. ReadError if it contradicts itself."""
    if len(key) < KEY_BYTES or KEY_BYTES + 2 * key[64] > len(key):
        raise ReadError("a name is cut short")
    if key[65] == DOS_NAMESPACE:
        return None
    (changed,) = struct.unpack_from("<Q", key, 16)
    (flags,) = struct.unpack_from("<I", key, 56)
    seconds, rest = divmod(changed - EPOCH_1601, 10_000_000) if changed else (0, 0)
    name = utf8(key[KEY_BYTES : KEY_BYTES + 2 * key[64]])
    is_directory = bool(flags & FLAG_DIRECTORY)
    return FileName(reference & NUMBER_MASK, reference >> 48, name, is_directory, (seconds, rest * 100))


class NtfsIndexes:
    """The directories of one volume. Everything raises ReadError for the directory in hand."""

    def __init__(self, source: ImageSource, attributes: NtfsAttributes) -> None:
        self._source = source
        self._attributes = attributes

    def names(self, ino: int) -> Iterator[FileName | str]:
        """In the order of the records; a sentence for what is damaged. What was not read is passed over."""
        root = self._root(ino)
        value, (start, _) = root.beginning.value, root.beginning.value_range
        yield from _entries(value, 16, min(root.record.known - start, len(value)))
        for places, is_certain in self._blocks(ino, root):
            yield from self._of_block(places, is_certain)

    def extents(self, ino: int) -> list[Extent]:
        """Where the names lie: the record's bytes in use, and the blocks in use."""
        root = self._root(ino)
        records = [self._attributes.records.record(ino)]
        if root.record is not records[0]:
            records.append(root.record)
        found = [piece for one in records for piece in part_of(one.extents, 0, whole_sectors(one.in_use_bytes))]
        blocks = self._attributes.find(ino, INDEX_ALLOCATION, NAME)
        if blocks is not None:
            for places, _ in self._blocks(ino, root):
                found.extend(self._used_of(places))
            found.extend(one for one in self._attributes.extents(blocks) if one.file_length != one.image_length)
        at, moved = 0, list[Extent]()
        for one in found:
            moved.append(Extent(at, one.file_length, one.image_offset, one.image_length))
            at += one.file_length
        return moved

    def is_lost_in_part(self, ino: int) -> bool:
        """Names of it may stand in bytes that were not read."""
        try:
            return any(
                one.image_offset != HOLE
                and within(self._source.unread, one.image_offset, one.image_offset + one.image_length)
                for one in self.extents(ino)
            )
        except ReadError as error:
            return bool(error.unread)

    def _root(self, ino: int) -> Whole:
        found = self._attributes.find(ino, INDEX_ROOT, NAME)
        if found is None or not found.beginning.is_resident:
            raise ReadError("it has no index of names")
        return found

    def _blocks(self, ino: int, root: Whole) -> Iterator[tuple[list[Extent], bool]]:
        """Where each block in use lies, and whether the directory's own map says that it is in use."""
        whole = self._attributes.find(ino, INDEX_ALLOCATION, NAME)
        if whole is None:
            return
        (block_bytes,) = struct.unpack_from("<I", root.beginning.value.ljust(12, b"\0"), 8)
        if not SECTOR_BYTES <= block_bytes <= 1 << 16 or block_bytes % SECTOR_BYTES:
            raise ReadError("its index is damaged")
        extents = [one for one in self._attributes.extents(whole) if one.file_length == one.image_length]
        count = min(whole.size, self._source.size_bytes + block_bytes) // block_bytes
        used = self._bitmap(ino)
        for number in range(count):
            if used is not None and number >> 3 < len(used) and not used[number >> 3] >> (number & 7) & 1:
                continue
            places = part_of(extents, number * block_bytes, block_bytes)
            if places and all(one.image_offset != HOLE for one in places):
                yield places, used is not None and number >> 3 < len(used)

    def _bitmap(self, ino: int) -> bytes | None:
        """None if it is not known."""
        try:
            whole = self._attributes.find(ino, INDEX_BITMAP, NAME)
            return None if whole is None else self._attributes.known_bytes(whole, BITMAP_LIMIT)
        except ReadError:
            return None

    def _of_block(self, places: Sequence[Extent], is_certain: bool) -> Iterator[FileName | str]:
        raw = self._attributes.bytes_at(places)
        known = self._known(places)
        if known < BLOCK_HEADER_BYTES + 16:
            return
        if raw[:4] != b"INDX":
            if is_certain:
                yield "a block of the directory is damaged: names may be missing"
            return
        fixed = _put_right(raw, known)
        if fixed is None:
            yield "a block of the directory was only written in part: names may be missing"
            return
        yield from _entries(fixed, BLOCK_HEADER_BYTES, min(known, len(fixed)))

    def _known(self, places: Sequence[Extent]) -> int:
        """How many bytes of a block were read from its start on."""
        for one in places:
            lost = within(self._source.unread, one.image_offset, one.image_offset + one.image_length)
            if lost:
                return one.file_offset + lost[0][0] - one.image_offset
        return sum(one.image_length for one in places)

    def _used_of(self, places: list[Extent]) -> list[Extent]:
        """The places of a block without what it does not use; that is looked up only where some of it was not read."""
        known = self._known(places)
        if known == sum(one.image_length for one in places) or known < BLOCK_HEADER_BYTES + 16:
            return places
        length = int.from_bytes(self._attributes.bytes_at(places)[28:32], "little")
        return part_of(places, 0, whole_sectors(BLOCK_HEADER_BYTES + length))


def _entries(index: bytes, header: int, known: int) -> Iterator[FileName | str]:
    """Entries of one node, of whose bytes the first `known` were read."""
    first, length = struct.unpack_from("<II", index, header)
    at, end = header + first, min(header + length, len(index))
    while at + 16 <= end:
        if at + 16 > known:
            return
        reference, entry_bytes, key_bytes, flags = struct.unpack_from("<QHHH", index, at)
        if flags & LAST_ENTRY:
            return
        if entry_bytes < 16 + KEY_BYTES or at + entry_bytes > end:
            break
        if at + entry_bytes > known:
            return
        try:
            found = file_name(reference, index[at + 16 : at + min(16 + key_bytes, entry_bytes)])
        except ReadError:
            break
        if found is not None:
            yield found
        at += entry_bytes
    yield "a part of the directory is damaged: names may be missing"


def _put_right(raw: bytes, known: int) -> bytes | None:
    """As with records: the end of each sector stands in the update sequence. None if it was written in part only."""
    at, count = struct.unpack_from("<HH", raw, 4)
    if at + 2 * count > known or (count - 1) * SECTOR_BYTES > len(raw):
        return None
    fixed = bytearray(raw)
    for sector in range(1, count):
        end = sector * SECTOR_BYTES
        if end > known:
            break
        if fixed[end - 2 : end] != raw[at : at + 2]:
            return None
        fixed[end - 2 : end] = raw[at + 2 * sector : at + 2 * sector + 2]
    return bytes(fixed)
