"""Images of what only mounts read; a mounted volume as paths; and what a session may have left behind."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import anyio
import msgspec
from media_images import MIB, run

from ntt.model import Entry, Route, Volume, VolumeStatus, WalkProblem
from ntt.mounts.drivers import DRIVERS, Driver
from ntt.mounts.session import Mounted, MountLimits, MountSession, mount_session
from ntt.mounts.tree import MountedTree

LIMITS = MountLimits(attempt_s=30, reserve_bytes=64 * MIB)
PATIENCE_S = 20.0
DESCRIPTOR_SECTOR = 2048


def sha256(image: Path) -> str:
    with image.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writable(image: Path) -> Iterator[Path]:
    """The image mounted for writing at a folder beside it, by the kernel; nothing is left."""
    root = image.parent / f"{image.name}.writable"
    root.mkdir()
    device = run("losetup", "-f", "--show", image).strip()
    try:
        run("mount", device, root)
        try:
            yield root
        finally:
            run("umount", root)
    finally:
        run("losetup", "-d", device)
        root.rmdir()


def made_image(kind: str, image: Path, tree: Path) -> Path:
    """The tree as an image of a file system, by that file system's own tool (or the kernel, which xfs takes)."""
    match kind:
        case "ext2" | "ext3" | "ext4":
            run("mke2fs", "-q", "-F", "-t", kind, "-d", tree, image, "48M")
        case "squashfs":
            run("mksquashfs", tree, image, "-quiet", "-noappend", "-no-progress")
        case "erofs":
            run("mkfs.erofs", image, tree)
        case "xfs" | "btrfs":
            image.touch()
            os.truncate(image, 320 * MIB)
            run(f"mkfs.{kind}", "-q", image)
            with writable(image) as root:
                run("cp", "-a", f"{tree}/.", root)
        case _:
            raise AssertionError(kind)
    return image


def behind(image: Path, before_bytes: int) -> Path:
    """A disk whose volume begins at this byte."""
    disk = image.with_name(f"{image.name}.disk")
    with disk.open("wb") as file:
        file.seek(before_bytes)
        file.write(image.read_bytes())
    return disk


def pure_udf(image: Path, tree: Path) -> Path:
    """A UDF medium without an ISO 9660 side: what says so is taken off a bridge medium. ECMA-167, part 2, 8.3."""
    run("genisoimage", "-quiet", "-udf", "-allow-limited-size", "-o", image, tree)
    with image.open("r+b") as file:
        file.seek(16 * DESCRIPTOR_SECTOR)
        found = [file.read(DESCRIPTOR_SECTOR) for _ in range(16)]
        kept = [sector for sector in found if sector[1:6] in (b"BEA01", b"NSR02", b"TEA01")]
        assert len(kept) == 3
        file.seek(16 * DESCRIPTOR_SECTOR)
        file.write(b"".join(kept).ljust(16 * DESCRIPTOR_SECTOR, b"\0"))
    return image


# ---------------------------------------------------------------- sessions


def volume_of(fstype: str, offset_bytes: int, size_bytes: int, index: int = 1) -> Volume:
    return Volume(index, "mbr", offset_bytes, size_bytes, fstype, Route.NONE, VolumeStatus.FINDING)


@asynccontextmanager
async def session_of(
    image: Path,
    fstype: str,
    routes: Sequence[Route],
    work: Path,
    *,
    offset_bytes: int = 0,
    size_bytes: int | None = None,
    limits: MountLimits = LIMITS,
    drivers: Sequence[Driver] = DRIVERS,
) -> AsyncIterator[tuple[MountSession, Volume]]:
    """A session on the one volume of an image."""
    work.mkdir(parents=True, exist_ok=True)
    fd = os.open(image, os.O_RDONLY)
    try:
        image_bytes = os.fstat(fd).st_size
        size_bytes = image_bytes - offset_bytes if size_bytes is None else size_bytes
        volume = volume_of(fstype, offset_bytes, size_bytes)
        async with mount_session(fd, image_bytes, [volume], {1: tuple(routes)}, work, limits, drivers) as session:
            yield session, volume
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class Seen:
    """A mounted volume: its entries by path (the root is `b""`), the contents of its files, what went wrong."""

    entries: dict[bytes, Entry]
    contents: dict[bytes, bytes]
    problems: tuple[WalkProblem, ...]


def seen_below(mounted: Mounted, volume: Volume) -> Seen:
    """Walked and read with one tree each, as two processes do it."""
    read_as = msgspec.structs.replace(volume, route=mounted.route)
    entries: dict[bytes, Entry] = {}
    problems: list[WalkProblem] = []
    paths: dict[int, bytes] = {}
    with closing(MountedTree(mounted.root_fd, read_as, mounted.kind)) as tree:
        for found in tree.walk():
            if isinstance(found, WalkProblem):
                problems.append(found)
                continue
            parent = paths.get(found.parent_ino, b"")
            path = parent + b"/" + found.name if parent else found.name
            if found.is_directory:
                paths[found.ino] = path
            entries[path] = found
    contents: dict[bytes, bytes] = {}
    with closing(MountedTree(mounted.root_fd, read_as, mounted.kind)) as tree:
        for path, entry in entries.items():
            if entry.is_regular:
                tree.locate(entry.ino, path)
                contents[path] = tree.read(entry.ino, 0, entry.size)
    return Seen(entries, contents, tuple(problems))


def what_is_kept(seen: Seen) -> dict[bytes, tuple[int, int, int, bytes, bytes | None]]:
    """Path -> mode with type, owner, time in seconds, link target, content; `lost+found` is left out."""
    return {
        path: (entry.mode, entry.uid, entry.mtime_s, entry.link_target, seen.contents.get(path))
        for path, entry in seen.entries.items()
        if path not in (b"", b"lost+found")
    }


def what_was_given(tree: Path) -> dict[bytes, tuple[int, int, int, bytes, bytes | None]]:
    """The same of a folder of this machine."""
    base, found = os.fsencode(tree), {}
    for folder, folders, files in os.walk(base):
        for name in folders + files:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            target = os.readlink(path) if stat.S_ISLNK(status.st_mode) else b""
            if stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode):
                target = b"%d:%d" % (os.major(status.st_rdev), os.minor(status.st_rdev))
            content = Path(os.fsdecode(path)).read_bytes() if stat.S_ISREG(status.st_mode) else None
            seconds = status.st_mtime_ns // 10**9
            found[os.path.relpath(path, base)] = (status.st_mode, status.st_uid, seconds, target, content)
    return found


# ---------------------------------------------------------------- what is left


def left_of(folder: Path) -> list[str]:
    """Loop devices, mounts in whatever namespace, processes and temp folders that belong to a test's folder."""
    mark = os.fsencode(folder)
    found: list[str] = []
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):
            if mark in backing.read_bytes():
                found.append(f"loop {backing.parts[3]}")
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int(process.name) != os.getpid() and mark in (process / "cmdline").read_bytes():
                found.append(f"process {process.name} {(process / 'comm').read_text().strip()}")
            if mark.replace(b" ", rb"\040") in (process / "mountinfo").read_bytes():
                found.append(f"mount seen by {process.name}")
    folders = (Path(at, name) for at, names, _ in os.walk(folder) for name in names if name.startswith("mounts-"))
    return found + [f"folder {path}" for path in folders]


def options_of_mounts(folder: Path) -> set[str]:
    """What holds for the volume that is mounted below a folder, in whatever namespace."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for line in (process / "mountinfo").read_text().splitlines():
                words = line.split()
                if words[4].startswith(str(folder)) and words[4].endswith("/view/root"):
                    return set(words[5].split(","))
    raise AssertionError("nothing is mounted there")


async def until_nothing_is_left_of(folder: Path) -> None:
    """What the kernel ends, it ends soon, not at once."""
    deadline = monotonic() + PATIENCE_S
    while (left := left_of(folder)) and monotonic() < deadline:
        await anyio.lowlevel.checkpoint()
    assert left == []


def helpers_of(folder: Path) -> list[int]:
    """The helper processes that work in a folder: those whose parent is none of them."""
    found: dict[int, int] = {}
    inside = os.fsencode(folder) + b"/"
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            if b"ntt.mounts.helper" in arguments and any(part.startswith(inside) for part in arguments):
                found[int(process.name)] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
    return [pid for pid, parent in found.items() if parent not in found]


# ---------------------------------------------------------------- in a process of its own


class Told(msgspec.Struct):
    """What a session in another process came to. `paths` are decoded as file names are."""

    how: str = ""
    tried: tuple[str, ...] = ()
    next_step: str = ""
    paths: dict[str, int] = {}
    uids: tuple[int, ...] = ()


async def _tell(image: Path, fstype: str, routes: str, work: Path, offset_bytes: int, holds: str, own: str) -> None:
    drivers = (Driver((own,), "none", frozenset((fstype,)), ("{source}", "{target}")),) if own else DRIVERS
    tried = [Route(name) for name in routes.split(",")]
    async with session_of(image, fstype, tried, work, offset_bytes=offset_bytes, drivers=drivers) as (session, volume):
        if refused := session.refused.get(1):
            told = Told("", refused.tried, refused.next_step)
        else:
            mounted = session.mounted[1]
            seen = seen_below(mounted, volume)
            sizes = {os.fsdecode(path): len(content) for path, content in seen.contents.items()}
            told = Told(mounted.how, mounted.remarks, "", sizes, tuple({e.uid for e in seen.entries.values()}))
        sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
        sys.stdout.buffer.flush()
        if holds == "hold":
            await anyio.sleep_forever()


if __name__ == "__main__":
    given, at, end = sys.argv[1:5], int(sys.argv[5]), sys.argv[6]
    anyio.run(_tell, Path(given[0]), given[1], given[2], Path(given[3]), at, end, *(sys.argv[7:] or ("",)))
