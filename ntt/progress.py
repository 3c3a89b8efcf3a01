"""What long work tells whoever watches: words only, the screen and the log each show them their way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import anyio

from ntt.model import Stage


@dataclass(frozen=True, slots=True)
class Reading:
    """How a medium is being read at the moment; numbers as ddrescue shows them, rounded by it.

    `task`: the name of the pass, which says what of the medium is to be read (`PassRecord.name`). `phase`: how, in
    words ("copy 1", "trim", "scrape", "retry 2, backwards"), empty in between. `position`: the byte of the medium that
    it is at. `bad_sectors`, `bad_bytes`: tried alone and not read. `postponed_bytes`: a read over them
    failed, they are tried again later. Of all these only what this pass is about is counted. `remaining_s`:
    ddrescue's guess for this pass. `silent_s`: since it last said anything: a drive that does not answer holds it up.
    `nothing_read_s`: since the last byte was read. None: it does not say.
    """

    task: str
    phase: str = ""
    position: int = 0
    rate_per_s: int = 0
    remaining_s: float | None = None
    bad_sectors: int = 0
    bad_bytes: int = 0
    postponed_bytes: int = 0
    read_errors: int = 0
    silent_s: float = 0.0
    nothing_read_s: float | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """How far a stage is. Totals are None while unknown; all counts only grow.

    `reading`: of imaging, whose bytes are those of the medium that are rescued.
    """

    files_done: int = 0
    files_total: int | None = None
    bytes_done: int = 0
    bytes_total: int | None = None
    errors: int = 0
    reading: Reading | None = None


@dataclass(slots=True)
class Stop:
    """The operator's wish to end: asked once, the files in hand are finished and the state is recorded.

    `enough`: the medium is read no more, what was read is gone on with. `pause`: reading rests until it is set.
    """

    requested: bool = False
    enough: bool = False
    pause: anyio.Event | None = None

    @property
    def paused(self) -> bool:
        return self.pause is not None

    def rest(self) -> None:
        """Nothing is read until `go_on`."""
        self.pause = self.pause or anyio.Event()

    def go_on(self) -> None:
        if self.pause is not None:
            self.pause.set()
            self.pause = None

    def request(self) -> None:
        """Ask for the end, also of a pause."""
        self.requested = True
        self.go_on()


class Reporter(Protocol):
    """Receives progress; every call returns at once and never fails the work it reports on.

    `medium` is the short name under which a run shows the medium (its file name until it has a hash).
    """

    def stage_started(self, medium: str, stage: Stage) -> None: ...

    def stage_progress(self, medium: str, stage: Stage, work: Work) -> None: ...

    def stage_ended(self, medium: str, stage: Stage, state: str, seconds: float, work: Work) -> None: ...

    def note(self, medium: str, text: str, *, problem: bool = False) -> None: ...
