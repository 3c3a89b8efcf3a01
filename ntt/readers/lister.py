"""A survey request -> a fenced worker that answers it, watched: its entries go to a sink, its death is a value."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol

import anyio
import msgspec

from ntt.fence import Worker, WorkerDied, worker
from ntt.model import Layout
from ntt.readers.messages import Found, FromSurvey, LayoutFound, Survey, SurveyDone, VolumeEnded
from ntt.readers.surface import NOTHING_TOLD, Account

QUEUE_MESSAGES = 4


class Sink(Protocol):
    """Where entries go."""

    async def take(self, found: Found) -> None: ...


@dataclass(frozen=True, slots=True)
class Walked:
    """How the walk of a volume ended: why early (empty: it did not), what the file system counts, how long it took.

    `journal_pending`: changes in its journal were not replayed. `account`: what of it lies on unread bytes.
    """

    failure: str
    counted: int | None = None
    seconds: float = 0.0
    journal_pending: bool = False
    account: Account = NOTHING_TOLD


@dataclass(slots=True)
class Listing:
    """What a worker answered until it was done or died; `death` is empty when it did not.

    `by_image`: it was killed by a signal or a limit, so that what it looked at is the likely cause. `ours`: its
    entries are being put away, and it may be waiting for that.
    """

    layout: Layout | None = None
    walked: dict[int, Walked] = field(default_factory=dict)
    death: str = ""
    stalled: bool = False
    by_image: bool = False
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Lister:
    """`memory_bytes` limits a worker, `stall_s` without a sign of life ends it."""

    image_fd: int
    memory_bytes: int
    stall_s: float

    async def walk(self, request: Survey, sink: Sink) -> Listing:
        """What the sink raises is passed on; what becomes of the worker is in the listing."""
        decoder: msgspec.msgpack.Decoder[FromSurvey] = msgspec.msgpack.Decoder(FromSurvey)
        listing = Listing()
        roots = tuple(root.fd for root in request.roots.values())
        async with worker(
            "walk", self.image_fd, self.memory_bytes, decoder, pass_fds=roots, reads_mounts=bool(roots)
        ) as walker:
            try:
                async with anyio.create_task_group() as guards:
                    guards.start_soon(self._watch, walker, listing)
                    await walker.send(request)
                    await _answers(walker, listing, sink)
                    guards.cancel_scope.cancel()
            except* WorkerDied as group:
                died = group.exceptions[0]
                assert isinstance(died, WorkerDied)
                listing.death = f"no progress for {self.stall_s:.0f} s" if listing.stalled else str(died)
                killed = died.status is not None and died.status < 0
                listing.by_image = listing.stalled or killed or "MemoryError" in listing.death
        return listing

    async def _watch(self, walker: Worker[FromSurvey], listing: Listing) -> None:
        seen, since = walker.pulse.read(), time.monotonic()
        while time.monotonic() - since < self.stall_s:
            await anyio.sleep(min(1.0, self.stall_s / 4))
            if (now := walker.pulse.read()) != seen or listing.ours:  # a slow catalogue is not the worker's fault
                seen, since = now, time.monotonic()
        listing.stalled = True
        walker.kill()


async def _answers(walker: Worker[FromSurvey], listing: Listing, sink: Sink) -> None:
    since = time.monotonic()
    while True:
        match await walker.receive():
            case LayoutFound(layout=layout):
                listing.layout = layout
                since = time.monotonic()
            case Found() as found:
                listing.ours = True
                await sink.take(found)
                listing.ours = False
            case VolumeEnded(volume=volume, failure=failure, counted=counted, journal_pending=pending) as ended:
                now = time.monotonic()
                account = Account(ended.lost, ended.unread_used, ended.cells)
                listing.walked[volume] = Walked(failure, counted, now - since, pending, account)
                since = now
            case SurveyDone():
                return
