"""The block map or extent tree of an ext inode -> runs: what names itself or more blocks than there are is an error.

Linux kernel documentation, "ext4 Data Structures and Algorithms", section "The Contents of inode.i_block".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from ntt.readers.base import ReadError
from ntt.readers.tsk_extents import HOLE, Run
from ntt.readers.ufs_blocks import DIRECT, LEVELS, Geometry, block_runs

MAGIC = 0xF30A
MOST_DEPTH = 5
UNWRITTEN = 32768  # an extent's length above this: allocated, never written, reads as zeros
DAMAGED = "its extent tree is damaged"
_HEADER = struct.Struct("<HHHH")
_LEAF = struct.Struct("<IHHI")
_INDEX = struct.Struct("<IIHH")

ReadBlock = Callable[[int, int], bytes]  # (byte of the volume, length)


def mapped_runs(block_map: bytes, size: int, block_bytes: int, block_count: int, read: ReadBlock) -> Iterator[Run]:
    """Runs of an inode without extents, holes left out. `block_map`: the 60 bytes of the inode.

    ReadError for addresses outside the volume, and for a map that names more blocks than the volume has.
    """
    pointers = struct.unpack(f"<{DIRECT + LEVELS}I", block_map)
    return block_runs(Geometry(block_bytes, block_bytes, block_count, "<", 4), pointers, size, read)


def extent_runs(root: bytes, block_bytes: int, block_count: int, read: ReadBlock) -> Iterator[Run]:
    """Runs of an extent tree in the order of the file; what was never written is a hole. `root`: 60 bytes.

    ReadError where a node is none or stands deeper than its parent says, where the order is broken, for addresses
    outside the volume, and for a tree that names more blocks than the volume has.
    """
    left = block_count
    behind = 0  # the first file block that may come next
    pending: list[tuple[int, int]] = []
    node, depth = root, -1
    while True:
        depth, entries = _entries(node, depth)
        if depth:
            left -= len(entries)
            pending.extend((low | high << 32, depth - 1) for _, low, high, _ in reversed(entries))
        else:
            for first, length, high, low in entries:
                is_hole = length > UNWRITTEN
                length -= UNWRITTEN if is_hole else 0
                address = low | high << 32
                left -= length
                if first < behind or left < 0 or address + length > block_count:
                    raise ReadError(DAMAGED)
                behind = first + length
                yield Run(first, length, HOLE if is_hole else address)
        if not pending:
            return
        block, depth = pending.pop()
        if left < 0 or block >= block_count:
            raise ReadError(DAMAGED)
        node = read(block * block_bytes, block_bytes)


def _entries(node: bytes, depth_wanted: int) -> tuple[int, list[tuple[int, int, int, int]]]:
    """(levels below, entries) of a node; a root may have any depth (`depth_wanted` -1)."""
    magic, count, most, depth = _HEADER.unpack_from(node)
    room = len(node) // _LEAF.size - 1
    if magic != MAGIC or count > min(most, room) or depth > MOST_DEPTH or depth_wanted not in (-1, depth):
        raise ReadError(DAMAGED)
    kind = _INDEX if depth else _LEAF
    return depth, [kind.unpack_from(node, _LEAF.size * (1 + index)) for index in range(count)]
