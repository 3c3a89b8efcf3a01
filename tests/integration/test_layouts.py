"""Whole disks: every partition is read or named with a reason and a next step, also on damaged and cut images."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

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
from ntt.readers.opening import open_volume
from ntt.readers.volumes import detect

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
    assert (volume.fstype, volume.status) == ("ext4", VolumeStatus.READ)
    assert "linux_raid_member" in layout.remarks[0]
