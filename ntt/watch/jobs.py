"""One medium on its way: where its progress is shown, who waits for its drive, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from ntt.board import Panel, Queued, StageLine, Verdict
from ntt.db.insertions import Insertion
from ntt.drives import Disc, DiscKind
from ntt.model import Stage
from ntt.names import printable
from ntt.operations.ingest_report import MediumReport
from ntt.progress import Stop, Work

RATE_SPAN_S = 10.0


@dataclass(slots=True)
class Outcome:
    """How it ended, in the words that the operator reads."""

    verdict: Verdict
    summary: str
    medium_hash: str = ""


@dataclass(slots=True)
class Job:
    """A medium from its insertion, or from where an earlier run left it, to its end.

    `place` is the panel of its drive, or its line in the queue once the drive has been given back. `source_done`: its
    image is durable and checked, the drive is not needed any more. `ended`: `outcome` is there.
    """

    title: str
    place: Panel | Queued
    record: Insertion | None
    note: Callable[[str, bool], None]
    stop: Stop = field(default_factory=Stop)
    began_s: float = field(default_factory=time.monotonic)
    medium_id: int | None = None
    disc: Disc = field(default_factory=lambda: Disc(DiscKind.DATA))
    label: str | None = None
    source_done: anyio.Event = field(default_factory=anyio.Event)
    ended: anyio.Event = field(default_factory=anyio.Event)
    outcome: Outcome | None = None

    @property
    def in_drive(self) -> bool:
        return isinstance(self.place, Panel)

    def end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.place.stage = None
        self.ended.set()
        self.source_done.set()

    def move_to(self, queued: Queued) -> None:
        """Its drive is free; what is still done is shown in the queue."""
        queued.stage, self.place.stage = self.place.stage, None
        self.place = queued


class JobReporter:
    """Progress of a job's stages (`ntt.progress.Reporter`) -> its place; one medium, whatever name stages give it."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def stage_started(self, medium: str, stage: Stage) -> None:
        del medium
        self._job.place.stage = StageLine(stage, time.monotonic())

    def stage_progress(self, medium: str, stage: Stage, work: Work) -> None:
        del medium
        place = self._job.place
        line = place.stage
        if line is None or line.stage is not stage:
            line = place.stage = StageLine(stage, time.monotonic())
        now = time.monotonic()
        line.work = work
        line.marks.append((now, work.bytes_done, work.files_done))
        while len(line.marks) > 2 and line.marks[0][0] < now - RATE_SPAN_S:
            line.marks.pop(0)
        if isinstance(place, Panel) and work.reading is not None:
            place.bad_bytes = work.reading.bad_bytes

    def stage_ended(self, medium: str, stage: Stage, state: str, seconds: float, work: Work) -> None:
        del medium, seconds
        place = self._job.place
        if place.stage is not None and place.stage.stage is stage:
            place.stage.work = work  # for whoever still holds it
            place.stage = None
        if state not in ("ok", "interrupted"):
            self._job.note(f"{self._job.title}: {stage.value} {state}", True)

    def note(self, medium: str, text: str, *, problem: bool = False) -> None:
        del medium
        self._job.note(f"{self._job.title}: {printable(text)}", problem)


def outcome_of(report: MediumReport, *, known: bool) -> Outcome:
    """In one line: what is in the catalogue now, and what is wrong with it."""
    files = f"{report.files:,} files"
    if not report.complete:
        return Outcome(Verdict.FAILED, f"{files} listed, {report.pending:,} not copied yet", report.medium_hash)
    wrong = [f"{report.damaged:,} damaged"] if report.damaged else []
    wrong += [f"{report.failed:,} not stored"] if report.failed else []
    if wrong:
        return Outcome(Verdict.PROBLEMS, f"{files}, {', '.join(wrong)}", report.medium_hash)
    if report.problems:
        return Outcome(Verdict.PROBLEMS, f"{files}; {printable(report.problems[0])}", report.medium_hash)
    return Outcome(Verdict.KNOWN if known else Verdict.COMPLETE, files, report.medium_hash)
