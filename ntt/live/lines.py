"""The board -> lines for a log: what is new since it was looked at last, and at the end how all of it stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from ntt.board import Board, Finished, Panel, Phase, StageLine
from ntt.live.rows import safe
from ntt.live.wording import bad_words, said_of
from ntt.progress_text import size_text, time_text

PROGRESS_EVERY_S = 30.0

Item = TypeVar("Item")


@dataclass(slots=True)
class _Seen:
    """Of one drive: what was said of it last, and when it last told its progress."""

    told: tuple[Phase, str, str, str]
    progress_s: float


@dataclass(slots=True)
class BoardLines:
    """Compares. A stage that begins and ends between two looks is not seen; its medium's end is."""

    _drives: dict[str, _Seen] = field(default_factory=dict)
    _stages: dict[int, tuple[str, StageLine]] = field(default_factory=dict)  # by the object: it moves to the queue
    _finished: list[Finished] = field(default_factory=list)
    _notes: list[tuple[str, bool]] = field(default_factory=list)
    _scarce: frozenset[str] = frozenset()
    _stopping: bool = False

    def news(self, board: Board, now: float) -> Iterator[str]:
        """`now`: seconds of the clock of the stages. Every line can be printed as it is."""
        yield from self._stages_ended(board, now)
        for key, panel in board.panels.items():
            yield from self._of_drive(key, panel, now)
        for key in [key for key in self._drives if key not in board.panels]:
            del self._drives[key]
            yield f"{safe(key)}: the drive is gone"
        for text, problem in _new(self._notes, board.notes):
            yield f"{'problem: ' if problem else ''}{safe(text)}"
        for medium in _new(self._finished, board.finished):
            yield finished_line(medium)
        self._notes, self._finished = list(board.notes), list(board.finished)
        yield from self._of_all(board)

    def _stages_ended(self, board: Board, now: float) -> Iterator[str]:
        running: dict[int, tuple[str, StageLine]] = {}
        for panel in board.panels.values():
            if panel.stage is not None:
                running[id(panel.stage)] = (_name(panel), panel.stage)
        for queued in board.queue:
            if queued.stage is not None:
                running[id(queued.stage)] = (safe(queued.medium), queued.stage)
        for name, line in [known for number, known in self._stages.items() if number not in running]:
            amount = said_of(line, now).amount
            yield f"{name}: {line.stage.value} ended after {time_text(now - line.started_s)}" + _in_brackets(amount)
        for number, (name, line) in running.items():
            if number not in self._stages:
                yield f"{name}: {line.stage.value} ..."
        self._stages = running

    def _of_drive(self, key: str, panel: Panel, now: float) -> Iterator[str]:
        seen = self._drives.get(key)
        told = panel.phase, panel.medium, panel.label, panel.message
        if seen is None:
            seen = self._drives[key] = _Seen(told, now)
            yield f"{_name(panel)}: {safe(panel.drive.title)}, {_standing(panel)}"
        elif told != seen.told:
            seen.told = told
            yield f"{_name(panel)}: {_standing(panel)}"
        if panel.stage is None:
            seen.progress_s = now
        elif now - seen.progress_s >= PROGRESS_EVERY_S:
            seen.progress_s = now
            yield f"{_name(panel)}: {_progress(panel, panel.stage, now)}"

    def _of_all(self, board: Board) -> Iterator[str]:
        scarce = frozenset(room.what for room in board.rooms if not room.enough)
        for room in board.rooms:
            if room.what in scarce - self._scarce:
                free, needed = size_text(room.free_bytes), size_text(room.needed_bytes)
                yield f"problem: {safe(room.what)}: {free} free, the next medium needs {needed}"
            elif room.what in self._scarce - scarce:
                yield f"{safe(room.what)}: {size_text(room.free_bytes)} free, enough again"
        self._scarce = scarce
        if board.stopping and not self._stopping:
            self._stopping = True
            yield "finishing what is in hand; once more stops at once"


def _new(before: list[Item], now: list[Item]) -> list[Item]:
    """What was added at the end of a list whose start is cut off now and then."""
    for kept in range(min(len(before), len(now)), 0, -1):
        if before[-kept:] == now[:kept]:
            return now[kept:]
    return list(now)


def last_lines(board: Board, now: float) -> Iterator[str]:
    """How all of it stands: for the scrollback, when the screen is gone."""
    head = " ".join(filter(None, (safe(board.session), f"box {safe(board.box)}" if board.box else "")))
    yield f"{head or 'session'}: {board.done:,} media done, {board.problems:,} with problems"
    for medium in board.finished:
        yield finished_line(medium)
    for queued in board.queue:
        doing = f"{queued.stage.stage.value} {said_of(queued.stage, now).amount}" if queued.stage else "waits"
        yield f"{safe(queued.medium)}: not finished, {doing}"
    for panel in board.panels.values():
        if panel.phase is not Phase.EMPTY:
            doing = f"; {_progress(panel, panel.stage, now)}" if panel.stage else ""
            yield f"{_name(panel)}: {_standing(panel)}{doing}"
    for text, problem in board.notes:
        yield f"{'problem: ' if problem else ''}{safe(text)}"


def finished_line(medium: Finished) -> str:
    summary = f", {safe(medium.summary)}" if medium.summary else ""
    short = f" {medium.medium_hash[:8]}" if medium.medium_hash else ""
    took = time_text(medium.seconds)
    return f"#{medium.sequence} {safe(medium.medium)}{short}: {medium.verdict.value} in {took}{summary}"


def _name(panel: Panel) -> str:
    return safe(panel.drive.node.name)


def _standing(panel: Panel) -> str:
    """'reading BACKUP_2003, label 17/045, 24.0 KB bad: the message'"""
    medium = f" {safe(panel.medium)}" if panel.medium else ""
    label = f", label {safe(panel.label)}" if panel.label else ""
    bad = bad_words(panel) if panel.stage is None else ""  # else it stands with the progress
    message = f": {safe(panel.message)}" if panel.message else ""
    return f"{panel.phase.value}{medium}{label}{f', {bad}' if bad else ''}{message}"


def _progress(panel: Panel, line: StageLine, now: float) -> str:
    said = said_of(line, now)
    parts = (said.percent, said.amount, said.rate, said.left, bad_words(panel), said.trouble)
    return f"{said.name} {', '.join(filter(None, parts))}"


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""
