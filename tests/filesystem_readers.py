"""A medium -> what other programs unpack from it, for NTT to be compared with them, not only with what was written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filesystem_media import Medium
from media_images import ENVIRONMENT, run
from udf_reading import by_libudfread

SEVEN_ZIP = "7zz"


def _xorriso(image: Path, folder: Path) -> None:
    run("xorriso", "-osirrox", "on:o_excl_off", "-hardlinks", "on", "-indev", f"stdio:{image}", "-extract", "/", folder)


def _bsdtar(image: Path, folder: Path) -> None:
    _some("bsdtar", "-xpf", image, "-C", folder)


def _tar(image: Path, folder: Path) -> None:
    run("tar", "-xpf", image, "-C", folder)


def _seven_zip(image: Path, folder: Path) -> None:
    _some(SEVEN_ZIP, "x", "-y", "-aou", "-bd", "-bso0", "-bsp0", f"-o{folder}", image)


def _mtools(image: Path, folder: Path) -> None:
    run("mcopy", "-m", "-s", "-n", "-i", image, "::*", folder)


def _debugfs(image: Path, folder: Path) -> None:
    run("debugfs", "-R", f"rdump / {folder}", image)


def _unsquashfs(image: Path, folder: Path) -> None:
    run("unsquashfs", "-q", "-n", "-f", "-d", folder, image)


def _erofs(image: Path, folder: Path) -> None:
    run("fsck.erofs", f"--extract={folder}", "--overwrite", image)


def _libudfread(image: Path, folder: Path) -> None:
    for path, content in sorted(by_libudfread(image).items()):
        target = os.path.join(os.fsencode(folder), path)
        if content is None:
            os.makedirs(target)
        else:
            with open(target, "wb") as file:
                file.write(content)


def _some(*argv: str | Path) -> None:
    """Programs that say of some files that they cannot make them, and go on."""
    subprocess.run([str(part) for part in argv], capture_output=True, env=ENVIRONMENT, check=False, timeout=60)


def _mounted(*argv: str) -> Callable[[Path, Path], None]:
    def unpack(image: Path, folder: Path) -> None:
        with _device(image) as device:
            point = folder.with_name(f"{folder.name}.mounted")
            point.mkdir()
            run(*argv, device, point)
            try:
                run("cp", "-a", f"{point}/.", folder)
            finally:
                run("umount", point)
                point.rmdir()

    return unpack


@contextmanager
def _device(image: Path) -> Iterator[str]:
    device = run("losetup", "-r", "-f", "--show", image).strip()
    try:
        yield device
    finally:
        run("losetup", "-d", device)


READERS: dict[str, Callable[[Path, Path], None]] = {
    "xorriso": _xorriso,
    "bsdtar": _bsdtar,
    "tar": _tar,
    "7zz": _seven_zip,
    "mtools": _mtools,
    "debugfs": _debugfs,
    "unsquashfs": _unsquashfs,
    "fsck.erofs": _erofs,
    "libudfread": _libudfread,
    "kernel ext4": _mounted("mount", "-o", "ro,noload"),
    "ntfs-3g": _mounted("ntfs-3g", "-o", "ro,streams_interface=none"),
    "exfat-fuse": _mounted("mount.exfat-fuse", "-o", "ro"),
}

WITHOUT_TIMES = ("libudfread",)  # a library that is asked for names and contents only
BESIDE: dict[str, tuple[str, ...]] = {
    "ext4": ("kernel ext4", "debugfs", "7zz"),
    "FAT12": ("mtools", "7zz"),
    "FAT16": ("mtools", "7zz"),
    "FAT32": ("mtools", "7zz"),
    "exFAT": ("exfat-fuse",),
    "NTFS": ("ntfs-3g", "7zz"),
    "HFS+": ("7zz",),
    "ISO 9660, level 1": ("xorriso", "bsdtar", "7zz"),
    "ISO 9660, Joliet": ("xorriso", "bsdtar", "7zz"),
    "ISO 9660, Rock Ridge (genisoimage)": ("xorriso", "bsdtar", "7zz"),
    "ISO 9660, Rock Ridge and Joliet (xorriso)": ("xorriso", "bsdtar", "7zz"),
    "UDF 1.02 (genisoimage, its ISO side taken off)": ("7zz", "libudfread"),
    "squashfs": ("unsquashfs", "7zz"),
    "erofs": ("fsck.erofs",),
    "tar": ("tar", "7zz"),
    "zip": ("bsdtar", "7zz"),
    "7z": ("bsdtar", "7zz"),
}


def unpacked(medium: Medium, reader: str, work: Path) -> Path:
    """A folder with what this reader makes of the medium."""
    folder = work / f"{reader} {medium.name}".replace("/", "-").replace(" ", "-")
    folder.mkdir(parents=True)
    READERS[reader](medium.image, folder)
    inside = folder / "ntt plus"  # 7zz puts the files of an Apple volume below its name
    return inside if inside.is_dir() else folder
