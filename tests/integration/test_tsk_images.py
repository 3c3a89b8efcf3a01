"""The Sleuth Kit reader against the trees that the images were made from: names, contents, times, links, places."""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from disk_images import (
    bytes_at,
    exfat_image,
    ext_image,
    fat_image,
    mounted,
    noise,
    ntfs_image,
    opened,
    paths_below,
    portable_tree,
    reader_of,
    run,
    unix_tree,
    walked,
)

from ntt.model import Entry, Extent
from ntt.ranges import intersection
from ntt.readers.base import ImageSource, ReadError, VolumeReader
from ntt.readers.detection.volumes import detect
from ntt.readers.opening import open_volume

EXT = ("ext2", "ext3", "ext4")
MAKERS: dict[str, Callable[[Path, Path], Path]] = {
    "fat12": lambda image, tree: fat_image(image, 12, tree, 1440),
    "fat16": lambda image, tree: fat_image(image, 16, tree, 20_000),
    "fat32": lambda image, tree: fat_image(image, 32, tree, 70_000),
    "exfat": exfat_image,
    "ntfs": ntfs_image,
    "ext2": lambda image, tree: ext_image(image, "ext2", tree),
    "ext3": lambda image, tree: ext_image(image, "ext3", tree),
    "ext4": lambda image, tree: ext_image(image, "ext4", tree),
}


def read_in_pieces(reader: VolumeReader, entry: Entry, piece: int = 65_536) -> bytes:
    return b"".join(reader.read(entry.ino, at, piece) for at in range(0, entry.size, piece))


def assert_content(source: ImageSource, reader: VolumeReader, entry: Entry, content: bytes) -> None:
    assert entry.size == len(content)
    assert read_in_pieces(reader, entry) == content
    assert reader.read(entry.ino, entry.size, 10) == b""
    extents = reader.extents(entry.ino)
    assert without_sector_marks(bytes_at(source, extents), reader, extents) == without_sector_marks(
        content, reader, extents
    )
    assert entry.first_byte == next((extent.image_offset for extent in extents if extent.image_offset >= 0), -1)


def without_sector_marks(content: bytes, reader: VolumeReader, extents: Sequence[Extent]) -> bytes:
    """NTFS keeps the last two bytes of each sector of a record elsewhere in the record: a resident file's too."""
    if reader.fstype != "ntfs" or len(extents) != 1 or extents[0].image_offset % 512 == 0:
        return content
    shift = extents[0].image_offset
    return bytes(0 if (shift + at) % 512 >= 510 else byte for at, byte in enumerate(content))


@pytest.mark.parametrize("fstype", MAKERS)
def test_names_contents_times_and_places_are_those_of_the_tree(fstype: str, tmp_path: Path) -> None:
    tree = portable_tree(tmp_path / "tree")
    image = MAKERS[fstype](tmp_path / "image", tree)
    with reader_of(image) as (source, reader):
        assert reader.fstype == fstype
        assert reader.label.startswith("NTTLABEL" if fstype.startswith("fat") else "ntt l")
        found = walked(reader)
        expected = paths_below(tree)
        assert found.problems == ()
        assert set(found.entries) - {b"lost+found"} == set(expected)
        for path, original in expected.items():
            entry = found.entries[path]
            if original.is_dir():
                assert entry.is_directory
                continue
            assert stat.S_ISREG(entry.mode)
            assert entry.mtime_s == int(original.stat().st_mtime)
            assert_content(source, reader, entry, original.read_bytes())


@pytest.mark.parametrize("fstype", EXT)
@pytest.mark.parametrize("options", [(), ("-I", "128"), ("-b", "4096")])
def test_ext_keeps_every_byte_of_every_name_and_all_that_unix_knows(
    fstype: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    tree = unix_tree(tmp_path / "tree")
    image = ext_image(tmp_path / "image", fstype, tree, 40, *options)
    with reader_of(image) as (source, reader):
        assert reader.fstype == fstype
        found = walked(reader)
        assert found.problems == ()
        expected = paths_below(tree)
        assert set(found.entries) - {b"lost+found"} == set(expected)
        for path, original in expected.items():
            entry, status = found.entries[path], original.lstat()
            assert entry.mode == status.st_mode
            if path:
                assert (entry.uid, entry.gid) == (status.st_uid, status.st_gid)
            if stat.S_ISLNK(status.st_mode):
                assert entry.link_target == os.fsencode(original.readlink())
            elif stat.S_ISREG(status.st_mode):
                assert entry.mtime_s == status.st_mtime_ns // 10**9
                assert_content(source, reader, entry, original.read_bytes())
        assert found.entries[b"block"].link_target == b"8:17"
        assert found.entries[b"character"].link_target == b"300:70000"
        names = [found.entries[b"big"], found.entries[b"second name of big"]]
        assert names[0].ino == names[1].ino
        assert sorted(name.new_inode for name in names) == [False, True]


def test_ext4_times_keep_nanoseconds_and_reach_beyond_2038(tmp_path: Path) -> None:
    image = ext_image(tmp_path / "image", "ext4", None)
    moments = (-1_234_567_890_123_456_789, 1_234_567_890_123_456_789, 9_234_567_890_123_456_789)
    with mounted(image, "ext4") as root:
        for moment in moments:
            (root / f"at {moment}").write_bytes(b"x")
            os.utime(root / f"at {moment}", ns=(0, moment))
    with reader_of(image) as (_, reader):
        entries = walked(reader).entries
        for moment in moments:
            entry = entries[b"at %d" % moment]
            assert entry.mtime_s * 10**9 + entry.mtime_ns == moment


def test_ext4_blocks_that_were_never_written_read_as_zeros_and_are_holes(tmp_path: Path) -> None:
    image = ext_image(tmp_path / "image", "ext4", None)
    written = bytearray(100_000)
    written[8192:13_192] = noise(5000)
    with mounted(image, "ext4") as root:
        (root / "filler").write_bytes(b"\xaa" * 30_000_000)
        (root / "filler").unlink()
        with (root / "allocated").open("w+b") as file:
            os.posix_fallocate(file.fileno(), 0, len(written))
            os.pwrite(file.fileno(), noise(5000), 8192)
        with (root / "scattered").open("w+b") as file:
            for index in range(1000):
                os.pwrite(file.fileno(), bytes([index & 255]) * 1024, index * 2048)
    with reader_of(image) as (source, reader):
        entries = walked(reader).entries
        assert_content(source, reader, entries[b"allocated"], bytes(written))
        assert any(extent.image_offset == -1 for extent in reader.extents(entries[b"allocated"].ino))
        scattered = b"".join(bytes([index & 255]) * 1024 + bytes(1024) for index in range(1000))[:-1024]
        assert_content(source, reader, entries[b"scattered"], scattered)


def test_ext4_inline_files_and_directories_are_read_out_of_their_inodes(tmp_path: Path) -> None:
    image = ext_image(tmp_path / "image", "ext4", None, 20, "-O", "inline_data", "-I", "256")
    contents = {b"in/a": b"a", b"in/of 60": noise(60), b"in/of 61": noise(61, 2), b"in/of 150": noise(150, 3)}
    with mounted(image, "ext4") as root:
        (root / "in" / "deeper").mkdir(parents=True)
        for name, content in contents.items():
            (root / os.fsdecode(name)).write_bytes(content)
    assert "inline" in run("debugfs", "-R", "stat in", image).lower()
    with reader_of(image) as (source, reader):
        found = walked(reader)
        assert found.problems == ()
        assert set(found.entries) == {b"", b"lost+found", b"in", b"in/deeper", *contents}
        for name, content in contents.items():
            assert_content(source, reader, found.entries[name], content)


@pytest.mark.parametrize("fstype", ["ext2", "ext4"])
def test_places_agree_with_debugfs(fstype: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "big").write_bytes(noise(700_000))
    image = ext_image(tmp_path / "image", fstype, tree, 20, "-b", "1024")
    blocks = [int(block) for block in run("debugfs", "-R", "blocks big", image).split()]
    with reader_of(image) as (_, reader):
        entry = walked(reader).entries[b"big"]
        ours = {
            (extent.image_offset + at) // 1024
            for extent in reader.extents(entry.ino)
            for at in range(0, extent.image_length, 1024)
        }
    assert ours <= set(blocks)
    assert len(set(blocks) - ours) <= 4  # blocks of the map itself


def test_places_agree_with_istat_on_ntfs(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "big").write_bytes(noise(100_000))
    image = ntfs_image(tmp_path / "image", tree)
    with reader_of(image) as (_, reader):
        entry = walked(reader).entries[b"big"]
        (extent,) = reader.extents(entry.ino)
    listed = re.findall(r"^[\d ]+$", run("istat", image, str(entry.ino)), re.MULTILINE)
    clusters = [int(number) for line in listed for number in line.split()]
    assert clusters == list(range(extent.image_offset // 4096, extent.image_offset // 4096 + len(clusters)))
    assert len(clusters) == 25


# ---------------------------------------------------------------- NTFS


def reparse(tag: int, data: bytes) -> bytes:
    return struct.pack("<IHH", tag, len(data), 0) + data


def test_ntfs_links_holes_compressed_and_resident_files(tmp_path: Path) -> None:
    image = ntfs_image(tmp_path / "image", None)
    text, mixed = b"compress me, " * 20_000, noise(200_000) + b"z" * 100_000
    half = bytes(5_000_000) + noise(3000) + bytes(997_000)
    with mounted(image, "ntfs") as root:
        (root / "packed").mkdir()
        os.setxattr(root / "packed", "system.ntfs_attrib_be", (0x810).to_bytes(4, "big"))
        (root / "packed" / "text").write_bytes(text)
        (root / "packed" / "mixed").write_bytes(mixed)
        (root / "plain").write_bytes(noise(50_000))
        os.link(root / "plain", root / "second name")
        (root / "link").symlink_to("packed/text")
        os.mknod(root / "block", 0o60644, os.makedev(8, 1))
        with (root / "holes").open("wb") as file:
            file.seek(5_000_000)
            file.write(noise(3000))
            file.truncate(len(half))
        (root / "small").write_bytes(b"resident")
        (root / "back\\slash\n").write_bytes(b"odd")
        os.utime(root / "small", ns=(0, -9_999_999_999_999_999_900))
    with reader_of(image) as (source, reader):
        found = walked(reader)
        assert found.problems == ()
        assert set(found.entries) == {
            *(b"", b"packed", b"packed/text", b"packed/mixed", b"plain", b"second name"),
            *(b"link", b"block", b"holes", b"small", b"back\\slash\n"),
        }
        entries = found.entries
        for name, content in ((b"plain", noise(50_000)), (b"holes", half), (b"small", b"resident")):
            assert_content(source, reader, entries[name], content)
        for name, content in ((b"packed/text", text), (b"packed/mixed", mixed)):
            assert read_in_pieces(reader, entries[name]) == content
            extents = reader.extents(entries[name].ino)
            assert sum(extent.file_length for extent in extents) == len(content)
            assert any(extent.file_length != extent.image_length for extent in extents)
        assert entries[b"link"].link_target == b"packed/text"
        assert stat.S_ISLNK(entries[b"link"].mode)
        assert entries[b"block"].link_target == b"8:1"
        assert stat.S_ISBLK(entries[b"block"].mode)
        assert entries[b"plain"].ino == entries[b"second name"].ino
        small = entries[b"small"]
        assert small.mtime_s * 10**9 + small.mtime_ns == -9_999_999_999_999_999_900


def test_a_damaged_part_of_a_compressed_file_is_found_through_its_extents(tmp_path: Path) -> None:
    image = ntfs_image(tmp_path / "image", None)
    text = b"".join(b"%d, " % number for number in range(40_000))
    with mounted(image, "ntfs") as root:
        os.setxattr(root, "system.ntfs_attrib_be", (0x810).to_bytes(4, "big"))
        (root / "text").write_bytes(text)
    with reader_of(image) as (_, reader):
        ino = walked(reader).entries[b"text"].ino
        second = reader.extents(ino)[1]
    with image.open("r+b") as file:
        file.seek(second.image_offset + 100)
        file.write(bytes(512))
    with reader_of(image) as (_, reader):
        first = reader.read(ino, 0, second.file_offset)
        assert first == text[: second.file_offset]
        behind = second.file_offset + second.file_length
        assert reader.read(ino, behind, len(text)) == text[behind:]


def test_reparse_points_are_links_or_refused_but_never_read_as_zeros(tmp_path: Path) -> None:
    image = ntfs_image(tmp_path / "image", None)
    target = "C:\\Users\\ä".encode("utf-16-le")
    symlink = struct.pack("<HHHHI", 0, len(target), 0, len(target), 0) + target
    junction = struct.pack("<HHHH", 0, len(target), 0, len(target)) + target
    with mounted(image, "ntfs") as root:
        for name, data in (("symlink", reparse(0xA000000C, symlink)), ("junction", reparse(0xA0000003, junction))):
            (root / name).mkdir()
            os.setxattr(root / name, "system.ntfs_reparse_data", data)
        (root / "wof").write_bytes(bytes(10_000))
        os.setxattr(root / "wof", "system.ntfs_reparse_data", reparse(0x80000017, bytes(16)))
        (root / "after").write_bytes(b"after")
    with reader_of(image) as (_, reader):
        entries = walked(reader).entries
        for link in (b"symlink", b"junction"):
            assert stat.S_ISLNK(entries[link].mode)
            assert entries[link].link_target == "C:\\Users\\ä".encode()
        with pytest.raises(ReadError, match="Overlay"):
            reader.read(entries[b"wof"].ino, 0, 10)
        assert reader.read(entries[b"after"].ino, 0, 10) == b"after"


# ---------------------------------------------------------------- FAT and exFAT


def patch(image: Path, old: bytes, new: bytes) -> None:
    content = image.read_bytes()
    assert content.count(old) == 1
    image.write_bytes(content.replace(old, new))


def test_a_short_name_keeps_the_bytes_of_its_unknown_code_page(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "NAMEXX.TXT").write_bytes(b"x")
    image = fat_image(tmp_path / "image", 12, tmp_path / "tree", 1440)
    patch(image, b"NAMEXX  TXT", b"\x05A\x81\xff\x92^  TXT")
    with reader_of(image) as (_, reader):
        entries = walked(reader).entries
        assert set(entries) == {b"", b"\xe5A\x81\xff\x92^.TXT"}
        assert reader.read(entries[b"\xe5A\x81\xff\x92^.TXT"].ino, 0, 9) == b"x"


def test_characters_outside_the_first_plane_and_lone_surrogates_survive_in_long_names(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "long ab.text").write_bytes(b"x")
    image = fat_image(tmp_path / "image", 12, tmp_path / "tree", 1440)
    patch(image, "ab.te".encode("utf-16-le")[:4], "😀".encode("utf-16-le"))
    with reader_of(image) as (_, reader):
        assert set(walked(reader).entries) == {b"", "long 😀.text".encode()}
    patch(image, "😀".encode("utf-16-le"), b"\x3d\xd8a\0")
    with reader_of(image) as (_, reader):
        assert set(walked(reader).entries) == {b"", b"long \xed\xa0\xbda.text"}


def test_exfat_bytes_that_were_never_written_are_zeros_whatever_stands_there(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(noise(9000))
    image = exfat_image(tmp_path / "image", tmp_path / "tree")
    content = image.read_bytes()
    file_set = re.search(rb"\x85\x02.{30}\xc0", content, re.DOTALL)
    assert file_set is not None
    at = file_set.start() + 32 + 8
    assert struct.unpack_from("<Q", content, at) == (9000,)
    with image.open("r+b") as file:
        file.seek(at)
        file.write(struct.pack("<Q", 5000))
    with reader_of(image) as (source, reader):
        assert_content(source, reader, walked(reader).entries[b"file"], noise(9000)[:5000] + bytes(4000))


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("fstype", MAKERS)
def test_what_lies_inside_a_cut_image_is_read_and_the_rest_is_zeros(fstype: str, tmp_path: Path) -> None:
    tree = portable_tree(tmp_path / "tree")
    image = MAKERS[fstype](tmp_path / "image", tree)
    with reader_of(image) as (_, reader):
        places = {
            path: (entry.size, tuple(reader.extents(entry.ino)))
            for path, entry in walked(reader).entries.items()
            if entry.is_regular
        }
    whole = image.stat().st_size
    (_, (big, *_)) = places[b"big.bin"]
    cut = big.image_offset + 100_000
    os.truncate(image, cut)
    with opened(image, ((cut, 1 << 63),)) as source:
        (volume,) = detect(source, whole).volumes
        assert "beyond the end of the image" in volume.finding
        reader = open_volume(source, volume)
        found = walked(reader)
        entries = found.entries
        for path, entry in entries.items():
            if not entry.is_regular:
                continue
            original = (tree / os.fsdecode(path)).read_bytes()
            expected = bytearray(original)
            for extent in places[path][1]:
                for start, end in intersection(
                    ((extent.image_offset, extent.image_offset + extent.image_length),), source.unread
                ):
                    shift = extent.file_offset - extent.image_offset
                    expected[start + shift : end + shift] = bytes(end - start)
            assert read_in_pieces(reader, entry) == bytes(expected)
        # names or inodes may lie behind the cut: then, and only then, something is missing
        kinds = {problem.kind for problem in found.problems}
        assert kinds <= {"directory_damaged", "bad_record", "directory_unreadable"}
        assert bool(set(places) - set(entries)) == bool(kinds), found.problems
        assert fstype == "fat32" or b"big.bin" in entries
        if b"big.bin" in entries:
            assert read_in_pieces(reader, entries[b"big.bin"])[:98_000] == noise(300_001)[:98_000]
        reader.close()


@pytest.mark.parametrize("fstype", MAKERS)
def test_unread_directory_blocks_are_reported_with_their_bytes(fstype: str, tmp_path: Path) -> None:
    tree = portable_tree(tmp_path / "tree")
    image = MAKERS[fstype](tmp_path / "image", tree)
    with reader_of(image) as (_, reader):
        many = walked(reader).entries[b"many"]
        extent = reader.extents(many.ino)[-1]
    unread = ((extent.image_offset + extent.image_length - 512, extent.image_offset + extent.image_length),)
    with image.open("r+b") as file:
        file.seek(unread[0][0])
        file.write(bytes(512))
    with reader_of(image, (*unread, (image.stat().st_size, 1 << 63))) as (_, reader):
        problems = [problem for problem in walked(reader).problems if problem.kind == "directory_damaged"]
    assert [problem.ino for problem in problems] == [many.ino]
    assert problems[0].detail.startswith("512 of its ")


def test_a_directory_that_contains_itself_is_entered_once(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "outer" / "inner").mkdir(parents=True)
    image = ext_image(tmp_path / "image", "ext4", tree, 20, "-O", "^metadata_csum")
    run("debugfs", "-w", "-R", "link outer outer/inner/again", image)
    with reader_of(image) as (_, reader):
        found = walked(reader)
    again = found.entries[b"outer/inner/again"]
    assert not again.new_inode
    assert [(problem.kind, problem.ino) for problem in found.problems] == [("directory_cycle", again.ino)]


def test_the_second_of_two_equal_names_is_kept_and_flagged(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "name-one").write_bytes(b"1")
    (tree / "name-two").write_bytes(b"2")
    image = ext_image(tmp_path / "image", "ext4", tree, 20, "-O", "^metadata_csum")
    patch(image, b"\x08\x01name-two", b"\x08\x01name-one")
    with reader_of(image) as (_, reader):
        found = walked(reader)
        twice = [entry for entry in found.all_entries if entry.name == b"name-one"]
        assert [entry.duplicate for entry in twice] == [False, True]
        assert {reader.read(entry.ino, 0, 5) for entry in twice} == {b"1", b"2"}
    assert [problem.kind for problem in found.problems] == ["duplicate_name"]


def test_a_broken_directory_is_a_problem_and_the_rest_is_listed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("broken", "sound"):
        (tree / name).mkdir(parents=True)
        (tree / name / f"file in {name}").write_bytes(b"x")
    image = ext_image(tmp_path / "image", "ext4", tree, 20)
    with reader_of(image) as (_, reader):
        ino = walked(reader).entries[b"broken"].ino
    run("debugfs", "-w", "-R", "set_inode_field broken block[0] 0", image)
    with reader_of(image) as (_, reader):
        found = walked(reader)
    assert ("directory_unreadable", ino) in [(problem.kind, problem.ino) for problem in found.problems]
    assert b"sound/file in sound" in found.entries


def test_a_tree_ten_thousand_levels_deep_is_walked(tmp_path: Path) -> None:
    image = ext_image(tmp_path / "image", "ext4", None, 60, "-b", "1024", "-N", "12000")
    with mounted(image, "ext4") as root:
        fd = os.open(root, os.O_RDONLY)
        for _ in range(10_000):
            os.mkdir("d", dir_fd=fd)
            deeper = os.open("d", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = deeper
        os.close(fd)
    with reader_of(image) as (_, reader):
        assert sum(1 for found in reader.walk() if isinstance(found, Entry) and found.name == b"d") == 10_000


def test_a_file_whose_content_is_short_is_an_error_and_the_next_one_is_read(tmp_path: Path) -> None:
    tree = portable_tree(tmp_path / "tree")
    image = fat_image(tmp_path / "image", 12, tree, 1440)
    content = bytearray(image.read_bytes())
    at = content.index(b"BIG     BIN") + 28
    content[at : at + 4] = struct.pack("<I", 900_000)
    image.write_bytes(content)
    with reader_of(image) as (_, reader):
        entries = walked(reader).entries
        assert entries[b"big.bin"].size == 900_000
        with pytest.raises(ReadError):
            read_in_pieces(reader, entries[b"big.bin"])
        assert reader.read(entries[b"lower.txt"].ino, 0, 100) == b"lower"


# ---------------------------------------------------------------- what is gone


@pytest.mark.parametrize("fstype", ["ext4", "exfat", "ntfs", "fat12"])
def test_deleted_files_are_not_listed(fstype: str, tmp_path: Path) -> None:
    tree = portable_tree(tmp_path / "tree")
    image = MAKERS[fstype](tmp_path / "image", tree)
    gone = [b"many/file number %d.txt" % number for number in range(0, 150, 3)]
    if fstype == "fat12":
        run("mdel", "-i", image, *(f"::{os.fsdecode(path)}" for path in gone))
    else:
        with mounted(image, fstype) as root:
            for path in gone:
                (root / os.fsdecode(path)).unlink()
    with reader_of(image) as (_, reader):
        found = walked(reader)
    assert found.problems == ()
    assert set(found.entries) - {b"lost+found"} == set(paths_below(tree)) - set(gone)


def test_a_file_in_more_pieces_than_one_record_holds_is_read_and_placed_right_on_ntfs(tmp_path: Path) -> None:
    image = ntfs_image(tmp_path / "image", None)
    pieces = 400
    with mounted(image, "ntfs") as root, (root / "pieces").open("wb") as file:
        for index in range(pieces):
            os.pwrite(file.fileno(), noise(4096, index), index * 3 * 65_536 // 8)
    content = bytearray((pieces - 1) * 3 * 65_536 // 8 + 4096)
    for index in range(pieces):
        content[index * 3 * 65_536 // 8 : index * 3 * 65_536 // 8 + 4096] = noise(4096, index)
    with reader_of(image) as (source, reader):
        entry = walked(reader).entries[b"pieces"]
        assert "Type: $ATTRIBUTE_LIST" in run("istat", image, str(entry.ino))
        assert_content(source, reader, entry, bytes(content))
