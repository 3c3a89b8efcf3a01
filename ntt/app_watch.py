"""Composition root of `ntt watch`: settings and options -> drives, catalogue, stages and hooks, wired and run."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream

from ntt.app import Workplace, at_work, facts_of, orchestrator_of
from ntt.board import Board, Command, Panel, Phase, Verdict
from ntt.config import Settings
from ntt.db.insertions import release_image
from ntt.db.loading import Problem
from ntt.db.media import Media, Medium
from ntt.db.summary import Problems
from ntt.devices.arrivals import arriving
from ntt.devices.audio import rip
from ntt.devices.ejecting import eject, lock, unlock
from ntt.devices.listing import drives
from ntt.devices.refusing import refusal_of
from ntt.devices.triage import triage
from ntt.drives import Disc, Drive, DriveEvent, DriveState, Release, Track
from ntt.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_PROBLEMS, BusyError, MediumError
from ntt.model import Order, Stage
from ntt.names import printable
from ntt.operations.ingest_report import medium_report
from ntt.orchestrator import Orchestrator
from ntt.progress import Work
from ntt.rescue.source import Source
from ntt.rescue.working import WorkingImage, WorkingImages
from ntt.stages.archive import IMAGE_NAME
from ntt.stages.recognise import Recognition
from ntt.store.scratch import scratch_folder
from ntt.watch.audio import Rip, Ripped, ripped
from ntt.watch.escorting import JobEscort, Turns, Twins
from ntt.watch.hall import Hall, Machine
from ntt.watch.jobs import Job, JobReporter, Outcome, outcome_of
from ntt.watch.options import WatchOptions
from ntt.watch.rooms import Rooms
from ntt.watch.surface import surface_of
from ntt.watch.telling import telling
from ntt.watch.unpacking import unpacked
from ntt.watch.watching import Watching

Drives = Callable[[], AbstractAsyncContextManager[MemoryObjectReceiveStream[DriveEvent]]]

SURFACE_EVERY_S = 2.0
UNLOCK_S = 10.0


async def watch(
    settings: Settings,
    options: WatchOptions,
    board: Board,
    machine: Machine,
    drives: Drives,
    commands: AsyncIterator[Command],
) -> int:
    """Every medium that is inserted, through all stages, until the operator quits. The exit status.

    What fails the store or the database is raised once everything in hand has come to a safe place.
    """

    def note(text: str) -> None:
        board.notes.append((text, True))

    async with at_work(settings) as place, telling(options.on_event, place.catalogue.database.run_id, note) as teller:
        board.session, board.box = place.catalogue.database.run_id, options.box or ""
        bringing = _Bringing(place, options, machine.rip)
        hall = Hall(
            place.catalogue.database, options, board, Rooms(settings), teller, machine, bringing.bring, bringing.prepare
        )
        unfinished = await bringing.unfinished(hall)
        async with drives() as events:
            await Watching(hall, unfinished).run(events, commands)
        if hall.failure is not None:
            raise hall.failure
        if hall.interrupted:
            return EXIT_INTERRUPTED
    if any(panel.phase is Phase.PARKED for panel in board.panels.values()):
        return EXIT_FAILED if not board.done else EXIT_PROBLEMS
    return EXIT_PROBLEMS if board.problems else EXIT_OK


async def watch_drives(
    settings: Settings, options: WatchOptions, board: Board, commands: AsyncIterator[Command]
) -> int:
    """As `watch`, with the drives of this machine."""
    held: set[str] = set()

    async def give_back(drive: Drive) -> Release:
        held.discard(drive.key)
        return await eject(drive)

    async def hold(drive: Drive, locked: bool) -> None:
        if not locked:
            held.discard(drive.key)
            await unlock(drive)
        elif await lock(drive):
            held.add(drive.key)

    async def looked_at(drive: Drive) -> Disc:
        """A medium may have been mounted since it was announced."""
        why = await refusal_of(drive.node.name, Path("/sys"), _protected(settings))
        if why is not None:
            raise MediumError(*why)
        return await triage(drive)

    def say(text: str) -> None:
        board.notes.append((text, True))

    def drives() -> AbstractAsyncContextManager[MemoryObjectReceiveStream[DriveEvent]]:
        return arriving(options.devices, protected=_protected(settings), held=held, say=say)

    try:
        return await watch(settings, options, board, Machine(looked_at, give_back, hold, _rip), drives, commands)
    finally:
        with anyio.move_on_after(UNLOCK_S, shield=True):  # a locked tray would stay so
            for panel in board.panels.values():
                if panel.drive.key in held:
                    await unlock(panel.drive)


async def drives_of(settings: Settings, named: Sequence[Path]) -> list[DriveState]:
    """The drives of this machine and the devices that are named, as they are now."""
    return await drives(named, protected=_protected(settings))


def _protected(settings: Settings) -> tuple[Path, ...]:
    return settings.home, settings.store_dir, settings.archive_dir, settings.images_dir


async def _rip(drive: Drive, track: Track, target: Path, show: Callable[[int], None]) -> Ripped:
    found = await rip(drive, track, target, lambda progress: show(progress.done))
    return Ripped(track, found.path, found.problem, found.next_step)


class _Bringing:
    """A job's order -> its outcome; the images of this home."""

    def __init__(self, place: Workplace, options: WatchOptions, rip: Rip) -> None:
        self._place = place
        self._rip = rip
        self._options = options
        self._settings = place.catalogue.settings
        self._database = place.catalogue.database
        self._images = WorkingImages(self._settings.images_dir)
        self._media = Media(self._database)
        self._turns = Turns()
        self._twins = Twins()
        self._parts = itertools.count(1)

    async def bring(self, job: Job, order: Order) -> Outcome:
        """Through all stages; the working image is deleted when nothing needs it any more."""
        turn, part = partial(self._turns.of, job), f"part{next(self._parts)}"
        async with AsyncExitStack() as held, anyio.create_task_group() as tasks:
            escort = JobEscort(job, Problems(self._database), self._options, self._twins, held)
            orchestrator = orchestrator_of(self._place, JobReporter(job), job.stop, escort, turn, part)
            tasks.start_soon(_show_surface, job, escort)
            if job.disc.audio_tracks:
                outcome = await self._brought_with_audio(job, orchestrator, escort, order)
            else:
                outcome = await self._brought(orchestrator, escort, order)
            tasks.cancel_scope.cancel()
        return outcome

    async def _brought_with_audio(
        self, job: Job, orchestrator: Orchestrator, escort: JobEscort, order: Order
    ) -> Outcome:
        """Audio first, while the disc is certainly there: as files in a tar, which goes the way of any image."""
        assert isinstance(job.place, Panel)
        drive, tracks = job.place.drive, job.disc.audio_tracks
        data: Outcome | None = None
        with scratch_folder(self._settings.images_dir / "audio", secrets.token_hex(4)) as folder:
            try:
                tar, problems = await ripped(drive, tracks, folder, self._rip, _shown(JobReporter(job)))
            except MediumError as error:
                if not job.disc.data_tracks:
                    raise
                return _with_problems(await self._brought(orchestrator, escort, order), [str(error)])
            if job.disc.data_tracks:
                data = await self._brought(orchestrator, escort, order)
            label = job.label or f"{printable(os.fsencode(drive.node.name))} audio"
            of_tar = replace(order, image=tar, label=label, reach=())
            audio = await self._brought(orchestrator, escort, of_tar, [Problem("audio_track", *p) for p in problems])
        return _both(data, audio)

    async def _brought(
        self, orchestrator: Orchestrator, escort: JobEscort, order: Order, audio: list[Problem] | None = None
    ) -> Outcome:
        """`audio`: what is wrong with the tracks, of an image that was made of them."""
        result = await orchestrator.ingest(order)
        if audio is not None:
            problems = Problems(self._database)
            await problems.drop(result.medium_id, "table")  # that it is no image of a medium: it was made so
            await problems.replace(result.medium_id, "rip", audio)
        report = await medium_report(self._database, facts_of(result))
        medium = await self._media.by_id(result.medium_id)
        outcome = outcome_of(report, known=escort.recognition is Recognition.KNOWN and not result.changed)
        if order.archive and report.archive is None and report.complete:
            raise MediumError(next(iter(report.problems), "its image is not archived"), "insert it again to go on")
        await self._release(medium)
        return outcome

    async def _release(self, medium: Medium) -> None:
        """Nothing needs the image any more: its row says so first, then the file goes."""
        if self._settings.keep_images or medium.image_path is None:
            return
        path = Path(medium.image_path)
        if path.parent != self._settings.images_dir.absolute():
            return
        try:
            working = self._images.take(path)
        except (BusyError, MediumError):
            return
        with working:
            if working.state.passing and await release_image(self._database, medium):
                await anyio.to_thread.run_sync(working.remove)

    async def unfinished(self, hall: Hall) -> list[tuple[str, Order]]:
        """Images of earlier runs that need no drive any more, to be gone on with; the others are said to wait."""
        found: list[tuple[str, Order]] = []
        for working in await anyio.to_thread.run_sync(self._images.free):
            with working:
                state = working.state
                if not state.passing:
                    continue
                if state.let_go and state.medium_hash is not None:
                    order = Order(working.path, working.map_path, archive=self._options.archive)
                    found.append((await self._title(working), order))
                else:
                    percent = 100 * sum(b - a for a, b in working.mapfile().rescued) / max(1, state.size_bytes)
                    hall.note(f"an image of {state.size_bytes:,} bytes, {percent:.0f} % read, waits for its medium")
        return found

    async def _title(self, working: WorkingImage) -> str:
        assert working.state.medium_hash is not None
        medium = await self._media.by_prefix(working.state.medium_hash)
        return medium.human

    async def prepare(self, medium: Medium, source: Source) -> None:
        """The archived image of a damaged medium lies in the folder of images again, where imaging finds it."""
        gone = medium.image_path is None or not Path(medium.image_path).is_file()
        if medium.unread and gone and medium.archive_path is not None and Path(medium.archive_path).is_file():
            await unpacked(self._images, source, medium, f"{medium.medium_hash}/{IMAGE_NAME}")


def _shown(reporter: JobReporter) -> Callable[[int, int], None]:
    reporter.stage_started("", Stage.IMAGE)

    def advance(done: int, total: int) -> None:
        reporter.stage_progress("", Stage.IMAGE, Work(bytes_done=done, bytes_total=total))

    return advance


def _with_problems(outcome: Outcome, problems: list[str]) -> Outcome:
    return Outcome(Verdict.PROBLEMS, "; ".join([outcome.summary, *problems]), outcome.medium_hash)


def _both(data: Outcome | None, audio: Outcome) -> Outcome:
    """Of a disc with tracks of both kinds, which are two media in the catalogue."""
    if data is None:
        return audio
    bad = [one for one in (data, audio) if one.verdict not in (Verdict.COMPLETE, Verdict.KNOWN)]
    verdict = bad[0].verdict if bad else Verdict.COMPLETE
    return Outcome(verdict, f"data: {data.summary}; audio: {audio.summary}", data.medium_hash)


async def _show_surface(job: Job, escort: JobEscort) -> None:
    while True:
        await anyio.sleep(SURFACE_EVERY_S)
        imaging, place = escort.imaging, job.place
        if imaging is not None and job.in_drive:
            mapfile = await anyio.to_thread.run_sync(imaging.seen)
            if isinstance(place, Panel) and mapfile is not None:
                place.surface = surface_of(mapfile)
