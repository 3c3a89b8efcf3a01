"""A job beside its medium: told how far it is, and how many others may be in the same stage."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field

import anyio

from ntt.db.loading import Problem
from ntt.db.summary import Problems
from ntt.imaging import Imaging
from ntt.model import Identity, Stage
from ntt.stages.recognise import Recognised, Recognition
from ntt.watch.jobs import Job
from ntt.watch.options import EjectAfter, WatchOptions

IN_DRIVES = {Stage.IDENTIFY: 2, Stage.ENUMERATE: 2, Stage.COPY: 2, Stage.ARCHIVE: 2}
IN_QUEUE = {Stage.IDENTIFY: 1, Stage.ENUMERATE: 1, Stage.COPY: 1, Stage.ARCHIVE: 1}


class Twins:
    """Media of this run that are the same to the byte go through one after the other: the second is then known."""

    def __init__(self) -> None:
        self._locks: dict[str, anyio.Lock] = {}

    def of(self, image_hash: str) -> anyio.Lock:
        return self._locks.setdefault(image_hash, anyio.Lock())


class JobEscort:
    """Tells a job how far its medium is. `held` is left when the job has ended."""

    def __init__(self, job: Job, problems: Problems, options: WatchOptions, twins: Twins, held: AsyncExitStack) -> None:
        self._job = job
        self._problems = problems
        self._options = options
        self._twins = twins
        self._held = held
        self.recognition = Recognition.NEW
        self.imaging: Imaging | None = None

    async def opened(self, imaging: Imaging) -> None:
        self.imaging = imaging

    async def identified(self, identity: Identity) -> None:
        lock = self._twins.of(identity.image_hash)
        if lock.locked():
            self._job.note(f"{self._job.title}: the same medium is in another drive: it waits for that one", False)
        await self._held.enter_async_context(lock)

    async def recognised(self, found: Recognised) -> None:
        job = self._job
        self.recognition, job.medium_id = found.recognition, found.medium_id
        if job.record is not None:
            await job.record.of_medium(found.medium_id)
            if job.label:
                await job.record.label(job.label)
        if job.disc.remarks:
            problems = [Problem("disc", remark, "compare with another drive") for remark in job.disc.remarks]
            await self._problems.replace(found.medium_id, "triage", problems)

    async def source_done(self) -> None:
        if self._options.eject_after is EjectAfter.IMAGE:
            self._job.source_done.set()


@dataclass(slots=True)
class Turns:
    """How many media may be in a stage at once: those in drives do not wait for those in the queue."""

    in_drives: dict[Stage, anyio.CapacityLimiter] = field(
        default_factory=lambda: {stage: anyio.CapacityLimiter(number) for stage, number in IN_DRIVES.items()}
    )
    in_queue: dict[Stage, anyio.CapacityLimiter] = field(
        default_factory=lambda: {stage: anyio.CapacityLimiter(number) for stage, number in IN_QUEUE.items()}
    )

    def of(self, job: Job, stage: Stage) -> AbstractAsyncContextManager[None]:
        limiters = self.in_drives if job.in_drive else self.in_queue
        return limiters.get(stage) or _NoLimit()


class _NoLimit:
    async def __aenter__(self) -> None:
        return

    async def __aexit__(self, *_: object) -> None:
        return
