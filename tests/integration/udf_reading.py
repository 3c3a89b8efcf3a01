"""UDF volumes as the reader here sees them, and as libudfread and udfinfo do."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from disk_images import Walked, bytes_at, run, walked

from ntt.model import Route, Volume, VolumeStatus
from ntt.ranges import Ranges
from ntt.readers.base import ImageSource
from ntt.readers.udf.reader import UdfReader

DIRECTORY_KIND = 1  # of libudfread


@contextmanager
def udf(image: Path, unread: Ranges = (), offset: int = 0, session: int = 0) -> Iterator[tuple[ImageSource, UdfReader]]:
    """The volume that begins at `offset` and reaches to the end of the image."""
    fd = os.open(image, os.O_RDONLY)
    try:
        source = ImageSource(fd, unread)
        size = source.size_bytes - offset
        volume = Volume(0, "none", offset, size, "udf", Route.UDF, VolumeStatus.READ, session_bytes=session)
        with closing(UdfReader(source, volume)) as reader:
            yield source, reader
    finally:
        os.close(fd)


def listing(image: Path, unread: Ranges = ()) -> Walked:
    with udf(image, unread) as (_, reader):
        return walked(reader)


def contents(image: Path) -> dict[bytes, bytes]:
    """Every regular file's content, read by a reader that never walked, and once more through its extents."""
    found: dict[bytes, bytes] = {}
    entries = listing(image).entries
    with udf(image) as (source, reader):
        for path, entry in sorted(entries.items(), reverse=True):
            if not entry.is_regular:
                continue
            found[path] = reader.read(entry.ino, 0, entry.size)
            extents = reader.extents(entry.ino)
            assert bytes_at(source, extents) == found[path], path
            recorded = [extent.image_offset for extent in extents if extent.image_offset >= 0]
            assert entry.first_byte == (recorded[0] if recorded else -1), path
            middle, length = entry.size // 3, entry.size // 2
            assert reader.read(entry.ino, middle, length) == found[path][middle : middle + length], path
    return found


def udfinfo(image: Path) -> dict[str, str]:
    """Program of udftools: name=value lines."""
    lines = run("udfinfo", "--utf8", image).splitlines()
    return dict(line.partition("=")[::2] for line in lines if not line.startswith("start="))


class _Dirent(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_uint), ("name", ctypes.c_char_p))


def by_libudfread(image: Path) -> dict[bytes, bytes | None]:
    """Path -> content, None of a directory."""
    library = ctypes.CDLL("libudfread.so.0")
    for name in ("init", "opendir", "readdir", "file_open"):
        getattr(library, f"udfread_{name}").restype = ctypes.c_void_p
    library.udfread_file_size.restype = ctypes.c_int64
    library.udfread_file_read.restype = ctypes.c_ssize_t
    volume = ctypes.c_void_p(library.udfread_init())
    try:
        assert library.udfread_open(volume, os.fsencode(image)) == 0
        found: dict[bytes, bytes | None] = {}
        pending = [b""]
        while pending:
            folder = pending.pop()
            opened = ctypes.c_void_p(library.udfread_opendir(volume, folder or b"/"))
            assert opened, folder
            dirent = _Dirent()
            while library.udfread_readdir(opened, ctypes.byref(dirent)):
                path = folder + b"/" + dirent.name
                if dirent.name in (b".", b".."):
                    continue
                if dirent.kind == DIRECTORY_KIND:
                    found[path[1:]] = None
                    pending.append(path)
                else:
                    found[path[1:]] = _content(library, volume, path)
            library.udfread_closedir(opened)
        return found
    finally:
        library.udfread_close(volume)


def _content(library: ctypes.CDLL, volume: ctypes.c_void_p, path: bytes) -> bytes:
    opened = ctypes.c_void_p(library.udfread_file_open(volume, path))
    assert opened, path
    size = library.udfread_file_size(opened)
    buffer = ctypes.create_string_buffer(max(size, 1))
    at = 0
    while at < size:
        got = library.udfread_file_read(opened, ctypes.byref(buffer, at), size - at)
        assert got > 0, path
        at += got
    library.udfread_file_close(opened)
    return buffer.raw[:size]
