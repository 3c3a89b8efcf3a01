"""HFS+ compressed files: the `com.apple.decmpfs` attribute and the resource fork -> plain bytes.

The layout is that of Apple's published decmpfs.h: a header of 16 bytes (little-endian), then the content or, with
type 4, a resource of blocks that hold 64 KiB each.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ntt.model import Extent
from ntt.ranges import Ranges
from ntt.readers.base import ReadError
from ntt.readers.hfs.forks import ForkBytes, span

HEADER = struct.Struct("<4sIQ")
MAGIC = b"fpmc"
PLAIN_INLINE, ZLIB_INLINE, ZLIB_RESOURCE = 1, 3, 4
UNIT = 65_536
PACKED_LIMIT = 2 * UNIT
ZLIB_AT_BEST = 1032  # zlib never makes one byte out of more than this
NOT_PACKED = 0x0F  # low half of a first byte that no zlib stream has
NAMES = {7: "LZVN", 8: "LZVN", 9: "plain blocks", 10: "plain blocks", 11: "LZFSE", 12: "LZFSE"}


class OpenFile(Protocol):
    """A file's content: `read` gives exactly the bytes asked for, which lie inside `size`."""

    size: int

    def read(self, offset: int, length: int, /) -> bytes: ...

    def extents(self) -> Sequence[Extent]: ...


class Attribute(NamedTuple):
    """An attribute's value and the image range that holds it."""

    value: bytes
    offset: int
    length: int


def open_packed(attribute: Attribute, resource: ForkBytes) -> OpenFile:
    """ReadError if the header is damaged; a compression that is not known is one whenever it is read."""
    if len(attribute.value) < HEADER.size:
        raise ReadError("its compression header is cut short")
    magic, kind, size = HEADER.unpack_from(attribute.value)
    if magic != MAGIC:
        raise ReadError("its compression header is damaged")
    if kind == ZLIB_RESOURCE:
        return PackedFork(size, resource)
    if kind in (PLAIN_INLINE, ZLIB_INLINE):
        return PackedInline(size, kind, attribute)
    name = NAMES.get(kind, "unknown")
    return Refused(size, f"it is compressed in a way that is not known here (decmpfs type {kind}, {name})")


class Refused:
    """A file of known size that cannot be unpacked."""

    def __init__(self, size: int, reason: str, unread: Ranges = ()) -> None:
        self.size = size
        self._reason = reason
        self._unread = unread

    def read(self, _offset: int, _length: int) -> bytes:
        raise ReadError(self._reason, self._unread)

    def extents(self) -> Sequence[Extent]:
        raise ReadError(self._reason, self._unread)


class PackedInline:
    """The content stands behind the header."""

    def __init__(self, size: int, kind: int, attribute: Attribute) -> None:
        self.size = size
        self._attribute = attribute
        self._is_plain = kind == PLAIN_INLINE
        self._content: bytes | None = None

    def read(self, offset: int, length: int) -> bytes:
        if self._content is None:
            body = self._attribute.value[HEADER.size :]
            self._content = _exactly(body, self.size) if self._is_plain else unpacked(body, self.size)
        return self._content[offset : offset + length]

    def extents(self) -> Sequence[Extent]:
        if not self.size:
            return []
        header, attribute = HEADER.size, self._attribute
        length = attribute.length - header
        return [Extent(0, self.size, attribute.offset + header, length + (length == self.size))]


class PackedFork:
    """Blocks of 64 KiB, each compressed for itself, in the only resource of the resource fork."""

    def __init__(self, size: int, resource: ForkBytes) -> None:
        self.size = size
        self._resource = resource
        self._table_at = -1
        self._unit, self._content = -1, b""

    def read(self, offset: int, length: int) -> bytes:
        parts: list[bytes] = []
        end = offset + length
        while offset < end:
            unit, start = divmod(offset, UNIT)
            part = self._unit_bytes(unit)[start : start + end - offset]
            parts.append(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _unit_bytes(self, unit: int) -> bytes:
        if unit != self._unit:
            at, packed = self._place(unit)
            size = min(UNIT, self.size - unit * UNIT)
            is_lost = bool(self._resource.unread(at, packed))
            self._content = bytes(size) if is_lost else unpacked(self._resource.read(at, packed), size)
            self._unit = unit
        return self._content

    def _place(self, unit: int) -> tuple[int, int]:
        """Where a block lies in the fork. ReadError unless the table has as many blocks as the size needs."""
        if self._table_at < 0:
            (data_at,) = struct.unpack(">I", self._resource.certain(0, 4))
            (units,) = struct.unpack("<I", self._resource.certain(data_at + 4, 4))
            if units != -(-self.size // UNIT):
                raise ReadError(f"it has {units} compressed blocks where its size needs {-(-self.size // UNIT)}")
            self._table_at = data_at + 4
        at, packed = struct.unpack("<II", self._resource.certain(self._table_at + 4 + 8 * unit, 8))
        if not 0 < packed <= PACKED_LIMIT:
            raise ReadError("its table of compressed blocks is damaged")
        return self._table_at + at, packed

    def extents(self) -> Sequence[Extent]:
        """One for each block: any unread byte of its image range damages the whole block."""
        found: list[Extent] = []
        for start in range(0, self.size, UNIT):
            at, packed = self._place(start // UNIT)
            if at + packed > self._resource.size:
                raise ReadError("its table of compressed blocks is damaged")
            image_offset, image_length = span(self._resource.places(at, packed))
            length = min(UNIT, self.size - start)
            found.append(Extent(start, length, image_offset, image_length + (image_length == length)))
        return found


def unpacked(packed: bytes, size: int) -> bytes:
    """One block, exactly `size` bytes; ReadError otherwise."""
    if packed and packed[0] & NOT_PACKED == NOT_PACKED:
        return _exactly(packed[1:], size)
    if size > ZLIB_AT_BEST * len(packed) + UNIT:
        raise ReadError(f"{len(packed)} compressed bytes cannot hold {size}")
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(packed, size + 1)
    except zlib.error as error:
        raise ReadError(f"its compressed content is damaged: {error}") from None
    if size and not stream.eof:
        raise ReadError("its compressed content ends early")
    return _exactly(content, size)


def _exactly(content: bytes, size: int) -> bytes:
    if len(content) != size:
        raise ReadError(f"{len(content)} bytes were unpacked where {size} should be")
    return content
