"""What a UDF volume says of itself: label, identity, times, space in use, counts, state, and what is odd about it."""

from __future__ import annotations

import struct
from typing import NamedTuple

from ntt.model import VolumeFacts
from ntt.readers.base import ReadError
from ntt.readers.udf.partitions import PlainPartition, UdfImage
from ntt.readers.udf.tags import INTEGRITY, TERMINATING, dstring, identifier, tag_kind, timestamp
from ntt.readers.udf.volume import UdfVolume

_MOST_INTEGRITY = 1024  # descriptors looked at
_HARD_PROTECTED, _SOFT_PROTECTED = 1, 2
_UNKNOWN = 0xFFFFFFFF
_CLOSED = 1
_HEX = frozenset("0123456789abcdefABCDEF")


class Integrity(NamedTuple):
    """The last logical volume integrity descriptor (ECMA-167, 3/10.10; UDF 2.2.6). None, (): it does not say."""

    modified_s: int | None
    is_closed: bool
    free_blocks: tuple[int, ...]
    files: int | None
    folders: int


def label_of(volume: UdfVolume) -> str:
    """Logical volume identifier; a virtual allocation table's is newer (UDF 2.2.11)."""
    in_table = volume.table.label if volume.table is not None else ""
    return in_table or dstring(volume.descriptors.logical[84:212])


def facts_of(volume: UdfVolume) -> VolumeFacts:
    """Reads the integrity sequence; ReadError only if the image itself cannot be read."""
    primary = volume.descriptors.primary
    integrity = last_integrity(volume.space.image, volume)
    block_bytes = volume.space.block_bytes
    plain = [one for one in volume.space.partitions if isinstance(one, PlainPartition)]
    blocks = sum(max(one.claimed_end - one.start, 0) // block_bytes for one in plain)
    free = _free_blocks(volume, integrity)
    created = timestamp(primary[376:388]) if primary else None
    files, folders = _counts(volume, integrity)
    return VolumeFacts(
        "udf",
        label_of(volume),
        _serial(dstring(primary[72:200])) if primary else "",
        created[0] if created else None,
        _modified_s(volume, integrity),
        block_bytes,
        blocks * block_bytes,
        None if free is None or free > blocks else (blocks - free) * block_bytes,
        None if free is None or free > blocks else free * block_bytes,
        None if files is None else files + max(folders - 1, 0),
        _state(volume, integrity),
        oddities=_oddities(volume),
    )


def last_integrity(image: UdfImage, volume: UdfVolume) -> Integrity | None:
    """The sequence is a chain of extents; the last sound descriptor counts."""
    found: bytes = b""
    extent = volume.descriptors.logical[432:440]
    sector_bytes = volume.descriptors.sector_bytes
    seen: set[bytes] = set()
    left = _MOST_INTEGRITY
    while extent and extent not in seen and left > 0:
        seen.add(extent)
        size, first = struct.unpack("<II", extent)
        extent = b""
        for sector in range(first, first + size // sector_bytes):
            left -= 1
            block = image.read(image.start + sector * sector_bytes, sector_bytes)
            try:
                kind = tag_kind(block, sector) if left >= 0 else TERMINATING
            except ReadError:
                break
            if kind != INTEGRITY:
                break
            found, extent = block, block[32:40]
            if any(extent[:4]):
                break
    return _integrity(found) if found else None


def _integrity(raw: bytes) -> Integrity:
    (kind, partitions, use_bytes) = struct.unpack_from("<I40xII", raw, 28)
    partitions = min(partitions, 64)
    recorded = timestamp(raw[16:28])
    files, folders = None, 0
    at = 80 + 8 * partitions
    if use_bytes >= 46 and at + 46 <= len(raw):
        files, folders = struct.unpack_from("<II", raw, at + 32)
    free = struct.unpack_from(f"<{partitions}I", raw, 80) if 80 + 4 * partitions <= len(raw) else ()
    return Integrity(recorded[0] if recorded else None, kind == _CLOSED, free, files, folders)


def _free_blocks(volume: UdfVolume, integrity: Integrity | None) -> int | None:
    """Of the partitions that space is given out in; a write-once disc does not keep count."""
    if integrity is None or volume.table is not None:
        return None
    physical = [isinstance(one, PlainPartition) for one in volume.space.partitions]
    kept = [free for free, counts in zip(integrity.free_blocks, physical, strict=False) if counts]
    return None if not kept or _UNKNOWN in kept else sum(kept)


def _counts(volume: UdfVolume, integrity: Integrity | None) -> tuple[int | None, int]:
    if volume.table is not None:
        return (None, 0) if volume.table.rebuilt else (volume.table.files, volume.table.folders)
    return (None, 0) if integrity is None else (integrity.files, integrity.folders)


def _modified_s(volume: UdfVolume, integrity: Integrity | None) -> int | None:
    if volume.table is not None:
        return volume.table.modified[0] if volume.table.modified else None
    return integrity.modified_s if integrity is not None else None


def _state(volume: UdfVolume, integrity: Integrity | None) -> str:
    """A virtual allocation table at the end closes a write-once disc, whatever the integrity descriptor says."""
    if volume.table is not None:
        return "dirty" if volume.table.rebuilt else "clean"
    if integrity is None:
        return ""
    return "clean" if integrity.is_closed else "dirty"


def _serial(volume_set: str) -> str:
    """The first 16 characters of the volume set identifier as `udfinfo` and `blkid` print them (UDF 2.2.2.5)."""
    start = volume_set[:16]
    if len(start) == 16 and _HEX.issuperset(start):
        return start.lower()
    raw = volume_set.encode("utf-8", "replace")[:16]
    if len(raw) < 8:
        return ""
    if _HEX.issuperset(start[:8]):
        return start[:8].lower() + raw[8:12].hex()
    return raw[:8].hex()


def _oddities(volume: UdfVolume) -> tuple[str, ...]:
    logical = volume.descriptors.logical
    (revision, flags) = struct.unpack_from("<HB", logical, 240)
    written_by = identifier(logical[272:304]).decode("latin-1")
    by = f", written by “{written_by}”" if written_by else ""
    found = [f"UDF revision {revision >> 8:x}.{revision & 0xFF:02x}{by}"]
    if flags & _HARD_PROTECTED:
        found.append("it is marked as write protected for good")
    elif flags & _SOFT_PROTECTED:
        found.append("it is marked as write protected")
    if volume.table is not None:
        found.append("a write-once disc, written in packets or sessions: its files are found through a virtual table")
    return (*found, *volume.remarks, *volume.doubts)
