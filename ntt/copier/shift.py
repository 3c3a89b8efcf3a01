"""One worker process through its life: two batches in hand, hashes in, the new contents kept, outcomes out."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import anyio
from anyio import to_thread

from ntt.copier.examining import Examiner, Verdict, event_of, told_truly
from ntt.copier.messages import Batch, FileJob, FromWorker, Hashed, Keep, Kept, Read, StoreFailed
from ntt.copier.places import BlobFile, Depot, PackPlace, Packs
from ntt.errors import StoreError
from ntt.fence import Worker, WorkerDied
from ntt.model import FileOutcome, OutcomeBatch, OutcomeStatus, PackFull

BATCHES_IN_HAND = 2  # while one waits for the answer which contents are new, the other is read
HASH_BYTES = 32


class Registrar(Protocol):
    """What the catalogue answers while copying."""

    async def known(self, hashes: Sequence[bytes]) -> set[bytes]:
        """Those of `hashes` that are stored already."""
        ...

    async def take_pack(self) -> tuple[int, int]:
        """(id, committed bytes) of a pack that no one else writes until this run ends."""
        ...


class Outbox(Protocol):
    async def send(self, item: OutcomeBatch | PackFull) -> None: ...


class Lied(WorkerDied):
    """A worker answered what cannot be true, and is not listened to any more."""

    def __init__(self) -> None:
        super().__init__("a worker answered what it was not asked")


@dataclass(slots=True)
class InHand:
    """A batch between being sent and being kept: `offsets` in the pack by index, once it is decided what is new."""

    files: tuple[FileJob, ...]
    file: BlobFile | None = None  # that one large content goes to
    reads: tuple[Read, ...] = ()
    pack: PackPlace | None = None
    offsets: dict[int, int] = field(default_factory=dict)
    pack_end: int = 0
    claimed: list[bytes] = field(default_factory=list)  # contents that this batch is to store
    mark: int = 0  # when it was given out
    limit: int = 1  # attempts that its files get
    verdicts: dict[int, Verdict] = field(default_factory=dict)  # on those that failed, by index


@dataclass(frozen=True, slots=True)
class Rules:
    """What a shift is bound to: sizes in bytes, `stall_s` seconds without a pulse end the worker.

    `member_bytes`: what a content of that size takes in a pack, its head (that of an empty one) included.
    From `large_limit_bytes` on a content is a file of its own.
    """

    member_bytes: Callable[[int], int]
    pack_limit_bytes: int
    large_limit_bytes: int
    stall_s: float


class Shift:
    """Drives one worker. `in_flight` is shared: contents that some worker is about to store.

    `examiner` decides on files that failed; those that are to be tried again go to `again`.
    """

    def __init__(
        self,
        name: str,
        registrar: Registrar,
        depot: Depot,
        in_flight: set[bytes],
        rules: Rules,
        out: Outbox,
        examiner: Examiner,
        again: deque[tuple[FileJob, ...]],
    ) -> None:
        self._name = name
        self._registrar = registrar
        self._depot = depot
        self._in_flight = in_flight
        self._rules = rules
        self._out = out
        self._examiner = examiner
        self._again = again
        self._packs = Packs(registrar.take_pack, depot.open_pack, rules.pack_limit_bytes)
        self._number = 0
        self._ours = False  # is it us that the worker waits for?
        self.in_hand: dict[int, InHand] = {}
        self.stalled = False
        self.answered = 0
        self.settled = 0

    async def work(
        self,
        link: Worker[FromWorker],
        next_now: Callable[[], tuple[FileJob, ...] | None],
        next_wait: Callable[[], Awaitable[tuple[FileJob, ...] | None]],
    ) -> None:
        """Until there is no more. WorkerDied leaves in `in_hand` what had been given out."""
        self._ours = False
        async with anyio.create_task_group() as guards:
            guards.start_soon(self._watch, link)
            while True:
                while len(self.in_hand) < BATCHES_IN_HAND:
                    files = next_now() if self.in_hand else await next_wait()
                    if files is None:
                        break
                    await self._give(link, files)
                if not self.in_hand:
                    break
                await self._take(link, await link.receive())
            guards.cancel_scope.cancel()

    async def _watch(self, link: Worker[FromWorker]) -> None:
        seen, idle_s, step_s = None, 0.0, min(1.0, self._rules.stall_s / 4)
        while True:
            await anyio.sleep(step_s)
            now = (link.pulse.read(), self.answered, tuple(self.in_hand))
            idle_s = idle_s + step_s if now == seen and self.in_hand and not self._ours else 0.0
            seen = now
            if idle_s >= self._rules.stall_s:
                self.stalled = True
                link.kill()
                return

    async def _give(self, link: Worker[FromWorker], files: tuple[FileJob, ...]) -> None:
        self._number += 1
        batch = self.in_hand[self._number] = InHand(files, mark=self._examiner.mark(), limit=self._examiner.limit)
        if len(files) == 1 and files[0].size >= self._rules.large_limit_bytes:
            self._ours = True
            batch.file = await to_thread.run_sync(self._depot.new_file, f"{self._name}-{self._number}")
            self._ours = False
            await link.hand_over(batch.file.fd)
        await link.send(Batch(self._number, files, batch.file is not None, batch.limit))

    async def _take(self, link: Worker[FromWorker], message: FromWorker) -> None:
        self.answered += 1
        self._ours = True  # a slow catalogue or disk is not the worker's fault
        match message:
            case Hashed(number=number, reads=reads):
                batch = self._expected(number, reads)
                batch.reads = reads
                batch.verdicts = self._verdicts(batch)
                new = await self._claim(batch)
                if batch.file is not None:
                    await self._settle_large(number, batch, batch.file, new)
                else:
                    await link.send(await self._decide(link, number, batch, new))
            case Kept(number=number):
                await self._settle(number)
            case StoreFailed(text=text):
                raise StoreError(text)
        self._ours = False

    def _expected(self, number: int, reads: Sequence[Read]) -> InHand:
        batch = self.in_hand.get(number)
        if batch is None or batch.reads or len(batch.files) != len(reads):
            raise Lied
        for job, read in zip(batch.files, reads, strict=True):
            if not _plausible(job, read, batch.limit, in_pack=batch.file is None):
                raise Lied
        return batch

    def _verdicts(self, batch: InHand) -> dict[int, Verdict]:
        return {
            index: self._examiner.examine(batch.files[index], read, batch.mark, self._name)
            for index, read in enumerate(batch.reads)
            if read.status is OutcomeStatus.FAILED
        }

    async def _claim(self, batch: InHand) -> list[int]:
        """Which contents are new; they are claimed before the catalogue is asked, so no one else stores them."""
        first_at: dict[bytes, int] = {}
        for index, read in enumerate(batch.reads):
            if read.blob_hash and read.blob_hash not in self._in_flight:
                first_at.setdefault(read.blob_hash, index)
        self._in_flight.update(first_at)
        batch.claimed = list(first_at)
        known = await self._registrar.known(batch.claimed) if batch.claimed else set()
        self._in_flight -= known
        batch.claimed = [blob_hash for blob_hash in batch.claimed if blob_hash not in known]
        return [first_at[blob_hash] for blob_hash in batch.claimed]

    async def _decide(self, link: Worker[FromWorker], number: int, batch: InHand, new: Sequence[int]) -> Keep:
        """Each new content gets its place; the pack is the worker's when this is sent."""
        sizes = [self._rules.member_bytes(batch.reads[index].size) for index in new]
        pack = batch.pack = await self._packs.room(sum(sizes))
        with_pack = bool(new) and await self._packs.hand_over(pack, link)
        for index, size in zip(new, sizes, strict=True):
            batch.offsets[index] = pack.end + self._rules.member_bytes(0)
            pack.end += size
        batch.pack_end = pack.end
        return Keep(number, tuple(new), with_pack)

    async def _settle_large(self, number: int, batch: InHand, file: BlobFile, new: Sequence[int]) -> None:
        """A content that is new gets its name, and is durable, before its outcome is passed on."""
        (read,) = batch.reads
        if new:
            await to_thread.run_sync(file.keep, read.blob_hash, read.size)
        else:
            await to_thread.run_sync(file.discard)
        batch.file = None
        del self.in_hand[number]
        self.settled += 1
        await self._out.send(self._told(batch, new, None))

    async def _settle(self, number: int) -> None:
        batch = self.in_hand.get(number)
        if batch is None or batch.pack is None or not self._packs.confirm(batch.pack.pack_id, batch.pack_end):
            raise Lied
        del self.in_hand[number]
        self.settled += 1
        await self._out.send(self._told(batch, batch.offsets, batch.pack))
        busy = {other.pack.pack_id for other in self.in_hand.values() if other.pack is not None}
        for full in self._packs.filled(busy):
            await self._out.send(full)

    def _told(self, batch: InHand, new: Container[int], pack: PackPlace | None) -> OutcomeBatch:
        """The outcomes of a batch; what is to be tried again has none yet."""
        again = {index: verdict.again for index, verdict in batch.verdicts.items() if verdict.again is not None}
        outcomes = tuple(
            self._outcome(batch, index, is_new=index in new) for index in range(len(batch.reads)) if index not in again
        )
        events = tuple(
            event_of(batch.files[index], batch.reads[index], batch.verdicts[index], self._name) for index in again
        )
        self._again.extend((job,) for job in again.values())
        return OutcomeBatch(outcomes, pack.pack_id if pack else None, batch.pack_end if pack else 0, events)

    def _outcome(self, batch: InHand, index: int, *, is_new: bool) -> FileOutcome:
        job, read = batch.files[index], batch.reads[index]
        offset = batch.offsets.get(index)
        return FileOutcome(
            volume=job.volume,
            ino=job.ino,
            status=read.status,
            attempts=job.attempt + read.retries,
            blob_hash=read.blob_hash,
            size_bytes=read.size,
            is_new=is_new,
            pack_id=batch.pack.pack_id if batch.pack is not None and offset is not None else None,
            pack_offset=offset,
            reason=read.reason,
            damaged=read.damaged,
            error_type=read.error_type,
            checks=batch.verdicts[index].checks if index in batch.verdicts else read.checks,
            worker=self._name,
            unread=read.unread,
        )

    async def give_up(self) -> list[InHand]:
        """After a death: what was in hand, its claims released, nothing of it left in the store."""
        lost = list(self.in_hand.values())
        for batch in lost:
            self._in_flight.difference_update(batch.claimed)
            if batch.file is not None:
                await to_thread.run_sync(batch.file.discard)
                batch.file = None
        self.in_hand.clear()
        self._packs.take_back()
        return lost

    def close(self) -> None:
        """However the shift ended: no descriptor and no temp file of it is left."""
        for batch in self.in_hand.values():
            if batch.file is not None:
                batch.file.discard()
        self._packs.take_back()


def _plausible(job: FileJob, read: Read, limit: int, *, in_pack: bool) -> bool:
    """A failure with a reason; or the content that was asked for, whole."""
    if not told_truly(job, read, limit):
        return False
    if read.status is OutcomeStatus.FAILED:
        return not read.blob_hash and bool(read.reason)
    inside = all(0 <= start < end <= job.size for start, end in read.damaged)
    damaged = read.status is OutcomeStatus.DAMAGED
    whole = len(read.blob_hash) == HASH_BYTES and read.size == job.size and read.in_pack is in_pack
    return whole and inside and damaged is bool(read.damaged)
