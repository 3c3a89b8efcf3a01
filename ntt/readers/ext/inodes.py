"""The inode tables of an ext2/3/4 volume -> raw inodes -> facts, exact to the bit."""

from __future__ import annotations

import stat
import struct
from typing import NamedTuple

from ntt.model import Extent
from ntt.ranges import Ranges, within
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.ext.groups import ExtGroups

FLAG_ENCRYPTED, FLAG_EXTENTS, FLAG_INLINE_DATA = 0x800, 0x80000, 0x10000000
UNWRITTEN = 32768  # an extent's length above this: allocated, never written, reads as zeros
INODE_WINDOW = 1 << 16  # bytes of the inode table read at a time
OWN_BYTES = 160  # of an inode; what a larger one holds behind them are attributes


class ExtInode(NamedTuple):
    """One raw inode; `position` is its image offset. Section "Inode Table" of the same document."""

    position: int
    raw: bytes
    mode: int
    size: int
    uid: int
    gid: int
    flags: int
    mtime_s: int
    mtime_ns: int

    @classmethod
    def parse(cls, position: int, raw: bytes) -> ExtInode:
        mode, uid, low, _, _, mtime, _, gid, _, _, flags = struct.unpack_from("<HHIIIiIHHII", raw)
        (high,) = struct.unpack_from("<I", raw, 108)
        uid_high, gid_high = struct.unpack_from("<HH", raw, 120)
        nanoseconds = 0
        if len(raw) >= 140 and struct.unpack_from("<H", raw, 128)[0] >= 12:
            (extra,) = struct.unpack_from("<I", raw, 136)
            mtime += (extra & 3) << 32
            nanoseconds = min(extra >> 2, 999_999_999)
        size = low | high << 32 if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else low
        return cls(position, raw, mode, size, uid | uid_high << 16, gid | gid_high << 16, flags, mtime, nanoseconds)

    @property
    def is_live(self) -> bool:
        """Whether anything names it: it has links, and was not deleted."""
        deleted, _, links = struct.unpack_from("<IHH", self.raw, 20)
        return bool(links) and not deleted

    @property
    def is_inline(self) -> bool:
        return bool(self.flags & FLAG_INLINE_DATA)

    @property
    def device(self) -> bytes:
        """`b"major:minor"`: the old 16-bit form in the first word, else the new 32-bit form in the second."""
        old, new = struct.unpack_from("<II", self.raw, 40)
        if old:
            return b"%d:%d" % (old >> 8 & 0xFF, old & 0xFF)
        return b"%d:%d" % (new >> 8 & 0xFFF, new & 0xFF | new >> 12 & 0xFFF00)

    @property
    def short_link(self) -> bytes | None:
        """The target of a symbolic link that fits into the inode, None if it lies in blocks."""
        if self.size >= 60 or self.flags & (FLAG_EXTENTS | FLAG_INLINE_DATA):
            return None
        return self.raw[40 : 40 + self.size]

    def inline_extents(self) -> list[Extent]:
        """Where inline content lies: 60 bytes in place of the block map, the rest in the value of `system.data`.

        ReadError if the attribute is not there or too short.
        """
        first = min(self.size, 60)
        found = [Extent(0, first, self.position + 40, first)] if first else []
        if self.size > 60:
            value = self._inline_attribute()
            if value is None or value[1] < self.size - 60:
                raise ReadError("inline content is incomplete")
            found.append(Extent(60, self.size - 60, self.position + value[0], self.size - 60))
        return found

    def _inline_attribute(self) -> tuple[int, int] | None:
        """Position in the inode and length of the attribute `system.data` (name index 7)."""
        if len(self.raw) < 130:
            return None
        start = 128 + int(struct.unpack_from("<H", self.raw, 128)[0]) + 4
        if start + 16 > len(self.raw) or self.raw[start - 4 : start] != b"\0\0\x02\xea":
            return None
        at = start
        while at + 16 <= len(self.raw) and self.raw[at : at + 4] != b"\0\0\0\0":
            name_bytes, index, offset, _, size = struct.unpack_from("<BBHII", self.raw, at)
            if index == 7 and self.raw[at + 16 : at + 16 + name_bytes] == b"data":
                return (start + offset, size) if start + offset + size <= len(self.raw) else None
            at += (16 + name_bytes + 3) & ~3
        return None


class ExtInodes:
    """Raw inodes by number, read through a window of the inode table. ReadError if a number is out of range."""

    def __init__(self, source: ImageSource, offset_bytes: int, groups: ExtGroups) -> None:
        self._source = source
        self._offset = offset_bytes
        self._groups = groups
        self.superblock = groups.superblock
        self._window_at = -1
        self._window = b""
        self._unread: Ranges = ()

    def position(self, ino: int) -> int:
        """The image offset of an inode."""
        if not 1 <= ino <= self.superblock.inode_count:
            raise ReadError(f"inode {ino} does not exist")
        group, index = divmod(ino - 1, self.superblock.inodes_per_group)
        return self._groups.inode_table(group) + index * self.superblock.inode_size

    def inode(self, ino: int) -> ExtInode:
        """ReadError, with the place, if it or where it lies was not read."""
        position, size = self.position(ino), self.superblock.inode_size
        start = position - self._window_at
        if self._window_at < 0 or start < 0 or start + size > len(self._window):
            self._window_at, start = position, 0
            self._window = self._read(position, INODE_WINDOW)
            self._unread = within(self._source.unread, position, position + INODE_WINDOW)
        found = ExtInode.parse(position, self._window[start : start + size])
        if self._unread and (lost := within(self._unread, position, position + min(size, OWN_BYTES))):
            raise ReadError("its inode was not read", lost)
        if self._unread and found.is_inline and (lost := within(self._unread, position, position + size)):
            raise ReadError("its inode, which holds its content, was not read as a whole", lost)
        return found

    def first_byte(self, inode: ExtInode) -> int | None:
        """Image offset of the first content run, -1 without content, None where only the whole map can tell."""
        if inode.size == 0 or not stat.S_ISREG(inode.mode):
            return -1
        if inode.is_inline:
            return inode.position + 40
        if not inode.flags & FLAG_EXTENTS:
            direct = next(filter(None, struct.unpack_from("<12I", inode.raw, 40)), 0)
            return self._place(direct) if direct else None
        magic, entries, _, depth = struct.unpack_from("<HHHH", inode.raw, 40)
        if magic != 0xF30A or entries == 0:
            return None if magic == 0xF30A and inode.size else -1
        _, length, high, low = struct.unpack_from("<IHHI", inode.raw, 52)
        if depth == 0 and length <= UNWRITTEN:
            return self._place(low | high << 32)
        return None

    def _place(self, block: int) -> int:
        return self._offset + block * self.superblock.block_size if block < self.superblock.block_count else -1

    def _read(self, position: int, length: int) -> bytes:
        try:
            return self._source.read(position, length)
        except (OSError, OverflowError) as error:
            raise ReadError(f"the image cannot be read at byte {position}: {error}") from None
