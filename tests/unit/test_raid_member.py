"""Members of Linux software arrays: named with all that their superblock says, and read where one holds everything."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from ntt.model import Route, VolumeStatus
from ntt.readers.base import ImageSource
from ntt.readers.detection.signatures import Recognised, recognise
from ntt.readers.detection.volumes import detect

MIB = 1 << 20
SPARE, FAULTY = 0xFFFF, 0xFFFE


def raid_superblock(
    level: int, disks: int, number: int, roles: Mapping[int, int] | None = None, data: tuple[int, int] = (0, 0)
) -> bytes:
    """linux/raid/md_p.h, struct mdp_superblock_1; `data`: (first sector, sectors) of the member's share."""
    block = bytearray(1024)
    struct.pack_into("<II", block, 0, 0xA92B4EFC, 1)
    block[32:41] = b"host:data"
    struct.pack_into("<i", block, 72, level)
    struct.pack_into("<I", block, 92, disks)
    struct.pack_into("<QQ", block, 128, *data)
    struct.pack_into("<I", block, 160, number)
    struct.pack_into("<I", block, 220, disks)
    for disk in range(disks):
        struct.pack_into("<H", block, 256 + 2 * disk, (roles or {}).get(disk, disk))
    return bytes(block)


def old_superblock(level: int, disks: int, number: int, active: int) -> bytes:
    """struct mdp_superblock_s, metadata 0.90."""
    block = bytearray(4096)
    struct.pack_into("<I", block, 0, 0xA92B4EFC)
    struct.pack_into("<i", block, 28, level)
    struct.pack_into("<I", block, 40, disks)
    struct.pack_into("<I", block, 136, active)
    struct.pack_into("<I", block, 3968 + 12, number)
    return bytes(block)


@contextmanager
def image_of(path: Path, pieces: dict[int, bytes]) -> Iterator[ImageSource]:
    content = bytearray(MIB)
    for position, piece in pieces.items():
        content[position : position + len(piece)] = piece
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        yield ImageSource(fd)
    finally:
        os.close(fd)


def member_of(path: Path, pieces: dict[int, bytes]) -> Recognised:
    with image_of(path, pieces) as source:
        found = recognise(source, 0, MIB)
    assert found is not None
    assert found.fstype == "linux_raid_member"
    return found


@pytest.mark.parametrize(("version", "position"), [("1.1", 0), ("1.2", 4096), ("1.0", MIB - 8192)])
def test_a_raid_member_is_named_with_version_level_and_role(version: str, position: int, tmp_path: Path) -> None:
    found = member_of(tmp_path / "image", {position: raid_superblock(5, 3, 2)})
    for words in (f"metadata {version}", "level 5", "3 disks", "disk 2", "host:data"):
        assert words in found.finding
    assert "degraded" not in found.finding
    assert found.inner is None


def test_an_old_raid_member_is_named_too(tmp_path: Path) -> None:
    found = member_of(tmp_path / "image", {MIB - 65_536: old_superblock(0, 2, 1, 2)})
    assert "metadata 0.90, level 0, 2 disks, disk 1" in found.finding
    assert "degraded" not in found.finding


def test_an_array_that_had_lost_disks_is_called_degraded(tmp_path: Path) -> None:
    modern = raid_superblock(6, 4, 0, {1: FAULTY, 3: SPARE})
    assert "2 of its disks are missing or faulty" in member_of(tmp_path / "a", {4096: modern}).finding
    old = old_superblock(5, 3, 0, 2)
    assert "1 of its disks are missing or faulty" in member_of(tmp_path / "b", {MIB - 65_536: old}).finding


@pytest.mark.parametrize(("number", "role"), [(1, "faulty"), (3, "spare")])
def test_a_faulty_or_spare_disk_is_called_so(number: int, role: str, tmp_path: Path) -> None:
    block = raid_superblock(6, 4, number, {1: FAULTY, 3: SPARE})
    assert f"{role} of array" in member_of(tmp_path / "image", {4096: block}).finding


def test_only_a_mirror_or_a_single_disk_can_be_read_alone(tmp_path: Path) -> None:
    data = (64, 1000)
    expected = (64 * 512, 1000 * 512)
    for level, disks, inner in ((1, 2, expected), (-1, 1, expected), (0, 1, expected), (0, 2, None), (10, 2, None)):
        block = raid_superblock(level, disks, 0, data=data)
        assert member_of(tmp_path / "image", {4096: block}).inner == inner


def test_a_mirror_that_holds_nothing_known_is_the_finding(tmp_path: Path) -> None:
    with image_of(tmp_path / "image", {4096: raid_superblock(1, 2, 0, data=(64, 1000))}) as source:
        (volume,) = detect(source, MIB).volumes
    assert (volume.fstype, volume.route, volume.status) == ("linux_raid_member", Route.NONE, VolumeStatus.FINDING)
    assert "mdadm" in volume.next_step


def test_mirrors_inside_of_mirrors_come_to_an_end(tmp_path: Path) -> None:
    pieces = {place: raid_superblock(1, 2, 0, data=(64, 2000)) for place in range(0, MIB, 64 * 512)}
    with image_of(tmp_path / "image", pieces) as source:
        (volume,) = detect(source, MIB).volumes
    assert volume.fstype == "linux_raid_member"
