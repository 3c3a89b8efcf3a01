"""Whole disks: every partition is read or named with a reason and a next step, also on damaged and cut images."""

from __future__ import annotations

import os
import random
import struct
import time
from contextlib import closing
from pathlib import Path

import pytest
from disk_images import (
    MIB,
    bytes_at,
    ext_image,
    fat_image,
    layout_of,
    noise,
    ntfs_image,
    opened,
    partitioned,
    run,
    walked,
)

from ntt.model import Entry, Route, VolumeStatus
from ntt.readers.detection.volumes import detect
from ntt.readers.opening import open_volume

SECTOR = 512


def small_tree(root: Path, name: str) -> Path:
    root.mkdir()
    (root / name).write_bytes(noise(20_000, len(name)))
    return root


def mbr_disk(folder: Path) -> Path:
    """p1 ext4, p2 swap, p3 NTFS, p4 extended with p5 ext2, p6 FAT12, p7 nothing, p8 LUKS, p9 ext3 up to the end."""
    tree = small_tree(folder / "tree", "file")
    parts = {
        1: ext_image(folder / "p1", "ext4", tree, 8),
        3: ntfs_image(folder / "p3", tree, 8),
        5: ext_image(folder / "p5", "ext2", tree, 4),
        6: fat_image(folder / "p6", 12, tree, 5 * 1024),
        9: ext_image(folder / "p9", "ext3", tree, 12),
    }
    (folder / "p2").write_bytes(bytes(2 * MIB))
    run("mkswap", folder / "p2")
    parts[2] = folder / "p2"
    (folder / "p8").write_bytes(b"LUKS\xba\xbe\0\x02" + noise(4096))
    parts[8] = folder / "p8"
    starts = {1: 1, 2: 9, 3: 11, 5: 20, 6: 25, 7: 31, 8: 33, 9: 36}
    sizes = {1: 8, 2: 2, 3: 8, 5: 4, 6: 5, 7: 1, 8: 2, 9: 12}
    kinds = {1: "83", 2: "82", 3: "7", 5: "83", 6: "1", 7: "a5", 8: "83", 9: "83"}
    lines = ["label: dos"]
    for number in (1, 2, 3):
        lines.append(f"start={starts[number] * 2048}, size={sizes[number] * 2048}, type={kinds[number]}")
    lines.append("start=38912, size=61440, type=5")
    for number in (5, 6, 7, 8, 9):
        lines.append(f"start={starts[number] * 2048}, size={sizes[number] * 2048}, type={kinds[number]}")
    places = {starts[number] * MIB: part for number, part in parts.items()}
    return partitioned(folder / "disk", "\n".join(lines), 50, places)


def test_every_partition_of_an_mbr_disk_is_read_or_named(tmp_path: Path) -> None:
    disk = mbr_disk(tmp_path)
    with opened(disk) as source:
        layout = detect(source, source.size_bytes)
        assert (layout.scheme, layout.remarks) == ("mbr", ())
        volumes = layout.volumes
        assert [volume.index for volume in volumes] == list(range(1, 9))
        kinds = ["ext4", "swap", "ntfs", "ext2", "fat12", "blank", "luks2", "ext3"]
        assert [volume.fstype for volume in volumes] == kinds
        for volume in volumes:
            if volume.fstype in ("swap", "blank", "luks2"):
                assert (volume.status, volume.route) == (VolumeStatus.FINDING, Route.NONE)
                assert volume.finding
                assert volume.next_step
                continue
            assert (volume.status, volume.finding) == (VolumeStatus.READ, "")
            with closing(open_volume(source, volume)) as reader:
                entry = next(found for found in reader.walk() if isinstance(found, Entry) and found.name == b"file")
                assert reader.read(entry.ino, 0, 30_000) == noise(20_000, 4)
                assert bytes_at(source, reader.extents(entry.ino)) == noise(20_000, 4)
        assert "FreeBSD" in volumes[5].finding


def test_a_partition_that_reaches_beyond_a_cut_image_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    disk = mbr_disk(tmp_path)
    cut = 42 * MIB
    os.truncate(disk, cut)
    with opened(disk, ((cut, 1 << 63),)) as source:
        *_, last = detect(source, 50 * MIB).volumes
        assert last.status is VolumeStatus.READ
        assert (
            last.finding
            == f"the partition reaches {6 * MIB} bytes beyond the end of the image: what lies inside is read"
        )
        with closing(open_volume(source, last)) as reader:
            assert b"file" in walked(reader).entries
    os.truncate(disk, 33 * MIB)
    cut_off = layout_of(disk, 50 * MIB).volumes[-1]
    assert cut_off.status is VolumeStatus.FINDING
    assert "wholly beyond the end of the image" in cut_off.finding


def test_a_gpt_disk_with_a_damaged_primary_is_read_through_its_backup(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree", "file")
    part = ext_image(tmp_path / "part", "ext4", tree, 8)
    script = "label: gpt\nstart=2048, size=16384\nstart=18432, size=2048, type=E3C9E316-0B5C-4DB8-817D-F92DF00215AE"
    disk = partitioned(tmp_path / "disk", script, 12, {MIB: part})
    sound = layout_of(disk)
    assert (sound.scheme, sound.remarks) == ("gpt", ())
    with disk.open("r+b") as file:
        file.seek(SECTOR)
        file.write(bytes(33 * SECTOR))
    damaged = layout_of(disk)
    assert damaged.volumes == sound.volumes
    assert "backup" in damaged.remarks[0]
    assert [volume.fstype for volume in sound.volumes] == ["ext4", "unknown"]
    assert sound.volumes[1].finding == "Microsoft reserved: it holds no files"


def test_a_file_system_at_byte_0_wins_over_what_looks_like_a_table(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree", "file")
    for bits, kib in ((12, 1440), (16, 20_000), (32, 70_000)):
        image = fat_image(tmp_path / f"fat{bits}", bits, tree, kib)
        assert image.read_bytes()[510:512] == b"\x55\xaa"
        layout = layout_of(image)
        assert layout.scheme == "none"
        assert [volume.fstype for volume in layout.volumes] == [f"fat{bits}"]
    ntfs = layout_of(ntfs_image(tmp_path / "ntfs", tree, 8))
    assert [(volume.scheme, volume.fstype) for volume in ntfs.volumes] == [("none", "ntfs")]


def test_a_floppy_without_the_boot_mark_is_recognised_by_its_media_byte(tmp_path: Path) -> None:
    image = fat_image(tmp_path / "floppy", 12, small_tree(tmp_path / "tree", "file"), 720)
    with image.open("r+b") as file:
        file.seek(510)
        file.write(b"\0\0")
    (volume,) = layout_of(image).volumes
    assert (volume.fstype, volume.status) == ("fat12", VolumeStatus.READ)


def test_an_iso_with_a_boot_table_is_an_iso(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree", "file")
    image = tmp_path / "disc.iso"
    run("genisoimage", "-quiet", "-r", "-V", "NTTDISC", "-o", image, tree)
    with image.open("r+b") as file:
        file.seek(446)
        file.write(bytes.fromhex("8000010083ff3fff0000000000100000"))
        file.seek(510)
        file.write(b"\x55\xaa")
    (volume,) = layout_of(image).volumes
    assert (volume.fstype, volume.route, volume.label) == ("iso9660", Route.ISO9660, "NTTDISC")
    assert volume.status is VolumeStatus.READ


def test_a_cut_file_system_without_a_table_says_how_much_is_missing(tmp_path: Path) -> None:
    image = ext_image(tmp_path / "image", "ext4", small_tree(tmp_path / "tree", "file"), 20)
    os.truncate(image, 15 * MIB)
    (volume,) = layout_of(image).volumes
    assert (volume.status, volume.size_bytes) == (VolumeStatus.READ, 20 * MIB)
    assert volume.finding.startswith(f"the volume reaches {5 * MIB} bytes beyond the end of the image")


def test_a_file_system_larger_than_its_partition_says_so(tmp_path: Path) -> None:
    part = ext_image(tmp_path / "part", "ext4", small_tree(tmp_path / "tree", "file"), 8)
    disk = partitioned(tmp_path / "disk", "label: dos\nstart=2048, size=12288, type=83", 12, {MIB: part})
    (volume,) = layout_of(disk).volumes
    assert volume.status is VolumeStatus.READ
    assert volume.finding.startswith(f"the file system reaches {2 * MIB} bytes beyond the end of its partition")


def test_a_file_system_that_does_not_open_is_a_finding_that_names_the_cause(tmp_path: Path) -> None:
    image = ntfs_image(tmp_path / "image", None, 8)
    with image.open("r+b") as file:
        file.seek(4 * 4096)  # where mkntfs puts the master file table
        file.write(bytes(4096))
    (volume,) = layout_of(image).volumes
    assert (volume.fstype, volume.status, volume.route) == ("ntfs", VolumeStatus.FINDING, Route.NONE)
    assert "could not be opened" in volume.finding
    assert volume.next_step


# ---------------------------------------------------------------- at odd places


@pytest.mark.parametrize("start", [512, 16_384, 63 * 512, 1_047_552, MIB, 5 * MIB, 16 * 63 * 512, 255 * 63 * 512])
@pytest.mark.parametrize("fstype", ["fat12", "ext2"])
def test_a_file_system_at_an_odd_place_is_found_and_read(fstype: str, start: int, tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree", "file")
    part = tmp_path / "part"
    if fstype == "fat12":
        fat_image(part, 12, tree, 6 * 1024)
    else:
        ext_image(part, "ext2", tree, 6)
    image = shifted(tmp_path / "image", part, start)
    layout = layout_of(image)
    (volume,) = layout.volumes
    assert (volume.fstype, volume.offset_bytes, volume.size_bytes) == (fstype, start, 6 * MIB)
    assert (volume.status, volume.finding) == (VolumeStatus.READ, "")
    assert f"begins at byte {start}" in layout.remarks[0]
    with opened(image) as source, closing(open_volume(source, volume)) as reader:
        assert b"file" in walked(reader).entries


def test_an_odd_place_on_a_large_empty_disk_is_found_too(tmp_path: Path) -> None:
    part = fat_image(tmp_path / "part", 12, small_tree(tmp_path / "tree", "file"), 6 * 1024)
    image = shifted(tmp_path / "image", part, 16_384)
    os.truncate(image, 1 << 40)
    (volume,) = layout_of(image).volumes
    assert (volume.fstype, volume.offset_bytes) == ("fat12", 16_384)


def test_a_copy_of_a_superblock_is_no_file_system_but_tells_of_one(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree", "file")
    for options, block, block_bytes in (((), 8193, 1024), (("-b", "4096"), 32_768, 4096)):
        image = ext_image(tmp_path / f"image{block}", "ext4", tree, 20 if block == 8193 else 160, *options)
        with image.open("r+b") as file:
            file.write(bytes(2048))
        (volume,) = layout_of(image).volumes
        assert (volume.fstype, volume.status, volume.offset_bytes) == ("ext4", VolumeStatus.FINDING, 0)
        assert f"a copy of it stands at byte {block * block_bytes}" in volume.finding
        assert f"e2fsck -b {block} -B {block_bytes}" in volume.next_step


def test_lost_boot_sectors_of_fat32_and_ntfs_are_told_by_their_copies(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree", "file")
    for image, fstype in (
        (fat_image(tmp_path / "fat", 32, tree, 70_000), "fat32"),
        (ntfs_image(tmp_path / "ntfs", tree, 8), "ntfs"),
    ):
        with image.open("r+b") as file:
            file.write(bytes(512))
        (volume,) = layout_of(image).volumes
        assert (volume.fstype, volume.status) == (fstype, VolumeStatus.FINDING)
        assert "whose boot sector is lost" in volume.finding
        assert "on a copy of the image" in volume.next_step


def test_a_disk_behind_a_foreign_header_is_read(tmp_path: Path) -> None:
    part = ext_image(tmp_path / "part", "ext4", small_tree(tmp_path / "tree", "file"), 4)
    disk = partitioned(tmp_path / "disk", "label: dos\nstart=2048, size=8192, type=83", 6, {MIB: part})
    layout = layout_of(shifted(tmp_path / "image", disk, 1536))
    assert [(v.fstype, v.offset_bytes, v.status) for v in layout.volumes] == [("ext4", MIB + 1536, VolumeStatus.READ)]
    assert any("begins at byte 1536" in remark for remark in layout.remarks)


def test_a_table_that_came_after_a_file_system_and_left_it_standing_hides_neither(tmp_path: Path) -> None:
    old = ext_image(tmp_path / "old", "ext2", small_tree(tmp_path / "old tree", "old file"), 20)
    new = fat_image(tmp_path / "new", 12, small_tree(tmp_path / "new tree", "new file"), 4096)
    with old.open("r+b") as file:
        file.seek(446)
        file.write(struct.pack("<B3xB3xII", 0, 0x01, 10 * 2048, 4 * 2048))
        file.seek(510)
        file.write(b"\x55\xaa")
        file.seek(10 * MIB)
        file.write(new.read_bytes())
    layout = layout_of(old)
    assert [(volume.fstype, volume.offset_bytes) for volume in layout.volumes] == [("ext2", 0), ("fat12", 10 * MIB)]
    assert any("left from an earlier use" in remark for remark in layout.remarks)


def test_the_disk_of_a_virtual_machine_inside_a_partition_is_read(tmp_path: Path) -> None:
    part = ext_image(tmp_path / "part", "ext4", small_tree(tmp_path / "tree", "file"), 4)
    guest = partitioned(tmp_path / "guest", "label: gpt\nstart=2048, size=8192", 6, {MIB: part})
    host = partitioned(tmp_path / "host", "label: dos\nstart=2048, size=12288, type=83", 8, {MIB: guest})
    layout = layout_of(host)
    assert [(v.fstype, v.offset_bytes, v.status) for v in layout.volumes] == [("ext4", 2 * MIB, VolumeStatus.READ)]


# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize(("version", "place"), [("1.1", 0), ("1.2", 4096)])
@pytest.mark.parametrize("is_partitioned", [False, True])
def test_a_mirror_is_read_behind_its_data_offset(
    version: str, place: int, is_partitioned: bool, tmp_path: Path
) -> None:
    part = ext_image(tmp_path / "part", "ext4", small_tree(tmp_path / "tree", "file"), 6)
    if is_partitioned:
        part = partitioned(tmp_path / "disk", "label: dos\nstart=2048, size=12288, type=83", 8, {MIB: part})
    sectors = part.stat().st_size // SECTOR
    image = shifted(tmp_path / "image", part, 2 * MIB)
    with image.open("r+b") as file:
        file.seek(place)
        file.write(mirror_superblock(place, 4096, sectors))
    assert f"Version : {version}" in run("mdadm", "--examine", image)
    layout = layout_of(image)
    (volume,) = layout.volumes
    expected = 3 * MIB if is_partitioned else 2 * MIB
    assert (volume.fstype, volume.offset_bytes, volume.status) == ("ext4", expected, VolumeStatus.READ)
    assert any(f"metadata {version}, level 1, 2 disks" in remark for remark in layout.remarks)
    assert any("degraded: 1 of its disks" in remark for remark in layout.remarks)
    with opened(image) as source, closing(open_volume(source, volume)) as reader:
        assert b"file" in walked(reader).entries


def mirror_superblock(place: int, data_at: int, sectors: int) -> bytes:
    """linux/raid/md_p.h, struct mdp_superblock_1, with its checksum: disk 0 of 2, the other one faulty."""
    block = bytearray(256 + 2 * 2)
    struct.pack_into("<II", block, 0, 0xA92B4EFC, 1)
    block[16:32] = noise(16)
    block[32:41] = b"host:data"
    struct.pack_into("<i4xQI", block, 72, 1, sectors, 0)
    struct.pack_into("<I", block, 92, 2)
    struct.pack_into("<QQQ", block, 128, data_at, sectors, place // SECTOR)
    struct.pack_into("<I", block, 220, 2)
    struct.pack_into("<HH", block, 256, 0, 0xFFFE)
    total = sum(struct.unpack(f"<{len(block) // 4}I", block))
    struct.pack_into("<I", block, 216, ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF)
    return bytes(block)


def shifted(image: Path, part: Path, start: int) -> Path:
    """`part` with so many bytes of nothing before it."""
    with image.open("wb") as file:
        file.truncate(start + part.stat().st_size)
        file.seek(start)
        file.write(part.read_bytes())
    return image


def test_a_mirror_with_its_superblock_at_the_end_is_read_and_named(tmp_path: Path) -> None:
    image = ext_image(tmp_path / "image", "ext4", small_tree(tmp_path / "tree", "file"), 8)
    block = bytearray(512)
    block[:8] = bytes.fromhex("fc4e2ba901000000")
    block[72] = 1
    block[92] = 2
    with image.open("r+b") as file:
        file.seek(9 * MIB - 8192)
        file.write(block)
        file.truncate(9 * MIB)
    layout = layout_of(image)
    (volume,) = layout.volumes
    assert (volume.fstype, volume.status, volume.offset_bytes) == ("ext4", VolumeStatus.READ, 0)
    assert "linux_raid_member" in layout.remarks[0]


# ---------------------------------------------------------------- truncation, hostility, time


def test_a_partition_that_is_cut_behind_its_file_system_has_lost_nothing(tmp_path: Path) -> None:
    part = ext_image(tmp_path / "part", "ext4", small_tree(tmp_path / "tree", "file"), 8)
    disk = partitioned(tmp_path / "disk", "label: dos\nstart=2048, size=32768, type=83", 18, {MIB: part})
    os.truncate(disk, 12 * MIB)
    (volume,) = layout_of(disk).volumes
    assert volume.status is VolumeStatus.READ
    assert "nothing of it is missing" in volume.finding


def test_what_was_tried_is_named_when_a_file_system_does_not_open(tmp_path: Path) -> None:
    image = ntfs_image(tmp_path / "image", None, 8)
    with image.open("r+b") as file:
        file.seek(4 * 4096)
        file.write(bytes(4096))
    (volume,) = layout_of(image).volumes
    assert volume.tried[0].startswith("tsk: ")
    assert "NTT mounts it" in volume.next_step


def test_a_disk_of_five_partitions_is_laid_out_in_seconds(tmp_path: Path) -> None:
    disk = mbr_disk(tmp_path)
    os.truncate(disk, 1 << 40)
    started = time.monotonic()
    assert len(layout_of(disk).volumes) == 8
    assert time.monotonic() - started < 5


def test_damaged_tables_and_superblocks_never_end_in_anything_but_a_layout(tmp_path: Path) -> None:
    """Bytes of everything that detection looks at, changed in a thousand ways; each finding has a next step."""
    tree = small_tree(tmp_path / "tree", "file")
    run("genisoimage", "-quiet", "-udf", "-hfs", "-part", "-r", "-o", tmp_path / "iso", tree)
    run("xorriso", "-as", "mkisofs", "-quiet", "-R", "-hfsplus", "-o", tmp_path / "plus", tree)
    run("tar", "-czf", tmp_path / "tar", "-C", tree, ".")
    images = [tmp_path / name for name in ("iso", "plus", "tar")]
    images.append(partitioned(tmp_path / "gpt", "label: gpt\nsize=1M\nsize=1M", 5, {}))
    images.append(fat_image(tmp_path / "fat", 12, tree, 1440))
    images.append(shifted(tmp_path / "odd", images[-1], 16_384))
    member = shifted(tmp_path / "member", images[-2], MIB)
    with member.open("r+b") as file:
        file.seek(4096)
        file.write(mirror_superblock(4096, 2048, 2880))
    chance = random.Random(3)
    for image in (*images, member):
        content = image.read_bytes()
        used = [place for place in range(0, len(content), 512) if any(content[place : place + 512])][:200]
        for _ in range(150):
            damaged = bytearray(content)
            for _ in range(chance.choice((1, 8, 64))):
                at = chance.choice(used) + chance.randrange(512)
                damaged[at : at + 4] = chance.choice((bytes(4), b"\xff" * 4, chance.randbytes(4), b"\x01"))
            (tmp_path / "damaged").write_bytes(damaged[: len(content)])
            for volume in layout_of(tmp_path / "damaged").volumes:
                assert volume.finding if volume.status is VolumeStatus.FINDING else volume.fstype
                assert volume.next_step or not volume.finding or "nothing of it is missing" in volume.finding
