"""Progress -> the screen: a live view on a terminal, log lines everywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ntt.map_text import ROWS, map_rows, picture_size
from ntt.model import Stage
from ntt.names import printable
from ntt.operations.surface import SurfaceMap
from ntt.operations.verify import Seen
from ntt.progress import Reporter, Work
from ntt.progress_text import Progress, describe, size_text, time_text

LINE_EVERY_S = 10.0
NOTES_SHOWN = 6
FIRST_GUESS_S = 3.0  # of how long it will take


class LineReporter:
    """For pipes and logs: a line per start and end, and one every ten seconds between."""

    def __init__(self) -> None:
        self._running: dict[str, Progress] = {}
        self._last_line = 0.0

    def stage_started(self, medium: str, stage: Stage) -> None:
        self._running[medium] = Progress(medium, stage, time.monotonic())
        self._last_line = time.monotonic()
        _line(f"{medium}: {stage.value} ...")

    def stage_progress(self, medium: str, stage: Stage, work: Work) -> None:
        progress = self._running.get(medium)
        if progress is None:
            return
        progress.update(work)
        if time.monotonic() - self._last_line >= LINE_EVERY_S:
            self._last_line = time.monotonic()
            _line(f"{medium}: {stage.value} {describe(progress)}")

    def stage_ended(self, medium: str, stage: Stage, state: str, seconds: float, work: Work) -> None:
        progress = self._running.pop(medium, None) or Progress(medium, stage, time.monotonic())
        progress.work, progress.state = work, state
        _line(f"{medium}: {stage.value} {state} in {seconds:.1f} s ({describe(progress)})")

    def note(self, medium: str, text: str, *, problem: bool = False) -> None:
        _line(f"{medium}: {'problem: ' if problem else ''}{printable(text)}")


def _line(text: str) -> None:
    with suppress(OSError):  # whoever read it may be gone: that ends no work
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)  # noqa: T201


class LiveReporter:
    """The live view: one row per stage, what was noted below it. Redrawn by its own clock, never by events."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, Stage], Progress] = {}
        self._notes: list[tuple[str, bool]] = []

    def stage_started(self, medium: str, stage: Stage) -> None:
        if medium not in {name for name, _ in self._rows}:
            self._rows.clear()  # a new medium: the one before has had its report
        self._rows[(medium, stage)] = Progress(medium, stage, time.monotonic())

    def stage_progress(self, medium: str, stage: Stage, work: Work) -> None:
        if (medium, stage) in self._rows:
            self._rows[(medium, stage)].update(work)

    def stage_ended(self, medium: str, stage: Stage, state: str, seconds: float, work: Work) -> None:
        row = self._rows.setdefault((medium, stage), Progress(medium, stage, time.monotonic()))
        row.state, row.seconds, row.work = state, seconds, work

    def note(self, medium: str, text: str, *, problem: bool = False) -> None:
        self._notes.append((f"{medium}: {printable(text)}", problem))
        del self._notes[:-NOTES_SHOWN]

    def __rich__(self) -> RenderableType:
        table = Table.grid(padding=(0, 1), expand=True)
        for width in (9, 22):
            table.add_column(width=width, no_wrap=True, overflow="ellipsis")
        table.add_column(ratio=1, overflow="ellipsis")
        title = "" if self._rows else "opening the catalogue ..."
        for row in self._rows.values():
            title = row.medium
            table.add_row(Text(row.stage.value, style="bold"), _bar(row), Text(describe(row, "\n") + _ending(row)))
        notes = [Text(text, style="yellow" if problem else "dim") for text, problem in self._notes]
        head = Text(title, style="bold cyan", no_wrap=True, overflow="ellipsis")
        hint = Text("Ctrl-C finishes the files in hand and stops; once more stops at once", style="dim")
        return Group(head, table, *notes, hint)


def _ending(row: Progress) -> str:
    return "" if row.state == "running" else f" in {row.seconds:.1f} s" if row.state == "ok" else f": {row.state}"


def _bar(row: Progress) -> RenderableType:
    work = row.work
    if row.state == "ok" and work.reading is None:  # a medium that was read as far as it goes may not be read whole
        return ProgressBar(total=1, completed=1, width=22)
    if work.bytes_total:
        return ProgressBar(total=work.bytes_total, completed=work.bytes_done, width=22)
    return ProgressBar(total=None, width=22, pulse=row.state == "running")


@contextmanager
def reporter(*, quiet: bool = False) -> Iterator[Reporter]:
    """The live view when standard error is a terminal, lines otherwise; both go to standard error."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield LineReporter()
        return
    live_reporter = LiveReporter()
    with Live(live_reporter, console=console, refresh_per_second=4, transient=False):
        yield live_reporter


@contextmanager
def counting(verb: str) -> Iterator[Callable[[int, int], None]]:
    """A function that takes (things so far, bytes so far): a line that renews itself, or one every ten seconds."""
    started = time.monotonic()

    def line(count: int, size_bytes: int) -> str:
        rate = size_bytes / max(time.monotonic() - started, 1e-3)
        return f"{verb} {count:,}, {size_text(size_bytes)}, {size_text(rate)}/s"

    with _renewed(f"{verb} ...") as show:
        yield lambda count, size_bytes: show(lambda: line(count, size_bytes))


@contextmanager
def verifying() -> Iterator[Callable[[Seen], None]]:
    """As `counting`, with the time that is left at the rate so far."""
    started = time.monotonic()

    def line(seen: Seen) -> str:
        passed_s = max(time.monotonic() - started, 1e-3)
        rate = seen.bytes / passed_s
        left_s = max(0, seen.bytes_total - seen.bytes) / rate if rate else None
        left = f", {time_text(left_s)} left" if left_s is not None and passed_s > FIRST_GUESS_S else ""
        damaged = f", {seen.damaged:,} damaged" if seen.damaged else ""
        done = f"{size_text(seen.bytes)} of {size_text(seen.bytes_total)}"
        return f"verified {seen.blobs:,} of {seen.blobs_total:,} contents, {done}, {size_text(rate)}/s{left}{damaged}"

    with _renewed("choosing what to verify ...") as show:
        yield lambda seen: show(lambda: line(seen))


@contextmanager
def _renewed(first: str) -> Iterator[Callable[[Callable[[], str]], None]]:
    """Shows the line that it is given: always on a terminal, every ten seconds elsewhere."""
    console = Console(stderr=True)
    last = time.monotonic()
    if console.is_terminal:
        with console.status(first) as shown:
            yield lambda line: shown.update(line())
        return

    def say(line: Callable[[], str]) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            _line(line())

    yield say


@dataclass(frozen=True, slots=True)
class MapScreen:
    """Where a picture of a surface is shown: two cells to a place in colours, or one as a letter without them.

    `width`, `height`: of the terminal; None where lines and pages have no end (a pipe, a file).
    """

    console: Console
    columns: int
    rows: int
    coloured: bool
    width: int | None
    height: int | None

    @staticmethod
    def here(columns: int | None) -> MapScreen:
        """On standard output, as it can show; `columns` is what the user wants."""
        console = Console(highlight=False, soft_wrap=True)
        terminal = console.is_terminal
        colours = not console.is_dumb_terminal and console.color_system in ("256", "truecolor") and not console.no_color
        usual, rows = picture_size(console.width, console.height if terminal else None)
        return MapScreen(
            console=console,
            columns=columns or usual,
            rows=rows,
            coloured=terminal and colours and console.encoding.startswith("utf"),
            width=console.width if terminal else None,
            height=console.height if terminal else None,
        )

    @property
    def cells(self) -> int:
        return self.columns * self.rows * (2 if self.coloured else 1)

    @property
    def json_cells(self) -> int:
        return self.columns * ROWS * 2

    def show(self, surface: SurfaceMap) -> None:
        for row in map_rows(surface, self.columns, coloured=self.coloured, width=self.width, height=self.height):
            if not self.coloured:
                print("".join(span.text for span in row).rstrip(), flush=True)  # noqa: T201
                continue
            text = Text()
            for span in row:
                text.append(span.text, " on ".join(filter(None, (span.front, span.back))))
            self.console.print(text)
