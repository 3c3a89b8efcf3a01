"""Parts of ext that were not read: names behind a hole in a block, copies of descriptors, maps that go round."""

from __future__ import annotations

import struct

from ntt.model import Structure
from ntt.readers.detection.samples import Prefix
from ntt.readers.ext.backups import PatchedSource, with_descriptors, with_superblock
from ntt.readers.ext.directories import Form, directory_entries
from ntt.readers.ext.groups import ExtGroups
from ntt.readers.ext.maps import MapFinder
from ntt.readers.ext.superblock import ExtSuperblock

BLOCK = 1024
FORM = Form(BLOCK, has_file_types=True, inode_count=5000)


def entry(ino: int, name: bytes, length: int = 0) -> bytes:
    length = length or (8 + len(name) + 3) & ~3
    return (struct.pack("<IHBB", ino, length, len(name), 1) + name).ljust(length, b"\0")


def block(*entries: bytes) -> bytes:
    """The last entry takes what is left."""
    *most, last = entries
    content = b"".join(most)
    ino, _, name_bytes, _ = struct.unpack_from("<IHBB", last)
    return content + entry(ino, last[8 : 8 + name_bytes], BLOCK - len(content))


def names(content: bytes, *unread: tuple[int, int]) -> list[tuple[bytes, bool]]:
    cleared = bytearray(content)
    for start, end in unread:
        cleared[start:end] = bytes(end - start)
    found, broken = directory_entries(bytes(cleared), FORM, unread)
    assert broken == 0
    return [(one.name, one.is_salvaged) for one in found]


# ---------------------------------------------------------------- names


def test_names_before_and_behind_a_hole_are_found_and_none_of_what_lies_in_it() -> None:
    content = block(*(entry(20 + at, b"name %02d" % at) for at in range(60)))  # of 16 bytes each
    expected = [(b"name %02d" % at, at > 6) for at in range(60) if not 5 <= at <= 6]
    assert names(content, (5 * 16 + 3, 6 * 16 + 1)) == expected


def test_a_name_that_is_cut_by_a_hole_is_no_name() -> None:
    content = block(entry(20, b"a name of some length"), entry(21, b"next"))
    assert names(content, (20, 24)) == [(b"next", True)]


def test_a_hole_where_nothing_stands_costs_nothing() -> None:
    content = block(entry(20, b"first"), entry(21, b"last"))
    assert names(content, (512, 1024)) == [(b"first", False), (b"last", False)]


def test_two_holes_in_a_block_leave_what_lies_between() -> None:
    content = block(*(entry(20 + at, b"name %02d" % at) for at in range(60)))
    found = [name for name, _ in names(content, (0, 64), (320, 400))]
    assert found == [b"name %02d" % at for at in range(60) if not (at < 4 or 20 <= at < 25)]


def test_what_does_not_lead_to_the_end_of_its_block_is_not_taken_up_again() -> None:
    content = (entry(20, b"lost") + entry(21, b"next", 100)).ljust(BLOCK, b"\1")
    assert names(content, (0, 12)) == []


def test_the_next_block_has_nothing_to_do_with_a_hole() -> None:
    content = block(entry(20, b"gone")) + block(entry(21, b"there"))
    assert names(content, (0, BLOCK)) == [(b"there", False)]


# ---------------------------------------------------------------- copies


def superblock(groups: int = 4, per_group: int = 8192, number: int = 0) -> bytearray:
    raw = bytearray(1024)
    struct.pack_into("<II", raw, 0, 64 * groups, 1 + per_group * groups)
    struct.pack_into("<III", raw, 20, 1, 0, 0)
    struct.pack_into("<III", raw, 32, per_group, per_group, 64)
    struct.pack_into("<H", raw, 56, 0xEF53)
    struct.pack_into("<IIIHH", raw, 76, 1, 0, 11, 128, number)
    struct.pack_into("<I", raw, 100, 1)  # sparse_super
    return raw


def volume(*unread: tuple[int, int]) -> Prefix:
    """A superblock and descriptors in group 0, and their copies in group 1: of 4 KiB in all that matters."""
    content = bytearray(20 << 20)
    descriptors = b"".join(struct.pack("<III20x", 10 + group, 20 + group, 30 + group) for group in range(4))
    for group in (0, 1):
        at = (1 + group * 8192) * BLOCK
        content[at : at + 1024] = superblock(number=group)
        content[at + BLOCK : at + BLOCK + len(descriptors)] = descriptors
    for start, end in unread:
        content[start:end] = bytes(end - start)
    source = Prefix(bytes(content))
    source.unread = (*unread, *source.unread)
    return source


def parsed(source: Prefix | PatchedSource) -> ExtSuperblock:
    found = ExtSuperblock.parse(source.read(1024, 1024))
    assert found
    return found


def test_a_superblock_that_was_not_read_is_its_copy() -> None:
    source = with_superblock(volume((1024, 2048)), 0, 20 << 20)
    assert isinstance(source, PatchedSource)
    assert source.read(1024, 1024) == bytes(superblock())
    assert source.unread == ((20 << 20, 1 << 63),)


def test_without_a_copy_that_was_read_nothing_is_put_in_its_place() -> None:
    source = volume((1024, 2048), (8193 * BLOCK, 8194 * BLOCK))
    assert with_superblock(source, 0, 20 << 20) is source


def test_a_copy_behind_the_end_of_the_volume_is_not_of_it() -> None:
    source = volume((1024, 2048))
    assert with_superblock(source, 0, 8 << 20) is source


def test_descriptors_that_were_not_read_are_their_copies() -> None:
    source = volume((2048, 2048 + 40))
    known = parsed(source)
    patched = with_descriptors(source, 0, known)
    assert isinstance(patched, PatchedSource)
    assert patched.patched == ((2048, 2048 + 64),), "whole descriptors"
    groups = ExtGroups(patched, 0, known)
    assert [groups.inode_table(group) // BLOCK for group in range(4)] == [30, 31, 32, 33]


def test_flags_of_a_copy_that_say_nothing_is_there_are_not_believed() -> None:
    content = bytearray(volume().read(0, 20 << 20))
    for at in (1024 + 100, 8193 * BLOCK + 100):
        struct.pack_into("<I", content, at, 1 | 0x10)  # group checksums, and with them flags
    for at in (2048, 8194 * BLOCK):
        struct.pack_into("<H", content, at + 32 + 18, 3)
    source = Prefix(bytes(content))
    assert ExtGroups(source, 0, parsed(source)).inodes_in_use(1) == []
    source.unread = ((2048, 2048 + 128), *source.unread)
    groups = ExtGroups(with_descriptors(source, 0, parsed(source)), 0, parsed(source))
    assert groups.descriptor(1).has_inodes is None
    assert groups.inodes_in_use(1) is None
    start = 8193 * BLOCK
    assert (start, start + 8192 * BLOCK) in list(groups.used()), "all of the group counts"


def test_an_unread_inode_table_matters_where_inodes_are_in_use_or_may_be() -> None:
    content = bytearray(volume().read(0, 20 << 20))
    content[20 * BLOCK : 20 * BLOCK + 8] = b"\xff\x07\0\0\x01\0\0\0"  # the first eleven inodes, and the 33rd
    source = Prefix(bytes(content))
    table = (30 * BLOCK, 38 * BLOCK)
    source.unread = (table, *source.unread)
    groups = ExtGroups(source, 0, parsed(source))
    matter = [
        one for one in groups.maps() if one.what == "inode table" and one.start < 31 * BLOCK * 2 and not one.spare
    ]
    assert matter[:3] == [
        Structure(30 * BLOCK + 128, 30 * BLOCK + 256, "inode table"),
        Structure(30 * BLOCK + 1280, 30 * BLOCK + 1408, "inode table"),
        Structure(34 * BLOCK, 34 * BLOCK + 128, "inode table"),
    ]


def test_where_descriptors_of_meta_groups_stand() -> None:
    raw = superblock(groups=100)
    struct.pack_into("<I", raw, 96, 0x10)
    struct.pack_into("<I", raw, 260, 1)
    known = ExtSuperblock.parse(bytes(raw))
    assert known
    assert known.descriptor_at(31) == 2 * BLOCK + 31 * 32
    assert known.descriptor_copies(31) == [
        (1 + group * 8192 + 1) * BLOCK + 31 * 32 for group in (1, 3, 5, 7, 9, 25, 27, 49, 81)
    ]
    second, last = known.descriptor_copies(33)
    assert known.descriptor_at(33) == (1 + 32 * 8192) * BLOCK + 32
    assert second == (1 + 33 * 8192) * BLOCK + 32
    assert last == (1 + 63 * 8192) * BLOCK + 32


# ---------------------------------------------------------------- maps


def test_a_map_that_names_itself_ends() -> None:
    looped = struct.pack("<256I", *[50] * 256)
    finder = MapFinder(BLOCK, 500, lambda _: looped)
    assert len(list(finder.block_map(struct.pack("<15I", *[0] * 12, 0, 0, 50)))) == 500
    assert list(finder.block_map(struct.pack("<15I", *[0] * 12, 0, 0, 50))) == [], "no more than the volume has"


def test_the_lowest_blocks_of_a_map_are_named_and_not_read() -> None:
    asked: list[int] = []

    def read(block: int) -> bytes | None:
        asked.append(block)
        return struct.pack("<256I", 61, 62, *[0] * 254)

    finder = MapFinder(BLOCK, 500, read)
    assert sorted(finder.block_map(struct.pack("<15I", *[0] * 12, 40, 60, 0))) == [40, 60, 61, 62]
    assert asked == [60]
    root = struct.pack("<HHHHI", 0xF30A, 2, 4, 1, 0) + struct.pack("<IIHHIIHH", 0, 70, 0, 0, 9, 71, 0, 0)
    assert sorted(finder.extent_tree(root.ljust(60, b"\0"))) == [70, 71]
    assert asked == [60]


def test_a_map_block_outside_of_the_volume_is_none() -> None:
    finder = MapFinder(BLOCK, 500, lambda _: None)
    assert list(finder.block_map(struct.pack("<15I", *[0] * 12, 500, 7, 4_000_000_000))) == [7]
