"""Raw structures of UFS1 and UFS2: inodes by number, and directory blocks -> names.

`struct ufs1_dinode`, `ufs2_dinode` of FreeBSD's sys/ufs/ufs/dinode.h, `struct direct` of dir.h beside it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ntt.ranges import within
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.ufs.superblock import UfsSuperblock

INODE_BYTES = {1: 128, 2: 256}
POINTERS_AT = {1: 40, 2: 112}  # the block pointers, or a short link's target, or a device's number
SHORT_LINK_LIMIT = {1: 60, 2: 120}
DIRECTORY_BLOCK = 512
DIRECTORY_TYPE = 4  # DT_DIR


@dataclass(frozen=True, slots=True)
class UfsInode:
    """Times are seconds and nanoseconds from 1970; `pointers` are the raw bytes of the block pointers."""

    mode: int
    size: int
    mtime_s: int
    mtime_ns: int
    uid: int
    gid: int
    pointers: bytes

    def addresses(self, version: int, order: str) -> tuple[int, ...]:
        """Twelve direct ones and three of indirect blocks, in fragments."""
        return struct.unpack(f"{order}15{'I' if version == 1 else 'Q'}", self.pointers)

    @classmethod
    def parse(cls, raw: bytes, version: int, order: str) -> UfsInode:
        (mode,) = struct.unpack_from(f"{order}H", raw)
        if version == 1:
            (size,) = struct.unpack_from(f"{order}Q", raw, 8)
            seconds, nanoseconds = struct.unpack_from(f"{order}iI", raw, 24)
            uid, gid = struct.unpack_from(f"{order}II", raw, 112)
        else:
            uid, gid = struct.unpack_from(f"{order}II", raw, 4)
            (size,) = struct.unpack_from(f"{order}Q", raw, 16)
            (seconds,) = struct.unpack_from(f"{order}q", raw, 40)
            (nanoseconds,) = struct.unpack_from(f"{order}I", raw, 64)
        start = POINTERS_AT[version]
        pointers = raw[start : start + SHORT_LINK_LIMIT[version]]
        return cls(mode, size, seconds, nanoseconds if nanoseconds < 10**9 else 0, uid, gid, pointers)

    def device(self, version: int, order: str) -> bytes:
        """`major:minor` as NetBSD and Linux pack them: 12 bits and 20 bits."""
        number = self.addresses(version, order)[0]
        return b"%d:%d" % (number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00)


class UfsInodes:
    """Finds inodes in their cylinder groups."""

    def __init__(self, source: ImageSource, offset_bytes: int, superblock: UfsSuperblock) -> None:
        self._source = source
        self._offset_bytes = offset_bytes
        self._superblock = superblock

    def inode(self, ino: int) -> UfsInode:
        """ReadError if there is no such number; an empty inode is returned as it is."""
        version = self._superblock.version
        position = self._superblock.inode_position(ino, INODE_BYTES[version])
        if position < 0:
            raise ReadError(f"there is no inode {ino}")
        start = self._offset_bytes + position
        unread = within(self._source.unread, start, start + INODE_BYTES[version])
        if unread:
            raise ReadError(f"inode {ino} was not read", unread)
        try:
            raw = self._source.read(start, INODE_BYTES[version])
        except (OSError, OverflowError) as error:
            raise ReadError(f"the image cannot be read: {error}") from None
        return UfsInode.parse(raw, version, self._superblock.order)

    def short_link(self, inode: UfsInode) -> bytes | None:
        """The target of a link that stands in its inode; None if it has a block of its own."""
        limit = min(self._superblock.short_link_limit, len(inode.pointers))
        return inode.pointers[: inode.size] if inode.size < limit else None


def directory_names(content: bytes, order: str) -> Iterator[tuple[bytes, int, bool] | str]:
    """(name, inode, whether it is a directory) in directory blocks, `.` and `..` left out.

    A sentence for each block that breaks off.
    """
    for block in range(0, len(content), DIRECTORY_BLOCK):
        end = min(block + DIRECTORY_BLOCK, len(content))
        at = block
        while at + 8 <= end:
            ino, length = struct.unpack_from(f"{order}IH", content, at)
            name_bytes = content[at + 7]
            if length < 8 or length % 4 or at + length > end or 8 + name_bytes > length:
                yield f"broken at byte {at - block} of a block"
                break
            name = content[at + 8 : at + 8 + name_bytes]
            if ino and name not in (b".", b".."):
                yield name, ino, content[at + 6] == DIRECTORY_TYPE
            at += length
