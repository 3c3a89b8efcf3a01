"""Scratch space for measuring: fresh file systems and fresh mounts, none of which outlives its `with`.

As root everything is mounted in a mount namespace of this process's own, with loop devices that detach
themselves: even after SIGKILL the machine is as before once the last child has ended. What is left of the
files is removed at the next start.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.commands import CommandFailed, run

CLONE_NEWNS = 0x00020000  # sched.h: mounts of our own
READ_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Workspace:
    """`folder` lies on the disk that is measured; `no_mounts` says why nothing can be mounted, else it is empty."""

    folder: Path
    points: Path
    disk_bytes: int
    no_mounts: str

    @contextmanager
    def output(self, disk_bytes: int = 0) -> Iterator[Path]:
        """An empty ext4 made for this one run, of at least `disk_bytes`; where nothing can be mounted, a folder."""
        if self.no_mounts:
            with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                yield Path(folder)
            return
        with _fresh_disk(self.folder, self.points, max(disk_bytes, self.disk_bytes)) as point:
            yield point

    @contextmanager
    def source(self, image: Path) -> Iterator[Path]:
        """The image's files through a mount that nobody has used yet, read-only."""
        with _mounted(image, self.points, "ro,noatime") as point:
            yield point


@contextmanager
def workspace(cache: Path, disk_bytes: int) -> Iterator[Workspace]:
    """The only workspace in this cache: CommandFailed while another run measures there."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock, ExitStack() as stack:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandFailed(f"another benchmark runs in {cache}: both would measure each other") from None
        folder = cache / "work"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        # PostgreSQL's user has to come through to a home below it
        points = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ntt-bench-")))
        points.chmod(0o755)
        yield Workspace(folder, points, disk_bytes, _obstacle(folder, points))


def warm(image: Path) -> None:
    """Has the whole image in the page cache and nothing waiting to be written."""
    os.sync()
    with image.open("rb", buffering=0) as file:
        while file.read(READ_BYTES):
            pass


def _obstacle(folder: Path, points: Path) -> str:
    """Why nothing can be mounted here; empty, and in a mount namespace of our own, when it can."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        return f"no mount namespace: {os.strerror(ctypes.get_errno())}"
    try:
        run("mount", "--make-rprivate", "/")
        with _fresh_disk(folder, points, 32 << 20):
            return ""
    except CommandFailed as error:
        return f"no loop mounts: {error}"


@contextmanager
def _fresh_disk(folder: Path, points: Path, size_bytes: int) -> Iterator[Path]:
    descriptor, name = tempfile.mkstemp(suffix=".ext4", dir=folder)
    file = Path(name)
    try:
        os.truncate(descriptor, size_bytes)
        os.close(descriptor)
        # otherwise the kernel goes on writing inode tables while the run is timed
        run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", file)
        run("sync", "--file-system", file)
        with _mounted(file, points, "noatime") as point:
            yield point
    finally:
        file.unlink()


@contextmanager
def _mounted(file: Path, points: Path, options: str) -> Iterator[Path]:
    point = Path(tempfile.mkdtemp(dir=points))
    try:
        run("mount", "-t", "ext4", "-o", f"loop,{options}", file, point)
        try:
            yield point
        finally:
            _unmount(point)
    finally:
        point.rmdir()


def _unmount(point: Path) -> None:
    try:
        run("umount", point)
    except CommandFailed:
        run("umount", "--lazy", point)  # whoever still uses it is stopped with the rest
