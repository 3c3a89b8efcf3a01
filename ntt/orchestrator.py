"""Takes each medium through the stages: image -> identify -> recognise -> enumerate + load -> copy -> archive.

An image file comes as it is. A device, or a file that is hard to read, is imaged once over and listed; then it is read
again where that matters (`ntt.refining`): by now it is known which files and directories the unread bytes belong to.

What is left to do is derived from the rows, the image and its map each time, so a run that was killed anywhere is gone
on with by running the same command again. A stage that fails stops what depends on it, and only this medium.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from ntt.attempts import Attempts, Ingested, Stages, Turn, at_once, unchanged
from ntt.db.connection import Database
from ntt.db.copying import CopyQueue
from ntt.db.damage import Damage
from ntt.db.loading import Problem
from ntt.db.locks import medium_lock
from ntt.db.media import Media, Medium
from ntt.db.runs import StageRuns
from ntt.db.summary import Problems
from ntt.errors import MediumError
from ntt.escort import Alone, Escort
from ntt.model import AcceptedImage, Effort, Identity, Order, Stage
from ntt.names import printable, storable
from ntt.progress import Reporter, Stop
from ntt.ranges import Ranges, difference, intersection, normalised
from ntt.refining import Refiner, Steps
from ntt.stages.accept import accepted
from ntt.stages.archive import archive_is_there
from ntt.stages.image import AsItIs, Imaged, Imaging
from ntt.stages.recognise import Recognised, Recognition


class Orchestrator:
    """One medium at a time; `work` is this run's own folder, `undo` saves what a replaced load had.

    `turn` is held for the time of each stage: where several media are brought through at once, it limits them.
    """

    def __init__(
        self,
        database: Database,
        stages: Stages,
        refiner: Refiner,
        reporter: Reporter,
        stop: Stop,
        work: Path,
        undo: Callable[[Medium], Awaitable[None]],
        escort: Escort | None = None,
        turn: Turn = at_once,
    ) -> None:
        self._database = database
        self._media = Media(database)
        self._damage = Damage(database)
        self._runs = StageRuns(database)
        self._problems = Problems(database)
        self._stages = stages
        self._run = Attempts(database, stages, reporter, stop, work, turn)
        self._escort = escort or Alone()
        self._refiner = refiner
        self._reporter = reporter
        self._undo = undo

    async def ingest(self, order: Order) -> Ingested:
        """An image file, or with an effort a device or a file that is hard to read, through all stages.

        What the user named is never moved, changed or deleted. UsageError, MediumError, BusyError concern this
        medium; StoreError and DatabaseError all of them.
        """
        if order.effort is None:
            with accepted(order) as image:
                return await self._through(order, image, None)
        async with self._stages.image.opened(order.image, order.effort, passing=order.passing) as imaging:
            imaging.reach = order.reach
            await self._escort.opened(imaging)
            await self._run.first_pass(imaging)
            with accepted(imaging.order) as image:
                return await self._through(order, image, imaging)

    async def retry(self, medium: Medium, reason: str | None) -> Ingested:
        """Copies exactly the failed files of a medium again, or those whose reason contains the text."""
        if medium.image_path is None:
            raise MediumError("the image of this medium is gone", "unpack it from its archive and ingest it again")
        async with medium_lock(self._database, medium.id, f"medium {medium.human}"):
            with accepted(Order(Path(medium.image_path))) as image:
                result = Ingested(medium.id, Recognition.KNOWN, unchanged(image))
                identity = await self._run.identify(image)
                if identity.image_hash != medium.image_hash:
                    raise MediumError(f"{image.name} is no longer the image that was loaded", "ingest it anew")
                await self._runs.abandon(medium.id)
                queue = CopyQueue(self._database, medium.id)
                await queue.give_back(await queue.failed(reason))
                medium = await self._media.by_id(medium.id)
                await self._run.copy(medium, image, result)
                medium = await self._media.by_id(medium.id)
                if medium.archive_path is not None and medium.archive_done is None:
                    await self._run.archive(medium, image, result)
                await self._problems.refresh(medium.id)
        return result

    async def _through(self, order: Order, image: AcceptedImage, imaging: Imaging | None) -> Ingested:
        require_same = unchanged(image)
        started = time.monotonic()
        identity = await self._run.identify(image, imaging.scan if imaging is not None else None)
        seconds = {Stage.IDENTIFY: time.monotonic() - started}
        await self._escort.identified(identity)
        async with medium_lock(self._database, identity.image_hash, f"image {image.name}"):
            found = await self._recognise(order, image, identity, imaging)
            await self._escort.recognised(found)
            async with medium_lock(self._database, found.medium_id, f"medium {image.name}"):
                result = Ingested(found.medium_id, found.recognition, require_same, seconds=seconds)
                await self._runs.abandon(found.medium_id)
                await self._say(image, found, order)
                join = not order.replace and await self._is_to_be_joined(imaging, found)
                if not join:
                    await self._sight(order, found.medium_id)
                if join:
                    await self._join(order, image, identity, imaging, result)
                elif imaging is not None and not order.replace and await self._is_superfluous(imaging, found):
                    imaging.discard()
                    await self._escort.source_done()
                    await self._bring_through(order, image, identity, result)
                elif imaging is not None:
                    imaging.belongs_to((await self._media.by_id(found.medium_id)).medium_hash)
                    await self._bring_imaged(order, imaging, identity, result)
                else:
                    await self._bring_through(order, image, identity, result)
        if imaging is None:
            require_same()
        return result

    async def _sight(self, order: Order, medium_id: int) -> None:
        source = storable(str(order.image.absolute()))
        await self._media.sight(medium_id, source, order.label, self._database.run_id)

    async def _recognise(
        self, order: Order, image: AcceptedImage, identity: Identity, imaging: Imaging | None
    ) -> Recognised:
        known = imaging.medium_hash if imaging is not None else None
        if known is not None and await self._media.exists(known):  # else the image is from another catalogue
            return Recognised((await self._media.by_prefix(known)).id, Recognition.KNOWN)
        if order.same_as is not None:
            medium = await self._media.by_prefix(order.same_as)
            remark = f"taken for another pass over medium {medium.medium_hash[:8]}, as was said"
            return Recognised(medium.id, Recognition.OTHER_PASS, remark)
        human = order.label or printable(os.fsencode(order.image.name))
        return await self._stages.recognise.run(image, identity, human)

    async def _is_to_be_joined(self, imaging: Imaging | None, found: Recognised) -> bool:
        """Another pass; or the image in work of a medium that has got another image since."""
        if found.recognition is Recognition.OTHER_PASS:
            return True
        return imaging is not None and imaging.medium_hash is not None and await self._has_another(imaging, found)

    async def _is_superfluous(self, imaging: Imaging, found: Recognised) -> bool:
        """Is what was imaged now there already, to the byte, as the image of a known medium?"""
        return found.recognition is Recognition.KNOWN and await self._has_another(imaging, found)

    async def _has_another(self, imaging: Imaging, found: Recognised) -> bool:
        medium = await self._media.by_id(found.medium_id)
        former = Path(medium.image_path) if medium.image_path is not None else None
        return former is not None and former != imaging.image and former.is_file()

    async def _say(self, image: AcceptedImage, found: Recognised, order: Order) -> None:
        if found.recognition is Recognition.OTHER_PASS and order.replace:
            self._reporter.note(image.name, f"{found.remark}; it takes the place of what was loaded", problem=True)
        elif found.remark:
            self._reporter.note(image.name, found.remark, problem=True)
        if found.recognition in (Recognition.LOOK_ALIKE, Recognition.ASSIGNED):
            problem = Problem(f"identity_{found.recognition.value}", found.remark, "label the medium itself")
            await self._problems.replace(found.medium_id, Stage.IDENTIFY.value, [problem])

    async def _bring_through(self, order: Order, image: AcceptedImage, identity: Identity, result: Ingested) -> None:
        """An image file, as it is."""
        medium = await self._media.by_id(result.medium_id)
        replace = order.replace and medium.enum_done is not None
        if replace:
            await self._undo(medium)
            await self._media.take_image(medium.id, storable(str(image.path.absolute())), identity, image.map_text)
            medium = await self._media.by_id(medium.id)
        if medium.enum_done is None or replace:
            await self._run.record_identify(medium.id, identity, result)
            await self._run.enumerate(medium, image, result)
        else:
            self._reporter.note(image.name, f"loaded on {medium.enum_done:%Y-%m-%d %H:%M}: the listing stays as it is")
        await self._run.copy(medium, image, result)
        await self._problems.refresh(medium.id)  # what is damaged is said even if archiving fails
        medium = await self._media.by_id(medium.id)
        if order.archive and (medium.archive_done is None or not archive_is_there(medium)):
            await self._run.archive(medium, image, result)

    async def _join(
        self, order: Order, image: AcceptedImage, identity: Identity, imaging: Imaging | None, result: Ingested
    ) -> None:
        """Another pass over a known medium: what either has read is read; a joined image takes the former's place."""
        medium = await self._media.by_id(result.medium_id)
        same = identity.image_hash == medium.image_hash
        more = bool(_gained(medium, image)) and (image.map_text is not None or not same)  # without a map nobody says so
        former = Path(medium.image_path) if medium.image_path is not None else None
        if not more and (same or order.same_as is None) and (imaging is None or not medium.unread):
            unsaid = "; without its map nothing says what of it was read" if same and image.map_text is None else ""
            self._reporter.note(image.name, f"it has nothing that was not read before: nothing was changed{unsaid}")
            await self._sight(order, medium.id)
            if imaging is not None and former is not None and former.is_file():
                imaging.discard()
            return
        if same and imaging is None and not self._stages.image.is_own(former):
            # the same image, of which another map knows more
            await self._sight(order, medium.id)
            await self._bring_imaged(order, AsItIs(Order(image.path, order.map_path)), identity, result)
            return
        if former is None or not former.is_file():
            text = "the image of the earlier pass is gone"
            raise MediumError(text, "unpack it from its archive, or let `--replace` take this pass in its place")
        claimed_bytes = max(medium.claimed_bytes, image.claimed_bytes)
        async with self._stages.image.joined(former, medium.unread, image, claimed_bytes, imaging) as joined:
            for own in filter(None, (imaging, joined)):
                own.belongs_to(medium.medium_hash)
            await self._sight(order, medium.id)
            if joined.disagreements:
                await self._problems.replace(medium.id, Stage.IMAGE.value, [joined.disagreement()])
            if not joined.going:
                await self._escort.source_done()
            identity = await self._identify_anew(joined, result)
            await self._bring_imaged(order, joined, identity, result)
            if imaging is not None and joined.has_all_of(imaging):
                imaging.discard()

    async def _identify_anew(self, imaging: Imaged, result: Ingested) -> Identity:
        started = time.monotonic()
        with accepted(imaging.order) as image:
            result.require_unchanged = unchanged(image)
            identity = await self._run.identify(image)
        result.seconds[Stage.IDENTIFY] = result.seconds.get(Stage.IDENTIFY, 0.0) + time.monotonic() - started
        return identity

    async def _bring_imaged(self, order: Order, imaging: Imaged, identity: Identity, result: Ingested) -> None:
        """An image of which more was read, or still may be: listed, copied, read again where it matters."""
        medium = await self._media.by_id(result.medium_id)
        await self._damage.record(medium.id, imaging.passes)
        if imaging.first is not None:
            await self._run.record_first_pass(medium.id, imaging.first, result)
        if medium.enum_done is None:
            await self._run.record_identify(medium.id, identity, result)
        if isinstance(imaging, Imaging) and imaging.whole:
            await self._let_go(imaging)
        follow = partial(self._follow, medium.id, imaging, result)
        copy = partial(self._copy_imaged, medium.id, imaging, result)
        await self._follow(medium.id, imaging, result, anew=order.replace)
        self._stages.image.remove_superfluous(imaging)
        source = None
        if isinstance(imaging, Imaging) and imaging.going:
            source = _Again(self._run, self._damage, medium, imaging, result)
        effort = imaging.effort or Effort.NORMAL
        await self._refiner.run(medium.id, source, effort, Steps(follow, copy), free_space=order.free_space)
        medium = await self._media.by_id(medium.id)
        if imaging.changed or medium.image_hash != identity.image_hash:
            identity = await self._identify_anew(imaging, result) if imaging.changed else identity
            await self._damage.rehash(medium.id, identity)
        if medium.identity == Recognition.ASSIGNED and not identity.why_assigned:  # it will be known again by now
            await self._problems.replace(medium.id, Stage.IDENTIFY.value, [])
        stopped = imaging.stopped()
        if stopped is None:
            await self._let_go(imaging)
        await self._problems.replace(medium.id, "imaging", [stopped] if stopped is not None else [])
        medium = await self._media.by_id(medium.id)
        if order.archive and stopped is None and (medium.archive_done is None or not archive_is_there(medium)):
            with accepted(imaging.order) as image:
                await self._run.archive(medium, image, result)

    async def _let_go(self, imaging: Imaged) -> None:
        imaging.let_go()
        await self._escort.source_done()

    async def _follow(self, medium_id: int, imaging: Imaged, result: Ingested, *, anew: bool = False) -> None:
        """The rows follow the image and its map: it is listed anew where what was read since may show more.

        Also where less counts as read than before, since any file may lie there; and with `anew`.
        """
        with accepted(imaging.order) as image:
            result.require_unchanged = unchanged(image)
            medium = await self._media.by_id(medium_id)
            gained = _gained(medium, image)
            lost = difference(image.unread, medium.unread_or_beyond)
            before = await self._damage.unread(medium_id)
            told_by = normalised((*before.structures, *before.unknown, *before.accounts))
            size_bytes = os.fstat(image.fd).st_size
            shows_more = bool(intersection(gained, told_by)) or size_bytes > medium.image_bytes
            if medium.enum_done is None or shows_more or lost or anew:
                if medium.enum_done is not None and medium.copy_done is not None:
                    await self._undo(medium)
                await self._run.enumerate(medium, image, result)
            if gained or lost or storable(str(imaging.image.absolute())) != medium.image_path:
                path, text = storable(str(imaging.image.absolute())), image.map_text or ""
                await self._damage.refine(medium_id, path, size_bytes, image.claimed_bytes, image.unread, text)
                result.changed = True
            await self._problems.refresh(medium_id)

    async def _copy_imaged(self, medium_id: int, imaging: Imaged, result: Ingested) -> None:
        with accepted(imaging.order) as image:
            result.require_unchanged = unchanged(image)
            await self._run.copy(await self._media.by_id(medium_id), image, result)
            await self._problems.refresh(medium_id)


def _gained(medium: Medium, image: AcceptedImage) -> Ranges:
    """What the image has that the medium's image has not; it may be longer, too."""
    read = difference(((0, os.fstat(image.fd).st_size),), image.unread)
    return intersection(read, medium.unread_or_beyond)


class _Again:
    """The source of an image, to be read again."""

    def __init__(self, run: Attempts, damage: Damage, medium: Medium, imaging: Imaging, result: Ingested) -> None:
        self._run = run
        self._damage = damage
        self._medium = medium
        self._imaging = imaging
        self._result = result

    async def read(self, name: str, domain: Ranges) -> bool:
        records = await self._run.passes(self._medium, self._imaging, name, domain, self._result)
        await self._damage.record(self._medium.id, records)
        return self._imaging.going
