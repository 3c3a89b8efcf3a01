"""Small blobs -> one append-only ustar file per writer, one sync per batch.

Format: POSIX.1-1988 ustar (IEEE Std 1003.1, "pax", ustar interchange format). A member is named by the
64 hex digits of its BLAKE3; mode 0444, owner 0, time 0. An unsealed pack has no end-of-archive blocks
(tar reads it all the same), a sealed one has.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ntt.errors import StoreError
from ntt.store.layout import FILE_MODE, StoreLayout, store_errors, sync_folder

BLOCK_BYTES = 512
_WRITEV_MAX = 1000  # parts; the kernel takes 1,024
_PADDING = bytes(BLOCK_BYTES)
_BEFORE_SIZE = b"\0" * 36 + b"0000444\0" + b"0000000\0" + b"0000000\0"
_AFTER_SUM_PREFIX = b"0" + b"\0" * 100 + b"ustar\x0000"
_AFTER_SUM = _AFTER_SUM_PREFIX + b"\0" * (BLOCK_BYTES - 156 - len(_AFTER_SUM_PREFIX))
_MTIME = b"00000000000\0"
_FIXED_SUM = sum(_BEFORE_SIZE) + sum(_MTIME) + sum(b" " * 8) + sum(_AFTER_SUM)


def member_header(name: bytes, size_bytes: int) -> bytes:
    """The 512-byte ustar header of a member; `name` is 64 ASCII bytes, `size_bytes` below 8 GiB."""
    size = b"%011o\0" % size_bytes
    checksum = _FIXED_SUM + sum(name) + sum(size)
    return b"".join((name, _BEFORE_SIZE, size, _MTIME, b"%06o\0 " % checksum, _AFTER_SUM))


def member_bytes(size_bytes: int) -> int:
    """What a blob takes in a pack: header, content, padding."""
    return BLOCK_BYTES + (size_bytes + BLOCK_BYTES - 1) // BLOCK_BYTES * BLOCK_BYTES


def open_pack(layout: StoreLayout, pack_id: int, at: int) -> int:
    """A descriptor that appends to the pack from `at` on, wherever it is told to write; what lay behind is cut off.

    For a pack that no one else writes. StoreError if it does not even reach that far.
    """
    path = layout.pack_path(pack_id)
    with store_errors(path):
        fd = _open_for_writing(path, os.O_APPEND)
        try:
            held = os.fstat(fd).st_size
            if held < at:  # never filled up with zeros: that would hide what is lost
                raise StoreError(f"{path} has {held:,} bytes, {at:,} were stored in it", "run `ntt audit`")
            os.ftruncate(fd, at)
        except BaseException:
            os.close(fd)
            raise
    return fd


class PackWriter:
    """Appends to one pack that no one else writes, through `fd` of `open_pack`, which it closes in the end.

    `where` is how errors call it.
    """

    def __init__(self, fd: int, where: str) -> None:
        self._fd = fd
        self._where = where

    def append(self, blobs: Sequence[tuple[bytes, bytes]]) -> None:
        """(hash, content) pairs, one behind the other, each taking `member_bytes`; durable only after `sync`."""
        parts: list[bytes] = []
        for blob_hash, content in blobs:
            parts.append(member_header(blob_hash.hex().encode(), len(content)))
            parts.append(content)
            if len(content) % BLOCK_BYTES:
                parts.append(_PADDING[len(content) % BLOCK_BYTES :])
        with store_errors(self._where):
            _write_all(self._fd, parts)

    def sync(self) -> None:
        with store_errors(self._where):
            os.fdatasync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def _open_for_writing(path: Path, how: int = 0) -> int:
    flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | how
    try:
        fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, FILE_MODE)
    except FileExistsError:
        path.chmod(0o644)  # its owner may not be root
        try:
            fd = os.open(path, flags)
        finally:
            path.chmod(FILE_MODE)
        return fd
    os.fchmod(fd, FILE_MODE)
    sync_folder(path.parent)
    return fd


def cut(layout: StoreLayout, pack_id: int, at: int) -> int:
    """Cuts off what was never committed; how many bytes that were. Nothing happens when the pack has no file."""
    path = layout.pack_path(pack_id)
    with store_errors(path):
        extra = path.stat().st_size - at if path.exists() else 0
        if extra > 0:
            fd = _open_for_writing(path)
            try:
                os.ftruncate(fd, at)
            finally:
                os.close(fd)
    return max(extra, 0)


def _write_all(fd: int, parts: Sequence[bytes]) -> None:
    for first in range(0, len(parts), _WRITEV_MAX):
        group = parts[first : first + _WRITEV_MAX]
        written = os.pwritev(fd, group, 0)  # the kernel appends, whatever the offset
        if written < sum(map(len, group)):  # a nearly full disk writes a part; the rest then names the error
            rest = memoryview(b"".join(group))[written:]
            while rest:
                rest = rest[os.pwrite(fd, rest, 0) :]


def seal(layout: StoreLayout, pack_id: int, at: int) -> None:
    """Ends a pack for good: end-of-archive blocks behind its last member, durable on return."""
    path = layout.pack_path(pack_id)
    with store_errors(path):
        fd = _open_for_writing(path)
        try:
            os.ftruncate(fd, at)
            os.pwrite(fd, bytes(2 * BLOCK_BYTES), at)
            os.fdatasync(fd)
        finally:
            os.close(fd)
