"""The partitions of a UDF volume: a logical block and a length -> where it lies in the image (UDF 2.2.8 to 2.2.13)."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Protocol

from ntt.model import Extent
from ntt.ranges import Ranges, normalised, within
from ntt.readers.base import ImageSource, ReadError

Piece = tuple[int, int]  # image offset and length, in bytes
UNUSED = 0xFFFFFFFF


class UdfImage:
    """The part of an image that is the volume; positions are image bytes. Unread is also what lies beyond its end."""

    def __init__(self, source: ImageSource, offset_bytes: int, size_bytes: int) -> None:
        self.source = source
        self.start = offset_bytes
        self.end = offset_bytes + size_bytes if size_bytes > 0 else source.size_bytes
        self.readable_end = min(self.end, source.size_bytes)
        self.unread: Ranges = normalised((*source.unread, (source.size_bytes, 1 << 63)))

    def read(self, position: int, length: int) -> bytes:
        """As `ImageSource.read`; ReadError if the image file cannot be read."""
        try:
            return self.source.read(position, length)
        except (OSError, OverflowError) as error:
            raise ReadError(f"the image cannot be read: {error}") from None

    def is_unread(self, position: int, length: int) -> bool:
        return bool(within(self.unread, position, position + length))


class UdfPartition(Protocol):
    """What a partition reference number stands for."""

    def pieces(self, block: int, size_bytes: int) -> Iterator[Piece]:
        """In order, covering the bytes exactly; ReadError for what is not in the partition."""
        ...


class PlainPartition:
    """Type 1: block 0 is the partition's first. A block beyond it is taken only if the image holds it."""

    def __init__(self, image: UdfImage, start: int, blocks: int, block_bytes: int) -> None:
        self.image = image
        self.start = start
        self.block_bytes = block_bytes
        self.claimed_end = start + blocks * block_bytes
        self._limit = max(self.claimed_end, image.end)

    def pieces(self, block: int, size_bytes: int) -> Iterator[Piece]:
        position = self.start + block * self.block_bytes
        if position + size_bytes > self._limit:
            raise ReadError(f"block {block} ({size_bytes} bytes) lies outside its partition")
        yield position, size_bytes


class SparablePartition(PlainPartition):
    """A rewritable CD: packets that went bad are elsewhere (UDF 2.2.9, 2.2.12).

    `remapped`: first block of a packet -> image offset of its replacement.
    """

    def __init__(self, plain: PlainPartition, packet_blocks: int, remapped: dict[int, int]) -> None:
        super().__init__(plain.image, plain.start, 0, plain.block_bytes)
        self.claimed_end = plain.claimed_end
        self._limit = max(self.claimed_end, plain.image.end)
        self._packet_bytes = packet_blocks * plain.block_bytes
        self._remapped = sorted((block * plain.block_bytes, to) for block, to in remapped.items())

    def pieces(self, block: int, size_bytes: int) -> Iterator[Piece]:
        ((position, _),) = super().pieces(block, size_bytes)
        at = block * self.block_bytes
        end, shift = at + size_bytes, position - at
        first = bisect_left(self._remapped, (at - self._packet_bytes + 1, -1))
        for index in range(first, len(self._remapped)):
            packet, to = self._remapped[index]
            if packet >= end:
                break
            low, high = max(packet, at), min(packet + self._packet_bytes, end)
            if low > at:
                yield at + shift, low - at
            if low < high:
                yield to + low - packet, high - low
                at = high
        if at < end:
            yield at + shift, end - at


class VirtualPartition:
    """A write-once disc: a table says where each block was written last (UDF 2.2.8, 2.2.11)."""

    def __init__(self, physical: PlainPartition, table: array[int]) -> None:
        self._physical = physical
        self._table = table

    def pieces(self, block: int, size_bytes: int) -> Iterator[Piece]:
        block_bytes = self._physical.block_bytes
        for index in range(-(-size_bytes // block_bytes)):
            written = self._table[block + index] if block + index < len(self._table) else UNUSED
            if written == UNUSED:
                raise ReadError(f"virtual block {block + index} is not in use")
            yield from self._physical.pieces(written, min(block_bytes, size_bytes - index * block_bytes))


class MetadataPartition:
    """UDF 2.2.10: the blocks of a file, and of its mirror, which is read where the file itself was not."""

    def __init__(self, image: UdfImage, block_bytes: int, main: Sequence[Extent], mirror: Sequence[Extent]) -> None:
        self._image = image
        self._block_bytes = block_bytes
        self._main = self.main = main
        self._mirror = self.mirror = mirror

    def pieces(self, block: int, size_bytes: int) -> Iterator[Piece]:
        at = block * self._block_bytes
        for position, length in _mapped(self._main, at, size_bytes):
            if self._mirror and self._image.is_unread(position, length):
                yield from self._by_block(at, position, length)
            else:
                yield position, length
            at += length

    def _by_block(self, at: int, position: int, size_bytes: int) -> Iterator[Piece]:
        for done in range(0, size_bytes, self._block_bytes):
            length = min(self._block_bytes, size_bytes - done)
            own = (position + done, length)
            if self._image.is_unread(*own):
                other = self._from_mirror(at + done, length)
                yield from other if other and not any(self._image.is_unread(*piece) for piece in other) else [own]
            else:
                yield own

    def _from_mirror(self, at: int, length: int) -> list[Piece]:
        try:
            return list(_mapped(self._mirror, at, length))
        except ReadError:
            return []

    def second_copy(self, block: int) -> list[Piece]:
        """Where the mirror has this block; empty if it has not."""
        return self._from_mirror(block * self._block_bytes, self._block_bytes)


def _mapped(extents: Sequence[Extent], at: int, size_bytes: int) -> Iterator[Piece]:
    end = at + size_bytes
    index = bisect_right(extents, at, key=_file_offset) - 1
    while at < end:
        if not 0 <= index < len(extents) or at >= extents[index].file_offset + extents[index].file_length:
            raise ReadError(f"byte {at} of the metadata partition does not exist")
        extent = extents[index]
        if extent.image_offset < 0:
            raise ReadError(f"byte {at} of the metadata partition was never recorded")
        length = min(end, extent.file_offset + extent.file_length) - at
        yield extent.image_offset + at - extent.file_offset, length
        at += length
        index += 1


def _file_offset(extent: Extent) -> int:
    return extent.file_offset
