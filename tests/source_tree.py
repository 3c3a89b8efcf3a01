"""Two thousand files as people and their computers name them -> one tree, and what each file system can hold of it."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from media_images import noise

FILES = 2000
LARGEST_BYTES = 3 << 20
EPOCH_S = 1_000_000_000

DIFFICULT_NAMES = (
    "Grüße aus Köln.txt".encode(), "日本語のファイル".encode(), "e\u0301 décomposé".encode(), b"with  two  spaces",
    b" leading space", b"line\nfeed", b"Icon\r", b"a\rb", b"tab\there", b"back\\slash", b"literal \\n.plist",
    b"#autosave#", b"~$letter.doc", b"quote ' and \" and `", b"latin1-caf\xe9", b"\xff\xfe\x01", b"-rf", b"...", b"$x",
    b"{a,b}", b"%41", b"semi;1", b"dot.", b"COLON:colon", b"l" * 255, "ü".encode() * 127,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FileSystem:
    """What a file system keeps: which names, links or not, modes or not, times how exactly."""

    holds: Callable[[bytes], bool]
    links: bool
    modes: bool
    precision_ns: int
    folder_times: bool = True


def any_name(name: bytes) -> bool:
    return True


def fat_name(name: bytes) -> bool:
    """VFAT: Unicode, no control characters, none of what its commands use, no dot or space at the end."""
    if any(byte < 0x20 or byte in b'"*:<>?\\|' for byte in name) or name[-1:] in (b".", b" ") or name[:1] == b" ":
        return False
    try:
        return len(name.decode()) <= 255 and name.isascii() | (len(name) < 200)
    except UnicodeDecodeError:
        return False


def ntfs_name(name: bytes) -> bool:
    try:
        return len(name.decode()) <= 255
    except UnicodeDecodeError:
        return False


EXT4 = FileSystem(any_name, links=True, modes=True, precision_ns=10**9)  # mke2fs keeps whole seconds
ISO = FileSystem(any_name, links=True, modes=True, precision_ns=10**9)
NTFS = FileSystem(ntfs_name, links=True, modes=False, precision_ns=100)
FAT32 = FileSystem(fat_name, links=False, modes=False, precision_ns=2 * 10**9, folder_times=False)


def make_tree(root: Path, kind: FileSystem) -> Path:
    """The same contents each time, for each file system under the names that it can hold."""
    chance = random.Random(2026)
    base = os.fsencode(root)
    deep = b"/".join(b"level %d" % depth for depth in range(20))
    folders = [b"", b"letters", b"photos/1998/summer", b"program files", deep]
    for folder in folders:
        os.makedirs(os.path.join(base, folder), exist_ok=True)
    contents: list[bytes] = []
    for number in range(FILES):
        size = 0 if number % 40 == 0 else min(int(chance.lognormvariate(8, 1.5)), 300_000)
        again = number % 25 == 24
        contents.append(contents[chance.randrange(number)] if again else noise(size, number))
    contents[7] = noise(LARGEST_BYTES, 7)
    names = [name for name in DIFFICULT_NAMES if kind.holds(name)]
    for number, content in enumerate(contents):
        name = names[number] if number < len(names) else b"file number %d.dat" % number
        path = os.path.join(base, folders[number % len(folders)], name)
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, (0o644, 0o600, 0o755, 0o444)[number % 4])
    if kind.links:
        os.link(os.path.join(base, b"file number 1000.dat"), os.path.join(base, b"letters", b"second name"))
        os.link(os.path.join(base, b"file number 1000.dat"), os.path.join(base, deep, b"third name"))
        os.symlink(b"letters/second name", os.path.join(base, b"link"))
        os.symlink(b"../nowhere at all", os.path.join(base, b"photos", b"broken link"))
        os.symlink(b".", os.path.join(base, deep, b"link to here"))
    _set_times(base)
    return root


def _set_times(base: bytes) -> None:
    number = 0
    for folder, folders, files in os.walk(base, topdown=False):
        for name in sorted(files + folders):
            number += 1
            stamp = (EPOCH_S + 2 * number) * 10**9 + 123_456_700
            os.utime(os.path.join(folder, name), ns=(stamp, stamp), follow_symlinks=False)
    os.utime(base, (EPOCH_S, EPOCH_S))


@dataclass(frozen=True, slots=True)
class Found:
    """One path of a tree, so far as a file system keeps it. Equal `same_file` are hard links of one file."""

    type: int
    content: bytes | None
    target: bytes | None
    mode: int
    mtime_ns: int
    same_file: bytes


def tree_below(root: Path, kind: FileSystem) -> dict[bytes, Found]:
    """Relative path -> what is there; `lost+found` of a volume's root is left out."""
    base = os.fsencode(root)
    found: dict[bytes, Found] = {}
    first_names: dict[int, bytes] = {}
    for folder, folders, files in os.walk(base):
        for name in sorted(folders + files):
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, base)
            if relative != b"lost+found":
                found[relative] = _found(path, relative, kind, first_names)
    names = {first: min(p for p, f in found.items() if f.same_file == first) for first in set(first_names.values())}
    return {p: _named(f, names[f.same_file]) for p, f in found.items()}


def _found(path: bytes, relative: bytes, kind: FileSystem, first_names: dict[int, bytes]) -> Found:
    status = os.lstat(path)
    content = None
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            content = file.read()
    is_link, is_folder = stat.S_ISLNK(status.st_mode), stat.S_ISDIR(status.st_mode)
    times = not is_folder or kind.folder_times
    return Found(
        type=stat.S_IFMT(status.st_mode),
        content=content,
        target=os.readlink(path) if is_link else None,
        mode=stat.S_IMODE(status.st_mode) if kind.modes and not is_link else 0,
        mtime_ns=status.st_mtime_ns // kind.precision_ns * kind.precision_ns if times else 0,
        same_file=first_names.setdefault(status.st_ino, relative),
    )


def _named(found: Found, name: bytes) -> Found:
    return Found(found.type, found.content, found.target, found.mode, found.mtime_ns, name)
