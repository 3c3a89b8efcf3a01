"""An HFS or HFS+ volume -> where its own structures lie, and which allocation blocks its map has in use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ntt.model import Extent, Structure
from ntt.ranges import Range, within
from ntt.readers.allocation import BITMAP_LIMIT
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.hfs.files import HfsFiles
from ntt.readers.hfs.forks import ForkBytes, fork_extents
from ntt.readers.hfs.volume import HEADER_AT, HEADER_BYTES, HfsVolume

PIECE = 1 << 16


def hfs_structures(source: ImageSource, volume: HfsVolume, files: HfsFiles) -> Iterator[Structure]:
    """The header is spare where its copy, by which the volume was opened, was read instead of it."""
    name = "volume header" if volume.is_plus else "master directory block"
    first, copy = volume.headers
    is_spare = bool(within(source.unread, first, first + HEADER_BYTES))
    yield Structure(first, first + HEADER_BYTES, name, -1, is_spare)
    yield Structure(copy, copy + HEADER_BYTES, name, -1, True)
    yield from _fork("catalog", files.catalog)
    yield from _places("extents overflow file", _overflow(volume))
    if volume.is_plus:
        yield from _fork("attributes file", files.attributes)
        yield from _fork("allocation file", files.allocation, is_spare=True)
        yield from (Structure(start, end, "journal", -1, True) for start, end in volume.journal)
    else:
        yield Structure(volume.bitmap_at, volume.bitmap_at + -(-volume.geometry.blocks // 8), "bitmap", -1, True)


def _fork(name: str, fork: Callable[[], ForkBytes], is_spare: bool = False) -> Iterator[Structure]:
    try:
        extents = fork().extents
    except ReadError:
        return  # where it lies is not known either
    yield from _places(name, extents, is_spare)


def _overflow(volume: HfsVolume) -> Iterable[Extent]:
    try:
        return fork_extents(volume.geometry, volume.overflow.size, volume.overflow.pieces)
    except ReadError:
        return ()


def _places(name: str, extents: Iterable[Extent], is_spare: bool = False) -> Iterator[Structure]:
    for one in extents:
        yield Structure(one.image_offset, one.image_offset + one.image_length, name, -1, is_spare)


def hfs_used(source: ImageSource, volume: HfsVolume, files: HfsFiles) -> Iterator[Range] | None:
    """Blocks whose bit is set, or was not read; and all that lies before and behind the blocks."""
    geometry = volume.geometry
    length = min(-(-geometry.blocks // 8), BITMAP_LIMIT)
    try:
        extents: Iterable[Extent]
        if volume.is_plus:
            fork = files.allocation()
            extents = fork.places(0, min(length, fork.size))
        else:
            extents = (Extent(0, length, volume.bitmap_at, length),)
    except ReadError:
        return None
    return _used(source, volume, extents)


def _used(source: ImageSource, volume: HfsVolume, extents: Iterable[Extent]) -> Iterator[Range]:
    geometry = volume.geometry
    start, size = geometry.first_byte, geometry.block_bytes
    begun, told = volume.offset_bytes, 0  # what is in use and not yet yielded begins there; -1: nothing is
    for piece in _bits(source, extents):
        for bit in _changes(piece, begun < 0):
            block = told + bit
            if block >= geometry.blocks:
                break
            place = start + block * size
            if begun < 0:
                begun = place
            else:
                if begun < place:
                    yield begun, place
                begun = -1
        told += 8 * len(piece)
    behind = start + min(told, geometry.blocks) * size
    end = max(volume.headers[1] + HEADER_AT, start + geometry.blocks * size)
    rest = behind if begun < 0 else begun
    if rest < end:
        yield rest, end


def _changes(piece: bytes, is_free: bool) -> Iterator[int]:
    """The bits, the highest of each byte being its first, from which on blocks are in use, and are not, in turn.

    `is_free`: so was the block before.
    """
    state = 0 if is_free else 1
    for at, byte in enumerate(piece):
        if byte == (0xFF if state else 0):
            continue
        for bit in range(8):
            if byte >> (7 - bit) & 1 != state:
                state ^= 1
                yield 8 * at + bit


def _bits(source: ImageSource, extents: Iterable[Extent]) -> Iterator[bytes]:
    """Pieces of a map, with ones where it was not read."""
    for extent in extents:
        for at in range(0, extent.image_length, PIECE):
            start, length = extent.image_offset + at, min(PIECE, extent.image_length - at)
            raw = bytearray(source.read(start, length))
            for low, high in within(source.unread, start, start + length):
                raw[low - start : high - start] = b"\xff" * (high - low)
            yield bytes(raw)
