"""1,024 bytes of an ext2/3/4 volume -> its superblock: how large things are, and where each group keeps its own."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAGIC = 0xEF53
SUPERBLOCK_AT = SUPERBLOCK_BYTES = 1024
INCOMPAT_FILETYPE, INCOMPAT_META_BG, INCOMPAT_64BIT = 0x2, 0x10, 0x80
INCOMPAT_ONLY_EXT4 = 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x1000 | 0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x20000
RO_COMPAT_ONLY_EXT4 = 0x8 | 0x10 | 0x20 | 0x40 | 0x200 | 0x400
COMPAT_JOURNAL, COMPAT_SPARSE_SUPER2, RO_COMPAT_SPARSE_SUPER = 0x4, 0x200, 0x1
RO_COMPAT_GROUP_FLAGS, RO_COMPAT_BIGALLOC = 0x10 | 0x400, 0x200  # either kind of checksum brings the flags
COPIES_LIMIT, COPIES_TRIED = 4096, 64  # before sparse_super each group had one
OLD_FIRST_INO = 11  # of revision 0, which does not say


@dataclass(frozen=True, slots=True)
class ExtSuperblock:
    """Linux kernel documentation, "ext4 Data Structures and Algorithms", section Super Block."""

    fstype: str
    label: bytes
    block_size: int
    block_count: int
    first_data_block: int
    blocks_per_group: int
    cluster_blocks: int
    inodes_per_group: int
    inode_count: int
    inode_size: int
    first_ino: int  # all below are the file system's own
    journal_ino: int  # 0: none in it
    descriptor_size: int
    reserved_blocks: int  # behind the descriptors of each copy, for more of them
    has_file_types: bool
    has_group_flags: bool  # whether a group says that its bitmaps were never written
    meta_group: int  # descriptors of groups from this block of descriptors on lie in their own meta group; -1: none do
    backup_groups: tuple[int, ...] | None  # sparse_super2; None: by the rule of powers
    sparse: bool

    @classmethod
    def parse(cls, block: bytes) -> ExtSuperblock | None:
        """1,024 bytes from offset 1,024 of the volume; None if they are no superblock or contradict themselves."""
        if len(block) < 1024 or struct.unpack_from("<H", block, 56)[0] != MAGIC:
            return None
        inodes, blocks = struct.unpack_from("<II", block, 0)
        first, log_block, log_cluster = struct.unpack_from("<III", block, 20)
        per_group, _, inodes_per_group = struct.unpack_from("<III", block, 32)
        (revision,) = struct.unpack_from("<I", block, 76)
        first_ino, inode_size, compat, incompat, ro_compat = struct.unpack_from("<IHxxIII", block, 84)
        if log_block > 6 or 0 in (inodes, blocks, per_group, inodes_per_group):
            return None
        if revision == 0:
            first_ino, inode_size, compat, incompat, ro_compat = OLD_FIRST_INO, 128, 0, 0, 0
        wide = bool(incompat & INCOMPAT_64BIT)
        size, high = struct.unpack_from("<H", block, 254)[0], struct.unpack_from("<I", block, 336)[0]
        if inode_size < 128 or inode_size > 1024 << log_block or inode_size & (inode_size - 1):
            return None
        fstype = "ext3" if compat & COMPAT_JOURNAL else "ext2"
        if incompat & INCOMPAT_ONLY_EXT4 or ro_compat & RO_COMPAT_ONLY_EXT4:
            fstype = "ext4"
        has_clusters = ro_compat & RO_COMPAT_BIGALLOC and log_block <= log_cluster <= log_block + 16
        return cls(
            fstype,
            block[120:136].split(b"\0")[0],
            1024 << log_block,
            blocks | (high << 32 if wide else 0),
            first,
            per_group,
            1 << log_cluster - log_block if has_clusters else 1,
            inodes_per_group,
            inodes,
            inode_size,
            first_ino,
            struct.unpack_from("<I", block, 224)[0] if compat & COMPAT_JOURNAL else 0,
            size if wide and size >= 64 else 32,
            struct.unpack_from("<H", block, 206)[0],
            bool(incompat & INCOMPAT_FILETYPE),
            bool(ro_compat & RO_COMPAT_GROUP_FLAGS),
            struct.unpack_from("<I", block, 260)[0] if incompat & INCOMPAT_META_BG else -1,
            struct.unpack_from("<II", block, 588) if compat & COMPAT_SPARSE_SUPER2 else None,
            bool(ro_compat & RO_COMPAT_SPARSE_SUPER),
        )

    @property
    def group_count(self) -> int:
        return max(-(-(self.block_count - self.first_data_block) // self.blocks_per_group), 0)

    @property
    def descriptors_per_block(self) -> int:
        return max(self.block_size // self.descriptor_size, 1)

    @property
    def descriptor_blocks(self) -> int:
        """How many blocks of descriptors stand together at the start and are copied as a whole."""
        blocks = -(-self.group_count // self.descriptors_per_block)
        return blocks if self.meta_group < 0 else min(self.meta_group, blocks)

    def has_backup(self, group: int) -> bool:
        """Whether a copy of the superblock stands before the group's descriptors."""
        if self.backup_groups is not None:
            return group == 0 or group in self.backup_groups
        if not self.sparse or group <= 1:
            return True
        return any(group == base ** _power(group, base) for base in (3, 5, 7))

    def first_block(self, group: int) -> int:
        """Where the group begins; with blocks of 1 KiB the first one begins behind the boot block, whatever it says."""
        if group == 0:
            return max(self.first_data_block, SUPERBLOCK_AT // self.block_size)
        return self.first_data_block + group * self.blocks_per_group

    def descriptor_at(self, group: int) -> int:
        """Where the group's descriptor begins, in bytes from the volume's start."""
        index, rest = divmod(group, self.descriptors_per_block)
        if 0 <= self.meta_group <= index:
            first = index * self.descriptors_per_block
            block = self.first_block(first) + self.has_backup(first)
        else:
            block = self.first_block(0) + 1 + index
        return block * self.block_size + rest * self.descriptor_size

    def descriptor_copies(self, group: int) -> list[int]:
        """Where else it begins: of many copies the first `COPIES_TRIED`."""
        index, rest = divmod(group, self.descriptors_per_block)
        if 0 <= self.meta_group <= index:
            first = index * self.descriptors_per_block
            groups = dict.fromkeys((first + 1, first + self.descriptors_per_block - 1))
            blocks = [self.first_block(one) + self.has_backup(one) for one in groups if first < one < self.group_count]
        else:
            blocks = [self.first_block(one) + 1 + index for one in self.copies()[:COPIES_TRIED]]
        return [block * self.block_size + rest * self.descriptor_size for block in blocks]

    def copies(self) -> list[int]:
        """Groups other than the first that hold a copy of the superblock, ascending; of too many only the first."""
        count = min(self.group_count, COPIES_LIMIT)
        if self.backup_groups is not None:
            return sorted({group for group in self.backup_groups if 0 < group < self.group_count})
        if not self.sparse:
            return list(range(1, count))
        powers = (base**power for base in (3, 5, 7) for power in range(1, 20))
        return sorted({group for group in (1, *powers) if group < self.group_count})


def _power(number: int, base: int) -> int:
    power = 1
    while base ** (power + 1) <= number:
        power += 1
    return power
