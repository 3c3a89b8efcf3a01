"""What files are read through -> is it still there? Asked in the worker process: a driver may hang."""

from __future__ import annotations

import errno
import os

from ntt.copier.diagnosis import Check

PROBE_BYTES = 512
_GONE = frozenset((errno.ENOENT, errno.ENOTCONN, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.EBADF, errno.ESHUTDOWN))


def mount_health(root_fd: int) -> Check:
    """Of a mount below whose open root directory files are read."""
    try:
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root_fd)
        try:
            with os.scandir(fd) as entries:
                next(entries, None)
        finally:
            os.close(fd)
    except OSError as error:
        return Check.MOUNT_MISSING if error.errno in _GONE else Check.MOUNT_INACCESSIBLE
    return Check.MOUNT_OK


def image_health(fd: int, size_bytes: int, offset_bytes: int) -> Check:
    """Of an image that a reader reads: `size_bytes` is what it had, `offset_bytes` where the volume begins.

    A bad place or two do not make it inaccessible: then nothing of it can be read.
    """
    try:
        # not fstat, which a FUSE server of another user refuses though the file may be read
        if os.lseek(fd, 0, os.SEEK_END) < size_bytes:
            return Check.MOUNT_MISSING
    except OSError as error:
        return Check.MOUNT_MISSING if error.errno in _GONE else Check.MOUNT_INACCESSIBLE
    places = (max(offset_bytes, 0), 0, size_bytes // 4, size_bytes // 2, max(size_bytes - PROBE_BYTES, 0))
    return Check.MOUNT_OK if any(_reads(fd, place) for place in places) else Check.MOUNT_INACCESSIBLE


def _reads(fd: int, place: int) -> bool:
    try:
        return bool(os.pread(fd, PROBE_BYTES, place))
    except OSError:
        return False
