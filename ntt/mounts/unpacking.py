"""An image -> its files in a folder, by 7z: exactly, or not at all.

7-Zip: "Command Line Version User's Guide", switches -aou, -snl and exit codes.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from pathlib import Path
from stat import S_ISREG
from time import monotonic

from ntt.mounts.programs import run_until
from ntt.names import printable

ALTERED = "7z may alter names that other systems do not allow, and keeps no owners and no hard links"
_LINK_IGNORED = b"ERROR: Dangerous link path was ignored : "
_ERRORS = (b"ERROR:", b"ERRORS:", b"WARNING:", b"WARNINGS:")
_OPENING = b"Open ERROR: "  # what stands behind it is why; ERROR: itself only names the file
_COUNTED = b"Sub items Errors: "
_LOOK_AGAIN_S = 0.25


class Unusable(Exception):
    """What was unpacked is not all, or cannot be told from what is not; the text says why."""


def unpack(argv: Sequence[str], view: Path, folder: Path, fds: Sequence[int], reserve_bytes: int) -> tuple[str, ...]:
    """Runs 7z, which unpacks into the empty `folder`; remarks on what it left out.

    Unusable when it stopped early, met an error other than a link it does not make, or filled the disk: a file it
    had begun could not be told from a whole one.
    """
    room = _free(folder) - reserve_bytes
    if room <= 0:
        raise Unusable(f"there is no room to unpack it: less than {reserve_bytes:,} bytes are free")
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    full = _Full(folder, reserve_bytes)
    ended = run_until(argv, view, fds, full.now)
    if full.seen:
        raise Unusable("what it holds does not fit on this disk")
    if ended.status in (0, 1):
        return (ALTERED,)
    lines = ended.words.splitlines()
    errors = [line for line in lines if line.startswith(_ERRORS)]
    ignored = [line.removeprefix(_LINK_IGNORED) for line in errors if line.startswith(_LINK_IGNORED)]
    counted = [line for line in lines if line.startswith(_COUNTED)]
    if ended.status != 2 or len(ignored) != len(errors) or counted[-1:] != [_COUNTED + b"%d" % len(ignored)]:
        causes = [line.removeprefix(_OPENING) for line in lines if line.startswith(_OPENING)] or errors
        raise Unusable(printable(causes[0]) if causes else ended.complaint)
    for link in ignored:
        _remove_empty(folder, link)
    return (ALTERED, f"7z made no link out of {len(ignored):,} that lead out of their folder or to it")


class _Full:
    """Asks now and then whether the disk is about to be full."""

    def __init__(self, folder: Path, reserve_bytes: int) -> None:
        self._folder = folder
        self._reserve_bytes = reserve_bytes
        self._again_at = 0.0
        self.seen = False

    def now(self) -> bool:
        if monotonic() >= self._again_at:
            self._again_at = monotonic() + _LOOK_AGAIN_S
            self.seen = _free(self._folder) < self._reserve_bytes
        return self.seen


def _free(folder: Path) -> int:
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize


def _remove_empty(folder: Path, link: bytes) -> None:
    """7z leaves an empty file where it makes no link; `link` is `PATH : TARGET` in one line."""
    parts = link.split(b" : ")
    paths = [os.path.join(os.fsencode(folder), b" : ".join(parts[:end])) for end in range(1, len(parts))]  # noqa: PTH118
    empty = [path for path in paths if _is_empty_file(path)]
    if len(empty) != 1:
        raise Unusable("7z left an empty file in the place of a link, and does not say clearly which")
    os.unlink(empty[0])  # noqa: PTH108


def _is_empty_file(path: bytes) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return S_ISREG(status.st_mode) and status.st_size == 0
