"""The archive reader against the trees that tar, cpio, 7z and the compressors packed."""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import subprocess
import tarfile
import zlib
from pathlib import Path

import pytest
from archive_images import (
    COMPRESSORS,
    archive_of,
    assert_content,
    assert_tree,
    content_of,
    listed,
    small_tree,
    tar_of,
)
from disk_images import noise, paths_below, run, unix_tree

from ntt.readers.base import ReadError

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


# ---------------------------------------------------------------- cpio, ar, rar


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


def test_a_stored_rar_member_is_read(tmp_path: Path) -> None:
    image = rar_of(tmp_path / "image.rar", b"folder\\name.bin", noise(50_000))
    with archive_of(image) as (_, reader):
        found, ended_by = listed(reader)
        assert (found.problems, ended_by) == ((), "")
        (entry,) = [entry for entry in found.all_entries if entry.is_regular]
        assert (entry.name, entry.size, entry.mode) == (b"name.bin", 50_000, 0o100640)
        assert content_of(reader, entry) == noise(50_000)


# ---------------------------------------------------------------- 7z


@pytest.mark.parametrize("options", [("-ms=on",), ("-ms=off",), ("-m0=PPMd",), ("-m0=BZip2",), ("-m0=Copy",)])
def test_a_7z_is_its_tree(options: tuple[str, ...], tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    image = tmp_path / "image.7z"
    subprocess.run(["7zz", "a", "-snl", *options, str(image), "."], cwd=tree, check=True, capture_output=True)
    with archive_of(image) as (source, reader):
        assert_tree(source, reader, tree, has_owners=False)


def test_a_wrong_byte_in_a_7z_is_told_by_its_checksum_and_the_others_are_read(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    image = tmp_path / "image.7z"
    run("7zz", "a", "-m0=Copy", image, tree / "large.bin", tree / "folder" / "noise.bin", tree / "zzz")
    raw = bytearray(image.read_bytes())
    raw[raw.index(noise(300_001)[-9:])] ^= 1
    image.write_bytes(raw)
    with archive_of(image) as (_, reader):
        entries = listed(reader)[0].entries
        with pytest.raises(ReadError, match="CRC"):
            content_of(reader, entries[b"noise.bin"])
        assert content_of(reader, entries[b"large.bin"]) == noise(2_500_003, 3)
        assert content_of(reader, entries[b"zzz"]) == b"the last"


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
