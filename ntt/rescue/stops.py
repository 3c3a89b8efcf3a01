"""What ddrescue says and saves, and the time -> whether a pass is to end, and why. No I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from ntt.model import PassEnd
from ntt.tools.ddrescue import Status

_FEW_ERRORS = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """When a pass is ended. Times are seconds; None: no such limit.

    `enough_bytes`: of the whole medium, rescued. `stall_s`: nothing read, nothing failed, no movement. `hopeless_s`:
    what is left would take longer at the rate of the last `window_s`. After `check_errors` failures in a row, or a few
    that took `check_after_s`, the source is asked for a sector that it gave before; an answer takes at most `check_s`.
    `grace_s`: how long ddrescue gets to end and save its map; a read that hangs is given up after it.
    """

    enough_bytes: int | None = None
    stall_s: float = 180.0
    hopeless_s: float | None = 48 * 3600.0
    window_s: float = 600.0
    check_errors: int = 16
    check_after_s: float = 30.0
    check_s: float = 60.0
    grace_s: float = 30.0
    poll_s: float = 0.2


@dataclass(frozen=True, slots=True)
class Count:
    """Exact, from a saved map: `rescued` and `settled` (rescued or tried to the end) bytes at `at_s`."""

    at_s: float
    rescued: int
    settled: int


class StopRules:
    """Of one pass. Times are of one clock that only goes forward."""

    def __init__(self, limits: Limits, wanted_bytes: int, sector_bytes: int, start: Count, shown_from: int) -> None:
        """`start`: the map before the pass. `shown_from`: to be added to what ddrescue shows as rescued."""
        self._limits = limits
        self._wanted_bytes = wanted_bytes
        self._sector_bytes = sector_bytes
        self._start = start
        self._shown_from = shown_from
        self._last: Status | None = None
        self._moved_s = self._read_s = start.at_s
        self._errors_at_read = 0
        self._check_errors = limits.check_errors
        self._check_after_s = limits.check_after_s
        self._counts = deque((start,))
        self._errors = deque(((start.at_s, 0),))

    def saw(self, status: Status, now_s: float) -> None:
        """ddrescue showed this. Its numbers are rounded: a rate above zero is movement, too."""
        last, self._last = self._last, status
        read = last is None or status.rescued_bytes != last.rescued_bytes or status.rate_per_s > 0
        if read:
            self._read_s, self._errors_at_read = now_s, status.read_errors
            self._check_errors, self._check_after_s = self._limits.check_errors, self._limits.check_after_s
        if read or last is None or (status.position, status.read_errors) != (last.position, last.read_errors):
            self._moved_s = now_s
        self._errors.append((now_s, status.read_errors))
        while self._errors[0][0] < now_s - self._limits.window_s:
            self._errors.popleft()

    def counted(self, count: Count) -> None:
        """The map was saved."""
        self._counts.append(count)
        while len(self._counts) > 1 and self._counts[1].at_s <= count.at_s - self._limits.window_s:
            self._counts.popleft()

    def verdict(self, now_s: float) -> tuple[PassEnd, str] | None:
        """Why the pass is to end now, None while it may go on."""
        enough = self._limits.enough_bytes
        if enough is not None and self._last is not None and self._shown_from + self._last.rescued_bytes >= enough:
            return PassEnd.ENOUGH, f"{enough:,} bytes were to be read"
        if now_s - self._moved_s >= self._limits.stall_s:
            return PassEnd.NO_PROGRESS, f"nothing moved for {now_s - self._moved_s:.0f} s"
        return self._hopeless()

    def to_be_checked(self, now_s: float) -> bool:
        """Has it failed for so long that it should be asked whether it is there? Then the next time is further off."""
        failed = 0 if self._last is None else self._last.read_errors - self._errors_at_read
        long = failed >= _FEW_ERRORS and now_s - self._read_s >= self._check_after_s
        if failed < self._check_errors and not long:
            return False
        self._check_errors = 4 * max(failed, self._limits.check_errors)
        self._check_after_s = 2 * max(now_s - self._read_s, self._limits.check_after_s)
        return True

    def answered(self, now_s: float) -> None:
        """The source was asked meanwhile, which held up whoever counts the time."""
        self._moved_s = max(self._moved_s, now_s)

    def _hopeless(self) -> tuple[PassEnd, str] | None:
        limit_s = self._limits.hopeless_s
        if limit_s is None:
            return None
        first, last = self._counts[0], self._counts[-1]
        seconds = last.at_s - first.at_s
        if seconds < self._limits.window_s:
            return None
        failed = (self._errors[-1][1] - self._errors[0][1]) * self._sector_bytes
        done = max(last.settled - first.settled, last.rescued - first.rescued + failed)
        left = max(0, self._wanted_bytes - (last.rescued - self._start.rescued))
        if done * limit_s >= left * seconds:
            return None
        return PassEnd.HOPELESS, f"{left:,} bytes are left, {done:,} were dealt with in the last {seconds:.0f} s"
