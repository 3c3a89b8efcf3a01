"""Progress on the screen and in the log: rates, time left, nothing unescaped, every line with its run."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from rich.console import Console

from ntt.display import LineReporter, LiveReporter
from ntt.errors import StoreError
from ntt.eventlog import event_log
from ntt.model import Stage
from ntt.progress import Reading, Work
from ntt.progress_text import Progress, describe, size_text, time_text
from ntt.tools.ddrescue_phases import phase_words

SCRAPING = Reading(
    task="structures", phase="scrape, backwards", position=3 << 20, rate_per_s=96 << 10, remaining_s=41,
    bad_sectors=3, bad_bytes=1536, postponed_bytes=64 << 10, read_errors=1234,
)  # fmt: skip
HALF = Work(files_done=50, files_total=100, bytes_done=512 << 20, bytes_total=1 << 30, errors=2)


def test_sizes_and_times_are_short() -> None:
    assert [size_text(size) for size in (0, 1023, 1536, 5 << 30)] == ["0 B", "1023 B", "1.5 KB", "5.0 GB"]
    assert [time_text(seconds) for seconds in (0, 59.6, 3725)] == ["0:00", "1:00", "1:02:05"]


def test_rate_and_time_left_come_from_the_last_seconds() -> None:
    progress = Progress("disc", Stage.COPY, started=0.0)
    progress.work = HALF
    progress.marks = [(100.0, 0, 0), (110.0, 512 << 20, 50)]
    assert progress.rate() == (pytest.approx((512 << 20) / 10), pytest.approx(5))
    assert progress.left_s() == pytest.approx(10)
    assert describe(progress) == "50/100 files, 512.0 MB/1.0 GB, 51.2 MB/s, 0:10 left, 2 with problems"


def test_an_unknown_total_gives_no_time_left() -> None:
    progress = Progress("disc", Stage.ENUMERATE, started=0.0)
    progress.update(Work(files_done=7, bytes_done=100))
    assert progress.left_s() is None


def of_medium(reading: Reading, state: str = "running") -> Progress:
    work = Work(bytes_done=4 << 20, bytes_total=8 << 20, errors=reading.read_errors, reading=reading)
    return Progress("disc", Stage.IMAGE, started=0.0, work=work, state=state)


def test_a_medium_that_is_read_is_described_in_words() -> None:
    assert describe(of_medium(SCRAPING), "\n").splitlines() == [
        "4.0 MB/8.0 MB rescued, 96.0 KB/s, 0:41 left",
        "metadata: scrape, backwards, at 3.0 MB",
        "3 bad sectors (1.5 KB), 64.0 KB to be tried again, 1,234 read errors",
    ]
    ended = "4.0 MB/8.0 MB rescued, metadata, 3 bad sectors (1.5 KB), 64.0 KB to be tried again, 1,234 read errors"
    assert describe(of_medium(SCRAPING, "ok")) == ended
    first = Reading(task="everything", phase="copy 1", read_errors=1)
    assert describe(of_medium(first)) == "4.0 MB/8.0 MB rescued, 0 B/s, first pass, at 0 B, 1 read error"
    assert "files \\x1b: trim" in describe(of_medium(replace(SCRAPING, task="files \x1b", phase="trim")))


def test_a_drive_that_is_silent_or_reads_nothing_is_told_and_no_rate_is() -> None:
    silent = describe(of_medium(replace(SCRAPING, silent_s=75.0, nothing_read_s=90.0)))
    assert "the drive has not answered for 1:15" in silent
    assert "KB/s" not in silent
    assert "left" not in silent
    assert "nothing read" not in silent
    failing = describe(of_medium(replace(SCRAPING, silent_s=1.0, nothing_read_s=90.0)))
    assert "nothing read for 1:30" in failing
    assert "not answered" not in failing


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Copying non-tried blocks... Pass 1 (forwards)", "copy 1"),
        ("Copying non-tried blocks... Pass 5 (forwards)", "copy 5"),
        ("Trimming failed blocks... (backwards)", "trim, backwards"),
        ("Scraping failed blocks... (forwards)", "scrape"),
        ("Retrying bad sectors... Retry 2 (backwards)", "retry 2, backwards"),
        ("Finished", ""),
        ("Interrupted by user", ""),
    ],
)
def test_phases_of_ddrescue_have_short_names(said: str, words: str) -> None:
    assert phase_words(said) == words


def test_a_bar_of_a_medium_that_was_not_read_whole_is_not_full() -> None:
    view = LiveReporter()
    work = of_medium(SCRAPING).work
    view.stage_started("disc", Stage.IMAGE)
    view.stage_ended("disc", Stage.IMAGE, "ok", 1.0, work)
    half = screen_of(view)
    view.stage_ended("disc", Stage.IMAGE, "ok", 1.0, replace(work, bytes_done=8 << 20))
    assert "╸" in half or "╺" in half, half
    assert "╸" not in screen_of(view)


def test_long_imaging_has_a_line_every_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    reporter = LineReporter()
    reporter.stage_started("disc", Stage.IMAGE)
    for _ in range(25):
        now[0] += 1
        reporter.stage_progress("disc", Stage.IMAGE, of_medium(SCRAPING).work)
    lines = [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["disc: image ...", *[f"disc: image {describe(of_medium(SCRAPING))}"] * 2]


def screen_of(view: LiveReporter) -> str:
    console = Console(width=100, height=24, force_terminal=True, color_system="truecolor", legacy_windows=False)
    with console.capture() as capture:
        console.print(view)
    return capture.get()


def test_lines_say_how_a_stage_began_and_ended(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = LineReporter()
    reporter.stage_started("disc.iso", Stage.COPY)
    reporter.stage_progress("disc.iso", Stage.COPY, HALF)
    reporter.stage_ended("disc.iso", Stage.COPY, "ok", 2.5, HALF)
    reporter.note("disc.iso", "a name with \x1b[31m escapes", problem=True)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [
        "disc.iso: copy ...",
        "disc.iso: copy ok in 2.5 s (50/100 files, 512.0 MB/1.0 GB, 2 with problems)",
        "disc.iso: problem: a name with \\x1b[31m escapes",
    ]


@pytest.mark.parametrize("width", [80, 200])
def test_the_live_view_shows_every_stage_and_lets_no_escape_through(width: int) -> None:
    view = LiveReporter()
    for stage in (Stage.IDENTIFY, Stage.COPY):
        view.stage_started("disc.iso", stage)
        view.stage_progress("disc.iso", stage, HALF)
    view.stage_ended("disc.iso", Stage.IDENTIFY, "ok", 1.0, HALF)
    view.note("disc.iso", "label \x1b]0;owned\x07", problem=True)
    console = Console(width=width, height=24, record=True, force_terminal=False)
    with console.capture() as capture:
        console.print(view)
    screen = capture.get()
    for expected in ("disc.iso", "identify", "copy", "50/100 files", "Ctrl-C", "\\x1b]0;owned\\x07"):
        assert expected in screen
    assert "\x1b" not in screen
    assert all(len(line) <= width for line in screen.splitlines())


def test_the_log_has_a_json_line_for_each_event_with_run_time_and_cause(tmp_path: Path) -> None:
    with event_log(tmp_path / "log", "run-1") as log:
        log.stage_started("disc.iso", Stage.COPY)
        log.stage_ended("disc.iso", Stage.COPY, "failed", 1.25, HALF)
        error = StoreError("no space")
        error.__cause__ = OSError(28, "No space left on device")
        log.failed("disc.iso", error)
    lines = [json.loads(line) for line in (tmp_path / "log" / "ntt.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["stage_started", "stage_ended", "failed"]
    assert {line["run"] for line in lines} == {"run-1"}
    assert all(datetime.fromisoformat(line["timestamp"]).tzinfo is not None for line in lines)
    assert lines[1]["duration_s"] == 1.25
    assert lines[2]["cause"] == "OSError: [Errno 28] No space left on device"
