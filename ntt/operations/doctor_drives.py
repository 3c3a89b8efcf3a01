"""This machine's drives -> is a medium noticed when it is inserted, and what else `ntt watch` needs."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ntt.devices.listing import drives
from ntt.devices.uevents import unannounced
from ntt.drives import DriveKind
from ntt.names import printable

BY_NTT = "NTT asks it itself"
POLL = "install packaging/70-ntt.rules, or echo 2000 > /sys/module/block/parameters/events_dfl_poll_msecs"


async def drive_facts() -> AsyncIterator[tuple[str, str, str]]:
    """(what, what was found, what to do about it: empty if nothing) of the events and of each drive."""
    silent = await unannounced()
    yield "drive events", silent or "the system announces media", "`apt install libudev1 udev`" if silent else ""
    found = [state for state in await drives() if state.drive.kind is not DriveKind.DISK]
    if not found:
        yield "drives", "none with removable media", ""
    for state in found:
        told = f"{printable(state.drive.title)}: {state.slot.value}; changes are noticed by: {state.polling}"
        yield str(state.drive.node), told, POLL if BY_NTT in state.polling else ""
