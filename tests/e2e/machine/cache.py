"""Key -> a folder in the cache: there whole or not at all, made by one process at a time, outside the repository."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

UNUSED_S = 2 * 24 * 3600


def cache_folder() -> Path:
    """$NTT_TEST_MACHINE, else ntt-test-machine in the user's cache folder; it exists on return."""
    named = os.environ.get("NTT_TEST_MACHINE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(named).absolute() if named else base / "ntt-test-machine"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def key_of(*parts: str | bytes, files: Iterable[Path] = ()) -> str:
    """A short name for exactly these words and file contents (each file by its name and bytes)."""
    state = hashlib.sha256()
    named = [piece for file in sorted(files) for piece in (file.name.encode(), file.read_bytes())]
    for part in (*parts, *named):
        data = part.encode() if isinstance(part, str) else part
        state.update(b"%d:" % len(data) + data)
    return state.hexdigest()[:16]


def cached(kind: str, key: str, build: Callable[[Path, int], None]) -> Path:
    """The folder of this kind and key; `build` fills a new one if there is none.

    Whoever comes second waits for the first. A build that fails or is killed leaves nothing that is ever taken
    for a result. `build` gets the lock's descriptor: children that inherit it keep others out until they end.
    """
    cache = cache_folder()
    made = cache / f"{kind}-{key}"
    with _locked(cache / f"{kind}.lock") as lock:
        if not made.is_dir():
            for leftover in cache.glob(f"{kind}-*.new"):
                shutil.rmtree(leftover)
            new = cache / f"{kind}-{key}.new"
            new.mkdir()
            try:
                build(new, lock)
                _sync(new)
                new.rename(made)
            except BaseException:
                shutil.rmtree(new, ignore_errors=True)
                raise
        os.utime(made)
        for other in cache.glob(f"{kind}-*"):
            if time.time() - other.stat().st_mtime > UNUSED_S:
                shutil.rmtree(other)
    return made


def _sync(folder: Path) -> None:
    """A host that crashes later does not leave half of it under its name."""
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
