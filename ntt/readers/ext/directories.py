"""Linear blocks of an ext directory, parts of which may be unread -> its live entries.

Linux kernel documentation, "ext4 Data Structures and Algorithms", section "Directory Entries".
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from typing import NamedTuple

from ntt.ranges import Ranges, within

_ENTRY = struct.Struct("<IHBB")
HEADER = _ENTRY.size
MOST_KIND = 7
DIRECTORY = 2


class Named(NamedTuple):
    """A name; `kind` is what the directory says it is, 0: it does not. `is_salvaged`: found without the one before."""

    name: bytes
    ino: int
    kind: int
    is_salvaged: bool = False

    @property
    def mode(self) -> int:
        """What to list it as while its inode is not known."""
        return stat.S_IFDIR | 0o755 if self.kind == DIRECTORY else stat.S_IFREG | 0o644


class Form(NamedTuple):
    """How directories of a volume are laid out; `inode_count` is the highest number that an entry can have."""

    block_bytes: int
    has_file_types: bool
    inode_count: int


def directory_entries(content: bytes, form: Form, unread: Ranges = ()) -> tuple[list[Named], int]:
    """Live entries, and how many blocks are broken. `unread` are ranges of `content`: nothing is taken from them.

    Index blocks of a hashed directory look like one empty entry each, so they need no special care. A record that
    contradicts itself ends its block only. Behind an unread part a block is taken up again where all that follows fits.
    """
    found: list[Named] = []
    broken = 0
    for start in range(0, len(content), form.block_bytes):
        end = min(start + form.block_bytes, len(content))
        holes = within(unread, start, end) if unread else ()
        at = start
        while at + HEADER <= end:
            entry, behind = _entry(content, at, end, form)
            if holes and (lost := within(holes, at, _needed(at, entry))):
                at = _resumed_at(content, lost[-1][1], end, form, holes)
                found += _salvaged(content, at, end, form, holes)
                break
            if entry is None:
                broken += 1
                break
            if entry.ino and entry.name:
                found.append(entry)
            at = behind
    return found, broken


def _entry(content: bytes, at: int, end: int, form: Form) -> tuple[Named | None, int]:
    """The record at a place, None if it contradicts itself; and where the next one begins."""
    ino, length, name_bytes, kind = _ENTRY.unpack_from(content, at)
    if not form.has_file_types:
        name_bytes, kind = name_bytes | kind << 8, 0
    if length == 65535 and form.block_bytes == 65536:
        length = 65536
    if length < HEADER or length & 3 or at + length > end or HEADER + name_bytes > length:
        return None, end
    return Named(content[at + HEADER : at + HEADER + name_bytes], ino, kind), at + length


def _needed(at: int, entry: Named | None) -> int:
    """Where the bytes end that had to be read for it."""
    return at + HEADER + (len(entry.name) if entry else 0)


def _salvaged(content: bytes, at: int, end: int, form: Form, holes: Ranges) -> Iterator[Named]:
    while at + HEADER <= end:
        entry, behind = _entry(content, at, end, form)
        if lost := within(holes, at, _needed(at, entry)):
            at = _resumed_at(content, lost[-1][1], end, form, holes)
            continue
        if entry is None:
            return
        if entry.ino and entry.name:
            yield entry._replace(is_salvaged=True)
        at = behind


def _resumed_at(content: bytes, after: int, end: int, form: Form, holes: Ranges) -> int:
    """Where the first chain of sound records behind `after` begins that goes on to the block's end, or to a hole."""
    broken: set[int] = set()  # places from which it does not: whatever leads there does not either
    for start in range(-(-after // 4) * 4, end - HEADER + 1, 4):
        at = start
        while at + HEADER <= end and at not in broken:
            broken.add(at)
            entry, behind = _entry(content, at, end, form)
            if at > start and within(holes, at, _needed(at, entry)):
                return start
            if entry is None or not _is_sound(entry, form) or within(holes, at, _needed(at, entry)):
                break
            at = behind
        if at == end:
            return start
    return end


def _is_sound(entry: Named, form: Form) -> bool:
    if entry.ino == 0 and not entry.name:  # the end of a block, where checksums are kept
        return True
    named = entry.name and entry.ino <= form.inode_count and entry.kind <= MOST_KIND
    return bool(named) and b"/" not in entry.name and b"\0" not in entry.name
