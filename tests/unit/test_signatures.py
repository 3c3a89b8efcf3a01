"""Signatures: each known format is named for what it is, and nothing is taken for what it is not."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ntt.model import Route, VolumeStatus
from ntt.readers.base import ImageSource
from ntt.readers.blank import blank_fill
from ntt.readers.signatures import Recognised, recognise
from ntt.readers.volumes import detect

MIB = 1 << 20

# (what it must be called, where its magic number stands, the magic number), from each format's own documentation
FORMATS = [
    ("xfs", 0, b"XFSB\0\0\x10\0"),
    ("btrfs", 65_536 + 64, b"_BHRfS_M"),
    ("squashfs", 0, b"hsqs\x01\0\0\0"),
    ("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
    ("f2fs", 1024, b"\x10\x20\xf5\xf2"),
    ("udf", 17 * 2048, b"\0NSR02\x01"),
    ("udf", 17 * 2048, b"\0NSR03\x01"),
    ("hfs", 1024, b"BD\0\0"),
    ("hfsplus", 1024, b"H+\0\x04"),
    ("hfsplus", 1024, b"HX\0\x05"),
    ("apfs", 32, b"NXSB"),
    ("luks1", 0, b"LUKS\xba\xbe\0\x01"),
    ("luks2", 0, b"LUKS\xba\xbe\0\x02"),
    ("bitlocker", 0, b"\xeb\x58\x90-FVE-FS-"),
    ("lvm2_member", 512, b"LABELONE" + bytes(16) + b"LVM2 001"),
    ("swap", 4096 - 10, b"SWAPSPACE2"),
    ("swap", 65_536 - 10, b"SWAPSPACE2"),
    ("zfs_member", 128 << 10, b"\x0c\xb1\xba\0\0\0\0\0"),
    ("gzip", 0, b"\x1f\x8b\x08\0"),
    ("bzip2", 0, b"BZh91AY&SY"),
    ("xz", 0, b"\xfd7zXZ\0"),
    ("zstd", 0, b"\x28\xb5\x2f\xfd"),
    ("zip", 0, b"PK\x03\x04"),
    ("7z", 0, b"7z\xbc\xaf\x27\x1c"),
    ("rar", 0, b"Rar!\x1a\x07\x01\0"),
    ("tar", 257, b"ustar\x0000"),
    ("qcow2", 0, b"QFI\xfb"),
    ("ewf", 0, b"EVF\x09\x0d\x0a\xff\0"),
    ("reiserfs", 65_536 + 52, b"ReIsErFs"),
    ("ufs", 65_536 + 1372, b"\x19\x01\x54\x19"),
    ("apple_partition_map", 512, b"PM\0\0"),
]


@contextmanager
def image_of(path: Path, size_bytes: int, pieces: dict[int, bytes], fill: bytes = b"\0") -> Iterator[ImageSource]:
    content = bytearray(fill * size_bytes)
    for position, piece in pieces.items():
        content[position : position + len(piece)] = piece
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        yield ImageSource(fd)
    finally:
        os.close(fd)


def recognised(path: Path, size_bytes: int, pieces: dict[int, bytes]) -> Recognised | None:
    with image_of(path, size_bytes, pieces) as source:
        return recognise(source, 0, size_bytes)


@pytest.mark.parametrize(("fstype", "position", "magic"), FORMATS)
def test_a_format_without_a_reader_is_named_with_a_next_step(
    fstype: str, position: int, magic: bytes, tmp_path: Path
) -> None:
    with image_of(tmp_path / "image", MIB, {position: magic}) as source:
        layout = detect(source, MIB)
    (volume,) = layout.volumes
    assert (volume.fstype, volume.route, volume.status) == (fstype, Route.NONE, VolumeStatus.FINDING)
    assert volume.finding
    assert volume.next_step
    assert (volume.index, volume.offset_bytes, volume.size_bytes) == (1, 0, MIB)


@pytest.mark.parametrize(("fstype", "position", "magic"), FORMATS)
def test_a_magic_number_one_byte_off_its_place_says_nothing(
    fstype: str, position: int, magic: bytes, tmp_path: Path
) -> None:
    found = recognised(tmp_path / "image", MIB, {position + 1: magic})
    assert found is None or found.fstype != fstype


@pytest.mark.parametrize(("fstype", "position", "magic"), FORMATS)
def test_a_signature_behind_the_end_of_its_volume_belongs_to_the_next_one(
    fstype: str, position: int, magic: bytes, tmp_path: Path
) -> None:
    with image_of(tmp_path / "image", MIB, {position: magic}) as source:
        assert recognise(source, 0, position) is None


def raid_superblock(level: int, disks: int, number: int) -> bytes:
    """linux/raid/md_p.h, struct mdp_superblock_1."""
    block = bytearray(512)
    struct.pack_into("<II", block, 0, 0xA92B4EFC, 1)
    block[32:41] = b"host:data"
    struct.pack_into("<i", block, 72, level)
    struct.pack_into("<I", block, 92, disks)
    struct.pack_into("<I", block, 160, number)
    for disk in range(disks):
        struct.pack_into("<H", block, 256 + 2 * disk, disk)
    return bytes(block)


@pytest.mark.parametrize(("version", "position"), [("1.1", 0), ("1.2", 4096), ("1.0", MIB - 8192)])
def test_a_raid_member_is_named_with_version_level_and_role(version: str, position: int, tmp_path: Path) -> None:
    found = recognised(tmp_path / "image", MIB, {position: raid_superblock(5, 3, 2)})
    assert found is not None
    assert found.fstype == "linux_raid_member"
    for words in (f"metadata {version}", "level 5", "3 disks", "disk 2", "host:data"):
        assert words in found.finding


def test_an_old_raid_member_is_named_too(tmp_path: Path) -> None:
    block = bytearray(4096)
    struct.pack_into("<I", block, 0, 0xA92B4EFC)
    struct.pack_into("<i", block, 28, 0)
    struct.pack_into("<I", block, 40, 2)
    struct.pack_into("<I", block, 3968 + 12, 1)
    found = recognised(tmp_path / "image", MIB, {MIB - 65_536: bytes(block)})
    assert found is not None
    assert "metadata 0.90, level 0, 2 disks, disk 1" in found.finding


def test_text_is_called_text(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("Grüße aus dem Archiv.\n" * 400)
    with path.open("rb") as file:
        source = ImageSource(file.fileno())
        (volume,) = detect(source, source.size_bytes).volumes
    assert volume.fstype == "text"
    assert volume.finding == "this is a text file, not an image"


@pytest.mark.parametrize("fill", [0x00, 0xFF, 0xF6, 0x55])
def test_a_blank_medium_is_called_blank_and_by_which_byte(fill: int, tmp_path: Path) -> None:
    with image_of(tmp_path / "image", MIB, {}, bytes([fill])) as source:
        (volume,) = detect(source, MIB).volumes
    assert volume.fstype == "blank"
    assert f"0x{fill:02X}" in volume.finding
    assert "every byte was looked at" in volume.finding


def test_one_other_byte_makes_a_medium_not_blank(tmp_path: Path) -> None:
    with image_of(tmp_path / "image", MIB, {MIB - 1: b"\x01"}) as source:
        (volume,) = detect(source, MIB).volumes
    assert volume.fstype == "unknown"
    assert "none of what is known" in volume.finding


def test_a_large_blank_is_judged_by_samples_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with path.open("rb") as file:
        source = ImageSource(file.fileno())
        blank = blank_fill(source, 0, source.size_bytes)
        assert blank is not None
        assert not blank.is_whole
        (volume,) = detect(source, source.size_bytes).volumes
    assert f"{blank.sampled_bytes} bytes in samples" in volume.finding


def test_what_was_never_read_is_not_called_blank(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(MIB))
    fd = os.open(tmp_path / "image", os.O_RDONLY)
    try:
        (volume,) = detect(ImageSource(fd, ((0, 1 << 63),)), MIB).volumes
    finally:
        os.close(fd)
    assert volume.fstype == "unknown"
    assert "no byte of this volume could be read" in volume.finding


def test_an_empty_image_is_one_unknown_volume(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"")
    fd = os.open(tmp_path / "image", os.O_RDONLY)
    try:
        (volume,) = detect(ImageSource(fd), 0).volumes
    finally:
        os.close(fd)
    assert (volume.fstype, volume.status) == ("unknown", VolumeStatus.FINDING)
