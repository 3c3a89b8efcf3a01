"""Archives as images: opened by the reader, looked at member by member."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from disk_images import Walked, bytes_at, noise, opened, paths_below, run

from ntt.model import Entry, Route, Volume, VolumeStatus, WalkProblem
from ntt.ranges import Ranges
from ntt.readers.archives.reader import ArchiveReader, open_archive
from ntt.readers.base import ImageSource, ReadError


def volume_of(source: ImageSource) -> Volume:
    return Volume(0, "archive", 0, source.size_bytes, "archive", Route.ARCHIVE, VolumeStatus.READ)


@contextmanager
def archive_of(
    image: Path, unread: Ranges = (), advance: Callable[[int], None] = lambda _: None
) -> Iterator[tuple[ImageSource, ArchiveReader]]:
    with opened(image, unread) as source, closing(open_archive(source, volume_of(source), advance)) as reader:
        yield source, reader


def listed(reader: ArchiveReader) -> tuple[Walked, str]:
    """The whole walk, and why it ended early (empty: it did not)."""
    paths: dict[int, bytes] = {}
    entries: dict[bytes, Entry] = {}
    found: list[Entry] = []
    problems: list[WalkProblem] = []
    ended_by = ""
    try:
        for met in reader.walk():
            if isinstance(met, WalkProblem):
                problems.append(met)
                continue
            found.append(met)
            parent = b"" if met.ino == met.parent_ino else paths[met.parent_ino]
            path = parent + b"/" + met.name if parent else met.name
            if met.is_directory:
                paths[met.ino] = path
            entries[path] = met
    except ReadError as error:
        ended_by = str(error)
    return Walked(entries, tuple(found), tuple(problems)), ended_by


def content_of(reader: ArchiveReader, entry: Entry, piece: int = 1 << 20) -> bytes:
    """As the copier reads: in pieces up to the stated size, an empty file once."""
    parts = [reader.read(entry.ino, at, min(piece, entry.size - at)) for at in range(0, max(entry.size, 1), piece)]
    return b"".join(parts)


def small_tree(root: Path) -> Path:
    """Folders, an empty file, files below and above a block, a link."""
    (root / "folder" / "deeper").mkdir(parents=True)
    (root / "empty folder").mkdir()
    contents = {
        "a.txt": b"a\n",
        "empty": b"",
        "folder/text": b"".join(b"%d, " % number for number in range(30_000)),
        "folder/noise.bin": noise(300_001),
        "folder/deeper/Größe.txt": b"latin",
        "large.bin": noise(2_500_003, 3),
        "zzz": b"the last",
    }
    for index, (name, content) in enumerate(contents.items()):
        (root / name).write_bytes(content)
        os.utime(root / name, (0, 1_100_000_000 + 2 * index))
    (root / "link").symlink_to("folder/text")
    return root


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
