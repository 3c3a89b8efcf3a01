"""The HFS reader against hfsutils, The Sleuth Kit and 7-Zip, and against volumes written from Apple's own notes."""

from __future__ import annotations

import os
import random
import re
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import pytsk3
from disk_images import bytes_at, noise, opened, run, walked
from hfs_images import (
    FILES_FOLDER,
    FOLDERS_FOLDER,
    NOW,
    ROOT,
    HfsPlus,
    decmpfs,
    hfs,
    macbinary,
    packed_resource,
    wrapped,
)
from test_mutated_images import mutated

from ntt.model import Entry, Route, Volume, VolumeStatus, WalkProblem
from ntt.ranges import Ranges
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.hfs.reader import HfsReader
from ntt.readers.iso.reader import open_iso9660

FINDER = "com.apple.FinderInfo"


@contextmanager
def hfs_reader(
    image: Path, fstype: str, offset: int = 0, unread: Ranges = (), size: int = 0
) -> Iterator[tuple[ImageSource, HfsReader]]:
    with opened(image, unread) as source:
        size = size or source.size_bytes - offset
        volume = Volume(1, "none", offset, size, fstype, Route.HFS, VolumeStatus.READ)
        with closing(HfsReader(source, volume)) as reader:
            yield source, reader


def content_of(reader: HfsReader, entry: Entry, piece: int = 100_000) -> bytes:
    return b"".join(reader.read(entry.ino, at, piece) for at in range(0, entry.size, piece))


def assert_content(source: ImageSource, reader: HfsReader, entry: Entry, content: bytes) -> None:
    assert entry.size == len(content)
    assert content_of(reader, entry) == content
    assert reader.read(entry.ino, entry.size, 10) == b""
    extents = reader.extents(entry.ino)
    assert bytes_at(source, extents) == content
    assert entry.first_byte == next((extent.image_offset for extent in extents), -1)


def without_damage(reader: HfsReader) -> dict[bytes, Entry]:
    found = walked(reader)
    assert found.problems == ()
    assert len(found.all_entries) == len(found.entries)
    return found.entries


# ---------------------------------------------------------------- classic HFS


FORKS = {
    b"plain": (b"TEXTttxt", b"only data", b""),
    b"application": (b"APPLntt!", b"", noise(40_001, 4)),
    b"both forks": (b"PICTogle", noise(70_000, 5), noise(3000, 6)),
    b"empty": (b"????????", b"", b""),
    b"\x8ager\xa5 \x80": (b"TEXT\xa5\xa5\xa5\xa5", b"MacRoman", b""),
}


def classic_image(tmp_path: Path, label: str = "Ntt Disk", size_mib: int = 4) -> Path:
    image = tmp_path / "classic.img"
    image.write_bytes(bytes(size_mib << 20))
    hfs(tmp_path, "hformat", "-l", label, image)
    return image


def put(tmp_path: Path, name: bytes, kind: bytes, data: bytes, resource: bytes, folder: bytes = b":") -> None:
    (tmp_path / "one.bin").write_bytes(macbinary(name, kind, data, resource))
    hfs(tmp_path, "hcopy", "-m", tmp_path / "one.bin", os.fsdecode(folder))


def test_forks_types_and_names_of_classic_hfs_are_those_that_hfsutils_wrote(tmp_path: Path) -> None:
    image = classic_image(tmp_path)
    hfs(tmp_path, "hmkdir", ":folder")
    hfs(tmp_path, "hmkdir", ":folder:sl/ash")
    for name, (kind, data, resource) in FORKS.items():
        put(tmp_path, name, kind, data, resource, b":folder:sl/ash:")
    listed = hfs(tmp_path, "hls", "-lR")
    hfs(tmp_path, "humount")
    with hfs_reader(image, "hfs") as (source, reader):
        entries = without_damage(reader)
        assert reader.label == "Ntt Disk"
        expected = {b"", b"folder", b"folder/sl:ash"}
        for name, (kind, data, resource) in FORKS.items():
            path = b"folder/sl:ash/" + name
            expected.add(path)
            entry = entries[path]
            assert_content(source, reader, entry, data)
            assert dict(entry.attributes)[FINDER][:8] == kind
            assert entry.mtime_s == NOW
            assert (entry.mode, entry.uid, entry.gid) == (stat.S_IFREG | 0o644, 0, 0)
            if resource:
                expected.add(path + b":rsrc")
                fork = entries[path + b":rsrc"]
                assert fork.ino != entry.ino
                assert_content(source, reader, fork, resource)
        assert set(entries) == expected
        assert len({entry.ino for entry in entries.values()}) == len(entries)
        facts = reader.facts()
    assert (facts.entries, facts.state) == (len(FORKS) + 2, "clean")
    sizes = re.findall(r"^f +(\S{4})/\S{4} +(\d+) +(\d+) ", listed, re.MULTILINE)
    assert sorted((int(fork), int(data)) for _, fork, data in sizes) == sorted(
        (len(resource), len(data)) for _, data, resource in FORKS.values()
    )


def test_a_fragmented_classic_fork_is_followed_through_the_extents_overflow_file(tmp_path: Path) -> None:
    image = classic_image(tmp_path, size_mib=2)
    filler = tmp_path / "filler"
    filler.write_bytes(b"f" * 20_000)
    names = [f":filler {index}" for index in range(90)]
    for name in names:
        hfs(tmp_path, "hcopy", "-r", filler, name)
    for name in names[::2]:
        hfs(tmp_path, "hdel", name)
    put(tmp_path, b"pieces", b"TEXTttxt", noise(500_000), noise(90_000, 2))
    hfs(tmp_path, "humount")
    with hfs_reader(image, "hfs") as (source, reader):
        entries = without_damage(reader)
        assert len(reader.extents(entries[b"pieces"].ino)) > 3
        assert_content(source, reader, entries[b"pieces"], noise(500_000))
        assert_content(source, reader, entries[b"pieces:rsrc"], noise(90_000, 2))
        assert content_of(reader, entries[b"filler 1"]) == filler.read_bytes()


def many_files(tmp_path: Path, count: int = 300) -> Path:
    """A classic catalog with index nodes: several folders, each with files."""
    image = classic_image(tmp_path)
    for folder in range(3):
        hfs(tmp_path, "hmkdir", f":folder {folder}")
        sources = []
        for index in range(count // 3):
            path = tmp_path / f"file {folder} {index}"
            path.write_bytes(b"%d %d" % (folder, index))
            sources.append(path)
        hfs(tmp_path, "hcopy", "-r", *sources, f":folder {folder}:")
    hfs(tmp_path, "humount")
    return image


def test_every_file_of_a_classic_volume_with_several_levels_of_index_is_found_and_read(tmp_path: Path) -> None:
    image = many_files(tmp_path)
    with hfs_reader(image, "hfs") as (_, reader):
        entries = without_damage(reader)
        assert len(entries) == 1 + 3 + 300
        for path, entry in entries.items():
            if entry.is_regular:
                folder, index = path.split()[-2:]
                assert content_of(reader, entry) == folder + b" " + index


def test_the_copy_of_a_damaged_master_directory_block_is_used_and_said(tmp_path: Path) -> None:
    image = many_files(tmp_path, 30)
    with image.open("r+b") as file:
        file.seek(1024)
        file.write(bytes(512))
    with hfs_reader(image, "hfs") as (_, reader):
        assert len(without_damage(reader)) == 1 + 3 + 30
        assert "copy at the end" in reader.facts().oddities[0]
    with image.open("r+b") as file:
        file.truncate(image.stat().st_size - 1024)
    with pytest.raises(ReadError, match="neither"), hfs_reader(image, "hfs"):
        pass


# ---------------------------------------------------------------- hybrid discs


def hybrid_tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "folder" / "deeper").mkdir(parents=True)
    for index, length in enumerate((0, 1, 2047, 2048, 2049, 300_000)):
        (tree / "folder" / f"file{index}.dat").write_bytes(noise(length, index))
        (tree / "folder" / "deeper" / f"more{index}.dat").write_bytes(noise(length + 7, index + 50))
    return tree


def apple_partition(image: Path) -> int:
    """Offset of the HFS partition in the Apple partition map, whose entries follow block 0."""
    content = image.read_bytes()
    for at in range(512, 64 * 512, 512):
        entry = content[at : at + 512]
        if entry[:2] == b"PM" and entry[48:80].rstrip(b"\0") == b"Apple_HFS":
            return int.from_bytes(entry[8:12], "big") * 512
    raise AssertionError("no HFS partition")


def assert_shares_content(image: Path, offset: int, fstype: str, tree: Path) -> None:
    with hfs_reader(image, fstype, offset) as (source, reader):
        entries = without_damage(reader)
        with closing(open_iso9660(source, 0)) as iso:
            other = walked(iso).entries
            for original in tree.rglob("*"):
                path = os.fsencode(original.relative_to(tree))
                if not original.is_file():
                    assert entries[path].is_directory
                    continue
                assert_content(source, reader, entries[path], original.read_bytes())
                assert list(reader.extents(entries[path].ino)) == list(iso.extents(other[path].ino))


@pytest.mark.parametrize("options", [(), ("-part",)])
def test_both_sides_of_an_hfs_hybrid_name_the_same_bytes_of_the_image(options: tuple[str, ...], tmp_path: Path) -> None:
    tree, image = hybrid_tree(tmp_path), tmp_path / "hybrid.iso"
    run("genisoimage", "-quiet", "-hfs", "-probe", "-r", *options, "-o", image, tree)
    assert_shares_content(image, apple_partition(image) if options else 0, "hfs", tree)


def test_both_sides_of_an_hfs_plus_hybrid_name_the_same_bytes_of_the_image(tmp_path: Path) -> None:
    tree, image = hybrid_tree(tmp_path), tmp_path / "hybrid.iso"
    (tree / "folder" / "link").symlink_to("file1.dat")
    run("xorriso", "-as", "mkisofs", "-quiet", "-hfsplus", "-R", "-o", image, tree)
    (tree / "folder" / "link").unlink()
    assert_shares_content(image, apple_partition(image), "hfsplus", tree)
    with hfs_reader(image, "hfsplus", apple_partition(image)) as (_, reader):
        link = walked(reader).entries[b"folder/link"]
    assert (stat.S_ISLNK(link.mode), link.link_target) == (True, b"file1.dat")


def test_a_resource_fork_on_a_hybrid_disc_is_listed_beside_its_file(tmp_path: Path) -> None:
    tree, image = tmp_path / "tree", tmp_path / "hybrid.iso"
    tree.mkdir()
    (tree / "picture.bin").write_bytes(macbinary(b"picture", b"PICTogle", noise(5000), noise(6000, 2)))
    run("genisoimage", "-quiet", "-hfs", "--macbin", "-r", "-o", image, tree)
    with hfs_reader(image, "hfs") as (source, reader):
        entries = without_damage(reader)
        assert_content(source, reader, entries[b"picture"], noise(5000))
        assert_content(source, reader, entries[b"picture:rsrc"], noise(6000, 2))
        assert dict(entries[b"picture"].attributes)[FINDER][:8] == b"PICTogle"


# ---------------------------------------------------------------- HFS+


def rich(**options: object) -> tuple[HfsPlus, dict[bytes, bytes]]:
    """A volume with a bit of everything, and the contents by path."""
    volume = HfsPlus()
    for name, value in options.items():
        setattr(volume, name, value)
    folder = volume.folder(ROOT, "Folder", owner=(501, 20), mode=0o40750)
    volume.file(folder, "hello.txt", b"hello", mode=0o100640, owner=(501, 20), finder=b"TEXTttxt", resource=b"fork")
    volume.file(ROOT, "fragmented", noise(300_000), pieces=40)
    volume.file(ROOT, "sl/ash", b"slash")
    volume.file(ROOT, "u\u0308ber \U0001f600", b"names")
    volume.file(folder, "link", b"hello.txt", mode=0o120777, finder=b"slnkrhap")
    volume.file(ROOT, "device", mode=0o60640, special=8 << 24 | 70_000)
    volume.file(ROOT, "old", b"1904", mtime=0)
    contents = {
        b"Folder/hello.txt": b"hello",
        b"Folder/hello.txt:rsrc": b"fork",
        b"fragmented": noise(300_000),
        b"sl:ash": b"slash",
        "u\u0308ber \U0001f600".encode(): b"names",
        b"old": b"1904",
    }
    for index in range(400):
        volume.file(folder, f"file number {index}", b"%d" % index)
        contents[b"Folder/file number %d" % index] = b"%d" % index
    return volume, contents


def written(tmp_path: Path, content: bytes) -> Path:
    image = tmp_path / "plus.img"
    image.write_bytes(content)
    return image


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"block": 512, "node": 512 * 8},
        {"node": 8192, "block": 4096},
        {"node": 4096, "block": 1024, "catalog_pieces": 25},
        {"case_sensitive": True},
        {"journal": "empty"},
    ],
)
def test_names_contents_owners_and_times_of_hfs_plus(options: dict[str, object], tmp_path: Path) -> None:
    volume, contents = rich(**options)
    image = written(tmp_path, volume.image(4_000_000 // volume.block))
    with hfs_reader(image, "hfsplus") as (source, reader):
        entries = without_damage(reader)
        assert (reader.fstype, reader.label) == ("hfsplus", "ntt plus")
        assert set(entries) == {b"", b"Folder", b"Folder/link", b"device", *contents}
        for path, content in contents.items():
            assert_content(source, reader, entries[path], content)
        assert (entries[b"Folder"].mode, entries[b"Folder"].uid, entries[b"Folder"].gid) == (0o40750, 501, 20)
        hello = entries[b"Folder/hello.txt"]
        assert (hello.mode, hello.uid, hello.mtime_s) == (0o100640, 501, NOW)
        assert hello.attributes == ((FINDER, b"TEXTttxt".ljust(32, b"\0")),)
        assert entries[b"Folder/link"].link_target == b"hello.txt"
        assert entries[b"device"].link_target == b"8:70000"
        assert (entries[b"old"].mode, entries[b"old"].mtime_s) == (stat.S_IFREG | 0o644, 0)
        facts = reader.facts()
        assert (facts.entries, facts.state, facts.block_bytes) == (len(volume.items), "clean", volume.block)
        assert facts.serial == run("blkid", "-p", "-o", "value", "-s", "UUID", image).strip()


def test_the_sleuth_kit_and_7zip_see_the_same_files_with_the_same_contents(tmp_path: Path) -> None:
    volume, contents = rich()
    image = written(tmp_path, volume.image(1000))
    system = pytsk3.FS_Info(pytsk3.Img_Info(str(image)), type=pytsk3.TSK_FS_TYPE_HFS_DETECT)
    run("7zz", "x", "-y", f"-o{tmp_path / 'out'}", image)
    with hfs_reader(image, "hfsplus") as (_, reader):
        for path, entry in without_damage(reader).items():
            if not entry.is_regular or path.endswith(b":rsrc"):
                continue
            file = system.open_meta(inode=entry.ino)
            assert file.info.meta.size == entry.size
            assert (file.read_random(0, entry.size) if entry.size else b"") == contents[path]
            if b"file number" in path:
                assert (tmp_path / "out" / "ntt plus" / os.fsdecode(path)).read_bytes() == contents[path]


def test_names_that_differ_only_by_case_are_two_files_on_hfsx(tmp_path: Path) -> None:
    volume = HfsPlus(case_sensitive=True)
    for name in ("name", "NAME", "Name", "zebra", "Zebra"):
        volume.file(ROOT, name, name.encode())
    with hfs_reader(written(tmp_path, volume.image()), "hfsplus") as (_, reader):
        entries = without_damage(reader)
        assert set(entries) == {b"", b"name", b"NAME", b"Name", b"zebra", b"Zebra"}
        for path, entry in entries.items():
            assert not path or content_of(reader, entry) == path
        assert "HFSX" in reader.facts().oddities[0]


def linked_volume() -> HfsPlus:
    volume = HfsPlus()
    folder = volume.folder(ROOT, "folder")
    private = volume.folder(ROOT, FILES_FOLDER)
    node = volume.next_id
    volume.file(private, f"iNode{node}", b"linked", resource=b"fork", mode=0o100600, finder=b"TEXTttxt", special=2)
    volume.link(ROOT, "one", node)
    volume.link(folder, "two", node)
    private = volume.folder(ROOT, FOLDERS_FOLDER)
    node = volume.next_id
    volume.folder(private, f"dir_{node}", mode=0o40700)
    volume.file(node, "inside", b"in")
    volume.folder_link(ROOT, "linked folder", node)
    volume.folder_link(volume.folder(node, "deeper"), "into itself", node)
    volume.file(ROOT, "folder alias", finder=b"fdrpMACS", resource=b"alias")
    return volume


def test_hard_links_name_what_they_stand_for_and_the_private_folders_stay_hidden(tmp_path: Path) -> None:
    volume = linked_volume()
    with hfs_reader(written(tmp_path, volume.image()), "hfsplus") as (source, reader):
        found = walked(reader)
        entries = found.entries
        names = {b"one", b"one:rsrc", b"folder/two", b"folder/two:rsrc", b"linked folder/inside"}
        folders = {b"", b"folder", b"linked folder", b"linked folder/deeper", b"linked folder/deeper/into itself"}
        assert set(entries) == names | folders | {b"folder alias", b"folder alias:rsrc"}
        assert [problem.kind for problem in found.problems] == ["directory_cycle"]
        one, two = entries[b"one"], entries[b"folder/two"]
        assert one.ino == two.ino
        assert sorted((one.new_inode, two.new_inode)) == [False, True]
        assert (one.mode, dict(one.attributes)[FINDER][:8]) == (0o100600, b"TEXTttxt")
        assert_content(source, reader, one, b"linked")
        assert_content(source, reader, entries[b"folder/two:rsrc"], b"fork")
        assert_content(source, reader, entries[b"linked folder/inside"], b"in")
        assert entries[b"linked folder"].mode == 0o40700
        listed = [path for path in entries if path and not path.endswith(b":rsrc")]
        assert reader.facts().entries == len(listed)


def test_what_only_a_private_folder_holds_is_listed_there(tmp_path: Path) -> None:
    volume = linked_volume()
    private = next(item.cnid for item in volume.items if item.name == FILES_FOLDER)
    volume.file(private, "iNode999", b"no name is left")
    volume.file(private, "temp12", b"deleted while open")
    private = next(item.cnid for item in volume.items if item.name == FOLDERS_FOLDER)
    left = volume.folder(private, "dir_998")
    volume.file(left, "left", b"left")
    volume.link(ROOT, "dangling", 12345)
    with hfs_reader(written(tmp_path, volume.image()), "hfsplus") as (_, reader):
        found = walked(reader)
        contents = {path: content_of(reader, entry) for path, entry in found.entries.items() if entry.is_regular}
    files, folders = FILES_FOLDER.encode(), FOLDERS_FOLDER.encode()
    assert contents[files + b"/iNode999"] == b"no name is left"
    assert contents[files + b"/temp12"] == b"deleted while open"
    assert contents[folders + b"/dir_998/left"] == b"left"
    assert not any(path.startswith(files + b"/iNode") for path in contents.keys() - {files + b"/iNode999"})
    assert b"dangling" not in contents
    kinds = sorted(problem.kind for problem in found.problems)
    assert kinds == ["bad_record", "directory_cycle", "name_not_storable"]


def test_compressed_files_are_unpacked_or_refused_and_never_empty(tmp_path: Path) -> None:
    volume = HfsPlus()
    big = noise(200_001) + b"x" * 100_000

    def packed(name: str, attribute: bytes | None, resource: bytes = b"") -> None:
        cnid = volume.file(ROOT, name, resource=resource, owner_flags=0x20)
        if attribute is not None:
            volume.attributes.append((cnid, "com.apple.decmpfs", attribute))
        volume.attributes.append((cnid, "com.apple.quarantine", b"other"))

    packed("resource", decmpfs(4, len(big)), packed_resource(big, (1,)))
    packed("inline", decmpfs(3, 5000, zlib.compress(b"y" * 5000)))
    packed("inline plain", decmpfs(3, 5, b"\xffplain"))
    packed("kept plain", decmpfs(1, 4, b"kept"))
    packed("nothing", decmpfs(3, 0, b"\xff"))
    packed("lzvn", decmpfs(8, 7000), b"packed bytes")
    packed("lzfse", decmpfs(11, 20, b"bvxn"))
    packed("headless", None, b"something")
    packed("short", decmpfs(3, 6000, zlib.compress(b"y" * 5000)))
    packed("bomb", decmpfs(3, 10, zlib.compress(b"y" * 5000)))
    packed("wrong table", decmpfs(4, len(big) * 2), packed_resource(big))
    whole = {
        b"resource": big,
        b"inline": b"y" * 5000,
        b"inline plain": b"plain",
        b"kept plain": b"kept",
        b"nothing": b"",
    }
    with hfs_reader(written(tmp_path, volume.image()), "hfsplus") as (_, reader):
        entries = without_damage(reader)
        for path, content in whole.items():
            entry = entries[path]
            assert entry.size == len(content)
            assert content_of(reader, entry, 70_000) == content
            assert reader.read(entry.ino, 65_530, 12) == content[65_530:65_542]
            extents = reader.extents(entry.ino)
            assert sum(extent.file_length for extent in extents) == entry.size
            assert all(extent.file_length != extent.image_length for extent in extents)
            assert path + b":rsrc" not in entries
        for path in (b"lzvn", b"lzfse", b"headless", b"short", b"bomb", b"wrong table"):
            with pytest.raises(ReadError):
                reader.read(entries[path].ino, 0, entries[path].size)
        assert (entries[b"lzvn"].size, entries[b"lzfse"].size) == (7000, 20)
        assert dict(entries[b"lzfse"].attributes)["com.apple.decmpfs"].endswith(b"bvxn")
        assert content_of(reader, entries[b"lzvn:rsrc"]) == b"packed bytes"
        with pytest.raises(ReadError, match="LZVN"):
            reader.extents(entries[b"lzvn"].ino)
        assert any("attributes" in oddity for oddity in reader.facts().oddities)


def test_the_place_of_a_compressed_block_is_the_one_that_breaks_it(tmp_path: Path) -> None:
    volume = HfsPlus()
    content = noise(300_000)
    cnid = volume.file(ROOT, "packed", resource=packed_resource(content), owner_flags=0x20)
    volume.attributes.append((cnid, "com.apple.decmpfs", decmpfs(4, len(content))))
    image = written(tmp_path, volume.image())
    with hfs_reader(image, "hfsplus") as (_, reader):
        third = reader.extents(cnid)[2]
    with image.open("r+b") as file:
        file.seek(third.image_offset + 100)
        file.write(bytes(third.image_length - 100))
    with hfs_reader(image, "hfsplus") as (_, reader):
        assert reader.read(cnid, 0, 131_072) == content[:131_072]
        with pytest.raises(ReadError):
            reader.read(cnid, 131_072, 1)
        assert reader.read(cnid, 196_608, 200_000) == content[196_608:]


def test_a_volume_inside_a_wrapper_is_found_and_said(tmp_path: Path) -> None:
    volume, contents = rich()
    image = tmp_path / "wrapped.img"
    image.write_bytes(b"\xee" * 4096 + wrapped(volume.image(1000)))
    with hfs_reader(image, "hfs", 4096) as (source, reader):
        entries = without_damage(reader)
        assert reader.fstype == "hfsplus"
        for path, content in contents.items():
            assert_content(source, reader, entries[path], content)
        assert "inside an HFS wrapper" in reader.facts().oddities[0]


def test_a_journal_that_was_not_carried_out_makes_the_volume_dirty(tmp_path: Path) -> None:
    volume = HfsPlus(journal="pending")
    volume.file(ROOT, "file", b"x")
    with hfs_reader(written(tmp_path, volume.image()), "hfsplus") as (_, reader):
        facts = reader.facts()
    assert facts.state == "dirty"
    assert "not replayed" in facts.oddities[0]


def test_a_file_that_is_called_like_a_resource_fork_is_kept_and_flagged(tmp_path: Path) -> None:
    volume = HfsPlus()
    volume.file(ROOT, "file", b"data", resource=b"fork")
    volume.file(ROOT, "file/rsrc", b"a file of its own")
    volume.file(ROOT, "alone/rsrc", b"alone")
    with hfs_reader(written(tmp_path, volume.image()), "hfsplus") as (_, reader):
        found = walked(reader)
        twice = [entry for entry in found.all_entries if entry.name == b"file:rsrc"]
        assert sorted(entry.duplicate for entry in twice) == [False, True]
        assert {content_of(reader, entry) for entry in twice} == {b"fork", b"a file of its own"}
        assert content_of(reader, found.entries[b"alone:rsrc"]) == b"alone"
    assert [problem.kind for problem in found.problems] == ["duplicate_name"]


# ---------------------------------------------------------------- damage


def catalog_node(image: Path, kind: int, skip: int = 0) -> int:
    """The offset of a catalog node that holds `file number` names (leaf: kind 0xFF, index: kind 0)."""
    content = image.read_bytes()
    wanted = "file number".encode("utf-16-be")
    found = [
        at
        for at in range(0, len(content), 4096)
        if content[at + 8] == kind and content[at + 9] in (1, 2) and wanted in content[at : at + 4096]
    ]
    return found[skip]


def spoil(image: Path, at: int, length: int = 4096) -> None:
    with image.open("r+b") as file:
        file.seek(at)
        file.write(bytes(length))


def test_a_lost_leaf_costs_its_own_files_only_and_is_told(tmp_path: Path) -> None:
    volume, contents = rich()
    image = written(tmp_path, volume.image(1000))
    at = catalog_node(image, 0xFF, 3)
    lost_node = image.read_bytes()[at : at + 4096]
    spoil(image, at)
    with hfs_reader(image, "hfsplus") as (_, reader):
        found = walked(reader)
        missing = set(contents) - set(found.entries)
        held = {path for path in contents if path.rpartition(b"/")[2].decode().encode("utf-16-be") in lost_node}
        assert missing
        assert missing <= held
        assert 5 <= len(missing) <= 20
        assert {problem.kind for problem in found.problems} == {"directory_damaged"}
        for path, entry in found.entries.items():
            assert path not in contents or content_of(reader, entry) == contents[path]


def test_a_chain_of_leaves_that_runs_in_a_circle_is_told_and_costs_no_file(tmp_path: Path) -> None:
    volume, contents = rich()
    image = written(tmp_path, volume.image(1000))
    at = catalog_node(image, 0xFF, 4)
    before = struct.unpack_from(">I", image.read_bytes(), at + 4)
    with image.open("r+b") as file:
        file.seek(at)
        file.write(struct.pack(">I", *before))
    with hfs_reader(image, "hfsplus") as (_, reader):
        found = walked(reader)
        assert set(contents) <= set(found.entries)
        assert {problem.kind for problem in found.problems} == {"directory_damaged"}
        assert "circle" in found.problems[0].detail


def test_a_lost_index_costs_no_file(tmp_path: Path) -> None:
    volume, contents = rich()
    image = written(tmp_path, volume.image(1000))
    spoil(image, catalog_node(image, 0))
    with hfs_reader(image, "hfsplus") as (_, reader):
        entries = without_damage(reader)
        assert set(contents) <= set(entries)
        for path, content in contents.items():
            assert content_of(reader, entries[path]) == content


def test_records_on_unread_sectors_are_not_listed_as_if_they_were_good(tmp_path: Path) -> None:
    volume, contents = rich()
    image = written(tmp_path, volume.image(1000))
    at = catalog_node(image, 0xFF, 3) + 1024
    with hfs_reader(image, "hfsplus", 0, ((at, at + 512), (image.stat().st_size, 1 << 63))) as (_, reader):
        found = walked(reader)
        missing = set(contents) - set(found.entries)
        assert 1 <= len(missing) <= 3
        assert [problem.kind for problem in found.problems] == ["bad_record"] * len(found.problems)
        assert len(missing) <= len(found.problems) <= 2 * len(missing) + 2
        for path, entry in found.entries.items():
            assert path not in contents or content_of(reader, entry) == contents[path]


def test_a_folder_whose_record_is_lost_keeps_its_content_under_its_name(tmp_path: Path) -> None:
    volume = HfsPlus()
    above = volume.folder(ROOT, "above")
    folder = volume.folder(above, "folder")
    volume.file(folder, "file", b"x")
    orphan = volume.folder(above, "without thread", has_thread=False)
    volume.file(orphan, "other", b"y")
    image = written(tmp_path, volume.image())
    content = bytearray(image.read_bytes())
    for cnid in (folder, orphan):
        record = re.compile(re.escape(b"\0\1\0\0\0\0\0\1" + struct.pack(">I", cnid)))
        (match,) = record.finditer(content)
        content[match.start() : match.start() + 2] = b"\0\x09"
    image.write_bytes(content)
    with hfs_reader(image, "hfsplus") as (_, reader):
        found = walked(reader)
        assert set(found.entries) == {b"", b"above", b"above/folder", b"above/folder/file", b"%d" % orphan} | {
            b"%d/other" % orphan
        }
        assert {problem.kind for problem in found.problems} == {"bad_record"}
        assert content_of(reader, found.entries[b"%d/other" % orphan]) == b"y"


def test_folders_that_contain_each_other_are_listed_once(tmp_path: Path) -> None:
    volume = HfsPlus()
    outer = volume.folder(ROOT, "outer")
    inner = volume.folder(outer, "inner")
    volume.file(inner, "file", b"x")
    next(item for item in volume.items if item.cnid == outer).parent = inner
    with hfs_reader(written(tmp_path, volume.image()), "hfsplus") as (_, reader):
        found = walked(reader)
        assert sorted(entry.name for entry in found.all_entries if entry.new_inode) == [
            b"",
            b"file",
            b"inner",
            b"outer",
        ]
        assert "directory_cycle" in {problem.kind for problem in found.problems}
        assert b"x" in {content_of(reader, entry) for entry in found.all_entries if entry.is_regular}


def test_the_copy_of_a_damaged_volume_header_is_used_and_said(tmp_path: Path) -> None:
    volume, contents = rich()
    image = written(tmp_path, volume.image(1000))
    spoil(image, 1024, 512)
    with hfs_reader(image, "hfsplus") as (_, reader):
        assert set(contents) <= set(without_damage(reader))
        assert "copy at the end" in reader.facts().oddities[0]


def test_a_fork_that_is_longer_than_its_extents_is_an_error_and_the_next_file_is_read(tmp_path: Path) -> None:
    volume = HfsPlus()
    volume.file(ROOT, "long", noise(5000))
    volume.file(ROOT, "next", b"next")
    content = volume.image()
    assert content.count(struct.pack(">QII", 5000, 4096, 2)) == 1
    image = written(
        tmp_path, content.replace(struct.pack(">QII", 5000, 4096, 2), struct.pack(">QII", 1 << 50, 4096, 2))
    )
    with hfs_reader(image, "hfsplus") as (_, reader):
        entries = without_damage(reader)
        assert entries[b"long"].size == 1 << 50
        for call in (lambda ino: reader.read(ino, 0, 100), reader.extents):
            with pytest.raises(ReadError, match="early"):
                call(entries[b"long"].ino)
        assert content_of(reader, entries[b"next"]) == b"next"


def test_what_lies_behind_the_end_of_a_cut_image_is_zeros_and_known_to_be_unread(tmp_path: Path) -> None:
    volume, contents = rich()
    content = volume.image(1000)
    image = written(tmp_path, content + bytes(1 << 20))
    with hfs_reader(image, "hfsplus") as (_, reader):
        place = reader.extents(walked(reader).entries[b"fragmented"].ino)
    tail = place[-1]
    with hfs_reader(image, "hfsplus", 0, ((tail.image_offset, tail.image_offset + 4096),)) as (_, reader):
        found = walked(reader).entries[b"fragmented"]
        assert content_of(reader, found) == contents[b"fragmented"][: tail.file_offset] + bytes(tail.file_length)


def small_classic(tmp_path: Path) -> bytes:
    return many_files(tmp_path, 90).read_bytes()


def small_plus(tmp_path: Path) -> bytes:
    volume = linked_volume()
    folder = volume.folder(ROOT, "many")
    for index in range(120):
        volume.file(folder, f"file {index}", noise(index * 40), pieces=3, resource=b"r" * (index % 3))
    cnid = volume.file(ROOT, "packed", resource=packed_resource(noise(150_000)), owner_flags=0x20)
    volume.attributes.append((cnid, "com.apple.decmpfs", decmpfs(4, 150_000)))
    volume.file(ROOT, "fragmented", noise(100_000), pieces=24)
    return volume.image()


@pytest.mark.slow
@pytest.mark.parametrize("make", [small_classic, small_plus])
def test_two_hundred_damaged_volumes_end_in_problems_only(make: Callable[[Path], bytes], tmp_path: Path) -> None:
    content = make(tmp_path)
    used = [at // 512 for at in range(0, len(content), 512) if any(content[at : at + 512])]
    names = (b"\0f\0i\0l\0e", b"file ")
    catalog = [at for at in used if any(name in content[at * 512 : at * 512 + 512] for name in names)]
    met: set[str] = set()
    for seed in range(200):
        image = tmp_path / "mutated.img"
        image.write_bytes(mutated(content, seed, (used, [*used[:6], *catalog])[seed % 2]))
        unread = ((8192, 9216),) if random.Random(seed).random() < 0.3 else ()
        try:
            with hfs_reader(image, "hfs", 0, unread) as (_, reader):
                met |= look_at_all(reader)
        except ReadError:
            met.add("not opened")
    assert {"directory_damaged", "bad_record"} <= met


def look_at_all(reader: HfsReader) -> set[str]:
    met: set[str] = set()
    listed, twice = {ROOT}, set()
    files: list[Entry] = []
    reader.facts()
    for found in reader.walk():
        if isinstance(found, WalkProblem):
            met.add(found.kind)
            twice |= {found.ino, found.ino | 1 << 32} if "same number" in found.detail else set()
            continue
        assert found.parent_ino in listed
        if found.is_directory:
            listed.add(found.ino)
        if found.is_regular:
            files.append(found)
    for file in files:
        try:
            length = min(file.size, 1 << 20)
            assert len(reader.read(file.ino, 0, length)) == length or file.ino in twice
            assert sum(extent.file_length for extent in reader.extents(file.ino)) == file.size or file.ino in twice
        except ReadError:
            met.add("content")
    return met
