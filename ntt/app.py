"""Composition root: settings -> an open catalogue, store and log, and an orchestrator wired to them."""

from __future__ import annotations

import dataclasses
import gc
import secrets
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ntt.attempts import Ingested, Stages, Turn, at_once
from ntt.config import Settings
from ntt.db.connection import Database, open_database
from ntt.db.copying import CopyQueue, FailedFile, Registrar
from ntt.db.embedded import embedded_server, has_server
from ntt.db.manifest import write_manifest
from ntt.db.media import Media, Medium
from ntt.db.runs import first_cause
from ntt.db.schema import SCHEMA_VERSION, catalogue_mark, ensure_schema, schema_version, upgrade
from ntt.devices.hardware import hardware_of
from ntt.errors import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_PROBLEMS,
    BusyError,
    Interrupted,
    MediumError,
    NttError,
    StoreError,
    UsageError,
)
from ntt.escort import Escort
from ntt.eventlog import Both, EventLog, event_log
from ntt.model import Effort, Order
from ntt.mounts.session import MountLimits
from ntt.names import storable
from ntt.operations.images import own_image, unpacked_image
from ntt.operations.ingest_report import MediumReport, RunFacts, medium_report
from ntt.orchestrator import Orchestrator
from ntt.progress import Reporter, Stop
from ntt.refining import Refiner
from ntt.rescue.stops import Limits
from ntt.stages.archive import IMAGE_NAME, ArchiveStage
from ntt.stages.copy import CopyStage
from ntt.stages.enumerate import EnumerateStage, ListingLimits
from ntt.stages.identify import IdentifyStage
from ntt.stages.image import ImageStage
from ntt.stages.recognise import RecogniseStage
from ntt.store.layout import StoreLayout, make_folder, store_errors, sync_file
from ntt.store.packs import cut
from ntt.store.plain import remove_orphans
from ntt.store.scratch import remove_parts, scratch_folder

SPARE_BYTES = 64 << 20  # kept free for the database and everyone else


@dataclass(frozen=True, slots=True)
class Catalogue:
    """An open catalogue and the store that belongs to it."""

    settings: Settings
    database: Database
    store: StoreLayout

    @property
    def media(self) -> Media:
        return Media(self.database)


@asynccontextmanager
async def open_catalogue(
    settings: Settings, run_id: str | None = None, *, must_exist: bool = False
) -> AsyncIterator[Catalogue]:
    """The catalogue with NTT's schema in it; an empty database gets the schema.

    With `must_exist` nothing is made: UsageError when the home has no database yet.
    """
    if must_exist and settings.database_url is None and not has_server(settings.home):
        raise UsageError(f"there is no catalogue in {settings.home}", "`ntt ingest` makes one, --home names another")
    with store_errors(settings.home):
        make_folder(settings.home)
    async with open_database(settings, run_id) as database:
        async with database.connection() as connection:
            await ensure_schema(connection, create=not must_exist)
        yield Catalogue(settings, database, StoreLayout(settings.store_dir))


async def upgrade_database(settings: Settings) -> tuple[int, int]:
    """(version before, version now); an empty database gets the schema, and then was version 0."""
    with store_errors(settings.home):
        make_folder(settings.home)
    async with open_database(settings) as database, database.connection() as connection:
        if await schema_version(connection) is None:
            await ensure_schema(connection, create=True)
            return 0, SCHEMA_VERSION
        return await upgrade(connection)


async def running_database_url(settings: Settings) -> str:
    """The URL for psql. The embedded server is started and left running: `ntt db stop` ends it."""
    if settings.database_url is not None:
        return settings.database_url
    async with embedded_server(settings.home, settings.postgres_user, leave_running=True) as url:
        return url


@dataclass(frozen=True, slots=True)
class Failure:
    """An image that did not get through, and why, in one line."""

    image: str
    error: str
    exit_status: int
    others_can_go_on: bool = True


@dataclass(frozen=True, slots=True)
class IngestResult:
    """Reports in the order of the images, failures beside them, and the exit status of it all."""

    media: tuple[MediumReport, ...]
    failures: tuple[Failure, ...]

    @property
    def exit_status(self) -> int:
        statuses = [failure.exit_status for failure in self.failures]
        if EXIT_INTERRUPTED in statuses:
            return EXIT_INTERRUPTED
        if statuses:
            return min(statuses) if not self.media and len(set(statuses)) == 1 else EXIT_FAILED
        return EXIT_PROBLEMS if any(report.problems or not report.complete for report in self.media) else EXIT_OK


@dataclass(frozen=True, slots=True)
class Workplace:
    """An open catalogue with its store, this run's own folder, and the log."""

    catalogue: Catalogue
    work: Path
    log: EventLog


@asynccontextmanager
async def at_work(settings: Settings) -> AsyncIterator[Workplace]:
    """Catalogue, log, scratch folder and a prepared store; what dead runs left in them is removed first."""
    run_id = secrets.token_hex(4)
    async with AsyncExitStack() as stack:
        with store_errors(settings.home):
            make_folder(settings.home)
            log = stack.enter_context(event_log(settings.log_dir, run_id))
        catalogue = await stack.enter_async_context(open_catalogue(settings, run_id))
        work = stack.enter_context(scratch_folder(settings.work_dir, run_id))
        catalogue.store.prepare()
        async with catalogue.database.connection() as connection:
            mark, has_contents = await catalogue_mark(connection)
        catalogue.store.belong_to(mark, has_contents=has_contents)
        with store_errors(settings.store_dir):
            remove_orphans(catalogue.store)
            remove_parts(settings.archive_dir)
        await _cut_packs(catalogue)
        gc.freeze()  # what is loaded by now stays: collecting it over and over costs more than it frees
        yield Workplace(catalogue, work, log)


async def _cut_packs(catalogue: Catalogue) -> None:
    """What a killed run appended without committing it is cut off, in every pack that nobody writes now."""
    async with catalogue.database.connected() as connection:
        for pack_id, committed_bytes in await Registrar(connection).hold_unsealed():
            cut(catalogue.store, pack_id, committed_bytes)


async def ingest(settings: Settings, orders: Sequence[Order], reporter: Reporter, stop: Stop) -> IngestResult:
    """Every image through all stages; one that fails does not keep the next from its turn.

    A failing store or database ends the run: nothing could be kept any more.
    """
    reports: list[MediumReport] = []
    failures: list[Failure] = []
    async with at_work(settings) as place:
        orchestrator = orchestrator_of(place, reporter, stop)
        for order in map(_imaged_if_device, orders):
            try:
                _require_space(settings, order)
                result = await orchestrator.ingest(order)
                reports.append(await medium_report(place.catalogue.database, facts_of(result)))
            except (NttError, BaseExceptionGroup) as error:
                failures.append(_failure(order, error, place.log))
                if stop.requested or not failures[-1].others_can_go_on:
                    break
    return IngestResult(tuple(reports), tuple(failures))


async def retry(
    settings: Settings, prefix: str, reason: str | None, *, apply: bool, reporter: Reporter, stop: Stop
) -> tuple[list[FailedFile], MediumReport | None]:
    """The failed files of a medium; with `apply` they are copied again, and the medium's report says how it went.

    Where its image is gone it is unpacked from its archive, for as long as this takes.
    """
    if not apply:
        async with open_catalogue(settings, must_exist=True) as catalogue:
            medium = await catalogue.media.by_prefix(prefix)
            return await CopyQueue(catalogue.database, medium.id).failed(reason), None
    async with at_work(settings) as place:
        catalogue, orchestrator = place.catalogue, orchestrator_of(place, reporter, stop)
        medium = await catalogue.media.by_prefix(prefix)
        files = await CopyQueue(catalogue.database, medium.id).failed(reason)
        if not files and not (await CopyQueue(catalogue.database, medium.id).pending()).files:
            return [], None  # a retry that was cut short left files pending: it is gone on with
        own = own_image(medium)
        async with unpacked_image(medium, place.work) if own is None else nullcontext(own) as image:
            result = await orchestrator.retry(medium, reason, image)
        return files, await medium_report(catalogue.database, facts_of(result))


def _imaged_if_device(order: Order) -> Order:
    """A device cannot be taken as it is."""
    if order.effort is None and order.map_path is None and order.image.is_block_device():
        return dataclasses.replace(order, effort=Effort.NORMAL)
    return order


def _failure(order: Order, error: BaseException, log: EventLog) -> Failure:
    """An error that a user can act on becomes the image's failure; a bug goes on up."""
    cause = first_cause(error)
    log.failed(storable(str(order.image)), cause)
    if not isinstance(cause, NttError):
        raise error
    alone = isinstance(cause, UsageError | MediumError | BusyError | Interrupted)
    return Failure(storable(str(order.image)), str(cause), cause.exit_status, alone)


def _require_space(settings: Settings, order: Order) -> None:
    """StoreError before anything is begun where the disk cannot hold what one image may need."""
    try:
        size_bytes = order.image.stat().st_size
    except OSError:
        return  # the stage that opens it says why
    for folder in {settings.archive_dir, settings.store_dir}:
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(existing).free
        if free < SPARE_BYTES:
            raise StoreError(
                f"only {free:,} bytes are free on {existing}, an image of {size_bytes:,} bytes needs more",
                "free some and run the same command again",
            )


def orchestrator_of(
    place: Workplace, reporter: Reporter, stop: Stop, escort: Escort | None = None, turn: Turn = at_once, part: str = ""
) -> Orchestrator:
    """The stages, wired. `part`: of this run's folder, where several media are brought through at once."""
    catalogue, reporter, work = place.catalogue, Both(reporter, place.log), place.work / part
    settings, database = catalogue.settings, catalogue.database
    work.mkdir(exist_ok=True)
    listing = ListingLimits(
        settings.worker_memory_bytes, settings.stall_s, settings.slow_s, settings.slow_per_s, settings.only_route
    )
    mounts = MountLimits()
    stages = Stages(
        image=ImageStage(
            settings.images_dir, Limits(stall_s=settings.read_stall_s, hopeless_s=settings.hopeless_s), hardware_of
        ),
        identify=IdentifyStage(),
        recognise=RecogniseStage(database, lambda medium: f"{medium.medium_hash}/{IMAGE_NAME}"),
        enumerate=EnumerateStage(database, listing, mounts, work / "mounts"),
        copy=CopyStage(database, catalogue.store, settings, mounts, work / "mounts"),
        archive=ArchiveStage(database, settings.archive_dir, settings.zstd_level, settings.stall_s),
    )

    async def undo(medium: Medium) -> None:
        """What a load is about to replace, as a manifest: `ntt repair` and people can read it."""
        folder = settings.home / "undo"
        with store_errors(folder):
            make_folder(folder)
        name = f"{medium.medium_hash}-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}Z.jsonl.zst"
        with store_errors(folder):
            await write_manifest(database, medium, await catalogue.media.volumes(medium.id), folder / name)
            sync_file(folder / name)  # the rows are about to go
        reporter.note(medium.human, f"what was loaded before is kept in {folder / name}")

    refiner = Refiner(database, catalogue.store)
    return Orchestrator(database, stages, refiner, reporter, stop, work, undo, escort, turn)


def facts_of(result: Ingested) -> RunFacts:
    return RunFacts(
        medium_id=result.medium_id,
        recognition=result.recognition.value,
        changed=result.changed,
        seconds=result.seconds,
        stored=result.copied.stored,
        stored_bytes=result.copied.stored_bytes,
        known=result.copied.known,
    )
