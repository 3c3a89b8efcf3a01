"""An image of any file system -> its files by `cp -a` over a mount: the kernel's, else that of a FUSE driver."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.commands import CommandFailed, run
from bench.competitors import Timings
from bench.record import What
from bench.workspace import Workspace, warm

KERNEL_NAMES = {"ext4": "ext4", "fat32": "vfat", "ntfs": "ntfs3", "iso9660": "isofs"}


@dataclass(frozen=True, slots=True)
class Driver:
    """A FUSE driver: `{image}` and `{point}` stand in its command line."""

    argv: tuple[str, ...]

    def command(self, image: Path, point: Path) -> tuple[str, ...]:
        return tuple(part.format(image=image, point=point) for part in self.argv)


DRIVERS = {
    "fat32": (Driver(("fusefat", "-o", "ro", "{image}", "{point}")), Driver(("grub-mount", "{image}", "{point}"))),
    "ntfs": (Driver(("ntfs-3g", "-o", "ro,noatime", "{image}", "{point}")),),
    "iso9660": (Driver(("fuseiso", "{image}", "{point}")),),
}


def way_of(fstype: str) -> str:
    """How it is mounted here, for people; CommandFailed when it cannot be."""
    if _kernel_has(fstype):
        return f"kernel {KERNEL_NAMES[fstype]}"
    return f"FUSE {_driver(fstype).argv[0]}"


def measure(fstype: str, image: Path, workspace: Workspace) -> Timings:
    """Seconds of mounting and `cp -a`, without and with the sync that makes the copy durable."""
    warm(image)
    with workspace.output() as output, tempfile.TemporaryDirectory(dir=workspace.points) as name:
        point, copies = Path(name), output / "copies"
        started = time.monotonic()
        if _kernel_has(fstype):
            run("mount", "-t", KERNEL_NAMES[fstype], "-o", "loop,ro,noatime", image, point)
        else:
            run(*_driver(fstype).command(image, point))
        try:
            run("cp", "-a", f"{point}/.", copies)
            copied = time.monotonic() - started
            run("sync", "--file-system", copies)
            durable = time.monotonic() - started
        finally:
            run("umount", "--lazy", point)
    return ((What.MOUNT_CP, copied), (What.MOUNT_CP_SYNC, durable))


def _kernel_has(fstype: str) -> bool:
    names = {line.split()[-1] for line in Path("/proc/filesystems").read_text().splitlines()}
    return KERNEL_NAMES[fstype] in names


def _driver(fstype: str) -> Driver:
    for driver in DRIVERS.get(fstype, ()):
        if shutil.which(driver.argv[0]) is not None:
            return driver
    raise CommandFailed(f"nothing here mounts {fstype}")
