"""Progress on the screen and in the log: rates, time left, nothing unescaped, every line with its run."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from rich.console import Console

from ntt.display import LineReporter, LiveReporter, Progress, describe, size_text, time_text
from ntt.errors import StoreError
from ntt.eventlog import event_log
from ntt.model import Stage
from ntt.progress import Work

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
