"""One stage of one medium, tried once: not begun when the operator has asked to stop, recorded, shown, timed."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ntt.db.connection import Database
from ntt.db.copying import CopyQueue, Pending
from ntt.db.loading import Loaded
from ntt.db.media import BEYOND, Media, Medium
from ntt.db.outcomes import Written
from ntt.db.runs import Attempt, StageRuns
from ntt.errors import Interrupted
from ntt.identity import ImageState, Scan
from ntt.imaging import Imaging
from ntt.model import AcceptedImage, Identity, PassRecord, Stage
from ntt.names import storable
from ntt.progress import Reporter, Stop, Work
from ntt.ranges import normalised
from ntt.stages.archive import ArchiveStage
from ntt.stages.copy import CopyStage, MediumImage
from ntt.stages.enumerate import EnumerateStage, ListedImage
from ntt.stages.identify import IdentifyStage, require_unchanged
from ntt.stages.image import ImageStage
from ntt.stages.recognise import RecogniseStage, Recognition

Turn = Callable[[Stage], AbstractAsyncContextManager[None]]


def at_once(stage: Stage) -> AbstractAsyncContextManager[None]:
    """Nobody else is there."""
    del stage
    return nullcontext()


@dataclass(slots=True)
class Ingested:
    """What a run did for one medium; `seconds` of each stage that ran, `copied` of this run only.

    `require_unchanged` raises once the image file is not what was identified any more.
    """

    medium_id: int
    recognition: Recognition
    require_unchanged: Callable[[], None]
    changed: bool = False
    seconds: dict[Stage, float] = field(default_factory=dict)
    copied: Written = field(default_factory=Written)


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages, wired by the composition root."""

    image: ImageStage
    identify: IdentifyStage
    recognise: RecogniseStage
    enumerate: EnumerateStage
    copy: CopyStage
    archive: ArchiveStage


class Attempts:
    """Runs stages for whoever knows their order; `work` is this run's own folder, `turn` is held while one runs."""

    def __init__(
        self, database: Database, stages: Stages, reporter: Reporter, stop: Stop, work: Path, turn: Turn = at_once
    ) -> None:
        self._media = Media(database)
        self._database = database
        self._runs = StageRuns(database)
        self._stages = stages
        self._reporter = reporter
        self._stop = stop
        self._work = work
        self._turn = turn

    async def first_pass(self, imaging: Imaging) -> PassRecord | None:
        """Over the whole medium, of which there is no row yet; None when that was done before."""
        self._require_going(Stage.IMAGE)
        self._reporter.stage_started(imaging.name, Stage.IMAGE)
        last = Work()

        def show(work: Work) -> None:
            nonlocal last
            last = work
            self._reporter.stage_progress(imaging.name, Stage.IMAGE, work)

        state, started = "failed", time.monotonic()
        try:
            record = await imaging.first_pass(show, self._stop)
            state = "ok" if record is None or imaging.going else "failed"
        finally:
            seconds = time.monotonic() - started
            self._reporter.stage_ended(imaging.name, Stage.IMAGE, state, seconds, last)
        self._require_going(Stage.IMAGE)
        return record

    async def record_first_pass(self, medium_id: int, record: PassRecord, result: Ingested) -> None:
        """What `first_pass` did, once there is a row to write it to."""
        async with self._runs.attempt(medium_id, Stage.IMAGE, record.seconds) as attempt:
            _count(attempt, [record])
        result.seconds[Stage.IMAGE] = record.seconds

    async def passes(
        self, medium: Medium, imaging: Imaging, name: str, domain: tuple[tuple[int, int], ...], result: Ingested
    ) -> list[PassRecord]:
        """Further passes over `domain`."""
        records: list[PassRecord] = []
        async with self._stage(medium, imaging.name, Stage.IMAGE, result) as (attempt, show):
            try:
                await imaging.further(name, domain, show, self._stop, records)
            finally:
                _count(attempt, records)
        return records

    async def identify(self, image: AcceptedImage, scan: Scan | None = None) -> Identity:
        """With `scan` of just this image it is not read again."""
        self._reporter.stage_started(image.name, Stage.IDENTIFY)
        started = time.monotonic()

        def advance(done: int) -> None:
            self._require_going(Stage.IDENTIFY)
            work = Work(bytes_done=done, bytes_total=image.claimed_bytes)
            self._reporter.stage_progress(image.name, Stage.IDENTIFY, work)

        async with self._turn(Stage.IDENTIFY):
            identity = await self._stages.identify.run(image.fd, image.claimed_bytes, image.unread, advance, scan)
        work = Work(bytes_done=identity.image_bytes, bytes_total=identity.image_bytes)
        self._reporter.stage_ended(image.name, Stage.IDENTIFY, "ok", time.monotonic() - started, work)
        return identity

    async def record_identify(self, medium_id: int, identity: Identity, result: Ingested) -> None:
        async with self._runs.attempt(medium_id, Stage.IDENTIFY, result.seconds[Stage.IDENTIFY]) as attempt:
            attempt.counts.update(bytes=identity.image_bytes, unread_bytes=identity.unread_bytes)

    async def enumerate(
        self, medium: Medium, image: AcceptedImage, result: Ingested, *, keep_names: bool = False
    ) -> None:
        async with self._stage(medium, image.name, Stage.ENUMERATE, result) as (attempt, show):

            def advance(loaded: Loaded) -> None:
                show(Work(files_done=loaded.names, bytes_done=loaded.bytes))

            size_bytes = os.fstat(image.fd).st_size
            unread = normalised((*image.unread, (size_bytes, BEYOND)))
            about = ListedImage(
                medium.id, image.fd, size_bytes, image.claimed_bytes, unread, image.cue, storable(image.path.name)
            )
            _, loaded = await self._stages.enumerate.run(
                about, advance, result.require_unchanged, keep_names=keep_names
            )
            attempt.counts.update(nodes=loaded.nodes, paths=loaded.names, files=loaded.files, bytes=loaded.bytes)
            attempt.counts["paths_per_s"] = round(loaded.names / max(attempt.seconds, 1e-3))

    async def copy(self, medium: Medium, image: AcceptedImage, result: Ingested) -> None:
        """Nothing is done, or recorded, where nothing is pending."""
        queue = CopyQueue(self._database, medium.id)
        if medium.copy_done is not None and not result.changed and not (await queue.pending()).files:
            return
        async with self._stage(medium, image.name, Stage.COPY, result) as (attempt, show):

            def advance(written: Written, pending: Pending) -> None:
                show(Work(written.files, pending.files, written.bytes, pending.bytes, written.failed + written.damaged))

            volumes = await self._media.volumes(medium.id)
            about = MediumImage(
                medium.id, image.fd, medium.image_bytes, volumes, medium.unread_or_beyond, result.require_unchanged
            )
            warn = partial(self._reporter.note, image.name, problem=True)
            await self._stages.copy.run(about, self._stop, result.copied, advance, warn)
            written = result.copied
            attempt.counts.update(
                files=written.files, bytes=written.bytes, stored=written.stored, stored_bytes=written.stored_bytes,
                known=written.known, damaged=written.damaged, failed=written.failed, wasted=written.wasted,
            )  # fmt: skip

    async def archive(self, medium: Medium, image: AcceptedImage, result: Ingested) -> None:
        async with self._stage(medium, image.name, Stage.ARCHIVE, result) as (attempt, show):

            def advance(done: int) -> None:
                show(Work(bytes_done=min(done, medium.image_bytes), bytes_total=medium.image_bytes))

            volumes = await self._media.volumes(medium.id)
            archived = await self._stages.archive.run(medium, volumes, image, self._work, advance)
            attempt.counts.update(bytes=archived.size_bytes, paths=archived.paths)

    def _require_going(self, stage: Stage) -> None:
        if self._stop.requested:
            raise Interrupted(f"stopped at {stage.value}", "run the same command again to go on")

    @asynccontextmanager
    async def _stage(
        self, medium: Medium, name: str, stage: Stage, result: Ingested
    ) -> AsyncIterator[tuple[Attempt, Callable[[Work], None]]]:
        self._require_going(stage)
        last = Work()

        def show(work: Work) -> None:
            nonlocal last
            last = work
            # copying and imaging finish what is in hand; the others have no halves to keep
            if stage not in (Stage.COPY, Stage.IMAGE):
                self._require_going(stage)
            self._reporter.stage_progress(name, stage, work)

        async with self._turn(stage):
            self._require_going(stage)
            self._reporter.stage_started(name, stage)
            attempt: Attempt | None = None
            try:
                async with self._runs.attempt(medium.id, stage) as attempt:
                    yield attempt, show
                    result.changed = True
            finally:
                if attempt is not None:
                    result.seconds[stage] = result.seconds.get(stage, 0.0) + attempt.seconds
                    self._reporter.stage_ended(name, stage, attempt.state, attempt.seconds, last)


def unchanged(image: AcceptedImage) -> Callable[[], None]:
    """What raises once the image file is written to from now on."""
    return partial(require_unchanged, image.fd, ImageState.of(image.fd))


def _count(attempt: Attempt, records: list[PassRecord]) -> None:
    if not records:
        return
    attempt.counts.update(
        passes=len(records),
        bytes=records[-1].rescued_after - records[0].rescued_before,
        bad_bytes=records[-1].bad_bytes,
        read_errors=sum(record.read_errors for record in records),
        ended=records[-1].end.value,
    )
