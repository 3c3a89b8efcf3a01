"""One run of ddrescue, seen from outside: what it shows, what it saves, and why it is to end.

What it exits with is not asked for more than a hint: the map says what was read.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import anyio.abc
import anyio.to_thread

from ntt import proc
from ntt.model import PassEnd
from ntt.progress import Stop
from ntt.ranges import Ranges, difference, intersection, normalised, total
from ntt.rescue.hashing import PrefixHash
from ntt.rescue.naming import plain_names
from ntt.rescue.presence import FAILED, Blame, Gone, rescued_bytes, why_gone
from ntt.rescue.source import Source
from ntt.rescue.stops import Count, Limits, StopRules
from ntt.rescue.telling import Progress, Teller
from ntt.rescue.working import FULL, WorkingImage
from ntt.tools.ddrescue import MINIMUM_VERSION, Flags, Status, StatusScreen, rescue_argv, version_of
from ntt.tools.mapfile import Mapfile

_OUTPUT_LIMIT_BYTES = 16 << 10
_FULL = {os.strerror(number) for number in FULL}
_ASKS = "Error writing mapfile"
_ROUNDED = 500  # ddrescue shows at least three digits and a half: it is at most one in as many away
_MARGIN_BYTES = 1 << 20
_VERSION_S = 30.0
_PARSE_SHARE = 20  # of the time goes at most one part into reading a large map


@dataclass(frozen=True, slots=True)
class Orders:
    """What one pass is to do. `domain` None: everything."""

    source: Source
    image: WorkingImage
    name: str
    flags: Flags
    domain: Ranges | None
    limits: Limits


class Watch:
    """One run of ddrescue, seen from outside."""

    def __init__(
        self,
        orders: Orders,
        before: Mapfile,
        wanted_bytes: int,
        advance: Callable[[Progress], None],
        stop: Stop,
        hasher: PrefixHash | None,
    ) -> None:
        self._orders = orders
        self._before = before
        self._rescued_before = rescued_bytes(before)
        self._shown_from = self._rescued_before if orders.domain is not None else 0
        self._teller = Teller(orders.name, orders.source, self._rescued_before, self._shown_from, advance)
        self._stop = stop
        self._hasher = hasher
        self._blame = Blame(before)
        self._newest = before
        start = Count(time.monotonic(), self._rescued_before, self._rescued_before + total(before.ranges("-")))
        self._rules = StopRules(orders.limits, wanted_bytes, orders.source.sector_bytes, start, self._shown_from)
        self._complaints = bytearray()
        self._ended = anyio.Event()
        self._map_stamp = 0
        self._map_next_s = 0.0
        # until something fails, a first pass forwards has read exactly the bytes before where it is
        in_one_piece = before.rescued in ((), ((0, _prefix(before)),)) and not before.ranges(FAILED)
        self._forward = orders.domain is None and not orders.flags.reverse and in_one_piece
        self._status: int | None = None
        self.read_errors = 0

    async def run(self) -> tuple[PassEnd, str]:
        """Until ddrescue ends or is to end. Its last map may then still be unread here."""
        orders = self._orders
        if self._before.rescued:  # has it been swapped since?
            gone = await why_gone(orders.source, orders.image, self._before.rescued, orders.limits.check_s)
            if gone is not None:
                return PassEnd.SOURCE_GONE, gone.detail
        image = orders.image
        if self._hasher is not None:
            self._hasher.begins(_prefix(self._before))
        version = await _version()
        self._map_stamp = _stamp(image)
        self._teller.begin()
        async with self._ddrescue(version) as child, anyio.create_task_group() as readers:
            readers.start_soon(self._listen, child.process.stdout)
            readers.start_soon(self._collect, child.process.stderr)
            why = await self._why_to_end()
            if why is None and not self._asks:
                self._status = await child.wait()  # and the readers hear it out
            else:
                if self._asks:  # it waits for somebody to answer, for ever, at full speed, and hears no other signal
                    child.signal_session(signal.SIGKILL)
                readers.cancel_scope.cancel()
        return why or self._why_it_ended()

    @asynccontextmanager
    async def _ddrescue(self, version: tuple[int, int]) -> AsyncIterator[proc.Child]:
        orders, image = self._orders, self._orders.image
        with plain_names(orders.source.path, image.path.parent) as names:
            domain = names.of(image.domain_path) if orders.domain is not None else None
            argv = rescue_argv(
                names.source, names.of(image.path), names.of(image.map_path), orders.flags, domain, version
            )
            async with proc.running(
                argv,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "LC_ALL": "C"},
                pass_fds=names.descriptors,
                grace_s=orders.limits.grace_s,
            ) as child:
                yield child

    def _why_it_ended(self) -> tuple[PassEnd, str]:
        complaints = self._complaints.decode(errors="replace").strip().splitlines()
        for line in complaints:
            if any(text in line for text in _FULL):
                return PassEnd.NO_SPACE, line
        if self._asks:
            return PassEnd.FAILED, next(line for line in complaints if _ASKS in line)
        if self._status:
            return PassEnd.FAILED, complaints[-1] if complaints else f"ddrescue ended with {self._status}"
        return PassEnd.FINISHED, ""

    async def settled(self, end: PassEnd, detail: str) -> tuple[PassEnd, str, Mapfile]:
        """After `run`: the map that counts. If the source is gone, what it failed to give at last is not held bad."""
        image, limits = self._orders.image, self._orders.limits
        after = await anyio.to_thread.run_sync(image.mapfile)
        if image.has_lost_map:
            return PassEnd.FAILED, "the map that ddrescue wrote cannot be read", after
        self._blame.saved(after)
        gone = await why_gone(self._orders.source, image, self._read_in(after), limits.check_s)
        if gone is not None:
            after, detail = await self._taken_back(after, gone)
            if end is PassEnd.FAILED or (end is PassEnd.FINISHED and self._left(after)):
                end = PassEnd.SOURCE_GONE
        if end is PassEnd.FINISHED and self._left_out(after):
            end, detail = PassEnd.FAILED, "ddrescue ended before it had tried everything"
        if self._hasher is not None:
            self._hasher.reaches(_prefix(after))
        return end, detail, after

    async def _taken_back(self, after: Mapfile, gone: Gone) -> tuple[Mapfile, str]:
        """The map without what the source is not to be believed, and what to say of it."""
        image = self._orders.image
        if gone.swapped:  # since when, nobody knows
            foreign = difference(after.rescued, self._before.rescued)
            await anyio.to_thread.run_sync(image.put_map, self._before)
            await anyio.to_thread.run_sync(image.forget, foreign)
            if self._hasher is not None:
                self._hasher.begins(_prefix(self._before))
            return self._before, f"{gone.detail}; the {total(foreign):,} bytes of this pass do not count"
        suspects = self._blame.suspects
        if not suspects:
            return after, gone.detail
        after = self._blame.taken_back
        await anyio.to_thread.run_sync(image.put_map, after)
        return after, f"{gone.detail}; {total(suspects):,} bytes that failed since the last read are to be read again"

    def _read_in(self, mapfile: Mapfile) -> Ranges:
        """What this pass has read, or, if that is nothing, whatever was read before."""
        return difference(mapfile.rescued, self._before.rescued) or mapfile.rescued

    def _left(self, after: Mapfile) -> bool:
        """Is something of what this pass was to read still unread?"""
        if self._orders.domain is None:
            return bool(after.unread)
        return bool(intersection(sectors_of(self._orders.domain, self._orders.source), after.unread))

    def _left_out(self, after: Mapfile) -> bool:
        """Did all copying passes leave something untried?"""
        if self._orders.flags.copy_passes != "1-5":
            return False
        untried = after.ranges("?")
        if self._orders.domain is not None:
            untried = intersection(untried, sectors_of(self._orders.domain, self._orders.source))
        return bool(untried)

    async def _why_to_end(self) -> tuple[PassEnd, str] | None:
        """Returns None when ddrescue ended by itself, or waits for an answer."""
        limits = self._orders.limits
        while not self._ended.is_set() and not self._asks:
            with anyio.move_on_after(limits.poll_s):
                await self._ended.wait()
            await self._look_at_map()
            if self._stop.requested or self._stop.paused:
                return PassEnd.STOPPED, "by the operator"
            if self._stop.enough:
                return PassEnd.ENOUGH, "the operator wants no more of it"
            now_s = time.monotonic()
            self._teller.tell_if_silent(now_s)
            why = self._rules.verdict(now_s)
            if why is not None:
                return why
            if self._rules.to_be_checked(now_s):
                read = self._read_in(self._newest)
                gone = await why_gone(self._orders.source, self._orders.image, read, limits.check_s)
                self._rules.answered(time.monotonic())
                if gone is not None:
                    return PassEnd.SOURCE_GONE, gone.detail
        return None

    async def _look_at_map(self) -> None:
        now_s, stamp = time.monotonic(), _stamp(self._orders.image)
        if stamp == self._map_stamp or now_s < self._map_next_s:
            return
        mapfile = await anyio.to_thread.run_sync(self._orders.image.follow_map)
        if mapfile is None:
            return  # it is being written
        self._map_stamp = stamp
        self._map_next_s = time.monotonic() + _PARSE_SHARE * (time.monotonic() - now_s)
        self._newest = mapfile
        self._blame.saved(mapfile)
        rescued = rescued_bytes(mapfile)
        self._rules.counted(Count(now_s, rescued, rescued + total(mapfile.ranges("-"))))
        if self._hasher is not None:
            self._hasher.reaches(_prefix(mapfile))

    async def _listen(self, screen: anyio.abc.ByteReceiveStream | None) -> None:
        assert screen is not None
        parser = StatusScreen()
        async for chunk in screen:
            status = parser.feed(chunk)
            if status is not None:
                self._saw(status)
        self._ended.set()

    def _saw(self, status: Status) -> None:
        self._rules.saw(status, time.monotonic())
        self.read_errors = status.read_errors
        failed = status.non_trimmed_bytes + status.non_scraped_bytes + status.bad_bytes
        rescued = self._shown_from + status.rescued_bytes
        self._forward = self._forward and not failed and not status.read_errors
        if self._forward and self._hasher is not None:
            self._hasher.reaches(rescued - rescued // _ROUNDED - _MARGIN_BYTES)
        self._teller.saw(status)

    async def _collect(self, stream: anyio.abc.ByteReceiveStream | None) -> None:
        assert stream is not None
        async for chunk in stream:
            self._complaints += chunk
            del self._complaints[:-_OUTPUT_LIMIT_BYTES]

    @property
    def _asks(self) -> bool:
        """It cannot write its map and has asked what to do: it goes on only when it is answered."""
        return _ASKS.encode() in self._complaints


async def _version() -> tuple[int, int]:
    """Of the ddrescue that will be run; which options it knows depends on it."""
    said = await proc.run(["ddrescue", "--version"], timeout_s=_VERSION_S)
    return version_of(said.stdout.decode(errors="replace")) or MINIMUM_VERSION


def _stamp(image: WorkingImage) -> int:
    try:
        return image.map_path.stat().st_mtime_ns
    except OSError:
        return 0


def _prefix(mapfile: Mapfile) -> int:
    """How far it is read from its start without a gap."""
    first = mapfile.blocks[0]
    return first.size if first.status == "+" else 0


def sectors_of(domain: Ranges, source: Source) -> Ranges:
    """The whole sectors that hold any of it."""
    size = source.sector_bytes
    whole = normalised((start - start % size, end + -end % size) for start, end in domain)
    return intersection(whole, ((0, source.size_bytes),))
