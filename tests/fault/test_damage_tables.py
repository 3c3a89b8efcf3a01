"""Partition tables on unread sectors: the volumes are found all the same, and it is said that there may be more."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from damage_trial import END, Told, told_of
from media_images import ext4_image, noise
from partitioned_images import MIB, fat16_image, sfdisk, sparse

from ntt.model import Layout, OutcomeStatus, VolumeStatus
from ntt.ranges import Ranges, normalised
from ntt.readers.base import ImageSource
from ntt.readers.detection.tables import LOST_TABLE
from ntt.readers.detection.volumes import detect

SECTOR = 512
SEED = 11
Spot = tuple[int, int]

LAYOUTS = {
    "mbr": (
        "label: dos\nstart=2048 size=20480 type=83\nstart=22528 size=20480 type=6\n"
        "start=43008 size=69632 type=5\nstart=45056 size=20480 type=83\nstart=67584 size=20480 type=6\n",
        (1 * MIB, 11 * MIB, 22 * MIB, 33 * MIB),
    ),
    "dos": (
        "label: dos\nstart=63 size=20480 type=83\nstart=20543 size=20480 type=6\n",
        (63 * SECTOR, 20543 * SECTOR),
    ),
    "gpt": (
        "label: gpt\nstart=2048 size=20480\nstart=22528 size=20480\nstart=43008 size=20480\nstart=63488 size=20480\n",
        (1 * MIB, 11 * MIB, 21 * MIB, 31 * MIB),
    ),
}


def disk(folder: Path, name: str) -> tuple[Path, tuple[int, ...]]:
    """ext4 and FAT16 in turn, each with files of its own."""
    script, starts = LAYOUTS[name]
    parts: dict[int, Path] = {}
    for number, start in enumerate(starts):
        tree = folder / f"tree{number}"
        tree.mkdir()
        for file in range(4):
            (tree / f"FILE{number}{file}.BIN").write_bytes(noise(30_000 + file, 10 * number + file))
        part = folder / f"part{number}.img"
        parts[start] = ext4_image(part, tree, 10) if number % 2 == 0 else fat16_image(part, tree, 10)
    return sfdisk(sparse(folder / "disk.img", 60 * MIB), script.splitlines(), parts), starts


def read_at(told: Told) -> dict[int, dict[bytes, bytes | None]]:
    """By where each volume begins: its files' contents; all of them must be whole."""
    found: dict[int, dict[bytes, bytes | None]] = {}
    for volume in told.volumes:
        if volume.status is VolumeStatus.READ:
            files = {path: file for (index, path), file in told.files.items() if index == volume.index}
            assert all(file.status is OutcomeStatus.COPIED for file in files.values())
            found[volume.offset_bytes] = {path: file.content for path, file in files.items()}
    return found


def layout_of(image: Path, bad: Ranges) -> Layout:
    fd = os.open(image, os.O_RDONLY)
    try:
        size_bytes = os.fstat(fd).st_size
        return detect(ImageSource(fd, normalised((*bad, (size_bytes, END)))), size_bytes)
    finally:
        os.close(fd)


def lost(*spots: Spot) -> Ranges:
    return normalised((first * SECTOR, (first + count) * SECTOR) for first, count in spots)


LAST = 60 * MIB // SECTOR
CASES: Sequence[tuple[str, tuple[Spot, ...], bool]] = (
    ("mbr", ((0, 1),), True),
    ("mbr", ((0, 16),), True),
    ("mbr", ((0, 2048),), True),
    ("mbr", ((43008, 1),), True),  # the first link of the chain of logical partitions
    ("mbr", ((65536, 1),), True),  # and the second
    ("mbr", ((0, 1), (43008, 1), (65536, 1)), True),
    ("mbr", ((LAST - 40, 40),), False),
    ("dos", ((0, 1),), True),
    ("dos", ((0, 63),), True),
    ("gpt", ((0, 1),), False),
    ("gpt", ((1, 1),), False),
    ("gpt", ((2, 4),), False),
    ("gpt", ((0, 34),), False),
    ("gpt", ((LAST - 33, 33),), False),
    ("gpt", ((0, 34), (LAST - 1, 1)), True),
    ("gpt", ((1, 33), (LAST - 1, 1)), True),
    ("gpt", ((2, 1), (LAST - 40, 40)), True),
    ("gpt", ((3, 31), (LAST - 40, 40)), False),  # its checksum proves that nothing was there
)


Disk = tuple[Path, dict[int, dict[bytes, bytes | None]]]


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Disk]:
    """Each with what is read of it when all of it is there."""
    found: dict[str, Disk] = {}
    for name in LAYOUTS:
        image, starts = disk(tmp_path_factory.mktemp(name), name)
        whole = read_at(told_of(image, ()))
        assert tuple(whole) == starts
        assert all(len(files) >= 4 for files in whole.values())
        found[name] = image, whole
    return found


@pytest.mark.parametrize(("name", "spots", "is_lost"), CASES)
def test_every_volume_is_read_whatever_of_the_table_is_lost(
    name: str, spots: tuple[Spot, ...], is_lost: bool, disks: dict[str, Disk]
) -> None:
    image, whole = disks[name]
    bad = lost(*spots)
    assert read_at(told_of(image, bad)) == whole
    assert any(LOST_TABLE in remark for remark in layout_of(image, bad).remarks) is is_lost


TABLES: dict[str, tuple[int, ...]] = {
    "mbr": (0, 43008, 65536),
    "dos": (0,),
    "gpt": (0, 1, 2, LAST - 33, LAST - 1),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_no_plan_against_the_tables_hides_a_volume_or_changes_a_file(name: str, disks: dict[str, Disk]) -> None:
    chance = random.Random(SEED)
    image, whole = disks[name]
    for _ in range(12):
        hit = [(sector, 1) for sector in TABLES[name] if chance.random() < 0.6]
        unused = chance.randrange(110_000, LAST - 40)
        bad = lost(*hit, (unused, 8))
        assert read_at(told_of(image, bad)) == whole, bad


def test_a_lost_table_with_nothing_behind_it_is_told(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(noise(9 * MIB))
    layout = layout_of(image, lost((0, 1)))
    assert all(volume.status is VolumeStatus.FINDING for volume in layout.volumes)
    assert any(LOST_TABLE in remark for remark in layout.remarks)


def test_an_entry_of_an_apple_map_that_was_not_read_is_missed(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    content = bytearray(8 * MIB)
    content[:4] = b"ER" + (512).to_bytes(2, "big")
    kinds = (b"Apple_partition_map", b"Apple_HFS", b"Apple_HFS", b"Apple_HFS")
    for number, kind in enumerate(kinds, 1):
        first = 1 if number == 1 else number * 2000
        entry = b"PM\0\0" + struct.pack(">III", len(kinds), first, 1000) + bytes(32) + kind
        content[number * 512 : number * 512 + len(entry)] = entry
    image.write_bytes(content)
    starts = [number * 2000 * 512 for number in (2, 3, 4)]
    assert [volume.offset_bytes for volume in layout_of(image, ()).volumes] == starts
    for spots, left in (((2, 1), starts[1:]), ((1, 2), starts[1:]), ((0, 2), starts), ((3, 1), [starts[0], starts[2]])):
        layout = layout_of(image, lost(spots))
        assert [volume.offset_bytes for volume in layout.volumes] == left
        assert any(LOST_TABLE in remark for remark in layout.remarks)
