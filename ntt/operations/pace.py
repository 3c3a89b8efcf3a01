"""Bytes that were read in a thread -> no more of them in a second than are allowed, and a caller that is told."""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio.from_thread

STEP_BYTES = 8 << 20
NAP_S = 0.25
BURST_S = 1.0  # a pause is not made up for


class Pace:
    """`passed` is called in a worker thread of anyio, and waits there; `told` in the event loop, every 8 MiB."""

    def __init__(self, bytes_per_s: float | None, told: Callable[[int], None]) -> None:
        self._bytes_per_s = bytes_per_s
        self._told = told
        self._waiting = 0
        self._due = time.monotonic()
        self.bytes = 0

    def passed(self, size_bytes: int) -> None:
        """Raises what ends a cancelled thread, at the latest after 8 MiB or a quarter of a second."""
        self.bytes += size_bytes
        self._waiting += size_bytes
        if self._bytes_per_s is not None:
            self._wait(size_bytes / self._bytes_per_s)
        if self._waiting >= STEP_BYTES:
            self._tell()

    def _wait(self, seconds: float) -> None:
        self._due = max(self._due, time.monotonic() - BURST_S) + seconds
        while (left_s := self._due - time.monotonic()) > 0:
            time.sleep(min(left_s, NAP_S))
            if left_s > NAP_S:
                self._tell()

    def _tell(self) -> None:
        self._waiting = 0
        anyio.from_thread.check_cancelled()
        anyio.from_thread.run_sync(self._told, self.bytes)
