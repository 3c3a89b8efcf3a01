"""The bytes of a directory -> its names, going on behind whatever is broken (ECMA-167, 4/14.4; UDF 2.3.4)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ntt.model import Extent
from ntt.readers.base import ReadError
from ntt.readers.udf.entries import LongAd
from ntt.readers.udf.partitions import UdfImage
from ntt.readers.udf.tags import FILE_IDENTIFIER, tag_kind

_DIRECTORY, _DELETED, _PARENT, _METADATA = 2, 4, 8, 16
_HEAD = struct.Struct("<16xHBBIIH6xH")
_HEAD_BYTES = 38
_MAGIC = FILE_IDENTIFIER.to_bytes(2, "little")
_LONGEST = 2048  # a record is not longer than a block (UDF 2.3.4.6); smaller blocks are not insisted on
_WINDOW_BYTES = 1 << 20
_ALIGNED = 4
_CUT_OFF, _BROKEN = 0, -1  # in place of a record's size


class Identifier(NamedTuple):
    """One live name: `name` as it is stored (OSTA compressed Unicode)."""

    name: bytes
    icb: LongAd
    is_directory: bool
    is_metadata: bool


class Gap(NamedTuple):
    """Bytes of the directory, end exclusive, that hold no record."""

    start: int
    end: int


def identifiers(image: UdfImage, extents: Sequence[Extent]) -> Iterator[Identifier | Gap]:
    """Names in the order of the directory, without deleted ones and the parent. Holds a window, not the directory.

    ReadError if the image cannot be read.
    """
    scan = _Scan()
    for start, window in _windows(image, extents):
        yield from scan.take(start, window)
    yield from scan.end(extents[-1].file_offset + extents[-1].file_length if extents else 0)


class _Scan:
    """`_at`: where in the directory the buffer begins; `_broken`: where the gap that is being skipped began."""

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0
        self._broken: int | None = None

    def take(self, start: int, window: bytes) -> Iterator[Identifier | Gap]:
        if start != self._at + len(self._buffer):
            yield from self._parse(is_last=True)
            self._skip()
            self._at = start
        self._buffer += window
        yield from self._parse(is_last=False)

    def end(self, size_bytes: int) -> Iterator[Identifier | Gap]:
        yield from self._parse(is_last=True)
        if self._at < size_bytes:
            self._skip()
        if self._broken is not None:
            yield Gap(self._broken, size_bytes)

    def _skip(self) -> None:
        if self._broken is None:
            self._broken = self._at

    def _parse(self, *, is_last: bool) -> Iterator[Identifier | Gap]:
        buffer, used = self._buffer, 0
        while used < len(buffer):
            found, size = _record(buffer, used)
            if size > 0:
                if self._broken is not None:
                    yield Gap(self._broken, self._at + used)
                    self._broken = None
                if found is not None:
                    yield found
                used += size
            elif size == _CUT_OFF and not is_last:
                break
            else:
                if self._broken is None:
                    self._broken = self._at + used
                used = _resume(buffer, used + _ALIGNED)
        self._buffer = buffer[used:]
        self._at += used


def _record(buffer: bytes, at: int) -> tuple[Identifier | None, int]:
    """The live name that begins here, if it is one, and the record's size; or `_CUT_OFF`, or `_BROKEN`."""
    if at + _HEAD_BYTES > len(buffer):
        return None, _CUT_OFF
    _, flags, name_bytes, icb_bytes, block, partition, use_bytes = _HEAD.unpack_from(buffer, at)
    size = _HEAD_BYTES + use_bytes + name_bytes
    padded = size + 3 & ~3
    if buffer[at : at + 2] != _MAGIC or padded > _LONGEST or not _may_begin(buffer, at):
        return None, _BROKEN
    if at + padded > len(buffer):
        return None, _CUT_OFF
    if not _is_sound(buffer[at : at + padded]):
        return None, _BROKEN
    if flags & (_DELETED | _PARENT):
        return None, padded
    name = buffer[at + _HEAD_BYTES + use_bytes : at + size]
    icb = LongAd(icb_bytes & 0x3FFFFFFF, block, partition)
    return Identifier(name, icb, bool(flags & _DIRECTORY), bool(flags & _METADATA)), padded


def _is_sound(record: bytes) -> bool:
    try:
        tag_kind(record)
    except ReadError:
        return False
    return True


def _resume(buffer: bytes, at: int) -> int:
    """Where the next record may begin, they are aligned; the end of the buffer if nowhere."""
    while at < len(buffer):
        at = buffer.find(_MAGIC, at)
        if at < 0:
            break
        if at % _ALIGNED == 0 and _may_begin(buffer, at):
            return at
        at += 1
    return len(buffer)


def _may_begin(buffer: bytes, at: int) -> bool:
    if at + 16 > len(buffer):
        return True
    return (sum(buffer[at : at + 16]) - buffer[at + 4]) & 0xFF == buffer[at + 4]


def _windows(image: UdfImage, extents: Sequence[Extent]) -> Iterator[tuple[int, bytes]]:
    """(offset in the directory, bytes) of what the image holds; holes and what lies beyond its end are left out."""
    for extent in extents:
        if extent.image_offset < 0:
            continue
        length = min(extent.file_length, image.readable_end - extent.image_offset)
        for done in range(0, length, _WINDOW_BYTES):
            size = min(_WINDOW_BYTES, length - done)
            yield extent.file_offset + done, image.read(extent.image_offset + done, size)
