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
from dataclasses import replace
from pathlib import Path

from ntt.attempts import Attempts, Ingested, Stages, Turn, at_once, unchanged
from ntt.db.connection import Database
from ntt.db.copying import CopyQueue
from ntt.db.loading import NamesLost, Problem
from ntt.db.locks import medium_lock
from ntt.db.media import Media, Medium
from ntt.db.runs import StageRuns
from ntt.db.summary import Problems
from ntt.errors import MediumError, UsageError
from ntt.escort import Alone, Escort, Once
from ntt.following import Follower, gained_by
from ntt.imaging import AsItIs, Imaged, Imaging
from ntt.model import AcceptedImage, Identity, Order, Stage
from ntt.names import printable, storable
from ntt.progress import Reporter, Stop
from ntt.ranges import Ranges, normalised
from ntt.refining import Refiner
from ntt.stages.accept import accepted
from ntt.stages.archive import archive_is_there
from ntt.stages.recognise import Recognised, Recognition, is_intact
from ntt.tools.mapfile import best_of, mapfile_text, parse_mapfile

START_BYTES = 64 << 10  # of a medium and of each of its volumes: there it says what it is
GUESS = "join"  # stage of a finding that is no fault of the medium


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
        self._runs = StageRuns(database)
        self._problems = Problems(database)
        self._stages = stages
        self._run = Attempts(database, stages, reporter, stop, work, turn)
        self._escorted_by = escort or Alone()
        self._escort: Escort = self._escorted_by
        self._follower = Follower(database, stages, refiner, self._run, undo)
        self._whose = stages.image.whose
        self._work = work
        self._reporter = reporter
        self._undo = undo

    async def ingest(self, order: Order) -> Ingested:
        """An image file, or with an effort a device or a file that is hard to read, through all stages.

        What the user named is never moved, changed or deleted. UsageError, MediumError, BusyError concern this
        medium; StoreError and DatabaseError all of them.
        """
        self._escort = Once(self._escorted_by)
        if order.effort is None and self._stages.image.is_own(order.image.absolute()):
            async with self._stages.image.held(order.image.absolute()) as own:
                with accepted(own.order) as image:
                    return await self._through(order, image, own)
        if order.effort is None:
            with accepted(order) as image:
                return await self._through(order, image, None)
        async with self._stages.image.opened(order.image, order.effort, passing=order.passing) as imaging:
            imaging.reach = order.reach
            await self._escort.opened(imaging)
            await self._run.first_pass(imaging)
            with accepted(imaging.order) as image:
                return await self._through(order, image, imaging)

    async def retry(self, medium: Medium, reason: str | None, image_path: Path) -> Ingested:
        """Copies exactly the failed files of a medium again, or those whose reason contains the text, from this image.

        MediumError, and nothing is changed, unless it is the image that was loaded.
        """
        async with medium_lock(self._database, medium.id, f"medium {medium.human}"):
            with accepted(Order(image_path)) as image:
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
        if image.map_text is None and not order.replace:
            image, identity = await self._with_known_map(image, identity)
        await self._escort.identified(identity)
        async with medium_lock(self._database, identity.image_hash, f"image {image.name}"):
            found = await self._recognise(order, image, identity, imaging)
            await self._escort.recognised(found)
            async with medium_lock(self._database, found.medium_id, f"medium {image.name}"):
                result = Ingested(found.medium_id, found.recognition, require_same, seconds=seconds)
                await self._runs.abandon(found.medium_id)
                await self._say(image, found, order)
                await self._bring(order, image, identity, imaging, found, result)
        if imaging is None:
            require_same()
        return result

    async def _bring(
        self,
        order: Order,
        image: AcceptedImage,
        identity: Identity,
        imaging: Imaging | None,
        found: Recognised,
        result: Ingested,
    ) -> None:
        if not order.replace and await self._is_to_be_joined(imaging, found):
            await self._join(order, image, identity, imaging, found, result)
            return
        await self._sight(order, found.medium_id)
        if imaging is None:
            await self._bring_through(order, image, identity, result)
        elif not order.replace and await self._is_superfluous(imaging, found):
            await self._give_up(imaging)
            await self._bring_through(order, image, identity, result)
        else:
            imaging.belongs_to((await self._media.by_id(found.medium_id)).medium_hash)
            await self._follower.bring(order, imaging, identity, result, self._escort)

    async def _with_known_map(self, image: AcceptedImage, identity: Identity) -> tuple[AcceptedImage, Identity]:
        """An image without a map that is in the catalogue with one: that says what of it was read."""
        path = storable(str(image.path.absolute()))
        for medium in await self._media.with_image(identity.image_hash):
            if medium.unread and medium.map_text and (identity.informative or medium.image_path == path):
                text = "without its map nothing says what of it was read: the map with which it was loaded counts"
                self._reporter.note(image.name, text)
                claimed, unread = medium.claimed_bytes, medium.unread
                image = replace(image, claimed_bytes=claimed, unread=unread, map_text=medium.map_text)
                return image, replace(identity, claimed_bytes=claimed, unread=unread)
        return image, identity

    async def _sight(self, order: Order, medium_id: int) -> None:
        source = storable(str(order.image.absolute()))
        await self._media.sight(medium_id, source, order.label, self._database.run_id)

    async def _recognise(
        self, order: Order, image: AcceptedImage, identity: Identity, imaging: Imaging | None
    ) -> Recognised:
        known = imaging.medium_hash if imaging is not None else None
        if known is not None and await self._media.exists(known):  # else the image is from another catalogue
            medium = await self._media.by_prefix(known)
            if order.same_as is not None and (await self._media.by_prefix(order.same_as)).id != medium.id:
                raise UsageError(
                    f"{image.name} goes on with medium {known[:8]}, which it agrees with: it is not {order.same_as}",
                    "leave out --same-as",
                )
            return Recognised(medium.id, Recognition.KNOWN)
        if order.same_as is not None:
            medium = await self._media.by_prefix(order.same_as)
            remark = f"taken for another pass over medium {medium.medium_hash[:8]}, as was said"
            return Recognised(medium.id, Recognition.OTHER_PASS, remark)
        human = order.label or printable(os.fsencode(order.image.name))
        return await self._stages.recognise.run(image, identity, human, order.label, self._whose)

    async def _is_to_be_joined(self, imaging: Imaging | None, found: Recognised) -> bool:
        """Another pass; or the image in work of a medium that has got another image since."""
        if found.recognition is Recognition.OTHER_PASS:
            return True
        return imaging is not None and imaging.medium_hash is not None and await self._has_another(imaging, found)

    async def _is_superfluous(self, imaging: Imaging, found: Recognised) -> bool:
        """Is what was imaged now there already, to the byte, as the image of a known medium?"""
        return found.recognition is Recognition.KNOWN and await self._has_another(imaging, found)

    async def _has_another(self, imaging: Imaging, found: Recognised) -> bool:
        """A file of a user's may have been overwritten since: then it is the medium's image no more."""
        medium = await self._media.by_id(found.medium_id)
        if medium.image_path == storable(str(imaging.image.absolute())):
            return False
        return await is_intact(medium, self._whose)

    async def _give_up(self, imaging: Imaging | None) -> None:
        """Nothing of it is needed, and its source neither. What a user named stays, whosever it is."""
        if imaging is not None and not imaging.resting:
            imaging.discard()
        await self._escort.source_done()

    async def _say(self, image: AcceptedImage, found: Recognised, order: Order) -> None:
        if found.recognition is Recognition.OTHER_PASS and order.replace:
            self._reporter.note(image.name, f"{found.remark}; it takes the place of what was loaded", problem=True)
        elif found.remark:
            self._reporter.note(image.name, found.remark, problem=True)
        if found.recognition in (Recognition.LOOK_ALIKE, Recognition.ASSIGNED) or (
            found.recognition is Recognition.NEW and found.remark
        ):
            problem = Problem(f"identity_{found.recognition.value}", found.remark, "label the medium itself")
            await self._problems.replace(found.medium_id, Stage.IDENTIFY.value, [problem])

    async def _bring_through(self, order: Order, image: AcceptedImage, identity: Identity, result: Ingested) -> None:
        """An image file, as it is."""
        medium = await self._media.by_id(result.medium_id)
        replace_it = order.replace and medium.enum_done is not None
        if replace_it:
            await self._undo(medium)
            await self._media.take_image(medium.id, storable(str(image.path.absolute())), identity, image.map_text)
            medium = await self._media.by_id(medium.id)
        if medium.enum_done is None or replace_it:
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
        self,
        order: Order,
        image: AcceptedImage,
        identity: Identity,
        imaging: Imaging | None,
        found: Recognised,
        result: Ingested,
    ) -> None:
        """Another pass over a known medium: what either has read is read; a joined image takes the former's place."""
        medium = await self._media.by_id(result.medium_id)
        same = identity.image_hash == medium.image_hash
        former = Path(medium.image_path) if medium.image_path is not None else None
        if same and imaging is None and not self._stages.image.is_own(former):
            await self._take_map(order, image, identity, medium, result)
            return
        gained = gained_by(medium, image)
        reads = imaging is not None and imaging.going
        if not gained and (same or order.same_as is None) and not (reads and medium.unread):
            self._reporter.note(image.name, "it has nothing that was not read before: nothing was changed")
            await self._sight(order, medium.id)
            if await is_intact(medium, self._whose):
                await self._give_up(imaging)
            await self._go_on(order, medium, result)
            return
        if former is None or not await is_intact(medium, self._whose):
            text = "the image of the earlier pass is gone, or no longer what was loaded"
            raise MediumError(text, "unpack it from its archive, or let `--replace` take this pass in its place")
        claimed_bytes = max(medium.claimed_bytes, image.claimed_bytes)
        own_unread = self._stages.image.unread(former)
        unread = medium.unread if own_unread is None else own_unread
        joining = self._stages.image.joined(
            (former, unread), image, claimed_bytes, imaging, await self._telltale(medium.id)
        )
        async with joining as joined:
            identity = await self._adopt(joined, imaging, medium, result)
            await self._sight(order, medium.id)
            await self._guessed(medium.id, found)
            if not joined.going:
                await self._escort.source_done()
            await self._follower.bring(order, joined, identity, result, self._escort)
            if imaging is not None and not imaging.resting and joined.has_all_of(imaging):
                imaging.discard()

    async def _adopt(self, joined: Imaging, imaging: Imaging | None, medium: Medium, result: Ingested) -> Identity:
        """The rows are those of the joined image from now on; NamesLost, and nothing has changed, if they name less."""
        before = imaging.medium_hash if imaging is not None else None
        for own in filter(None, (imaging, joined)):
            own.belongs_to(medium.medium_hash)
        identity = await self._follower.identify_anew(joined, result)
        try:
            await self._follower.follow(
                medium.id,
                joined,
                result,
                identity,
                keep_names=bool(joined.disagreements) and medium.enum_done is not None,
            )
        except NamesLost as error:
            joined.discard()
            if imaging is not None:
                imaging.belongs_to(before)
            text = f"the two passes differ: {error}: nothing was joined"
            raise MediumError(text, "ingest it without --same-as, or read the medium once more") from error
        return identity

    async def _telltale(self, medium_id: int) -> Ranges:
        starts = [(0, START_BYTES)]
        for volume in await self._media.volumes(medium_id):
            at = max(volume.offset_bytes + volume.session_bytes, 0)
            starts.append((at, at + START_BYTES))
        return normalised(starts)

    async def _guessed(self, medium_id: int, found: Recognised) -> None:
        """What was joined by content alone stays said."""
        if found.guess:
            step = "compare the labels of the two; media that are called differently are not joined by themselves"
            await self._problems.replace(medium_id, GUESS, [Problem("joined_by_content", found.guess, step)])

    async def _take_map(
        self, order: Order, image: AcceptedImage, identity: Identity, medium: Medium, result: Ingested
    ) -> None:
        """The very image that was loaded, with another map: a byte is read if either says so.

        Of an image that was loaded without any, the first map is the first word on what was read.
        """
        mapped = AsItIs(Order(image.path, order.map_path, known_as=image.known_as))
        if medium.map_text and image.map_text:
            both = best_of(parse_mapfile(medium.map_text, "the map"), parse_mapfile(image.map_text, "the map"))
            if both.unread == medium.unread:
                self._reporter.note(image.name, "it has nothing that was not read before: nothing was changed")
            mapped = self._mapped(image.path, mapfile_text(both, "Two maps of one image, joined"))
        await self._sight(order, medium.id)
        await self._follower.bring(order, mapped, identity, result, self._escort)

    def _mapped(self, image: Path, map_text: str) -> AsItIs:
        self._work.mkdir(parents=True, exist_ok=True)
        path = self._work / "joined.map"
        path.write_text(map_text)
        return AsItIs(Order(image, path))

    async def _go_on(self, order: Order, medium: Medium, result: Ingested) -> None:
        """What is not done yet of a medium, with the image that it has."""
        archived = not order.archive or (medium.archive_done is not None and archive_is_there(medium))
        if medium.copy_done is not None and archived:
            return
        if medium.image_path is None or not await is_intact(medium, self._whose):
            raise MediumError(
                "the image of the earlier pass is gone, and it is not archived",
                "let `--replace` take this pass in its place",
            )
        path = Path(medium.image_path)
        if self._stages.image.is_own(path):
            async with self._stages.image.held(path) as own:
                await self._bring_as_it_is(order, own, result)
        else:
            mapped = self._mapped(path, medium.map_text) if medium.map_text else AsItIs(Order(path))
            await self._bring_as_it_is(order, mapped, result)

    async def _bring_as_it_is(self, order: Order, imaged: Imaged, result: Ingested) -> None:
        identity = await self._follower.identify_anew(imaged, result)
        await self._follower.bring(order, imaged, identity, result, self._escort)
