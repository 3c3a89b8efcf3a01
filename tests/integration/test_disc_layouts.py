"""Optical discs: every session, side, partition and track of them is a volume, in images that real tools made."""

from __future__ import annotations

import os
import struct
from contextlib import closing
from pathlib import Path

import pytest
from disk_images import MIB, ext_image, fat_image, layout_of, noise, opened, partitioned, run, walked

from ntt.model import Layout, Route, Volume, VolumeStatus
from ntt.readers.detection.volumes import detect
from ntt.readers.opening import open_volume

SYNC = b"\0" + b"\xff" * 10 + b"\0"
RAW_BYTES = 2352


def tree(root: Path, *names: str) -> Path:
    root.mkdir()
    for name in names:
        (root / name).write_bytes(noise(20_000, len(name)))
    return root


def iso(image: Path, source: Path, *options: str | Path) -> Path:
    run("xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", image, *options, source)
    return image


def kinds(layout: Layout) -> list[tuple[str, int]]:
    return [(volume.fstype, volume.offset_bytes) for volume in layout.volumes]


def names_in(image: Path, volume: Volume) -> set[bytes]:
    with opened(image) as source, closing(open_volume(source, volume)) as reader:
        return set(walked(reader).entries)


def raw_sectors(cooked: bytes, first_block: int = 0) -> bytes:
    """Mode 1 sectors with their addresses (ECMA-130, 14), without checksums."""
    sectors: list[bytes] = []
    for index in range(len(cooked) // 2048):
        minute, rest = divmod(first_block + index + 150, 75 * 60)
        second, frame = divmod(rest, 75)
        address = bytes(value // 10 << 4 | value % 10 for value in (minute, second, frame))
        user = cooked[index * 2048 : (index + 1) * 2048]
        sectors.append(SYNC + address + b"\x01" + user + bytes(288))
    return b"".join(sectors)


# ---------------------------------------------------------------- sides and partitions


def test_an_efi_partition_beside_an_iso_is_a_volume_of_its_own(tmp_path: Path) -> None:
    esp = fat_image(tmp_path / "esp", 12, tree(tmp_path / "efi", "BOOTX64.EFI"), 1440)
    options: tuple[str | Path, ...] = ("-append_partition", "2", "0xef", esp)
    image = iso(tmp_path / "image", tree(tmp_path / "tree", "on the iso"), *options)
    layout = layout_of(image)
    assert layout.scheme == "hybrid"
    first, second = layout.volumes
    assert (first.fstype, first.status, first.offset_bytes) == ("iso9660", VolumeStatus.READ, 0)
    assert (second.fstype, second.status) == ("fat12", VolumeStatus.READ)
    assert b"on the iso" in names_in(image, first)
    assert b"BOOTX64.EFI" in names_in(image, second)
    assert any("MBR names partitions beside the iso9660" in remark for remark in layout.remarks)


def test_an_efi_partition_that_only_a_gpt_names_is_found_too(tmp_path: Path) -> None:
    esp = fat_image(tmp_path / "esp", 12, tree(tmp_path / "efi", "BOOTX64.EFI"), 1440)
    options: tuple[str | Path, ...] = ("-append_partition", "2", "0xef", esp, "-appended_part_as_gpt")
    image = iso(tmp_path / "image", tree(tmp_path / "tree", "on the iso"), *options)
    layout = layout_of(image)
    assert [volume.fstype for volume in layout.volumes] == ["iso9660", "fat12"]
    assert any("GPT names partitions beside the iso9660" in remark for remark in layout.remarks)


def test_a_partition_that_is_the_iso_itself_is_no_further_volume(tmp_path: Path) -> None:
    image = iso(tmp_path / "image", tree(tmp_path / "tree", "file"), "-partition_offset", "16")
    layout = layout_of(image)
    assert kinds(layout) == [("iso9660", 0)]
    assert any("shows the same disc again" in remark for remark in layout.remarks)


def test_both_sides_of_a_hybrid_disc_with_an_apple_map_are_volumes(tmp_path: Path) -> None:
    image = iso(tmp_path / "image", tree(tmp_path / "tree", "file"), "-hfsplus")
    layout = layout_of(image)
    assert layout.scheme == "hybrid"
    first, second = layout.volumes
    assert (first.fstype, first.scheme, first.offset_bytes) == ("iso9660", "hybrid", 0)
    assert (second.fstype, second.scheme) == ("hfsplus", "hybrid")
    header = image.read_bytes()[second.offset_bytes + 1024 :]
    block_bytes, blocks = struct.unpack_from(">II", header, 40)
    assert (header[:2], second.size_bytes) == (b"H+", block_bytes * blocks)
    assert any("1 Apple_partition_map" in remark for remark in layout.remarks)
    for volume in layout.volumes:
        assert b"file" in names_in(image, volume)


def test_both_sides_of_a_classic_hybrid_disc_are_volumes_with_and_without_a_map(tmp_path: Path) -> None:
    source = tree(tmp_path / "tree", "file")
    for options, starts_at_0 in (((), True), (("-part",), False)):
        image = tmp_path / f"image{len(options)}"
        run("genisoimage", "-quiet", "-hfs", "-probe", "-r", *options, "-o", image, source)
        layout = layout_of(image)
        first, second = layout.volumes
        assert (first.fstype, second.fstype) == ("iso9660", "hfs")
        assert (second.offset_bytes == 0) is starts_at_0
        assert image.read_bytes()[second.offset_bytes + 1024 :][:2] == b"BD"
        assert (second.status, second.finding) == (VolumeStatus.READ, "")
        assert b"file" in names_in(image, second)


def test_the_udf_side_of_a_bridge_disc_is_a_volume_of_its_own(tmp_path: Path) -> None:
    image = tmp_path / "image"
    run("genisoimage", "-quiet", "-udf", "-r", "-J", "-o", image, tree(tmp_path / "tree", "file"))
    layout = layout_of(image)
    assert (layout.scheme, kinds(layout)) == ("hybrid", [("iso9660", 0), ("udf", 0)])
    for volume in layout.volumes:
        assert volume.status is VolumeStatus.READ
        assert b"file" in names_in(image, volume)
    assert any("its UDF side is a volume" in remark for remark in layout.remarks)


def test_a_plain_udf_volume_has_the_size_that_it_claims_and_says_what_is_missing(tmp_path: Path) -> None:
    for block_bytes in (512, 2048):
        image = tmp_path / f"image{block_bytes}"
        run("mkudffs", "--new-file", "-b", str(block_bytes), image, str(8 * MIB // block_bytes))
        (whole,) = layout_of(image).volumes
        assert (whole.fstype, whole.offset_bytes) == ("udf", 0)
        assert 7 * MIB < whole.size_bytes <= image.stat().st_size
        os.truncate(image, 3 * MIB)
        (cut,) = layout_of(image).volumes
        assert cut.size_bytes == whole.size_bytes
        assert f"reaches {whole.size_bytes - 3 * MIB} bytes beyond the end of the image" in cut.finding


def test_a_cut_disc_says_how_much_of_it_is_missing(tmp_path: Path) -> None:
    image = iso(tmp_path / "image", tree(tmp_path / "tree", "one", "another", "a third", "the fourth"))
    size = layout_of(image).volumes[0].size_bytes
    cut = size - 40_960
    os.truncate(image, cut)
    (volume,) = layout_of(image).volumes
    assert volume.status is VolumeStatus.READ
    assert volume.finding.startswith("the volume reaches 40960 bytes beyond the end of the image")
    assert volume.next_step


# ---------------------------------------------------------------- sessions


def test_each_session_is_a_volume_and_the_newest_comes_first(tmp_path: Path) -> None:
    image = tmp_path / "image"
    for number in (1, 2, 3):
        source = tree(tmp_path / f"tree{number}", f"from session {number}")
        run("xorriso", "-dev", image, "-volid", f"SESSION{number}", "-map", source, f"/{number}", "--")
    layout = layout_of(image)
    assert layout.scheme == "sessions"
    assert [volume.label for volume in layout.volumes] == ["SESSION3", "SESSION2", "SESSION1"]
    assert [volume.finding for volume in layout.volumes] == [""] * 3
    starts = [volume.session_bytes for volume in layout.volumes]
    assert starts == sorted(starts, reverse=True)
    newest, _, oldest = layout.volumes
    assert {b"1", b"2", b"3"} <= names_in(image, newest)
    assert b"2" not in names_in(image, oldest)
    assert "volume 1: session 3 of 3" in layout.remarks


# ---------------------------------------------------------------- raw sectors


def test_a_disc_in_raw_sectors_is_read_through_its_user_data(tmp_path: Path) -> None:
    cooked = iso(tmp_path / "cooked", tree(tmp_path / "tree", "file")).read_bytes()
    image = tmp_path / "image"
    image.write_bytes(raw_sectors(cooked))
    (volume,) = layout_of(image).volumes
    assert (volume.fstype, volume.route, volume.status) == ("iso9660", Route.ISO9660, VolumeStatus.READ)
    assert (volume.scheme, volume.offset_bytes, volume.sector_bytes, volume.data_at) == ("cue", 0, RAW_BYTES, 16)
    assert b"file" in names_in(image, volume)


@pytest.mark.parametrize("first", [2048, 2049])  # at the start of a raw sector, and inside of one
def test_a_partition_of_a_raw_disc_is_read(first: int, tmp_path: Path) -> None:
    part = ext_image(tmp_path / "part", "ext2", tree(tmp_path / "tree", "file"), 4)
    disk = partitioned(tmp_path / "disk", f"label: dos\nstart={first}, size=8192, type=83", 6, {first * 512: part})
    image = tmp_path / "image"
    image.write_bytes(raw_sectors(disk.read_bytes()))
    (volume,) = layout_of(image).volumes
    assert (volume.fstype, volume.status, volume.finding) == ("ext2", VolumeStatus.READ, "")
    assert (volume.offset_bytes, volume.session_bytes, volume.sector_bytes) == (0, first * 512, RAW_BYTES)
    assert b"file" in names_in(image, volume)


def test_the_apple_side_of_a_raw_disc_is_read(tmp_path: Path) -> None:
    cooked = iso(tmp_path / "cooked", tree(tmp_path / "tree", "file"), "-hfsplus")
    image = tmp_path / "image"
    image.write_bytes(raw_sectors(cooked.read_bytes()))
    first, second = layout_of(image).volumes
    assert (first.fstype, second.fstype) == ("iso9660", "hfsplus")
    for volume in (first, second):
        assert volume.status is VolumeStatus.READ
        assert b"file" in names_in(image, volume)


def test_tracks_of_sound_are_named_with_their_length(tmp_path: Path) -> None:
    cooked = iso(tmp_path / "cooked", tree(tmp_path / "tree", "file")).read_bytes()
    data = raw_sectors(cooked)
    sectors = len(data) // RAW_BYTES
    image = tmp_path / "disc.bin"
    image.write_bytes(data + b"\x11\x22" * (RAW_BYTES // 2) * 75 * 65)
    minutes, rest = divmod(sectors, 75 * 60)
    cue = (
        'FILE "disc.bin" BINARY\n  TRACK 01 MODE1/2352\n    INDEX 01 00:00:00\n'
        f"  TRACK 02 AUDIO\n    INDEX 01 {minutes:02d}:{rest // 75:02d}:{rest % 75:02d}\n"
    )
    with opened(image) as source:
        data_track, sound = detect(source, source.size_bytes, cue).volumes
    assert (data_track.fstype, data_track.status) == ("iso9660", VolumeStatus.READ)
    assert (sound.fstype, sound.status, sound.route) == ("audio", VolumeStatus.FINDING, Route.NONE)
    assert sound.finding == "track 2 is sound (01:05): it holds no files"
    assert "cdparanoia" in sound.next_step
    assert sound.offset_bytes == len(data)
