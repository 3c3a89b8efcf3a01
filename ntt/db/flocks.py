"""Locks between processes on files: flock(2), gone with the last descriptor, waited for without blocking the loop."""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio

from ntt.errors import DatabaseError

POLL_S = 0.02


@contextmanager
def lock_file(path: Path) -> Iterator[int]:
    """A descriptor to lock with; closing it gives the lock up unless a child inherited it. The file stays."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as wrong:
        raise DatabaseError(f"{path} cannot be opened: {wrong.strerror}") from None
    try:
        yield fd
    finally:
        os.close(fd)


def try_exclusive(fd: int) -> bool:
    """Whether the lock is now ours alone; a shared lock held through the same descriptor is given up for it."""
    return _try(fd, fcntl.LOCK_EX)


def take_shared(fd: int) -> None:
    """Shared with others; only called where nobody can hold it alone. DatabaseError if somebody does."""
    if not _try(fd, fcntl.LOCK_SH):
        raise DatabaseError("the embedded database is being stopped by hand", "try again")


def release(fd: int) -> None:
    fcntl.flock(fd, fcntl.LOCK_UN)


def _try(fd: int, mode: int) -> bool:
    try:
        fcntl.flock(fd, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as wrong:
        raise DatabaseError(f"the file system of the home cannot lock files: {wrong.strerror}") from None
    return True


async def became(condition: Callable[[], bool], wait_s: float) -> bool:
    """Whether `condition` came true within `wait_s` seconds; asked every 20 ms, at least once."""
    with anyio.move_on_after(wait_s):
        while not condition():  # noqa: ASYNC110 - what another process does sends no event
            await anyio.sleep(POLL_S)
        return True
    return False


async def became_free(fd: int, wait_s: float) -> bool:
    """Whether the exclusive lock could be taken within `wait_s` seconds."""
    return await became(lambda: try_exclusive(fd), wait_s)


@asynccontextmanager
async def held(path: Path, wait_s: float, complaint: str) -> AsyncIterator[None]:
    """Holds the lock on `path` alone; DatabaseError(`complaint`) when others keep it for `wait_s` seconds."""
    with lock_file(path) as fd:
        if not await became_free(fd, wait_s):
            raise DatabaseError(complaint)
        yield
