"""Boot sectors of FAT, exFAT and NTFS -> geometry: where directories and records lie, how large the volume is."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

SECTOR_SIZES = (512, 1024, 2048, 4096)
FAT12_CLUSTERS = 4085  # Microsoft, "FAT: General Overview of On-Disk Format": the count alone decides
FAT16_CLUSTERS = 65525


@dataclass(frozen=True, slots=True)
class FatGeometry:
    """Bytes from the start of the volume. `directory_area` is the first sector that can hold an entry.

    `clusters` are numbered from 2; `root_cluster` is 0 where the root directory lies before them. There are `tables`
    allocation tables of `table_bytes` (0: as many as are needed), the first at `table_at`. `only_table`: the one that
    the file system goes by where the others are not kept equal; -1: they are. `boot_at`: where the boot sector stands
    that says all this, 0 unless it is the backup of it.
    """

    fstype: str
    sector_bytes: int
    cluster_bytes: int
    directory_area: int  # FAT12/16: the root directory; FAT32, exFAT: the first cluster
    clusters_at: int  # of cluster 2
    size_bytes: int
    table_at: int
    clusters: int
    root_cluster: int
    label: bytes = b""
    table_bytes: int = 0
    tables: int = 1
    only_table: int = -1
    boot_at: int = 0


def fat_variant(at: Callable[[int, int], bytes], boot_at: int = 0) -> FatGeometry | None:
    """A FAT12/16/32 boot sector -> its geometry; None if the fields contradict each other.

    Floppies of the 1980s lack the 0x55AA mark: then a FAT must begin with the media byte.
    `at(position, length)` gives bytes of the volume, or nothing outside it.
    """
    boot = at(boot_at, 512)
    if len(boot) < 512 or (boot[0] != 0xEB and boot[0] != 0xE9):
        return None
    sector, per_cluster, reserved, fats, roots, small, media, fat16 = struct.unpack_from("<HBHBHHBH", boot, 11)
    (large, fat32) = struct.unpack_from("<II", boot, 32)
    fat_sectors = fat16 or fat32
    if sector not in SECTOR_SIZES or per_cluster == 0 or per_cluster & (per_cluster - 1) or reserved == 0:
        return None
    if fats not in (1, 2) or fat_sectors == 0 or media < 0xF0 or (small == 0 and large == 0):
        return None
    beginnings = [at((reserved + copy * fat_sectors) * sector, 3) for copy in range(fats)]
    if boot[510:512] != b"\x55\xaa" and bytes((media, 0xFF, 0xFF)) not in beginnings:
        return None
    sectors = small or large
    root_at = reserved + fats * fat_sectors
    clusters_at = root_at + (roots * 32 + sector - 1) // sector
    clusters = (sectors - clusters_at) // per_cluster
    if clusters <= 0:
        return None
    fstype = "fat12" if clusters < FAT12_CLUSTERS else "fat16" if clusters < FAT16_CLUSTERS else "fat32"
    if roots == 0:
        fstype = "fat32"
    label = boot[71:82] if fstype == "fat32" else boot[43:54]
    has_label = boot[66 if fstype == "fat32" else 38] == 0x29
    flags = boot[40] if fstype == "fat32" else 0
    return FatGeometry(
        fstype,
        sector,
        per_cluster * sector,
        (clusters_at if fstype == "fat32" else root_at) * sector,
        clusters_at * sector,
        sectors * sector,
        reserved * sector,
        clusters,
        struct.unpack_from("<I", boot, 44)[0] if fstype == "fat32" else 0,
        label if has_label else b"",
        fat_sectors * sector,
        fats,
        flags & 0xF if flags & 0x80 and flags & 0xF < fats else -1,
        boot_at,
    )


def exfat_geometry(boot: bytes, boot_at: int = 0) -> FatGeometry:
    """Microsoft, "exFAT file system specification", section 3. ValueError if a shift is out of range.

    Of two tables (TexFAT) the one in use is told as the only one: the other is older.
    """
    (sectors,) = struct.unpack_from("<Q", boot, 72)
    table, table_sectors, heap, clusters, root = struct.unpack_from("<5I", boot, 80)
    sector_shift, cluster_shift = boot[108], boot[109]
    if not 9 <= sector_shift <= 12 or cluster_shift > 25 - sector_shift:
        raise ValueError("sector or cluster size out of range")
    sector = 1 << sector_shift
    at = heap * sector
    size = sectors * sector
    table += table_sectors if boot[106] & 1 and boot[110] == 2 else 0
    return FatGeometry(
        "exfat",
        sector,
        sector << cluster_shift,
        at,
        at,
        size,
        table * sector,
        clusters,
        root,
        table_bytes=table_sectors * sector,
        boot_at=boot_at,
    )


def exfat_size(boot: bytes) -> int:
    """Bytes of the volume as the boot sector has it, 0 if it makes no sense."""
    try:
        return exfat_geometry(boot).size_bytes
    except ValueError:
        return 0


@dataclass(frozen=True, slots=True)
class NtfsGeometry:
    """Bytes from the start of the volume; a record is one entry of the master file table."""

    sector_bytes: int
    cluster_bytes: int
    record_bytes: int
    mft_at: int
    size_bytes: int


def ntfs_geometry(boot: bytes) -> NtfsGeometry:
    """The BIOS parameter block of NTFS. ValueError if its fields are out of range."""
    sector, per_cluster = struct.unpack_from("<HB", boot, 11)
    sectors, mft = struct.unpack_from("<QQ", boot, 40)
    (per_record,) = struct.unpack_from("<b", boot, 64)
    if per_cluster > 128:  # 244 and up: a negative power of two, clusters above 64 KiB
        per_cluster = 1 << (256 - per_cluster)
    cluster = sector * per_cluster
    record = per_record * cluster if per_record > 0 else 1 << -per_record
    if sector not in (256, *SECTOR_SIZES) or cluster == 0 or not 256 <= record <= 65536:
        raise ValueError("sector, cluster or record size out of range")
    return NtfsGeometry(sector, cluster, record, mft * cluster, (sectors + 1) * sector)


def ntfs_size(boot: bytes) -> int:
    """Bytes of the volume without its backup boot sector, which may be cut off harmlessly; 0 if it makes no sense."""
    try:
        geometry = ntfs_geometry(boot)
    except ValueError:
        return 0
    return geometry.size_bytes - geometry.sector_bytes
