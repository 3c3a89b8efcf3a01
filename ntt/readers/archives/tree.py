"""Members in any order -> folders: every path component finds its parent, whether the archive lists it or not."""

from __future__ import annotations

import stat
from array import array
from typing import NamedTuple

from ntt.readers.archives.members import Member
from ntt.readers.base import ReadError

ROOT = 0  # number of a folder in the tree, not an inode number
ROOT_INO, FIRST_INO, LOST_INO, IMPLIED_INO = 1, 2, 1 << 59, 1 << 60
FOLDER_LIMIT = 3_000_000
BUCKETS = 256
IMPLIED_MODE = stat.S_IFDIR | 0o755


class Folder(NamedTuple):
    """A folder as its record has it, or, without one, as its members' paths imply it."""

    ino: int
    parent: int
    name: bytes
    mode: int = IMPLIED_MODE
    mtime_s: int = 0
    mtime_ns: int = 0
    uid: int = 0
    gid: int = 0


class Tree:
    """The folders of an archive. A name is what stands between slashes; empty ones and `.` name nothing."""

    def __init__(self) -> None:
        self.folders = [Folder(ROOT_INO, ROOT, b"")]
        self._numbers: dict[tuple[int, bytes], int] = {}

    def folder(self, names: list[bytes]) -> int:
        """The folder's number; what of it is not there yet is made. ReadError when there are too many."""
        number = ROOT
        for name in names:
            key = (number, name)
            found = self._numbers.get(key)
            if found is None:
                if len(self.folders) >= FOLDER_LIMIT:
                    raise ReadError(f"the archive implies more than {FOLDER_LIMIT:,} folders")
                found = self._numbers[key] = len(self.folders)
                self.folders.append(Folder(IMPLIED_INO + found, number, name))
            number = found
        return number

    def known(self, names: list[bytes]) -> int:
        """The number of a folder that is there; KeyError if it is not."""
        number = ROOT
        for name in names:
            number = self._numbers[number, name]
        return number

    def describe(self, number: int, member: Member) -> None:
        """The last record of a folder is what unpacking would leave; its inode number is that of the first."""
        before = self.folders[number]
        ino = member.ordinal + FIRST_INO if before.ino >= IMPLIED_INO else before.ino
        self.folders[number] = Folder(
            ino, before.parent, before.name, member.mode, member.mtime_s, member.mtime_ns, member.uid, member.gid
        )


def names_of(path: bytes) -> list[bytes]:
    """`..` stays a name: below the root it can lead nowhere."""
    return [name for name in path.split(b"/") if name not in (b"", b".")]


class NameCount:
    """Which names stand more than once in their folder: eight bytes for each name while counting."""

    def __init__(self) -> None:
        self._buckets = [array("q") for _ in range(BUCKETS)]

    def add(self, folder: int, name: bytes) -> None:
        code = hash((folder, name))
        self._buckets[code % BUCKETS].append(code)

    def repeated(self) -> frozenset[int]:
        """The codes (`hash((folder, name))`) that were added more than once; the counting ends with that."""
        found: set[int] = set()
        for index, bucket in enumerate(self._buckets):
            before = None
            for code in sorted(bucket):
                if code == before:
                    found.add(code)
                before = code
            self._buckets[index] = array("q")
        return frozenset(found)
