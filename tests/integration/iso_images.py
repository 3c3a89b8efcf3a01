"""A folder full of difficult names -> ISO 9660 images written by genisoimage and xorriso."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import weakref
from pathlib import Path

from ntt.model import Entry, WalkProblem
from ntt.ranges import Ranges
from ntt.readers.base import ImageSource
from ntt.readers.iso.reader import Iso9660Reader, open_iso9660

GENISOIMAGE = ("genisoimage", "-quiet")
XORRISO = ("xorriso", "-as", "mkisofs", "-quiet")

DIFFICULT_NAMES = (
    "ünïcode-é".encode(),
    b"with space",
    b"new\nline",
    b"latin1-caf\xe9",
    b"#hash#",
    b"back\\slash",
    b"literal\\n.plist",
    b"Icon\r",
    b"tab\there",
    b"quote'\"",
    b"semi;1",
    b"dot.",
    b"UPPER.Case.Txt",
    b"\x01\x7f\x80\xff",
    b"long-" + b"x" * 240,
)


def run(*argv: str | bytes | Path) -> bytes:
    done = subprocess.run(argv, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def difficult_tree(root: Path) -> Path:
    """Difficult names, deep folders, links of both kinds, special files; odd modes, owners and times."""
    random_bytes = random.Random(9660)
    root.mkdir()
    base = os.fsencode(root)
    for number, name in enumerate(DIFFICULT_NAMES):
        path = os.path.join(base, name)
        with open(path, "wb") as out:
            out.write(random_bytes.randbytes(number * 700))
        os.chmod(path, (0o644, 0o600, 0o4755, 0o000, 0o2711)[number % 5])
        os.chown(path, number, 1000 + number)
        os.utime(path, (1_000_000_000, 100_000_000 + number * 50_000_000))
    (root / "empty").touch()
    (root / "also empty").touch()
    (root / "big").write_bytes(random_bytes.randbytes(3_000_001))
    (root / "same").write_bytes((root / "big").read_bytes())
    os.link(root / "big", root / "big link")
    deep = root / "/".join(["deep"] + [f"level {number}" for number in range(1, 14)])
    deep.mkdir(parents=True)
    (deep / "bottom").write_bytes(b"bottom")
    os.link(root / "big", deep / "big again")
    (deep.parent / "beside").mkdir()
    (deep.parent / "beside" / "file").write_bytes(b"beside")
    (root / "empty folder").mkdir(mode=0o700)
    links = {"absolute": "/usr/lib/x", "relative": "deep/level 1", "up": "../../x/../y", "here": ".", "root": "/"}
    links |= {"long": "/".join(["component" * 6] * 4), "one long": "c" * 250, "space": "a b\n"}
    for name, target in links.items():
        os.symlink(target, root / f"link {name}")
    os.symlink(b"latin-\xe9", root / "link latin")
    os.mkfifo(root / "fifo")
    os.mknod(root / "character", 0o020620, os.makedev(4, 64))
    os.mknod(root / "block", 0o060660, os.makedev(259, 300))
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(root / "socket"))
    return root


def image_of(writer: tuple[str, ...], tree: Path, image: Path, *options: str) -> Path:
    run(*writer, *options, "-o", image, tree)
    return image


def opened(image: Path, unread: Ranges = (), session_bytes: int = 0) -> Iso9660Reader:
    """The descriptor is closed when the reader is gone."""
    source = ImageSource(os.open(image, os.O_RDONLY), unread)
    weakref.finalize(source, os.close, source.fd)
    return open_iso9660(source, session_bytes=session_bytes)


def by_path(reader: Iso9660Reader) -> tuple[dict[bytes, Entry], list[WalkProblem]]:
    """Path without leading slash -> entry; every parent must have come first."""
    found: dict[bytes, Entry] = {}
    problems: list[WalkProblem] = []
    folders: dict[int, bytes] = {}
    for one in reader.walk():
        if isinstance(one, WalkProblem):
            problems.append(one)
        elif not one.name:
            assert one.ino == one.parent_ino
            folders[one.ino] = b""
        else:
            path = folders[one.parent_ino] + one.name
            assert path not in found
            found[path] = one
            if one.is_directory:
                assert one.ino not in folders
                folders[one.ino] = path + b"/"
    return found, problems


def paths_below(root: Path) -> set[bytes]:
    base = os.fsencode(root)
    found: set[bytes] = set()
    for folder, folders, files in os.walk(base):
        found |= {os.path.relpath(os.path.join(folder, name), base) for name in folders + files}
    return found
