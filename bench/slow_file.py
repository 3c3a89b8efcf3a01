"""A file -> the same bytes by FUSE, no faster than an old drive gives them.

`python -m bench.slow_file FILE SIZE BYTES_PER_S FOLDER` serves the first SIZE bytes of FILE as FOLDER/medium, and
ends when FOLDER is unmounted. The kernel reads ahead as it does for a drive; a reader that comes late all the same
loses that time, nothing is made up for.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mfusepy

from bench.commands import CommandFailed, run, started

FILE_NAME = "medium"
START_S = 20.0
POLL_S = 0.02


class Pace:
    """One drive's head: every read waits for its turn, and then as long as its bytes take."""

    def __init__(self, bytes_per_s: int) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at_s = 0.0
        self._lock = threading.Lock()

    def wait(self, size: int) -> None:
        with self._lock:
            now = time.monotonic()
            self._free_at_s = max(now, self._free_at_s) + size / self._bytes_per_s
            until = self._free_at_s
        time.sleep(max(0.0, until - time.monotonic()))


class SlowFile(mfusepy.Operations):
    """One read-only file."""

    use_ns = True

    def __init__(self, fd: int, size_bytes: int, pace: Pace) -> None:
        self._fd = fd
        self._size_bytes = size_bytes
        self._pace = pace

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        del fh
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path != f"/{FILE_NAME}":
            raise mfusepy.FuseOSError(errno.ENOENT)
        return {"st_mode": stat.S_IFREG | 0o444, "st_nlink": 1, "st_size": self._size_bytes, "st_mtime": 10**18}

    def readdir(self, path: str, fh: int) -> list[str]:
        del path, fh
        return [".", "..", FILE_NAME]

    def open(self, path: str, flags: int) -> int:
        del path, flags
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        del path, fh
        content = os.pread(self._fd, max(0, min(size, self._size_bytes - offset)), offset)
        self._pace.wait(len(content))
        return content


def obstacle() -> str:
    """Why no slow file can be served here; empty when one can."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "slow sources need /dev/fuse"
    return "" if shutil.which("fusermount3") else "slow sources need fusermount3"


@contextmanager
def slow_file(file: Path, size_bytes: int, bytes_per_s: int, points: Path) -> Iterator[Path]:
    """The path of the slow file; nothing of it is in memory yet. CommandFailed when it cannot be served."""
    with tempfile.TemporaryDirectory(dir=points) as name:
        point = Path(name)
        served = point / FILE_NAME
        argv = (sys.executable, "-m", "bench.slow_file", file, str(size_bytes), str(bytes_per_s), point)
        with started(*argv, cwd=Path(__file__).resolve().parent.parent) as server:
            try:
                _await(served)
                yield served
            finally:
                if point.is_mount():
                    run("fusermount3", "-u", "-z", point)
            server.finish()


def _await(served: Path) -> None:
    deadline = time.monotonic() + START_S
    while not served.exists():
        if time.monotonic() > deadline:
            raise CommandFailed(f"nothing serves {served}")
        time.sleep(POLL_S)


if __name__ == "__main__":
    source, size, rate, folder = sys.argv[1:]
    operations = SlowFile(os.open(source, os.O_RDONLY), int(size), Pace(int(rate)))
    mfusepy.FUSE(operations, folder, foreground=True, ro=True, fsname="ntt-bench")
