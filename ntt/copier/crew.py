"""Files -> batches -> worker processes -> outcomes: every file given out gets an answer, whatever happens."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from ntt.copier.batches import batched
from ntt.copier.examining import Examiner
from ntt.copier.messages import Begin, FileJob, FromWorker
from ntt.copier.places import Depot
from ntt.copier.shift import InHand, Registrar, Rules, Shift
from ntt.errors import MediumError
from ntt.fence import WorkerDied, worker
from ntt.model import FileOutcome, MountedRoot, OutcomeBatch, OutcomeStatus, PackFull, Volume
from ntt.ranges import Ranges

DEATHS_IN_A_ROW = 40  # of workers that read not one byte: then the machine is at fault, not files
IDLE_DEATH_WEIGHT = 4  # one that dies before it has a file in hand says more about the machine
Files = tuple[FileJob, ...]


@dataclass(frozen=True, slots=True)
class Assignment:
    """One medium to copy. `image_fd` is open for reading.

    `run_id` and `medium_id` keep the names of temp files apart: a run may copy several media at once.

    `store` is how messages call the store; workers cannot reach it but through what they are handed.
    `roots`: by volume index, of mounted volumes.
    """

    image_fd: int
    volumes: tuple[Volume, ...]
    unread: Ranges
    store: str
    run_id: str
    medium_id: int
    roots: Mapping[int, MountedRoot] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is taken: processes, their memory, attempts per file."""

    workers: int
    memory_bytes: int
    attempts: int


class Crew:
    """Copies the files of one medium. `released` is to be called with the contents that were committed."""

    def __init__(
        self,
        assignment: Assignment,
        limits: Limits,
        registrar: Registrar,
        depot: Depot,
        rules: Rules,
        examiner: Examiner,
    ) -> None:
        self._assignment = assignment
        self._limits = limits
        self._registrar = registrar
        self._depot = depot
        self._rules = rules
        self._examiner = examiner
        self._in_flight: set[bytes] = set()
        self._again: deque[Files] = deque()
        self._deaths = 0

    def released(self, hashes: Sequence[bytes]) -> None:
        """These contents are in the catalogue now."""
        self._in_flight.difference_update(hashes)

    async def copy(self, jobs: AsyncIterator[FileJob], out: MemoryObjectSendStream[OutcomeBatch | PackFull]) -> None:
        """Every job's outcome is sent to `out`, which is closed at the end.

        StoreError when the store cannot be written; MediumError when workers keep dying without progress;
        SessionBroken when what is mounted or the image itself is not there any more: what has no outcome then waits.
        """
        send, receive = anyio.create_memory_object_stream[Files](self._limits.workers)
        about = self._assignment
        async with out, anyio.create_task_group() as tasks:
            tasks.start_soon(self._feed, jobs, send)
            for slot in range(self._limits.workers):
                name = f"{about.run_id}-{about.medium_id}-{slot}"
                tasks.start_soon(self._staff, name, receive.clone(), out)
            receive.close()

    async def _feed(self, jobs: AsyncIterator[FileJob], send: MemoryObjectSendStream[Files]) -> None:
        # where no worker takes any more, the error that ended the last of them speaks
        async with send:
            with suppress(anyio.BrokenResourceError):
                async for batch in batched(jobs, self._rules.large_limit_bytes):
                    await send.send(batch)

    async def _staff(
        self,
        name: str,
        batches: MemoryObjectReceiveStream[Files],
        out: MemoryObjectSendStream[OutcomeBatch | PackFull],
    ) -> None:
        """One place in the crew: a worker, and its replacement whenever one dies."""
        shift = Shift(
            name, self._registrar, self._depot, self._in_flight, self._rules, out, self._examiner, self._again
        )
        async with batches:
            try:
                while (first := await self._next_wait(batches)) is not None:
                    self._again.appendleft(first)
                    await self._live(shift, batches, out)
            finally:
                shift.close()

    async def _live(
        self,
        shift: Shift,
        batches: MemoryObjectReceiveStream[Files],
        out: MemoryObjectSendStream[OutcomeBatch | PackFull],
    ) -> None:
        """One worker, until there is nothing left to do or it dies."""
        decoder: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)
        about = self._assignment
        roots = tuple(root.fd for root in about.roots.values())
        memory_bytes = self._limits.memory_bytes
        async with worker(
            "copy", about.image_fd, memory_bytes, decoder, pass_fds=roots, reads_mounts=bool(roots)
        ) as link:
            settled = shift.settled
            try:
                await link.send(Begin(about.volumes, about.unread, about.store, dict(about.roots)))
                await shift.work(link, lambda: self._next_now(batches), lambda: self._next_wait(batches))
            except* WorkerDied as group:
                died = group.exceptions[0]
                assert isinstance(died, WorkerDied)
                if shift.settled != settled:
                    self._deaths = 0
                await self._after_death(shift, link.pulse.read(), died, out)

    def _next_now(self, batches: MemoryObjectReceiveStream[Files]) -> Files | None:
        if self._again:
            return self._again.popleft()
        try:
            return batches.receive_nowait()
        except (anyio.WouldBlock, anyio.EndOfStream):
            return None

    async def _next_wait(self, batches: MemoryObjectReceiveStream[Files]) -> Files | None:
        if self._again:
            return self._again.popleft()
        try:
            return await batches.receive()
        except anyio.EndOfStream:
            return self._again.popleft() if self._again else None

    async def _after_death(
        self,
        shift: Shift,
        pulse: tuple[int, int, int],
        died: WorkerDied,
        out: MemoryObjectSendStream[OutcomeBatch | PackFull],
    ) -> None:
        """The file in hand is tried again alone, or its failure is its outcome; all others go back to be done.

        With neither something stored nor bytes read of a file that is to blame, it counts against the machine.
        """
        batch_number, index, read_bytes = pulse
        late = shift.stalled or died.out_of_time
        shift.stalled = False
        in_hand = dict(shift.in_hand)
        await shift.give_up()
        batch = in_hand.pop(batch_number, None)
        blamed = batch is not None and not batch.reads and index < len(batch.files)
        self._deaths = 0 if blamed and read_bytes else self._deaths + (1 if batch else IDLE_DEATH_WEIGHT)
        if self._deaths >= DEATHS_IN_A_ROW:
            raise MediumError(f"worker after worker in a row died without reading a file: {died}")
        self._again.extend(other.files for other in in_hand.values())
        if batch is not None and blamed:
            await self._blame(batch, index, "worker_timeout" if late else "worker_crashed", str(died), out)
        elif batch is not None:
            self._again.append(batch.files)

    async def _blame(
        self,
        batch: InHand,
        index: int,
        check: str,
        cause: str,
        out: MemoryObjectSendStream[OutcomeBatch | PackFull],
    ) -> None:
        job = batch.files[index]
        rest = batch.files[:index] + batch.files[index + 1 :]
        if rest:
            self._again.append(rest)
        if job.attempt < self._limits.attempts:
            self._again.append((msgspec.structs.replace(job, attempt=job.attempt + 1),))
            return
        failed = FileOutcome(
            volume=job.volume,
            ino=job.ino,
            status=OutcomeStatus.FAILED,
            attempts=job.attempt,
            blob_hash=b"",
            size_bytes=0,
            is_new=False,
            pack_id=None,
            pack_offset=None,
            reason=f"{check}: {cause}",
            damaged=(),
            error_type="WorkerDied",
            checks=(check, "max_retries_exceeded"),
            worker=self._assignment.run_id,
        )
        await out.send(OutcomeBatch((failed,), None, 0))
