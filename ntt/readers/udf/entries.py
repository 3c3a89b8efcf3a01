"""A block that holds a file entry -> what it says of the file (ECMA-167, 4/14.9 and 4/14.17; UDF 2.3.6)."""

from __future__ import annotations

import stat
import struct

import msgspec

from ntt.readers.base import ReadError
from ntt.readers.udf.tags import EXTENDED_FILE_ENTRY, FILE_ENTRY, tag_kind, timestamp

SHORT_ADS, LONG_ADS, EXTENDED_ADS, EMBEDDED = 0, 1, 2, 3
DIRECTORY, BLOCK_DEVICE, CHARACTER_DEVICE, SYMLINK, STREAM_DIRECTORY, VAT_FILE = 4, 6, 7, 12, 13, 248
_FLAG_SET_UID, _FLAG_SET_GID, _FLAG_STICKY, _FLAG_TRANSFORMED = 1 << 6, 1 << 7, 1 << 8, 1 << 11
_LONG_AD = struct.Struct("<IIH")
_LARGEST_BYTES = 1 << 62
_NOBODY = 0xFFFFFFFF  # UDF 2.3.6.1: no owner is said
_FORMATS = {
    0: stat.S_IFREG,
    DIRECTORY: stat.S_IFDIR,
    5: stat.S_IFREG,
    BLOCK_DEVICE: stat.S_IFBLK,
    CHARACTER_DEVICE: stat.S_IFCHR,
    9: stat.S_IFIFO,
    10: stat.S_IFSOCK,
    SYMLINK: stat.S_IFLNK,
    STREAM_DIRECTORY: stat.S_IFDIR,
    249: stat.S_IFREG,  # real-time file, UDF 2.3.5.2.1
}
# strategy, file type, flags, uid, gid, permissions, link count, information length
_HEAD = struct.Struct("<20xH5xB6xHIIIH6xQ")
# modification time, unique id, lengths of attributes and allocation descriptors
_PLAIN = struct.Struct("<84x12s64xQII")
_EXTENDED = struct.Struct("<92x12s96xQII")


class LongAd(msgspec.Struct, frozen=True, gc=False):
    """ECMA-167, 4/14.14.2: `size_bytes` 0 means that there is nothing."""

    size_bytes: int
    block: int
    partition: int

    @classmethod
    def parse(cls, raw: bytes, at: int = 0) -> LongAd:
        size_bytes, block, partition = _LONG_AD.unpack_from(raw, at)
        return cls(size_bytes & 0x3FFFFFFF, block, partition) if size_bytes else NOTHING

    @property
    def ino(self) -> int:
        return ino_of(self.partition, self.block)


def ino_of(partition: int, block: int) -> int:
    """Where a file's first ICB entry lies, as one number that leads back to it."""
    return partition << 32 | block


NOTHING = LongAd(0, 0, 0)


class FileEntry(msgspec.Struct, frozen=True, gc=False):
    """`position`, `allocation_at`: image bytes where the entry and its allocation descriptors (or content) begin."""

    partition: int
    block: int
    position: int
    strategy: int
    file_type: int
    flags: int
    uid: int
    gid: int
    mode: int
    links: int
    size: int
    modified: bytes
    unique_id: int
    attributes: bytes
    attribute_icb: LongAd
    stream_icb: LongAd
    allocation: bytes
    allocation_at: int

    @property
    def descriptor_kind(self) -> int:
        return self.flags & 7

    @property
    def is_transformed(self) -> bool:
        return bool(self.flags & _FLAG_TRANSFORMED)

    @property
    def mtime(self) -> tuple[int, int]:
        """(0, 0) where the entry holds no time."""
        return timestamp(self.modified) or (0, 0)


def file_entry(raw: bytes, partition: int, block: int, position: int) -> FileEntry:
    """The entry in a logical block; ReadError if there is none, or one that contradicts itself."""
    kind = tag_kind(raw, block)
    if kind not in (FILE_ENTRY, EXTENDED_FILE_ENTRY):
        raise ReadError(f"no file entry stands in block {block} of partition {partition}")
    strategy, file_type, flags, uid, gid, permissions, links, size = _HEAD.unpack_from(raw)
    if kind == FILE_ENTRY:
        modified, unique_id, attribute_bytes, allocation_bytes = _PLAIN.unpack_from(raw)
        begin, attribute_icb, stream_icb = 176, LongAd.parse(raw, 112), NOTHING
    else:
        modified, unique_id, attribute_bytes, allocation_bytes = _EXTENDED.unpack_from(raw)
        begin, attribute_icb, stream_icb = 216, LongAd.parse(raw, 136), LongAd.parse(raw, 152)
    allocation_begin = begin + attribute_bytes
    if allocation_begin + allocation_bytes > len(raw):
        raise ReadError("its file entry claims more than its block holds")
    if size >= _LARGEST_BYTES:
        raise ReadError(f"it claims an impossible size ({size} bytes)")
    return FileEntry(
        partition,
        block,
        position,
        strategy,
        file_type,
        flags,
        0 if uid == _NOBODY else uid,
        0 if gid == _NOBODY else gid,
        _mode(file_type, permissions, flags),
        links,
        size,
        modified,
        unique_id,
        raw[begin:allocation_begin],
        attribute_icb,
        stream_icb,
        raw[allocation_begin : allocation_begin + allocation_bytes],
        position + allocation_begin,
    )


def _mode(file_type: int, permissions: int, flags: int) -> int:
    """ECMA-167, 4/14.9.5: five bits each for others, group and owner, the lower three as in Unix. 0: no such type."""
    kind = _FORMATS.get(file_type, 0)
    mode = permissions & 0o7 | permissions >> 2 & 0o70 | permissions >> 4 & 0o700
    if flags & _FLAG_SET_UID:
        mode |= stat.S_ISUID
    if flags & _FLAG_SET_GID:
        mode |= stat.S_ISGID
    if flags & _FLAG_STICKY:
        mode |= stat.S_ISVTX
    return kind | mode if kind else 0
