"""Runs of blocks -> extents of bytes that cover a file exactly, holes and compressed units included."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ntt.model import Extent

HOLE = -1


class Run(NamedTuple):
    """Neighbouring blocks of a file: which of its blocks, how many, and where on the volume (-1: a hole)."""

    file_block: int
    blocks: int
    volume_block: int


def run_extents(
    runs: Iterable[Run], block_size: int, offset_bytes: int, size_bytes: int, valid_bytes: int | None = None
) -> list[Extent]:
    """Extents covering `[0, size)`: gaps between runs, and all beyond `valid_bytes`, are holes."""
    valid_bytes = size_bytes if valid_bytes is None else min(valid_bytes, size_bytes)
    found: list[Extent] = []
    at = 0
    for run in runs:
        start = run.file_block * block_size
        end = min(start + run.blocks * block_size, valid_bytes)
        if start < at or end <= start:
            continue
        if run.volume_block == HOLE:
            continue
        if start > at:
            found.append(Extent(at, start - at, HOLE, start - at))
        found.append(Extent(start, end - start, offset_bytes + run.volume_block * block_size, end - start))
        at = end
    if at < size_bytes:
        found.append(Extent(at, size_bytes - at, HOLE, size_bytes - at))
    return merged(found)


def merged(extents: Iterable[Extent]) -> list[Extent]:
    """Neighbours that continue each other in file and image become one."""
    found: list[Extent] = []
    for extent in extents:
        if found and _continues(found[-1], extent):
            last = found[-1]
            length = last.file_length + extent.file_length
            found[-1] = Extent(last.file_offset, length, last.image_offset, length)
        else:
            found.append(extent)
    return found


def _continues(last: Extent, extent: Extent) -> bool:
    if last.file_length != last.image_length or extent.file_length != extent.image_length:
        return False
    if last.image_offset == HOLE or extent.image_offset == HOLE:
        return last.image_offset == extent.image_offset
    return last.image_offset + last.image_length == extent.image_offset


def compressed_extents(
    runs: Iterable[Run], block_size: int, offset_bytes: int, size_bytes: int, unit_blocks: int
) -> list[Extent]:
    """One extent for each compression unit (NTFS): full units are linear, empty ones holes, others compressed.

    A compressed unit in several pieces is given as the image range from its first to its last byte:
    damage between the pieces may then be charged to the file, damage in them is never missed.
    """
    units: dict[int, list[tuple[int, int]]] = {}
    for run in runs:
        block, left, volume_block = run.file_block, run.blocks, run.volume_block
        while left > 0 and volume_block != HOLE:
            here = min(left, unit_blocks - block % unit_blocks)
            units.setdefault(block // unit_blocks, []).append((volume_block, here))
            block, left, volume_block = block + here, left - here, volume_block + here
    found: list[Extent] = []
    unit_bytes = unit_blocks * block_size
    at = 0
    for unit in sorted(units):
        start = unit * unit_bytes
        if start >= size_bytes:
            break
        if start > at:
            found.append(Extent(at, start - at, HOLE, start - at))
        at = min(start + unit_bytes, size_bytes)
        found.extend(_unit_extents(units[unit], start, at - start, block_size, offset_bytes, unit_blocks))
    if at < size_bytes:
        found.append(Extent(at, size_bytes - at, HOLE, size_bytes - at))
    return merged(found)


def _unit_extents(
    pieces: Sequence[tuple[int, int]], start: int, length: int, block_size: int, offset_bytes: int, unit_blocks: int
) -> list[Extent]:
    if sum(blocks for _, blocks in pieces) >= unit_blocks:
        linear: list[Extent] = []
        for block, blocks in pieces:
            here = min(blocks * block_size, length)
            if here > 0:
                linear.append(Extent(start, here, offset_bytes + block * block_size, here))
            start, length = start + here, length - here
        return linear
    first = min(block for block, _ in pieces)
    last = max(block + blocks for block, blocks in pieces)
    image_length = (last - first) * block_size
    if image_length == length:  # equal lengths would read as linear
        image_length += block_size
    return [Extent(start, length, offset_bytes + first * block_size, image_length)]


def part_of(extents: Sequence[Extent], start: int, length: int) -> list[Extent]:
    """The pieces of linear extents that hold file bytes `[start, start+length)`, numbered from 0."""
    found: list[Extent] = []
    index = max(bisect_right(extents, start, key=lambda extent: extent.file_offset) - 1, 0)
    end = start + length
    for extent in extents[index:]:
        low, high = max(extent.file_offset, start), min(extent.file_offset + extent.file_length, end)
        if extent.file_offset >= end:
            break
        if low < high:
            at = HOLE if extent.image_offset == HOLE else extent.image_offset + low - extent.file_offset
            found.append(Extent(low - start, high - low, at, high - low))
    return found
