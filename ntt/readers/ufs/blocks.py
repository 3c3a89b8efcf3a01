"""The block map of a UFS inode -> runs: twelve blocks, then three levels of indirect ones."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ntt.readers.base import ReadError
from ntt.readers.tsk_extents import Run

DIRECT = 12
LEVELS = 3
DAMAGED = "its block map is damaged"


class Geometry(NamedTuple):
    """`fragments` is the size of the volume; addresses count fragments."""

    block_bytes: int
    fragment_bytes: int
    fragments: int
    order: str
    pointer_bytes: int


def block_runs(
    geometry: Geometry, pointers: tuple[int, ...], size: int, read: Callable[[int, int], bytes]
) -> Iterator[Run]:
    """Runs in fragments, in file order, holes left out. `read` gives bytes of the volume.

    ReadError for addresses outside the volume, and for a map that names more blocks than the volume has.
    """
    per_block = geometry.block_bytes // geometry.fragment_bytes
    in_pointer_block = geometry.block_bytes // geometry.pointer_bytes
    blocks = -(-size // geometry.block_bytes)
    left = 2 * (geometry.fragments // per_block) + DIRECT + LEVELS
    for address, level, first in _leaves(pointers, in_pointer_block):
        pending = [(address, level, first)]
        while pending:
            address, level, first = pending.pop()
            if not address or first >= blocks:
                continue
            left -= 1
            is_tail = not level and first < DIRECT and first == blocks - 1  # it may be some fragments only
            needed = -(-(size - first * geometry.block_bytes) // geometry.fragment_bytes) if is_tail else per_block
            if left < 0 or address + needed > geometry.fragments:
                raise ReadError(DAMAGED)
            if not level:
                yield Run(first * per_block, needed, address)
                continue
            span = in_pointer_block ** (level - 1)
            found = _pointers(geometry, read(address * geometry.fragment_bytes, geometry.block_bytes))
            pending.extend((at, level - 1, first + index * span) for index, at in reversed(list(enumerate(found))))


def _leaves(pointers: tuple[int, ...], in_pointer_block: int) -> Iterator[tuple[int, int, int]]:
    """(address, level, first file block) of what the inode itself names."""
    for index in range(DIRECT):
        yield pointers[index], 0, index
    first = DIRECT
    for level in range(1, LEVELS + 1):
        yield pointers[DIRECT + level - 1], level, first
        first += in_pointer_block**level


def _pointers(geometry: Geometry, block: bytes) -> tuple[int, ...]:
    kind = "I" if geometry.pointer_bytes == 4 else "Q"
    return struct.unpack(f"{geometry.order}{len(block) // geometry.pointer_bytes}{kind}", block)
