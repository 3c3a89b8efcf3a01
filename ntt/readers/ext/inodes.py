"""An ext2/3/4 volume's own structures: superblock -> group descriptors -> raw inodes -> facts, exact to the bit."""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ntt.model import Extent
from ntt.readers.base import ImageSource, ReadError

MAGIC = 0xEF53
INCOMPAT_FILETYPE, INCOMPAT_META_BG, INCOMPAT_64BIT = 0x2, 0x10, 0x80
INCOMPAT_ONLY_EXT4 = 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x1000 | 0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x20000
RO_COMPAT_ONLY_EXT4 = 0x8 | 0x10 | 0x20 | 0x40 | 0x200 | 0x400
COMPAT_JOURNAL, COMPAT_SPARSE_SUPER2, RO_COMPAT_SPARSE_SUPER = 0x4, 0x200, 0x1
FLAG_ENCRYPTED, FLAG_EXTENTS, FLAG_INLINE_DATA = 0x800, 0x80000, 0x10000000
UNWRITTEN = 32768  # an extent's length above this: allocated, never written, reads as zeros
INODE_WINDOW = 1 << 16  # bytes of the inode table read at a time


@dataclass(frozen=True, slots=True)
class ExtSuperblock:
    """Linux kernel documentation, "ext4 Data Structures and Algorithms", section Super Block."""

    fstype: str
    label: bytes
    block_size: int
    block_count: int
    first_data_block: int
    blocks_per_group: int
    inodes_per_group: int
    inode_count: int
    inode_size: int
    descriptor_size: int
    has_file_types: bool
    meta_group: int  # descriptors of groups from this block of descriptors on lie in their own meta group; -1: none do
    backup_groups: tuple[int, ...] | None  # sparse_super2; None: by the rule of powers
    sparse: bool

    @classmethod
    def parse(cls, block: bytes) -> ExtSuperblock | None:
        """1,024 bytes from offset 1,024 of the volume; None if they are no superblock or contradict themselves."""
        if len(block) < 1024 or struct.unpack_from("<H", block, 56)[0] != MAGIC:
            return None
        inodes, blocks = struct.unpack_from("<II", block, 0)
        first, log_block = struct.unpack_from("<II", block, 20)
        per_group, _, inodes_per_group = struct.unpack_from("<III", block, 32)
        (revision,) = struct.unpack_from("<I", block, 76)
        inode_size, compat, incompat, ro_compat = struct.unpack_from("<HxxIII", block, 88)
        if log_block > 6 or 0 in (inodes, blocks, per_group, inodes_per_group):
            return None
        if revision == 0:
            inode_size, compat, incompat, ro_compat = 128, 0, 0, 0
        wide = bool(incompat & INCOMPAT_64BIT)
        size, high = struct.unpack_from("<H", block, 254)[0], struct.unpack_from("<I", block, 336)[0]
        if inode_size < 128 or inode_size > 1024 << log_block or inode_size & (inode_size - 1):
            return None
        fstype = "ext3" if compat & COMPAT_JOURNAL else "ext2"
        if incompat & INCOMPAT_ONLY_EXT4 or ro_compat & RO_COMPAT_ONLY_EXT4:
            fstype = "ext4"
        return cls(
            fstype,
            block[120:136].split(b"\0")[0],
            1024 << log_block,
            blocks | (high << 32 if wide else 0),
            first,
            per_group,
            inodes_per_group,
            inodes,
            inode_size,
            size if wide and size >= 64 else 32,
            bool(incompat & INCOMPAT_FILETYPE),
            struct.unpack_from("<I", block, 260)[0] if incompat & INCOMPAT_META_BG else -1,
            struct.unpack_from("<II", block, 588) if compat & COMPAT_SPARSE_SUPER2 else None,
            bool(ro_compat & RO_COMPAT_SPARSE_SUPER),
        )

    def has_backup(self, group: int) -> bool:
        """Whether a copy of the superblock stands before the group's descriptors."""
        if self.backup_groups is not None:
            return group == 0 or group in self.backup_groups
        if not self.sparse or group <= 1:
            return True
        return any(group == base ** _power(group, base) for base in (3, 5, 7))

    def descriptor_at(self, group: int) -> int:
        """Where the group's descriptor begins, in bytes from the start of the volume."""
        per_block = self.block_size // self.descriptor_size
        index, rest = divmod(group, per_block)
        block = self.first_data_block + 1 + index
        if 0 <= self.meta_group <= index:
            first_group = index * per_block
            block = self.first_data_block + first_group * self.blocks_per_group + self.has_backup(first_group)
        return block * self.block_size + rest * self.descriptor_size


def _power(number: int, base: int) -> int:
    power = 1
    while base ** (power + 1) <= number:
        power += 1
    return power


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

    def __init__(self, source: ImageSource, offset_bytes: int, superblock: ExtSuperblock) -> None:
        self._source = source
        self._offset = offset_bytes
        self.superblock = superblock
        self._table_at = lru_cache(maxsize=4096)(self._read_table_at)
        self._window_at = -1
        self._window = b""

    def position(self, ino: int) -> int:
        """The image offset of an inode."""
        if not 1 <= ino <= self.superblock.inode_count:
            raise ReadError(f"inode {ino} does not exist")
        group, index = divmod(ino - 1, self.superblock.inodes_per_group)
        return self._table_at(group) + index * self.superblock.inode_size

    def inode(self, ino: int) -> ExtInode:
        position, size = self.position(ino), self.superblock.inode_size
        start = position - self._window_at
        if self._window_at < 0 or start < 0 or start + size > len(self._window):
            self._window_at, start = position, 0
            self._window = self._read(position, INODE_WINDOW)
        return ExtInode.parse(position, self._window[start : start + size])

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

    def _read_table_at(self, group: int) -> int:
        superblock = self.superblock
        raw = self._read(self._offset + superblock.descriptor_at(group), superblock.descriptor_size)
        (block,) = struct.unpack_from("<I", raw, 8)
        if superblock.descriptor_size >= 64:
            block |= struct.unpack_from("<I", raw, 40)[0] << 32
        return int(self._offset + block * superblock.block_size)

    def _read(self, position: int, length: int) -> bytes:
        try:
            return self._source.read(position, length)
        except (OSError, OverflowError) as error:
            raise ReadError(f"the image cannot be read at byte {position}: {error}") from None


def directory_entries(content: bytes, block_size: int, has_file_types: bool) -> tuple[list[tuple[bytes, int]], int]:
    """Linear directory blocks -> (name, inode) of every live entry, and how many blocks are broken.

    Index blocks of a hashed directory look like one empty entry each, so they need no special care.
    A record that contradicts itself ends its block only.
    """
    found: list[tuple[bytes, int]] = []
    broken = 0
    unpack = struct.Struct("<IHBB").unpack_from
    for start in range(0, len(content), block_size):
        end = min(start + block_size, len(content))
        at = start
        while at + 8 <= end:
            ino, length, name_bytes, kind = unpack(content, at)
            if not has_file_types:
                name_bytes |= kind << 8
            if length == 65535 and block_size == 65536:
                length = 65536
            if length < 8 or length & 3 or at + length > end or 8 + name_bytes > length:
                broken += 1
                break
            if ino and name_bytes:
                found.append((content[at + 8 : at + 8 + name_bytes], ino))
            at += length
    return found, broken
