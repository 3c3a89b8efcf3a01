"""Image -> layout and entries -> rows: walked by a fenced worker, loaded in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from ntt.db.connection import Database
from ntt.db.loading import Load, Loaded, Problem, load
from ntt.db.runs import first_cause
from ntt.errors import MediumError
from ntt.fence import Worker, WorkerDied, worker
from ntt.model import Layout, VolumeStatus, WalkProblem
from ntt.ranges import Ranges
from ntt.readers.messages import Found, FromSurvey, LayoutFound, Survey, SurveyDone, VolumeEnded

QUEUE_MESSAGES = 4
PROBLEM_LIMIT = 10_000  # rows per medium; a directory of garbage must not fill the catalogue


class EnumerateStage:
    """`memory_bytes` limits the worker, `stall_s` without a sign of life ends it."""

    def __init__(self, database: Database, memory_bytes: int, stall_s: float) -> None:
        self._database = database
        self._memory_bytes = memory_bytes
        self._stall_s = stall_s

    async def run(
        self,
        image_fd: int,
        medium_id: int,
        unread: Ranges,
        claimed_bytes: int,
        advance: Callable[[Loaded], None],
        require_unchanged: Callable[[], None],
    ) -> tuple[Layout, Loaded]:
        """Everything is in the database with `enum_done` when it returns; nothing when it raises.

        MediumError when the walk dies or stops making progress.
        """
        decoder: msgspec.msgpack.Decoder[FromSurvey] = msgspec.msgpack.Decoder(FromSurvey)
        send, receive = anyio.create_memory_object_stream[FromSurvey](QUEUE_MESSAGES)
        async with (
            send,
            receive,
            load(self._database, medium_id) as loading,
            worker("walk", image_fd, self._memory_bytes, decoder) as walker,
        ):
            try:
                await walker.send(Survey(unread, claimed_bytes))
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._listen, walker, send)
                    layout = await _load(loading, receive, advance)
                require_unchanged()
            except* WorkerDied as died:
                raise MediumError(f"listing the files failed: {first_cause(died)}") from None
        return layout, loading.loaded

    async def _listen(self, walker: Worker[FromSurvey], send: MemoryObjectSendStream[FromSurvey]) -> None:
        async with send, anyio.create_task_group() as guards:
            guards.start_soon(self._watch, walker)
            while True:
                message = await walker.receive()
                await send.send(message)
                if isinstance(message, SurveyDone):
                    break
            guards.cancel_scope.cancel()

    async def _watch(self, walker: Worker[FromSurvey]) -> None:
        seen, since = walker.pulse.read(), time.monotonic()
        while time.monotonic() - since < self._stall_s:
            await anyio.sleep(min(1.0, self._stall_s / 4))
            if (now := walker.pulse.read()) != seen:
                seen, since = now, time.monotonic()
        walker.last_words += f"no progress for {self._stall_s:.0f} s".encode()
        walker.kill()


async def _load(
    loading: Load, receive: MemoryObjectReceiveStream[FromSurvey], advance: Callable[[Loaded], None]
) -> Layout:
    layout: Layout | None = None
    problems = 0
    async with receive:
        async for message in receive:
            match message:
                case LayoutFound(layout=found):
                    layout = found
                    await loading.volumes(found)
                    await loading.problems(_layout_problems(found))
                case Found(volume=volume, entries=entries, problems=met):
                    await loading.entries(volume, entries)
                    kept = met[: max(0, PROBLEM_LIMIT - problems)]
                    await loading.problems([_walk_problem(volume, p) for p in kept])
                    problems += len(met)
                    advance(loading.loaded)
                case VolumeEnded(volume=volume, failure=failure):
                    if failure:
                        detail = f"the listing of volume {volume} ended early: {failure}"
                        await loading.problems([Problem("listing_incomplete", detail, volume=volume)])
                case SurveyDone():
                    pass
    if layout is None:
        raise MediumError("the image was not surveyed")
    if problems > PROBLEM_LIMIT:
        detail = f"{problems:,} problems of the listing in all; the first {PROBLEM_LIMIT:,} are kept"
        await loading.problems([Problem("many_problems", detail)])
    if not loading.loaded.files:
        await loading.problems([_no_files(layout)])
    return layout


def _layout_problems(layout: Layout) -> list[Problem]:
    found = [Problem("table", remark) for remark in layout.remarks]
    for volume in layout.volumes:
        if volume.finding:
            kind = "volume" if volume.status is VolumeStatus.FINDING else "volume_truncated"
            found.append(Problem(kind, volume.finding, volume.next_step, volume.index))
    return found


def _walk_problem(volume: int, problem: WalkProblem) -> Problem:
    return Problem(problem.kind, problem.detail, "", volume, problem.ino, problem.name)


def _no_files(layout: Layout) -> Problem:
    read = [v for v in layout.volumes if v.status is VolumeStatus.READ]
    if not read:
        return Problem("no_files", "no file could be listed: no volume of the medium is readable")
    return Problem("no_files", "the medium holds no regular file", "is that what its label says?")
