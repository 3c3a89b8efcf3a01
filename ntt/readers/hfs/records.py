"""Catalog records of HFS and HFS+ -> one shape for both: names, numbers, modes, times, forks.

HFS: Inside Macintosh: Files, 2-70 to 2-74. HFS+: Technical Note TN1150, "Catalog File".
"""

from __future__ import annotations

import stat
import struct
from typing import NamedTuple, Protocol

from ntt.readers.base import ReadError
from ntt.readers.hfs.btree import Key
from ntt.readers.hfs.forks import NO_FORK, Fork, Pieces

FOLDER, FILE, FOLDER_THREAD, FILE_THREAD = 1, 2, 3, 4
ROOT_PARENT, ROOT = 1, 2
FROM_1904_TO_1970 = 2_082_844_800
BINARY_COMPARE = 0xBC  # HFSX whose names differ by case
IN_CHAIN = 0x20  # kHFSHasLinkChainMask, in the record's flags
COMPRESSED = 0x20  # UF_COMPRESSED, in the owner's flags
FILE_MODE, FOLDER_MODE, LINK_MODE = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777
LINK_TYPE, HARD_LINK_TYPE, FOLDER_LINK_TYPE = b"slnkrhap", b"hlnkhfs+", b"fdrpMACS"
FILE_FORMATS = (stat.S_IFREG, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK)


class CatalogRecord(NamedTuple):
    """A folder or file. `name` is the key's, as on the medium; `finder` its 32 bytes, type and creator first.

    `special`: the device number, or the number of the indirect node that a hard link stands for; of a folder
    how many entries it holds.
    """

    is_folder: bool
    parent: int
    name: bytes
    ino: int
    mode: int
    uid: int
    gid: int
    special: int
    owner_flags: int
    mtime_s: int
    finder: bytes
    data: Fork = NO_FORK
    resource: Fork = NO_FORK
    is_linked: bool = False

    @property
    def is_hard_link(self) -> bool:
        """It stands for a file in the private folder; classic HFS, which has no such thing, has 0 as `special`."""
        return not self.is_folder and self.finder[:8] == HARD_LINK_TYPE and self.special != 0

    @property
    def is_folder_link(self) -> bool:
        """The Finder's aliases have the same type, but belong to no chain of links."""
        return not self.is_folder and self.is_linked and self.finder[:8] == FOLDER_LINK_TYPE


class Format(Protocol):
    """How one of the two file systems writes its records. Everything raises ReadError for what is too short."""

    def key_of(self, record: bytes) -> Key:
        """(parent, folded name, 0); names are folded nearly as the file system does it: verify what is found."""
        ...

    def key(self, parent: int, name: bytes) -> Key: ...

    def split(self, record: bytes) -> tuple[int, bytes, bytes]:
        """Parent, name as on the medium, and the data behind the key."""
        ...

    def kind(self, data: bytes) -> int: ...

    def entry(self, parent: int, name: bytes, data: bytes) -> CatalogRecord:
        """Of a FOLDER or FILE."""
        ...

    def thread(self, data: bytes) -> tuple[int, bytes]:
        """Parent and name that a thread record holds."""
        ...

    def shown(self, name: bytes) -> bytes:
        """A name as NTT lists it."""
        ...


def unix_time(seconds: int) -> int:
    """Seconds from 1904; 0 means that no time was set and stays 0."""
    return seconds - FROM_1904_TO_1970 if seconds else 0


def checked(data: bytes, length: int) -> bytes:
    if len(data) < length:
        raise ReadError("a catalog record is cut short")
    return data


class HfsFormat:
    """Classic HFS: names are MacRoman bytes and stay so, but for `/`, which becomes `:` as on macOS and Linux."""

    def key_of(self, record: bytes) -> Key:
        parent, name, _ = self.split(record)
        return parent, name.lower(), 0

    def key(self, parent: int, name: bytes) -> Key:
        return parent, name.lower(), 0

    def split(self, record: bytes) -> tuple[int, bytes, bytes]:
        if len(record) < 8 or record[0] < 6 or 7 + record[6] > min(len(record), 1 + record[0]):
            raise ReadError("a catalog key is damaged")
        return int.from_bytes(record[2:6], "big"), record[7 : 7 + record[6]], record[(2 + record[0]) & ~1 :]

    def kind(self, data: bytes) -> int:
        return checked(data, 2)[0]

    def entry(self, parent: int, name: bytes, data: bytes) -> CatalogRecord:
        if self.kind(data) == FOLDER:
            checked(data, 70)
            ino, _, modified = struct.unpack_from(">III", data, 6)
            finder = data[22:54]
            return CatalogRecord(True, parent, name, ino, FOLDER_MODE, 0, 0, 0, 0, unix_time(modified), finder)
        checked(data, 102)
        ino, _, size = struct.unpack_from(">IHI", data, 20)
        _, resource_size = struct.unpack_from(">HI", data, 34)
        (modified,) = struct.unpack_from(">I", data, 48)
        data_fork = Fork(size, short_pieces(data, 74))
        resource = Fork(resource_size, short_pieces(data, 86))
        finder = data[4:20] + data[56:72]
        mtime = unix_time(modified)
        return CatalogRecord(False, parent, name, ino, FILE_MODE, 0, 0, 0, 0, mtime, finder, data_fork, resource)

    def thread(self, data: bytes) -> tuple[int, bytes]:
        name_end = 15 + checked(data, 15)[14]
        return int.from_bytes(data[10:14], "big"), checked(data, name_end)[15:name_end]

    def shown(self, name: bytes) -> bytes:
        return name.replace(b"/", b":")


class HfsPlusFormat:
    """HFS+ and HFSX: UTF-16 names become UTF-8, decomposed as they are; `/` becomes `:` as on macOS and Linux."""

    _COMMON = struct.Struct(">2xHII4xI12xIIxBHI32s")

    def __init__(self) -> None:
        self.binary = False  # set when the catalog's header says so

    def key_of(self, record: bytes) -> Key:
        parent, name, _ = self.split(record)
        return parent, self._folded(name), 0

    def key(self, parent: int, name: bytes) -> Key:
        return parent, self._folded(name), 0

    def _folded(self, name: bytes) -> bytes:
        if self.binary or not name:
            return name
        text = name.decode("utf-16-be", "surrogatepass").lower().replace("\0", "\uffff")  # NUL sorts last, TN1150
        return text.encode("utf-16-be", "surrogatepass")

    def split(self, record: bytes) -> tuple[int, bytes, bytes]:
        key_bytes = int.from_bytes(record[:2], "big")
        name_end = 8 + 2 * int.from_bytes(record[6:8], "big")
        if len(record) < 8 or key_bytes < 6 or name_end > min(len(record), 2 + key_bytes):
            raise ReadError("a catalog key is damaged")
        return int.from_bytes(record[2:6], "big"), record[8:name_end], record[2 + key_bytes :]

    def kind(self, data: bytes) -> int:
        return int.from_bytes(checked(data, 2)[:2], "big")

    def entry(self, parent: int, name: bytes, data: bytes) -> CatalogRecord:
        is_folder = self.kind(data) == FOLDER
        checked(data, 88 if is_folder else 248)
        chain, valence, ino, modified, uid, gid, flags, mode, special, finder = self._COMMON.unpack_from(data)
        if is_folder:
            mode = stat.S_IFDIR | mode & 0o7777 if mode else FOLDER_MODE
            mtime = unix_time(modified)
            return CatalogRecord(True, parent, name, ino, mode, uid, gid, valence, flags, mtime, finder)
        if finder[:8] == LINK_TYPE and not stat.S_ISLNK(mode):
            mode = LINK_MODE
        elif not mode:
            mode = FILE_MODE
        elif stat.S_IFMT(mode) not in FILE_FORMATS:
            mode = stat.S_IFREG | mode & 0o7777
        more = plus_fork(data, 88), plus_fork(data, 168), bool(chain & IN_CHAIN)
        mtime = unix_time(modified)
        return CatalogRecord(False, parent, name, ino, mode, uid, gid, special, flags, mtime, finder, *more)

    def thread(self, data: bytes) -> tuple[int, bytes]:
        name_end = 10 + 2 * int.from_bytes(checked(data, 10)[8:10], "big")
        return int.from_bytes(data[4:8], "big"), checked(data, name_end)[10:name_end]

    def shown(self, name: bytes) -> bytes:
        text = name.decode("utf-16-be", "surrogatepass")
        return text.replace("/", ":").encode("utf-8", "surrogatepass")


def plus_fork(data: bytes, at: int) -> Fork:
    """HFSPlusForkData of TN1150: size, clump, blocks, eight extents."""
    (size,) = struct.unpack_from(">Q", data, at)
    return Fork(size, plus_pieces(data, at + 16)) if size else NO_FORK


def plus_pieces(data: bytes, at: int) -> Pieces:
    """The eight extents of HFS+."""
    return _pairs(struct.unpack_from(">16I", data, at))


def short_pieces(data: bytes, at: int) -> Pieces:
    """The three extents of classic HFS."""
    return _pairs(struct.unpack_from(">6H", data, at))


def _pairs(numbers: tuple[int, ...]) -> Pieces:
    """(start, count) up to the first empty one."""
    found: list[tuple[int, int]] = []
    for start, count in zip(numbers[::2], numbers[1::2], strict=True):
        if not count:
            break
        found.append((start, count))
    return tuple(found)
