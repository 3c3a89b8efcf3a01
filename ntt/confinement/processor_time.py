"""Units of work -> a limit on processor time, moved on before each: the kernel ends a loop without end."""

from __future__ import annotations

import resource
import time

UNIT_S = 60  # of processor time; a file takes microseconds, even a very fragmented one less than a second
BYTES_PER_S = 1 << 20  # of content or image on top; 50 to 1,000 times that is usual
LONGEST_S = 14 * 24 * 3600


class ProcessorTime:
    """RLIMIT_CPU of this process. What exceeds it is ended by SIGXCPU."""

    def __init__(self) -> None:
        self._limit_s = 0.0

    def allow(self, size_bytes: int) -> None:
        """From now on, as much as `size_bytes` can take at the very most; called again before the next unit."""
        limit_s = self._limit_for(size_bytes)
        if not limit_s <= self._limit_s <= limit_s + 2 * UNIT_S:
            self._set(limit_s)

    def extend(self, size_bytes: int) -> None:
        """In the middle of a unit that proves to be larger: as `allow`, but what was allowed already stays so."""
        limit_s = self._limit_for(size_bytes)
        if limit_s > self._limit_s:
            self._set(limit_s)

    def _limit_for(self, size_bytes: int) -> float:
        return time.process_time() + min(UNIT_S + size_bytes / BYTES_PER_S, LONGEST_S)

    def _set(self, limit_s: float) -> None:
        self._limit_s = limit_s + UNIT_S  # ahead, so that most calls need not ask the kernel
        _, hard_s = resource.getrlimit(resource.RLIMIT_CPU)
        soft_s = int(self._limit_s) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (soft_s if hard_s < 0 else min(soft_s, hard_s), hard_s))
