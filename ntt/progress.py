"""What long work tells whoever watches: words only, the screen and the log each show them their way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ntt.model import Stage


@dataclass(frozen=True, slots=True)
class Work:
    """How far a stage is. Totals are None while unknown; all counts only grow."""

    files_done: int = 0
    files_total: int | None = None
    bytes_done: int = 0
    bytes_total: int | None = None
    errors: int = 0


@dataclass(slots=True)
class Stop:
    """The operator's wish to end: asked once, the files in hand are finished and the state is recorded."""

    requested: bool = False


class Reporter(Protocol):
    """Receives progress; every call returns at once and never fails the work it reports on.

    `medium` is the short name under which a run shows the medium (its file name until it has a hash).
    """

    def stage_started(self, medium: str, stage: Stage) -> None: ...

    def stage_progress(self, medium: str, stage: Stage, work: Work) -> None: ...

    def stage_ended(self, medium: str, stage: Stage, state: str, seconds: float, work: Work) -> None: ...

    def note(self, medium: str, text: str, *, problem: bool = False) -> None: ...
