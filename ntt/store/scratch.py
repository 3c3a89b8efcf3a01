"""A folder of this run's own, locked while it lives; what dead runs left behind is removed at the next start."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ntt.store.layout import make_folder, store_errors

LOCK_NAME = ".lock"
# only what NTT made itself is ever deleted: the folders may be a user's, and hold more
RUN_FOLDER = re.compile("[0-9a-f]{8}")
ARCHIVE_PART = re.compile(r"[0-9a-f]{32}\.tar\.zst\.part")


@contextmanager
def scratch_folder(work_dir: Path, run_id: str) -> Iterator[Path]:
    """`<work_dir>/<run_id>`, gone when the body ends. Leftovers of dead runs go first."""
    with store_errors(work_dir):
        make_folder(work_dir)
        turn = os.open(work_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(turn, fcntl.LOCK_EX)  # or another start takes ours, not locked yet, for a dead run's
            remove_leftovers(work_dir)
            folder = work_dir / run_id
            folder.mkdir(mode=0o700)
            lock = os.open(folder / LOCK_NAME, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
        finally:
            os.close(turn)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def leftovers(work_dir: Path) -> list[Path]:
    """Scratch folders whose run has died."""
    if not work_dir.is_dir():
        return []
    return sorted(
        folder
        for folder in work_dir.iterdir()
        if RUN_FOLDER.fullmatch(folder.name) and folder.is_dir() and _abandoned(folder / LOCK_NAME)
    )


def remove_leftovers(work_dir: Path) -> list[Path]:
    gone = leftovers(work_dir)
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    return gone


def remove_parts(archive_dir: Path) -> list[Path]:
    """Deletes archives that were never finished and that nobody writes any more."""
    parts = [part for part in archive_dir.glob("*.part") if ARCHIVE_PART.fullmatch(part.name)]
    gone = [part for part in parts if _abandoned(part)]
    for part in gone:
        part.unlink(missing_ok=True)
    return gone


def _abandoned(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return path.parent.is_dir()  # killed between making the folder and its lock
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
