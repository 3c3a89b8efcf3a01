"""Somebody notices a change of medium: the kernel, if it is told to, or NTT; and what was set is put back."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from made_up_machine import Machine

from ntt.devices.polling import POLL_MS, RARE_POLL_MS, Poller, Polling, polled, polling_from, polling_of

CHANGE = b"media_change eject_request"
CASES = {
    "a disk whose medium stays": ((b"", b"", b"-1", b"0", False), Polling(Poller.NOBODY_NEEDED)),
    "a drive that tells by itself": ((CHANGE, CHANGE, b"-1", b"0", False), Polling(Poller.NOBODY_NEEDED)),
    "a drive that tells one thing by itself": (
        (CHANGE, b"media_change", b"-1", b"0", False),
        Polling(Poller.NTT, 2000),
    ),
    "polled as all are": ((CHANGE, b"", b"-1", b"2000", False), Polling(Poller.KERNEL, 2000)),
    "polled by its own setting": ((CHANGE, b"", b"500", b"0", False), Polling(Poller.KERNEL, 500)),
    "not polled": ((CHANGE, b"", b"-1", b"0", False), Polling(Poller.NTT, POLL_MS)),
    "switched off, though all are polled": ((CHANGE, b"", b"0", b"2000", False), Polling(Poller.NTT, POLL_MS)),
    "settings that are not there": ((CHANGE, b"", b"", b"", False), Polling(Poller.NTT, POLL_MS)),
    "a floppy drive": ((b"media_change", b"", b"-1", b"0", True), Polling(Poller.NTT, RARE_POLL_MS)),
    "a floppy drive that is polled": ((b"media_change", b"", b"-1", b"2000", True), Polling(Poller.KERNEL, 2000)),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_told_who_asks_a_drive(case: str) -> None:
    told, polling = CASES[case]
    assert polling_from(*told) == polling


def test_polling_is_told_in_words() -> None:
    assert Polling(Poller.NTT, 2000).words == "NTT asks it itself: the kernel does not, every 2 s"
    assert Polling(Poller.NOBODY_NEEDED).words == "its medium cannot be changed, or it tells by itself"


def drive(machine: Machine, own: str = "-1") -> Path:
    events = {"events": "media_change eject_request", "events_async": "", "events_poll_msecs": own}
    return machine.block("pci0000:00/ata3/block/sr0", "11:0", events)


async def test_the_kernel_is_told_to_ask_and_told_otherwise_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    block = drive(machine)
    async with polled(block, machine.sys) as polling:
        assert polling == Polling(Poller.KERNEL_FOR_NTT, POLL_MS)
        assert (block / "events_poll_msecs").read_text() == "2000"
        assert await polling_of(block, machine.sys) == Polling(Poller.KERNEL, 2000)
    assert (block / "events_poll_msecs").read_text().strip() == "-1"


async def test_what_was_set_is_put_back_when_ntt_is_stopped(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    block = drive(machine)
    with anyio.CancelScope() as scope:
        async with polled(block, machine.sys):
            scope.cancel()
            await anyio.sleep_forever()
    assert (block / "events_poll_msecs").read_text().strip() == "-1"


async def test_a_setting_that_does_its_work_is_left_alone(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.polls(2000)
    block = drive(machine)
    async with polled(block, machine.sys) as polling:
        assert polling == Polling(Poller.KERNEL, 2000)
        assert (block / "events_poll_msecs").read_text() == "-1\n"


async def test_where_nothing_can_be_set_ntt_asks_itself(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    block = machine.block("pci0000:00/ata3/block/sr0", "11:0", {"events": "media_change"})
    async with polled(block, machine.sys) as polling:
        assert polling == Polling(Poller.NTT, POLL_MS)
    assert not (block / "events_poll_msecs").exists()
