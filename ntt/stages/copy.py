"""Files without an outcome -> contents in the store, an outcome for each; then the proof, then `copy_done`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio
import msgspec

from ntt.config import Settings
from ntt.copier.crew import Assignment, Crew, Limits
from ntt.copier.examining import Examiner
from ntt.copier.health_gate import NOT_TRIED, Known
from ntt.copier.messages import FileJob
from ntt.copier.session_health import SessionHealth, broken_session
from ntt.copier.shift import Rules
from ntt.db.connection import Database
from ntt.db.copying import CopyQueue, FailedFile, Pending, Registrar
from ntt.db.loading import Problem
from ntt.db.outcomes import OutcomeWriter, Written
from ntt.db.runs import first_cause
from ntt.db.summary import COPYING, Problems
from ntt.errors import DatabaseError, Interrupted, MediumError, NttError, StoreError
from ntt.model import FileOutcome, MountedRoot, OutcomeBatch, PackFull, Route, Stage, Volume, VolumeStatus
from ntt.mounts.session import MountLimits, mount_session
from ntt.progress import Stop
from ntt.ranges import Ranges
from ntt.routes import next_routes
from ntt.store.depot import Depot
from ntt.store.layout import PACK_LIMIT_BYTES, SMALL_BLOB_LIMIT_BYTES, StoreLayout
from ntt.store.packs import member_bytes, seal
from ntt.store.plain import remove_orphans

QUEUE_BATCHES = 16
READER_FAULTS = ("ReadError", "WorkerDied")
DOUBTFUL_LIMIT = 10_000  # files; a reader that fails on more is wrong altogether
RECORDING_S = 5.0  # however it ended, and even while being cancelled
ROUNDS = 3  # a second finds what waited for another's content, or was given back by a worker that died


@dataclass(frozen=True, slots=True)
class MediumImage:
    """The image to copy from: open for reading, what it holds, and which bytes were never read.

    `require_unchanged` raises MediumError once the file is not what was identified any more.
    """

    medium_id: int
    fd: int
    size_bytes: int
    volumes: tuple[Volume, ...]
    unread: Ranges
    require_unchanged: Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Round:
    """One pass over what is pending: by which volumes and mounted roots, and what is told of it."""

    volumes: tuple[Volume, ...]
    roots: Mapping[int, MountedRoot]
    total: Written
    advance: Callable[[Written], None]
    failed: Callable[[FileOutcome], None]
    health: SessionHealth


Roots = Mapping[int, MountedRoot]
Prepare = Callable[[Roots, Mapping[int, str]], Awaitable[bool]]


class CopyStage:
    """Copies into `store`; `settings` say how many workers there are and how long one may be silent.

    `work` is a folder of this run for what has to be unpacked before it can be read.
    """

    def __init__(
        self, database: Database, store: StoreLayout, settings: Settings, mounts: MountLimits, work: Path
    ) -> None:
        self._database = database
        self._store = store
        self._settings = settings
        self._mount_limits = mounts
        self._work = work

    async def run(
        self,
        image: MediumImage,
        stop: Stop,
        total: Written,
        advance: Callable[[Written, Pending], None],
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`copy_done` is set when it returns, `total` is added to meanwhile.

        Whatever it raises, everything finished so far stays recorded. Files that a reader fails on are tried
        once more by a mount where their file system has that route. What is mounted and breaks off is mounted again.
        Known problems decide what is tried at all (`ntt.copier.health_gate`), which `warn` is told.

        Interrupted when `stop` was requested; StoreError, DatabaseError, MediumError as they come.
        """
        queue = CopyQueue(self._database, image.medium_id)
        problems = Problems(self._database)
        despite_problems = self._settings.despite_problems
        if despite_problems:
            await queue.give_back(await queue.failed(NOT_TRIED))
        pending = await queue.pending()
        earlier = await problems.known_to_copying(image.medium_id)
        known = Known(earlier.refused, earlier.unstable, earlier.many_errors)
        health = SessionHealth(image.volumes, image.unread, known, warn, despite_problems=despite_problems)

        def show(written: Written) -> None:
            advance(written, pending)

        ended: BaseException | None = None
        try:
            await self._through(image, queue, stop, _Round(image.volumes, {}, total, show, lambda _: None, health))
        except (NttError, ExceptionGroup) as error:
            ended = first_cause(error)
            raise
        finally:
            met = _met(health, ended)
            if met or earlier.found:
                with anyio.move_on_after(RECORDING_S, shield=True), suppress(DatabaseError):
                    await problems.replace(image.medium_id, COPYING, met)

    async def _through(self, image: MediumImage, queue: CopyQueue, stop: Stop, about: _Round) -> None:
        doubtful = Doubtful(image.volumes)
        routes = {v.index: (v.route, *next_routes(v.fstype, v.route)) for v in image.volumes if v.route.is_mount}
        if not (await queue.pending()).files:
            routes = {}
        left = await self._in_sessions(image, queue, stop, routes, replace(about, failed=doubtful.add))
        if not left and doubtful.files and not stop.requested and self._settings.only_route is None:
            left = await self._second_opinion(image, queue, stop, doubtful, about)
        if not left:
            return
        if stop.requested:
            raise Interrupted(f"stopped with {left:,} files left", "run the same command again to go on")
        raise MediumError(f"{left:,} files could not be brought to an end", "run the same command again")

    async def _in_sessions(
        self,
        image: MediumImage,
        queue: CopyQueue,
        stop: Stop,
        routes: Mapping[int, tuple[Route, ...]],
        about: _Round,
        prepare: Prepare | None = None,
    ) -> int:
        """In one session, or in one after the other when it breaks off. How many files are left."""
        while True:
            mounted: Roots = {}
            try:
                async with self._reachable(image, routes) as (volumes, mounted, how):
                    if prepare is not None and not await prepare(mounted, how):
                        return 0
                    volumes = about.health.gated(volumes)
                    return await self._rounds(image, queue, stop, replace(about, volumes=volumes, roots=mounted))
            except (NttError, ExceptionGroup) as error:
                broken = broken_session(error)
                if broken is None:
                    raise
                about.health.broke(broken, mounted)

    async def _rounds(self, image: MediumImage, queue: CopyQueue, stop: Stop, about: _Round) -> int:
        """How many files are left; with none, `copy_done` is set."""
        left = (await queue.pending()).files
        for _ in range(ROUNDS):
            if left and not stop.requested:
                await self._round(image, queue, stop, about)
            image.require_unchanged()
            left = await queue.prove_done()
            if not left or stop.requested:
                break
        return left

    @asynccontextmanager
    async def _reachable(
        self, image: MediumImage, routes: Mapping[int, tuple[Route, ...]]
    ) -> AsyncIterator[tuple[tuple[Volume, ...], Mapping[int, MountedRoot], Mapping[int, str]]]:
        """The volumes, those of `routes` mounted or closed with the reason; their roots; how each is mounted."""
        if not routes:
            yield image.volumes, {}, {}
            return
        wanted = [volume for volume in image.volumes if volume.index in routes]
        self._work.mkdir(parents=True, exist_ok=True)
        async with mount_session(image.fd, image.size_bytes, wanted, routes, self._work, self._mount_limits) as session:
            volumes: list[Volume] = []
            for volume in image.volumes:
                mounted, refused = session.mounted.get(volume.index), session.refused.get(volume.index)
                if mounted is not None:
                    volume = msgspec.structs.replace(volume, route=mounted.route, status=VolumeStatus.READ)
                elif refused is not None:
                    why = f"its volume cannot be mounted: {'; '.join(refused.tried)}"
                    volume = msgspec.structs.replace(volume, status=VolumeStatus.FINDING, finding=why)
                volumes.append(volume)
            roots = {index: MountedRoot(mounted.root_fd, mounted.kind) for index, mounted in session.mounted.items()}
            yield tuple(volumes), roots, {index: mounted.how for index, mounted in session.mounted.items()}

    async def _second_opinion(
        self,
        image: MediumImage,
        queue: CopyQueue,
        stop: Stop,
        doubtful: Doubtful,
        about: _Round,
    ) -> int:
        """What readers failed on, through mounts; the difference is recorded. How many files are left."""
        files: list[FailedFile] = []
        ways: dict[int, str] = {}

        async def give_back(roots: Roots, how: Mapping[int, str]) -> bool:
            if not ways:  # not in a session that follows one that broke off
                files.extend(await queue.found_by_path([file for file in doubtful.files if file.volume in roots]))
                given_back = await queue.give_back(files) if files else 0
                about.total.files -= given_back
                about.total.failed -= given_back
            ways.update(how)
            return bool(files)

        left = await self._in_sessions(image, queue, stop, doubtful.routes(), about, give_back)
        if files:
            first = [(file.volume, file.ino, f"{doubtful.route_of(file.volume)}: {file.reason}") for file in files]
            still_failed = await queue.add_reasons(first)
            problems = _differences(files, still_failed, ways)
            await Problems(self._database).replace(image.medium_id, Stage.COPY.value, problems)
        return left

    async def _round(self, image: MediumImage, queue: CopyQueue, stop: Stop, about: _Round) -> None:
        jobs = _jobs(queue, stop, about.roots, about.health.blamed)
        told = about.health.told(about.volumes, about.roots)
        with closing(Examiner(about.volumes, about.roots, about.health.patience)) as examiner:
            await self._copy(image, about, examiner, jobs, told)

    async def _copy(
        self,
        image: MediumImage,
        about: _Round,
        examiner: Examiner,
        jobs: AsyncIterator[FileJob],
        told: OutcomeBatch | None,
    ) -> None:
        """`told` is recorded before anything else."""
        send, receive = anyio.create_memory_object_stream[OutcomeBatch | PackFull](QUEUE_BATCHES)
        settings = self._settings
        limits = Limits(settings.workers, settings.worker_memory_bytes, settings.attempts)
        rules = Rules(member_bytes, PACK_LIMIT_BYTES, SMALL_BLOB_LIMIT_BYTES, settings.stall_s)
        run_id, root = self._database.run_id, str(self._store.root)
        assignment = Assignment(image.fd, about.volumes, image.unread, root, run_id, image.medium_id, about.roots)
        async with send, receive, self._database.connected() as connection:
            crew = Crew(assignment, limits, Registrar(connection), Depot(self._store), rules, examiner)
            writer = OutcomeWriter(
                self._database, image.medium_id, crew.released, partial(seal, self._store), about.advance,
                about.total, image.require_unchanged, about.failed,
            )  # fmt: skip
            failure: Exception | None = None
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(writer.run, receive)
                    try:
                        if told is not None:
                            await send.send(told)
                        await crew.copy(jobs, send)
                    except (NttError, ExceptionGroup) as error:
                        failure = error  # what is durable already is still recorded: the writer ends by itself
            finally:
                remove_orphans(self._store)  # of workers that died
            if failure is not None:
                raise failure


class Doubtful:
    """Files that a reader failed on though their bytes were read from the medium: a mount may know better.

    Not what a reader refuses on purpose: a mount would show the stub in its place, and it would pass for the content.
    """

    def __init__(self, volumes: Sequence[Volume]) -> None:
        self._volumes = {
            volume.index: volume for volume in volumes if volume.route.is_reader and not volume.sector_bytes
        }
        self.files: list[FailedFile] = []

    def add(self, outcome: FileOutcome) -> None:
        known = self._volumes.get(outcome.volume)
        if known is None or outcome.error_type not in READER_FAULTS or len(self.files) >= DOUBTFUL_LIMIT:
            return
        if outcome.unread:  # a mount would take the zeros that stand there for what the file system says
            return
        if any(route.is_mount for route in next_routes(known.fstype, known.route)):
            self.files.append(FailedFile(outcome.volume, outcome.ino, b"", outcome.size_bytes, outcome.reason))

    def route_of(self, volume: int) -> str:
        return self._volumes[volume].route.value

    def routes(self) -> dict[int, tuple[Route, ...]]:
        """Of the volumes concerned, those after the reader that failed."""
        found: dict[int, tuple[Route, ...]] = {}
        for index in {file.volume for file in self.files}:
            volume = self._volumes[index]
            found[index] = tuple(route for route in next_routes(volume.fstype, volume.route) if route.is_mount)
        return found


def _differences(files: Sequence[FailedFile], still_failed: int, how: Mapping[int, str]) -> list[Problem]:
    better = len(files) - still_failed
    if not better:
        return []
    ways = ", ".join(sorted({how[file.volume] for file in files}))
    detail = f"{better:,} files that the reader could not read were read through {ways}; the first: {files[0].reason}"
    return [Problem("second_opinion", detail)]


def _met(health: SessionHealth, ended: BaseException | None) -> list[Problem]:
    """What is wrong with the medium after this; what a former attempt met and this one did not is over."""
    step = "try another route or another machine; `ntt retry` reads again what failed"
    problems = [
        Problem("mount_unstable", f"what it is read through broke off {health.breaks[volume]} times", step, volume)
        for volume in health.unstable
    ]
    problems += [Problem("volume_refused", why, "", volume) for volume, why in sorted(health.refused.items())]
    if isinstance(ended, (MediumError, StoreError)):
        problems.append(Problem("copy_ended_early", str(ended)))
    return problems


async def _jobs(
    queue: CopyQueue, stop: Stop, by_path: Collection[int], done: Collection[tuple[int, int]]
) -> AsyncIterator[FileJob]:
    """`done` are on their way to having an outcome."""
    async for file in queue.files(by_path):
        if stop.requested:
            return
        if (file.volume, file.ino) in done:
            continue
        yield FileJob(file.volume, file.ino, file.size, 1, file.path)
