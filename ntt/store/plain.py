"""Large blobs -> one file each, hashed while it is written, named and durable before anyone refers to it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from blake3 import blake3

from ntt.store.layout import FILE_MODE, StoreLayout, make_folder, store_errors, sync_folder

_ZEROS = bytes(1 << 20)


class PlainBlobFile:
    """A temp file that becomes `blobs/<aa>/<bb>/<hash>`. Someone writes to `fd`, or to a copy of it.

    It is locked while `fd` or a copy of it is open; `remove_orphans` deletes those that are not.
    """

    def __init__(self, layout: StoreLayout, name: str) -> None:
        self._layout = layout
        self._path = layout.tmp / f"{name}.part"
        with store_errors(self._path):
            self.fd = self._locked()
            while not os.fstat(self.fd).st_nlink:  # taken for an orphan before it was locked
                os.close(self.fd)
                self.fd = self._locked()

    def _locked(self) -> int:
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        return fd

    def keep(self, blob_hash: bytes, size_bytes: int) -> None:
        """Gives the file its name and size. Content, name and folders are durable on return."""
        target = self._layout.blob_path(blob_hash)
        with store_errors(self._path):
            os.ftruncate(self.fd, size_bytes)
            os.fchmod(self.fd, FILE_MODE)
            os.fsync(self.fd)
            make_folder(target.parent)
            self._path.rename(target)
            sync_folder(target.parent)
        os.close(self.fd)

    def discard(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        os.close(self.fd)


class PlainBlobWriter:
    """Content in order -> the file behind `fd`, which it closes in the end. Zeros become holes.

    A hole at the end is not there yet: `PlainBlobFile.keep` gives the file its size. `where` is how errors call it.
    """

    def __init__(self, fd: int, where: str) -> None:
        self._fd = fd
        self._where = where
        self._hasher = blake3()
        self.size_bytes = 0

    def write(self, chunk: bytes) -> None:
        self._hasher.update(chunk)
        if chunk != (_ZEROS if len(chunk) == len(_ZEROS) else bytes(len(chunk))):
            with store_errors(self._where):
                rest = memoryview(chunk)
                while rest:
                    rest = rest[os.pwrite(self._fd, rest, self.size_bytes + len(chunk) - len(rest)) :]
        self.size_bytes += len(chunk)

    def digest(self) -> bytes:
        return self._hasher.digest()

    def close(self) -> None:
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
