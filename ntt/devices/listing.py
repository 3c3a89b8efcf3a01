"""This machine -> its drives, what lies in them, and which of them NTT would touch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio

from ntt.devices import inventory
from ntt.devices.looking import Looker
from ntt.devices.polling import polling_of
from ntt.drives import DriveKind, DriveState, Refusal, Slot

ANSWER_LIMIT_S = 8.0


async def drives(
    named: Sequence[Path] = (),
    *,
    protected: Sequence[Path] = (),
    limit_s: float = ANSWER_LIMIT_S,
    sys_root: Path = Path("/sys"),
    run_root: Path = Path("/run"),
) -> list[DriveState]:
    """All at once, each within `limit_s` and a few seconds; ordered by node. Changes nothing.

    Fixed disks are not opened unless named. `named` also brings in what is no hardware (a loop device); it leaves
    nothing out. UsageError as `arriving`. NttError: no child can be started to ask a drive.
    """
    inventory.check_named(named, sys_root)
    numbers = inventory.named_numbers(named)
    found: list[inventory.Known] = []
    states: list[DriveState] = []

    async def learn(name: str) -> None:
        if not inventory.is_drive(name) and await inventory.number_of(name, sys_root) not in numbers:
            return
        known = await inventory.known(name, sys_root, run_root)
        if known is not None:
            found.append(known)

    async def look(known: inventory.Known) -> None:
        states.append(await _state(known, known.number in numbers, protected, limit_s, (sys_root, run_root)))

    async with anyio.create_task_group() as learning:
        for name in inventory.names(sys_root):
            if numbers or inventory.is_drive(name):
                learning.start_soon(learn, name)
    async with anyio.create_task_group() as looking:
        for known in told_apart(found):
            looking.start_soon(look, known)
    return sorted(states, key=lambda state: _in_order(state.drive.node.name))


def told_apart(found: Sequence[inventory.Known]) -> list[inventory.Known]:
    """No two with the same key."""
    unlike: dict[str, inventory.Known] = {}
    for known in sorted(found, key=lambda known: known.name):
        one = inventory.apart(known, unlike)
        unlike[one.drive.key] = one
    return list(unlike.values())


def _in_order(name: str) -> tuple[str, int, str]:
    word = name.rstrip("0123456789")
    return word, int(name[len(word) :] or 0), name


async def _state(
    known: inventory.Known, is_named: bool, protected: Sequence[Path], limit_s: float, roots: tuple[Path, Path]
) -> DriveState:
    drive = known.drive
    polling = await polling_of(roots[0] / "block" / known.name, roots[0], spins_up=known.spins_up)
    if drive.kind is DriveKind.DISK and not is_named:
        step = f"`--device {drive.node}` names it, if it is to be read"
        return DriveState(drive, Slot.LOADED, polling.words, Refusal(drive, "a fixed disk, and not named", step))
    look = await Looker(known, roots[0], protected, limit_s).look(fresh=True)
    refusal = Refusal(drive, *look.refusal) if look.refusal is not None and look.slot is Slot.LOADED else None
    return DriveState(drive, look.slot, polling.words, refusal)
