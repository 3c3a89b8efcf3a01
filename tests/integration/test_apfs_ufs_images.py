"""UFS against the trees that `makefs` wrote and against The Sleuth Kit; APFS, which pytsk3 cannot open."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import pytsk3
from disk_images import bytes_at, noise, opened, paths_below, run, unix_tree, walked
from test_mutated_images import mutated

from ntt.model import Entry, Route, Volume, VolumeStatus
from ntt.ranges import Ranges
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.tsk import TskReader

VARIANTS = [(version, order) for version in (1, 2) for order in ("le", "be")]


@contextmanager
def tsk_reader(
    image: Path, fstype: str = "ufs", offset: int = 0, unread: Ranges = ()
) -> Iterator[tuple[ImageSource, TskReader]]:
    with opened(image, unread) as source:
        volume = Volume(1, "none", offset, source.size_bytes - offset, fstype, Route.TSK, VolumeStatus.READ)
        with closing(TskReader(source, volume)) as reader:
            yield source, reader


def ufs_image(image: Path, version: int, order: str, tree: Path, size: str = "24m") -> Path:
    run("makefs", "-t", "ffs", "-o", f"version={version}", "-B", order, "-s", size, image, tree)
    return image


def content_of(reader: TskReader, entry: Entry, piece: int = 100_000) -> bytes:
    return b"".join(reader.read(entry.ino, at, piece) for at in range(0, entry.size, piece))


@pytest.mark.parametrize(("version", "order"), VARIANTS)
def test_ufs_keeps_names_contents_times_owners_links_and_devices(version: int, order: str, tmp_path: Path) -> None:
    tree = unix_tree(tmp_path / "tree")
    image = ufs_image(tmp_path / "image", version, order, tree)
    with tsk_reader(image) as (source, reader):
        found = walked(reader)
        expected = paths_below(tree)
        assert found.problems == ()
        assert set(found.entries) == set(expected)
        for path, original in expected.items():
            entry, status = found.entries[path], original.lstat()
            assert entry.mode == status.st_mode
            if path:
                assert (entry.uid, entry.gid) == (status.st_uid, status.st_gid)
                assert entry.mtime_s == status.st_mtime_ns // 10**9
            if stat.S_ISLNK(status.st_mode):
                assert entry.link_target == os.fsencode(original.readlink())
            elif stat.S_ISREG(status.st_mode):
                content = original.read_bytes()
                assert entry.size == len(content)
                assert content_of(reader, entry) == content
                assert reader.read(entry.ino, entry.size, 5) == b""
                assert bytes_at(source, reader.extents(entry.ino)) == content
        assert found.entries[b"block"].link_target == b"8:17"
        assert found.entries[b"character"].link_target == b"300:70000"
        assert found.entries[b"big"].ino == found.entries[b"second name of big"].ino
        facts = reader.facts()
        inodes = {entry.ino for entry in found.all_entries} - {2}
        assert (facts.entries, facts.size_bytes, facts.state) == (len(inodes), 24 << 20, "clean")
        assert f"UFS{version}" in facts.oddities[0]


def test_the_sleuth_kit_reads_the_same_contents_at_the_same_places(tmp_path: Path) -> None:
    image = ufs_image(tmp_path / "image", 1, "be", unix_tree(tmp_path / "tree"))
    system = pytsk3.FS_Info(pytsk3.Img_Info(str(image)), type=pytsk3.TSK_FS_TYPE_FFS_DETECT)
    with tsk_reader(image) as (_, reader):
        for entry in walked(reader).all_entries:
            if entry.is_regular:
                file = system.open_meta(inode=entry.ino)
                assert (file.read_random(0, entry.size) if entry.size else b"") == content_of(reader, entry)
                places = [run.addr * 1024 for run in next(iter(file)) if not int(run.flags)]
                assert places[:1] == ([entry.first_byte] if entry.size else [])


@pytest.mark.parametrize("version", [1, 2])
def test_an_unread_block_map_is_an_error_and_not_a_hole(version: int, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "big").write_bytes(noise(400_000))
    (tree / "small").write_bytes(b"small")
    image = ufs_image(tmp_path / "image", version, "le", tree, "4m")
    with tsk_reader(image) as (_, reader):
        first, second = reader.extents(walked(reader).entries[b"big"].ino)
    between = first.image_offset + first.image_length
    assert second.image_offset == between + 8192  # the indirect block
    with tsk_reader(image, unread=((between, between + 512),)) as (_, reader):
        entries = walked(reader).entries
        with pytest.raises(ReadError, match="block map"):
            reader.read(entries[b"big"].ino, 0, 10)
        assert content_of(reader, entries[b"small"]) == b"small"


@pytest.mark.parametrize(("version", "order"), VARIANTS)
def test_ufs_is_read_at_an_odd_offset_and_its_sub_seconds_are_kept(version: int, order: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(noise(100_000))
    os.utime(tree / "file", (0, 1_234_567_890))
    content = bytearray(ufs_image(tmp_path / "plain", version, order, tree).read_bytes())
    sign, wide = "<" if order == "le" else ">", "q" if version == 2 else "i"
    at = content.index(struct.pack(f"{sign}{wide}", 1_234_567_890))  # makefs itself writes no sub-seconds
    struct.pack_into(f"{sign}i", content, at + (24 if version == 2 else 4), 123_456_789)
    (tmp_path / "image").write_bytes(b"\xee" * 16_384 + content)
    with tsk_reader(tmp_path / "image", offset=16_384) as (source, reader):
        entry = walked(reader).entries[b"file"]
        assert (entry.mtime_s, entry.mtime_ns) == (1_234_567_890, 123_456_789)
        assert content_of(reader, entry) == noise(100_000)
        assert bytes_at(source, reader.extents(entry.ino)) == noise(100_000)


@pytest.mark.parametrize("version", [1, 2])
def test_content_that_lies_where_a_superblock_is_looked_for_is_content(version: int, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(noise(900_000))
    image = ufs_image(tmp_path / "image", version, "le", tree, "4m")
    with tsk_reader(image) as (source, reader):
        entry = walked(reader).entries[b"file"]
        places = reader.extents(entry.ino)
        assert any(place.image_offset <= 65_536 < place.image_offset + place.image_length for place in places)
        assert content_of(reader, entry) == noise(900_000)
        assert bytes_at(source, places) == noise(900_000)


def test_unread_directory_blocks_of_ufs_are_reported_and_a_damaged_superblock_is_an_error(tmp_path: Path) -> None:
    tree = unix_tree(tmp_path / "tree")
    image = ufs_image(tmp_path / "image", 2, "le", tree)
    with tsk_reader(image) as (_, reader):
        names = walked(reader).entries[b"names"]
        (place,) = reader.extents(names.ino)
    unread = ((place.image_offset, place.image_offset + 512), (image.stat().st_size, 1 << 63))
    with tsk_reader(image, unread=unread) as (_, reader):
        problems = [problem for problem in walked(reader).problems if problem.kind == "directory_damaged"]
    assert [problem.ino for problem in problems] == [names.ino]
    with image.open("r+b") as file:
        file.write(bytes(300_000))
    with pytest.raises(ReadError, match="superblock"), tsk_reader(image):
        pass


def test_an_apfs_container_is_refused_with_the_reason(tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(600 << 20)  # mkapfs makes nothing smaller; the file is sparse
    run("mkapfs", "-L", "ntt", image)
    with pytest.raises(ReadError, match="pool"), tsk_reader(image, "apfs"):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("version", [1, 2])
def test_damaged_ufs_volumes_end_in_problems_only(version: int, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "folder").mkdir(parents=True)
    for index in range(40):
        (tree / "folder" / f"file {index}").write_bytes(noise(index * 400, index))
    content = ufs_image(tmp_path / "whole", version, "le", tree, "4m").read_bytes()
    used = [at // 512 for at in range(0, len(content), 512) if any(content[at : at + 512])]
    met: set[str] = set()
    for seed in range(100):
        image = tmp_path / "mutated"
        image.write_bytes(mutated(content, seed, used))
        try:
            with tsk_reader(image) as (_, reader):
                found = walked(reader)
                met |= {problem.kind for problem in found.problems}
                for entry in found.all_entries:
                    met |= {"content"} if read_whole(reader, entry) else {"listed"}
        except ReadError:
            met.add("not opened")
    assert {"listed", "bad_record"} <= met


def read_whole(reader: TskReader, entry: Entry) -> bool:
    """True if the file cannot be read."""
    if not entry.is_regular:
        return False
    try:
        length = min(entry.size, 1 << 20)
        assert len(reader.read(entry.ino, 0, length)) == length
        assert sum(extent.file_length for extent in reader.extents(entry.ino)) == entry.size
    except ReadError:
        return True
    return False
