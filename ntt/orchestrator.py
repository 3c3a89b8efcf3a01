"""Takes each medium through the stages: accept -> identify -> recognise -> enumerate + load -> copy -> archive.

What is left to do is derived from the rows each time, so a run that was killed anywhere is gone on with by
running the same command again. A stage that fails stops what depends on it, and only this medium.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ntt.db.connection import Database
from ntt.db.copying import CopyQueue, Pending
from ntt.db.loading import Loaded, Problem
from ntt.db.locks import medium_lock
from ntt.db.media import Media, Medium
from ntt.db.outcomes import Written
from ntt.db.runs import Attempt, StageRuns
from ntt.db.summary import Problems
from ntt.errors import Interrupted, MediumError
from ntt.model import AcceptedImage, Identity, Order, Stage
from ntt.names import storable
from ntt.progress import Reporter, Stop, Work
from ntt.stages.accept import accepted
from ntt.stages.archive import ArchiveStage, archive_is_there
from ntt.stages.copy import CopyStage, MediumImage
from ntt.stages.enumerate import EnumerateStage, ListedImage
from ntt.stages.identify import IdentifyStage, ImageState, require_unchanged
from ntt.stages.recognise import Recognised, RecogniseStage, Recognition


@dataclass(slots=True)
class Ingested:
    """What a run did for one medium; `seconds` of each stage that ran, `copied` of this run only."""

    medium_id: int
    recognition: Recognition
    require_unchanged: Callable[[], None]
    changed: bool = False
    seconds: dict[Stage, float] = field(default_factory=dict)
    copied: Written = field(default_factory=Written)


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages, wired by the composition root."""

    identify: IdentifyStage
    recognise: RecogniseStage
    enumerate: EnumerateStage
    copy: CopyStage
    archive: ArchiveStage


class Orchestrator:
    """One medium at a time; `work` is this run's own folder, `undo` saves what a replaced load had."""

    def __init__(
        self,
        database: Database,
        stages: Stages,
        reporter: Reporter,
        stop: Stop,
        work: Path,
        undo: Callable[[Medium], Awaitable[None]],
    ) -> None:
        self._database = database
        self._media = Media(database)
        self._runs = StageRuns(database)
        self._problems = Problems(database)
        self._stages = stages
        self._reporter = reporter
        self._stop = stop
        self._work = work
        self._undo = undo

    async def ingest(self, order: Order) -> Ingested:
        """An image file through all stages. The file is never moved, changed or deleted.

        UsageError, MediumError, BusyError concern this image; StoreError and DatabaseError all of them.
        """
        with accepted(order) as image:
            before = ImageState.of(image.fd)
            started = time.monotonic()
            identity = await self._identify(image)
            identify_s = time.monotonic() - started
            async with medium_lock(self._database, identity.image_hash, f"image {image.name}"):
                found = await self._stages.recognise.run(image, identity, order.label or image.name)
                async with medium_lock(self._database, found.medium_id, f"medium {image.name}"):
                    unchanged = partial(require_unchanged, image.fd, before)
                    seconds = {Stage.IDENTIFY: identify_s}
                    result = Ingested(found.medium_id, found.recognition, unchanged, seconds=seconds)
                    await self._bring_through(order, image, identity, found, result)
            require_unchanged(image.fd, before)
        return result

    async def retry(self, medium: Medium, reason: str | None) -> Ingested:
        """Copies exactly the failed files of a medium again, or those whose reason contains the text."""
        if medium.image_path is None:
            raise MediumError("the image of this medium is gone", "unpack it from its archive and ingest it again")
        async with medium_lock(self._database, medium.id, f"medium {medium.human}"):
            with accepted(Order(Path(medium.image_path))) as image:
                unchanged = partial(require_unchanged, image.fd, ImageState.of(image.fd))
                identity = await self._identify(image)
                if identity.image_hash != medium.image_hash:
                    raise MediumError(f"{image.name} is no longer the image that was loaded", "ingest it anew")
                await self._runs.abandon(medium.id)
                queue = CopyQueue(self._database, medium.id)
                await queue.give_back(await queue.failed(reason))
                medium = await self._media.by_id(medium.id)
                result = Ingested(medium.id, Recognition.KNOWN, unchanged)
                await self._copy(medium, image, result)
                medium = await self._media.by_id(medium.id)
                if medium.archive_path is not None and medium.archive_done is None:
                    await self._archive(medium, image, result)
                await self._problems.refresh(medium.id)
        return result

    async def _bring_through(
        self, order: Order, image: AcceptedImage, identity: Identity, found: Recognised, result: Ingested
    ) -> None:
        await self._runs.abandon(found.medium_id)
        await self._media.sight(
            found.medium_id, storable(str(image.path.absolute())), order.label, self._database.run_id
        )
        await self._say(image, found)
        medium = await self._media.by_id(found.medium_id)
        if found.recognition is Recognition.OTHER_PASS and not order.replace:
            return
        replace = order.replace and medium.enum_done is not None
        if replace:
            await self._undo(medium)
            await self._media.take_image(medium.id, storable(str(image.path.absolute())), identity, image.map_text)
            medium = await self._media.by_id(medium.id)
        if medium.enum_done is None or replace:
            await self._record_identify(medium, identity, result)
            await self._enumerate(medium, image, result)
        else:
            self._reporter.note(image.name, f"loaded on {medium.enum_done:%Y-%m-%d %H:%M}: the listing stays as it is")
        await self._copy(medium, image, result)
        await self._problems.refresh(medium.id)  # what is damaged is said even if archiving fails
        medium = await self._media.by_id(medium.id)
        if order.archive and (medium.archive_done is None or not archive_is_there(medium)):
            await self._archive(medium, image, result)

    async def _identify(self, image: AcceptedImage) -> Identity:
        self._reporter.stage_started(image.name, Stage.IDENTIFY)
        started = time.monotonic()

        def advance(done: int) -> None:
            self._require_going(Stage.IDENTIFY)
            work = Work(bytes_done=done, bytes_total=image.claimed_bytes)
            self._reporter.stage_progress(image.name, Stage.IDENTIFY, work)

        identity = await self._stages.identify.run(image.fd, image.claimed_bytes, image.unread, advance)
        work = Work(bytes_done=identity.image_bytes, bytes_total=identity.image_bytes)
        self._reporter.stage_ended(image.name, Stage.IDENTIFY, "ok", time.monotonic() - started, work)
        return identity

    async def _say(self, image: AcceptedImage, found: Recognised) -> None:
        if found.recognition is Recognition.OTHER_PASS:
            advice = "nothing was changed; `--replace` takes this pass in its place"
            self._reporter.note(image.name, f"{found.remark}; {advice}", problem=True)
        elif found.remark:
            self._reporter.note(image.name, found.remark, problem=True)
        if found.recognition in (Recognition.LOOK_ALIKE, Recognition.ASSIGNED):
            problem = Problem(f"identity_{found.recognition.value}", found.remark, "label the medium itself")
            await self._problems.replace(found.medium_id, Stage.IDENTIFY.value, [problem])

    async def _record_identify(self, medium: Medium, identity: Identity, result: Ingested) -> None:
        async with self._runs.attempt(medium.id, Stage.IDENTIFY, result.seconds[Stage.IDENTIFY]) as attempt:
            attempt.counts.update(bytes=identity.image_bytes, unread_bytes=identity.unread_bytes)

    async def _enumerate(self, medium: Medium, image: AcceptedImage, result: Ingested) -> None:
        async with self._stage(medium, image, Stage.ENUMERATE, result) as (attempt, show):

            def advance(loaded: Loaded) -> None:
                show(Work(files_done=loaded.names, bytes_done=loaded.bytes))

            about = ListedImage(
                medium.id, image.fd, medium.image_bytes, medium.claimed_bytes, medium.unread_or_beyond,
                image.cue, storable(image.path.name),
            )  # fmt: skip
            _, loaded = await self._stages.enumerate.run(about, advance, result.require_unchanged)
            attempt.counts.update(nodes=loaded.nodes, paths=loaded.names, files=loaded.files, bytes=loaded.bytes)
            attempt.counts["paths_per_s"] = round(loaded.names / max(attempt.seconds, 1e-3))

    async def _copy(self, medium: Medium, image: AcceptedImage, result: Ingested) -> None:
        queue = CopyQueue(self._database, medium.id)
        if medium.copy_done is not None and not result.changed and not (await queue.pending()).files:
            return
        async with self._stage(medium, image, Stage.COPY, result) as (attempt, show):

            def advance(written: Written, pending: Pending) -> None:
                show(Work(written.files, pending.files, written.bytes, pending.bytes, written.failed + written.damaged))

            volumes = await self._media.volumes(medium.id)
            about = MediumImage(
                medium.id, image.fd, medium.image_bytes, volumes, medium.unread_or_beyond, result.require_unchanged
            )
            await self._stages.copy.run(about, self._stop, result.copied, advance)
            written = result.copied
            attempt.counts.update(
                files=written.files, bytes=written.bytes, stored=written.stored, stored_bytes=written.stored_bytes,
                known=written.known, damaged=written.damaged, failed=written.failed, wasted=written.wasted,
            )  # fmt: skip

    async def _archive(self, medium: Medium, image: AcceptedImage, result: Ingested) -> None:
        async with self._stage(medium, image, Stage.ARCHIVE, result) as (attempt, show):

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
        self, medium: Medium, image: AcceptedImage, stage: Stage, result: Ingested
    ) -> AsyncIterator[tuple[Attempt, Callable[[Work], None]]]:
        """One recorded, shown, timed attempt; not begun when the operator has asked to stop."""
        self._require_going(stage)
        last = Work()

        def show(work: Work) -> None:
            nonlocal last
            last = work
            if stage is not Stage.COPY:  # copying finishes the files in hand; the others have no halves to keep
                self._require_going(stage)
            self._reporter.stage_progress(image.name, stage, work)

        self._reporter.stage_started(image.name, stage)
        attempt: Attempt | None = None
        try:
            async with self._runs.attempt(medium.id, stage) as attempt:
                yield attempt, show
                result.changed = True
        finally:
            if attempt is not None:
                result.seconds[stage] = attempt.seconds
                self._reporter.stage_ended(image.name, stage, attempt.state, attempt.seconds, last)
