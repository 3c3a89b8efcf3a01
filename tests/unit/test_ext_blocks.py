"""Block maps and extent trees of ext, right and hostile ones, as runs."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import pytest

from ntt.model import Extent
from ntt.readers.base import ReadError
from ntt.readers.ext.blocks import Lost, Space, extent_runs, mapped_runs, with_lost
from ntt.readers.tsk_extents import HOLE, Run, run_extents

BLOCK, COUNT = 1024, 5000


def space(blocks: Mapping[int, bytes | None] | None = None) -> Space:
    known = blocks or {}
    return Space(BLOCK, COUNT, lambda block: known.get(block, bytes(BLOCK)))


def pointers(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)


def node(depth: int, *entries: tuple[int, int, int]) -> bytes:
    """Leaves are (first, length, block), others (first, 0, block)."""
    packed = b"".join(
        struct.pack("<IIHH", first, block, 0, 0) if depth else struct.pack("<IHHI", first, length, 0, block)
        for first, length, block in entries
    )
    return (struct.pack("<HHHHI", 0xF30A, len(entries), 84, depth, 0) + packed).ljust(BLOCK, b"\0")


def root(depth: int, *entries: tuple[int, int, int]) -> bytes:
    return node(depth, *entries)[:60]


# ---------------------------------------------------------------- block maps


def test_neighbouring_blocks_of_all_levels_are_one_run() -> None:
    second = pointers(*range(112, 112 + 256))
    table = {50: pointers(*range(24, 24 + 88), *[0] * 168), 51: pointers(52, *[0] * 255), 52: second}
    block_map = pointers(*range(12, 24), 50, 51, 0)
    assert list(mapped_runs(block_map, 600 * BLOCK, space(table))) == [Run(0, 100, 12), Run(268, 256, 112)]


def test_what_lies_behind_the_size_is_no_part_of_the_file() -> None:
    assert list(mapped_runs(pointers(*range(12, 24), 0, 0, 0), 5000, space())) == [Run(0, 5, 12)]


def test_a_hole_of_16_tib_takes_no_time() -> None:
    block_map = pointers(7, *[0] * 14)
    runs = [run for run in mapped_runs(block_map, 1 << 44, space()) if isinstance(run, Run)]
    extents = run_extents(runs, BLOCK, 0, 1 << 44)
    assert extents == [Extent(0, BLOCK, 7 * BLOCK, BLOCK), Extent(BLOCK, (1 << 44) - BLOCK, HOLE, (1 << 44) - BLOCK)]


@pytest.mark.parametrize("size", [1 << 30, 1 << 44])
def test_a_map_that_names_itself_is_damaged(size: int) -> None:
    itself = pointers(*[99] * 256)
    with pytest.raises(ReadError, match="block map"):
        list(mapped_runs(pointers(*[99] * 15), size, space({99: itself})))


def test_addresses_outside_of_the_volume_are_damage() -> None:
    for block_map in (pointers(COUNT, *[0] * 14), pointers(*[0] * 14, COUNT)):
        with pytest.raises(ReadError):
            list(mapped_runs(block_map, 1 << 40, space()))


def test_unread_blocks_of_the_map_are_lost_blocks_of_the_file_and_the_rest_is_kept() -> None:
    found = list(mapped_runs(pointers(*range(20, 32), 60, 61, 0), 400 * BLOCK, space({60: None, 61: None})))
    runs, lost = [Run(0, 12, 20)], [Lost(12, 256, 60), Lost(268, 132, 61)]
    assert found == [*runs, *lost]
    size = 400 * BLOCK
    extents = with_lost(run_extents(runs, BLOCK, 1 << 20, size), lost, BLOCK, 1 << 20, size)
    assert [(e.file_offset, e.file_length, e.image_offset) for e in extents] == [
        (0, 12 * BLOCK, (1 << 20) + 20 * BLOCK),
        (12 * BLOCK, 256 * BLOCK, (1 << 20) + 60 * BLOCK),
        (268 * BLOCK, 132 * BLOCK, (1 << 20) + 61 * BLOCK),
    ]
    assert all(e.file_length != e.image_length for e in extents[1:]), "damage there is damage of all of it"


# ---------------------------------------------------------------- extent trees


def test_trees_of_several_levels_are_read_in_order_and_what_was_never_written_is_a_hole() -> None:
    table = {
        10: node(1, (0, 0, 11), (300, 0, 12)),
        11: node(0, (0, 5, 100), (20, 32768 + 7, 200)),
        12: node(0, (300, 32768, 1000)),
    }
    found = list(extent_runs(root(2, (0, 0, 10)), 1 << 30, Space(BLOCK, 40_000, space(table).read)))
    assert found == [Run(0, 5, 100), Run(20, 7, HOLE), Run(300, 32768, 1000)]


@pytest.mark.parametrize(
    ("top", "table"),
    [
        (root(1, (0, 0, 10)), {10: node(1, (0, 0, 10))}),  # itself, at the same depth
        (root(5, (0, 0, 10)), {10: node(4, (0, 0, 10))}),
        (root(1, (0, 0, 10)), {10: bytes(BLOCK)}),
        (root(1, (0, 0, COUNT)), {}),
        (root(0, (0, 5, COUNT - 4)), {}),
        (root(0, (5, 5, 100), (0, 5, 200)), {}),  # backwards
        (root(0, (0, 5, 100), (4, 5, 200)), {}),  # one over the other
        (root(0, *[(n * 3000, 3000, 1) for n in range(4)]), {}),  # more than there is
        (struct.pack("<HHHH", 0xF30A, 65535, 65535, 0).ljust(60, b"\0"), {}),
        (struct.pack("<HHHH", 0xF30A, 1, 4, 65535).ljust(60, b"\0"), {}),
    ],
)
def test_trees_that_cannot_be_are_damage(top: bytes, table: dict[int, bytes | None]) -> None:
    with pytest.raises(ReadError, match="block map"):
        list(extent_runs(top, 1 << 40, space(table)))


def test_an_unread_node_of_a_tree_costs_its_own_blocks_only() -> None:
    table = {11: node(0, (0, 5, 100)), 12: None, 13: node(0, (400, 6, 300))}
    found = list(extent_runs(root(1, (0, 0, 11), (200, 0, 12), (400, 0, 13)), 500 * BLOCK, space(table)))
    assert found == [Run(0, 5, 100), Lost(200, 200, 12), Run(400, 6, 300)]
