"""Progress -> what is said of it: how far, how fast, how long still; of a medium in a drive, what was bad."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ntt.damage_text import FIRST, SAMPLES, task_words
from ntt.model import Stage
from ntt.progress import Reading, Work

RATE_SPAN_S = 10.0
SILENT_S = 5.0  # without a word from the drive, before it is said
NOTHING_READ_S = 10.0


@dataclass(slots=True)
class Progress:
    """One stage of one medium while it runs. `marks` are (time, bytes, files) of the last seconds."""

    medium: str
    stage: Stage
    started: float
    work: Work = field(default_factory=Work)
    state: str = "running"
    seconds: float = 0.0
    marks: list[tuple[float, int, int]] = field(default_factory=list)

    def update(self, work: Work) -> None:
        now = time.monotonic()
        self.work = work
        self.marks.append((now, work.bytes_done, work.files_done))
        while len(self.marks) > 2 and self.marks[0][0] < now - RATE_SPAN_S:
            self.marks.pop(0)

    def rate(self) -> tuple[float, float]:
        """(bytes/s, files/s) over the last seconds."""
        if len(self.marks) < 2:
            elapsed = max(time.monotonic() - self.started, 1e-3)
            return self.work.bytes_done / elapsed, self.work.files_done / elapsed
        (then, bytes_then, files_then), (now, bytes_now, files_now) = self.marks[0], self.marks[-1]
        elapsed = max(now - then, 1e-3)
        return (bytes_now - bytes_then) / elapsed, (files_now - files_then) / elapsed

    def left_s(self) -> float | None:
        """Seconds left by the slower of bytes and files; None while unknown."""
        by_bytes, by_files = self.rate()
        work = self.work
        estimates = [
            (total - done) / rate
            for total, done, rate in (
                (work.bytes_total, work.bytes_done, by_bytes),
                (work.files_total, work.files_done, by_files),
            )
            if total is not None and rate > 0
        ]
        return max(estimates) if estimates else None


def size_text(size_bytes: float) -> str:
    """1,536 -> '1.5 KB' (powers of 1,000 would not match what `ls -h` shows; these are of 1,024)."""
    for unit in ("B", "KB", "MB", "GB"):
        if size_bytes < 1024 or unit == "GB":
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    raise AssertionError("unreachable")


def time_text(seconds: float) -> str:
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def describe(progress: Progress, between: str = ", ") -> str:
    """'12,000/40,000 files, 210.0/702.3 MB, 150.2 MB/s, 0:03 left, 2 errors'

    `between`: what separates the three things to be known of a medium that is being read.
    """
    work = progress.work
    if work.reading is not None:
        return between.join(_reading_lines(progress, work.reading))
    parts: list[str] = []
    if work.files_done or work.files_total:
        parts.append(f"{work.files_done:,}" + (f"/{work.files_total:,}" if work.files_total else "") + " files")
    total = f"/{size_text(work.bytes_total)}" if work.bytes_total else ""
    parts.append(size_text(work.bytes_done) + total)
    if progress.state == "running":
        by_bytes, by_files = progress.rate()
        parts.append(f"{size_text(by_bytes)}/s" if work.bytes_total else f"{by_files:,.0f} files/s")
        left = progress.left_s()
        if left is not None:
            parts.append(f"{time_text(left)} left")
    if work.errors:
        parts.append(f"{work.errors:,} with problems")
    return ", ".join(parts)


def _reading_lines(progress: Progress, reading: Reading) -> list[str]:
    """'4.1 MB/8.0 MB rescued, 96.0 KB/s, 0:41 left', 'files: scrape, at 3.0 MB', '3 bad sectors (1.5 KB), ...'

    Rate, time left and what is bad are of the pass that is running; rescued bytes are of the whole medium.
    """
    work, running = progress.work, progress.state == "running"
    silent = running and reading.silent_s >= SILENT_S
    how_far = [f"{size_text(work.bytes_done)}/{size_text(work.bytes_total or 0)} rescued"]
    # a stage that ended with the few places that a medium is known by was about all of it
    where = [": ".join(filter(None, (task_words(reading.task), _phase(reading) if running else "")))]
    if reading.task == SAMPLES and not running:
        where = []
    if running:
        where.append(f"at {size_text(reading.position)}")
    if running and not silent:
        how_far.append(f"{size_text(reading.rate_per_s)}/s")
        how_far += [f"{time_text(reading.remaining_s)} left"] if reading.remaining_s is not None else []
    bad = [f"the drive has not answered for {time_text(reading.silent_s)}"] if silent else []
    if running and not silent and (reading.nothing_read_s or 0) >= NOTHING_READ_S:
        bad.append(f"nothing read for {time_text(reading.nothing_read_s or 0)}")
    if reading.bad_sectors:
        bad.append(f"{_counted(reading.bad_sectors, 'bad sector')} ({size_text(reading.bad_bytes)})")
    if reading.postponed_bytes:
        bad.append(f"{size_text(reading.postponed_bytes)} to be tried again")
    if reading.read_errors:
        bad.append(_counted(reading.read_errors, "read error"))
    return [", ".join(parts) for parts in (how_far, where, bad) if parts]


def _phase(reading: Reading) -> str:
    """The first pass is one forward pass of copying: nothing is said by saying so."""
    return "" if reading.task == FIRST and reading.phase == "copy 1" else reading.phase


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")
