"""A slice of the image -> a private sparse file that holds it, as long as the slice claims to be.

For drivers that want a whole volume where the image ends too early, and for those that take no offset.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress

from ntt.mounts.syscalls import clone_range

_BLOCK_BYTES = 4096
_PIECE_BYTES = 1 << 20


def copy_slice(image_fd: int, offset_bytes: int, size_bytes: int, target_fd: int, reserve_bytes: int) -> None:
    """What the image has of `[offset, offset+size)` goes to `target_fd`, the rest of it reads as zeros.

    Shares blocks with the image where the file system can. OSError (ENOSPC) when the copy would leave less than
    `reserve_bytes` free; nothing was copied then.
    """
    os.ftruncate(target_fd, size_bytes)
    there = min(os.fstat(image_fd).st_size, offset_bytes + size_bytes) - offset_bytes
    if there <= 0:
        return
    shared = there // _BLOCK_BYTES * _BLOCK_BYTES
    try:
        clone_range(image_fd, offset_bytes, shared, target_fd)
    except OSError:
        shared = 0
    parts = list(_written(image_fd, offset_bytes + shared, offset_bytes + there))
    needed = sum(end - start for start, end in parts)
    state = os.fstatvfs(target_fd)
    free = state.f_bavail * state.f_frsize
    if needed + reserve_bytes > free:
        raise OSError(errno.ENOSPC, f"a copy takes {needed:,} bytes and {free:,} are free")
    for start, end in parts:
        _copy(image_fd, start, end, target_fd, start - offset_bytes)


def _written(image_fd: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Without the holes of the image, as far as its file system tells them."""
    at = start
    while at < end:
        try:
            begins = os.lseek(image_fd, at, os.SEEK_DATA)
            ends = os.lseek(image_fd, begins, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:  # no data from here on
                yield at, end
            return
        if begins < end:
            yield begins, min(ends, end)
        at = ends


def _copy(image_fd: int, start: int, end: int, target_fd: int, to: int) -> None:
    while start < end:
        copied = 0
        with suppress(OSError):
            copied = os.copy_file_range(image_fd, target_fd, min(end - start, 1 << 30), start, to)
        if not copied:
            part = os.pread(image_fd, min(end - start, _PIECE_BYTES), start)
            if not part:
                return  # the image became shorter: zeros, as at its end
            copied = os.pwrite(target_fd, part, to)
        start, to = start + copied, to + copied
