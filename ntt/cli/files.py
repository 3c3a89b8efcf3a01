"""Lines -> a file that the user named: there whole, or as it was before."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from ntt.errors import UsageError
from ntt.names import printable

STANDARD_OUTPUT = Path("-")
BEGINNING_BYTES = 4096


def check_target(path: Path, is_ours: Callable[[bytes], bool], what: str) -> None:
    """UsageError where writing to `path` would replace a file of which `is_ours` does not know the beginning."""
    try:
        target = path.resolve()
        if not target.is_file():
            return
        with target.open("rb") as file:
            beginning = file.read(BEGINNING_BYTES)
    except OSError as error:
        raise _refused(path, error) from None
    if beginning and not is_ours(beginning):
        shown = printable(os.fsencode(path))
        raise UsageError(f"{shown} is there and is not {what}", "name another file, or remove this one")


def write_file(path: Path, pieces: Iterable[str]) -> None:
    """Written beside its place, synced and moved there; a link is followed. UsageError where it may not be written."""
    try:
        target = path.resolve()
        if target.exists() and not target.is_file() and not target.is_dir():
            with target.open("w", encoding="utf-8") as sink:  # a pipe or a device is written to, never replaced
                sink.writelines(pieces)
            return
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.writelines(pieces)
                os.fchmod(file.fileno(), 0o666 & ~_umask())
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(target)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise _refused(path, error) from None


def _refused(path: Path, error: OSError) -> UsageError:
    shown = printable(os.fsencode(path))
    return UsageError(f"{shown} cannot be written: {error.strerror}", "name a file that you may write")


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
