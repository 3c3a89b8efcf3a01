"""Forks of HFS and HFS+: allocation blocks -> extents in the image, and exact bytes out of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ntt.model import Extent
from ntt.ranges import Ranges, normalised, within
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.tsk_extents import merged, part_of

Pieces = tuple[tuple[int, int], ...]  # (first allocation block, blocks)


class Fork(NamedTuple):
    """A fork as its record has it: its bytes and its first pieces; the rest stands in the extents overflow file."""

    size: int
    pieces: Pieces


NO_FORK = Fork(0, ())


class Geometry(NamedTuple):
    """Allocation block 0 begins at `first_byte` of the image."""

    first_byte: int
    block_bytes: int
    blocks: int


def fork_extents(geometry: Geometry, size: int, pieces: Iterable[tuple[int, int]]) -> list[Extent]:
    """Extents that cover `[0, size)`. ReadError if the pieces are too few or lie outside the volume."""
    found: list[Extent] = []
    at = 0
    for start, count in pieces if size else ():
        if start + count > geometry.blocks:
            raise ReadError(f"{count} blocks at {start} lie outside the file system")
        length = min(count * geometry.block_bytes, size - at)
        if length:
            found.append(Extent(at, length, geometry.first_byte + start * geometry.block_bytes, length))
        at += length
        if at >= size:
            break
    if at < size:
        raise ReadError(f"its extents end {size - at} bytes early")
    return merged(found)


class ForkBytes:
    """A fork's bytes by offset."""

    def __init__(self, source: ImageSource, size: int, extents: Sequence[Extent]) -> None:
        self.source = source
        self.size = size
        self.extents = extents

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes, zeros where unread; ReadError if the fork does not hold them."""
        if offset < 0 or offset + length > self.size:
            raise ReadError(f"bytes {offset} to {offset + length} lie outside a fork of {self.size} bytes")
        try:
            parts = [self.source.read(piece.image_offset, piece.image_length) for piece in self.places(offset, length)]
        except (OSError, OverflowError) as error:
            raise ReadError(f"the image cannot be read: {error}") from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def certain(self, offset: int, length: int) -> bytes:
        """As `read`; ReadError, with where they lie, if not all of these bytes were read from the medium."""
        unread = self.unread(offset, length)
        if unread:
            raise ReadError("a part of what describes it was not read", unread)
        return self.read(offset, length)

    def unread(self, offset: int, length: int) -> Ranges:
        """The unread ones of these bytes, as places in the image."""
        if not self.source.unread:
            return ()
        return normalised(
            place
            for piece in self.places(offset, length)
            for place in within(self.source.unread, piece.image_offset, piece.image_offset + piece.image_length)
        )

    def places(self, offset: int, length: int) -> list[Extent]:
        """Where bytes `[offset, offset+length)` lie, numbered from 0."""
        return part_of(self.extents, offset, length)

    def lost(self, offset: int, length: int) -> Ranges:
        """The unread ones of these bytes, numbered from 0."""
        if not self.source.unread:
            return ()
        return normalised(
            (piece.file_offset + start - piece.image_offset, piece.file_offset + end - piece.image_offset)
            for piece in self.places(offset, length)
            for start, end in within(self.source.unread, piece.image_offset, piece.image_offset + piece.image_length)
        )


def span(places: Sequence[Extent]) -> tuple[int, int]:
    """Image offset and length of the smallest range that holds all of them."""
    start = min(place.image_offset for place in places)
    return start, max(place.image_offset + place.image_length for place in places) - start
