"""An image served by FUSE whose reads fail as planned, once what it holds was identified and listed.

`python failing_image.py IMAGE FOLDER PLAN` serves FOLDER/medium.img and says "ready"; PLAN is JSON.
"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mfusepy
import msgspec

NAME = "medium.img"
COPYING = b"ntt.worker\0copy\0"
KERNEL = b""  # what a loop device reads for, has no command line


class Failing(msgspec.Struct, frozen=True, kw_only=True):
    """Reads that touch `[start, end)` give the errors of `names` in turn, `times` in all; 0: for ever.

    Struck are copying workers, or with `kernel` what reads for a loop device.
    """

    start: int
    end: int
    names: tuple[str, ...]
    times: int = 0
    kernel: bool = False


class FailingImage(mfusepy.Operations):
    """One read-only file. Reads bypass the page cache, so that each of them comes here."""

    use_ns = True

    def __init__(self, image: str, plan: Failing) -> None:
        self._fd = os.open(image, os.O_RDONLY)
        self._plan = plan
        self._failed = 0

    def init(self, path: str) -> None:
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path != f"/{NAME}":
            raise mfusepy.FuseOSError(errno.ENOENT)
        size = os.fstat(self._fd).st_size
        return {"st_mode": stat.S_IFREG | 0o444, "st_nlink": 1, "st_size": size, "st_mtime": 10**18}

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", NAME]

    def open(self, path: str, flags: int) -> int:
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        plan = self._plan
        more = not plan.times or self._failed < plan.times
        if more and offset < plan.end and offset + size > plan.start and self._is_struck():
            self._failed += 1
            raise mfusepy.FuseOSError(getattr(errno, plan.names[(self._failed - 1) % len(plan.names)]))
        return os.pread(self._fd, size, offset)

    def _is_struck(self) -> bool:
        _, _, reader = mfusepy.fuse_get_context()
        try:
            line = Path(f"/proc/{reader}/cmdline").read_bytes() if reader else KERNEL
        except OSError:
            line = KERNEL
        return line == KERNEL if self._plan.kernel else COPYING in line


@contextmanager
def failing_image(image: Path, plan: Failing) -> Iterator[Path]:
    """The path of the served image; nothing is left mounted or running."""
    folder = image.parent / "failing"
    folder.mkdir()
    argv = [sys.executable, __file__, image, folder, msgspec.json.encode(plan)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            yield folder / NAME
        finally:
            subprocess.run(["umount", folder], check=True)
            assert server.wait(10) == 0


if __name__ == "__main__":
    image, folder, plan = sys.argv[1:]
    mfusepy.FUSE(
        FailingImage(image, msgspec.json.decode(plan, type=Failing)),
        folder,
        foreground=True,
        direct_io=True,
        ro=True,
        nothreads=True,
    )
