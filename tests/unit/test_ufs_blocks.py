"""Block maps of UFS: holes at every level, short last blocks, and maps that lead nowhere."""

from __future__ import annotations

import struct

import pytest

from ntt.readers.base import ReadError
from ntt.readers.tsk_extents import Run
from ntt.readers.ufs.blocks import Geometry, block_runs
from ntt.readers.ufs.inodes import directory_names

GEOMETRY = Geometry(4096, 1024, 4000, "<", 4)


def mapped(pointers: dict[int, int], size: int, blocks: dict[int, dict[int, int]] | None = None) -> list[Run]:
    """`pointers` by index in the inode, `blocks` by address: pointers by index in an indirect block."""

    def read(position: int, length: int) -> bytes:
        content = [0] * (length // 4)
        for index, address in (blocks or {})[position // 1024].items():
            content[index] = address
        return struct.pack(f"<{len(content)}I", *content)

    return list(block_runs(GEOMETRY, tuple(pointers.get(index, 0) for index in range(15)), size, read))


def test_only_the_last_direct_block_may_be_short() -> None:
    assert mapped({0: 100, 1: 200}, 4096 + 1025) == [Run(0, 4, 100), Run(4, 2, 200)]
    assert mapped({12: 100}, 13 * 4096 - 1, {100: {0: 300}}) == [Run(48, 4, 300)]


def test_missing_blocks_of_every_level_are_holes() -> None:
    size = (12 + 1024 + 1024 * 1024 + 5) * 4096
    blocks = {500: {1: 504}, 504: {1023: 508}, 512: {0: 516}, 516: {0: 520}, 520: {4: 524}}
    first_double, first_triple = 12 + 1024, 12 + 1024 + 1024 * 1024
    assert mapped({3: 100, 13: 500, 14: 512}, size, blocks) == [
        Run(12, 4, 100),
        Run((first_double + 2047) * 4, 4, 508),
        Run((first_triple + 4) * 4, 4, 524),
    ]


def test_blocks_behind_the_end_of_the_file_are_no_part_of_it() -> None:
    assert mapped({0: 100, 1: 200, 12: 300}, 4096) == [Run(0, 4, 100)]


def test_addresses_outside_the_volume_and_circles_are_errors() -> None:
    with pytest.raises(ReadError, match="block map"):
        mapped({0: 3998}, 4096)
    with pytest.raises(ReadError, match="block map"):
        mapped({14: 100}, 1 << 50, {100: dict.fromkeys(range(1024), 100)})


def record(ino: int, length: int, name: bytes) -> bytes:
    return (struct.pack("<IHBB", ino, length, 8, len(name)) + name).ljust(length, b"\0")


def test_a_broken_directory_block_costs_only_its_own_rest() -> None:
    sound = (
        record(2, 12, b".")
        + record(2, 12, b"..")
        + record(5, 12, b"one")
        + record(0, 12, b"gone")
        + record(6, 464, b"two")
    )
    broken = record(7, 16, b"three") + record(8, 6, b"").ljust(496, b"\xff")
    assert list(directory_names(sound + broken + sound, "<")) == [
        (b"one", 5, False),
        (b"two", 6, False),
        (b"three", 7, False),
        "broken at byte 16 of a block",
        (b"one", 5, False),
        (b"two", 6, False),
    ]
