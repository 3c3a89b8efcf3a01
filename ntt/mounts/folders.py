"""A folder of one session's own, which is gone when the session is, however it ended."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "mounts-"


def claim(work: Path) -> tuple[Path, int]:
    """A new folder in `work` and its lock: whoever holds the descriptor, or a copy of it, keeps the folder alive.

    Folders of sessions that were killed are removed on this occasion. OSError when `work` cannot be written to.
    """
    with _locked(work):
        for stale in work.glob(f"{_PREFIX}*"):
            with suppress(OSError):
                _remove_unless_held(stale)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=work.resolve()))
        (folder / "view").mkdir()
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return folder, lock


def remove(folder: Path) -> None:
    """All of it, whatever the modes in it; may be done again. What cannot be removed stays for the next session."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():  # what was unpacked may have folders that not even their owner may change
        for directory, _, _ in os.walk(folder):
            for below in os.scandir(directory):
                if below.is_dir(follow_symlinks=False):
                    Path(below.path).chmod(0o700)
        shutil.rmtree(folder, ignore_errors=True)


def _remove_unless_held(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(folder)
    finally:
        os.close(fd)


@contextmanager
def _locked(work: Path) -> Iterator[None]:
    # without it, a folder could be taken for a stale one between its making and its locking
    fd = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
