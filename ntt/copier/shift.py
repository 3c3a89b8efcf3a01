"""One worker process through its life: two batches in hand, hashes in, the new contents kept, outcomes out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import anyio

from ntt.copier.messages import Batch, FileJob, FromWorker, Hashed, Keep, Kept, Read, StoreFailed
from ntt.errors import StoreError
from ntt.fence import Worker, WorkerDied
from ntt.model import FileOutcome, OutcomeBatch, PackFull

BATCHES_IN_HAND = 2  # while one waits for the answer which contents are new, the other is read


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


@dataclass(slots=True)
class InHand:
    """A batch between being sent and being kept."""

    files: tuple[FileJob, ...]
    reads: tuple[Read, ...] = ()
    keep: Keep | None = None
    claimed: list[bytes] = field(default_factory=list)  # contents that this batch is to store


@dataclass(slots=True)
class PackPlace:
    """Where the next content goes; `durable_end` is what the worker has confirmed."""

    pack_id: int
    end: int
    durable_end: int


@dataclass(frozen=True, slots=True)
class Rules:
    """What a shift is bound to: sizes in bytes, `stall_s` seconds without a pulse end the worker."""

    member_bytes: Callable[[int], int]
    pack_limit_bytes: int
    stall_s: float


class Shift:
    """Drives one worker. `in_flight` is shared: contents that some worker is about to store."""

    def __init__(self, name: str, registrar: Registrar, in_flight: set[bytes], rules: Rules, out: Outbox) -> None:
        self._name = name
        self._registrar = registrar
        self._in_flight = in_flight
        self._rules = rules
        self._out = out
        self._pack: PackPlace | None = None
        self._full: list[PackPlace] = []
        self._number = 0
        self._ours = False  # is it us that the worker waits for?
        self.in_hand: dict[int, InHand] = {}
        self.stalled = False
        self.answered = 0

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
        self.in_hand[self._number] = InHand(files)
        await link.send(Batch(self._number, files))

    async def _take(self, link: Worker[FromWorker], message: FromWorker) -> None:
        self.answered += 1
        match message:
            case Hashed(number=number, reads=reads):
                batch = self._expected(number, len(reads))
                batch.reads = reads
                self._ours = True  # a slow catalogue is not the worker's fault
                batch.keep = await self._decide(number, batch)
                self._ours = False
                await link.send(batch.keep)
            case Kept():
                self._ours = True
                await self._settle(message)
                self._ours = False
            case StoreFailed(text=text):
                raise StoreError(text)

    def _expected(self, number: int, answers: int) -> InHand:
        batch = self.in_hand.get(number)
        if batch is None or batch.keep is not None or len(batch.files) != answers:
            raise WorkerDied("a worker answered what it was not asked")
        return batch

    async def _decide(self, number: int, batch: InHand) -> Keep:
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
        new = [first_at[blob_hash] for blob_hash in batch.claimed]
        room = sum(self._rules.member_bytes(batch.reads[index].size) for index in new if batch.reads[index].in_pack)
        pack = await self._place(room)
        keep = Keep(number, tuple(new), pack.pack_id, pack.end)
        pack.end += room
        return keep

    async def _place(self, room: int) -> PackPlace:
        if self._pack is not None and self._pack.end + room > self._rules.pack_limit_bytes and self._pack.end:
            self._full.append(self._pack)
            self._pack = None
        if self._pack is None:
            pack_id, end = await self._registrar.take_pack()
            self._pack = PackPlace(pack_id, end, end)
            if end and end + room > self._rules.pack_limit_bytes:
                return await self._place(room)
        return self._pack

    async def _settle(self, kept: Kept) -> None:
        batch = self.in_hand.get(kept.number)
        if batch is None or batch.keep is None or len(kept.offsets) != len(batch.keep.new):
            raise WorkerDied("a worker answered what it was not asked")
        offsets = dict(zip(batch.keep.new, kept.offsets, strict=True))
        outcomes = tuple(
            self._outcome(job, read, batch.keep, offsets.get(index))
            for index, (job, read) in enumerate(zip(batch.files, batch.reads, strict=True))
        )
        for pack in (*self._full, self._pack):
            if pack is not None and pack.pack_id == batch.keep.pack_id:
                pack.durable_end = max(pack.durable_end, kept.pack_end)
        del self.in_hand[kept.number]
        await self._out.send(OutcomeBatch(outcomes, batch.keep.pack_id, kept.pack_end))
        await self._report_full()

    async def _report_full(self) -> None:
        busy = {batch.keep.pack_id for batch in self.in_hand.values() if batch.keep is not None}
        for pack in [pack for pack in self._full if pack.pack_id not in busy]:
            self._full.remove(pack)
            await self._out.send(PackFull(pack.pack_id, pack.durable_end))

    def _outcome(self, job: FileJob, read: Read, keep: Keep, offset: int | None) -> FileOutcome:
        stored_in_pack = offset is not None and read.in_pack
        return FileOutcome(
            volume=job.volume,
            ino=job.ino,
            status=read.status,
            attempts=job.attempt,
            blob_hash=read.blob_hash,
            size_bytes=read.size,
            is_new=offset is not None,
            pack_id=keep.pack_id if stored_in_pack else None,
            pack_offset=offset if stored_in_pack else None,
            reason=read.reason,
            damaged=read.damaged,
            error_type=read.error_type,
            checks=read.checks,
            worker=self._name,
        )

    def give_up(self) -> list[InHand]:
        """After a death: what was in hand, its claims released, the pack back at its last durable end."""
        lost = list(self.in_hand.values())
        for batch in lost:
            self._in_flight.difference_update(batch.claimed)
        self.in_hand.clear()
        self._full.clear()
        if self._pack is not None:
            self._pack.end = self._pack.durable_end
        return lost
