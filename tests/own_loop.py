"""A loop device of the test's own, made and removed again: real uevents, and nobody else's numbers. Needs root.

Source: loop(4), LOOP_CTL_ADD, LOOP_CTL_REMOVE, LOOP_CHANGE_FD.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_ADD, _REMOVE, _CHANGE_FD = 0x4C80, 0x4C81, 0x4C06
_FIRST = 40_000


class OwnLoop:
    """`node` exists while it is `added`."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = f"loop{number}"
        self.node = Path("/dev") / self.name
        self.block = Path("/sys/block") / self.name

    def added(self) -> None:
        _control(_ADD, self.number)

    def removed(self) -> None:
        """Others look at new devices, too, and let go of them soon."""
        deadline_s = time.monotonic() + 10
        while True:
            try:
                return _control(_REMOVE, self.number)
            except OSError:
                if time.monotonic() > deadline_s:
                    raise

    def holds(self, image: Path) -> None:
        subprocess.run(["losetup", "--read-only", self.node, image], check=True)

    def holds_instead(self, image: Path) -> None:
        """Another file of the same size, without being empty in between."""
        loop, file = os.open(self.node, os.O_RDONLY), os.open(image, os.O_RDONLY)
        try:
            fcntl.ioctl(loop, _CHANGE_FD, file)
        finally:
            os.close(loop)
            os.close(file)

    def holds_nothing(self) -> None:
        subprocess.run(["losetup", "--detach", self.node], check=True)

    def announces(self) -> None:
        """A change event of which nothing is true."""
        (self.block / "uevent").write_text("change")


def _control(request: int, number: int) -> None:
    fd = os.open("/dev/loop-control", os.O_RDWR)
    try:
        fcntl.ioctl(fd, request, number)
    finally:
        os.close(fd)


@contextmanager
def own_loop(*, add: bool = True) -> Iterator[OwnLoop]:
    """Gone on leaving, with whatever it held; with `add` False only the number is kept, and the test adds it."""
    for number in range(_FIRST, _FIRST + 1000):
        with suppress(FileExistsError):
            _control(_ADD, number)
            break
    loop = OwnLoop(number)
    if not add:
        loop.removed()
    try:
        yield loop
    finally:
        if loop.block.exists():
            subprocess.run(["losetup", "--detach", loop.node], check=False, capture_output=True)
            loop.removed()
