"""What the drives of a watch share: the board, the catalogue, room, and the way of a medium through the stages."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio

from ntt.board import Board, Finished, Panel, Phase, Verdict
from ntt.db.connection import Database
from ntt.db.media import Medium
from ntt.drives import Disc, Drive, Release
from ntt.errors import DatabaseError, Interrupted, NttError, StoreError
from ntt.model import Order
from ntt.rescue.source import Source
from ntt.watch.audio import Rip
from ntt.watch.jobs import Job, Outcome
from ntt.watch.options import WatchOptions
from ntt.watch.rooms import Rooms
from ntt.watch.telling import Teller

NOTES_KEPT = 50
FINISHED_KEPT = 100
ROOM_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Machine:
    """What a watch does to drives: the real ones, or those of a test."""

    triage: Callable[[Drive], Awaitable[Disc]]
    eject: Callable[[Drive], Awaitable[Release]]
    hold: Callable[[Drive, bool], Awaitable[None]]  # the tray stays closed, or may be opened again
    rip: Rip


@dataclass(slots=True)
class Hall:
    """One watch. `bring` takes a job's order through the stages and says how it ended; it raises what ends the job.
    `prepare` makes an earlier, damaged image of a medium ready to be gone on with, if it can.

    `halted`: why no more media are taken: the operator's wish, or a failure of the store or the database.
    """

    database: Database
    options: WatchOptions
    board: Board
    rooms: Rooms
    teller: Teller
    machine: Machine
    bring: Callable[[Job, Order], Awaitable[Outcome]]
    prepare: Callable[[Medium, Source], Awaitable[None]]
    failure: NttError | None = None
    interrupted: bool = False
    jobs: list[Job] = field(default_factory=list)
    changed: anyio.Event = field(default_factory=anyio.Event)

    @property
    def halted(self) -> bool:
        return self.board.stopping or self.failure is not None

    def note(self, text: str, problem: bool = False) -> None:
        self.board.notes.append((text, problem))
        del self.board.notes[:-NOTES_KEPT]

    def nudge(self) -> None:
        """Something came to an end: whoever waits for that looks again."""
        self.changed.set()
        self.changed = anyio.Event()

    def stop(self) -> None:
        """No new media; what is in hand comes to a place from which it can be gone on with."""
        self.board.stopping = True
        for job in self.jobs:
            job.stop.request()
        self.nudge()

    async def run(self, job: Job, order: Order) -> None:
        """The job to its end; what concerns only its medium becomes its outcome."""
        self.jobs.append(job)
        if self.halted:
            job.stop.request()
        try:
            outcome = await self.bring(job, order)
        except* NttError as group:
            outcome = self._failed(_first(group))
        finally:
            self.jobs.remove(job)
        await self.finish(job, outcome)

    async def finish(self, job: Job, outcome: Outcome) -> None:
        """Durable: what became of it."""
        sequence = job.record.sequence if job.record is not None else 0
        self.rooms.end(sequence)
        if job.record is not None:
            try:
                await job.record.ended(outcome.verdict, outcome.summary)
            except DatabaseError as error:
                self.halt(error)
        seconds = time.monotonic() - job.began_s
        board = self.board
        name, now_s = job.label or job.title, time.time()
        board.finished.append(
            Finished(sequence, name, outcome.medium_hash, outcome.verdict, outcome.summary, now_s, seconds)
        )
        del board.finished[:-FINISHED_KEPT]
        board.done += 1
        board.problems += outcome.verdict in (Verdict.PROBLEMS, Verdict.FAILED)
        events = {Verdict.PROBLEMS: "problem", Verdict.FAILED: "failed", Verdict.KNOWN: "known"}
        self.tell(events.get(outcome.verdict, "done"), job, outcome.summary, outcome.medium_hash)
        job.end(outcome)
        self.nudge()

    def tell(self, event: str, job: Job, text: str, medium_hash: str = "") -> None:
        drive = str(job.place.drive.node) if isinstance(job.place, Panel) else ""
        self.teller.tell(
            event,
            drive=drive,
            sequence=job.record.sequence if job.record is not None else 0,
            medium=job.title,
            medium_hash=medium_hash,
            label=job.label or "",
            box=self.options.box or "",
            text=text,
        )

    async def wait_for_room(self, panel: Panel, sequence: int, size_bytes: int) -> bool:
        """Until what the medium may need is free everywhere; False when no more media are taken meanwhile."""
        said = ""
        while not self.halted:
            missing = self.rooms.missing(size_bytes)
            if not missing:
                self.rooms.begin(sequence, size_bytes)
                return True
            panel.phase, panel.message = Phase.WAITING, f"no room: {missing}"
            if not said:
                said = missing
                self.note(f"{panel.drive.title} waits: {missing}", problem=True)
                self.teller.tell("problem", drive=str(panel.drive.node), sequence=sequence, text=missing)
            with anyio.move_on_after(ROOM_EVERY_S):
                await self.changed.wait()
        return False

    def halt(self, error: NttError) -> None:
        """The store or the database failed: nothing could be kept any more."""
        if self.failure is None:
            self.failure = error
            self.note(f"no more media are taken: {error}", problem=True)
            self.stop()

    def _failed(self, error: NttError) -> Outcome:
        if isinstance(error, StoreError | DatabaseError):
            self.halt(error)
        if isinstance(error, Interrupted):
            self.interrupted = True
            return Outcome(Verdict.FAILED, "stopped; it is gone on with when it is inserted again")
        return Outcome(Verdict.FAILED, str(error))


def _first(group: BaseExceptionGroup[NttError]) -> NttError:
    """The one that says most: a store or a database that fails ends more than a medium."""
    leaves: list[NttError] = []
    stack: list[BaseException] = [group]
    while stack:
        error = stack.pop()
        if isinstance(error, BaseExceptionGroup):
            stack.extend(error.exceptions)
        elif isinstance(error, NttError):
            leaves.append(error)
    return next((error for error in leaves if isinstance(error, StoreError | DatabaseError)), leaves[-1])
