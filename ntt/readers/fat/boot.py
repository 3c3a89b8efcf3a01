"""A volume of FAT or exFAT -> its geometry, by the backup of its boot sector where that was not read."""

from __future__ import annotations

import struct

from ntt.readers.allocation import unread_bytes
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.boot_sectors import SECTOR_SIZES, FatGeometry, exfat_geometry, fat_variant

BOOT_BYTES = 512
FAT32_BACKUP = 6  # sectors; Microsoft, "FAT: General Overview of On-Disk Format": no other value is recommended
EXFAT_BACKUP = 12  # Microsoft, "exFAT file system specification", section 2
BOOT_MARK = b"\x55\xaa"


def geometry_of(source: ImageSource, offset_bytes: int, size_bytes: int, fstype: str) -> FatGeometry:
    """ReadError, which names the boot sector if that was not read, where nothing tells the geometry."""
    try:
        boot = source.read(offset_bytes, BOOT_BYTES)
        found = by_backup(source, offset_bytes, size_bytes)
        if found is None and fstype == "exfat":
            found = exfat_geometry(boot)
        elif found is None:
            found = fat_variant(lambda position, length: source.read(offset_bytes + position, length))
    except ValueError as error:
        raise _damaged(source, offset_bytes, f": {error}") from None
    if found is None or (found.fstype == "exfat") != (fstype == "exfat"):
        raise _damaged(source, offset_bytes, "")
    return found


def _damaged(source: ImageSource, offset_bytes: int, why: str) -> ReadError:
    if unread_bytes(source, offset_bytes, BOOT_BYTES):
        return ReadError("the boot sector was not read", ((offset_bytes, offset_bytes + BOOT_BYTES),))
    return ReadError(f"the boot sector is damaged{why}")


def by_backup(source: ImageSource, offset_bytes: int, size_bytes: int) -> FatGeometry | None:
    """The geometry of a FAT32 or exFAT whose boot sector was not read; None if it was, or no backup of it stands.

    An allocation table must begin where the backup says: what an earlier file system left is none.
    OSError if the image cannot be read.
    """
    if not unread_bytes(source, offset_bytes, BOOT_BYTES):
        return None
    for sector in SECTOR_SIZES:
        for place, parse in ((FAT32_BACKUP * sector, _fat32), (EXFAT_BACKUP * sector, _exfat)):
            if place + BOOT_BYTES > size_bytes or unread_bytes(source, offset_bytes + place, BOOT_BYTES):
                continue
            found = parse(source, offset_bytes, place)
            if found is not None and found.sector_bytes == sector and _table_begins(source, offset_bytes, found):
                return found
    return None


def _fat32(source: ImageSource, offset_bytes: int, place: int) -> FatGeometry | None:
    raw = source.read(offset_bytes + place, BOOT_BYTES)
    (own_place,) = struct.unpack_from("<H", raw, 50)
    if raw[82:90] != b"FAT32   " or raw[510:] != BOOT_MARK or own_place != FAT32_BACKUP:
        return None
    found = fat_variant(lambda position, length: source.read(offset_bytes + position, length), place)
    return found if found is not None and found.fstype == "fat32" else None


def _exfat(source: ImageSource, offset_bytes: int, place: int) -> FatGeometry | None:
    raw = source.read(offset_bytes + place, BOOT_BYTES)
    if raw[3:11] != b"EXFAT   " or raw[510:] != BOOT_MARK:
        return None
    try:
        return exfat_geometry(raw, place)
    except ValueError:
        return None


def _table_begins(source: ImageSource, offset_bytes: int, geometry: FatGeometry) -> bool:
    """A table that was read begins with the media byte and ones; or none was read there."""
    starts = [offset_bytes + geometry.table_at + copy * geometry.table_bytes for copy in range(geometry.tables)]
    beginnings = [source.read(start, 3) for start in starts if not unread_bytes(source, start, 4)]
    return not beginnings or any(raw[0] >= 0xF0 and raw[1:] == b"\xff\xff" for raw in beginnings)
