"""A stage that runs -> the few words and numbers of it that stand beside its bar."""

from __future__ import annotations

from dataclasses import dataclass

from ntt.board import Panel, StageLine
from ntt.damage_text import task_words
from ntt.progress import Reading, Work
from ntt.progress_text import NOTHING_READ_S, RATE_SPAN_S, SILENT_S, size_text, time_text

UNREAD, PARTLY, READ, BAD = "░", "▒", "█", "X"  # of a surface: to be told apart without colours


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of a stage. `share` is from 0 to 1, None while unknown; `left` always says something."""

    name: str
    share: float | None
    rate: str
    left: str
    amount: str
    where: str
    trouble: str

    @property
    def percent(self) -> str:
        """Never 100 % before the end."""
        return "" if self.share is None else f"{int(self.share * 100)} %"


def said_of(line: StageLine, now: float) -> Said:
    """`now`: seconds of the clock of `started_s` and `marks`. A stage that stands still has no rate of before."""
    work, reading = line.work, line.work.reading
    by_bytes, by_files = rates(line, now)
    if reading is None:
        in_files = not work.bytes_total and bool(work.files_total or not work.bytes_done)
        rate = f"{by_files:,.0f} files/s" if in_files else f"{size_text(by_bytes)}/s"
        left = _left_s(work, by_bytes, by_files)
    else:
        rate = f"{size_text(reading.rate_per_s)}/s"
        left = reading.remaining_s
    return Said(
        name=line.stage.value,
        share=_share(work),
        rate=rate,
        left=_left(left, reading),
        amount=_amount(work),
        where=_where(reading) if reading else "",
        trouble=_trouble(work),
    )


def rates(line: StageLine, now: float) -> tuple[float, float]:
    """(bytes/s, files/s) of the last seconds up to now, also when nothing was reported in them."""
    base = line.marks[0] if line.marks else (line.started_s, 0, 0)
    for mark in line.marks:
        if mark[0] <= now - RATE_SPAN_S:
            base = mark
    elapsed = max(now - base[0], 0.25)
    by_bytes, by_files = line.work.bytes_done - base[1], line.work.files_done - base[2]
    return max(0, by_bytes) / elapsed, max(0, by_files) / elapsed


def _left_s(work: Work, by_bytes: float, by_files: float) -> float | None:
    known = (
        (work.bytes_total, work.bytes_done, by_bytes),
        (work.files_total, work.files_done, by_files),
    )
    guesses: list[float] = []
    for total, done, rate in known:
        if total is None or done >= total:
            continue
        if rate <= 0:
            return None
        guesses.append((total - done) / rate)
    return max(guesses) if guesses else None


def _left(left_s: float | None, reading: Reading | None) -> str:
    if reading is not None and reading.silent_s >= SILENT_S:
        return f"no answer {time_text(reading.silent_s)}"
    return "-:-- left" if left_s is None else f"{time_text(left_s)} left"


def _share(work: Work) -> float | None:
    for done, total in ((work.bytes_done, work.bytes_total), (work.files_done, work.files_total)):
        if total:
            return min(1.0, max(0.0, done / total))
    return None


def _amount(work: Work) -> str:
    parts: list[str] = []
    if work.files_done or work.files_total:
        parts.append(f"{work.files_done:,}" + (f"/{work.files_total:,}" if work.files_total else "") + " files")
    if work.bytes_done or work.bytes_total:
        parts.append(size_text(work.bytes_done) + (f"/{size_text(work.bytes_total)}" if work.bytes_total else ""))
    return ", ".join(parts)


def _where(reading: Reading) -> str:
    task = ": ".join(filter(None, (task_words(reading.task), reading.phase)))
    return f"{task} at {size_text(reading.position)}"


def _trouble(work: Work) -> str:
    reading = work.reading
    if reading and reading.silent_s < SILENT_S and (reading.nothing_read_s or 0.0) >= NOTHING_READ_S:
        return f"nothing read for {time_text(reading.nothing_read_s or 0.0)}"
    return f"{work.errors:,} with problems" if work.errors else ""


def bad_words(panel: Panel) -> str:
    """'24.0 KB bad, 12 sectors', "" while nothing is bad."""
    reading = panel.stage.work.reading if panel.stage else None
    sectors, lost = (reading.bad_sectors, reading.bad_bytes) if reading else (0, 0)
    lost = max(lost, panel.bad_bytes)
    if not (lost or sectors):
        return ""
    counted = f", {sectors:,} sector{'' if sectors == 1 else 's'}" if sectors else ""
    return f"{size_text(lost)} bad{counted}"


def surface_letters(surface: bytes, cells: int) -> str:
    """One letter per equal part of the medium, from its start to its end; no bad place is lost in a larger part."""
    letters: list[str] = []
    for cell in range(cells if surface else 0):
        start = cell * len(surface) // cells
        states = set(surface[start : max(start + 1, (cell + 1) * len(surface) // cells)])
        letters.append(BAD if 2 in states else UNREAD if states == {0} else READ if states == {1} else PARTLY)
    return "".join(letters)


def bar(share: float | None, width: int) -> tuple[str, str]:
    """(what is done, what is not), together `width` columns; full only at the end."""
    done = 0 if share is None else int(share * width)
    return "━" * done, "─" * (width - done)
