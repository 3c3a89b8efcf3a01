"""One drive, from insertion to insertion: look, wait for room, bring through, give back; a failure stays in it."""

from __future__ import annotations

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream

from ntt.board import Panel, Phase, Queued, Verdict
from ntt.db.insertions import Insertions
from ntt.db.media import Media, Medium
from ntt.drives import Disc, DiscKind, DriveEvent, DriveKind, EjectRequest, Insertion, Refusal, Removal
from ntt.errors import DatabaseError, MediumError, NttError
from ntt.model import Order
from ntt.names import printable
from ntt.ranges import normalised
from ntt.rescue.source import Source, probe
from ntt.watch.audio import AUDIO_SECTOR_BYTES
from ntt.watch.hall import Hall
from ntt.watch.jobs import Job, Outcome
from ntt.watch.looking import look

_SECTOR_BYTES = 2048
_TO_EJECT = (Verdict.COMPLETE, Verdict.PROBLEMS, Verdict.KNOWN)


class OneDrive:
    """`panel` is what is shown of it. Jobs run in `background`, so that a drive that was given back is free."""

    def __init__(self, hall: Hall, panel: Panel, background: TaskGroup) -> None:
        self._hall = hall
        self._panel = panel
        self._background = background
        self._media = Media(hall.database)
        self._job: Job | None = None
        self._inserted: Insertion | None = None
        self._wake = anyio.Event()

    @property
    def busy(self) -> bool:
        """A medium lies in it that is not done with."""
        return self._job is not None or self._inserted is not None

    async def run(self, events: MemoryObjectReceiveStream[DriveEvent]) -> None:
        """Until the events end."""
        with events:
            await self._follow(events)

    async def _follow(self, events: MemoryObjectReceiveStream[DriveEvent]) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._work)
            async for event in events:
                await self._happened(event)
            tasks.cancel_scope.cancel()

    async def _happened(self, event: DriveEvent) -> None:
        panel = self._panel
        self._hall.board.panels.setdefault(event.drive.key, panel)
        match event:
            case Insertion():
                panel.drive = event.drive
                if self._hall.halted:
                    self._hall.note(f"{self._name}: no more media are taken")
                    return
                self._inserted = event
                self._wake.set()
            case Removal():
                self._inserted = None
                if self._job is None:
                    self._clear(Phase.EMPTY)
                    if event.pulled:  # a stick has no empty drive to be shown
                        self._hall.board.panels.pop(event.drive.key, None)
                elif panel.phase is not Phase.EJECTING:
                    self._hall.note(f"{self._name}: the medium was taken out while it was needed", problem=True)
                self._hall.nudge()
            case EjectRequest():
                if self._job is None:
                    await self.eject()
                else:
                    self._hall.note(f"{self._name}: still needed; `s` in the live view ends reading, `e` ejects")
            case Refusal():
                self._clear(Phase.REFUSED)
                panel.message = f"{event.reason}; {event.next_step}"
                self._hall.note(f"{self._name}: {panel.message}", problem=True)
                self._hall.teller.tell("refused", drive=str(event.drive.node), text=panel.message)

    @property
    def _name(self) -> str:
        return f"{self._panel.drive.node}"

    def pause(self) -> None:
        if self._job is not None:
            stop = self._job.stop
            if stop.paused:
                stop.go_on()
            else:
                stop.rest()
            self._panel.phase = Phase.PAUSED if stop.paused else Phase.READING

    def enough(self) -> None:
        """The pass ends; what was read is gone on with."""
        if self._job is not None:
            self._job.stop.enough = True
            self._job.stop.go_on()

    async def label(self, text: str) -> None:
        panel = self._panel
        panel.label = text
        if panel.phase is Phase.ASKING:
            panel.phase = Phase.READING
        if self._job is not None and text:
            self._job.label = text
            if self._job.record is not None:
                await self._job.record.label(text)

    async def eject(self) -> None:
        """At the operator's wish: what is being read is ended first, and can be gone on with."""
        if self._job is not None:
            self._job.stop.request()
            await self._job.source_done.wait()
        await self._eject()

    async def _work(self) -> None:
        if self._panel.drive.kind is DriveKind.OPTICAL and self._inserted is None:
            await self._hall.machine.hold(self._panel.drive, False)  # a run that was killed left it locked
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            insertion = self._inserted
            if insertion is None:
                continue
            try:
                await self._medium(insertion)
            except DatabaseError as error:
                self._hall.halt(error)
                self._panel.phase, self._panel.message = Phase.PARKED, str(error)
            finally:
                self._job = None
                if self._inserted is insertion:
                    self._inserted = None  # done with, even if it still lies there: not again by itself
                self._hall.nudge()

    async def _medium(self, insertion: Insertion) -> None:
        hall, panel, options = self._hall, self._panel, self._hall.options
        label = panel.label or options.label
        title = panel.drive.title or self._name
        record = await Insertions(hall.database).begun(f"{title} ({self._name})", label, options.box)
        job = self._job = Job(f"{self._name} #{record.sequence}", panel, record, hall.note, label=label)
        panel.phase, panel.message, panel.medium, panel.label = Phase.LOOKING, "", f"#{record.sequence}", label or ""
        hall.tell("inserted", job, title)
        try:
            order = await self._order(job)
        except NttError as error:
            await hall.finish(job, Outcome(Verdict.FAILED, str(error)))
        else:
            if order is not None:
                panel.phase = Phase.ASKING if options.ask and not job.label else Phase.READING
                await hall.machine.hold(panel.drive, True)
                self._background.start_soon(hall.run, job, order)
        await job.source_done.wait()
        await self._give_back(job, insertion)

    async def _order(self, job: Job) -> Order | None:
        """What is to be done with what lies in the drive; None when that is decided already."""
        hall, panel = self._hall, self._panel
        assert job.record is not None
        disc = await hall.machine.triage(panel.drive)
        await job.record.disc(disc.kind.value)
        panel.medium = f"#{job.record.sequence} {disc.kind.value}"
        for remark in disc.remarks:
            hall.note(f"{self._name}: {remark}", problem=True)
        job.disc = disc
        nothing = _nothing_to_read(disc)
        if nothing:
            await hall.finish(job, Outcome(Verdict.PROBLEMS, nothing))
            return None
        audio_bytes = sum(track.sectors for track in disc.audio_tracks) * AUDIO_SECTOR_BYTES
        source = await probe(panel.drive.node) if disc.data_tracks or not disc.audio_tracks else None
        size_bytes = 2 * audio_bytes + (source.size_bytes if source is not None else 0)
        if not await hall.wait_for_room(panel, job.record.sequence, size_bytes):
            raise MediumError("no more media are taken", "insert it again after the next start")
        if source is not None and (known := await self._recognise(source)) is not None and not disc.audio_tracks:
            await job.record.of_medium(known.id)
            summary = f"{_told(known)}: told by a look, not by every byte"
            await hall.finish(job, Outcome(Verdict.KNOWN, summary, known.medium_hash))
            return None
        options = hall.options
        sector = _SECTOR_BYTES
        mixed = bool(disc.audio_tracks)
        data = normalised((t.start * sector, (t.start + t.sectors) * sector) for t in disc.data_tracks)
        return Order(
            panel.drive.node,
            label=job.label,
            archive=options.archive,
            effort=options.effort,
            free_space=options.free_space,
            passing=True,
            reach=data if mixed else (),
        )

    async def _recognise(self, source: Source) -> Medium | None:
        """The medium that it is, if a look is to be enough for that and tells it. Else what it may be is said.

        What was read of a damaged one is taken out of its archive to go on with.
        """
        found = await look(self._media, source)
        if not found.alike:
            return None
        if self._hall.options.trust_look and found.finished is not None:
            return found.finished
        medium = found.alike[-1]
        self._panel.message = f"looks like {_told(medium)}"
        self._hall.note(f"{self._name}: {self._panel.message}; every byte is read to be sure")
        if not self._hall.options.again:
            await self._hall.prepare(medium, source)
        return None

    async def _give_back(self, job: Job, insertion: Insertion) -> None:
        hall, panel, options = self._hall, self._panel, self._hall.options
        if job.outcome is None:  # its image is there, the rest goes on without the drive
            queued = Queued(job.label or job.title)
            hall.board.queue.append(queued)
            job.move_to(queued)
            self._background.start_soon(self._until_ended, job, queued)
            good = True
        else:
            good = job.outcome.verdict in _TO_EJECT
            panel.message = job.outcome.summary
        self._job = None
        if self._inserted is not insertion:  # it is gone; another one may lie there already
            self._clear(Phase.EMPTY)
        elif (good and options.eject) or (not good and options.eject_failed):
            await self._eject(job)
        else:
            panel.phase = Phase.DONE if good else Phase.PARKED
            await hall.machine.hold(panel.drive, False)

    async def _until_ended(self, job: Job, queued: Queued) -> None:
        await job.ended.wait()
        self._hall.board.queue.remove(queued)

    async def _eject(self, job: Job | None = None) -> None:
        panel, hall = self._panel, self._hall
        panel.phase = Phase.EJECTING
        try:
            release = await hall.machine.eject(panel.drive)
        except NttError as error:
            panel.phase, panel.message = Phase.DONE, str(error)
            hall.note(f"{self._name}: {printable(str(error))}", problem=True)
            return
        if job is not None and job.record is not None:
            await job.record.ejected()
            hall.tell("ejected", job, release.value, job.outcome.medium_hash if job.outcome is not None else "")
        self._clear(Phase.EMPTY)
        panel.message = release.value

    def _clear(self, phase: Phase) -> None:
        panel = self._panel
        panel.phase, panel.medium, panel.label, panel.surface = phase, "", "", b""
        panel.stage, panel.bad_bytes = None, 0
        if phase is Phase.EMPTY:
            panel.message = ""


def _nothing_to_read(disc: Disc) -> str:
    """Why there is nothing to image, "" when there is."""
    if disc.kind is DiscKind.BLANK:
        return "a blank disc: nothing was ever written on it"
    return ""


def _told(medium: Medium) -> str:
    done = f"done on {medium.archive_done:%Y-%m-%d}" if medium.archive_done is not None else "not finished"
    return f"{medium.human} ({medium.medium_hash[:8]}), {done}, {medium.unread_bytes:,} bytes unread"
