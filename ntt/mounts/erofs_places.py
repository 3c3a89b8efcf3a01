"""What FIEMAP leaves open of erofs -> places in the volume, by the inode: the end of a file that stands behind it.

Linux: Documentation/filesystems/erofs.rst, "On-disk details", and fs/erofs/erofs_fs.h.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import NamedTuple

from ntt.model import Extent
from ntt.mounts.fiemap import Piece
from ntt.ranges import Ranges, within

SUPERBLOCK_AT, SUPERBLOCK_BYTES = 1024, 128
MAGIC = 0xE0F5E1E2
SLOT_BYTES = 32  # inodes are counted in these
KNOWN_FEATURES = 0x7F  # what an image may need to be read; a later one has its inodes elsewhere
PACKED, INLINE = (1, 3), 2


class Inode(NamedTuple):
    """`tail`: where in the image the end of its file would stand."""

    layout: int
    size: int
    tail: int


class ErofsPlaces:
    """`read` is the image's, with zeros where it was not read. An inode that was not read gives no places."""

    def __init__(self, read: Callable[[int, int], bytes], offset_bytes: int, unread: Ranges) -> None:
        self._read = read
        self._offset = offset_bytes
        self._unread = unread
        self._block_bytes = 0
        self._inodes_at = -1
        self._looked = False

    def extents(self, fd: int, piece: Piece, start: int, end: int) -> list[Extent] | None:
        """Where `[start, end)` of an open file lies, which is in this piece; None: nobody knows."""
        try:
            inode = self._inode(os.fstat(fd).st_ino)
        except (struct.error, OSError):
            return None
        if inode is None:
            return None
        if inode.layout in PACKED:
            if piece.inline or piece.told <= 0:
                return None
            # it takes no more than what it is unpacked to, but for the block that it begins in
            room = -(-piece.length // self._block_bytes) * self._block_bytes + self._block_bytes
            return [Extent(start, end - start, self._offset + piece.told, room, vague=True)]
        if piece.inline:
            begins = inode.size - inode.size % self._block_bytes
            if inode.layout != INLINE or start < begins:
                return None
            return [Extent(start, end - start, inode.tail + start - begins, end - start)]
        if piece.physical < 0:
            return None
        return [Extent(start, end - start, self._offset + piece.physical + start - piece.logical, end - start)]

    def _inode(self, number: int) -> Inode | None:
        self._look()
        if self._inodes_at < 0:
            return None
        place = self._inodes_at + number * SLOT_BYTES
        head = self._whole(place, 16)
        if head is None:
            return None
        form, attributes = struct.unpack_from("<HH", head)
        is_long = form & 1
        (size,) = struct.unpack_from("<Q" if is_long else "<I", head, 8)
        behind = 12 + 4 * (attributes - 1) if attributes else 0
        return Inode(form >> 1 & 7, size, place + (64 if is_long else 32) + behind)

    def _look(self) -> None:
        if self._looked:
            return
        self._looked = True
        head = self._whole(self._offset + SUPERBLOCK_AT, SUPERBLOCK_BYTES)
        if head is None or struct.unpack_from("<I", head)[0] != MAGIC:
            return
        (features,) = struct.unpack_from("<I", head, 80)
        if features & ~KNOWN_FEATURES or not 9 <= head[12] <= 16:
            return
        self._block_bytes = 1 << head[12]
        self._inodes_at = self._offset + struct.unpack_from("<I", head, 40)[0] * self._block_bytes

    def _whole(self, place: int, length: int) -> bytes | None:
        if within(self._unread, place, place + length):
            return None
        found = self._read(place, length)
        return found if len(found) == length else None
