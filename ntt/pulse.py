"""A worker process -> its parent: what it is at, through a few words of shared memory."""

from __future__ import annotations

import mmap


class Pulse:
    """What a worker is at, in memory shared with it: the batch, the file in it, bytes done so far."""

    SIZE_BYTES = 24

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, self.SIZE_BYTES)
        self._words = memoryview(self._map).cast("Q")

    def at(self, batch: int, index: int) -> None:
        self._words[0], self._words[1] = batch, index

    def add(self, size_bytes: int) -> None:
        self._words[2] += size_bytes

    def read(self) -> tuple[int, int, int]:
        """(batch, index of the file in hand, bytes done)."""
        return self._words[0], self._words[1], self._words[2]

    def close(self) -> None:
        self._words.release()
        self._map.close()
