"""Trees as rich as a file system allows, and what of a tree it keeps: what every route is compared with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from media_images import MIB, noise
from source_tree import DIFFICULT_NAMES, EPOCH_S, FileSystem, Found, any_name, fat_name, ntfs_name, tree_below

SMALL_FILES = 160
LARGE_BYTES = MIB + 1
DEEP = 6  # with a file below the eighth and last folder that plain ISO 9660 allows
FURTHER_NS = 123_456_700


def _ascii(names: tuple[bytes, ...], limit: int) -> tuple[bytes, ...]:
    return tuple(name for name in names if name.isascii() and len(name) <= limit)


@dataclass(frozen=True, slots=True)
class Keeps:
    """What a file system keeps. `names` are the difficult ones that it can hold.

    `precision_ns` is that of its times, `folder_times` says whether what fills it sets those of folders.
    """

    names: tuple[bytes, ...]
    symlinks: bool = True
    hardlinks: bool = True
    holes: bool = True
    precision_ns: int = 10**9
    folder_times: bool = True
    times: bool = True
    small_files: int = SMALL_FILES


UNIX = Keeps(DIFFICULT_NAMES)
UNIX_NS = replace(UNIX, precision_ns=1)
NTFS = replace(UNIX, names=tuple(filter(ntfs_name, DIFFICULT_NAMES)), precision_ns=100)
PLAIN = Keeps((), symlinks=False, hardlinks=False, holes=False)
FAT = replace(PLAIN, names=tuple(filter(fat_name, DIFFICULT_NAMES)), precision_ns=2 * 10**9, folder_times=False)
JOLIET = replace(PLAIN, names=tuple(n for n in FAT.names if len(n.decode()) <= 64 and b";" not in n))
UDF = replace(UNIX, names=tuple(name for name in NTFS.names if len(name) <= 240), precision_ns=1000, holes=False)
# Mac OS Roman, at most 31 bytes; whatever fills it gives folders the time of now
HFS = Keeps(
    (b"Gr\x9f\xa7e aus K\x9aln", b"with  two  spaces", b"line\rfeed", b"caf\x8e", b"#autosave#", b"*?<>|\"\\"),
    symlinks=False, hardlinks=False, holes=False, folder_times=False,
)  # fmt: skip
# only decomposed names stand on such a volume
HFS_PLUS = replace(UNIX, names=(*_ascii(DIFFICULT_NAMES, 255), "e\u0301 de\u0301compose\u0301".encode()), holes=False)
SHORT_ASCII = replace(PLAIN, names=tuple(n for n in _ascii(FAT.names, 31) if not set(n) & set(b":%")))


def make_tree(root: Path, keeps: Keeps, seed: int = 1) -> Path:
    """Every kind of name, size, depth and link that is kept; further trees differ by their seed."""
    base = os.fsencode(root)
    deep = b"/".join(b"LEVEL%d" % depth for depth in range(DEEP))
    for folder in (b"MANY", b"NAMES", b"EMPTYDIR", deep):
        os.makedirs(os.path.join(base, folder), exist_ok=True)
    contents = {b"EMPTY.DAT": b"", b"LARGE.BIN": noise(LARGE_BYTES, seed), deep + b"/BOTTOM.DAT": noise(5000, seed + 1)}
    for number in range(keeps.small_files):
        contents[b"MANY/F%05d.DAT" % number] = noise(number * 13, seed * 1000 + number)
    for number, name in enumerate(keeps.names):
        contents[b"NAMES/" + name] = noise(number * 100 + 7, seed * 2000 + number)
    for name, content in contents.items():
        with open(os.path.join(base, name), "wb") as file:
            file.write(content)
    if keeps.holes:
        with open(os.path.join(base, b"SPARSE.BIN"), "wb") as file:
            file.seek(2 * MIB)
            file.write(noise(4000, seed + 2))
            file.truncate(3 * MIB)
    if keeps.hardlinks:
        os.link(os.path.join(base, b"LARGE.BIN"), os.path.join(base, b"SECOND.BIN"))
        os.link(os.path.join(base, b"LARGE.BIN"), os.path.join(base, deep, b"THIRD.BIN"))
    if keeps.symlinks:
        os.symlink(b"MANY/F00010.DAT", os.path.join(base, b"LINK"))
        os.symlink(b"../nowhere at all", os.path.join(base, b"NAMES", b"BROKEN"))
        os.symlink(b"../MANY", os.path.join(base, b"NAMES", b"FOLDER"))
    _set_times(base, seed)
    return root


def _set_times(base: bytes, seed: int) -> None:
    number = seed * 100_000
    for folder, folders, files in os.walk(base, topdown=False):
        for name in sorted(files + folders):
            number += 1
            stamp = (EPOCH_S + 2 * number) * 10**9 + FURTHER_NS
            os.utime(os.path.join(folder, name), ns=(stamp, stamp), follow_symlinks=False)


@dataclass(frozen=True, slots=True)
class Side:
    """One volume of a medium as it was written: a tree, and streams that stand beside its files by path.

    `tree` None: nothing is known of what it holds but that it holds no files (a volume that was only formatted).
    """

    fstype: str
    tree: Path | None
    keeps: Keeps = UNIX
    streams: Mapping[bytes, bytes] = field(default_factory=dict)

    def expected(self) -> dict[bytes, Found]:
        """Path -> what must be found there; a time of 0 is not compared."""
        if self.tree is None:
            return {}
        kind = FileSystem(any_name, False, False, self.keeps.precision_ns, self.keeps.folder_times)
        found = tree_below(self.tree, kind)
        return found if self.keeps.times else {path: replace(item, mtime_ns=0) for path, item in found.items()}
