"""Signatures: each known format is named for what it is, and nothing is taken for what it is not."""

from __future__ import annotations

import os
import random
import struct
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ntt.model import Route, VolumeStatus
from ntt.readers.base import ImageSource
from ntt.readers.detection.blank import blank_fill
from ntt.readers.detection.signatures import Recognised, recognise
from ntt.readers.detection.volumes import detect

MIB = 1 << 20

# Inside Macintosh: Files, "Master Directory Block": 2043 allocation blocks of 512 bytes from sector 5 on, name "V"
HFS_BLOCK = b"BD" + bytes(16) + struct.pack(">HI", 2043, 512) + bytes(4) + struct.pack(">H", 5) + bytes(6) + b"\x01V"

# (what it must be called, where its magic number stands, the magic number), from each format's own documentation
FORMATS = [
    ("xfs", 0, b"XFSB\0\0\x10\0"),
    ("btrfs", 65_536 + 64, b"_BHRfS_M"),
    ("squashfs", 0, b"hsqs\x01\0\0\0"),
    ("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
    ("f2fs", 1024, b"\x10\x20\xf5\xf2"),
    ("udf", 17 * 2048, b"\0NSR02\x01"),
    ("udf", 17 * 2048, b"\0NSR03\x01"),
    ("hfs", 1024, HFS_BLOCK),
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
    ("qcow2", 0, b"QFI\xfb"),
    ("ewf", 0, b"EVF\x09\x0d\x0a\xff\0"),
    ("reiserfs", 65_536 + 52, b"ReIsErFs"),
    ("ufs", 65_536 + 1372, b"\x19\x01\x54\x19"),
    ("jfs", 32_768, b"JFS1"),
    ("romfs", 0, b"-rom1fs-"),
    ("cramfs", 512, b"\x45\x3d\xcd\x28"),
    ("amiga", 0, b"DOS\x03"),
    ("amiga_rdb", 512, b"RDSK\0\0\0\x40"),
    ("lvm1_member", 0, b"HM\x01\0"),
    ("bitlocker", 424, uuid.UUID("4967D63B-2E29-4AD8-8399-F6A339E3D001").bytes_le),
    ("vmdk", 0, b"KDMV"),
    ("vhd", 0, b"conectix"),
    ("vhdx", 0, b"vhdxfile"),
    ("vdi", 64, b"\x7f\x10\xda\xbe"),
    ("dmg", MIB - 512, b"koly\0\0\0\x04"),
    ("nrg", MIB - 12, b"NER5"),
    ("nrg", MIB - 8, b"NERO"),
    ("mds", 0, b"MEDIA DESCRIPTOR"),
    ("cso", 0, b"CISO"),
]

ARCHIVES = [
    ("gzip", 0, b"\x1f\x8b\x08\0"),
    ("bzip2", 0, b"BZh91AY&SY"),
    ("xz", 0, b"\xfd7zXZ\0"),
    ("zstd", 0, b"\x28\xb5\x2f\xfd"),
    ("zip", 0, b"PK\x03\x04"),
    ("7z", 0, b"7z\xbc\xaf\x27\x1c"),
    ("rar", 0, b"Rar!\x1a\x07\x01\0"),
    ("tar", 257, b"ustar\x0000"),
    ("cpio", 0, b"070701"),
    ("lha", 2, b"-lh5-"),
    ("cab", 0, b"MSCF\0\0\0\0"),
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


@pytest.mark.parametrize(("name", "position", "magic"), ARCHIVES)
def test_an_archive_is_called_so_and_by_its_format(name: str, position: int, magic: bytes, tmp_path: Path) -> None:
    found = recognised(tmp_path / "image", MIB, {position: magic})
    assert found is not None
    assert (found.fstype, found.route) == ("archive", Route.ARCHIVE)
    assert f"({name})" in found.remarks[0]
    assert name in found.finding
    assert found.next_step
    moved = recognised(tmp_path / "image", MIB, {position + 1: magic})
    assert moved is None or moved.fstype != "archive"


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


@pytest.mark.parametrize("pattern", [b"\xaa", b"\x92\x49\x24", b"WIPED by the office. "[:16]])
def test_a_wiped_medium_is_called_wiped_and_with_which_pattern(pattern: bytes, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes((pattern * MIB)[: 3 * MIB])
    with (tmp_path / "image").open("rb") as file:
        (volume,) = detect(ImageSource(file.fileno()), 3 * MIB).volumes
    assert volume.fstype == "wiped"
    assert pattern.hex(" ").upper() in volume.finding
    assert "every byte was looked at" in volume.finding


def test_unread_parts_do_not_keep_a_medium_from_being_called_blank(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"\xf6" * MIB)
    with (tmp_path / "image").open("rb") as file:
        source = ImageSource(file.fileno(), ((0, 4096), (500_000, 500_512), (MIB, 1 << 63)))
        blank = blank_fill(source, 0, MIB)
        assert blank is not None
        assert (blank.pattern, blank.sampled_bytes) == (b"\xf6", MIB - 4608)
        (volume,) = detect(source, MIB).volumes
    assert volume.fstype == "blank"


def test_random_bytes_without_a_signature_are_guessed_to_be_encrypted(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(random.Random(7).randbytes(4 * MIB))
    with (tmp_path / "image").open("rb") as file:
        (volume,) = detect(ImageSource(file.fileno()), 4 * MIB).volumes
    assert (volume.fstype, volume.status) == ("random", VolumeStatus.FINDING)
    assert "looks encrypted" in volume.finding
    assert "guess" in volume.finding
    assert volume.next_step


def test_random_bytes_with_one_even_stretch_are_unknown_and_everything_tried_is_named(tmp_path: Path) -> None:
    content = bytearray(random.Random(8).randbytes(4 * MIB))
    content[2 * MIB : 2 * MIB + 8192] = b"letters!" * 1024
    (tmp_path / "image").write_bytes(content)
    with (tmp_path / "image").open("rb") as file:
        (volume,) = detect(ImageSource(file.fileno()), 4 * MIB).volumes
    assert volume.fstype == "unknown"
    for tried in (
        "GPT",
        "MBR",
        "Apple partition map",
        "HFS+",
        "xfs",
        "LUKS",
        "libblkid",
        "odd offsets",
        "qcow2",
        "tar",
    ):
        assert tried in volume.finding


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
