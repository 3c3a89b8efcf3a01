"""A read that failed -> what it is to be called, and what is done about it; pure words and decisions."""

from __future__ import annotations

import enum
import errno
from collections.abc import Collection
from dataclasses import dataclass


class Check(enum.StrEnum):
    """What a diagnosis finds; the names stand in `diagnostic_event.checks` and are part of the interface."""

    BEYOND_EOF = "detected_beyond_eof"
    IO_ERROR = "detected_io_error"
    MISSING_FILE = "detected_missing_file"
    PERMISSION_ERROR = "detected_permission_error"
    LOG_BEYOND_EOF = "dmesg:beyond_eof"
    LOG_IO_ERROR = "dmesg:io_error"
    LOG_FS_ERROR = "dmesg:fs_error"
    MOUNT_OK = "mount_check:ok"
    MOUNT_MISSING = "mount_check:missing"
    MOUNT_INACCESSIBLE = "mount_check:inaccessible"
    WORKER_CRASHED = "worker_crashed"
    WORKER_TIMEOUT = "worker_timeout"
    MAX_RETRIES_EXCEEDED = "max_retries_exceeded"


class Action(enum.StrEnum):
    """`skipped`: no further attempt can help. `remounted`: what it is read through was opened anew, it is tried again.

    `continuing`: looked into, tried again. `max_retries`: given up.
    """

    SKIPPED = "skipped"
    REMOUNTED = "remounted"
    CONTINUING = "continuing"
    MAX_RETRIES = "max_retries"


FROM_WORKERS = frozenset(
    (
        Check.BEYOND_EOF, Check.IO_ERROR, Check.MISSING_FILE, Check.PERMISSION_ERROR,
        Check.MOUNT_OK, Check.MOUNT_MISSING, Check.MOUNT_INACCESSIBLE,
    )
)  # fmt: skip
BROKEN = frozenset((Check.MOUNT_MISSING, Check.MOUNT_INACCESSIBLE))
_BEYOND = frozenset((Check.BEYOND_EOF, Check.LOG_BEYOND_EOF))
_OF_ERRNO = frozenset((Check.IO_ERROR, Check.MISSING_FILE, Check.PERMISSION_ERROR))
_MISSING = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ESTALE))
_FORBIDDEN = frozenset((errno.EACCES, errno.EPERM))
# what does not come from the medium, and of which the error number says all there is
_OF_THE_MACHINE = frozenset(
    (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EINVAL, errno.EXDEV, errno.ELOOP, errno.ENAMETOOLONG)
)


def class_of(number: int) -> Check | None:
    """The class of an error by its `errno`; None: none of the classes, it has nothing to do with the medium."""
    if number in _MISSING:
        return Check.MISSING_FILE
    if number in _FORBIDDEN:
        return Check.PERMISSION_ERROR
    return None if number in _OF_THE_MACHINE else Check.IO_ERROR


def is_broken(checks: Collection[str]) -> bool:
    """Not the file is at fault but what it is read through."""
    return not BROKEN.isdisjoint(checks)


@dataclass(frozen=True, slots=True)
class Failure:
    """What is known of a file when its attempts have come to the checkpoint or to their end.

    `undecided`: they have not come to their end. `unread`: the map names bytes that are the cause.
    """

    checks: frozenset[str]
    undecided: bool
    unread: bool


def action_on(failure: Failure) -> Action:
    """What the diagnosis leads to. A broken way to the file comes first: nothing can be said of the file then."""
    if is_broken(failure.checks):
        return Action.REMOUNTED
    if failure.unread or not _BEYOND.isdisjoint(failure.checks) or _OF_ERRNO.isdisjoint(failure.checks):
        return Action.SKIPPED
    return Action.CONTINUING if failure.undecided else Action.MAX_RETRIES
