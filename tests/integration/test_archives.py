"""The archive reader against the trees that tar, cpio, zip, 7z and the compressors packed."""

from __future__ import annotations

import ctypes
import gzip
import io
import os
import random
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from archive_images import archive_of, content_of, listed, small_tree, volume_of
from disk_images import bytes_at, noise, opened, paths_below, run, unix_tree
from test_mutated_images import mutated

from ntt.model import Entry
from ntt.readers import archive_library
from ntt.readers.archive_reader import ArchiveReader, open_archive
from ntt.readers.base import ImageSource, ReadError

COMPRESSORS = {"": "", ".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd", ".lz4": "lz4 -B4", ".lzma": "lzma"}


def tar_of(tree: Path, image: Path, *options: str, compressor: str = "") -> Path:
    packed = ["-I", compressor] if compressor else []
    run("tar", "-C", tree, *packed, *options, "-cf", image, ".")
    return image


def assert_tree(source: ImageSource, reader: ArchiveReader, tree: Path, *, has_owners: bool = True) -> None:
    found, ended_by = listed(reader)
    assert (found.problems, ended_by) == ((), "")
    expected = paths_below(tree)
    assert set(found.entries) == set(expected)
    for path, original in expected.items():
        entry, status = found.entries[path], original.lstat()
        assert stat.S_IFMT(entry.mode) == stat.S_IFMT(status.st_mode), path
        if not path:
            continue
        if has_owners:
            assert (entry.mode, entry.uid, entry.gid) == (status.st_mode, status.st_uid, status.st_gid)
        if stat.S_ISLNK(status.st_mode):
            assert entry.link_target == os.fsencode(original.readlink())
        elif stat.S_ISREG(status.st_mode):
            assert entry.mtime_s == status.st_mtime_ns // 10**9
            assert_content(source, reader, entry, original.read_bytes())


def assert_content(source: ImageSource, reader: ArchiveReader, entry: Entry, content: bytes) -> None:
    assert entry.size == len(content)
    assert content_of(reader, entry) == content
    assert reader.read(entry.ino, entry.size, 10) == b""
    extents = reader.extents(entry.ino)
    assert sum(extent.file_length for extent in extents) == len(content)
    linear = all(extent.file_length == extent.image_length for extent in extents)
    if linear and content:
        assert bytes_at(source, extents) == content


# ---------------------------------------------------------------- tar


@pytest.mark.parametrize("tar_format", ["gnu", "pax"])
@pytest.mark.parametrize("sparse", [(), ("--sparse",)])
def test_a_tar_keeps_every_byte_of_every_name_and_all_that_unix_knows(
    tar_format: str, sparse: tuple[str, ...], tmp_path: Path
) -> None:
    tree = unix_tree(tmp_path / "tree")
    image = tar_of(tree, tmp_path / "image.tar", f"--format={tar_format}", *sparse)
    with archive_of(image) as (source, reader):
        assert_tree(source, reader, tree)
        entries = listed(reader)[0].entries
        names = [entries[b"big"], entries[b"second name of big"]]
        assert names[0].ino == names[1].ino
        assert sorted(name.new_inode for name in names) == [False, True]
        assert entries[b"block"].link_target == b"8:17"
        assert entries[b"character"].link_target == b"300:70000"
        (big,) = reader.extents(names[0].ino)
        assert source.read(big.image_offset, big.image_length) == (tree / "big").read_bytes()
        holes = [extent for extent in reader.extents(entries[b"sparse"].ino) if extent.image_offset < 0]
        assert bool(holes) == bool(sparse)


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_a_compressed_tar_is_read_like_a_plain_one(suffix: str, tmp_path: Path) -> None:
    tree = unix_tree(tmp_path / "tree")
    image = tar_of(tree, tmp_path / f"image.tar{suffix}", "--sparse", compressor=COMPRESSORS[suffix])
    with archive_of(image) as (source, reader):
        assert_tree(source, reader, tree)
        (facts,) = reader.facts().oddities
        assert "GNU tar" in facts
        assert (COMPRESSORS[suffix].split() or ["tar"])[0] in facts


def test_names_agree_with_the_list_that_tar_itself_prints(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    image = tar_of(tree, tmp_path / "image.tar.gz", compressor="gzip")
    printed = run("tar", "--quoting-style=literal", "-tf", image).splitlines()
    with archive_of(image) as (_, reader):
        entries = listed(reader)[0].entries
    assert {name.removeprefix("./").rstrip("/").encode() for name in printed} == set(entries)


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_composed_and_decomposed_names_stay_two_names(tar_format: int, tmp_path: Path) -> None:
    names = ["e\u0301", "\u00e9", "\ufffd", os.fsdecode(b"\xe9\xff")]
    with tarfile.open(tmp_path / "t.tar", "w", format=tar_format, encoding="utf-8", errors="surrogateescape") as tar:
        for index, name in enumerate(names):
            info = tarfile.TarInfo(f"{name}/{name}")
            info.size = index
            tar.addfile(info, io.BytesIO(b"x" * index))
            link = tarfile.TarInfo(f"to {name}")
            link.type, link.linkname = tarfile.SYMTYPE, name
            tar.addfile(link)
            hard = tarfile.TarInfo(f"also {name}")
            hard.type, hard.linkname = tarfile.LNKTYPE, f"{name}/{name}"
            tar.addfile(hard)
    with archive_of(tmp_path / "t.tar") as (_, reader):
        found, ended_by = listed(reader)
    assert (found.problems, ended_by) == ((), "")
    for index, name in enumerate(map(os.fsencode, names)):
        assert found.entries[name + b"/" + name].size == index
        assert found.entries[b"to " + name].link_target == name
        assert found.entries[b"also " + name].ino == found.entries[name + b"/" + name].ino


def test_paths_lead_nowhere_but_below_the_root_and_nothing_is_lost(tmp_path: Path) -> None:
    members = ["/etc/passwd", "../../up", "a/../b", "./x//y/./z", "file", "file/below", "twice", "twice", "."]
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        for index, name in enumerate(members):
            info = tarfile.TarInfo("placeholder")
            info.name = name
            info.size = index + 1
            tar.addfile(info, io.BytesIO(bytes([index]) * (index + 1)))
    with archive_of(tmp_path / "t.tar") as (_, reader):
        found, ended_by = listed(reader)
        files = [entry for entry in found.all_entries if entry.is_regular]
        assert ended_by == ""
        assert sorted(content_of(reader, entry) for entry in files) == [bytes([i]) * (i + 1) for i in range(9)]
    assert {b"etc/passwd", b"../../up", b"a/../b", b"x/y/z", b"file/below", b"member 9"} <= set(found.entries)
    assert [entry.duplicate for entry in found.all_entries if entry.name == b"twice"] == [False, True]
    assert sorted(entry.duplicate for entry in found.all_entries if entry.name == b"file") == [False, True]
    kinds = {(problem.kind, problem.name) for problem in found.problems}
    assert kinds == {
        *(("name_not_storable", name) for name in (b"..", b".")),
        *(("duplicate_name", name) for name in (b"twice", b"file")),
    }
    inos = [entry.ino for entry in found.all_entries]
    assert len(set(inos)) == len(inos)


def test_a_folder_that_is_listed_behind_its_files_has_its_own_mode_and_time(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("implied/folder/file"))
        info = tarfile.TarInfo("implied/folder")
        info.type, info.mode, info.mtime, info.uid = tarfile.DIRTYPE, 0o2710, 1_234_567, 5
        tar.addfile(info)
    with archive_of(tmp_path / "t.tar") as (_, reader):
        found, _ = listed(reader)
        again, _ = listed(reader)
    assert [entry.name for entry in found.all_entries] == [b"", b"implied", b"folder", b"file"]
    folder, implied = found.entries[b"implied/folder"], found.entries[b"implied"]
    assert (folder.mode, folder.mtime_s, folder.uid, folder.ino) == (0o042710, 1_234_567, 5, 3)
    assert (implied.mode, implied.mtime_s) == (0o040755, 0)
    assert again == found


def test_a_hard_link_without_its_file_is_reported_and_never_an_empty_file(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.LNKTYPE, "not here"
        tar.addfile(info)
        tar.addfile(tarfile.TarInfo("empty"))
    with archive_of(tmp_path / "t.tar") as (_, reader):
        found, _ = listed(reader)
        assert [(problem.kind, problem.name) for problem in found.problems] == [("bad_record", b"link")]
        with pytest.raises(ReadError, match="nothing of its content"):
            content_of(reader, found.entries[b"link"])
        assert content_of(reader, found.entries[b"empty"]) == b""


# ---------------------------------------------------------------- cpio, ar


@pytest.mark.parametrize("cpio_format", ["newc", "crc", "odc", "bin"])
def test_a_cpio_is_its_tree_hard_links_included(cpio_format: str, tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    os.link(tree / "folder" / "text", tree / "third")
    os.link(tree / "folder" / "text", tree / "folder" / "second")
    image = tmp_path / "image.cpio"
    names = "\n".join(os.fsdecode(path) or "." for path in paths_below(tree))
    with image.open("wb") as out:
        subprocess.run(
            ["cpio", "-o", "--quiet", "-H", cpio_format], input=os.fsencode(names), cwd=tree, stdout=out, check=True
        )
    with archive_of(image) as (source, reader):
        assert_tree(source, reader, tree)
        entries = listed(reader)[0].entries
        same = [entries[name] for name in (b"folder/text", b"third", b"folder/second")]
        assert len({entry.ino for entry in same}) == 1
        assert sorted(entry.new_inode for entry in same) == [False, False, True]


def test_an_ar_with_long_names_is_its_files(tmp_path: Path) -> None:
    contents = {"short": noise(1001), "a rather long name of a member.o": noise(70_000, 2), "empty": b""}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    image = tmp_path / "image.a"
    run("ar", "qc", image, *(tmp_path / name for name in contents))
    with archive_of(image) as (source, reader):
        found, ended_by = listed(reader)
        assert ended_by == ""
        for name, content in contents.items():
            assert_content(source, reader, found.entries[name.encode()], content)


def rar_of(image: Path, name: bytes, content: bytes) -> Path:
    """RAR 4 (technote.txt of its author): a marker, the archive's header, one stored file; no free tool makes these."""

    def block(kind: int, flags: int, fields: bytes) -> bytes:
        head = struct.pack("<BHH", kind, flags, 7 + len(fields)) + fields
        return struct.pack("<H", zlib.crc32(head) & 0xFFFF) + head

    crc, size, time = zlib.crc32(content), len(content), (21 << 9 | 2 << 5 | 3) << 16
    fields = struct.pack("<IIBIIBBHI", size, size, 3, crc, time, 29, 0x30, len(name), 0o100640) + name
    marker = b"Rar!\x1a\x07\0" + block(0x73, 0, bytes(6))
    image.write_bytes(marker + block(0x74, 0x8000, fields) + content + block(0x7B, 0x4000, b""))
    return image


def test_a_rar_is_read_and_its_checksum_is_minded(tmp_path: Path) -> None:
    image = rar_of(tmp_path / "image.rar", b"folder\\name.bin", noise(50_000))
    with archive_of(image) as (_, reader):
        found, ended_by = listed(reader)
        assert (found.problems, ended_by) == ((), "")
        (entry,) = [entry for entry in found.all_entries if entry.is_regular]
        assert (entry.name, entry.size, entry.mode) == (b"name.bin", 50_000, 0o100640)
        assert content_of(reader, entry) == noise(50_000)
    image.write_bytes(image.read_bytes().replace(noise(50_000)[-8:], b"damaged!"))
    with archive_of(image) as (_, reader), pytest.raises(ReadError, match="CRC"):
        content_of(reader, entry)


# ---------------------------------------------------------------- zip


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

    def write(self, data: bytes) -> int:  # type: ignore[override]
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


# ---------------------------------------------------------------- 7z, cab


@pytest.mark.parametrize("options", [("-ms=on",), ("-ms=off",), ("-m0=PPMd",), ("-m0=BZip2",), ("-m0=Copy",)])
def test_a_7z_is_its_tree(options: tuple[str, ...], tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    image = tmp_path / "image.7z"
    subprocess.run(["7zz", "a", "-snl", *options, str(image), "."], cwd=tree, check=True, capture_output=True)
    with archive_of(image) as (source, reader):
        assert_tree(source, reader, tree, has_owners=False)


def test_a_7z_with_hidden_names_is_refused_with_the_reason(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    image = tmp_path / "image.7z"
    subprocess.run(["7zz", "a", "-mhe=on", "-psecret", str(image), "."], cwd=tree, check=True, capture_output=True)
    with pytest.raises(ReadError, match="encrypted"), archive_of(image) as (_, reader):
        listed(reader)


# ---------------------------------------------------------------- one compressed file


@pytest.mark.parametrize("content", [b"", b"x", noise(3_000_001)], ids=["empty", "one byte", "large"])
@pytest.mark.parametrize("compressor", ["gzip", "bzip2", "xz", "zstd"])
def test_a_single_compressed_file_is_one_member(compressor: str, content: bytes, tmp_path: Path) -> None:
    original = tmp_path / "Größe.img"
    original.write_bytes(content)
    os.utime(original, (0, 1_234_567_890))
    done = subprocess.run([compressor, "-c", str(original)], stdout=subprocess.PIPE, check=True)
    image = tmp_path / "image"
    image.write_bytes(done.stdout)
    with archive_of(image) as (source, reader):
        found, ended_by = listed(reader)
        assert (found.problems, ended_by) == ((), "")
        name = "Größe.img".encode() if compressor == "gzip" else b"content"
        assert set(found.entries) == {b"", name}
        assert_content(source, reader, found.entries[name], content)
        assert (found.entries[name].mtime_s == 1_234_567_890) == (compressor == "gzip")


def test_several_gzip_members_and_padding_are_one_content_and_garbage_behind_it_is_told(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(gzip.compress(noise(100_000)) + bytes(700) + gzip.compress(b"second") + bytes(512))
    with archive_of(image) as (_, reader):
        found, ended_by = listed(reader)
        assert (found.problems, ended_by) == ((), "")
        assert content_of(reader, found.entries[b"content"]) == noise(100_000) + b"second"
    image.write_bytes(image.read_bytes() + b"garbage")
    with archive_of(image) as (_, reader):
        found, _ = listed(reader)
        assert ["behind the end of the gzip stream" in problem.detail for problem in found.problems] == [True]


@pytest.mark.parametrize("compressor", ["gzip", "bzip2", "xz", "zstd", "lzma", "lz4 -B4"])
@pytest.mark.parametrize("cut", [1, 20, 20_000])
def test_a_single_file_that_is_cut_is_never_passed_on_as_whole(compressor: str, cut: int, tmp_path: Path) -> None:
    image = tmp_path / "image"
    content = random.Random(1).randbytes(3_000_000)
    done = subprocess.run([*compressor.split(), "-c"], input=content, stdout=subprocess.PIPE, check=True)
    image.write_bytes(done.stdout[:-cut])
    with archive_of(image) as (_, reader):
        found, ended_by = listed(reader)
        assert ended_by or found.problems
        entry = found.entries[b"content"]
        assert 1_000_000 < entry.size <= 3_000_000
        with pytest.raises(ReadError):
            content_of(reader, entry)
        assert reader.read(entry.ino, 0, 500_000) == content[:500_000]


@pytest.mark.parametrize("compressor", ["gzip", "xz", "zstd"])
def test_an_image_that_begins_with_zeros_is_no_empty_tar_when_it_is_compressed(compressor: str, tmp_path: Path) -> None:
    image = tmp_path / "image"
    content = bytes(32_768) + noise(100_000)
    done = subprocess.run([compressor, "-c"], input=content, stdout=subprocess.PIPE, check=True)
    image.write_bytes(done.stdout)
    with archive_of(image) as (_, reader):
        found, ended_by = listed(reader)
        assert (found.problems, ended_by) == ((), "")
        assert content_of(reader, found.entries[b"content"]) == content


def test_a_wrong_checksum_of_a_compressed_tar_is_told_when_its_files_are_listed(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    image = tar_of(tree, tmp_path / "image.tar.gz", compressor="gzip")
    raw = bytearray(image.read_bytes())
    raw[-6] ^= 1
    image.write_bytes(raw)
    with archive_of(image) as (_, reader):
        found, ended_by = listed(reader)
    assert "checksum differs" in ended_by
    assert set(found.entries) == set(paths_below(tree))


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_what_stands_before_the_cut_of_a_tar_is_listed_and_read(suffix: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for index in range(40):
        (tree / f"{index:03}").write_bytes(noise(60_000, index))
    image = tar_of(tree, tmp_path / "image", "--sort=name", compressor=COMPRESSORS[suffix])
    os.truncate(image, image.stat().st_size // 2)
    with archive_of(image, ((image.stat().st_size, 1 << 63),)) as (_, reader):
        found, ended_by = listed(reader)
        assert ended_by or found.problems
        files = {path: entry for path, entry in found.entries.items() if entry.is_regular}
        whole = 0
        for path, entry in files.items():
            damaged = [e for e in reader.extents(entry.ino) if e.image_offset + e.image_length > image.stat().st_size]
            try:
                content = content_of(reader, entry)
            except ReadError:
                continue
            expected = noise(60_000, int(path))
            assert content == expected or damaged
            whole += content == expected
        assert whole >= (1 if suffix in (".bz2", ".zst", ".xz", ".lzma", ".lz4") else 15)
        assert len(files) - whole <= 2


def test_a_tar_without_its_end_mark_and_one_with_more_behind_it_are_told(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    image = tar_of(tree, tmp_path / "image.tar", "--record-size=512", "--sort=name")
    whole = image.read_bytes()
    image.write_bytes(whole[:-1024])
    with archive_of(image) as (_, reader):
        assert ["no end mark" in problem.detail for problem in listed(reader)[0].problems] == [True]
    image.write_bytes(whole + bytes(10_000) + b"older contents of the disk")
    with archive_of(image) as (_, reader):
        found, ended_by = listed(reader)
        assert ["behind the archive's end mark" in problem.detail for problem in found.problems] == [True]
        assert (ended_by, set(found.entries)) == ("", set(paths_below(tree)))


def test_headers_that_were_not_read_cost_their_own_members_only(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for index in range(30):
        (tree / f"{index:03}").write_bytes(noise(5000, index))
    image = tar_of(tree, tmp_path / "image.tar", "--sort=name")
    with archive_of(image) as (_, reader):
        header = listed(reader)[0].entries[b"010"].first_byte - 512
    unread = ((header - 512, header + 1024), (image.stat().st_size, 1 << 63))
    with archive_of(image, unread) as (_, reader):
        found, _ = listed(reader)
        names = {path for path, entry in found.entries.items() if entry.is_regular}
        assert names == {b"%03d" % index for index in range(30)} - {b"010"}
        assert content_of(reader, found.entries[b"011"]) == noise(5000, 11)


def test_unread_bytes_of_a_compressed_tar_do_not_concern_what_stands_before_them(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for index in range(40):
        (tree / f"{index:03}").write_bytes(noise(60_000, index))
    image = tar_of(tree, tmp_path / "image.tar.gz", "--sort=name", compressor="gzip -1")
    middle = image.stat().st_size // 2
    with archive_of(image, ((middle, middle + 2048),)) as (_, reader):
        found, ended_by = listed(reader)
        assert ended_by
        before = 0
        for path, entry in found.entries.items():
            if entry.is_regular:
                ends = max(extent.image_offset + extent.image_length for extent in reader.extents(entry.ino))
                if ends <= middle:
                    assert content_of(reader, entry) == noise(60_000, int(path))
                    before += 1
        assert before >= 15


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


# ---------------------------------------------------------------- bounds


def test_large_files_ahead_of_small_ones_cost_two_passes_not_one_for_each(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for index in range(60):
        (tree / f"{index:03}").write_bytes(noise(200_000 if index % 3 else 1_100_000, index))
    image = tar_of(tree, tmp_path / "image.tar.gz", "--sort=name", compressor="gzip -1")
    taken: list[int] = []
    with archive_of(image, (), taken.append) as (_, reader):
        entries = [entry for entry in listed(reader)[0].all_entries if entry.is_regular]
        del taken[:]
        for group in range(0, 60, 20):
            batch = entries[group : group + 20]
            for entry in sorted(batch, key=lambda entry: entry.size < 1 << 20):
                assert content_of(reader, entry) == noise(entry.size, int(entry.name))
    assert sum(taken) <= 2.2 * image.stat().st_size


MEMORY = """
import sys
sys.path.insert(0, sys.argv[2])
from archive_images import archive_of
from pathlib import Path
with archive_of(Path(sys.argv[1])) as (_, reader):
    sizes = {}
    for entry in reader.walk():
        if entry.is_regular:
            sizes[entry.ino] = entry.size
    total = 0
    for ino, size in sizes.items():
        for at in range(0, size, 1 << 20):
            total += len(reader.read(ino, at, 1 << 20))
    status = Path("/proc/self/status").read_text()
    print(total, status.split("VmHWM:")[1].split()[0])
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tar.gz", "zip", "7z", "gz"])
def test_memory_does_not_grow_with_a_member_of_300_megabytes(kind: str, tmp_path: Path) -> None:
    size = 300 << 20
    with (tmp_path / "zeros").open("wb") as file:
        file.truncate(size)
    image = tmp_path / f"image.{kind}"
    match kind:
        case "tar.gz":
            run("tar", "-C", tmp_path, "-I", "gzip -1", "-cf", image, "zeros")
        case "gz":
            with image.open("wb") as out:
                subprocess.run(["gzip", "-1", "-c", str(tmp_path / "zeros")], stdout=out, check=True)
        case _:
            run("7zz", "a", "-mx=1", f"-t{kind}", image, tmp_path / "zeros")
    argv = [sys.executable, "-c", MEMORY, str(image), str(Path(__file__).parent)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    total, peak_kib = map(int, done.stdout.split())
    assert total == size
    assert peak_kib < 120 << 10


def test_a_hole_of_a_terabyte_in_a_compressed_tar_is_not_unpacked(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    with (tree / "sparse").open("wb") as file:
        file.write(b"begin")
        file.seek(1 << 40)
        file.write(noise(5000))
        file.truncate((1 << 40) + (1 << 30))
    image = tar_of(tree, tmp_path / "image.tar.gz", "--sparse", compressor="gzip")
    with archive_of(image) as (_, reader):
        entry = listed(reader)[0].entries[b"sparse"]
        assert entry.size == (1 << 40) + (1 << 30)
        stored = [extent for extent in reader.extents(entry.ino) if extent.image_offset >= 0]
        assert sum(extent.file_length for extent in stored) < 100_000
        assert reader.read(entry.ino, 0, 10) == b"begin" + bytes(5)
        assert reader.read(entry.ino, 1 << 40, 5000) == noise(5000)
        assert reader.read(entry.ino, entry.size - 5, 100) == bytes(5)


def test_without_libarchive_the_package_to_install_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tar_of(small_tree(tmp_path / "tree"), tmp_path / "image.tar")
    monkeypatch.setattr(archive_library, "LIBRARY", "libarchive-that-is-not-here.so")
    archive_library.library.cache_clear()
    with opened(image) as source, pytest.raises(ReadError, match="libarchive13"):
        open_archive(source, volume_of(source))
    archive_library.library.cache_clear()


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"only text, and no archive at all", noise(100_000), bytes(100_000)):
        (tmp_path / "image").write_bytes(content)
        with opened(tmp_path / "image") as source, pytest.raises(ReadError):
            open_archive(source, volume_of(source))


# ---------------------------------------------------------------- hostile


CHILD = """
import os, resource, sys
sys.path.insert(0, sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from pathlib import Path
from archive_images import archive_of
from ntt.model import WalkProblem
from ntt.readers.base import ReadError

def look_at(path):
    with archive_of(Path(path), ((4096, 8192),)) as (_, reader):
        for found in reader.walk():
            if isinstance(found, WalkProblem) or not found.is_regular:
                continue
            try:
                content = reader.read(found.ino, 0, min(found.size, 1 << 20))
                assert len(content) == min(found.size, 1 << 20), found
            except ReadError:
                pass
            try:
                assert sum(extent.file_length for extent in reader.extents(found.ino)) == found.size, found
            except ReadError:
                pass

for line in sys.stdin:
    try:
        look_at(line.rstrip("\\n"))
    except ReadError:
        pass
    print(line.rstrip("\\n"), flush=True)
"""


def mutable_archive(kind: str, folder: Path) -> Path:
    tree = folder / "tree"
    (tree / "folder" / "deeper").mkdir(parents=True)
    for index in range(30):
        (tree / "folder" / f"a rather long name {index}.bin").write_bytes(noise(index * 300, index))
    (tree / "folder" / "deeper" / "text").write_bytes(b"text, " * 20_000)
    os.link(tree / "folder" / "deeper" / "text", tree / "link")
    image = folder / f"image.{kind}"
    match kind:
        case "zip":
            subprocess.run(["zip", "-q", "-r", str(image), "."], cwd=tree, check=True)
        case "7z":
            run("7zz", "a", image, tree)
        case "cpio":
            names = "\n".join(os.fsdecode(path) or "." for path in paths_below(tree))
            with image.open("wb") as out:
                command = ["cpio", "-o", "--quiet", "-H", "newc"]
                subprocess.run(command, input=names.encode(), cwd=tree, stdout=out, check=True)
        case _:
            with (tree / "sparse").open("wb") as file:
                file.seek(1_000_000)
                file.write(b"end")
            tar_of(tree, image, "--sparse", "--format=pax", compressor=COMPRESSORS[kind.removeprefix("tar")])
    return image


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.xz", "zip", "7z", "cpio"])
def test_a_damaged_archive_ends_in_problems_not_in_a_hang(kind: str, tmp_path: Path) -> None:
    content = mutable_archive(kind, tmp_path).read_bytes()
    used = list(range(len(content) // 512))
    paths = [tmp_path / f"{seed}.damaged" for seed in range(100)]
    for seed, path in enumerate(paths):
        path.write_bytes(mutated(content, seed, used)[: None if seed % 5 else len(content) * seed // 100])
    argv = [sys.executable, "-c", CHILD, str(Path(__file__).parent)]
    child = subprocess.run(
        argv, input="\n".join(map(str, paths)) + "\n", capture_output=True, text=True, timeout=120, check=False
    )
    assert child.stderr == ""
    assert child.returncode == 0
    assert len(child.stdout.split()) == len(paths)


def test_the_library_is_not_loaded_for_other_images() -> None:
    code = "import sys, ntt.readers.archive_reader; print(any('archive' in line for line in open('/proc/self/maps')))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
    assert ctypes.CDLL(archive_library.LIBRARY).archive_version_number() > 3_000_000
