"""A machine's drives as `ntt devices` shows them: all of them, in time, and none touched that was not named."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from made_up_machine import Machine
from speaking_drives import HANGS, speaking

from ntt.devices.inventory import Known
from ntt.devices.listing import drives
from ntt.devices.looking import Looker
from ntt.drives import Drive, DriveKind, DriveState, Slot

DVD = {"vendor": "HL-DT-ST", "model": "DVDRAM", "type": "5"}
DISK = {"vendor": "ATA", "model": "WDC WD10EZEX", "type": "0"}
CHANGES = {"removable": "1", "events": "media_change eject_request"}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "machine")
    for number in range(11):
        machine.scsi(f"pci/ata{number}", f"{number}:0:0:0", f"sr{number}", f"11:{number}", DVD, **CHANGES)
    machine.scsi("pci/ata90", "90:0:0:0", "sda", "8:0", DISK, size="1953525168")
    machine.block("virtual/block/loop0", "7:0")
    return machine


async def listed(machine: Machine) -> list[DriveState]:
    with anyio.fail_after(30):
        return await drives(limit_s=3, sys_root=machine.sys, run_root=machine.run)


async def test_every_drive_is_told_with_its_slot(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {f"sr{number}": ['{"slot": "empty"}\n{"claimed": false}\n'] for number in range(11)}
    said |= {"sr1": ['{"slot": "loaded"}\n{"claimed": false}\n'], "sr2": ['{"slot": "tray open"}\n{}\n']}
    said |= {"sr3": [HANGS], "sr4": ['{"error": 13}\n{"error": 13}\n'], "sda": [HANGS]}
    speaking(monkeypatch, tmp_path / "said", said)
    states = await listed(machine)
    assert [one.drive.node.name for one in states] == ["sda", *(f"sr{number}" for number in range(11))]
    slots = {one.drive.node.name: one.slot for one in states}
    assert [slots[f"sr{number}"] for number in range(6)] == [
        Slot.EMPTY,
        Slot.LOADED,
        Slot.OPEN,
        Slot.SILENT,
        Slot.LOADED,
        Slot.EMPTY,
    ]
    refused = {one.drive.node.name: one.refusal.reason for one in states if one.refusal is not None}
    assert refused == {"sda": "a fixed disk, and not named", "sr4": "it cannot be opened: Permission denied"}
    assert {one.polling for one in states if one.drive.kind is DriveKind.OPTICAL} == {
        "NTT asks it itself: the kernel does not, every 2 s"
    }


@pytest.mark.parametrize(
    ("said", "slot", "reason"),
    [
        ('{"slot": "loaded", "size_bytes": 4096}\n{"claimed": false}\n', Slot.LOADED, None),
        ('{"slot": "loaded"}\n{"claimed": true}\n', Slot.LOADED, "something holds it for itself: "),
        ('{"error": 2}\n{"error": 2}\n', Slot.NOT_READY, None),
        ('{"error": 19}\n{"error": 19}\n', Slot.NOT_READY, None),
        ('{"error": 5}\n{"error": 5}\n', Slot.LOADED, "it cannot be opened: Input/output error"),
        ("nonsense\n", Slot.SILENT, None),
    ],
)
async def test_what_a_drive_says_is_weighed(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, slot: Slot, reason: str | None
) -> None:
    speaking(monkeypatch, tmp_path / "said", {"sda": [said, '{"claimed": true}\n']})
    drive = Drive(Path("/dev/sda"), DriveKind.REMOVABLE, "key", "a stick")
    looker = Looker(Known(drive, "sda", "8:0", "port", False, True), machine.sys, (), 3)
    look = await looker.look(fresh=True)
    assert look.slot is slot
    assert (
        (look.refusal is None) if reason is None else (look.refusal is not None and look.refusal[0].startswith(reason))
    )


async def test_a_generation_differs_when_the_kernel_the_drive_or_an_announcement_says_so(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same, changed = '{"slot": "loaded"}\n', '{"slot": "loaded", "changed": true}\n'
    speaking(monkeypatch, tmp_path / "said", {"sr0": [same, same, changed, same, same, same]})
    sequence = machine.sys / "block" / "sr0" / "diskseq"
    sequence.write_text("7\n")
    drive = Drive(Path("/dev/sr0"), DriveKind.OPTICAL, "key", "a drive")
    looker = Looker(Known(drive, "sr0", "11:0", "port", False, True), machine.sys, (), 3)
    first, second, third, fourth = [(await looker.look(fresh=False)).generation for _ in range(4)]
    assert first == second != third == fourth
    looker.media_changed()
    fifth = (await looker.look(fresh=False)).generation
    sequence.write_text("8\n")
    sixth = (await looker.look(fresh=False)).generation
    assert len({first, third, fifth, sixth}) == 4
