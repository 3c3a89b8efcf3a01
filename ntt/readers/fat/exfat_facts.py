"""An exFAT boot sector and its allocation bitmap -> what the file system says of itself."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ntt.model import Extent, VolumeFacts
from ntt.readers.allocation import BITMAP_LIMIT, bits_set, unread_bytes
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.boot_sectors import exfat_geometry
from ntt.readers.fat.directories import Record

ALLOCATION_BITMAP = 0x81
SECOND_TABLE, VOLUME_DIRTY, MEDIA_FAILURE = 0x1, 0x2, 0x4
ROOT_RECORDS = 4096  # the bitmap's record is among the first that any tool writes
BACKUP_SECTOR = 12
VARYING = ((106, 108), (112, 113))  # flags and percent in use: the backup does not follow them


class _Boot(NamedTuple):
    """Microsoft, "exFAT file system specification", section 3.1. Places are bytes from the start of the volume."""

    raw: bytes
    sector_bytes: int
    cluster_bytes: int
    heap_at: int
    size_bytes: int
    table_at: int
    clusters: int
    flags: int


def exfat_facts(
    source: ImageSource, offset_bytes: int, label: str, root_records: Callable[[], Iterable[Record]], boot_at: int = 0
) -> VolumeFacts:
    """Reads the bitmap, at most 64 MiB; `boot_at` is where the boot sector stands that was read.

    Never raises: what cannot be read is None, with a sentence.
    """
    try:
        boot = _boot(source.read(offset_bytes + boot_at, 512))
        oddities = list(_oddities(source, offset_bytes, boot))
    except (OSError, OverflowError, ValueError) as error:
        return VolumeFacts("exfat", label, oddities=(f"the boot sector cannot be read: {error}",))
    used: int | None = None
    try:
        bitmap = _bitmap(source, offset_bytes, boot, root_records())
        used = bits_set(source, bitmap, 0, boot.clusters)
    except (OSError, OverflowError, ReadError) as error:
        oddities.append(f"what is free was not counted, the allocation bitmap cannot be read: {error}")
    (serial,) = struct.unpack_from("<I", boot.raw, 100)
    return VolumeFacts(
        "exfat",
        label,
        serial=f"{serial >> 16:04X}-{serial & 0xFFFF:04X}",
        block_bytes=boot.cluster_bytes,
        size_bytes=boot.size_bytes,
        used_bytes=None if used is None else used * boot.cluster_bytes,
        free_bytes=None if used is None else (boot.clusters - used) * boot.cluster_bytes,
        state="dirty" if boot.flags & VOLUME_DIRTY else "clean",
        oddities=tuple(oddities),
    )


def _boot(raw: bytes) -> _Boot:
    geometry = exfat_geometry(raw)
    (table, table_sectors) = struct.unpack_from("<II", raw, 80)
    (clusters,) = struct.unpack_from("<I", raw, 92)
    (flags,) = struct.unpack_from("<H", raw, 106)
    second = bool(flags & SECOND_TABLE) and raw[110] == 2
    return _Boot(
        raw,
        geometry.sector_bytes,
        geometry.cluster_bytes,
        geometry.clusters_at,
        geometry.size_bytes,
        (table + second * table_sectors) * geometry.sector_bytes,
        clusters,
        flags,
    )


def _bitmap(source: ImageSource, offset_bytes: int, boot: _Boot, records: Iterable[Record]) -> list[Extent]:
    """Where the bitmap lies: the one that goes with the table in use. ReadError if there is none."""
    for number, record in enumerate(records):
        if record.raw[:1] == b"\0" or number >= ROOT_RECORDS:
            break
        if record.raw[:1] == bytes((ALLOCATION_BITMAP,)) and record.raw[1] & 1 == boot.flags & SECOND_TABLE:
            first, size = struct.unpack_from("<IQ", record.raw, 20)
            return list(_chain(source, offset_bytes, boot, first, size))
    raise ReadError("it has no record in the root directory")


def _chain(source: ImageSource, offset_bytes: int, boot: _Boot, cluster: int, size: int) -> Iterator[Extent]:
    """A cluster chain through the table, as long as the content is and no longer, so that a circle ends."""
    if size > BITMAP_LIMIT:
        raise ReadError(f"it is larger than {BITMAP_LIMIT >> 20} MiB")
    for at in range(0, size, boot.cluster_bytes):
        if not 2 <= cluster < boot.clusters + 2:
            raise ReadError(f"its chain leads to cluster {cluster:,}, which does not exist")
        length = min(boot.cluster_bytes, size - at)
        yield Extent(at, length, offset_bytes + boot.heap_at + (cluster - 2) * boot.cluster_bytes, length)
        if at + length < size:
            place = offset_bytes + boot.table_at + 4 * cluster
            if unread_bytes(source, place, 4):
                raise ReadError("its chain was not read")
            cluster = int.from_bytes(source.read(place, 4), "little")


def _oddities(source: ImageSource, offset_bytes: int, boot: _Boot) -> Iterator[str]:
    if boot.flags & MEDIA_FAILURE:
        yield "its driver met read or write errors"
    if boot.raw[110] == 2:
        yield f"a transaction-safe exFAT with two tables: table {1 + (boot.flags & SECOND_TABLE)} is in use"
    place = offset_bytes + BACKUP_SECTOR * boot.sector_bytes
    if unread_bytes(source, offset_bytes, 512):
        yield "its boot sector was not read"
    elif unread_bytes(source, place, 512):
        yield "its backup boot sector was not read"
    elif _steady(source.read(place, 512)) != _steady(boot.raw):
        yield "its boot sector and the backup of it differ"
    if boot.heap_at + boot.clusters * boot.cluster_bytes > boot.size_bytes:
        yield "it counts more clusters than it has room for"


def _steady(sector: bytes) -> bytes:
    kept = bytearray(sector)
    for start, end in VARYING:
        kept[start:end] = bytes(end - start)
    return bytes(kept)
