"""One image in work, from its first pass to the last that matters: what is read next, and what is said of it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import anyio.to_thread
import msgspec

from ntt.db.loading import Problem
from ntt.errors import Interrupted, MediumError
from ntt.identity import SAMPLE_BYTES, Scan, sample_positions
from ntt.model import Effort, Order, PassEnd, PassRecord
from ntt.names import printable
from ntt.progress import Stop, Work
from ntt.ranges import Ranges, difference, intersection, normalised, total
from ntt.rescue.comparing import differs_after
from ntt.rescue.hashing import PrefixHash
from ntt.rescue.passes import first_pass, further_passes
from ntt.rescue.presence import FAILED
from ntt.rescue.running import Limits, Progress, run_pass
from ntt.rescue.source import Source
from ntt.rescue.working import WorkingImage
from ntt.tools.ddrescue import Flags
from ntt.tools.mapfile import Mapfile

FIRST = "everything"
SAMPLES = "samples"
_ON = (PassEnd.FINISHED, PassEnd.ENOUGH)


Hardware = Callable[[Path], Awaitable[dict[str, str]]]


class Imaged(Protocol):
    """An image and its map, of which more may have been read since its medium was loaded; see `Imaging`."""

    effort: Effort | None
    changed: bool
    going: bool
    resting: bool

    @property
    def order(self) -> Order: ...

    @property
    def image(self) -> Path: ...

    @property
    def passes(self) -> tuple[PassRecord, ...]: ...

    @property
    def first(self) -> PassRecord | None: ...

    def stopped(self) -> Problem | None: ...

    def disagreement(self) -> Problem | None: ...

    def let_go(self) -> None: ...


@dataclass(slots=True)
class AsItIs:
    """A user's own image and map: nothing more is read into it."""

    order: Order
    effort: Effort | None = None
    changed: bool = False
    going: bool = False
    resting: bool = False
    passes: tuple[PassRecord, ...] = ()
    first: PassRecord | None = None

    @property
    def image(self) -> Path:
        return self.order.image

    def stopped(self) -> Problem | None:
        return None

    def disagreement(self) -> Problem | None:
        return None

    def let_go(self) -> None:
        """There is nothing that it holds."""


class Imaging:
    """An image of NTT's own while this process has it; with a `source` more of it may be read.

    `first`: what this run's pass over the whole medium did, None where that was done before. `scan`: of the image as
    it is, if it was hashed while it was read. `changed`: something was read since. `going`: the source still answers.
    `reach`: of the source only this is read, all of it if empty. `resting`: it is gone on with as it is, while its
    source may have more.
    """

    def __init__(
        self,
        working: WorkingImage,
        source: Source | None,
        effort: Effort | None,
        limits: Limits,
        hardware_of: Hardware,
    ) -> None:
        self.working = working
        self._hardware_of = hardware_of
        self._source = source
        self._limits = limits
        self._hardware: dict[str, str] = {}
        self._superfluous = False
        self.effort = effort
        self.first: PassRecord | None = None
        self.scan: Scan | None = None
        self.changed = False
        self.going = source is not None
        self.resting = False
        self.reach: Ranges = ()
        known = working.mapfile()
        self._known = known if source is not None and known.rescued else None

    @property
    def name(self) -> str:
        """What people know it by."""
        path = self._source.path if self._source is not None else self.working.path
        return printable(os.fsencode(path.name))

    @property
    def image(self) -> Path:
        return self.working.path

    @property
    def order(self) -> Order:
        """Image and map, as a user would name them."""
        return Order(self.working.path, self.working.map_path, known_as=self.name)

    @property
    def medium_hash(self) -> str | None:
        """Whose image it is, once that is known."""
        return self.working.state.medium_hash

    @property
    def passes(self) -> tuple[PassRecord, ...]:
        """All that were ever made, in order."""
        return self.working.state.passes

    def belongs_to(self, medium_hash: str | None) -> None:
        if self.medium_hash != medium_hash:
            self.working.identified(medium_hash)

    @property
    def whole(self) -> bool:
        """Every byte of the medium was read."""
        return not self._unread()

    def seen(self) -> Mapfile | None:
        """What was read so far, as ddrescue saved it last. Blocking."""
        return self.working.saved_map()

    def let_go(self) -> None:
        """The source is read no more; durable on return. A later run goes on from here without the medium."""
        self.going = False
        self.working.needs_medium(False)

    def discard(self) -> None:
        """It is removed when it is left."""
        self._superfluous = True

    def has_all_of(self, other: Imaging) -> bool:
        """Was everything that was read there read here, and can it be gone on with in the same drive?"""
        here, there = self.working, other.working
        if there.has_lost_map:
            return False
        return here.size_bytes == there.size_bytes and not difference(there.mapfile().rescued, here.mapfile().rescued)

    def goes_on_with(self, imaged: Imaging) -> None:
        """What `imaged` would read of its source is read into this one, if it is the source's size."""
        self.effort, self.first = imaged.effort, imaged.first
        self.working.made_by(imaged.passes)
        if imaged._source is not None and imaged._source.size_bytes == self.working.size_bytes:
            self._source, self._hardware, self.going = imaged._source, imaged._hardware, imaged.going

    async def first_pass(self, show: Callable[[Work], None], stop: Stop) -> PassRecord | None:
        """Once over the whole medium, unless an earlier run did that. None then.

        MediumError when not one byte could be read, Interrupted when it was stopped.
        """
        source = self._source
        assert source is not None
        if any(record.name == FIRST and record.end in _ON for record in self.passes):
            await self._read_samples(show, stop)
            return None
        self._hardware = await self._hardware_of(source.path)
        with PrefixHash(self.working.path, source.size_bytes) as hasher:
            flags = first_pass(source, self.effort or Effort.NORMAL)
            self.first = await self._pass(FIRST, flags, self.reach or None, show, stop, hasher)
            if self.working.has_lost_map:
                raise MediumError(f"the map of {printable(str(self.image))} cannot be read", "the image is kept")
            if not self.first.rescued_after:
                raise MediumError(
                    f"not one byte of {self.name} could be read ({_why(self.first)})", "try it in another drive"
                )
            if not self._unread():
                self.scan = await hasher.finish()
        await self._read_samples(show, stop)
        self.changed = False  # it is identified after this
        return self.first

    async def _read_samples(self, show: Callable[[Work], None], stop: Stop) -> None:
        """What the medium is known by, once, before it is identified: the first pass may only have skipped it."""
        if not self.going or self.medium_hash is not None or any(record.name == SAMPLES for record in self.passes):
            return
        size_bytes = self.working.size_bytes
        samples = normalised((at, min(at + SAMPLE_BYTES, size_bytes)) for at in sample_positions(size_bytes))
        missing = _inside(self._reachable(samples), self._unread())
        if missing:
            effort, self.effort = self.effort, Effort.QUICK
            try:
                await self.further(SAMPLES, missing, show, stop, [])
            finally:
                self.effort = effort

    async def further(
        self, name: str, domain: Ranges, show: Callable[[Work], None], stop: Stop, records: list[PassRecord]
    ) -> None:
        """Passes over `domain`; each is added to `records` when it ended. Interrupted when one was stopped."""
        source = self._source
        assert source is not None
        if not self._hardware:
            self._hardware = await self._hardware_of(source.path)
        attempt = 1 + len({record.began_s for record in self.passes if record.name == name})
        for flags in further_passes(source, self.effort or Effort.NORMAL, attempt):
            wanted = _inside(self._reachable(domain), self._unread())
            if not wanted or not self.going:
                return
            records.append(await self._pass(name, flags, wanted, show, stop, None))

    def _reachable(self, domain: Ranges) -> Ranges:
        return intersection(domain, self.reach) if self.reach else domain

    def stopped(self) -> Problem | None:
        """Why reading ended before all was tried, if it did."""
        if not self.passes or self._source is None:
            return None
        last = self.passes[-1]
        if last.end in _ON:
            return None
        size_bytes = self.working.size_bytes
        percent = 100 * last.rescued_after / max(size_bytes, 1)
        through = _through(last.hardware)
        detail = f"reading stopped at {percent:.1f} % of {size_bytes:,} bytes: {_why(last)}{through}"
        step = "what was read is kept: run the same command again to go on, with this drive or another"
        return Problem(f"imaging_{last.end.value}", detail, step)

    @property
    def disagreements(self) -> Ranges:
        """Where two passes read differently, and none did since."""
        return intersection(self.working.state.disputed, self._unread())

    def disagreement(self) -> Problem | None:
        """For an image of two passes that differ."""
        if not self.disagreements:
            return None
        detail = f"two passes read different contents at {total(self.disagreements):,} bytes: they count as unread"
        return Problem("passes_disagree", detail, "read the medium once more and join that pass too")

    def leave(self) -> None:
        """Others may have it now; removed if it is superfluous."""
        self.working.close()
        if self._superfluous:
            for path in (self.working.path, self.working.map_path, self.working.state_path,
                         self.working.kept_map_path, self.working.domain_path):  # fmt: skip
                path.unlink(missing_ok=True)

    async def _pass(
        self,
        name: str,
        flags: Flags,
        domain: Ranges | None,
        show: Callable[[Work], None],
        stop: Stop,
        hasher: PrefixHash | None,
    ) -> PassRecord:
        def advance(progress: Progress) -> None:
            show(progress.work)

        assert self._source is not None
        while True:
            record = await run_pass(
                self._source, self.working, name, flags, domain, self._limits, advance, stop, hasher, self._hardware
            )
            record = await self._compared_again(record)
            self.changed = self.changed or record.rescued_after != record.rescued_before
            self.going = record.end in _ON and not stop.enough
            if record.end is not PassEnd.STOPPED or stop.requested:
                break
            if stop.pause is not None:
                await stop.pause.wait()
        if record.end is PassEnd.STOPPED:
            raise Interrupted("imaging was stopped", "run the same command again to go on from there")
        return record

    async def _compared_again(self, record: PassRecord) -> PassRecord:
        """After a pass into an image of earlier runs: what was read meanwhile counts only if it is still that medium.

        Since when it is another one nobody knows: if so, nothing that this run has read counts.
        """
        source, known = self._source, self._known
        if known is None or source is None or record.end is PassEnd.SOURCE_GONE or not _gained(record):
            return record
        now = self.working.mapfile()
        gained = difference(now.rescued, known.rescued)
        turn = len(self.passes)
        at = await differs_after(source, self.working, known.rescued, gained, turn, self._limits.check_s)
        if at is None:
            return record
        detail = f"it gives something else at byte {at:,}: another medium; the {total(gained):,} bytes of this run do "
        record = msgspec.structs.replace(
            record,
            rescued_after=total(known.rescued),
            bad_bytes=total(known.ranges(FAILED)),
            end=PassEnd.SOURCE_GONE,
            detail=detail + "not count",
        )
        await anyio.to_thread.run_sync(self.working.take_back, known, at, record)
        return record

    def _unread(self) -> Ranges:
        return self.working.mapfile().unread


def _gained(record: PassRecord) -> bool:
    return record.rescued_after > record.rescued_before


def _inside(domain: Ranges, unread: Ranges) -> Ranges:
    return difference(domain, difference(domain, unread))


def _why(record: PassRecord) -> str:
    words = {
        PassEnd.NO_PROGRESS: "nothing moved for too long",
        PassEnd.HOPELESS: "at this rate it would not end",
        PassEnd.SOURCE_GONE: "the medium, drive or bridge does not answer any more",
        PassEnd.NO_SPACE: "the disk with the images is full",
        PassEnd.STOPPED: "it was stopped",
        PassEnd.FAILED: "ddrescue could not go on",
    }
    said = words.get(record.end, "nothing of it can be read")
    return f"{said}: {record.detail}" if record.detail else said


def _through(hardware: dict[str, str]) -> str:
    told = [hardware[key] for key in ("vendor", "model", "serial") if hardware.get(key)]
    if hardware.get("bridge"):
        told.append(f"bridge {hardware['bridge']}")
    return f" ({' '.join(told)})" if told else ""
