"""Superblock of a Linux software RAID -> what the member is, whether its array was whole, and what it holds alone."""

from __future__ import annotations

import struct
from typing import NamedTuple

from ntt.model import Route
from ntt.readers.detection.samples import Recognised, Sample

MAGIC = 0xA92B4EFC
FSTYPE = "linux_raid_member"
ROLES_LIMIT = 1920
LEVELS = {-4: "multipath", -1: "linear"}
SPARE, FAULTY, JOURNAL = 0xFFFF, 0xFFFE, 0xFFFD


class Member(NamedTuple):
    """`data_at` and `data_bytes`: where the member's share of the array lies, from its start."""

    version: str
    level: int
    disks: int
    role: str
    missing: int  # disks that the superblock knows to be missing or faulty
    data_at: int
    data_bytes: int


def linux_raid(sample: Sample) -> Recognised | None:
    """Superblock 1.x at 0, 4096 or 8 KiB before the end; 0.90 in the last aligned 64 KiB (md(4), linux/raid/md_p.h)."""
    sectors = sample.size_bytes // 512
    for version, position in (("1.1", 0), ("1.2", 4096), ("1.0", ((sectors - 16) & ~7) * 512)):
        block = sample.at(position, 256)
        if block[:8] == struct.pack("<II", MAGIC, 1):
            return _finding(_modern(sample, version, position, block))
    position = (sample.size_bytes & ~0xFFFF) - 0x10000
    old = sample.at(position, 4096)
    if old[:4] in (struct.pack("<I", MAGIC), struct.pack(">I", MAGIC)):
        return _finding(_old(position, old))
    return None


def _modern(sample: Sample, version: str, position: int, block: bytes) -> Member:
    (level,) = struct.unpack_from("<i", block, 72)
    (disks,) = struct.unpack_from("<I", block, 92)
    data_at, data_size = (512 * sectors for sectors in struct.unpack_from("<QQ", block, 128))
    (number,) = struct.unpack_from("<I", block, 160)
    (slots,) = struct.unpack_from("<I", block, 220)
    raw = sample.at(position + 256, 2 * min(slots, ROLES_LIMIT)) if slots else b""
    roles = struct.unpack(f"<{len(raw) // 2}H", raw)
    own = sample.at(position + 256 + 2 * number, 2) if number < ROLES_LIMIT else b""
    role = int.from_bytes(own, "little") if own else SPARE
    words = {SPARE: "spare", FAULTY: "faulty", JOURNAL: "journal"}.get(role, f"disk {role}")
    name = block[32:64].split(b"\0")[0].decode("utf-8", "replace")
    missing = disks - len({role for role in roles if role < disks}) if roles and disks <= ROLES_LIMIT else 0
    end = position if version == "1.0" else sample.size_bytes
    held = min(data_size or end, end - data_at)
    return Member(version, level, disks, f"{words} of array “{name}”", missing, data_at, held)


def _old(position: int, block: bytes) -> Member:
    order = "<" if block[0] == 0xFC else ">"
    (level,) = struct.unpack_from(f"{order}i", block, 28)
    (disks,) = struct.unpack_from(f"{order}I", block, 40)
    (active,) = struct.unpack_from(f"{order}I", block, 136)
    (number,) = struct.unpack_from(f"{order}I", block, 3968 + 12)
    missing = disks - active if 0 < active < disks else 0
    return Member("0.90", level, disks, f"disk {number}", missing, 0, position)


def _finding(member: Member) -> Recognised:
    kind = LEVELS.get(member.level, f"level {member.level}")
    what = f"linux_raid_member, metadata {member.version}, {kind}, {member.disks} disks, {member.role}"
    state = f"; the array is degraded: {member.missing} of its disks are missing or faulty" if member.missing else ""
    step = "give it together with the other disks of the array to `mdadm --assemble --readonly` on copies"
    if member.level == 1:
        step = "it holds a whole copy: give it to `mdadm --assemble --run --readonly` on a copy, ingest the array"
    return Recognised(
        FSTYPE,
        Route.NONE,
        0,
        f"a member of a Linux software RAID ({what}){state}",
        step,
        at_end=member.version in ("1.0", "0.90"),
        inner=(member.data_at, member.data_bytes) if _is_whole(member) else None,
    )


def _is_whole(member: Member) -> bool:
    """A mirror, and an array of one disk, lie in one piece behind the data offset."""
    if member.data_bytes <= 0:
        return False
    return member.level == 1 or (member.disks == 1 and member.level in (-1, 0))
