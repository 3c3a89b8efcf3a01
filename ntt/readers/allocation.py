"""A file system's map of its clusters -> how many are in use, as far as that map was read at all."""

from __future__ import annotations

from collections.abc import Sequence

from ntt.model import Extent
from ntt.ranges import total, within
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.tsk_extents import HOLE, part_of

BITMAP_LIMIT = 64 << 20  # bytes of a bitmap that are read; a larger one is not counted
PIECE = 1 << 20


def unread_bytes(source: ImageSource, start: int, length: int) -> int:
    """How many bytes of `[start, start+length)` were not read from the medium, or lie beyond the image."""
    end = start + length
    inside = min(max(end, 0), source.size_bytes)
    return total(within(source.unread, start, inside)) + end - max(inside, min(start, end))


def bits_set(source: ImageSource, extents: Sequence[Extent], first: int, count: int) -> int:
    """How many of the bits `[first, first+count)` are set, the lowest of each byte being its first.

    `extents` are linear. ReadError, with what is missing, unless every byte is there and was read: no byte of a
    map is ever guessed. `first` must be a multiple of eight. OSError if the image cannot be read.
    """
    length = (count + 7) // 8
    if length > BITMAP_LIMIT:
        raise ReadError(f"it is larger than {BITMAP_LIMIT >> 20} MiB")
    pieces = part_of(extents, first // 8, length)
    missing = length - sum(piece.file_length for piece in pieces if piece.image_offset != HOLE)
    if missing:
        raise ReadError(f"{missing:,} of its bytes have no place on the volume")
    lost = sum(unread_bytes(source, piece.image_offset, piece.image_length) for piece in pieces)
    if lost:
        raise ReadError(f"{lost:,} of its bytes were not read")
    found, left = 0, count
    for piece in pieces:
        for at in range(0, piece.image_length, PIECE):
            raw = source.read(piece.image_offset + at, min(PIECE, piece.image_length - at))
            bits = int.from_bytes(raw, "little")
            if left < 8 * len(raw):
                bits &= (1 << left) - 1
            found += bits.bit_count()
            left -= 8 * len(raw)
    return found
