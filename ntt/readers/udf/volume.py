"""Volume descriptors -> the partitions that files are addressed in, and the root directory's address."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ntt.readers.base import ReadError
from ntt.readers.udf.descriptors import Descriptors, find_descriptors
from ntt.readers.udf.entries import DIRECTORY, LongAd
from ntt.readers.udf.partitions import (
    MetadataPartition,
    PlainPartition,
    SparablePartition,
    UdfImage,
    VirtualPartition,
)
from ntt.readers.udf.root import root_directory
from ntt.readers.udf.space import UdfSpace
from ntt.readers.udf.tags import identifier, tag_kind
from ntt.readers.udf.vat import VirtualTable, find_virtual_table

_MOST_MAPS = 64
_MOST_PACKETS = 1 << 16
_PLAIN, _NAMED = 1, 2
VIRTUAL, SPARABLE, METADATA = b"*UDF Virtual Partition", b"*UDF Sparable Partition", b"*UDF Metadata Partition"
_SPARING_TABLE = b"*UDF Sparing Table"
_LARGEST_METADATA_FILE = 1 << 40
_AVAILABLE, _DEFECTIVE = 0xFFFFFFFF, 0xFFFFFFF0


@dataclass(frozen=True, slots=True)
class PartitionMap:
    """ECMA-167, 3/10.7. `kind` is empty for type 1, else the name in the map."""

    kind: bytes
    number: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class UdfVolume:
    """An opened volume. `doubts` are reasons why the listing may be incomplete or old; `remarks` are merely odd."""

    space: UdfSpace
    descriptors: Descriptors
    root: LongAd
    table: VirtualTable | None
    remarks: tuple[str, ...]
    doubts: tuple[str, ...]


def open_udf(image: UdfImage, session_bytes: int = 0) -> UdfVolume:
    """The newest volume that is described and whose root directory can be read; ReadError if there is none."""
    first: ReadError | None = None
    for descriptors in find_descriptors(image, session_bytes):
        try:
            volume = _Opening(image, descriptors).run()
            root = volume.space.entry(volume.root.partition, volume.root.block)
            if root.file_type != DIRECTORY:
                raise ReadError("the root directory is none")
        except ReadError as error:
            first = first or error
        else:
            return volume
    raise first or ReadError("no UDF volume")


def block_bytes_of(descriptors: Descriptors) -> int:
    """ReadError unless it is a power of two, and a multiple of the sectors that the anchor was found in."""
    (size,) = struct.unpack_from("<I", descriptors.logical, 212)
    if size not in (512, 1024, 2048, 4096, 8192, 16384, 32768) or size % descriptors.sector_bytes:
        raise ReadError(f"logical blocks of {size} bytes on sectors of {descriptors.sector_bytes}")
    return int(size)


def partition_maps(logical: bytes) -> list[PartitionMap]:
    """In the order of their reference numbers; ReadError if they cannot be told apart."""
    length, count = struct.unpack_from("<II", logical, 264)
    raw = logical[440 : 440 + length]
    maps: list[PartitionMap] = []
    at = 0
    for _ in range(min(count, _MOST_MAPS)):
        kind, size = raw[at : at + 2] if at + 2 <= len(raw) else (0, 0)
        one = raw[at : at + size]
        if kind == _PLAIN and len(one) == 6:
            maps.append(PartitionMap(b"", int.from_bytes(one[4:6], "little"), one))
        elif kind == _NAMED and len(one) == 64:
            maps.append(PartitionMap(identifier(one[4:36]), int.from_bytes(one[38:40], "little"), one))
        else:
            raise ReadError(f"a partition map of an unknown kind ({kind}, {size} bytes)")
        at += size
    if not maps:
        raise ReadError("the logical volume has no partition map")
    return maps


def plain_partition(image: UdfImage, descriptors: Descriptors, number: int) -> PlainPartition:
    block = descriptors.partitions.get(number)
    if block is None:
        raise ReadError(f"partition {number} is not described")
    start, length = struct.unpack_from("<II", block, 188)
    size = descriptors.sector_bytes
    block_bytes = block_bytes_of(descriptors)
    return PlainPartition(image, image.start + start * size, length * size // block_bytes, block_bytes)


class _Opening:
    def __init__(self, image: UdfImage, descriptors: Descriptors) -> None:
        self._image = image
        self._descriptors = descriptors
        self._space = UdfSpace(image, block_bytes_of(descriptors))
        self._table: VirtualTable | None = None
        self._remarks = list(descriptors.remarks)
        self._doubts: list[str] = []

    def run(self) -> UdfVolume:
        maps = partition_maps(self._descriptors.logical)
        plain = [self._physical(one) for one in maps]
        self._space.partitions.extend(plain)
        for reference, one in enumerate(maps):
            if one.kind in (b"", SPARABLE):
                continue
            # the physical partition that it lies in has a map of its own
            below = next((at for at, other in enumerate(maps) if other.number == one.number and at != reference), None)
            within = reference if below is None else below
            if one.kind == VIRTUAL:
                self._virtual(reference, within, plain[within])
            else:
                self._metadata(reference, within, one)
        root, doubt = root_directory(self._space, LongAd.parse(self._descriptors.logical, 248))
        if doubt:
            self._doubts.append(doubt)
        return UdfVolume(self._space, self._descriptors, root, self._table, tuple(self._remarks), tuple(self._doubts))

    def _physical(self, one: PartitionMap) -> PlainPartition:
        """For the maps of other kinds: what they lie in, until it is replaced."""
        if one.kind not in (b"", SPARABLE, VIRTUAL, METADATA):
            raise ReadError(f"a partition map of an unknown kind ({one.kind.decode('latin-1')})")
        plain = plain_partition(self._image, self._descriptors, one.number)
        return self._sparable(plain, one) if one.kind == SPARABLE else plain

    # ---- kinds of partitions

    def _sparable(self, plain: PlainPartition, one: PartitionMap) -> PlainPartition:
        """UDF 2.2.9 and 2.2.12: up to four copies of a table, the one with the highest number counts."""
        packet_blocks, count, _, size = struct.unpack_from("<HBBI", one.raw, 40)
        best: tuple[int, dict[int, int]] | None = None
        for (sector,) in struct.iter_unpack("<I", one.raw[48 : 48 + 4 * min(count, 4)]):
            found = self._sparing_table(sector, size)
            if found is not None and (best is None or best[0] < found[0]):
                best = found
        if best is None:
            self._doubts.append("none of its sparing tables could be read: what was moved from bad packets is missed")
            return plain
        if best[1]:
            self._remarks.append(f"{len(best[1])} bad packets are replaced by spare ones")
        return SparablePartition(plain, packet_blocks, best[1])

    def _sparing_table(self, sector: int, size: int) -> tuple[int, dict[int, int]] | None:
        sector_bytes = self._descriptors.sector_bytes
        position = self._image.start + sector * sector_bytes
        raw = self._image.read(position, min(max(size, sector_bytes), 56 + 8 * _MOST_PACKETS))
        try:
            tag_kind(raw, sector)
        except ReadError:
            return None
        if identifier(raw[16:48]) != _SPARING_TABLE:
            return None
        (length, number) = struct.unpack_from("<HxxI", raw, 48)
        if self._image.is_unread(position, 56 + 8 * length) or len(raw) < 56 + 8 * length:
            return None
        moved = {
            original: self._image.start + to * sector_bytes
            for original, to in struct.iter_unpack("<II", raw[56 : 56 + 8 * length])
            if original < _DEFECTIVE
        }
        return number, moved

    def _virtual(self, reference: int, below: int, physical: PlainPartition) -> None:
        self._table = table = find_virtual_table(self._space, below, physical)
        self._space.partitions[reference] = VirtualPartition(physical, table.blocks)
        if table.rebuilt < 0:
            self._doubts.append(
                "the disc's virtual allocation table is lost (the disc was not closed, or its end is missing): "
                "it was rebuilt from the file entries that are there, files may be missing"
            )
        elif table.rebuilt:
            self._doubts.append(
                f"{table.rebuilt} file entries stand behind the last virtual allocation table "
                "(the disc was not closed, or its end is missing): they are used, but files may be missing"
            )

    def _metadata(self, reference: int, below: int, one: PartitionMap) -> None:
        """UDF 2.2.10: the partition's blocks are those of a file, which has a mirror."""
        main_block, mirror_block = struct.unpack_from("<II", one.raw, 40)
        copies = []
        for block in (main_block, mirror_block):
            try:
                entry = self._space.entry(below, block)
                if entry.size > _LARGEST_METADATA_FILE:
                    raise ReadError(f"it claims {entry.size} bytes")
                copies.append(self._space.extents(entry))
            except ReadError as error:
                self._remarks.append(f"a copy of the metadata file, at block {block}, is not readable: {error}")
        if not copies:
            raise ReadError("neither the metadata file nor its mirror can be read")
        mirror = copies[1] if len(copies) > 1 else []
        self._space.partitions[reference] = MetadataPartition(self._image, self._space.block_bytes, copies[0], mirror)
