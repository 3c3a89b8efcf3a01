"""An open file -> where its file system keeps it. Linux: Documentation/filesystems/fiemap.rst."""

from __future__ import annotations

import errno
import fcntl
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_FS_IOC_FIEMAP = 0xC020660B
_HEAD = struct.Struct("=QQIIII")
_EXTENT = struct.Struct("=QQQ16xI12x")
_AT_ONCE = 128
_LIMIT = 1 << 20  # extents of a file; a corrupt one must not keep a worker busy for ever
_LAST, _UNKNOWN, _DELAYED, _ENCODED, _INLINE, _TAIL, _UNWRITTEN = 1, 2, 4, 8, 0x200, 0x400, 0x800


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a file in one piece. `physical`: from the volume's start, -1 where that is not a plain place.

    `told`: the same as the file system has it, whatever that means there. `packed`: compressed, or else encoded.
    `inline`: beside the inode, or with others in one block.
    """

    logical: int
    length: int
    physical: int
    unwritten: bool
    told: int = -1
    packed: bool = False
    inline: bool = False


def pieces(fd: int, length: int, limit: int = _LIMIT) -> Iterator[Piece]:
    """The written pieces of `[0, length)` in file order, without the holes, at most `limit`.

    OSError where the file system does not say, or says what cannot be.
    """
    at = count = 0
    while at < length and count < limit:
        wanted = min(_AT_ONCE, limit - count)
        request = bytearray(_HEAD.pack(at, length - at, 0, 0, wanted, 0) + bytes(wanted * _EXTENT.size))
        fcntl.ioctl(fd, _FS_IOC_FIEMAP, request)
        mapped = min(_HEAD.unpack_from(request)[3], wanted)
        if not mapped:
            return
        for index in range(mapped):
            logical, physical, size, flags = _EXTENT.unpack_from(request, _HEAD.size + index * _EXTENT.size)
            if logical + size <= at:
                raise OSError(errno.EIO, "the file system lists the parts of this file out of order")
            known = not flags & (_UNKNOWN | _DELAYED)
            packed, inline = bool(flags & _ENCODED), bool(flags & (_INLINE | _TAIL))
            placed = known and not packed and not inline
            yield Piece(
                logical,
                size,
                physical if placed else -1,
                bool(flags & _UNWRITTEN),
                physical if known else -1,
                packed,
                inline,
            )
            at = logical + size
            if flags & _LAST:
                return
        count += mapped
    if at < length and count >= limit > 1:
        raise OSError(errno.EFBIG, f"this file lies in more than {limit:,} parts")
