"""Drives of this machine -> a stream of what is put in and taken out, one event for each, in the order per drive.

The kernel's announcements are hints; what is believed is what is found by looking. Every drive has a task of its own:
one that hangs holds up no other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.abc
import pyudev
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from ntt.devices import inventory
from ntt.devices.debouncing import Debouncer, Look, Timing
from ntt.devices.looking import Looker
from ntt.devices.polling import POLL_MS, RARE_POLL_MS, Poller, Polling, polled
from ntt.devices.uevents import Announcement, announcements, open_monitor
from ntt.drives import DriveEvent, DriveKind, Slot
from ntt.errors import NttError

_WAITING_EVENTS = 64
_RESCAN_S = 30.0  # for announcements that were lost
_SHORTEST_SETTLE_S = 3.0  # an automounter has been there by then
_LONGEST_SETTLE_S = 6.0
_MARGIN_S = 1.0


@dataclass(slots=True)
class _Watched:
    """One entry of /sys/block. `inode`: that of its folder, which differs when another device comes under its name."""

    name: str
    inode: int
    hint: anyio.Event = field(default_factory=anyio.Event)
    looking: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    number: str = ""
    key: str = ""
    passed_over: bool = False
    gone: bool = False
    media_changes: int = 0
    pressed: bool = False

    def end(self) -> None:
        self.gone = True
        self.looking.cancel()
        self.hint.set()


class _Arrivals:
    def __init__(
        self,
        send: MemoryObjectSendStream[DriveEvent],
        tasks: anyio.abc.TaskGroup,
        named: Sequence[Path],
        protected: Sequence[Path],
        held: Collection[str],
        say: Callable[[str], None],
        timing: Timing | None,
        roots: tuple[Path, Path],
    ) -> None:
        self._send = send
        self._tasks = tasks
        self._named = named
        self._protected = protected
        self._held = held
        self._say = say
        self._timing = timing
        self._sys_root, self._run_root = roots
        self._watched: dict[str, _Watched] = {}
        self._turns: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)
        self._numbers: dict[str, int] = {}
        self.announced = False  # somebody tells of changes

    def scan(self) -> None:
        """Looks which devices there are, and has all that changed taken care of. Cheap; touches no drive."""
        there = {name: self._inode(name) for name in inventory.names(self._sys_root)}
        for name in [name for name, one in self._watched.items() if there.get(name, 0) != one.inode]:
            self._watched.pop(name).end()
        numbers = inventory.named_numbers(self._named)
        for name, inode in there.items():
            one = self._watched.get(name)
            if one is None or (one.passed_over and one.number in numbers):
                self._begin(name, inode)

    def _inode(self, name: str) -> int:
        try:
            return (self._sys_root / "block" / name).stat().st_ino
        except OSError:
            return 0

    def _begin(self, name: str, inode: int) -> None:
        if not self._named and not inventory.is_drive(name):
            return
        self._watched[name] = one = _Watched(name, inode)
        self._tasks.start_soon(self._take_part, one)

    def announce(self, what: Announcement) -> None:
        """Never waits."""
        if what.lost:
            self.scan()
            for one in self._watched.values():
                one.hint.set()
            return
        if what.action == "remove":
            if what.name in self._watched:
                self._watched.pop(what.name).end()
            return
        if not self._named and not inventory.is_drive(what.name):
            return
        if what.name not in self._watched or self._watched[what.name].passed_over:
            self.scan()
        one = self._watched.get(what.name) or _Watched("", 0)
        one.media_changes += what.media_changed
        one.pressed |= what.eject_requested
        one.hint.set()

    async def rescan(self) -> None:
        while True:
            await anyio.sleep(_RESCAN_S if self.announced else POLL_MS / 1000)
            self.scan()

    async def listen(self, monitor: pyudev.Monitor) -> None:
        async with aclosing(announcements(monitor)) as told:
            async for what in told:
                self.announce(what)

    async def _take_part(self, one: _Watched) -> None:
        """Until the device is gone. The one before it under the same name has its last word first."""
        async with self._turns[one.name]:
            one.number = await inventory.number_of(one.name, self._sys_root)
            if self._named and one.number not in inventory.named_numbers(self._named):
                one.passed_over = True
                return
            known = await inventory.known(one.name, self._sys_root, self._run_root)
            if known is None or one.gone:
                return
            known = inventory.apart(known, {other.key for other in self._watched.values() if other is not one})
            if not self._named and (known.drive.kind is DriveKind.DISK or _is_old_floppy(known)):
                one.passed_over = True
                if not known.sure and self._watched.get(one.name) is one:
                    del self._watched[one.name]  # the next scan asks again
                return
            one.key = known.drive.key
            block = self._sys_root / "block" / one.name
            async with polled(block, self._sys_root, spins_up=known.spins_up) as polling:
                await self._follow(one, known, polling)

    async def _follow(self, one: _Watched, known: inventory.Known, polling: Polling) -> None:
        drive = known.drive
        looker = Looker(known, self._sys_root, self._protected)
        timing = self._timing or Timing(settle_s=_settle_s(polling))
        debouncer = Debouncer(drive, timing, self._numbers.get(drive.key, 0))
        interval_s = self._interval_s(polling, known)
        due_s: float | None = anyio.current_time()
        while True:
            with anyio.CancelScope(deadline=float("inf") if due_s is None else due_s):
                await one.hint.wait()
            one.hint = anyio.Event()
            if one.gone:
                await self._tell(debouncer.gone().events)
                return
            pressed, one.pressed = one.pressed, False
            if pressed:
                await self._tell(debouncer.pressed().events)
            for _ in range(one.media_changes):
                looker.media_changed()
            one.media_changes = 0
            look = await self._look(one, looker, debouncer)
            if one.gone:
                one.hint.set()
                continue
            now_s = anyio.current_time()
            step = debouncer.looked(look, now_s, held=drive.key in self._held)
            self._numbers[drive.key] = debouncer.number
            await self._tell(step.events)
            due_s = min((at_s for at_s in (step.again_s, interval_s and now_s + interval_s) if at_s), default=None)

    async def _look(self, one: _Watched, looker: Looker, debouncer: Debouncer) -> Look:
        look = Look(Slot.SILENT)
        if one.gone:
            return look
        with anyio.CancelScope() as one.looking:
            try:
                look = await looker.look(fresh=debouncer.is_open)
            except NttError as error:
                self._say(f"/dev/{one.name}: {error}")
        return look

    def _interval_s(self, polling: Polling, known: inventory.Known) -> float | None:
        """How often NTT looks by itself; None: it is told."""
        if polling.poller is Poller.NTT:
            return polling.interval_ms / 1000
        if self.announced:
            return None
        return (RARE_POLL_MS if known.spins_up else POLL_MS) / 1000

    async def _tell(self, events: Sequence[DriveEvent]) -> None:
        with suppress(anyio.BrokenResourceError):  # nobody listens any more
            for event in events:
                await self._send.send(event)


def _settle_s(polling: Polling) -> float:
    """Beyond the next time that the kernel asks: then at the latest it repeats itself."""
    if polling.poller is Poller.NTT:
        return _SHORTEST_SETTLE_S
    return min(max(polling.interval_ms / 1000 + _MARGIN_S, _SHORTEST_SETTLE_S), _LONGEST_SETTLE_S)


def _is_old_floppy(known: inventory.Known) -> bool:
    """A drive of the mainboard's controller, often not even there: it can only be asked by starting its motor."""
    return known.spins_up and known.name.startswith("fd")


@asynccontextmanager
async def arriving(
    named: Sequence[Path] = (),
    *,
    protected: Sequence[Path] = (),
    held: Collection[str] = frozenset(),
    say: Callable[[str], None] = lambda _: None,
    timing: Timing | None = None,
    sys_root: Path = Path("/sys"),
    run_root: Path = Path("/run"),
) -> AsyncIterator[MemoryObjectReceiveStream[DriveEvent]]:
    """What happens at the drives from now on, beginning with the media that are present.

    `named`: only these devices, also fixed ones; links are followed, those that are not there yet count once they
    come. UsageError: one of them is no whole device. Without any: every drive whose medium can be changed or that can
    be pulled, but for floppy drives at the mainboard's own controller (/dev/fd0).
    `protected`: folders (home, store, archives) whose disk is never touched. `held`: keys of drives whose tray is
    locked, as a living collection: what they tell of changed media is not believed. `timing`: other than what follows
    from how often a drive is asked. `say` takes one line when something does not work as it should.
    Every Insertion is followed by a Removal before the next one of that drive.
    """
    inventory.check_named(named, sys_root)
    send, receive = anyio.create_memory_object_stream[DriveEvent](_WAITING_EVENTS)
    monitor = await open_monitor(run_root)
    async with anyio.create_task_group() as tasks, send, receive:
        arrivals = _Arrivals(send, tasks, named, protected, held, say, timing, (sys_root, run_root))
        if isinstance(monitor, str):
            say(monitor)
        else:
            arrivals.announced = True
            tasks.start_soon(arrivals.listen, monitor)
        arrivals.scan()
        tasks.start_soon(arrivals.rescan)
        yield receive
        tasks.cancel_scope.cancel()
