"""Folders -> images of media, made by the file systems' own tools; maps that say which bytes were not read."""

from __future__ import annotations

import os
import random
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

MIB = 1 << 20
SECTOR_BYTES = 512
ENVIRONMENT = {**os.environ, "MTOOLS_SKIP_CHECK": "1", "MTOOLSRC": "/dev/null", "TZ": "UTC", "LC_ALL": "C.UTF-8"}


def run(*argv: str | bytes | Path, script: str = "") -> str:
    """Standard output of a program that must succeed."""
    done = subprocess.run(argv, input=script.encode(), capture_output=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout[-500:]!r} {done.stderr[-500:]!r}"
    return done.stdout.decode("utf-8", "replace")


def noise(size_bytes: int, seed: int = 1) -> bytes:
    """Bytes of which no two pieces are alike, so that a wrong place is seen."""
    return random.Random(seed).randbytes(size_bytes)


def written(root: Path, contents: Mapping[str | bytes, bytes]) -> Path:
    """`root` with these files in it; folders come as they are needed."""
    for name, content in contents.items():
        path = os.path.join(os.fsencode(root), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
    return root


def contents_below(root: Path) -> dict[bytes, bytes | None]:
    """Every path below `root`, relative; the content of regular files, None of everything else."""
    base, found = os.fsencode(root), {}
    for folder, folders, files in os.walk(base):
        for name in folders + files:
            path = os.path.join(folder, name)
            regular = stat.S_ISREG(os.lstat(path).st_mode)
            found[os.path.relpath(path, base)] = _read(path) if regular else None
    return found


def _read(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()


# ---------------------------------------------------------------- images


def ext4_image(image: Path, tree: Path | None, size_mib: int = 16, *options: str) -> Path:
    source = ["-d", str(tree.absolute())] if tree else []
    run("mke2fs", "-q", "-F", "-t", "ext4", *options, *source, image, f"{size_mib}M")
    return image


def iso_image(image: Path, tree: Path, *options: str) -> Path:
    run("genisoimage", "-quiet", "-R", *options, "-o", image, tree)
    return image


def xorriso_image(image: Path, tree: Path, *options: str) -> Path:
    run("xorriso", "-as", "mkisofs", "-quiet", "-R", "--hardlinks", *options, "-o", image, tree)
    return image


def fat32_image(image: Path, tree: Path, size_mib: int = 40) -> Path:
    run("mkfs.vfat", "-C", "-F32", "-s1", image, str(size_mib << 10))
    run("mcopy", "-m", "-s", "-Q", "-i", image, *(os.path.join(os.fsencode(tree), n) for n in _names(tree)), "::")
    return image


def ntfs_image(image: Path, tree: Path, size_mib: int = 16) -> Path:
    with image.open("wb") as file:
        file.truncate(size_mib * MIB)
    run("mkntfs", "-F", "-Q", "-q", image)
    with mounted_ntfs(image) as root:
        run("cp", "-a", f"{tree}/.", root)
    return image


def _names(tree: Path) -> list[bytes]:
    return sorted(os.listdir(os.fsencode(tree)))


@contextmanager
def mounted_ntfs(image: Path) -> Iterator[Path]:
    """The image mounted for writing; nothing is left behind."""
    root = image.parent / f"{image.name}.mounted"
    root.mkdir()
    # through a loop device: only then does umount return when the driver has written everything
    device = run("losetup", "-f", "--show", image).strip()
    try:
        run("ntfs-3g", "-o", "streams_interface=none", device, root)
        try:
            yield root
        finally:
            run("umount", root)
    finally:
        run("losetup", "-d", device)
        run("sync", "-f", image)
        root.rmdir()


def mbr_image(image: Path, parts: Iterable[Path]) -> Path:
    """An MBR whose partitions hold these images, each from a full MiB on."""
    lines, at = ["label: dos"], 1
    contents = [part.read_bytes() for part in parts]
    for content in contents:
        size_mib = -(-len(content) // MIB)
        lines.append(f"start={at}MiB, size={size_mib}MiB, type=83")
        at += size_mib
    with image.open("wb") as file:
        file.truncate((at + 1) * MIB)
    run("sfdisk", "-q", image, script="\n".join(lines) + "\n")
    with image.open("r+b") as file:
        at = 1
        for content in contents:
            file.seek(at * MIB)
            file.write(content)
            at += -(-len(content) // MIB)
    return image


# ---------------------------------------------------------------- what was not read


def map_of(path: Path, size_bytes: int, bad: Iterable[tuple[int, int]]) -> Path:
    """A ddrescue mapfile of a medium of this size; `bad` ranges were not read."""
    lines, at = ["# Mapfile. Created by GNU ddrescue version 1.27", "0x00000000     +               1"], 0
    for start, end in sorted(bad):
        if at < start:
            lines.append(f"0x{at:08X}  0x{start - at:08X}  +")
        lines.append(f"0x{start:08X}  0x{end - start:08X}  -")
        at = end
    if at < size_bytes:
        lines.append(f"0x{at:08X}  0x{size_bytes - at:08X}  +")
    path.write_text("\n".join(lines) + "\n")
    return path


def found_at(image: Path, content: bytes) -> int:
    """Where this content lies in the image; it must be there once, in one piece."""
    data = image.read_bytes()
    at = data.find(content)
    assert at >= 0, "the content does not lie in the image in one piece"
    assert data.find(content, at + 1) < 0, "the content lies in the image twice"
    return at
