"""An image served by FUSE in which some bytes fail, hang or kill whoever copies them, as hostile media do.

`python poisoned_image.py IMAGE FOLDER MODE START END` serves FOLDER/medium.img and says "ready". MODE is `eio`,
`hang` (until the reader is being killed) or `kill`. Only copying workers are struck: what the image holds must be
read and listed once before a file of it can fail. `eio-all`: after the first of them, everybody is.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys
import time
from pathlib import Path

import mfusepy

NAME = "medium.img"


class PoisonedImage(mfusepy.Operations):
    """One read-only file. Reads bypass the page cache, so that each of them comes here."""

    use_ns = True

    def __init__(self, image: str, mode: str, start: int, end: int) -> None:
        self._fd = os.open(image, os.O_RDONLY)
        self._mode = mode
        self._struck = False
        self._poison = range(start, end)

    def init(self, path: str) -> None:
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path != f"/{NAME}":
            raise mfusepy.FuseOSError(errno.ENOENT)
        status = os.fstat(self._fd)
        return {"st_mode": stat.S_IFREG | 0o444, "st_nlink": 1, "st_size": status.st_size, "st_mtime": 10**18}

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", NAME]

    def open(self, path: str, flags: int) -> int:
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        if offset < self._poison.stop and offset + size > self._poison.start:
            _, _, reader = mfusepy.fuse_get_context()
            if self._struck or b"ntt.worker\0copy\0" in Path(f"/proc/{reader}/cmdline").read_bytes():
                self._strike(reader)
        return os.pread(self._fd, size, offset)

    def _strike(self, reader: int) -> None:
        self._struck = self._mode == "eio-all"
        if self._mode == "kill":
            os.kill(reader, signal.SIGKILL)
        while self._mode == "hang" and not is_being_killed(reader):
            time.sleep(0.02)
        raise mfusepy.FuseOSError(errno.EIO)


def is_being_killed(pid: int) -> bool:
    """Is a SIGKILL pending? The process cannot end before its read is answered."""
    fields = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    pending = int(fields["SigPnd"], 16) | int(fields["ShdPnd"], 16)
    return bool(pending & 1 << (signal.SIGKILL - 1))


if __name__ == "__main__":
    image, folder, mode, *poison = sys.argv[1:]
    mfusepy.FUSE(
        PoisonedImage(image, mode, *map(int, poison)), folder, foreground=True, direct_io=True, ro=True, nothreads=False
    )
