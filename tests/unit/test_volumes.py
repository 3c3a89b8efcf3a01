"""Partition tables: both copies of a GPT, the chain of logical partitions, and what damage does to them."""

from __future__ import annotations

import os
import struct
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ntt.model import Extent, VolumeStatus
from ntt.readers.base import ImageSource
from ntt.readers.detection.partition_tables import LOGICAL_LIMIT, Table, read_table
from ntt.readers.detection.volumes import detect
from ntt.readers.inode_set import InodeSet
from ntt.readers.tsk_extents import Run, compressed_extents, part_of, run_extents

MIB = 1 << 20
LINUX, EXTENDED, PROTECTIVE = 0x83, 0x05, 0xEE
LINUX_GUID = uuid.UUID("0FC63DAF-8483-4772-8E79-3D69D8477DE4")


def boot_record(*entries: tuple[int, int, int]) -> bytes:
    """(type, first sector, sectors) of up to four slots."""
    sector = bytearray(512)
    for index, (kind, first, sectors) in enumerate(entries):
        struct.pack_into("<B3xB3xII", sector, 446 + 16 * index, 0, kind, first, sectors)
    sector[510:] = b"\x55\xaa"
    return bytes(sector)


def gpt(sector_bytes: int, last: int, *partitions: tuple[int, int]) -> dict[int, bytes]:
    """Both copies of a GPT on a disk of `last + 1` sectors; partitions as (first, last) sector."""
    entries = bytearray(128 * 128)
    for index, (first, end) in enumerate(partitions):
        entries[128 * index : 128 * index + 16] = LINUX_GUID.bytes_le
        struct.pack_into("<QQ", entries, 128 * index + 32, first, end)
    entry_sectors = len(entries) // sector_bytes

    def header(own: int, other: int, entries_at: int) -> bytes:
        fields = (own, other, 2 + entry_sectors, last - 1 - entry_sectors)
        head = struct.pack("<8sIIII4Q16sQIII", b"EFI PART", 0x10000, 92, 0, 0, *fields, bytes(16), entries_at, 128, 128,
                           zlib.crc32(entries))  # fmt: skip
        return head[:16] + struct.pack("<I", zlib.crc32(head)) + head[20:]

    backup_entries = last - entry_sectors
    return {
        0: boot_record((PROTECTIVE, 1, last)),
        sector_bytes: header(1, last, 2),
        2 * sector_bytes: bytes(entries),
        backup_entries * sector_bytes: bytes(entries),
        last * sector_bytes: header(last, 1, backup_entries),
    }


@contextmanager
def image_of(path: Path, size_bytes: int, pieces: dict[int, bytes]) -> Iterator[ImageSource]:
    with path.open("wb") as file:
        file.truncate(size_bytes)
        for position, piece in pieces.items():
            file.seek(position)
            file.write(piece)
    fd = os.open(path, os.O_RDONLY)
    try:
        yield ImageSource(fd)
    finally:
        os.close(fd)


def table_of(path: Path, size_bytes: int, pieces: dict[int, bytes]) -> Table:
    with image_of(path, size_bytes, pieces) as source:
        table = read_table(source)
    assert table is not None
    return table


def places(table: Table) -> list[tuple[int, int]]:
    return [(partition.offset_bytes, partition.size_bytes) for partition in table.partitions]


# ---------------------------------------------------------------- GPT


@pytest.mark.parametrize("sector_bytes", [512, 4096])
def test_a_gpt_is_read_with_either_sector_size(sector_bytes: int, tmp_path: Path) -> None:
    last = 4 * MIB // sector_bytes - 1
    table = table_of(tmp_path / "image", 4 * MIB, gpt(sector_bytes, last, (40, 99), (100, 149)))
    assert table.scheme == "gpt"
    assert table.remarks == ()
    assert places(table) == [(40 * sector_bytes, 60 * sector_bytes), (100 * sector_bytes, 50 * sector_bytes)]


@pytest.mark.parametrize("sector_bytes", [512, 4096])
@pytest.mark.parametrize("damage", ["header", "entries", "both"])
def test_the_backup_is_used_where_the_primary_is_damaged(sector_bytes: int, damage: str, tmp_path: Path) -> None:
    pieces = gpt(sector_bytes, 4 * MIB // sector_bytes - 1, (40, 99))
    if damage in ("header", "both"):
        pieces[sector_bytes] = bytes(512)
    if damage in ("entries", "both"):
        pieces[2 * sector_bytes] = b"\xff" * 128
    table = table_of(tmp_path / "image", 4 * MIB, pieces)
    assert places(table) == [(40 * sector_bytes, 60 * sector_bytes)]
    assert "backup" in table.remarks[0]


def test_a_gpt_whose_checksums_are_wrong_in_both_places_is_used_with_a_remark(tmp_path: Path) -> None:
    pieces = gpt(512, 8191, (40, 99))
    pieces[512] = pieces[512][:16] + b"\0\0\0\0" + pieces[512][20:]
    pieces[8191 * 512] = bytes(512)
    table = table_of(tmp_path / "image", 4 * MIB, pieces)
    assert places(table) == [(40 * 512, 60 * 512)]
    assert "has no backup" in table.remarks[0]


def test_a_gpt_wins_over_the_mbr_of_a_hybrid_disk(tmp_path: Path) -> None:
    pieces = gpt(512, 8191, (40, 99))
    pieces[0] = boot_record((PROTECTIVE, 1, 39), (LINUX, 200, 50))
    table = table_of(tmp_path / "image", 4 * MIB, pieces)
    assert (table.scheme, places(table)) == ("gpt", [(40 * 512, 60 * 512), (200 * 512, 50 * 512)])
    assert [partition.is_doubtful for partition in table.partitions] == [False, True]
    assert "hybrid" in table.remarks[0]


def test_a_partition_that_only_the_mbr_of_a_hybrid_disk_names_is_a_volume_if_something_is_in_it(tmp_path: Path) -> None:
    pieces = gpt(512, 8191, (40, 99))
    pieces[0] = boot_record((PROTECTIVE, 1, 39), (LINUX, 200, 50), (LINUX, 300, 50))
    pieces[300 * 512] = b"XFSB"
    with image_of(tmp_path / "image", 4 * MIB, pieces) as source:
        layout = detect(source, 4 * MIB)
    assert [(volume.offset_bytes, volume.fstype) for volume in layout.volumes] == [
        (40 * 512, "blank"),
        (300 * 512, "xfs"),
    ]
    assert any(f"at byte {200 * 512}" in remark for remark in layout.remarks)


def test_a_stale_backup_does_not_override_a_later_mbr(tmp_path: Path) -> None:
    pieces = gpt(512, 8191, (40, 99))
    pieces[512] = bytes(512)
    pieces[0] = boot_record((LINUX, 200, 50))
    table = table_of(tmp_path / "image", 4 * MIB, pieces)
    assert (table.scheme, places(table)) == ("mbr", [(200 * 512, 50 * 512)])


def test_a_protective_mbr_without_a_gpt_says_that_the_gpt_is_gone(tmp_path: Path) -> None:
    with image_of(tmp_path / "image", MIB, {0: boot_record((PROTECTIVE, 1, 2047))}) as source:
        layout = detect(source, MIB)
    assert "damaged in both places" in layout.remarks[0]
    (volume,) = layout.volumes
    assert volume.status is VolumeStatus.FINDING
    assert volume.finding == "a partition table without partitions"


# ---------------------------------------------------------------- MBR


def test_logical_partitions_follow_the_primary_ones_in_the_order_of_their_chain(tmp_path: Path) -> None:
    pieces = {
        0: boot_record((LINUX, 100, 10), (EXTENDED, 1000, 5000), (0, 0, 0), (LINUX, 200, 20)),
        1000 * 512: boot_record((LINUX, 8, 30), (EXTENDED, 500, 100)),
        1500 * 512: boot_record((LINUX, 16, 40), (EXTENDED, 200, 100)),
        1200 * 512: boot_record((LINUX, 2, 50)),
    }
    table = table_of(tmp_path / "image", 4 * MIB, pieces)
    expected = [(100, 10), (200, 20), (1008, 30), (1516, 40), (1202, 50)]
    assert places(table) == [(first * 512, sectors * 512) for first, sectors in expected]
    assert table.remarks == ()


def test_a_chain_that_runs_in_a_circle_ends_with_a_remark(tmp_path: Path) -> None:
    pieces = {
        0: boot_record((EXTENDED, 1000, 5000)),
        1000 * 512: boot_record((LINUX, 8, 30), (EXTENDED, 500, 100)),
        1500 * 512: boot_record((LINUX, 16, 40), (EXTENDED, 0, 100)),
    }
    table = table_of(tmp_path / "image", 4 * MIB, pieces)
    assert len(table.partitions) == 2
    assert "circle after 2 partitions" in table.remarks[0]


def test_an_endless_chain_is_left(tmp_path: Path) -> None:
    links = range(LOGICAL_LIMIT + 50)
    pieces = {(1000 + link) * 512: boot_record((LINUX, 1, 1), (EXTENDED, link + 1, 2)) for link in links}
    table = table_of(tmp_path / "image", 4 * MIB, {0: boot_record((EXTENDED, 1000, 5000)), **pieces})
    assert len(table.partitions) == LOGICAL_LIMIT
    assert f"after {LOGICAL_LIMIT} links" in table.remarks[0]


def test_a_chain_that_breaks_off_keeps_what_was_found(tmp_path: Path) -> None:
    pieces = {0: boot_record((EXTENDED, 1000, 5000)), 1000 * 512: boot_record((LINUX, 8, 30), (EXTENDED, 500, 100))}
    table = table_of(tmp_path / "image", 4 * MIB, pieces)
    assert places(table) == [(1008 * 512, 30 * 512)]
    assert f"breaks off at byte {1500 * 512}" in table.remarks[0]


def test_boot_code_is_no_partition_table(tmp_path: Path) -> None:
    sector = bytes(range(1, 255)) * 2 + bytes(2) + b"\x55\xaa"
    with image_of(tmp_path / "image", MIB, {0: sector}) as source:
        assert read_table(source) is None


def test_a_partition_wholly_behind_the_end_is_a_finding(tmp_path: Path) -> None:
    with image_of(tmp_path / "image", MIB, {0: boot_record((LINUX, 100, 10), (LINUX, 4096, 100))}) as source:
        first, second = detect(source, MIB).volumes
    assert first.fstype == "blank"
    assert "wholly beyond the end" in second.finding
    assert "Linux" in second.finding
    assert second.next_step


# ---------------------------------------------------------------- Apple partition map


def apple_map(block_bytes: int, *entries: tuple[str, int, int], stated: int | None = None) -> dict[int, bytes]:
    """Driver map and entries as (type, first block, blocks); the map names itself first."""
    listed = [("Apple_partition_map", 1, len(entries) + 1), *entries]
    pieces = {0: struct.pack(">2sHI", b"ER", stated or block_bytes, 8192)}
    for number, (kind, first, blocks) in enumerate(listed, 1):
        head = struct.pack(">2sHIII", b"PM", 0, len(listed), first, blocks)
        pieces[number * block_bytes] = head + b"name".ljust(32, b"\0") + kind.encode().ljust(32, b"\0")
    return pieces


@pytest.mark.parametrize("block_bytes", [512, 2048])
@pytest.mark.parametrize("has_driver_map", [True, False])
def test_an_apple_map_is_read_with_either_block_size(block_bytes: int, has_driver_map: bool, tmp_path: Path) -> None:
    pieces = apple_map(block_bytes, ("Apple_HFS", 64, 100), ("Apple_Free", 164, 50), ("Apple_Driver43", 10, 5))
    if not has_driver_map:
        del pieces[0]
    table = table_of(tmp_path / "image", 4 * MIB, pieces)
    assert (table.scheme, places(table)) == ("apm", [(64 * block_bytes, 100 * block_bytes)])
    assert table.remarks == (
        "partitions of the Apple map that hold no files: 1 Apple_partition_map, 1 Apple_Free, 1 Apple_Driver43",
    )


def test_what_only_the_second_apple_map_of_a_disc_names_is_doubtful(tmp_path: Path) -> None:
    pieces = apple_map(512, ("Apple_HFS", 64, 100))
    pieces |= {place: entry for place, entry in apple_map(2048, ("Apple_HFS", 256, 100)).items() if place}
    table = table_of(tmp_path / "image", 4 * MIB, pieces)
    assert [(partition.offset_bytes, partition.is_doubtful) for partition in table.partitions] == [
        (64 * 512, False),
        (256 * 2048, True),
    ]


def test_an_apple_map_that_counts_more_entries_than_it_has_ends_where_they_end(tmp_path: Path) -> None:
    pieces = apple_map(512, ("Apple_HFS", 64, 100))
    pieces[512] = pieces[512][:4] + b"\xff\xff\xff\xff" + pieces[512][8:]
    pieces[1024] = pieces[1024][:4] + b"\xff\xff\xff\xff" + pieces[1024][8:]
    assert places(table_of(tmp_path / "image", 4 * MIB, pieces)) == [(64 * 512, 100 * 512)]


def test_an_apple_partition_beyond_the_end_is_a_finding(tmp_path: Path) -> None:
    with image_of(tmp_path / "image", MIB, apple_map(512, ("Apple_HFS", 4096, 100))) as source:
        (volume,) = detect(source, 3 * MIB).volumes
    assert volume.scheme == "apm"
    assert "wholly beyond the end" in volume.finding
    assert "Apple_HFS" in volume.finding


# ---------------------------------------------------------------- bounds


class CountingSource(ImageSource):
    """Counts the bytes that are asked for."""

    asked_bytes = 0

    def read(self, offset: int, length: int) -> bytes:
        self.asked_bytes += length
        return super().read(offset, length)


def test_a_terabyte_of_five_partitions_costs_a_few_megabytes_of_reading(tmp_path: Path) -> None:
    part = 400_000_000
    pieces = gpt(512, (1 << 40) // 512 - 1, *((2048 + number * part, (number + 1) * part) for number in range(5)))
    with image_of(tmp_path / "image", 1 << 40, pieces) as opened:
        source = CountingSource(opened.fd)
        layout = detect(source, 1 << 40)
        assert [volume.fstype for volume in layout.volumes] == ["blank"] * 5
        assert source.asked_bytes < 64 * MIB


def test_tables_inside_of_tables_do_not_multiply(tmp_path: Path) -> None:
    """A thousand partitions, all of them the same place, which holds such a table again."""
    inner = gpt(512, 4095, *[(1000, 1999)] * 128)
    outer = gpt(512, 8191, *[(4096, 8191)] * 128)
    pieces = outer | {4096 * 512 + place: piece for place, piece in inner.items() if place < MIB}
    with image_of(tmp_path / "image", 4 * MIB, pieces) as opened:
        source = CountingSource(opened.fd)
        layout = detect(source, 4 * MIB)
        assert 128 <= len(layout.volumes) <= 2048
        assert source.asked_bytes < 1 << 30


# ---------------------------------------------------------------- extents and inode sets


def test_gaps_fillers_and_what_was_never_written_are_holes() -> None:
    runs = [Run(0, 2, 10), Run(2, 1, -1), Run(5, 2, 12), Run(7, 1, 14)]
    assert run_extents(runs, 100, 1000, 750, 720) == [
        Extent(0, 200, 2000, 200),
        Extent(200, 300, -1, 300),
        Extent(500, 220, 2200, 220),
        Extent(720, 30, -1, 30),
    ]


def test_compression_units_are_linear_when_full_holes_when_empty_and_whole_otherwise() -> None:
    runs = [Run(0, 4, 100), Run(4, 1, 200), Run(5, 3, -1), Run(8, 4, -1), Run(12, 1, 300), Run(13, 1, 310)]
    assert compressed_extents(runs, 10, 0, 155, 4) == [
        Extent(0, 40, 1000, 40),
        Extent(40, 40, 2000, 10),
        Extent(80, 40, -1, 40),
        Extent(120, 35, 3000, 110),
    ]


def test_a_huge_sparse_file_costs_no_more_than_its_runs() -> None:
    assert compressed_extents([Run(0, 1 << 40, -1)], 4096, 0, 1 << 52, 16) == [Extent(0, 1 << 52, -1, 1 << 52)]


def test_a_part_of_a_file_is_cut_out_of_its_extents() -> None:
    extents = [Extent(0, 100, 5000, 100), Extent(100, 100, -1, 100), Extent(200, 100, 9000, 100)]
    assert part_of(extents, 90, 120) == [Extent(0, 10, 5090, 10), Extent(10, 100, -1, 100), Extent(110, 10, 9000, 10)]


def test_an_inode_is_new_once() -> None:
    seen = InodeSet()
    numbers = [0, 1, 7, 8, 32_767, 32_768, 1 << 40]
    assert [seen.add(number) for number in numbers] == [True] * 7
    assert [seen.add(number) for number in numbers] == [False] * 7
    assert seen.add(2)
