"""A FAT12/16/32 boot sector, its allocation tables and FSInfo -> what the file system says of itself."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from ntt.model import VolumeFacts
from ntt.readers.allocation import unread_bytes
from ntt.readers.base import ImageSource
from ntt.readers.boot_sectors import FatGeometry

TABLE_LIMIT = 64 << 20  # bytes of one table that are looked at; a larger one is not counted
PIECE = 3 << 16  # bytes at a time, whole entries of every width
NO_LABEL = "NO NAME"
BITS = {"fat12": 12, "fat16": 16, "fat32": 32}
TOP = {12: 0xFFF, 16: 0xFFFF, 32: 0x0FFFFFFF}  # the upper four bits of a FAT32 entry are not the number's
CLEAN = {16: 0x8000, 32: 0x08000000}  # of entry 1; FAT12 has no room for them
NO_ERROR = {16: 0x4000, 32: 0x04000000}
UNKNOWN_COUNT = 0xFFFFFFFF


@dataclass(slots=True)
class _Count:
    """What the entries of one table say; `one` is entry 1, which holds flags. -1: there is none."""

    entries: int = 0
    free: int = 0
    bad: int = 0
    one: int = -1
    beyond: int = 0
    first_beyond: int = -1


@dataclass(frozen=True, slots=True)
class _Boot:
    """Microsoft, "FAT: General Overview of On-Disk Format", Boot Sector and BPB. Bytes from the start of the volume."""

    raw: bytes
    fstype: str
    tables_at: int
    table_bytes: int
    tables: int
    clusters: int
    in_use: int  # the table that the file system goes by, when the others are not kept equal; -1: they are
    info_at: int  # -1: there is no FSInfo

    @property
    def bits(self) -> int:
        return BITS[self.fstype]

    @property
    def needed_bytes(self) -> int:
        return min(((self.clusters + 2) * self.bits + 7) // 8, self.table_bytes)

    @property
    def extended_at(self) -> int:
        """Where the byte before the signature 0x28 or 0x29 stands: drive flags, then signature, serial, label."""
        return 65 if self.fstype == "fat32" else 37

    @property
    def is_extended(self) -> bool:
        return self.raw[self.extended_at + 1] in (0x28, 0x29)


@dataclass(slots=True)
class _Found:
    """What the tables tell; None where they could not be counted."""

    count: _Count | None = None
    oddities: list[str] = field(default_factory=list)


def fat_facts(source: ImageSource, offset_bytes: int, geometry: FatGeometry, label: str, in_root: str) -> VolumeFacts:
    """At most `TABLE_LIMIT` bytes of each table are read. Never raises: what cannot be read is None, with a sentence.

    `in_root` is the label that stands in the root directory, empty where none does.
    """
    try:
        boot = _boot(source.read(offset_bytes + geometry.boot_at, 512), geometry)
        found = _tables(source, offset_bytes, boot)
        oddities = [*_boot_oddities(boot, geometry, in_root), *found.oddities]
        if geometry.boot_at:
            oddities.insert(0, "its boot sector was not read")
        if found.count is not None and boot.info_at >= 0:
            oddities.extend(_info_oddities(source.read(offset_bytes + boot.info_at, 512), found.count))
    except (OSError, OverflowError) as error:
        return VolumeFacts(geometry.fstype, label, oddities=(f"its tables cannot be read: {error}",))
    count, cluster = found.count, geometry.cluster_bytes
    at = boot.extended_at + 2
    serial = int.from_bytes(boot.raw[at : at + 4], "little")
    return VolumeFacts(
        geometry.fstype,
        label,
        serial=f"{serial >> 16:04X}-{serial & 0xFFFF:04X}" if boot.is_extended else "",
        block_bytes=cluster,
        size_bytes=geometry.size_bytes,
        used_bytes=None if count is None else (count.entries - count.free - count.bad) * cluster,
        free_bytes=None if count is None else count.free * cluster,
        state=_state(boot, count),
        oddities=tuple(oddities),
    )


def _boot(raw: bytes, geometry: FatGeometry) -> _Boot:
    reserved, tables = struct.unpack_from("<HB", raw, 14)
    small, large = struct.unpack_from("<H", raw, 22)[0], struct.unpack_from("<I", raw, 36)[0]
    flags, info = struct.unpack_from("<H", raw, 40)[0], struct.unpack_from("<H", raw, 48)[0]
    is_wide, sector = geometry.fstype == "fat32", geometry.sector_bytes
    return _Boot(
        raw,
        geometry.fstype,
        reserved * sector,
        (small or large) * sector,
        tables,
        (geometry.size_bytes - geometry.clusters_at) // geometry.cluster_bytes,
        flags & 0xF if is_wide and flags & 0x80 else -1,
        info * sector if is_wide and 0 < info < reserved else -1,
    )


def _tables(source: ImageSource, offset_bytes: int, boot: _Boot) -> _Found:
    found = _Found()
    if boot.needed_bytes > TABLE_LIMIT:
        found.oddities.append(f"its table is larger than {TABLE_LIMIT >> 20} MiB: what is free was not counted")
        return found
    starts = [offset_bytes + boot.tables_at + number * boot.table_bytes for number in range(boot.tables)]
    lost = [unread_bytes(source, start, boot.needed_bytes) for start in starts]
    found.oddities.extend(
        f"{size:,} bytes of allocation table {number} were not read" for number, size in enumerate(lost, 1) if size
    )
    counted = boot.in_use if 0 <= boot.in_use < boot.tables else lost.index(0) if 0 in lost else -1
    if counted >= 0 and not lost[counted]:
        found.count = _counted(source, starts[counted], boot)
        found.oddities.extend(_count_oddities(found.count, boot))
    if boot.in_use >= 0:
        found.oddities.append(f"only allocation table {boot.in_use + 1} is kept up to date")
    elif len(starts) == 2 and not any(lost):
        found.oddities.extend(_difference(source, starts[0], starts[1], boot))
    return found


def _counted(source: ImageSource, start: int, boot: _Boot) -> _Count:
    """Clusters are numbered from 2; entries 0 and 1 belong to none."""
    count, bad = _Count(), TOP[boot.bits] - 8
    last, number = boot.clusters + 1, 0
    for piece in _pieces(source, start, boot):
        entries = piece[: last + 1 - number]
        if number == 0:
            count.one = entries[1] if len(entries) > 1 else -1
        values = entries[2:] if number == 0 else entries
        number += len(entries)
        count.entries += len(values)
        free = values.count(0)
        count.free += free
        count.bad += values.count(bad)
        strays = [value for value in values if last < value < bad] if free < len(values) else []
        if strays and count.first_beyond < 0:
            count.first_beyond = strays[0]
        count.beyond += len(strays)
    return count


def _pieces(source: ImageSource, start: int, boot: _Boot) -> Iterator[array[int]]:
    """The table's entries, some at a time."""
    for at in range(0, boot.needed_bytes, PIECE):
        yield table_entries(source.read(start + at, min(PIECE, boot.needed_bytes - at)), boot.bits)


def table_entries(raw: bytes, bits: int) -> array[int]:
    """The whole entries in these bytes, each `bits` (12, 16 or 32) wide."""
    if bits == 12:
        found = array("H")
        for at in range(0, len(raw) - 1, 3):
            low = raw[at] | raw[at + 1] << 8
            found.append(low & 0xFFF)
            if at + 2 < len(raw):
                found.append(low >> 12 | raw[at + 2] << 4)
        return found
    width = bits // 8
    whole = len(raw) - len(raw) % width
    if bits == 32:  # one long number, so that the upper four bits of every entry go at once
        mask = int.from_bytes(b"\xff\xff\xff\x0f" * (whole // 4), "little")
        raw = (int.from_bytes(raw[:whole], "little") & mask).to_bytes(whole, "little")
    found = array("H" if width == 2 else "I")
    found.frombytes(raw[:whole])
    if sys.byteorder == "big":
        found.byteswap()
    return found


def _difference(source: ImageSource, first: int, second: int, boot: _Boot) -> Iterator[str]:
    number, total_different, first_different = 0, 0, -1
    for ours, theirs in zip(_pieces(source, first, boot), _pieces(source, second, boot), strict=True):
        if ours != theirs:
            places = [at for at, (one, other) in enumerate(zip(ours, theirs, strict=True)) if one != other]
            first_different = number + places[0] if first_different < 0 else first_different
            total_different += len(places)
        number += len(ours)
    if total_different:
        entries = "one entry" if total_different == 1 else f"{total_different:,} entries"
        yield f"its two allocation tables differ in {entries}, the first is {first_different:,}; files may be mixed up"


def _count_oddities(count: _Count, boot: _Boot) -> Iterator[str]:
    if count.entries < boot.clusters:
        yield f"its table has room for {count.entries:,} of its {boot.clusters:,} clusters"
    if count.beyond:
        places = "one entry points" if count.beyond == 1 else f"{count.beyond:,} entries point"
        last = boot.clusters + 1
        yield f"{places} beyond the last cluster ({last:,}), the first to {count.first_beyond:,}"
    if count.bad:
        yield f"{count.bad:,} clusters are marked as bad"
    if boot.bits in NO_ERROR and count.one >= 0 and not count.one & NO_ERROR[boot.bits]:
        yield "its driver met read or write errors"


def _boot_oddities(boot: _Boot, geometry: FatGeometry, in_root: str) -> Iterator[str]:
    writer = boot.raw[3:11].rstrip(b" \0").decode("cp437")
    if writer:
        yield f"its boot sector was written by “{writer}”"
    in_boot = geometry.label.rstrip(b" \0").decode("cp437")
    in_boot = "" if in_boot == NO_LABEL else in_boot
    if in_boot and in_root != in_boot:
        beside = f"“{in_root}” in the root directory" if in_root else "none in the root directory"
        yield f"two labels: “{in_boot}” in the boot sector, {beside}"
    if boot.is_extended and boot.raw[boot.extended_at] & 2:
        yield "its driver wants its surface to be tested"


def _info_oddities(info: bytes, count: _Count) -> Iterator[str]:
    if info[:4] != b"RRaA" or info[484:488] != b"rrAa":
        yield "its FSInfo sector is damaged"
        return
    (free,) = struct.unpack_from("<I", info, 488)
    if free not in (count.free, UNKNOWN_COUNT):
        yield f"its FSInfo sector counts {free:,} free clusters, its table {count.free:,}"


def _state(boot: _Boot, count: _Count | None) -> str:
    """Windows keeps it in entry 1, Linux and Windows NT in the boot sector; dirty if either says so."""
    marks = []
    if boot.is_extended:
        marks.append(bool(boot.raw[boot.extended_at] & 1))
    if boot.bits in CLEAN and count is not None and count.one >= 0:
        marks.append(not count.one & CLEAN[boot.bits])
    return "" if not marks else "dirty" if any(marks) else "clean"
