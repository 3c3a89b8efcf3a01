"""A driver or unpacker -> run in a private view, its last words kept; whoever calls bounds the time."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ntt.names import printable

_LOOK_AGAIN_S = 0.02
_WORDS_BYTES = 64 << 10
_SHOWN_CHARACTERS = 300
_WORDS = "words"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended; `status` is None while it goes on in the foreground. `words` is what it said."""

    status: int | None
    words: bytes

    @property
    def complaint(self) -> str:
        """Its last lines, for an error message."""
        return _last_lines(self.words) or f"it ended with status {self.status}"


def said_in(view: Path) -> str:
    """The last lines that the program which runs in this view has said so far; empty when it said nothing."""
    return _last_lines((view / _WORDS).read_bytes())


def _last_lines(words: bytes) -> str:
    lines = [line.strip() for line in words.decode(errors="replace").splitlines() if line.strip()]
    return printable(" / ".join(lines[-3:]))[-_SHOWN_CHARACTERS:]


def run_until(argv: Sequence[str], view: Path, fds: Sequence[int], done: Callable[[], bool]) -> Ended:
    """Runs `argv` until it has ended, or `done()` says that what it was started for is there.

    It sees no more of the environment than it needs. What it says goes to a file in `view`.
    """
    words = view / _WORDS
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(view), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    with words.open("w+b") as output:
        process = subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, pass_fds=tuple(fds)
        )
        status: int | None = None
        while status is None and not done():
            try:
                status = process.wait(_LOOK_AGAIN_S)
            except subprocess.TimeoutExpired:
                continue
        process.returncode = status if status is not None else 0  # it lives on: nobody waits for it
        return Ended(status, os.pread(output.fileno(), _WORDS_BYTES, 0))


def is_mounted(target: Path) -> bool:
    """Something is mounted at `target`; asked of the mount table, so that a driver that hangs does not matter."""
    wanted = os.fsencode(target)
    with open("/proc/self/mountinfo", "rb") as table:  # noqa: PTH123
        return any(_unescaped(line.split(b" ")[4]) == wanted for line in table)


def _unescaped(field: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal.group(1), 8)]), field)
