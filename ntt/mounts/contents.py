"""Regular files below a mount: read exactly or not at all, and where they lie in the image."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from typing import Protocol

from ntt.model import Extent, Volume
from ntt.mounts.directories import Directories
from ntt.mounts.fiemap import Piece, pieces
from ntt.ranges import Range, Ranges, normalised, within

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CHECKED_BYTES = 4096  # what has a checksum of its own, or a page: of less it cannot be told which byte is lost


class Places(Protocol):
    """Knows more of where a file system keeps its files than FIEMAP tells."""

    def extents(self, fd: int, piece: Piece, start: int, end: int) -> list[Extent] | None: ...


class Contents:
    """`placed`: FIEMAP gives places in the volume; elsewhere it may still tell the holes. One file is kept open.

    What the driver does not give for want of `unread` bytes of the image is zeros, and is in `blanked`.
    """

    def __init__(
        self,
        directories: Directories,
        volume: Volume,
        placed: bool,
        device: int | None,
        places: Places | None = None,
        unread: Ranges = (),
    ) -> None:
        self._directories = directories
        self._volume = volume
        self._placed = placed
        self._device = device
        self._places = places
        self._unread = unread
        self._blanked: list[Range] = []
        self._located = (-1, b"")
        self._open_ino = -1
        self._fd = -1
        self._size = 0

    def locate(self, ino: int, path: bytes) -> None:
        if (ino, path) != self._located:
            self._let_go()
            self._located = (ino, path)
            self._blanked = []

    @property
    def blanked(self) -> Ranges:
        """Of the file that was located last."""
        return normalised(self._blanked)

    def read(self, ino: int, offset: int, length: int) -> bytes:
        fd = self._opened(ino)
        wanted = min(length, self._size - offset)
        if offset < 0 or wanted <= 0:
            return b""
        parts: list[bytes] = []
        missing, at = wanted, offset
        while missing:
            try:
                part = os.pread(fd, missing, at)
            except OSError as error:
                part = self._blank(fd, at, missing)
                if error.errno != errno.EIO or not part:
                    raise
            if not part:
                raise OSError(errno.EIO, f"it ends after {at:,} bytes where its entry says {self._size:,}")
            parts.append(part)
            missing, at = missing - len(part), at + len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _blank(self, fd: int, at: int, length: int) -> bytes:
        """Zeros for what cannot be read at this place of a file if it lies on unread bytes; else nothing."""
        if not self._unread:
            return b""
        first = at - at % _CHECKED_BYTES
        end = min(first + _CHECKED_BYTES, at + length)
        for extent in self.extents_of(fd):
            low, high = max(first, extent.file_offset), min(end, extent.file_offset + extent.file_length)
            if low >= high or extent.image_offset < 0:
                continue
            place, room = extent.image_offset, extent.image_length
            if not extent.vague and extent.file_length == extent.image_length:
                place, room = place + low - extent.file_offset, high - low
            if within(self._unread, place, place + room):
                self._blanked.append((at, end))
                return bytes(end - at)
        return b""

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
            extents.extend(self._piece(fd, piece, start, end))
            at = end
        if at < size:
            extents.append(Extent(at, size - at, -1, size - at))
        return extents

    def _piece(self, fd: int, piece: Piece, start: int, end: int) -> list[Extent]:
        if piece.unwritten:
            return [Extent(start, end - start, -1, end - start)]
        if self._places is not None:
            return self._places.extents(fd, piece, start, end) or [self._anywhere(start, end)]
        if piece.physical < 0 or not self._placed:
            return [self._anywhere(start, end)]
        place = self._volume.offset_bytes + piece.physical + start - piece.logical
        return [Extent(start, end - start, place, end - start)]

    def _anywhere(self, start: int, end: int) -> Extent:
        return Extent(start, end - start, self._volume.offset_bytes, self._volume.size_bytes, vague=True)

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
