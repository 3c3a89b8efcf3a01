"""Records of NTFS's master file table -> times, flags, and where a file's unnamed content lies."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ntt.model import Extent
from ntt.ranges import Ranges
from ntt.readers.base import ReadError
from ntt.readers.tsk_extents import HOLE, Run, part_of

STANDARD_INFORMATION, ATTRIBUTE_LIST, FILE_NAME, VOLUME_NAME, DATA, INDEX_ROOT = 0x10, 0x20, 0x30, 0x60, 0x80, 0x90
IN_USE, DIRECTORY = 1, 2
END_OF_ATTRIBUTES = 0xFFFFFFFF
EPOCH_1601 = 116_444_736_000_000_000  # 1970-01-01 in 100 ns from 1601-01-01
SECTOR_BYTES = 512  # the stride of the update sequence, whatever the disk's sectors are


_HEADER = struct.Struct("<IIBBHH").unpack_from


class Attribute(NamedTuple):
    """One attribute of a record: its header's bytes and those behind it, and where in the record it begins."""

    kind: int
    name: bytes
    is_resident: bool
    flags: int
    position: int
    raw: bytes

    @property
    def value_range(self) -> tuple[int, int]:
        """Of a resident attribute: start in the record and length, cut at the attribute's end."""
        length, offset = struct.unpack_from("<IH", self.raw, 16)
        offset = min(offset, len(self.raw))
        return self.position + offset, min(length, len(self.raw) - offset)

    @property
    def value(self) -> bytes:
        start, length = self.value_range
        return self.raw[start - self.position : start - self.position + length]

    @property
    def lowest(self) -> int:
        """The first cluster of the content that this piece of the attribute maps."""
        return 0 if self.is_resident else int.from_bytes(self.raw[16:24], "little")

    @property
    def size(self) -> int:
        """Bytes of the content; of an attribute in several pieces only the first knows it."""
        if self.is_resident:
            return self.value_range[1]
        return int.from_bytes(self.raw[48:56], "little", signed=True)


@dataclass(frozen=True, slots=True)
class DataPlace:
    """Where unnamed content lies. Resident: `extents`. Otherwise its runs are The Sleuth Kit's to give.

    `valid_bytes`: what follows was never written and reads as zeros; None if the record does not say.
    `first_cluster`: -1 if the content begins with a hole or has no clusters.
    """

    extents: tuple[Extent, ...] | None
    valid_bytes: int | None
    unit_clusters: int
    first_cluster: int


class Standard(NamedTuple):
    """Time of the last change in seconds from 1970 and nanoseconds, and the file attributes of DOS and Windows."""

    seconds: int
    nanoseconds: int
    flags: int


class Summary(NamedTuple):
    """A record at a glance; `place` is None where the unnamed content is in another record, or there is none.

    `size` is that of the unnamed content, None where this record does not say. `is_whole`: no attribute of the record
    contradicts itself, so that none can stand behind it unseen.
    """

    standard: Standard
    place: DataPlace | None
    size: int | None
    may_have_streams: bool
    is_whole: bool


class MftRecord(NamedTuple):
    """A record with its update sequence put right; `extents` are where it lies in the image.

    `known`: how many bytes of it were read from its start on. `lost`: bytes of the image that were not read and that
    the record has in use; empty means that nothing of it is missing.
    """

    raw: bytes
    extents: Sequence[Extent]
    known: int
    lost: Ranges = ()

    def attributes(self) -> Iterator[Attribute]:
        """Stops at the first attribute that contradicts itself, or was not read.

        Resident content, and an index, of which the end was not read are still given, with zeros there.
        """
        end, known = len(self.raw), self.known
        at = self.raw[20] | self.raw[21] << 8
        while at + 24 <= known:
            kind, length, non_resident, name_units, name_at, flags = _HEADER(self.raw, at)
            if kind == END_OF_ATTRIBUTES or length < 24 or at + length > end:
                return
            raw = self.raw[at : at + length]
            if non_resident and length < 64:
                return
            if at + length > known and not _begins(kind, non_resident, raw, known - at):
                return
            name = raw[name_at : name_at + 2 * name_units] if name_units else b""
            yield Attribute(kind, name, not non_resident, flags, at, raw)
            at += length

    @property
    def is_used_file(self) -> bool:
        return self.raw[22] & (IN_USE | DIRECTORY) == IN_USE

    @property
    def is_used(self) -> bool:
        return bool(self.raw[22] & IN_USE)

    @property
    def is_directory(self) -> bool:
        return bool(self.raw[22] & DIRECTORY)

    @property
    def sequence(self) -> int:
        """How often the record was used for something new; references name it too."""
        return self.raw[16] | self.raw[17] << 8

    @property
    def in_use_bytes(self) -> int:
        return min(int.from_bytes(self.raw[24:28], "little"), len(self.raw))

    @property
    def base(self) -> int:
        """The number of the record that this one continues, 0 if it stands for itself."""
        return int.from_bytes(self.raw[32:38], "little")

    def first(self, kind: int) -> Attribute | None:
        """The first unnamed attribute of a type."""
        return next((found for found in self.attributes() if found.kind == kind and not found.name), None)

    def standard(self) -> Standard:
        """What $STANDARD_INFORMATION says; ReadError without it."""
        return self._standard(self.first(STANDARD_INFORMATION))

    def _standard(self, found: Attribute | None) -> Standard:
        if found is None or len(found.value) < 36:
            raise ReadError("its record has no standard information", self.lost)
        (changed,) = struct.unpack_from("<Q", found.value, 8)
        (flags,) = struct.unpack_from("<I", found.value, 32)
        seconds, rest = divmod(changed - EPOCH_1601, 10_000_000) if changed else (0, 0)
        return Standard(seconds, rest * 100, flags)

    def summary(self) -> Summary:
        """What a listing needs, in one pass; ReadError without standard information."""
        standard: Attribute | None = None
        data: Attribute | None = None
        may_have_streams = False
        found: Attribute | None = None
        for found in self.attributes():
            if found.kind == ATTRIBUTE_LIST or (found.kind == DATA and found.name):
                may_have_streams = True
            elif found.kind == DATA:
                data = data or found
            elif found.kind == STANDARD_INFORMATION and not found.name:
                standard = standard or found
        end = 0 if found is None else found.position + len(found.raw)
        is_whole = self.raw[end : end + 4] == b"\xff\xff\xff\xff"
        if data is None:
            return Summary(self._standard(standard), None, None, may_have_streams, is_whole)
        size = data.size if not data.lowest else None
        return Summary(self._standard(standard), self.place_of(data), size, may_have_streams, is_whole)

    def data(self) -> DataPlace | None:
        """The unnamed content as this record has it; None if it is not in this record."""
        found = self.first(DATA)
        return None if found is None else self.place_of(found)

    def place_of(self, found: Attribute) -> DataPlace:
        """Where the content of one of the record's attributes lies."""
        if found.is_resident:
            start, length = found.value_range
            return DataPlace(tuple(part_of(self.extents, start, length)), length, 0, -1)
        (lowest,) = struct.unpack_from("<Q", found.raw, 16)
        runs_at, unit = struct.unpack_from("<HH", found.raw, 32)
        (valid,) = struct.unpack_from("<Q", found.raw, 56)
        unit_clusters = 1 << unit if 0 < unit < 16 and found.flags & 1 else 0
        first = first_cluster(found.raw[runs_at:]) if lowest == 0 else -1
        return DataPlace(None, valid if lowest == 0 else None, unit_clusters, first)


def _begins(kind: int, non_resident: int, raw: bytes, known: int) -> bool:
    """An attribute of which only the first `known` bytes were read: what says where its value lies is among them."""
    if non_resident or kind not in (DATA, INDEX_ROOT):
        return False
    return int.from_bytes(raw[20:22], "little") <= known and raw[10] + 2 * raw[9] <= known


def whole_sectors(size_bytes: int) -> int:
    """Up to the end of the sector."""
    return -(-size_bytes // SECTOR_BYTES) * SECTOR_BYTES


def first_cluster(runs: bytes) -> int:
    """The first allocated cluster of a mapping pairs array, -1 if there is none."""
    at = 0
    while at < len(runs) and runs[at]:
        length_bytes, offset_bytes = runs[at] & 15, runs[at] >> 4
        if offset_bytes:
            start = at + 1 + length_bytes
            return int.from_bytes(runs[start : start + offset_bytes], "little", signed=True)
        at += 1 + length_bytes
    return -1


def mapped_runs(pairs: bytes) -> list[Run] | None:
    """A mapping pairs array from cluster 0 on, holes included; None if it contradicts itself."""
    runs: list[Run] = []
    at, cluster, place = 0, 0, 0
    while at < len(pairs) and pairs[at]:
        length_bytes, offset_bytes = pairs[at] & 15, pairs[at] >> 4
        middle, end = at + 1 + length_bytes, at + 1 + length_bytes + offset_bytes
        count = int.from_bytes(pairs[at + 1 : middle], "little")
        if end > len(pairs) or not 0 < count < 1 << 48:
            return None
        if offset_bytes:
            place += int.from_bytes(pairs[middle:end], "little", signed=True)
            if place < 0:
                return None
        runs.append(Run(cluster, count, place if offset_bytes else HOLE))
        cluster += count
        at = end
    return runs
