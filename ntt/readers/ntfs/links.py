"""Reparse points and Interix files of NTFS -> links, device nodes, or the reason why a file must not be read."""

from __future__ import annotations

import stat
import struct
from typing import NamedTuple

from ntt.readers.fat.directories import utf8

FLAG_READ_ONLY, FLAG_HIDDEN, FLAG_SYSTEM, FLAG_REPARSE, FLAG_ENCRYPTED = 0x1, 0x2, 0x4, 0x400, 0x4000
FLAGS_TO_KEEP = FLAG_READ_ONLY | FLAG_HIDDEN | FLAG_SYSTEM
TAG_MOUNT_POINT, TAG_SYMLINK, TAG_WSL_LINK = 0xA0000003, 0xA000000C, 0xA000001D
SPECIAL_FILES = {0x80000023: stat.S_IFSOCK, 0x80000024: stat.S_IFIFO}
ELSEWHERE = {  # [MS-FSCC] 2.1.2.1: the unnamed stream of these is empty, sparse or a stub
    0x80000017: "its content is compressed by Windows Overlay (WOF)",
    0x80000013: "its content is deduplicated",
    0xC0000004: "its content was moved to other storage (HSM)",
    0x80000006: "its content was moved to other storage (HSM2)",
}
TAG_CLOUD, CLOUD_MASK = 0x9000001A, 0xFFFF0FFF
INTERIX_LINK, INTERIX_CHARACTER, INTERIX_BLOCK = b"IntxLNK\1", b"IntxCHR\0", b"IntxBLK\0"


class Special(NamedTuple):
    """What a file is instead of a regular one: its type bits (0: still regular), its target, why not to read it."""

    file_type: int
    target: bytes
    refusal: str = ""


def dos_attributes(flags: int) -> tuple[tuple[str, bytes], ...]:
    """[MS-FSCC] 2.6, "File Attributes": all of them, but only of files that are read-only, hidden or the system's."""
    return (("dos.attributes", b"%d" % flags),) if flags & FLAGS_TO_KEEP else ()


def reparse_point(value: bytes) -> Special:
    """[MS-FSCC] 2.1.2, "Reparse Point Data Structures". A target stays as it was written, backslashes included."""
    if len(value) < 8:
        return Special(0, b"", "its reparse point cannot be read")
    (tag,) = struct.unpack_from("<I", value)
    if tag in (TAG_SYMLINK, TAG_MOUNT_POINT) and len(value) >= 16:
        names = value[20 if tag == TAG_SYMLINK else 16 :]
        substitute_at, substitute_bytes, print_at, print_bytes = struct.unpack_from("<HHHH", value, 8)
        target = names[print_at : print_at + print_bytes] or names[substitute_at : substitute_at + substitute_bytes]
        return Special(stat.S_IFLNK, utf8(target[: len(target) & ~1]))
    if tag == TAG_WSL_LINK:
        return Special(stat.S_IFLNK, value[12:])
    if tag & CLOUD_MASK == TAG_CLOUD:
        return Special(0, b"", "its content lies in a cloud store")
    return Special(SPECIAL_FILES.get(tag, 0), b"", ELSEWHERE.get(tag, ""))


def interix_file(content: bytes) -> Special:
    """A file with the system flag that Services for Unix, or ntfs-3g, keeps a link or a device node in."""
    if content[:8] == INTERIX_LINK:
        return Special(stat.S_IFLNK, utf8(content[8 : len(content) & ~1]))
    if content[:8] in (INTERIX_CHARACTER, INTERIX_BLOCK) and len(content) == 24:
        major, minor = struct.unpack_from("<QQ", content, 8)
        kind = stat.S_IFCHR if content[:8] == INTERIX_CHARACTER else stat.S_IFBLK
        return Special(kind, b"%d:%d" % (major, minor))
    return Special(0, b"")


def interix_kind(beginning: bytes) -> Special:
    """As `interix_file`, by the first eight bytes alone: what the rest says is not known."""
    if beginning == INTERIX_LINK:
        return Special(stat.S_IFLNK, b"")
    if beginning in (INTERIX_CHARACTER, INTERIX_BLOCK):
        return Special(stat.S_IFCHR if beginning == INTERIX_CHARACTER else stat.S_IFBLK, b"")
    return Special(0, b"")
