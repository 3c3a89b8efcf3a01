"""What can go wrong for a user, each with the exit status it ends in."""

from __future__ import annotations

EXIT_OK = 0
EXIT_PROBLEMS = 1
EXIT_USAGE = 2
EXIT_FAILED = 3
EXIT_INTERRUPTED = 130


class NttError(Exception):
    """A failure that a user can cause or must act on: one line `what was wrong, with what; what to do`."""

    exit_status = EXIT_FAILED

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(f"{message}; {next_step}" if next_step else message)


class UsageError(NttError):
    """The command cannot be carried out as it was given: no such file, unknown hash, bad option."""

    exit_status = EXIT_USAGE


class MediumError(NttError):
    """This medium cannot go on; the others can."""


class StoreError(NttError):
    """The store cannot take more (full disk, no permission): no medium can go on."""


class DatabaseError(NttError):
    """The database does not answer, or is not one this program may write to."""


class BusyError(NttError):
    """Another process works on this medium."""


class Interrupted(NttError):
    """The operator stopped the run; everything finished so far is recorded."""

    exit_status = EXIT_INTERRUPTED
