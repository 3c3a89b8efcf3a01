"""A file system as a machine leaves it that loses its power: mounted, written to, synced, its journal not replayed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from media_images import run
from partitioned_images import MIB, sparse


def dirty_image(image: Path, fstype: str, contents: Mapping[str, bytes], size_mib: int = 320) -> Path:
    """The image as it lay on the disk while it was mounted, after `contents` were written and synced."""
    live = sparse(image.with_name(f"{image.name}.live"), (size_mib if fstype == "xfs" else 32) * MIB)
    if fstype == "xfs":
        run("mkfs.xfs", "-q", live)
    else:
        run("mke2fs", "-q", "-F", "-t", fstype, live)
    point = image.with_name(f"{image.name}.point")
    point.mkdir()
    run("mount", "-o", "loop", live, point)
    try:
        for name, content in contents.items():
            path = point / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        # what lies only in the journal would be lost without replaying it: first onto the disk with it
        os.sync()
        if fstype == "xfs":
            run("xfs_freeze", "-f", point)
            run("xfs_freeze", "-u", point)
        (point / "box 0").touch()  # the journal has something again
        (point / "box 1").chmod(0o750)
        descriptor = os.open(point, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        with live.open("rb") as file:  # the loop device's own writes are in the same pages
            os.fsync(file.fileno())
        shutil.copyfile(live, image)
    finally:
        run("umount", point)
    point.rmdir()
    live.unlink()
    return image
