"""An opened and walked UDF volume -> the bytes that are the file system itself, and those that are in use."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from ntt.model import Extent, Structure
from ntt.ranges import Range, Ranges, difference, normalised, within
from ntt.readers.base import ReadError
from ntt.readers.taken import Taken
from ntt.readers.udf.entries import LongAd
from ntt.readers.udf.partitions import MetadataPartition, PlainPartition
from ntt.readers.udf.tags import ANCHOR, is_descriptor
from ntt.readers.udf.volume import SPARABLE, UdfVolume, partition_maps

_AREA_SECTORS = (16, 32)  # of 2048 bytes: the volume recognition sequence, ECMA-167, 2/8.3
_AREA_BYTES = 2048
_ANCHORS = (256, 512)
_BEFORE_END = (1, 257)
_LOST_LIMIT = 10_000
_SPACE_BITMAP = 264
_BITMAP_AT = 64  # in the partition header descriptor, ECMA-167, 4/14.3
_HEADER_AT = 56  # of that in the partition descriptor, 3/10.5
_LARGEST_BITMAP = 256 << 20
_LARGEST_SPARING_TABLE = 1 << 20
_CHUNK_BYTES = 512  # so that shifting its bits stays cheap


class Account:
    """Filled by a walk; places are bytes of the image. Holds directories, and ranges of the file entries."""

    def __init__(self) -> None:
        self._entries = Taken()
        self._lost: list[Structure] = []
        self._directories: list[Structure] = []

    def entry(self, start: int, end: int) -> None:
        self._entries.add(start, end)

    def lost_entry(self, ino: int, unread: Ranges) -> None:
        if len(self._lost) < _LOST_LIMIT:
            self._lost.extend(Structure(start, end, "file entry", ino) for start, end in unread)

    def directory(self, ino: int, extents: Sequence[Extent]) -> None:
        self._directories.extend(Structure(start, end, "directory", ino) for start, end in _places(extents))

    def structures(self) -> Iterator[Structure]:
        yield from self._directories
        yield from self._lost
        told = normalised((one.start, one.end) for one in self._lost)
        for start, end in difference(self._entries.ranges(), told):
            yield Structure(start, end, "file entry")


def fixed_structures(volume: UdfVolume) -> Iterator[Structure]:
    """What mounting needs. ReadError if the image cannot be read."""
    image, sector = volume.space.image, volume.descriptors.sector_bytes
    start, end = (image.start + at * _AREA_BYTES for at in _AREA_SECTORS)
    yield Structure(start, end, "volume recognition sequence", spare=True)
    last = (image.end - image.start) // sector
    for at in dict.fromkeys((*_ANCHORS, *(last - before for before in _BEFORE_END))):
        place = image.start + at * sector
        if at < 0 or place + 512 > image.end:
            continue
        if at == _ANCHORS[0] or is_descriptor(image.read(place, 512), ANCHOR, at):
            yield Structure(place, place + sector, "anchor", spare=True)
    for number, (size_bytes, first) in enumerate(volume.descriptors.sequences):
        place = image.start + first * sector
        yield Structure(place, place + size_bytes, "volume descriptors", spare=number > 0)
    size_bytes, first = struct.unpack_from("<II", volume.descriptors.logical, 432)
    if size_bytes:
        place = image.start + first * sector
        yield Structure(place, place + size_bytes, "integrity sequence", spare=True)
    for one in volume.space.partitions:
        if isinstance(one, MetadataPartition):
            yield from (Structure(*place, "metadata file") for place in _places(one.main))
            yield from (Structure(*place, "metadata mirror", spare=True) for place in _places(one.mirror))
    for number, table in enumerate(_sparing_tables(volume)):
        yield Structure(*table, "sparing table", spare=number > 0)
    yield from (Structure(*place, "file set descriptor") for place in _file_sets(volume))
    yield from (Structure(*place, "space bitmap", spare=True) for place in _bitmaps(volume).values())


def used_ranges(volume: UdfVolume, structures: Iterator[Structure]) -> Ranges | None:
    """By the space bitmaps, one bit for each block that is free (ECMA-167, 4/12.1); None without one."""
    bitmaps = _bitmaps(volume)
    plain = [one for one in volume.space.partitions if isinstance(one, PlainPartition)]
    starts = {one.start: one for one in plain}
    if not bitmaps or any(start not in bitmaps for start in starts):
        return None
    taken = Taken()
    for start, place in bitmaps.items():
        partition = starts.get(start)
        if partition is not None and not _read_bitmap(volume, partition, place, taken):
            return None
    for one in structures:
        taken.add(one.start, one.end)
    return taken.ranges()


def _bitmaps(volume: UdfVolume) -> dict[int, Range]:
    """Start of the partition -> where its bitmap of free space lies, both in bytes of the image."""
    found: dict[int, Range] = {}
    image, sector = volume.space.image, volume.descriptors.sector_bytes
    for block in volume.descriptors.partitions.values():
        size_bytes, at = struct.unpack_from("<II", block, _HEADER_AT + 8)
        (first,) = struct.unpack_from("<I", block, 188)
        size_bytes &= 0x3FFFFFFF
        if 24 < size_bytes <= _LARGEST_BITMAP:
            start = image.start + first * sector
            place = start + at * volume.space.block_bytes
            found[start] = (place, place + size_bytes)
    return found


def _read_bitmap(volume: UdfVolume, partition: PlainPartition, place: Range, taken: Taken) -> bool:
    """Its blocks that are not free, or not known to be. False if it is none."""
    image, block_bytes = volume.space.image, partition.block_bytes
    start, end = place
    head = image.read(start, 24)
    (bits,) = struct.unpack_from("<I", head, 16)
    if image.is_unread(start, 24) or int.from_bytes(head[:2], "little") != _SPACE_BITMAP:
        return False
    bits = min(bits, (end - start - 24) * 8, (partition.claimed_end - partition.start) // block_bytes)
    if bits > 0 and within(image.unread, start + 24, end) == ((start + 24, end),):
        return False
    for at in range(0, (bits + 7) // 8, _CHUNK_BYTES):
        length = min(_CHUNK_BYTES, (bits + 7) // 8 - at)
        free = int.from_bytes(image.read(start + 24 + at, length), "little")  # unread bytes are zeros: in use
        _take_runs(free, 8 * at, min(8 * length, bits - 8 * at), partition, taken)
    taken.add(partition.start + bits * block_bytes, partition.claimed_end)
    return True


def _take_runs(free: int, first: int, count: int, partition: PlainPartition, taken: Taken) -> None:
    """The stretches of zero bits among `count` of them; the lowest is that of block `first`."""
    in_use = ~free & ((1 << count) - 1)
    at = 0
    while in_use:
        skip = (in_use & -in_use).bit_length() - 1
        in_use >>= skip
        at += skip
        run = (~in_use & (in_use + 1)).bit_length() - 1
        low = partition.start + (first + at) * partition.block_bytes
        taken.add(low, low + run * partition.block_bytes)
        in_use >>= run
        at += run


def _places(extents: Sequence[Extent]) -> Iterator[Range]:
    for extent in extents:
        if extent.image_offset >= 0:
            yield extent.image_offset, extent.image_offset + extent.image_length


def _file_sets(volume: UdfVolume) -> Iterator[Range]:
    where = LongAd.parse(volume.descriptors.logical, 248)
    try:
        for position, length in volume.space.pieces(where.partition, where.block, where.size_bytes):
            yield position, position + length
    except ReadError:
        return  # it was found by searching


def _sparing_tables(volume: UdfVolume) -> Iterator[Range]:
    image, sector_bytes = volume.space.image, volume.descriptors.sector_bytes
    for one in partition_maps(volume.descriptors.logical):
        if one.kind == SPARABLE:
            _, count, _, size_bytes = struct.unpack_from("<HBBI", one.raw, 40)
            for (sector,) in struct.iter_unpack("<I", one.raw[48 : 48 + 4 * min(count, 4)]):
                start = image.start + sector * sector_bytes
                yield start, start + min(size_bytes, _LARGEST_SPARING_TABLE)
