"""Named streams of NTFS against what ntfs-3g and The Sleuth Kit's own tools say of the same image."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from disk_images import MIB, bytes_at, noise, ntfs_image, reader_of, run, walked

from ntt.model import Entry
from ntt.readers.base import ReadError, VolumeReader

COMPRESSED = (0x810).to_bytes(4, "big")


@contextmanager
def with_streams(image: Path, interface: str = "windows") -> Iterator[Path]:
    """The image mounted so that `file:stream`, or an extended attribute, is a stream; nothing is left behind."""
    root = image.parent / "mounted"
    root.mkdir()
    device = run("losetup", "-f", "--show", image).strip()
    try:
        run("ntfs-3g", "-o", f"streams_interface={interface}", device, root)
        try:
            yield root
        finally:
            run("umount", root)
    finally:
        run("losetup", "-d", device)
        run("sync", "-f", image)
        root.rmdir()


def stream_of(image: Path, file: str, stream: str) -> bytes:
    """What ntfs-3g's own tool reads of a stream, without a mount."""
    done = subprocess.run(["ntfscat", "-f", "-q", "-n", stream, str(image), file], capture_output=True, check=True)
    return done.stdout


def content_of(reader: VolumeReader, entry: Entry, piece: int = 65_536) -> bytes:
    return b"".join(reader.read(entry.ino, at, piece) for at in range(0, entry.size, piece))


def test_every_stream_is_a_file_beside_its_own_with_its_content_times_and_place(tmp_path: Path) -> None:
    image = ntfs_image(tmp_path / "image", None)
    large = noise(3 * MIB + 17, 7)
    with with_streams(image) as root:
        (root / "file").write_bytes(b"the file itself")
        (root / "file:Zone.Identifier").write_bytes(b"[ZoneTransfer]\r\nZoneId=3\r\n")
        (root / "file:large").write_bytes(large)
        (root / "file:empty").write_bytes(b"")
        (root / "file:Größe 日本 😀").write_bytes(b"unicode")
        (root / "folder").mkdir()
        (root / "folder" / "inside").write_bytes(noise(9000))
        (root / "folder" / "inside:s").write_bytes(noise(9001, 2))
        (root / "folder:of the folder").write_bytes(b"a directory has streams, too")
        (root / "plain").write_bytes(b"no streams")
        for name in ("file", "folder/inside", "folder"):
            os.utime(root / name, ns=(0, 1_222_333_444_555_666_700))
    with reader_of(image) as (source, reader):
        found = walked(reader)
        entries = found.entries
        assert found.problems == ()
        assert set(entries) - {b"", b"file", b"folder", b"folder/inside", b"plain"} == {
            *(b"file:Zone.Identifier", b"file:large", b"file:empty", "file:Größe 日本 😀".encode()),
            *(b"folder/inside:s", b"folder:of the folder"),
        }
        assert entries[b"folder:of the folder"].parent_ino == entries[b""].ino
        for path, entry in entries.items():
            if b":" not in path:
                continue
            file, stream = path.decode().split(":")
            expected = stream_of(image, file, stream)
            assert content_of(reader, entry) == expected
            assert entry.size == len(expected)
            assert stat.S_ISREG(entry.mode)
            assert entry.new_inode
            assert entry.mtime_s * 10**9 + entry.mtime_ns == 1_222_333_444_555_666_700
            extents = reader.extents(entry.ino)
            assert entry.first_byte == next((e.image_offset for e in extents), -1)
            if len(expected) > 400:
                assert bytes_at(source, extents) == expected
            assert 0 < entry.ino < 1 << 63
        assert len({entry.ino for entry in entries.values()}) == len(entries)
        assert content_of(reader, entries[b"file:large"]) == large
    numbers = {path: entry.ino for path, entry in entries.items()}
    with reader_of(image) as (_, reader):
        # in another process there was no walk before
        assert reader.read(numbers[b"file:Zone.Identifier"], 0, 99) == b"[ZoneTransfer]\r\nZoneId=3\r\n"
        assert reader.read(numbers[b"file"], 0, 99) == b"the file itself"
        with pytest.raises(ReadError):
            reader.read(numbers[b"plain"] | 1 << 48, 0, 10)
        assert {path: entry.ino for path, entry in walked(reader).entries.items()} == numbers


def test_contents_agree_with_icat(tmp_path: Path) -> None:
    image = ntfs_image(tmp_path / "image", None)
    with with_streams(image) as root:
        (root / "file").write_bytes(noise(5000))
        (root / "file:first").write_bytes(noise(70_000, 2))
        (root / "file:second").write_bytes(noise(300, 3))
    with reader_of(image) as (_, reader):
        entries = walked(reader).entries
        listed = [line.split() for line in run("istat", image, str(entries[b"file"].ino)).splitlines()]
        ids = {words[4]: words[2].strip("()") for words in listed if words[:2] == ["Type:", "$DATA"]}
        assert set(ids) == {"N/A", "first", "second"}
        for stream in ("first", "second"):
            place = f"{entries[b'file'].ino}-{ids[stream]}"
            done = subprocess.run(["icat", str(image), place], capture_output=True, check=True)
            assert content_of(reader, entries[b"file:" + stream.encode()]) == done.stdout


def test_sparse_compressed_and_fragmented_streams_are_read_and_placed_right(tmp_path: Path) -> None:
    image = ntfs_image(tmp_path / "image", None, 60)
    text = b"".join(b"%d, " % number for number in range(60_000))
    holes = bytes(4_000_000) + noise(3000) + bytes(997_000)
    with with_streams(image) as root:
        (root / "packed").mkdir()
        os.setxattr(root / "packed", "system.ntfs_attrib_be", COMPRESSED)
        (root / "packed" / "file").write_bytes(b"x")
        (root / "packed" / "file:text").write_bytes(text)
        (root / "file").write_bytes(b"x")
        with open(root / "file:holes", "wb") as file:
            file.seek(4_000_000)
            file.write(noise(3000))
            file.truncate(len(holes))
        with open(root / "file:pieces", "wb") as file, open(root / "between", "wb") as other:
            for index in range(300):
                os.pwrite(file.fileno(), noise(4096, index), index * 3 * 8192)
                os.pwrite(other.fileno(), noise(4096, index), index * 3 * 8192)
    with reader_of(image) as (source, reader):
        found = walked(reader)
        assert found.problems == ()
        entries = found.entries
        for name, file, stream in (
            (b"packed/file:text", "packed/file", "text"),
            (b"file:holes", "file", "holes"),
            (b"file:pieces", "file", "pieces"),
        ):
            expected = stream_of(image, file, stream)
            assert content_of(reader, entries[name]) == expected
            extents = reader.extents(entries[name].ino)
            assert sum(extent.file_length for extent in extents) == len(expected)
        assert content_of(reader, entries[b"packed/file:text"]) == text
        assert content_of(reader, entries[b"file:holes"]) == holes
        assert bytes_at(source, reader.extents(entries[b"file:holes"].ino)) == holes
        pieces = reader.extents(entries[b"file:pieces"].ino)
        assert bytes_at(source, pieces) == content_of(reader, entries[b"file:pieces"])
        assert len(pieces) > 200
        packed = reader.extents(entries[b"packed/file:text"].ino)
        assert any(extent.file_length != extent.image_length for extent in packed)


def test_streams_in_extension_records_are_listed_and_read(tmp_path: Path) -> None:
    image = ntfs_image(tmp_path / "image", None)
    contents = {f"stream number {index}": noise(100 + 60 * index, index) for index in range(120)}
    with with_streams(image) as root:
        (root / "file").write_bytes(noise(30_000))
        (root / "other").write_bytes(b"other")
        for name, content in contents.items():
            (root / f"file:{name}").write_bytes(content)
    with reader_of(image) as (_, reader):
        found = walked(reader)
        assert found.problems == ()
        assert "Type: $ATTRIBUTE_LIST" in run("istat", image, str(found.entries[b"file"].ino))
        streams = {path[5:].decode(): entry for path, entry in found.entries.items() if path.startswith(b"file:")}
        assert set(streams) == set(contents)
        assert len({entry.ino for entry in streams.values()}) == len(contents)
        for name, entry in streams.items():
            assert content_of(reader, entry) == contents[name]
        assert content_of(reader, found.entries[b"file"]) == noise(30_000)


def test_a_stream_of_a_file_with_two_names_is_one_inode_with_two_names(tmp_path: Path) -> None:
    image = ntfs_image(tmp_path / "image", None)
    with with_streams(image) as root:
        (root / "file").write_bytes(b"file")
        (root / "file:stream").write_bytes(b"stream")
        (root / "folder").mkdir()
        os.link(root / "file", root / "folder" / "second")
    with reader_of(image) as (_, reader):
        found = walked(reader)
        first, second = found.entries[b"file:stream"], found.entries[b"folder/second:stream"]
        assert first.ino == second.ino
        assert sorted((first.new_inode, second.new_inode)) == [False, True]


def test_hidden_system_and_read_only_files_say_so_and_others_nothing(tmp_path: Path) -> None:
    image = ntfs_image(tmp_path / "image", None)
    flags = {"hidden": 0x22, "system": 0x24, "read-only": 0x21, "archive": 0x20, "normal": 0x80, "folder": 0x02}
    with with_streams(image) as root:
        for name in flags:
            (root / name).mkdir() if name == "folder" else (root / name).write_bytes(b"x")
        (root / "hidden:stream").write_bytes(b"x")
        for name, value in flags.items():
            os.setxattr(root / name, "system.ntfs_attrib_be", value.to_bytes(4, "big"))
    with reader_of(image) as (_, reader):
        entries = walked(reader).entries
    for name, value in flags.items():
        kept = dict(entries[name.encode()].attributes)
        if value & 0x7:
            assert int(kept["dos.attributes"]) & 0x27 == value
        else:
            assert kept == {}
    assert entries[b"hidden:stream"].attributes == ()


def test_a_stream_of_the_root_folder_is_listed_in_it(tmp_path: Path) -> None:
    image = ntfs_image(tmp_path / "image", None)
    with with_streams(image, "xattr") as root:
        os.setxattr(root, "user.of the root", b"content")
        assert os.getxattr(root, "user.of the root") == b"content"
    with reader_of(image) as (_, reader):
        entries = walked(reader).entries
        assert set(entries) == {b"", b":of the root"}
        assert content_of(reader, entries[b":of the root"]) == b"content"


def test_the_content_that_windows_overlay_compressed_is_listed_as_the_stream_it_is(tmp_path: Path) -> None:
    image = ntfs_image(tmp_path / "image", None)
    with with_streams(image) as root:
        (root / "wof").write_bytes(bytes(10_000))
        (root / "wof:WofCompressedData").write_bytes(noise(6000))
        value = struct.pack("<IHH", 0x80000017, 16, 0) + bytes(16)
        os.setxattr(root / "wof", "system.ntfs_reparse_data", value)
    with reader_of(image) as (_, reader):
        entries = walked(reader).entries
        with pytest.raises(ReadError, match="Overlay"):
            reader.read(entries[b"wof"].ino, 0, 10)
        assert content_of(reader, entries[b"wof:WofCompressedData"]) == noise(6000)


def test_a_stream_whose_record_is_damaged_is_a_problem_and_the_others_are_listed(tmp_path: Path) -> None:
    image = ntfs_image(tmp_path / "image", None)
    with with_streams(image) as root:
        (root / "file").write_bytes(b"file")
        for index in range(60):
            (root / f"file:{index}").write_bytes(noise(300, index))
    content = bytearray(image.read_bytes())
    at = content.index(noise(300, 30)[:60]) & ~1023
    assert content[at : at + 4] == b"FILE"
    content[at : at + 4] = b"BAAD"
    image.write_bytes(content)
    with reader_of(image) as (_, reader):
        found = walked(reader)
        lost = [problem for problem in found.problems if problem.kind == "bad_record"]
        streams = {path: entry for path, entry in found.entries.items() if path.startswith(b"file:")}
        assert b"file:30" not in streams
        assert b"file:30" in {problem.name for problem in lost}
        assert len(streams) + len(lost) == 60
        assert {path: content_of(reader, entry) for path, entry in streams.items()} == {
            path: noise(300, int(path[5:])) for path in streams
        }
