"""A drive's sysfs folder -> who notices a change of its medium; made certain that somebody does.

A drive without asynchronous notification is asked for changes by the kernel, if it was told to, or by NTT.
Source: the kernel's Documentation/ABI/stable/sysfs-block (events, events_async, events_poll_msecs) and the parameter
`events_dfl_poll_msecs` of the module block.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from ntt.devices.answering import answered, attribute

POLL_MS = 2000
RARE_POLL_MS = 30_000  # of a drive that spins up for it
_LIMIT_S = 2.0
_OF_ALL = Path("module/block/parameters/events_dfl_poll_msecs")


class Poller(enum.StrEnum):
    NOBODY_NEEDED = "its medium cannot be changed, or it tells by itself"
    KERNEL = "the kernel asks it"
    KERNEL_FOR_NTT = "the kernel asks it, because NTT told it to"
    NTT = "NTT asks it itself: the kernel does not"


@dataclass(frozen=True, slots=True)
class Polling:
    """Who asks a drive for a change of medium, and how often; `interval_ms` 0: nobody has to."""

    poller: Poller
    interval_ms: int = 0

    @property
    def words(self) -> str:
        """For people and for `ntt doctor`."""
        return f"{self.poller}, every {self.interval_ms / 1000:g} s" if self.interval_ms else str(self.poller)


def polling_from(events: bytes, asynchronous: bytes, own: bytes, of_all: bytes, spins_up: bool = False) -> Polling:
    """What the attributes of a drive mean. `own` -1 or missing: what is set for all counts; 0: never."""
    watched = set(events.split()) & {b"media_change", b"eject_request"}
    if not watched or watched <= set(asynchronous.split()):
        return Polling(Poller.NOBODY_NEEDED)
    interval_ms = _number(own, -1)
    if interval_ms < 0:
        interval_ms = _number(of_all, 0)
    if interval_ms > 0:
        return Polling(Poller.KERNEL, interval_ms)
    return Polling(Poller.NTT, RARE_POLL_MS if spins_up else POLL_MS)


def _number(text: bytes, otherwise: int) -> int:
    try:
        return int(text)
    except ValueError:
        return otherwise


async def polling_of(block: Path, sys_root: Path = Path("/sys"), *, spins_up: bool = False) -> Polling:
    """As it is now; changes nothing. What does not answer counts as not there."""
    until_s = anyio.current_time() + _LIMIT_S
    paths = (block / "events", block / "events_async", block / "events_poll_msecs", sys_root / _OF_ALL)
    told = [(await answered(partial(attribute, path), until_s))[0] or b"" for path in paths]
    return polling_from(told[0], told[1], told[2], told[3], spins_up)


@asynccontextmanager
async def polled(block: Path, sys_root: Path = Path("/sys"), *, spins_up: bool = False) -> AsyncIterator[Polling]:
    """Has the kernel ask the drive if it did not and NTT may say so; puts it back as it was on leaving.

    Where it may not, the polling that is given names NTT, and it is the caller who has to ask.
    """
    found = await polling_of(block, sys_root, spins_up=spins_up)
    setting = block / "events_poll_msecs"
    before, _ = await answered(partial(attribute, setting), anyio.current_time() + _LIMIT_S)
    is_set = False
    if found.poller is Poller.NTT and before is not None:
        is_set = await _set(setting, str(found.interval_ms).encode())
    try:
        yield Polling(Poller.KERNEL_FOR_NTT, found.interval_ms) if is_set else found
    finally:
        if is_set and before is not None:
            with anyio.CancelScope(shield=True):  # bounded by _LIMIT_S
                await _set(setting, before)


async def _set(setting: Path, value: bytes) -> bool:
    wrote, _ = await answered(partial(setting.write_bytes, value), anyio.current_time() + _LIMIT_S)
    return wrote is not None
