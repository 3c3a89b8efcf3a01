"""The inode tables of an ext volume -> the blocks that say where its files lie, and those that hold attributes."""

from __future__ import annotations

import stat
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ntt.model import Structure
from ntt.ranges import Range
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.ext.blocks import DIRECT, LEVELS, MOST_DEPTH
from ntt.readers.ext.groups import ROOT, ExtGroups
from ntt.readers.ext.inodes import FLAG_EXTENTS, FLAG_INLINE_DATA

PIECE = 1 << 20
EXTENT_TREE, BLOCK_MAP = "extent tree", "indirect block"
MAPPED = frozenset((stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK))
FAST_LINK = 60
_HEAD = struct.Struct("<HHI18xHII")  # mode, uid, size, links, blocks, flags


class MapBlock(NamedTuple):
    """A block of a map: `levels` of further ones stand below it."""

    address: int
    levels: int


class MapFinder:
    """Finds the blocks of maps without reading the lowest of them, which are nearly all.

    `read` gives a block, None if it was not read. No more are found than the volume has blocks, however they are
    linked.
    """

    def __init__(self, block_bytes: int, block_count: int, read: Callable[[int], bytes | None]) -> None:
        self._block_bytes = block_bytes
        self._block_count = block_count
        self._read = read
        self._left = block_count

    def extent_tree(self, root: bytes) -> Iterator[int]:
        """`root`: 60 bytes of the inode."""
        yield from self._all(_index(root, MOST_DEPTH), lambda content, below: _index(content, below))

    def block_map(self, pointers: bytes) -> Iterator[int]:
        """`pointers`: 60 bytes of the inode."""
        addresses = struct.unpack_from(f"<{LEVELS}I", pointers, 4 * DIRECT)
        yield from self._all([MapBlock(address, level) for level, address in enumerate(addresses)], _pointers)

    def _all(self, pending: list[MapBlock], inside: Callable[[bytes, int], list[MapBlock]]) -> Iterator[int]:
        while pending and self._left > 0:
            block = pending.pop()
            if not 0 < block.address < self._block_count:
                continue
            self._left -= 1
            yield block.address
            if block.levels:
                content = self._read(block.address)
                if content is not None:
                    pending += inside(content, block.levels)


def _index(node: bytes, most_depth: int) -> list[MapBlock]:
    """The blocks below a node of an extent tree; none if it is a leaf, is none, or stands too deep."""
    magic, count, _, depth = struct.unpack_from("<HHHH", node)
    if magic != 0xF30A or not 0 < depth <= most_depth:
        return []
    entries = (struct.unpack_from("<IIHH", node, 12 * (1 + at)) for at in range(min(count, len(node) // 12 - 1)))
    return [MapBlock(low | high << 32, depth - 1) for _, low, high, _ in entries]


def _pointers(content: bytes, levels: int) -> list[MapBlock]:
    return [MapBlock(address, levels - 1) for address in struct.unpack(f"<{len(content) // 4}I", content) if address]


def file_maps(
    source: ImageSource, offset_bytes: int, groups: ExtGroups, read: Callable[[int], bytes | None]
) -> Iterator[Structure]:
    """Of all inodes in use that were read; costs one reading of the inode tables. OSError as `source.read`."""
    superblock = groups.superblock
    finder = MapFinder(superblock.block_size, superblock.block_count, read)
    for ino, raw in _inodes(source, groups):
        mode, _, size, links, _, flags = _HEAD.unpack_from(raw)
        if not links or stat.S_IFMT(mode) not in MAPPED:
            continue
        (attributes,), (high,) = struct.unpack_from("<I", raw, 104), struct.unpack_from("<H", raw, 118)
        if attributes:
            yield _structure(offset_bytes, superblock.block_size, attributes | high << 32, "extended attributes", ino)
        if flags & FLAG_INLINE_DATA or (stat.S_ISLNK(mode) and size < FAST_LINK and not flags & FLAG_EXTENTS):
            continue
        what = EXTENT_TREE if flags & FLAG_EXTENTS else BLOCK_MAP
        found = finder.extent_tree(raw[40:100]) if flags & FLAG_EXTENTS else finder.block_map(raw[40:100])
        for block in found:
            yield _structure(offset_bytes, superblock.block_size, block, what, ino)


def _structure(offset_bytes: int, block_bytes: int, block: int, what: str, ino: int) -> Structure:
    start = offset_bytes + block * block_bytes
    return Structure(start, start + block_bytes, what, ino, spare=what not in (EXTENT_TREE, BLOCK_MAP))


def _inodes(source: ImageSource, groups: ExtGroups) -> Iterator[tuple[int, bytes]]:
    """(number, raw inode) of all in use but the file system's own; unread ones are zeros."""
    superblock = groups.superblock
    size, per_group = superblock.inode_size, superblock.inodes_per_group
    left = source.size_bytes // size  # tables may all be the same
    for group in range(groups.count):
        try:
            table, runs = groups.inode_table(group), groups.inodes_in_use(group)
        except ReadError:
            continue
        for first, behind in [(0, min(per_group, 8 * superblock.block_size))] if runs is None else runs:
            left -= behind - first
            if left < 0:
                return
            for low, high in _pieces(first, behind, PIECE // size):
                content = source.read(table + low * size, (high - low) * size)
                for index in range(low, high):
                    ino = group * per_group + index + 1
                    if ino == ROOT or ino >= superblock.first_ino:
                        yield ino, content[(index - low) * size : (index - low + 1) * size]


def _pieces(first: int, behind: int, most: int) -> Iterator[Range]:
    for low in range(first, behind, most):
        yield low, min(low + most, behind)
