"""A seeded tree of small files -> the same tree as ext4, FAT32, NTFS and ISO 9660 images, kept in the cache."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from bench.commands import CommandFailed, run
from bench.images import BLOCK_BYTES, ImagePlan, make_ext4_image, planned_files, write_tree

SPARE_BYTES = 64 << 20
CLUSTER_BYTES = 4096
FAT32_LEAST_BYTES = 300 << 20  # below this its clusters are too few


def cached_file_system(plan: ImagePlan, cache: Path, work: Path) -> Path:
    """The image's path; made now if it is not there. CommandFailed where a tool is missing."""
    image = cache / plan.file_name
    if image.exists():
        return image
    tree, part = work / "tree", work / plan.file_name
    try:
        files = planned_files(plan)
        folders = write_tree(plan, files, tree)
        room = sum((file.size + CLUSTER_BYTES) // CLUSTER_BYTES * CLUSTER_BYTES for file in files)
        match plan.fstype:
            case "ext4":
                make_ext4_image(part, tree, files, folders)
            case "fat32":
                _fat32(part, tree, room)
            case "ntfs":
                _ntfs(part, tree, room, len(files))
            case "iso9660":
                run("genisoimage", "-quiet", "-r", "-J", "-joliet-long", "-V", "BENCH", "-o", part, tree)
            case _:
                raise CommandFailed(f"no image of {plan.fstype} is made here")
        os.sync()
        part.rename(image)
    finally:
        shutil.rmtree(tree, ignore_errors=True)
        part.unlink(missing_ok=True)
    return image


def _sized(image: Path, size_bytes: int) -> None:
    with image.open("wb") as file:
        file.truncate(size_bytes // BLOCK_BYTES * BLOCK_BYTES)


def _fat32(image: Path, tree: Path, room: int) -> None:
    _sized(image, max(room * 11 // 10 + SPARE_BYTES, FAT32_LEAST_BYTES))
    run("mkfs.vfat", "-F", "32", "-s", "8", "-n", "BENCH", image)
    env = {"MTOOLS_SKIP_CHECK": "1"}
    run("mcopy", "-m", "-s", "-Q", "-i", image, *sorted(tree.iterdir()), "::", env=env)


def _ntfs(image: Path, tree: Path, room: int, files: int) -> None:
    _sized(image, room * 11 // 10 + files * 2048 + SPARE_BYTES)
    run("mkntfs", "-q", "-F", "-Q", "-L", "BENCH", image)
    with tempfile.TemporaryDirectory(prefix="ntt-bench-ntfs-") as point:
        run("ntfs-3g", "-o", "noatime", image, point)
        try:
            run("cp", "-a", f"{tree}/.", point)
        finally:
            run("umount", point)
