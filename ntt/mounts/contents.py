"""Regular files below a mount: read exactly or not at all, and where they lie in the image."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from ntt.model import Extent, Volume
from ntt.mounts.directories import Directories
from ntt.mounts.fiemap import pieces

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Contents:
    """`placed`: FIEMAP gives places in the volume; elsewhere it may still tell the holes. One file is kept open."""

    def __init__(self, directories: Directories, volume: Volume, placed: bool, device: int | None) -> None:
        self._directories = directories
        self._volume = volume
        self._placed = placed
        self._device = device
        self._located = (-1, b"")
        self._open_ino = -1
        self._fd = -1
        self._size = 0

    def locate(self, ino: int, path: bytes) -> None:
        if (ino, path) != self._located:
            self._let_go()
            self._located = (ino, path)

    def read(self, ino: int, offset: int, length: int) -> bytes:
        fd = self._opened(ino)
        wanted = min(length, self._size - offset)
        if offset < 0 or wanted <= 0:
            return b""
        parts: list[bytes] = []
        missing, at = wanted, offset
        while missing:
            part = os.pread(fd, missing, at)
            if not part:
                raise OSError(errno.EIO, f"it ends after {at:,} bytes where its entry says {self._size:,}")
            parts.append(part)
            missing, at = missing - len(part), at + len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def extents(self, ino: int) -> Sequence[Extent]:
        return self.extents_of(self._opened(ino))

    def extents_of(self, fd: int) -> list[Extent]:
        """Of an open file or directory."""
        size = os.fstat(fd).st_size
        try:
            found = list(pieces(fd, size)) if size else []
        except OSError as error:
            if error.errno in (errno.EIO, errno.EFBIG) and self._placed:
                raise
            return [self._anywhere(0, size)] if size else []
        if size and not found and not self._placed:
            return [self._anywhere(0, size)]  # some answer nothing for what they do not know
        extents: list[Extent] = []
        at = 0
        for piece in found:
            start, end = max(piece.logical, at), min(piece.logical + piece.length, size)
            if start >= end:
                continue
            if at < start:
                extents.append(Extent(at, start - at, -1, start - at))
            extents.append(self._piece(start, end, piece.logical, piece.physical, piece.unwritten))
            at = end
        if at < size:
            extents.append(Extent(at, size - at, -1, size - at))
        return extents

    def _piece(self, start: int, end: int, logical: int, physical: int, unwritten: bool) -> Extent:
        if unwritten:
            return Extent(start, end - start, -1, end - start)
        if physical < 0 or not self._placed:
            return self._anywhere(start, end)
        return Extent(start, end - start, self._volume.offset_bytes + physical + start - logical, end - start)

    def _anywhere(self, start: int, end: int) -> Extent:
        """Lengths that differ say that no byte has a place of its own."""
        room = self._volume.size_bytes
        return Extent(start, end - start, self._volume.offset_bytes, room + 1 if room == end - start else room)

    def first_byte(self, directory_fd: int, name: bytes, status: os.stat_result) -> int:
        """Where the content begins in the image; -1 where there is none, or asking would cost more than it is worth."""
        if not self._placed or not status.st_size or not stat.S_ISREG(status.st_mode):
            return -1
        try:
            fd = os.open(name, _FLAGS, dir_fd=directory_fd)
        except OSError:
            return -1
        try:
            first = next(pieces(fd, status.st_size, 1), None)
        except OSError:
            return -1
        finally:
            os.close(fd)
        return self._volume.offset_bytes + first.physical if first is not None and first.physical >= 0 else -1

    def _opened(self, ino: int) -> int:
        if ino == self._open_ino:
            return self._fd
        located, path = self._located
        if ino != located:
            raise OSError(errno.ENOENT, "its path was not told")
        directory_fd, name = self._directories.holding(path)
        if not stat.S_ISREG(os.stat(name, dir_fd=directory_fd, follow_symlinks=False).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")  # opening another kind might wait for ever
        self._let_go()
        fd = os.open(name, _FLAGS, dir_fd=directory_fd)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or (self._device is not None and status.st_dev != self._device):
            os.close(fd)
            raise OSError(errno.EXDEV, "it is not a regular file of this volume")
        self._fd, self._size, self._open_ino = fd, status.st_size, ino
        return fd

    def _let_go(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size, self._open_ino = -1, 0, -1

    def close(self) -> None:
        self._let_go()
        self._located = (-1, b"")
