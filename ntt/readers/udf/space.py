"""An address on a UDF volume -> its block, its file entry, and where the content lies (ECMA-167, 4/12 and 4/14.14)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from ntt.model import Extent
from ntt.ranges import within
from ntt.readers.base import ReadError
from ntt.readers.udf.entries import (
    EMBEDDED,
    EXTENDED_ADS,
    LONG_ADS,
    SHORT_ADS,
    FileEntry,
    LongAd,
    file_entry,
)
from ntt.readers.udf.partitions import MetadataPartition, UdfImage, UdfPartition
from ntt.readers.udf.tags import CONTINUATION, INDIRECT, TAG_BYTES, tag_kind

HOLE = -1
_ORDINARY, _REWRITABLE_CHAIN = 4, 4096  # ICB strategies, ECMA-167, 4/14.6.2 and UDF 2.3.5.1
_RECORDED, _CONTINUES = 0, 3
_LENGTH = 0x3FFFFFFF
_MOST_INDIRECT = 1 << 16  # entries of one chain
_MOST_CONTINUATIONS = 1 << 17
_MOST_EXTENTS = 1 << 20
_SHORT, _LONG, _EXTENDED = struct.Struct("<II"), struct.Struct("<IIH6x"), struct.Struct("<IIIIH2x")


class Allocated(NamedTuple):
    """One allocation descriptor. `recorded` is less than `size_bytes` where the rest was never written."""

    kind: int
    size_bytes: int
    recorded: int
    partition: int
    block: int


class UdfSpace:
    """The partitions of a volume, by their reference numbers; filled while it is opened."""

    def __init__(self, image: UdfImage, block_bytes: int) -> None:
        self.image = image
        self.block_bytes = block_bytes
        self.partitions: list[UdfPartition] = []
        # on an honest volume each indirect entry belongs to one file, so the volume's size bounds them all together
        self._indirect_left = _MOST_INDIRECT + (image.readable_end - image.start) // block_bytes

    def pieces(self, partition: int, block: int, size_bytes: int) -> Iterator[tuple[int, int]]:
        if partition >= len(self.partitions):
            raise ReadError(f"there is no partition {partition}")
        return self.partitions[partition].pieces(block, size_bytes)

    def block(self, partition: int, block: int) -> tuple[int, bytes]:
        """(image offset, content) of one logical block; zeros where it was not read."""
        position, length = next(self.pieces(partition, block, self.block_bytes))
        if length < self.block_bytes:
            raise ReadError(f"block {block} of partition {partition} is in two places")
        return position, self.image.read(position, length)

    def require_read(self, position: int, end: int) -> None:
        """ReadError if any byte in `[position, end)` of the image was not read."""
        lost = within(self.image.unread, position, end) if position < end else ()
        if lost:
            raise ReadError(f"its description at byte {position} was not read", lost)

    # ---- file entries

    def entry(self, partition: int, block: int) -> FileEntry:
        """What the ICB that begins in this block says now; ReadError if that cannot be told."""
        found = self._direct(partition, block)
        if found.strategy == _ORDINARY:
            return found
        if found.strategy != _REWRITABLE_CHAIN:
            raise ReadError(f"its ICB has an unknown strategy ({found.strategy})")
        for _ in range(_MOST_INDIRECT):
            newer = self._indirect(found)
            if newer is None:
                return found
            self._indirect_left -= 1
            if self._indirect_left < 0:
                break
            found = self._direct(newer.partition, newer.block)
        raise ReadError("its chain of indirect ICB entries does not end")

    def _direct(self, partition: int, block: int) -> FileEntry:
        position, raw = self.block(partition, block)
        try:
            return self._sound(raw, partition, block, position)
        except ReadError:
            where = self.partitions[partition]
            for position, length in where.second_copy(block) if isinstance(where, MetadataPartition) else ():
                if length == self.block_bytes and not self.image.is_unread(position, length):
                    return self._sound(self.image.read(position, length), partition, block, position)
            raise

    def _sound(self, raw: bytes, partition: int, block: int, position: int) -> FileEntry:
        try:
            entry = file_entry(raw, partition, block, position)
        except ReadError:
            self.require_read(position, position + len(raw))
            raise
        # zeros that stand for unread bytes would not have passed the CRC: only what it leaves out is looked at
        checked_end = position + TAG_BYTES + int.from_bytes(raw[10:12], "little")
        content = 0 if entry.descriptor_kind == EMBEDDED else len(entry.allocation)
        self.require_read(checked_end, entry.allocation_at + content)
        return entry

    def _indirect(self, entry: FileEntry) -> LongAd | None:
        """The second block of an ICB of strategy 4096: empty, or where the newer version stands."""
        try:
            position, raw = self.block(entry.partition, entry.block + 1)
            self.require_read(position, position + len(raw))
        except ReadError as error:
            raise ReadError(f"whether it has a newer version cannot be told: {error}", error.unread) from None
        if int.from_bytes(raw[:2], "little") != INDIRECT:
            return None
        tag_kind(raw, entry.block + 1)
        icb = LongAd.parse(raw, 36)
        return icb if icb.size_bytes else None

    # ---- contents

    def extents(self, entry: FileEntry) -> list[Extent]:
        """Covering `[0, size)` exactly, holes included; ReadError if the descriptors do not."""
        if entry.descriptor_kind == EMBEDDED:
            if entry.size > len(entry.allocation):
                raise ReadError(f"it claims {entry.size} bytes, its ICB holds {len(entry.allocation)}")
            return [Extent(0, entry.size, entry.allocation_at, entry.size)] if entry.size else []
        found: list[Extent] = []
        at = 0
        for one in self._up_to_size(entry):
            length = min(one.size_bytes, entry.size - at)
            recorded = min(one.recorded, length)
            if recorded:
                for position, size_bytes in self.pieces(one.partition, one.block, recorded):
                    _append(found, Extent(at, size_bytes, position, size_bytes))
                    at += size_bytes
            if length > recorded:
                _append(found, Extent(at, length - recorded, HOLE, length - recorded))
                at += length - recorded
            if len(found) > _MOST_EXTENTS:
                raise ReadError("its content lies in too many pieces")
        if at < entry.size:
            raise ReadError(f"it claims {entry.size} bytes, its extents hold {at}")
        return found

    def first_byte(self, entry: FileEntry) -> int:
        """Image offset of the first byte that was recorded, -1 if there is none or it cannot be told."""
        if not entry.size:
            return -1
        if entry.descriptor_kind == EMBEDDED:
            return entry.allocation_at
        try:
            for one in self._up_to_size(entry):
                if one.recorded:
                    return next(self.pieces(one.partition, one.block, one.recorded))[0]
        except ReadError:
            pass  # only the order of reading depends on it; the read itself reports the cause
        return -1

    def content(self, entry: FileEntry, limit_bytes: int) -> bytes:
        """All of a small file; ReadError if it is larger, or any of it was not read."""
        if entry.size > limit_bytes:
            raise ReadError(f"it has {entry.size} bytes, more than such a file can have")
        parts: list[bytes] = []
        for extent in self.extents(entry):
            if extent.image_offset < 0:
                parts.append(bytes(extent.file_length))
                continue
            lost = within(self.image.unread, extent.image_offset, extent.image_offset + extent.image_length)
            if lost:
                raise ReadError(f"its content at byte {extent.image_offset} was not read", lost)
            parts.append(self.image.read(extent.image_offset, extent.image_length))
        return b"".join(parts)

    def _up_to_size(self, entry: FileEntry) -> Iterator[Allocated]:
        """Extents until the file's size is reached; only the last one may end inside a block."""
        left = entry.size
        if not left:
            return
        ragged = 0
        for one in self._allocated(entry):
            if ragged:
                raise ReadError(f"an extent of {ragged} bytes ends inside a block, and is not the last")
            yield one
            left -= one.size_bytes
            if left <= 0:
                return
            ragged = one.size_bytes if one.size_bytes % self.block_bytes else 0

    def _allocated(self, entry: FileEntry) -> Iterator[Allocated]:
        descriptors, partition = entry.allocation, entry.partition
        followed: set[tuple[int, int]] = set()
        while True:
            following: Allocated | None = None
            for one in _parsed(descriptors, entry.descriptor_kind, partition):
                if one.kind == _CONTINUES:
                    following = one
                    break
                if not one.size_bytes:
                    return
                yield one
            if following is None:
                return
            place = (following.partition, following.block)
            if place in followed or len(followed) >= _MOST_CONTINUATIONS:
                raise ReadError("its chain of allocation descriptors does not end")
            followed.add(place)
            descriptors, partition = self._continuation(following), following.partition

    def _continuation(self, where: Allocated) -> bytes:
        """The descriptors in an allocation extent (ECMA-167, 4/14.5); it may be longer than a block."""
        if not where.size_bytes:
            return b""
        position, raw = self.block(where.partition, where.block)
        size_bytes = int.from_bytes(raw[20:24], "little")
        self.require_read(position, position + min(24 + size_bytes, len(raw)))
        if tag_kind(raw, where.block) != CONTINUATION:
            raise ReadError(f"block {where.block} does not continue its allocation descriptors")
        if 24 + size_bytes > len(raw):
            raise ReadError("its allocation descriptors reach beyond their block")
        return raw[24 : 24 + size_bytes]


def _parsed(raw: bytes, kind: int, partition: int) -> Iterator[Allocated]:
    """ECMA-167, 4/14.14: the upper two bits of a length say whether it was recorded. ReadError for an unknown kind."""
    if kind == SHORT_ADS:
        for length, block in _SHORT.iter_unpack(raw[: len(raw) & ~7]):
            size = length & _LENGTH
            yield Allocated(length >> 30, size, 0 if length >> 30 else size, partition, block)
    elif kind == LONG_ADS:
        for length, block, reference in _LONG.iter_unpack(raw[: len(raw) & ~15]):
            size = length & _LENGTH
            yield Allocated(length >> 30, size, 0 if length >> 30 else size, reference, block)
    elif kind == EXTENDED_ADS:
        for length, recorded, information, block, reference in _EXTENDED.iter_unpack(raw[: len(raw) // 20 * 20]):
            yield _extended(length >> 30, length & _LENGTH, recorded & _LENGTH, information, reference, block)
    else:
        raise ReadError(f"its allocation descriptors are of an unknown kind ({kind})")


def _extended(kind: int, size: int, recorded: int, information: int, partition: int, block: int) -> Allocated:
    if kind == _CONTINUES or not size:
        return Allocated(kind, size, 0, partition, block)
    if information > size or recorded > size or (kind == _RECORDED and information not in (recorded, size)):
        raise ReadError("it is compressed in a way that its file system alone knows")
    return Allocated(kind, information or size, 0 if kind else min(recorded, information or size), partition, block)


def _append(extents: list[Extent], extent: Extent) -> None:
    """What continues the last extent in file and image makes it longer."""
    if extents:
        last = extents[-1]
        both_holes = last.image_offset < 0 and extent.image_offset < 0
        joined = last.image_offset >= 0 and last.image_offset + last.image_length == extent.image_offset
        if both_holes or joined:
            length = last.file_length + extent.file_length
            extents[-1] = Extent(last.file_offset, length, last.image_offset, length)
            return
    extents.append(extent)
