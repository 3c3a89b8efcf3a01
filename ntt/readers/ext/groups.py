"""Group descriptors and bitmaps of an ext volume -> where its own structures lie, and which blocks are in use.

Linux kernel documentation, "ext4 Data Structures and Algorithms", sections "Block Group Descriptors", "Block and inode
Bitmaps", "Flexible Block Groups", "Meta Block Groups", "Bigalloc".
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from ntt.model import Structure
from ntt.ranges import Range, Ranges, normalised, within
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.ext.backups import GROUPS_LIMIT, PatchedSource
from ntt.readers.ext.superblock import SUPERBLOCK_AT, SUPERBLOCK_BYTES, ExtSuperblock

INODE_UNINIT, BLOCK_UNINIT = 0x1, 0x2
ROOT = 2
RUNS_LIMIT = 1 << 24  # of blocks or inodes in use that are told one by one; bitmaps may all be the same
_SET = re.compile("1+")


class Descriptor(NamedTuple):
    """Block numbers. `has_inodes` and `has_blocks`: whether the bitmap says something; None: not known.

    Where one is not, no inode is in use, or of blocks only what structures take.
    """

    block_bitmap: int
    inode_bitmap: int
    inode_table: int
    has_inodes: bool | None
    has_blocks: bool | None


class ExtGroups:
    """The groups of one volume, whose copies of descriptors `source` has in the places of unread ones."""

    def __init__(self, source: ImageSource, offset_bytes: int, superblock: ExtSuperblock) -> None:
        self._source = source
        self._offset = offset_bytes
        self.superblock = superblock
        self.count = min(superblock.group_count, GROUPS_LIMIT)
        self._runs_left = RUNS_LIMIT
        self.descriptor = lru_cache(maxsize=4096)(self._descriptor)

    def _descriptor(self, group: int) -> Descriptor:
        """ReadError if no copy of it was read."""
        superblock = self.superblock
        start = self._offset + superblock.descriptor_at(group)
        end = start + superblock.descriptor_size
        if lost := within(self._source.unread, start, end):
            raise ReadError(f"the descriptor of its group ({group}) was not read", lost)
        raw = self._read(start, end - start)
        places = list(struct.unpack_from("<III", raw))
        if superblock.descriptor_size >= 64:
            places = [low | high << 32 for low, high in zip(places, struct.unpack_from("<III", raw, 32), strict=True)]
        (flags,) = struct.unpack_from("<H", raw, 18)
        written: list[bool | None] = [not flags & flag for flag in (INODE_UNINIT, BLOCK_UNINIT)]
        if not superblock.has_group_flags:
            written = [True, True]
        elif isinstance(self._source, PatchedSource) and within(self._source.patched, start, end):
            written = [one or None for one in written]  # a flag that went since the copy was made
        return Descriptor(places[0], places[1], places[2], written[0], written[1])

    def inode_table(self, group: int) -> int:
        """The image offset of the group's first inode. ReadError if its descriptor was not read."""
        return self._offset + self.descriptor(group).inode_table * self.superblock.block_size

    def inodes_in_use(self, group: int) -> list[Range] | None:
        """Runs of its inodes, counted from 0; what an unread part of the bitmap says counts as in use.

        None: not known at all. ReadError if its descriptor was not read.
        """
        descriptor = self.descriptor(group)
        count = self._inodes_of(group)
        if descriptor.has_inodes is False:
            return []
        if descriptor.has_inodes is None:
            return None
        return _runs(self._bitmap(descriptor.inode_bitmap, count), count)

    def _inodes_of(self, group: int) -> int:
        per_group = self.superblock.inodes_per_group
        return max(min(per_group, self.superblock.inode_count - group * per_group), 0)

    def _bitmap(self, block: int, bits: int) -> bytes:
        length = min((bits + 7) // 8, self.superblock.block_size)
        start = self._offset + block * self.superblock.block_size
        lost = within(self._source.unread, start, start + length)
        raw = self._read(start, length)
        if not lost:
            return raw
        filled = bytearray(raw)
        for low, high in lost:
            filled[low - start : high - start] = b"\xff" * (high - low)
        return bytes(filled)

    def used(self) -> Iterator[Range]:
        """Bytes of the image in use, ascending. OSError as `ImageSource.read`."""
        own = self._own_blocks()
        left = RUNS_LIMIT
        superblock = self.superblock
        size, ratio = superblock.block_size, superblock.cluster_blocks
        for group in range(self.count):
            first = superblock.first_data_block + group * superblock.blocks_per_group
            end = min(first + superblock.blocks_per_group, superblock.block_count)
            found: Ranges = ((first, end),)
            try:
                descriptor = self.descriptor(group)
                if descriptor.has_blocks is not None and left > 0:
                    found = within(own, first, end)
                if descriptor.has_blocks and left > 0:
                    clusters = -(-(end - first) // ratio)
                    bits = _runs(self._bitmap(descriptor.block_bitmap, clusters), clusters)
                    runs = ((first + low * ratio, min(first + high * ratio, end)) for low, high in bits)
                    found = normalised((*found, *runs))
                    left -= len(bits)
            except ReadError:
                pass  # nothing is known of it: all of it counts
            yield from ((self._offset + low * size, self._offset + high * size) for low, high in found)

    def _own_blocks(self) -> Ranges:
        """Of all groups: copies, bitmaps, and inode tables. With flex_bg they stand in other groups than their own."""
        size = self.superblock.block_size
        places = ((one.start - self._offset, one.end - self._offset) for one in (*self.copies(), *self.maps()))
        return normalised((start // size, -(-end // size)) for start, end in places)

    def copies(self) -> Iterator[Structure]:
        """Superblock and descriptors, and their copies, which are spare."""
        superblock = self.superblock
        size, per_block = superblock.block_size, superblock.descriptors_per_block
        together = min(superblock.descriptor_blocks * per_block, superblock.group_count)
        for group in (0, *superblock.copies()):
            start = self._offset + (superblock.first_block(group) * size if group else SUPERBLOCK_AT)
            yield Structure(start, start + SUPERBLOCK_BYTES, "superblock", spare=group > 0)
            start = self._offset + (superblock.first_block(group) + 1) * size
            if together:
                yield Structure(
                    start, start + together * superblock.descriptor_size, "group descriptors", spare=group > 0
                )
            end = start + superblock.descriptor_blocks * size
            if superblock.reserved_blocks and superblock.meta_group < 0:
                yield Structure(end, end + superblock.reserved_blocks * size, "reserved group descriptors", spare=True)
        for first in range(superblock.descriptor_blocks * per_block, self.count, per_block):
            length = min(per_block, superblock.group_count - first) * superblock.descriptor_size
            places = (superblock.descriptor_at(first), *superblock.descriptor_copies(first))
            for index, place in enumerate(places):
                start = self._offset + place
                yield Structure(start, start + length, "group descriptors", spare=index > 0)

    def maps(self) -> Iterator[Structure]:
        """Bitmaps and inode tables of all groups whose descriptor was read."""
        size = self.superblock.block_size
        for group in range(self.count):
            try:
                descriptor = self.descriptor(group)
            except ReadError:
                continue
            for block, what in ((descriptor.block_bitmap, "block bitmap"), (descriptor.inode_bitmap, "inode bitmap")):
                start = self._offset + block * size
                yield Structure(start, start + size, what, spare=True)
            start = self._offset + descriptor.inode_table * size
            yield from self._table(group, start)

    def _table(self, group: int, start: int) -> Iterator[Structure]:
        """The inode table; where parts of it are unread those that hold no inode in use, and the hidden, are spare."""
        superblock = self.superblock
        end = start + -(-superblock.inodes_per_group * superblock.inode_size // superblock.block_size) * (
            superblock.block_size
        )
        is_split = self._runs_left > 0 and bool(within(self._source.unread, start, end))
        runs = self.inodes_in_use(group) if is_split else None
        self._runs_left -= len(runs or ())
        if runs is None:
            yield Structure(start, end, "inode table")
            return
        at = start
        for first, behind in self._named(group, runs):
            low, high = (start + one * superblock.inode_size for one in (first, behind))
            if at < low:
                yield Structure(at, low, "inode table", spare=True)
            yield Structure(low, high, "inode table")
            at = high
        if at < end:
            yield Structure(at, end, "inode table", spare=True)

    def _named(self, group: int, runs: list[Range]) -> Iterator[Range]:
        """Without the file system's own inodes but the root."""
        own = self.superblock.first_ino - 1 - group * self.superblock.inodes_per_group
        if group == 0 and any(first < ROOT <= behind for first, behind in runs):
            yield ROOT - 1, ROOT
        yield from ((max(first, own), behind) for first, behind in runs if behind > own)

    def _read(self, position: int, length: int) -> bytes:
        try:
            return self._source.read(position, length)
        except (OSError, OverflowError) as error:
            raise ReadError(f"the image cannot be read at byte {position}: {error}") from None


def _runs(bitmap: bytes, count: int) -> list[Range]:
    """Runs of set bits among the first `count`, the lowest of each byte being its first; no more than `bitmap` has."""
    count = min(count, 8 * len(bitmap))
    bits = format(int.from_bytes(bitmap, "little"), f"0{8 * len(bitmap)}b")[::-1]
    return [match.span() for match in _SET.finditer(bits, 0, count)]
