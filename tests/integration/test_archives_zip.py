"""Zip archives of Info-ZIP, Python and 7-Zip against what was packed: whole, cut, damaged, encrypted."""

from __future__ import annotations

import io
import lzma
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from archive_images import (
    archive_of,
    assert_content,
    assert_tree,
    content_of,
    listed,
    small_tree,
)
from disk_images import noise

from ntt.readers.base import ReadError


def test_a_zip_of_info_zip_is_its_tree(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    image = tmp_path / "image.zip"
    subprocess.run(["zip", "-q", "-r", "-y", str(image), "."], cwd=tree, check=True)
    with archive_of(image) as (source, reader):
        assert_tree(source, reader, tree)
        noise_file = listed(reader)[0].entries[b"folder/noise.bin"]
        (extent,) = reader.extents(noise_file.ino)
        assert 0 < extent.image_length <= 300_001


def zip_methods(image: Path, open_out: Callable[[Path], io.BufferedIOBase]) -> dict[bytes, bytes]:
    contents: dict[bytes, bytes] = {}
    methods = {"stored": 0, "deflated": 8, "bzip2": 12, "lzma": 14}
    with open_out(image) as out, zipfile.ZipFile(out, "w") as archive:
        for name, method in methods.items():
            for size in (0, 1, 70_000, 1_500_000):
                content = noise(size, method)
                archive.writestr(f"{name}/{size}", content, method)
                contents[f"{name}/{size}".encode()] = content
    return contents


class Pipe(io.RawIOBase):
    """Cannot seek: zipfile then writes sizes behind the contents."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:
        return self._file.write(data)

    def flush(self) -> None:
        if not self._file.closed:
            self._file.flush()

    def close(self) -> None:
        self._file.close()
        super().close()


@pytest.mark.parametrize("open_out", [lambda path: path.open("wb"), Pipe], ids=["seekable", "data descriptors"])
def test_every_method_of_zipfile_is_read(open_out: Callable[[Path], io.BufferedIOBase], tmp_path: Path) -> None:
    image = tmp_path / "image.zip"
    contents = zip_methods(image, open_out)
    for prefix in (b"", b"a program that unpacks itself" * 100):
        if prefix:
            image.write_bytes(b"PK\3\4" + prefix + image.read_bytes())
        with archive_of(image) as (source, reader):
            found, ended_by = listed(reader)
            assert (found.problems, ended_by) == ((), "")
            files = {path: entry for path, entry in found.entries.items() if entry.is_regular}
            assert set(files) == set(contents)
            for path, entry in files.items():
                assert_content(source, reader, entry, contents[path])


def test_a_zip_whose_end_is_missing_is_read_from_its_local_headers(tmp_path: Path) -> None:
    for open_out in (lambda path: path.open("wb"), Pipe):
        image = tmp_path / "image.zip"
        contents = zip_methods(image, open_out)
        raw = image.read_bytes()
        image.write_bytes(raw[: raw.index(b"bzip2/1500000") + 500])
        with archive_of(image) as (_, reader):
            found, ended_by = listed(reader)
            files = {path: entry for path, entry in found.entries.items() if entry.is_regular}
            assert ended_by or found.problems
            for path, entry in files.items():
                try:
                    assert content_of(reader, entry) == contents[path]
                except ReadError:
                    assert path.startswith((b"bzip2", b"lzma"))
            assert {path for path in contents if path.startswith((b"stored", b"deflated"))} <= set(files)
        image.write_bytes(raw[:-30])
        with archive_of(image) as (_, reader):
            found, _ = listed(reader)
            assert set(contents) <= set(found.entries)
            assert any("central directory" in problem.detail for problem in found.problems)


def test_a_zip64_and_names_in_code_pages_and_in_unicode(tmp_path: Path) -> None:
    image = tmp_path / "image.zip"
    with zipfile.ZipFile(image, "w") as archive:
        for name in ("e\u0301", "\u00e9", "dosXX", "back\\slash"):
            info = zipfile.ZipInfo(name, (2001, 2, 3, 4, 5, 6))
            info.create_system = 0
            with archive.open(info, "w", force_zip64=True) as out:
                out.write(name.encode())
    image.write_bytes(image.read_bytes().replace(b"dosXX", b"dos\x81\xff"))
    with archive_of(image) as (_, reader):
        found, ended_by = listed(reader)
        assert (found.problems, ended_by) == ((), "")
        expected = {"e\u0301".encode(), "\u00e9".encode(), b"dos\x81\xff", b"back/slash"}
        assert expected <= set(found.entries)
        assert found.entries[b"dos\x81\xff"].mtime_s == 981_173_106
        assert content_of(reader, found.entries["e\u0301".encode()]) == "e\u0301".encode()


def one_member(image: Path, method: int, packed: bytes, size: int, crc: int, flags: int = 0) -> Path:
    """APPNOTE.TXT 4.3: a local header, the central directory, its end; whatever they claim."""
    middle = struct.pack("<HHHHIIIHH", flags, method, 0, 33, crc, len(packed), size, 4, 0)
    local = b"PK\3\4\x14\0" + middle + b"name"
    central = b"PK\1\2\x14\3\x14\0" + middle + struct.pack("<HHHII", 0, 0, 0, 0o100644 << 16, 0) + b"name"
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, len(central), len(local) + len(packed), 0)
    image.write_bytes(local + packed + central + end)
    return image


@pytest.mark.parametrize("method", [93, 95])
def test_newer_methods_are_read_and_a_bomb_among_them_in_bounded_pieces(method: int, tmp_path: Path) -> None:
    pack = zstandard.compress if method == 93 else lzma.compress
    for content in (b"", noise(900_000), bytes(50_000_000)):
        image = one_member(tmp_path / "i.zip", method, pack(content), len(content), zlib.crc32(content))
        with archive_of(image) as (source, reader):
            assert_content(source, reader, listed(reader)[0].entries[b"name"], content)


@pytest.mark.parametrize(
    ("method", "size", "crc", "why"),
    [
        (8, 99_999, 0, "holds more than"),
        (8, 100_001, 0, "holds 100,000 bytes"),
        (8, 0, 0, "holds more than"),
        (8, 100_000, 5, "CRC differs"),
        (9, 100_000, 0, "deflate64"),
        (77, 100_000, 0, "method 77"),
    ],
)
def test_a_member_that_is_not_what_the_archive_says_is_never_passed_on(
    method: int, size: int, crc: int, why: str, tmp_path: Path
) -> None:
    content = noise(100_000)
    image = one_member(tmp_path / "i.zip", method, zlib.compress(content)[2:-4], size, crc or zlib.crc32(content))
    with archive_of(image) as (_, reader):
        entry = listed(reader)[0].entries[b"name"]
        assert entry.size == size
        with pytest.raises(ReadError, match=why):
            content_of(reader, entry)


@pytest.mark.parametrize("kind", ["zip", "7z"])
def test_encrypted_members_say_so_one_by_one(kind: str, tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    image = tmp_path / f"image.{kind}"
    subprocess.run(["7zz", "a", f"-t{kind}", str(image), "a.txt"], cwd=tree, check=True, capture_output=True)
    subprocess.run(
        ["7zz", "a", f"-t{kind}", "-psecret", str(image), "folder"], cwd=tree, check=True, capture_output=True
    )
    with archive_of(image) as (_, reader):
        found, _ = listed(reader)
        assert content_of(reader, found.entries[b"a.txt"]) == b"a\n"
        for name in (b"folder/text", b"folder/noise.bin"):
            with pytest.raises(ReadError, match="encrypted"):
                content_of(reader, found.entries[name])


def test_a_damaged_member_of_a_zip_does_not_concern_the_others(tmp_path: Path) -> None:
    image = tmp_path / "image.zip"
    contents = zip_methods(image, lambda path: path.open("wb"))
    raw = bytearray(image.read_bytes())
    at = raw.index(b"deflated/70000")
    raw[at + 5000] ^= 0x10
    other = raw.index(b"stored/1500000")
    raw[other + 700_000] ^= 0x10
    header = raw.index(b"bzip2/1500000") - 30
    raw[header : header + 4] = bytes(4)
    image.write_bytes(raw)
    with archive_of(image) as (_, reader):
        found, ended_by = listed(reader)
        assert ended_by == ""
        broken = set()
        for path, content in contents.items():
            try:
                assert content_of(reader, found.entries[path]) == content
            except ReadError:
                broken.add(path)
        assert broken == {b"deflated/70000", b"stored/1500000", b"bzip2/1500000"}
