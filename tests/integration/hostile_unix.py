"""Hostile ext2, ext4 and UFS: directories in themselves, maps that name themselves, counts and sizes without measure.

Linux kernel documentation, "ext4 Data Structures and Algorithms"; BSD's `ufs/ffs/fs.h`.
"""

from __future__ import annotations

import struct

from hostile_cases import get, hostile, put, variants

SUPER = 1024
ROOT = 2
EXTENTS = 0x80000
MOST = 0xFFFFFFFF


class Ext:
    """Where the structures of a small image with blocks of 1 KiB lie."""

    def __init__(self, image: bytearray) -> None:
        self.image = image
        self.block = 1024 << get(image, "<I", SUPER + 24)
        self.inode_bytes = get(image, "<H", SUPER + 88)
        self.per_group = get(image, "<I", SUPER + 40)
        self.groups_at = (get(image, "<I", SUPER + 20) + 1) * self.block

    def inode(self, ino: int) -> int:
        group, index = divmod(ino - 1, self.per_group)
        return get(self.image, "<I", self.groups_at + 32 * group + 8) * self.block + index * self.inode_bytes

    def blocks(self, ino: int) -> list[int]:
        """Offsets of the directly named blocks."""
        at = self.inode(ino)
        if not get(self.image, "<I", at + 32) & EXTENTS:
            return [block * self.block for block in struct.unpack_from("<12I", self.image, at + 40) if block]
        assert not get(self.image, "<H", at + 46), "the extent tree has more than one level"
        found: list[int] = []
        for index in range(get(self.image, "<H", at + 42)):
            count, _, first = struct.unpack_from("<HHI", self.image, at + 56 + 12 * index)
            found += [(first + number) * self.block for number in range(count)]
        return found

    def entries(self, folder: int) -> dict[bytes, int]:
        """Name -> offset of the entry."""
        found: dict[bytes, int] = {}
        for start in self.blocks(folder):
            at = start
            while at < start + self.block:
                length, name_bytes = struct.unpack_from("<HB", self.image, at + 4)
                found[bytes(self.image[at + 8 : at + 8 + name_bytes])] = at
                at += length
        found.pop(b"", None)  # an index block of a hashed directory
        return found

    def find(self, *path: bytes) -> tuple[int, int, int]:
        """(inode of the folder, entry's offset, inode) of what is at a path."""
        folder = ino = ROOT
        at = 0
        for name in path:
            folder, at = ino, self.entries(ino)[name]
            ino = get(self.image, "<I", at)
        return folder, at, ino


EXT = ("ext2", "ext4")
DEEPEST = (b"folder", b"deeper", b"deepest")


@hostile(*EXT)
def directory_in_itself(image: bytearray) -> None:
    ext = Ext(image)
    folder, at, _ = ext.find(*DEEPEST)
    put(image, "<I", at, folder)


@hostile(*EXT)
def directory_holds_its_grandparent(image: bytearray) -> None:
    ext = Ext(image)
    put(image, "<I", ext.find(*DEEPEST)[1], ext.find(b"folder")[2])


@hostile(*EXT)
def directory_holds_the_root_under_every_name(image: bytearray) -> None:
    ext = Ext(image)
    for name, at in ext.entries(ext.find(b"folder")[2]).items():
        if name not in (b".", b".."):
            put(image, "<I", at, ROOT)
            put(image, "<B", at + 7, 2)


@hostile(*EXT)
def directories_share_the_blocks_of_the_root(image: bytearray) -> None:
    ext = Ext(image)
    root = ext.inode(ROOT)
    for ino in [ext.find(*path)[2] for path in (DEEPEST[:1], DEEPEST[:2], DEEPEST)]:
        at = ext.inode(ino)
        image[at + 40 : at + 100] = image[root + 40 : root + 100]


@hostile(*EXT)
def directory_of_4_gib(image: bytearray) -> None:
    ext = Ext(image)
    put(image, "<I", ext.inode(ext.find(b"folder")[2]) + 4, MOST)


@hostile(*EXT)
def directory_of_8_eib(image: bytearray) -> None:
    ext = Ext(image)
    at = ext.inode(ext.find(b"folder")[2])
    put(image, "<I", at + 4, MOST)
    put(image, "<I", at + 108, 0x7FFFFFFF)


@hostile(*EXT)
def sizes_of_16_eib(image: bytearray) -> None:
    ext = Ext(image)
    for ino in range(12, 100):
        at = ext.inode(ino)
        if get(image, "<H", at) >> 12 == 8:
            put(image, "<I", at + 4, MOST)
            put(image, "<I", at + 108, MOST)


@hostile(*EXT)
def records_of_length_0(image: bytearray) -> None:
    ext = Ext(image)
    put(image, "<H", ext.find(*DEEPEST)[1] + 4, 0)


@hostile(*EXT)
def records_that_reach_far_behind_their_block(image: bytearray) -> None:
    ext = Ext(image)
    for at in ext.entries(ext.find(b"folder")[2]).values():
        put(image, "<HB", at + 4, 0xFFFC, 255)


@hostile(*EXT)
def link_of_4_gib(image: bytearray) -> None:
    ext = Ext(image)
    put(image, "<I", ext.inode(ext.find(b"long")[2]) + 4, MOST)


@hostile("ext2")
def block_maps_that_name_themselves(image: bytearray) -> None:
    ext = Ext(image)
    loop = len(image) // ext.block - 8
    image[loop * ext.block : (loop + 1) * ext.block] = struct.pack("<I", loop) * (ext.block // 4)
    for path in ((b"folder", b"deeper", b"big"), (b"pieces",)):
        at = ext.inode(ext.find(*path)[2])
        put(image, "<15I", at + 40, *[loop] * 15)
        put(image, "<I", at + 108, 1 << 10)


@hostile("ext2")
def directory_whose_block_map_names_itself(image: bytearray) -> None:
    ext = Ext(image)
    loop = len(image) // ext.block - 8
    image[loop * ext.block : (loop + 1) * ext.block] = struct.pack("<I", loop) * (ext.block // 4)
    at = ext.inode(ext.find(b"folder")[2])
    put(image, "<15I", at + 40, *[loop] * 15)
    put(image, "<I", at + 4, MOST)


def _tree(ext: Ext) -> tuple[int, int]:
    """The root of an extent tree in its inode, and its first node's block."""
    root = ext.inode(ext.find(b"pieces")[2]) + 40
    assert get(ext.image, "<H", root) == 0xF30A and get(ext.image, "<H", root + 6) > 0
    return root, get(ext.image, "<I", root + 16)


@hostile("ext4")
def extent_index_that_names_itself(image: bytearray) -> None:
    ext = Ext(image)
    root, node = _tree(ext)
    put(image, "<H", root + 6, 5)
    put(image, "<HHHH", node * ext.block, 0xF30A, 80, 84, 4)
    for index in range(80):
        put(image, "<III", node * ext.block + 12 + 12 * index, index, node, 0)


@hostile("ext4")
def extent_index_of_equal_depth(image: bytearray) -> None:
    ext = Ext(image)
    root, node = _tree(ext)
    put(image, "<H", root + 6, 1)
    put(image, "<HHHH", node * ext.block, 0xF30A, 84, 84, 1)
    for index in range(84):
        put(image, "<III", node * ext.block + 12 + 12 * index, index, node, 0)


@hostile("ext4")
def extent_trees_of_65535(image: bytearray) -> None:
    ext = Ext(image)
    root, node = _tree(ext)
    put(image, "<HHH", root + 2, 0xFFFF, 0xFFFF, 0xFFFF)
    put(image, "<HHH", node * ext.block + 2, 0xFFFF, 0xFFFF, 0xFFFF)


@hostile("ext4")
def extents_that_name_the_same_blocks_over_and_over(image: bytearray) -> None:
    ext = Ext(image)
    root, node = _tree(ext)
    put(image, "<II", root - 40 + 4, 1 << 31, 0)
    put(image, "<I", root - 40 + 108, 0x1000)
    put(image, "<HHHH", node * ext.block, 0xF30A, 84, 84, 0)
    for index in range(84):
        put(image, "<IHHI", node * ext.block + 12 + 12 * index, index * 2048, 2048, 0, 1)


@hostile("ext4")
def values_that_lie_in_their_own_block(image: bytearray) -> None:
    ext = Ext(image)
    for ino in range(11, 60):
        at = ext.inode(ino)
        put(image, "<I", at + 104, ext.blocks(ROOT)[0] // ext.block)


for base in EXT:
    variants(
        base,
        {
            "inodes_4_billion": (SUPER, "<I", MOST),
            "blocks_4_billion": (SUPER + 4, "<I", MOST),
            "first_block_4_billion": (SUPER + 20, "<I", MOST),
            "block_size_64_kib": (SUPER + 24, "<I", 6),
            "block_size_shift_4_billion": (SUPER + 24, "<I", MOST),
            "one_block_per_group": (SUPER + 32, "<I", 1),
            "one_inode_per_group": (SUPER + 40, "<I", 1),
            "inodes_per_group_4_billion": (SUPER + 40, "<I", MOST),
            "inode_size_65535": (SUPER + 88, "<H", 0xFFFF),
            "every_feature": (SUPER + 96, "<I", MOST),
            "tables_far_away": (2048 + 8, "<I", MOST),
        },
    )

UFS1_SUPER, UFS2_SUPER = 8192, 65536
variants(
    "ufs1",
    {
        "groups_4_billion": (UFS1_SUPER + 44, "<I", MOST),
        "block_size_0": (UFS1_SUPER + 48, "<I", 0),
        "block_size_2_gib": (UFS1_SUPER + 48, "<I", 1 << 31),
        "inodes_per_group_4_billion": (UFS1_SUPER + 184, "<I", MOST),
        "fragments_per_group_1": (UFS1_SUPER + 188, "<I", 1),
    },
)
variants(
    "ufs2",
    {
        "groups_4_billion": (UFS2_SUPER + 44, ">I", MOST),
        "fragment_size_1": (UFS2_SUPER + 52, ">I", 1),
        "inodes_per_group_4_billion": (UFS2_SUPER + 184, ">I", MOST),
        "size_8_eib": (UFS2_SUPER + 1080, ">Q", (1 << 63) - 1),
    },
)


@hostile("ufs1", "ufs2")
def every_name_is_the_root(image: bytearray) -> None:
    """Entries of the form (inode, length, kind, name length, name) that are found by their names."""
    order = ">" if get(image, ">I", UFS2_SUPER + 1372) == 0x19540119 else "<"
    for name in (b"deepest", b"deeper", b"folder", b"many"):
        at = image.find(struct.pack("BB", 4, len(name)) + name + b"\0") - 6
        put(image, f"{order}I", at, ROOT)


@hostile("ufs1", "ufs2")
def directory_records_of_length_0(image: bytearray) -> None:
    for name in (b"deepest", b"deeper"):
        put(image, "<H", image.find(struct.pack("BB", 4, len(name)) + name + b"\0") - 2, 0)
