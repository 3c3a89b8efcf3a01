"""What a restore did and could not do: counts, and notes by directory and name until their paths are asked for."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from dataclasses import dataclass, field

from ntt.db.restoring import PlannedDirectory, PlannedEntry
from ntt.errors import StoreError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FATAL = _FULL | {errno.EROFS, errno.EIO}


@dataclass(frozen=True, slots=True)
class Note:
    """Something to report of an entry."""

    volume: int
    parent_ino: int
    name: bytes
    reason: str


def note_of(entry: PlannedEntry | PlannedDirectory, reason: str) -> Note:
    return Note(entry.volume, entry.parent_ino, entry.name, reason)


@dataclass(slots=True)
class Tally:
    """What was restored so far, and what there is to report since it was last looked at."""

    files: int = 0
    bytes: int = 0
    directories: int = 0
    links: int = 0
    hard_links: int = 0
    special: int = 0
    skipped: list[Note] = field(default_factory=list)
    damaged: list[Note] = field(default_factory=list)
    failed: list[Note] = field(default_factory=list)
    altered: list[Note] = field(default_factory=list)
    replaced: list[Note] = field(default_factory=list)


def words_of(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def raise_if_fatal(error: Exception) -> None:
    """StoreError when nothing more can be written to the destination."""
    if isinstance(error, OSError) and error.errno in _FATAL:
        full = error.errno in _FULL
        what = "no space left in the destination" if full else f"the destination cannot be written: {error.strerror}"
        raise StoreError(what, "free some space or name another folder, then restore again") from error


@contextlib.contextmanager
def writing_the_destination() -> Iterator[None]:
    """Every OSError of the body ends the restore, in words for the operator."""
    try:
        yield
    except OSError as error:
        raise_if_fatal(error)
        raise StoreError(f"the destination cannot be written: {words_of(error)}", "name another folder") from error
