"""An image of which more was read, or is said to be, than its rows know: the rows follow it, and more of it is read."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from functools import partial

from ntt.attempts import Attempts, Ingested, Stages, unchanged
from ntt.db.connection import Database
from ntt.db.damage import Damage
from ntt.db.media import Media, Medium
from ntt.db.summary import Problems
from ntt.escort import Escort
from ntt.imaging import Imaged, Imaging
from ntt.model import AcceptedImage, Effort, Identity, Order, Stage
from ntt.names import storable
from ntt.ranges import Ranges, difference, intersection
from ntt.refining import Refiner, Steps
from ntt.stages.accept import accepted
from ntt.stages.archive import archive_is_there
from ntt.stages.recognise import Recognition


class Follower:
    """One medium at a time. `undo` saves what a replaced load had."""

    def __init__(
        self,
        database: Database,
        stages: Stages,
        refiner: Refiner,
        run: Attempts,
        undo: Callable[[Medium], Awaitable[None]],
    ) -> None:
        self._media = Media(database)
        self._damage = Damage(database)
        self._problems = Problems(database)
        self._stages = stages
        self._refiner = refiner
        self._run = run
        self._undo = undo

    async def bring(self, order: Order, imaging: Imaged, identity: Identity, result: Ingested, escort: Escort) -> None:
        """An image of which more was read, or still may be: listed, copied, read again where it matters, archived.

        `identity`: of the image as it is. Its source is done for as soon as nothing more is read of it.
        """
        medium = await self._media.by_id(result.medium_id)
        await self._damage.record(medium.id, imaging.passes)
        if imaging.first is not None:
            await self._run.record_first_pass(medium.id, imaging.first, result)
        if medium.enum_done is None:
            await self._run.record_identify(medium.id, identity, result)
        if isinstance(imaging, Imaging) and imaging.whole:
            await _let_go(imaging, escort)
        follow = partial(self.follow, medium.id, imaging, result)
        copy = partial(self._copy, medium.id, imaging, result)
        await self.follow(medium.id, imaging, result, identity, anew=order.replace)
        self._stages.image.remove_superfluous(imaging)
        source = None
        if isinstance(imaging, Imaging) and imaging.going:
            source = _Again(self._run, self._damage, medium, imaging, result)
        effort = imaging.effort or Effort.NORMAL
        await self._refiner.run(medium.id, source, effort, Steps(follow, copy), free_space=order.free_space)
        await self._settle(medium.id, imaging, identity, result, escort)
        medium = await self._media.by_id(medium.id)
        stopped = imaging.stopped() is not None
        if order.archive and not stopped and (medium.archive_done is None or not archive_is_there(medium)):
            with accepted(imaging.order) as image:
                await self._run.archive(medium, image, result)

    async def _settle(
        self, medium_id: int, imaging: Imaged, identity: Identity, result: Ingested, escort: Escort
    ) -> None:
        """What the image came to, once no more is read of it."""
        medium = await self._media.by_id(medium_id)
        if imaging.changed or medium.image_hash != identity.image_hash or medium.identity == Recognition.ASSIGNED:
            identity = await self.identify_anew(imaging, result) if imaging.changed else identity
            await self._damage.rehash(medium_id, identity)
        if medium.identity == Recognition.ASSIGNED and not identity.why_assigned:  # it will be known again by now
            await self._problems.replace(medium_id, Stage.IDENTIFY.value, [])
        disagreement = imaging.disagreement()
        await self._problems.replace(medium_id, Stage.IMAGE.value, [disagreement] if disagreement is not None else [])
        stopped = imaging.stopped()
        if imaging.resting:  # why its source was left, and that it waits, stays as it is
            return
        if stopped is None:
            await _let_go(imaging, escort)
        await self._problems.replace(medium_id, "imaging", [stopped] if stopped is not None else [])

    async def identify_anew(self, imaging: Imaged, result: Ingested) -> Identity:
        started = time.monotonic()
        with accepted(imaging.order) as image:
            result.require_unchanged = unchanged(image)
            identity = await self._run.identify(image)
        result.seconds[Stage.IDENTIFY] = result.seconds.get(Stage.IDENTIFY, 0.0) + time.monotonic() - started
        return identity

    async def follow(
        self,
        medium_id: int,
        imaging: Imaged,
        result: Ingested,
        identity: Identity | None = None,
        *,
        anew: bool = False,
        keep_names: bool = False,
    ) -> None:
        """The rows follow the image and its map: it is listed anew where what was read since may show more.

        Also where less counts as read than before, since any file may lie there; and with `anew`. `identity`: of the
        image, unless something was read since. NamesLost, and nothing has changed, when a new listing is to name all
        that the one before did (`keep_names`) and does not.
        """
        with accepted(imaging.order) as image:
            result.require_unchanged = unchanged(image)
            medium = await self._media.by_id(medium_id)
            gained = gained_by(medium, image)
            lost = difference(image.unread, medium.unread_or_beyond)
            told_by = await self._damage.listing_hangs_on(medium_id)
            size_bytes = os.fstat(image.fd).st_size
            shows_more = bool(intersection(gained, told_by)) or size_bytes > medium.image_bytes
            if medium.enum_done is None or shows_more or lost or anew:
                if medium.enum_done is not None and medium.copy_done is not None:
                    await self._undo(medium)
                await self._run.enumerate(medium, image, result, keep_names=keep_names)
            path = storable(str(imaging.image.absolute()))
            if gained or lost or path != medium.image_path:
                text = image.map_text or ""
                image_hash = identity.image_hash if identity is not None else None
                await self._damage.refine(
                    medium_id, path, size_bytes, image.claimed_bytes, image.unread, text, image_hash
                )
                result.changed = True
            await self._problems.refresh(medium_id)

    async def _copy(self, medium_id: int, imaging: Imaged, result: Ingested) -> None:
        with accepted(imaging.order) as image:
            result.require_unchanged = unchanged(image)
            await self._run.copy(await self._media.by_id(medium_id), image, result)
            await self._problems.refresh(medium_id)


def gained_by(medium: Medium, image: AcceptedImage) -> Ranges:
    """What the image has that the medium's image has not; it may be longer, too."""
    read = difference(((0, os.fstat(image.fd).st_size),), image.unread)
    return intersection(read, medium.unread_or_beyond)


async def _let_go(imaging: Imaged, escort: Escort) -> None:
    imaging.let_go()
    await escort.source_done()


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
