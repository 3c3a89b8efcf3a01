"""The first and last bytes of a volume -> what it is: its name, its own size, and what a person can do with it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

from ntt.model import Route
from ntt.readers.base import ImageSource
from ntt.readers.boot_sectors import exfat_size, fat_variant, ntfs_size
from ntt.readers.ext_inodes import ExtSuperblock
from ntt.readers.magic_numbers import MAGIC_NUMBERS

HEAD_BYTES = 320 << 10  # the deepest signature looked for (ZFS) begins at 256 KiB
CD_SECTOR = 2048


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a signature says. `size_bytes` is 0 where it does not say; `finding` is empty where a reader may open it."""

    fstype: str
    route: Route
    size_bytes: int
    finding: str = ""
    next_step: str = ""
    remarks: tuple[str, ...] = ()
    at_end: bool = False  # found by what stands at the volume's end, where a partition's may stand too


@dataclass(frozen=True, slots=True)
class Sample:
    """A volume's first bytes, and the way to the rest of it."""

    source: ImageSource
    offset_bytes: int
    size_bytes: int
    head: bytes

    def at(self, position: int, length: int) -> bytes:
        """Bytes of the volume, empty if any of them lies outside it."""
        if position < 0 or position + length > self.size_bytes:
            return b""
        if position + length <= len(self.head):
            return self.head[position : position + length]
        return self.source.read(self.offset_bytes + position, length)


def recognise(source: ImageSource, offset_bytes: int, size_bytes: int) -> Recognised | None:
    """What the volume `[offset, offset+size)` is, by its signatures; None if it has none that is known.

    Where two signatures stand in one volume, the one that a format of the other would have erased wins.
    OSError if the image file itself cannot be read.
    """
    size_bytes = min(size_bytes, max(source.size_bytes - offset_bytes, 0))
    sample = Sample(source, offset_bytes, size_bytes, source.read(offset_bytes, min(HEAD_BYTES, size_bytes)))
    member = _linux_raid(sample)
    found = next(filter(None, (probe(sample) for probe in PROBES)), None)
    if member is None:
        return found
    # A mirror with its superblock at the end holds the plain file system from its first byte on.
    if found is not None and found.route is not Route.NONE and member.at_end and ", level 1, " in member.finding:
        return replace(found, remarks=(*found.remarks, member.finding))
    return member


def _boot_sector(sample: Sample) -> Recognised | None:
    """NTFS, exFAT and BitLocker write their name behind the jump instruction of sector 0."""
    name = sample.at(3, 8)
    if name == b"NTFS    ":
        return Recognised("ntfs", Route.TSK, ntfs_size(sample.head))
    if name == b"EXFAT   ":
        return Recognised("exfat", Route.TSK, exfat_size(sample.head))
    if name == b"-FVE-FS-":
        return Recognised(
            "bitlocker",
            Route.NONE,
            0,
            "this volume is encrypted with BitLocker: its files cannot be read without the key",
            "unlock it with `dislocker` and its password or recovery key, then ingest the unlocked image",
        )
    return None


def _linux_raid(sample: Sample) -> Recognised | None:
    """Superblock 1.x: 0xa92b4efc little-endian at 0, 4096 or 8 KiB before the end; 0.90: 64 KiB before it (md(4))."""
    sectors = sample.size_bytes // 512
    places = [("1.1", 0), ("1.2", 4096), ("1.0", ((sectors - 16) & ~7) * 512)]
    for version, position in places:
        block = sample.at(position, 256)
        if block[:8] == struct.pack("<II", 0xA92B4EFC, 1):
            level, disks = struct.unpack_from("<ixxxxxxxxxxxxxxxxI", block, 72)
            role = _raid_role(sample, position, block)
            name = block[32:64].split(b"\0")[0].decode("utf-8", "replace")
            return _raid_finding(version, level, disks, f"{role} of array “{name}”")
    old = sample.at((sample.size_bytes & ~0xFFFF) - 0x10000, 4096)
    if old[:4] in (struct.pack("<I", 0xA92B4EFC), struct.pack(">I", 0xA92B4EFC)):
        order = "<" if old[0] == 0xFC else ">"
        (level,) = struct.unpack_from(f"{order}i", old, 28)
        (disks,) = struct.unpack_from(f"{order}I", old, 40)
        (number,) = struct.unpack_from(f"{order}I", old, 3968 + 12)
        return _raid_finding("0.90", level, disks, f"disk {number}")
    return None


def _raid_role(sample: Sample, position: int, block: bytes) -> str:
    (number,) = struct.unpack_from("<I", block, 160)
    raw = sample.at(position + 256 + 2 * number, 2) if number < 1920 else b""
    role = int.from_bytes(raw, "little") if raw else 0xFFFF
    return {0xFFFF: "spare", 0xFFFE: "faulty"}.get(role, f"disk {role}")


def _raid_finding(version: str, level: int, disks: int, role: str) -> Recognised:
    kind = {-4: "multipath", -1: "linear"}.get(level, f"level {level}")
    step = "give it together with the other disks of the array to `mdadm --assemble --readonly` on copies"
    if level == 1:
        step = "it holds a whole copy: give it to `mdadm --assemble --run --readonly` on a copy, ingest the array"
    found = f"a member of a Linux software RAID (linux_raid_member, metadata {version}, {kind}, {disks} disks, {role})"
    return Recognised("linux_raid_member", Route.NONE, 0, found, step, at_end=version in ("1.0", "0.90"))


def _optical(sample: Sample) -> Recognised | None:
    """ECMA-119 and ECMA-167: descriptors in 2048-byte sectors from sector 16 on, the name in bytes 1..5."""
    names = [sample.at(sector * CD_SECTOR + 1, 5) for sector in range(16, 48)]
    has_udf = any(name in (b"NSR02", b"NSR03") for name in names)
    if b"CD001" in names[:16]:
        size = _iso_size(sample)
        remarks = ["a UDF bridge disc: it is read through its ISO 9660 side"] if has_udf else []
        if sample.at(512, 2) == b"PM" or sample.at(1024, 2) in (b"BD", b"H+", b"HX"):
            remarks.append("a hybrid disc: its Apple (HFS) side, which may show other files, is not read")
        return Recognised("iso9660", Route.ISO9660, size, remarks=tuple(remarks))
    if has_udf:
        return Recognised(
            "udf",
            Route.NONE,
            0,
            "a UDF file system without an ISO 9660 side: no reader here opens it",
            "mount it read-only (`mount -t udf -o ro,loop`) and copy its files, or wait for the mount route",
        )
    if sample.at(0, 16)[:12] == b"\0" + b"\xff" * 10 + b"\0":
        return Recognised("iso9660", Route.ISO9660, 0)  # raw sectors of 2352 bytes begin with a sync pattern
    return None


def _iso_size(sample: Sample) -> int:
    """Volume space size times logical block size of the first primary descriptor, 0 if there is none."""
    for sector in range(16, 32):
        block = sample.at(sector * CD_SECTOR, 132)
        if block[:6] == b"\x01CD001":
            (blocks,) = struct.unpack_from("<I", block, 80)
            (block_bytes,) = struct.unpack_from("<H", block, 128)
            return int(blocks) * int(block_bytes)
    return 0


def _fat(sample: Sample) -> Recognised | None:
    variant = fat_variant(sample.at)
    return None if variant is None else Recognised(variant.fstype, Route.TSK, variant.size_bytes)


def _ext(sample: Sample) -> Recognised | None:
    superblock = ExtSuperblock.parse(sample.at(1024, 1024))
    if superblock is None:
        return None
    return Recognised(superblock.fstype, Route.TSK, superblock.block_count * superblock.block_size)


def _by_magic(sample: Sample) -> Recognised | None:
    for magic in MAGIC_NUMBERS:
        if any(sample.at(position, len(magic.value)) == magic.value for position in magic.positions):
            return Recognised(magic.fstype, Route.NONE, 0, magic.finding, magic.next_step)
    return None


def _text(sample: Sample) -> Recognised | None:
    """Only letters, digits, punctuation and line ends in the first 4 KiB: someone gave a document."""
    head = sample.head[:4096]
    if len(head) < 16 or any(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head):
        return None
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as wrong:
        if wrong.start < len(head) - 4:  # a character cut by the end of the sample is no objection
            return None
        text = head[: wrong.start].decode("utf-8")
    if len(set(text)) < 4:
        return None  # one byte repeated is a blank medium
    return Recognised("text", Route.NONE, 0, "this is a text file, not an image", "name the image itself")


PROBES: tuple[Callable[[Sample], Recognised | None], ...] = (
    _boot_sector,
    _fat,
    _ext,
    _optical,
    _by_magic,
    _text,
)
