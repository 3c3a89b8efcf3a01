"""The block map or extent tree of an ext inode -> runs: what names itself or more blocks than there are is an error.

Linux kernel documentation, "ext4 Data Structures and Algorithms", section "The Contents of inode.i_block".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ntt.model import Extent
from ntt.readers.base import ReadError
from ntt.readers.tsk_extents import HOLE, Run

DIRECT, LEVELS = 12, 3
MAGIC = 0xF30A
MOST_DEPTH = 5
UNWRITTEN = 32768  # an extent's length above this: allocated, never written, reads as zeros
DAMAGED = "its block map is damaged"
_HEADER = struct.Struct("<HHHH")
_LEAF = struct.Struct("<IHHI")
_INDEX = struct.Struct("<IIHH")


class Lost(NamedTuple):
    """Blocks of a file of which nobody knows where they lie: the block `map_block` of the map was not read."""

    file_block: int
    blocks: int
    map_block: int


class Space(NamedTuple):
    """The volume. `read` gives a block of it; None: it was not read, and its zeros would pass for holes."""

    block_bytes: int
    block_count: int
    read: Callable[[int], bytes | None]


def mapped_runs(block_map: bytes, size: int, space: Space) -> Iterator[Run | Lost]:
    """Runs of an inode without extents, in file order, holes left out. `block_map`: the 60 bytes of the inode.

    ReadError for addresses outside the volume, and for a map that names more blocks than the volume has.
    """
    blocks = -(-size // space.block_bytes)
    left = 2 * space.block_count + DIRECT + LEVELS
    last = Run(0, 0, HOLE)
    for address, level, first in _map_tree(block_map, blocks, space):
        left -= 1
        if left < 0 or address >= space.block_count:
            raise ReadError(DAMAGED)
        if not level and first == last.file_block + last.blocks and address == last.volume_block + last.blocks:
            last = last._replace(blocks=last.blocks + 1)
            continue
        if last.blocks:
            yield last
        last = Run(first, 0 if level else 1, address)
        if level:
            yield Lost(first, min((space.block_bytes // 4) ** level, blocks - first), address)
    if last.blocks:
        yield last


def _map_tree(block_map: bytes, blocks: int, space: Space) -> Iterator[tuple[int, int, int]]:
    """(address, 0, file block) of every block of the file; a level above 0: of a block of the map that was not read."""
    in_block = space.block_bytes // 4
    pointers = struct.unpack(f"<{DIRECT + LEVELS}I", block_map)
    yield from ((address, 0, first) for first, address in enumerate(pointers[:DIRECT]) if address and first < blocks)
    starts = (DIRECT, DIRECT + in_block, DIRECT + in_block + in_block**2)
    left = space.block_count
    pending = [(pointers[DIRECT + level], level + 1, starts[level]) for level in reversed(range(LEVELS))]
    while pending:
        address, level, first = pending.pop()
        if not address or first >= blocks:
            continue
        left -= 1
        if left < 0 or address >= space.block_count:
            raise ReadError(DAMAGED)
        content = space.read(address)
        if content is None:
            yield address, level, first
            continue
        span = in_block ** (level - 1)
        found = enumerate(struct.unpack(f"<{in_block}I", content))
        inside = ((at, level - 1, first + index * span) for index, at in found if at and first + index * span < blocks)
        if level == 1:
            yield from inside
        else:
            pending.extend(reversed(list(inside)))


def extent_runs(root: bytes, size: int, space: Space) -> Iterator[Run | Lost]:
    """Runs of an extent tree in file order; what was never written is a hole. `root`: 60 bytes of the inode.

    ReadError where a node is none or stands deeper than its parent says, where the order is broken, for addresses
    outside the volume, and for a tree that names more blocks than the volume has.
    """
    left = space.block_count
    behind = 0  # the first file block that may come next
    pending = [(0, -1, -1)]
    while pending:
        first, block, depth = pending.pop()
        if left < 0 or block >= space.block_count or first < behind:
            raise ReadError(DAMAGED)
        content = root if block < 0 else space.read(block)
        if content is None:
            behind = max(pending[-1][0] if pending else -(-size // space.block_bytes), first)
            yield Lost(first, behind - first, block)
            continue
        depth, entries = _entries(content, depth)
        if depth:
            left -= len(entries)
            pending.extend((first, low | high << 32, depth - 1) for first, low, high, _ in reversed(entries))
            continue
        for first, length, high, low in entries:
            run = Run(first, length, low | high << 32)
            if length > UNWRITTEN:
                run = Run(first, length - UNWRITTEN, HOLE)
            left -= run.blocks
            if first < behind or left < 0 or run.volume_block + run.blocks > space.block_count:
                raise ReadError(DAMAGED)
            behind = first + run.blocks
            yield run


def _entries(node: bytes, depth_wanted: int) -> tuple[int, list[tuple[int, int, int, int]]]:
    """(levels below, entries) of a node; a root may have any depth (`depth_wanted` -1)."""
    magic, count, most, depth = _HEADER.unpack_from(node)
    room = len(node) // _LEAF.size - 1
    if magic != MAGIC or count > min(most, room) or depth > MOST_DEPTH or depth_wanted not in (-1, depth):
        raise ReadError(DAMAGED)
    kind = _INDEX if depth else _LEAF
    return depth, [kind.unpack_from(node, _LEAF.size * (1 + index)) for index in range(count)]


def with_lost(
    extents: Sequence[Extent], lost: Sequence[Lost], block_bytes: int, offset_bytes: int, size: int
) -> list[Extent]:
    """The extents of a file with its lost blocks out of the holes: they lie, as a whole, in the block of the map."""
    found: list[Extent] = []
    pending = list(reversed(lost))
    for extent in extents:
        at, end = extent.file_offset, extent.file_offset + extent.file_length
        while extent.image_offset == HOLE and pending and pending[-1].file_block * block_bytes < end:
            piece = pending.pop()
            start = piece.file_block * block_bytes
            length = min(piece.blocks * block_bytes, size - start)
            if length <= 0:
                continue
            if start > at:
                found.append(Extent(at, start - at, HOLE, start - at))
            image_length = block_bytes if length != block_bytes else block_bytes + 1  # equal ones would read as linear
            found.append(Extent(start, length, offset_bytes + piece.map_block * block_bytes, image_length))
            at = start + length
        if at == extent.file_offset:
            found.append(extent)
        elif at < end:
            found.append(Extent(at, end - at, HOLE, end - at))
    return found
