"""A medium is given back, or it is said why not. There is no tray here: what needs one is tried in the machine with
emulated drives; the kernel's refusals and the way through sysfs are real or made up as named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import anyio
import pytest
from made_up_machine import Machine
from own_loop import OwnLoop, own_loop
from speaking_drives import speaking

from ntt.devices.ejecting import close_tray, eject, lock, unlock, usb_device_of
from ntt.drives import Drive, DriveKind, Release
from ntt.errors import MediumError

DISK = {"vendor": "WDC", "model": "My Book", "type": "0"}


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[OwnLoop]:
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    with own_loop() as one:
        one.holds(image)
        yield one


def drive(node: Path, kind: DriveKind) -> Drive:
    return Drive(node, kind, "key", "a drive")


async def test_a_fixed_disk_stays(loop: OwnLoop) -> None:
    assert await eject(drive(loop.node, DriveKind.DISK), 20) is Release.STAYS


async def test_a_stick_is_safe_to_remove(loop: OwnLoop, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.scsi(machine.usb("2-1"), "6:0:0:0", loop.name, "8:16", DISK, removable="1")
    assert await eject(drive(loop.node, DriveKind.REMOVABLE), 20, sys_root=machine.sys) is Release.SAFE
    assert (machine.sys / "devices/pci0000:00/0000:00:14.0/usb2/2-1/remove").read_text() == "\n"


async def test_a_disk_of_its_own_is_told_to_go_and_is_not_called_off_while_it_is_there(
    loop: OwnLoop, tmp_path: Path
) -> None:
    machine = Machine(tmp_path)
    machine.scsi(machine.usb("2-1"), "6:0:0:0", loop.name, "8:16", DISK)
    remove = machine.sys / "devices/pci0000:00/0000:00:14.0/usb2/2-1/remove"
    assert await eject(drive(loop.node, DriveKind.REMOVABLE), 20, sys_root=machine.sys) is Release.SAFE
    assert remove.read_text() == "1"


async def test_the_device_is_gone_when_it_says_powered_off(loop: OwnLoop, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    block = machine.scsi(machine.usb("2-1"), "6:0:0:0", loop.name, "8:16", DISK)
    remove = machine.sys / "devices/pci0000:00/0000:00:14.0/usb2/2-1/remove"
    remove.unlink()
    os.mkfifo(remove)

    def kernel() -> None:
        with open(remove, "rb") as order:  # opens once NTT does
            (machine.sys / "block" / loop.name).unlink()
            order.read()

    asked = Thread(target=kernel, daemon=True)
    asked.start()
    assert usb_device_of(block) == remove.parent
    assert await eject(drive(loop.node, DriveKind.REMOVABLE), 20, sys_root=machine.sys) is Release.POWERED_OFF
    asked.join(timeout=10)


def test_one_of_several_disks_behind_a_bridge_is_not_switched_off_with_the_others(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    bridge = machine.usb("2-1")
    one = machine.scsi(bridge, "6:0:0:0", "sdb", "8:16", DISK)
    assert usb_device_of(one) is not None
    machine.scsi(bridge, "6:0:0:1", "sdc", "8:32", DISK)
    assert usb_device_of(one) is None
    inside = machine.scsi("pci0000:00/ata1", "0:0:0:0", "sda", "8:0", DISK)
    assert usb_device_of(inside) is None


async def test_what_refuses_to_eject_is_an_error_with_what_to_do(loop: OwnLoop) -> None:
    with pytest.raises(MediumError, match=r"does not give its tray free: .*; press its button, or use the hole"):
        await eject(drive(loop.node, DriveKind.OPTICAL), 20)


def answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> Drive:
    speaking(monkeypatch, tmp_path, {"sr0": [text]})
    return drive(Path("/dev/sr0"), DriveKind.OPTICAL)


@pytest.mark.parametrize("slot", ["tray open", "empty"])
async def test_a_tray_counts_as_open_only_when_the_drive_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, slot: str
) -> None:
    one = answers(monkeypatch, tmp_path, f'{{"number": 0}}\n{{"slot": "{slot}"}}')
    assert await eject(one, 20) is Release.TRAY_OPEN


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"number": 0}\n{"slot": "gives no answer"}', "took the order to eject, but says: gives no answer; press"),
        ('{"error": 16}\n{"slot": "loaded"}', r"something uses it: `fuser -vm /dev/sr0` tells what"),
        ('{"error": 13}\n{"error": 13}', r"run NTT as root, or put its user into the groups"),
        ("", "gives no answer; press its button"),
    ],
)
async def test_a_tray_that_stays_closed_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, message: str
) -> None:
    one = answers(monkeypatch, tmp_path, text)
    with anyio.fail_after(15), pytest.raises(MediumError, match=message):
        await eject(one, 2)


async def test_what_another_program_has_for_itself_is_not_stopped(loop: OwnLoop, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.scsi(machine.usb("2-1"), "6:0:0:0", loop.name, "8:16", DISK)
    held = os.open(loop.node, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC)  # as a mount does
    try:
        with pytest.raises(MediumError, match=f"used by another program; `fuser -vm {loop.node}` tells what"):
            await eject(drive(loop.node, DriveKind.REMOVABLE), 20, sys_root=machine.sys)
    finally:
        os.close(held)
    assert (machine.sys / "devices/pci0000:00/0000:00:14.0/usb2/2-1/remove").read_text() == "\n"


@pytest.mark.parametrize("sense", ["70000500000000 0a 00000000 53 02 00000000", "72055302"])
async def test_a_medium_that_its_drive_keeps_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sense: str
) -> None:
    """MEDIUM REMOVAL PREVENTED, in both forms of sense data."""
    refused = f'{{"error": 5, "sense": "{sense.replace(" ", "")}"}}'
    speaking(monkeypatch, tmp_path, {"sdz": ["{}", '{"claimed": false}', refused]})
    with pytest.raises(MediumError, match="keeps its medium locked; press its button"):
        await eject(drive(Path("/dev/sdz"), DriveKind.REMOVABLE), 20, sys_root=tmp_path)


async def test_a_dead_drive_holds_up_nobody(tmp_path: Path) -> None:
    fifo = tmp_path / "drive"
    os.mkfifo(fifo)
    with anyio.fail_after(20):
        assert not await lock(drive(fifo, DriveKind.OPTICAL), 1)
        assert not await unlock(drive(fifo, DriveKind.REMOVABLE), 1)
        assert not await close_tray(drive(fifo, DriveKind.OPTICAL), 1)
        with pytest.raises(MediumError):
            await eject(drive(fifo, DriveKind.REMOVABLE), 1, sys_root=tmp_path)
