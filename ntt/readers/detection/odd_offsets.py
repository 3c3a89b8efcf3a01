"""An image with nothing at its start -> places where a file system, a table or a superblock's copy stands after all."""

from __future__ import annotations

from collections.abc import Iterator

from ntt.model import Route
from ntt.readers.base import ImageSource
from ntt.readers.detection.mbr import mbr_entries
from ntt.readers.detection.samples import Recognised, Sample
from ntt.readers.detection.signatures import recognise_at
from ntt.readers.ext.superblock import ExtSuperblock

SECTOR_BYTES = 512
DENSE_BYTES = 1 << 20  # every sector of it is looked at
MIB_STEPS = 64
CYLINDERS = 8
GEOMETRIES = ((16, 63), (255, 63), (240, 63), (64, 32), (128, 63), (32, 63), (15, 63))  # heads, sectors a track
SEARCHED = "every sector of the first MiB, each MiB up to the 64th, and cylinder boundaries"
EXT_BACKUPS = ((1024, 8193), (2048, 16384), (4096, 32768))  # block size, first block of group 1
BOOT_MARK = b"\x55\xaa"


def places(size_bytes: int) -> list[int]:
    """Where a file system may begin when it does not at 0: ascending, a bounded number."""
    found = set(range(SECTOR_BYTES, min(DENSE_BYTES, size_bytes), SECTOR_BYTES))
    found.update(mib << 20 for mib in range(1, MIB_STEPS + 1))
    found.update(
        cylinder * heads * sectors * SECTOR_BYTES
        for heads, sectors in GEOMETRIES
        for cylinder in range(1, CYLINDERS + 1)
    )
    return sorted(place for place in found if place < size_bytes)


def file_systems(source: ImageSource, start: int, end: int) -> Iterator[tuple[int, Recognised]]:
    """(bytes from `start`, what it is) of each candidate, ascending; none lies inside the one before.

    Candidates are strict on their own superblock; only opening them tells for certain. OSError as `source.read`.
    """
    dense = source.read(start, min(DENSE_BYTES + 4 * SECTOR_BYTES, max(end - start, 0)))
    for place in places(end - start):
        head = dense[place : place + 2048] if place < DENSE_BYTES else source.read(start + place, 2048)
        if not _may_begin(head):
            continue
        found = recognise_at(source, start + place, end - start - place)
        if found is not None and _is_strict(source, start + place, end, head, found):
            yield place, found


def tables(source: ImageSource, start: int, end: int) -> Iterator[int]:
    """Bytes from `start` where a boot record with sound partitions stands, among the sectors of the first MiB."""
    dense = source.read(start, min(DENSE_BYTES, max(end - start, 0)))
    for place in range(SECTOR_BYTES, len(dense) - SECTOR_BYTES + 1, SECTOR_BYTES):
        if dense[place + 510 : place + 512] != BOOT_MARK:
            continue
        entries = mbr_entries(dense[place : place + SECTOR_BYTES])
        sectors = (end - start - place) // SECTOR_BYTES
        if entries and all(0 < entry.first < sectors for entry in entries):
            yield place


def is_file_system(source: ImageSource, at: int, end: int, found: Recognised) -> bool:
    """Whether what was recognised at this place of the image is its first superblock. OSError as `source.read`."""
    return _is_strict(source, at, end, source.read(at, 2048), found)


def _may_begin(head: bytes) -> bool:
    """Cheap: whether any of the superblocks looked for could stand here."""
    if len(head) < 2048:
        return False
    is_boot = head[510:512] == BOOT_MARK and head[:1] in (b"\xeb", b"\xe9")
    return is_boot or head[1080:1082] == b"\x53\xef" or head[1024:1026] in (b"BD", b"H+", b"HX")


def _is_strict(source: ImageSource, at: int, end: int, head: bytes, found: Recognised) -> bool:
    """Copies of superblocks and half-erased ones are no file systems."""
    if not 0 < found.size_bytes <= max(4 * (end - at), SECTOR_BYTES):
        return False
    match found.fstype:
        case "ext2" | "ext3" | "ext4":
            return head[1024 + 90 : 1024 + 92] == b"\0\0"  # s_block_group_nr
        case "fat12" | "fat16" | "fat32":
            sector = int.from_bytes(head[11:13], "little")
            reserved = int.from_bytes(head[14:16], "little")
            return source.read(at + reserved * sector, 3) in (head[21:22] + b"\xff\xff", head[21:22] + b"\xff\x0f")
        case "ntfs":
            cluster = int.from_bytes(head[11:13], "little") * head[13]
            return source.read(at + int.from_bytes(head[48:56], "little") * cluster, 4) == b"FILE"
        case _:
            return True


def surviving_copy(source: ImageSource, start: int, end: int) -> Recognised | None:
    """A file system whose start is lost, by the copy that it keeps elsewhere: named, for it can be repaired."""
    volume = Sample(source, start, end - start)
    for block_bytes, block in EXT_BACKUPS:
        raw = volume.at(block * block_bytes, 1024)
        superblock = ExtSuperblock.parse(raw)
        if superblock is not None and superblock.block_size == block_bytes and raw[90:92] == b"\x01\0":
            size = superblock.block_count * superblock.block_size
            repair = f"`e2fsck -b {block} -B {block_bytes}` on a copy of the image restores it"
            return _lost(superblock.fstype, size, "superblock", block * block_bytes, repair)
    backup = volume.at(6 * SECTOR_BYTES, SECTOR_BYTES)
    if backup[82:90] == b"FAT32   " and backup[510:] == BOOT_MARK:
        size = int.from_bytes(backup[32:36], "little") * int.from_bytes(backup[11:13], "little")
        return _lost("fat32", size, "boot sector", 6 * SECTOR_BYTES, "`fsck.fat -a` on a copy of the image restores it")
    last = volume.tail(SECTOR_BYTES)
    if last[3:11] == b"NTFS    " and last[510:] == BOOT_MARK:
        repair = "`testdisk` (Boot, Backup BS) on a copy of the image restores it"
        return _lost("ntfs", volume.size_bytes, "boot sector", volume.size_bytes - SECTOR_BYTES, repair)
    header = volume.at(volume.size_bytes - 1024, 512)
    if header[:4] in (b"H+\0\x04", b"HX\0\x05"):
        repair = "`fsck.hfsplus -f` on a copy of the image restores it"
        return _lost("hfsplus", volume.size_bytes, "volume header", volume.size_bytes - 1024, repair)
    return None


def _lost(fstype: str, size_bytes: int, what: str, place: int, repair: str) -> Recognised:
    finding = f"a file system ({fstype}) whose {what} is lost or unread; a copy of it stands at byte {place}"
    return Recognised(fstype, Route.NONE, size_bytes, finding, f"image the medium again; else {repair}")
