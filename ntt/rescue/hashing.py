"""An image that grows -> its hash, when the last byte is read: the finished prefix is hashed on the way.

One thread, one core, one window of memory; it reads what was just written, from the page cache. What is hashed goes to
the disk at once: ddrescue makes the image durable each time it saves its map, reads nothing meanwhile, and so has
little left to wait for.
"""

from __future__ import annotations

import ctypes
import os
import threading
from pathlib import Path
from types import TracebackType

import anyio
import anyio.to_thread

from ntt.identity import WINDOW_BYTES, ContentScan, ImageState, Scan

_SYNC_FILE_RANGE_WRITE = 2  # <linux/fs.h>
_sync_file_range = ctypes.CDLL(None).sync_file_range
_sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


class PrefixHash:
    """Follows the finished prefix of one image, over as many passes as there are.

    Who writes the image says how far it is finished (`reaches`); nothing beyond is looked at. To be used from one task.
    """

    def __init__(self, image: Path, size_bytes: int) -> None:
        self._image = image
        self._size_bytes = size_bytes
        self._allowed = 0
        self._anew = self._closed = self._last = False
        self._hashed = 0
        self._scan: Scan | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> PrefixHash:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def begins(self, end: int) -> None:
        """A pass begins: it will not write the bytes `[0, end)`. If more than these were hashed, it starts anew."""
        with self._changed:
            self._anew = self._anew or end < self._hashed
            self._allow(end)

    def reaches(self, end: int) -> None:
        """The bytes `[0, end)` are written, and will not be written again; less than was said before says nothing."""
        with self._changed:
            self._allow(max(end, self._allowed))

    def _allow(self, end: int) -> None:
        self._allowed = min(end, self._size_bytes)
        if self._thread is None and self._allowed >= WINDOW_BYTES:
            self._start()
        self._changed.notify()

    async def finish(self) -> Scan | None:
        """Hashes the rest, once nothing writes the image any more; None when it cannot be read or was closed."""
        with self._changed:
            self._allowed, self._last = self._size_bytes, True
            if self._thread is None:
                self._start()
            self._changed.notify()
        thread = self._thread
        assert thread is not None
        try:
            await anyio.to_thread.run_sync(thread.join, abandon_on_cancel=True)
        except BaseException:
            self.close()
            raise
        return self._scan

    def close(self) -> None:
        """Ends it, finished or not. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._follow, name="prefix hash", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        try:
            fd = os.open(self._image, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            self._hash(fd)
        except OSError:
            return
        finally:
            os.close(fd)

    def _hash(self, fd: int) -> None:
        content = ContentScan(max_threads=1)
        buffer = memoryview(bytearray(WINDOW_BYTES))
        while True:
            with self._changed:
                self._changed.wait_for(self._has_work)
                if self._closed:
                    return
                if self._anew:
                    content, self._hashed, self._anew = ContentScan(max_threads=1), 0, False
                    continue
                size = min(WINDOW_BYTES, self._allowed - self._hashed)
                at, self._hashed = self._hashed, self._hashed + size  # in hand counts: it may be read already
            if not size:
                self._scan = content.result(ImageState.of(fd))
                return
            got = os.preadv(fd, [buffer[:size]], at)
            if got < size:
                return  # shorter than it was said to be: whoever wants the hash reads it again, and says so
            content.feed(buffer[:size])
            _begin_writing(fd, at, size)

    def _has_work(self) -> bool:
        """Whole windows on the way, so that they are large; the rest at the end."""
        return self._closed or self._anew or self._last or self._allowed - self._hashed >= WINDOW_BYTES


def _begin_writing(fd: int, offset: int, length: int) -> None:
    """The kernel writes these bytes out from now on; that makes nothing durable. Where it cannot, nothing is lost.

    May wait for the disk, but holds up nobody else (sync_file_range(2)).
    """
    _sync_file_range(fd, offset, length, _SYNC_FILE_RANGE_WRITE)
