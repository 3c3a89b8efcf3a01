"""Files of which a process that dies, or a machine, leaves the old or the new, and one that others must not write."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def is_file(path: Path, status: os.stat_result) -> bool:
    """Is it the file of this status?"""
    try:
        return os.path.samestat(path.stat(), status)
    except OSError:
        return False


def locked(path: Path, flags: int = 0) -> int:
    """The image, open and locked. BlockingIOError: another process has it."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(path).st_ino != os.fstat(fd).st_ino:  # noqa: PTH116  # it was removed as a leftover meanwhile
            raise BlockingIOError
    except BaseException:
        os.close(fd)
        raise
    return fd


def put(path: Path, content: bytes, *, durable: bool = True) -> None:
    """The file has this content or the one before, never a part."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    if durable:
        sync(path.parent)


def sync(path: Path) -> None:
    """What was written to it is durable on return, if it is there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
