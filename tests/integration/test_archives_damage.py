"""Archives that are cut, damaged, huge or hostile: what is sound is read, what is not is said, nothing hangs."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest
from archive_images import (
    COMPRESSORS,
    archive_of,
    content_of,
    listed,
    small_tree,
    tar_of,
    volume_of,
)
from disk_images import noise, opened, paths_below, run
from test_mutated_images import mutated

from ntt.readers.archives import library as archive_library
from ntt.readers.archives.reader import open_archive
from ntt.readers.base import ReadError

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
    code = "import sys, ntt.readers.archives.reader; print(any('archive' in line for line in open('/proc/self/maps')))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
    assert ctypes.CDLL(archive_library.LIBRARY).archive_version_number() > 3_000_000
