"""Large blobs -> one file each, hashed while it is written, named and durable before anyone refers to it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from blake3 import blake3

from ntt.store.layout import FILE_MODE, StoreLayout, make_folder, store_errors, sync_folder

_ZEROS = bytes(1 << 20)


class PlainBlobWriter:
    """Content in order -> a temp file -> `blobs/<aa>/<bb>/<hash>`. Zeros become holes.

    The temp file is locked while its writer lives; `remove_orphans` deletes those whose writer is gone.
    """

    def __init__(self, layout: StoreLayout, name: str) -> None:
        self._layout = layout
        self._path = layout.tmp / f"{name}.part"
        self._hasher = blake3()
        self.size_bytes = 0
        with store_errors(self._path):
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX)

    def write(self, chunk: bytes) -> None:
        self._hasher.update(chunk)
        if chunk != (_ZEROS if len(chunk) == len(_ZEROS) else bytes(len(chunk))):
            with store_errors(self._path):
                rest = memoryview(chunk)
                while rest:
                    rest = rest[os.pwrite(self._fd, rest, self.size_bytes + len(chunk) - len(rest)) :]
        self.size_bytes += len(chunk)

    def digest(self) -> bytes:
        return self._hasher.digest()

    def keep(self) -> None:
        """Gives the file its name. Content, name and folders are durable on return."""
        target = self._layout.blob_path(self.digest())
        with store_errors(self._path):
            os.ftruncate(self._fd, self.size_bytes)
            os.fchmod(self._fd, FILE_MODE)
            os.fsync(self._fd)
            make_folder(target.parent)
            self._path.rename(target)
            sync_folder(target.parent)
        os.close(self._fd)

    def discard(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        os.close(self._fd)


def remove_orphans(layout: StoreLayout) -> list[Path]:
    """Deletes temp files whose writer has died; returns them."""
    removed: list[Path] = []
    for path in layout.tmp.glob("*.part"):
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            path.unlink(missing_ok=True)
            removed.append(path)
        finally:
            os.close(fd)
    return removed
