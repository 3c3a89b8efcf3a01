"""Files without an outcome -> contents in the store, an outcome for each; then the proof, then `copy_done`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial

import anyio

from ntt.config import Settings
from ntt.copier.crew import Assignment, Crew, Limits
from ntt.copier.messages import FileJob
from ntt.copier.shift import Rules
from ntt.db.connection import Database
from ntt.db.copying import CopyQueue, Pending, Registrar
from ntt.db.outcomes import OutcomeWriter, Written
from ntt.errors import Interrupted, MediumError, NttError
from ntt.model import OutcomeBatch, PackFull, Volume
from ntt.progress import Stop
from ntt.ranges import Ranges
from ntt.store.layout import PACK_LIMIT_BYTES, SMALL_BLOB_LIMIT_BYTES, StoreLayout
from ntt.store.packs import member_bytes, seal
from ntt.store.plain import remove_orphans

QUEUE_BATCHES = 16
ROUNDS = 3  # a second finds what waited for another's content, or was given back by a worker that died


@dataclass(frozen=True, slots=True)
class MediumImage:
    """The image to copy from: open for reading, what it holds, and which bytes were never read.

    `require_unchanged` raises MediumError once the file is not what was identified any more.
    """

    medium_id: int
    fd: int
    volumes: tuple[Volume, ...]
    unread: Ranges
    require_unchanged: Callable[[], None]


class CopyStage:
    """Copies into `store`; `settings` say how many workers there are and how long one may be silent."""

    def __init__(self, database: Database, store: StoreLayout, settings: Settings) -> None:
        self._database = database
        self._store = store
        self._settings = settings

    async def run(
        self, image: MediumImage, stop: Stop, total: Written, advance: Callable[[Written, Pending], None]
    ) -> None:
        """`copy_done` is set when it returns, `total` is added to meanwhile.

        Whatever it raises, everything finished so far stays recorded.

        Interrupted when `stop` was requested; StoreError, DatabaseError, MediumError as they come.
        """
        queue = CopyQueue(self._database, image.medium_id)
        pending = await queue.pending()
        left = pending.files
        for _ in range(ROUNDS):
            if left and not stop.requested:
                await self._round(image, queue, total, stop, lambda written: advance(written, pending))
            image.require_unchanged()
            left = await queue.prove_done()
            if not left:
                return
            if stop.requested:
                raise Interrupted(f"stopped with {left:,} files left", "run the same command again to go on")
        raise MediumError(f"{left:,} files could not be brought to an end", "run the same command again")

    async def _round(
        self, image: MediumImage, queue: CopyQueue, total: Written, stop: Stop, advance: Callable[[Written], None]
    ) -> None:
        send, receive = anyio.create_memory_object_stream[OutcomeBatch | PackFull](QUEUE_BATCHES)
        settings = self._settings
        limits = Limits(settings.workers, settings.worker_memory_bytes, settings.attempts, SMALL_BLOB_LIMIT_BYTES)
        rules = Rules(member_bytes, PACK_LIMIT_BYTES, settings.stall_s)
        about = Assignment(image.fd, image.volumes, image.unread, str(self._store.root), self._database.run_id)
        async with send, receive, self._database.connected() as connection:
            crew = Crew(about, limits, Registrar(connection), rules)
            writer = OutcomeWriter(
                self._database, image.medium_id, crew.released, partial(seal, self._store), advance, total,
                image.require_unchanged,
            )  # fmt: skip
            failure: Exception | None = None
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(writer.run, receive)
                    try:
                        await crew.copy(_jobs(queue, stop), send)
                    except (NttError, ExceptionGroup) as error:
                        failure = error  # what is durable already is still recorded: the writer ends by itself
            finally:
                remove_orphans(self._store)  # of workers that died
            if failure is not None:
                raise failure


async def _jobs(queue: CopyQueue, stop: Stop) -> AsyncIterator[FileJob]:
    async for file in queue.files():
        if stop.requested:
            return
        yield FileJob(file.volume, file.ino, file.size, 1)
