"""F132: duplicate or early udev events started two jobs, or none. F134: one drive that hangs blocked all."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream
from made_up_machine import Machine
from speaking_drives import HANGS, say, speaking

from ntt.devices import arrivals
from ntt.devices.arrivals import arriving
from ntt.devices.debouncing import Timing
from ntt.devices.uevents import Announcement
from ntt.drives import DriveEvent, Insertion, Refusal, Removal

LIMIT_S = 60
QUICK = Timing(settle_s=0.5, retry_s=0.1, patience_s=0.6, refused_s=0.2)
CHANGE = Announcement("sr0", "change", media_changed=True)
EMPTY, OPEN, NOT_READY, LOADED = (
    f'{{"slot": "{slot}"}}\n' for slot in ("empty", "tray open", "not ready yet", "loaded")
)
FREE = '{"claimed": false}\n'


class Drives:
    """Made-up optical drives that announce what the test says."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.machine = Machine(folder / "machine")
        self.machine.polls(2000)
        self.folder = folder / "said"
        self._send, self._receive = anyio.create_memory_object_stream[Announcement](100)
        monkeypatch.setattr(arrivals, "announcements", self._told)
        speaking(monkeypatch, self.folder, {})

    async def _told(self, _: object) -> AsyncGenerator[Announcement]:
        with self._send, self._receive:
            async for what in self._receive:
                yield what

    def has(self, name: str, *said: str) -> Path:
        number = int(name[-1])
        say(self.folder, name, said)
        device = {"vendor": "HL-DT-ST", "model": "DVDRAM", "type": "5"}
        events = {"events": "media_change eject_request", "events_poll_msecs": "-1", "diskseq": "5", "size": "2097151"}
        port = f"pci0000:00/ata{number + 1}"
        return self.machine.scsi(port, f"{number}:0:0:0", name, f"11:{number}", device, removable="1", **events)

    def announces(self, *what: Announcement) -> None:
        for one in what:
            self._send.send_nowait(one)


@pytest.fixture
def drives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Drives:
    return Drives(tmp_path, monkeypatch)


async def next_of(events: MemoryObjectReceiveStream[DriveEvent]) -> DriveEvent:
    with anyio.fail_after(LIMIT_S):
        return await events.receive()


def told(event: DriveEvent) -> object:
    match event:
        case Insertion(drive, number):
            return drive.node.name, number
        case Removal(drive, pulled):
            return drive.node.name, "pulled" if pulled else "out"
        case Refusal(drive, reason, _):
            return drive.node.name, reason
        case _:
            return event


async def test_four_events_of_which_some_come_too_early_are_one_insertion(drives: Drives) -> None:
    block = drives.has("sr0", EMPTY)
    async with arriving(timing=QUICK, sys_root=drives.machine.sys, run_root=drives.machine.run) as events:
        say(drives.folder, "sr0", [NOT_READY, NOT_READY, LOADED + FREE])
        for sequence in range(6, 10):
            (block / "diskseq").write_text(f"{sequence}\n")
            drives.announces(CHANGE)
        assert told(await next_of(events)) == ("sr0", 1)
        say(drives.folder, "sr0", [OPEN])
        drives.announces(CHANGE, CHANGE, CHANGE)
        assert told(await next_of(events)) == ("sr0", "out")
        say(drives.folder, "sr0", [LOADED + FREE])
        drives.announces(CHANGE)
        assert told(await next_of(events)) == ("sr0", 2)
        with pytest.raises(anyio.WouldBlock):
            events.receive_nowait()


async def test_a_disc_that_is_present_at_the_start_is_one_insertion(drives: Drives) -> None:
    drives.has("sr0", NOT_READY, LOADED + FREE)
    async with arriving(timing=QUICK, sys_root=drives.machine.sys, run_root=drives.machine.run) as events:
        drives.announces(CHANGE)
        assert told(await next_of(events)) == ("sr0", 1)
        drives.announces(Announcement("sr0", "remove"))
        assert told(await next_of(events)) == ("sr0", "pulled")


async def test_a_disc_that_never_gets_readable_is_said(drives: Drives) -> None:
    drives.has("sr0", NOT_READY)
    async with arriving(timing=QUICK, sys_root=drives.machine.sys, run_root=drives.machine.run) as events:
        assert told(await next_of(events)) == ("sr0", "the drive has not got ready in 1 s")


async def test_a_drive_that_hangs_holds_up_no_other(drives: Drives) -> None:
    drives.has("sr0", HANGS)
    drives.has("sr1", LOADED + FREE)
    with anyio.fail_after(30):
        async with arriving(timing=QUICK, sys_root=drives.machine.sys, run_root=drives.machine.run) as events:
            assert told(await next_of(events)) == ("sr1", 1)
            drives.announces(Announcement("sr1", "remove"), Announcement("sr0", "remove"))
            assert told(await next_of(events)) == ("sr1", "pulled")


async def test_a_drive_that_ntt_may_not_open_is_refused_with_what_to_do(drives: Drives) -> None:
    drives.has("sr0", '{"error": 13}\n{"error": 13}\n')
    async with arriving(timing=QUICK, sys_root=drives.machine.sys, run_root=drives.machine.run) as events:
        event = await next_of(events)
        assert told(event) == ("sr0", "it cannot be opened: Permission denied")
        assert isinstance(event, Refusal)
        assert "groups `cdrom` and `disk`" in event.next_step
        say(drives.folder, "sr0", [LOADED + FREE])
        assert told(await next_of(events)) == ("sr0", 1)


async def test_what_holds_a_disc_for_a_moment_does_not_make_it_refused(drives: Drives) -> None:
    held, let_go = '{"claimed": true}\n', '{"claimed": false}\n'
    drives.has("sr0", LOADED + held, let_go, LOADED + held, let_go, LOADED + FREE)
    async with arriving(timing=QUICK, sys_root=drives.machine.sys, run_root=drives.machine.run) as events:
        assert told(await next_of(events)) == ("sr0", 1)
