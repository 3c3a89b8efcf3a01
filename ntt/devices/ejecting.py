"""A drive whose medium is done with -> its tray open, or the device safe to pull; the tray locked while it is read.

Sources: cdrom.rst of the kernel (CDROM_LOCKDOOR, CDROMEJECT); SBC-3 5.14 (PREVENT ALLOW MEDIUM REMOVAL), 5.25 (START
STOP UNIT) and 5.22 (SYNCHRONIZE CACHE); the kernel's Documentation/ABI/testing/sysfs-bus-usb (`remove`).
"""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path

import anyio

from ntt.devices.answering import answered
from ntt.devices.asking import Answer, ask, scsi_question
from ntt.drives import Drive, DriveKind, Release, Slot
from ntt.errors import MediumError
from ntt.tools.mmc import Command

LIMIT_S = 60.0
_SYNCHRONIZE_CACHE = Command(bytes((0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0)), 0)
_ALLOW = Command(bytes((0x1E, 0, 0, 0, 0x00, 0)), 0)
_STOP = Command(bytes((0x1B, 0, 0, 0, 0x00, 0)), 0)
_UNLOAD = Command(bytes((0x1B, 0, 0, 0, 0x02, 0)), 0)  # LoEj
_TRAY_S = 15.0  # until it is open, once the drive was told
_LOOK_S = 0.5
_GONE_S = 2.0


async def lock(drive: Drive, limit_s: float = 10) -> bool:
    """Its button does nothing from now on but ask (`EjectRequest`), also after NTT ended; does it know how to?"""
    return await _door(drive, "lock", limit_s)


async def unlock(drive: Drive, limit_s: float = 10) -> bool:
    return await _door(drive, "unlock", limit_s)


async def _door(drive: Drive, question: str, limit_s: float) -> bool:
    if drive.kind is not DriveKind.OPTICAL:
        return False
    answers = await ask(drive.node, [question], limit_s)
    return bool(answers) and not answers[0].error


async def close_tray(drive: Drive, limit_s: float = 20) -> bool:
    """Is it closed, as far as the drive says? Those of notebooks cannot."""
    if drive.kind is not DriveKind.OPTICAL:
        return False
    answers = await ask(drive.node, ["close_tray", "tray"], limit_s)
    return len(answers) == 2 and not answers[0].error and answers[1].slot is not Slot.OPEN


async def eject(drive: Drive, limit_s: float = LIMIT_S, *, sys_root: Path = Path("/sys")) -> Release:
    """Gives the medium back and makes sure of it; what was written to the device by others is on it by then.

    May be called again, also when the tray is open or the device is gone. Returns within `limit_s` and four seconds.
    MediumError, with what to do, when the drive refuses, is in use, gives no answer, or keeps its tray closed.
    """
    match drive.kind:
        case DriveKind.OPTICAL:
            return await _open_tray(drive, limit_s)
        case DriveKind.REMOVABLE:
            return await _give_up(drive, limit_s, sys_root)
        case DriveKind.DISK:
            await _flush(drive, limit_s)
            return Release.STAYS


async def _open_tray(drive: Drive, limit_s: float) -> Release:
    until_s = anyio.current_time() + limit_s
    answers = await ask(drive.node, ["eject", "tray"], limit_s)
    if not answers:
        raise MediumError(
            f"{drive.node} gives no answer", "press its button; if that does nothing, switch it off and on"
        )
    _require(drive, answers[0], "its tray")
    slot = answers[1].slot if len(answers) > 1 else Slot.SILENT
    until_s = min(until_s, anyio.current_time() + _TRAY_S)
    while slot in (Slot.LOADED, Slot.NOT_READY) and anyio.current_time() < until_s:  # it may still move
        await anyio.sleep(_LOOK_S)
        again = await ask(drive.node, ["tray"], max(until_s - anyio.current_time(), _LOOK_S))
        slot = again[0].slot if again else Slot.SILENT
    if slot in (Slot.OPEN, Slot.EMPTY):  # a drive without a tray says that it is empty
        return Release.TRAY_OPEN
    raise MediumError(
        f"{drive.node} took the order to eject, but says: {slot}", "press its button, or use the hole for a paper clip"
    )


def _require(drive: Drive, answer: Answer, what: str) -> None:
    if not answer.error:
        return
    step = "press its button, or use the hole for a paper clip"
    if answer.error == errno.EBUSY:
        step = f"something uses it: `fuser -vm {drive.node}` tells what; stop that, then `eject {drive.node}`"
    elif answer.error in (errno.EACCES, errno.EPERM):
        step = "run NTT as root, or put its user into the groups `cdrom` and `disk`; or press the button"
    raise MediumError(f"{drive.node} does not give {what} free: {answer.complaint}", step)


async def _flush(drive: Drive, limit_s: float) -> None:
    answers = await ask(drive.node, ["flush"], limit_s)
    if not answers:
        raise MediumError(f"{drive.node} gives no answer", "wait until its light is off before you pull it")
    if answers[0].error not in (0, errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.ENOMEDIUM):
        step = "NTT wrote nothing to it; what another program wrote may not be on it"
        raise MediumError(f"{drive.node} cannot be flushed: {answers[0].complaint}", step)


async def _give_up(drive: Drive, limit_s: float, sys_root: Path) -> Release:
    """A medium that can be changed is unloaded; a disk of its own is stopped and powered off."""
    until_s = anyio.current_time() + limit_s
    await _flush(drive, limit_s)
    block = sys_root / "block" / drive.node.name
    device, _ = await answered(partial(usb_device_of, block), min(until_s, anyio.current_time() + 3))
    order = _STOP if device is not None else _UNLOAD
    left_s = max(until_s - anyio.current_time(), 1)
    answers = await ask(drive.node, ["claimed"], left_s)
    if answers and answers[0].claimed:
        step = f"`fuser -vm {drive.node}` tells what; stop that, then `eject {drive.node}`"
        raise MediumError(f"{drive.node} is used by another program", step)
    # many sticks and all card readers refuse: nothing is lost by it. The kernel locks what is open: us, here
    answers = await ask(drive.node, [scsi_question(order, left_s, (_SYNCHRONIZE_CACHE, _ALLOW))], left_s)
    if answers and (sense := answers[0].refused) is not None and sense.locked:
        raise MediumError(f"{drive.node} keeps its medium locked", "press its button, or switch it off and on")
    if device is None:
        return Release.SAFE
    remove = partial((device / "remove").write_bytes, b"1")
    wrote, _ = await answered(remove, max(until_s, anyio.current_time() + 1))
    gone_by_s = anyio.current_time() + (_GONE_S if wrote is not None else 0)
    while block.exists():
        if anyio.current_time() >= gone_by_s:
            return Release.SAFE
        await anyio.sleep(0.1)
    return Release.POWERED_OFF


def usb_device_of(block: Path) -> Path | None:
    """The USB device that is this disk and nothing else. None for what takes media and stays (sticks call themselves
    so, too, and need no more than to be flushed), for one of several disks behind a bridge, and outside USB."""
    place = Path(os.path.realpath(block))
    if (place / "removable").read_text(encoding="ascii").strip() != "0":
        return None
    for above in place.parents:
        if (above / "idVendor").exists() and (above / "remove").exists():
            return above if _disks_below(above) == 1 else None
    return None


def _disks_below(device: Path) -> int:
    """At any depth below its interfaces: .../1-2:1.0/host6/target6:0:0/6:0:0:0/block/sdb."""
    return sum(len(os.listdir(folder)) for folder in device.glob("*:*/host*/target*/*/block"))  # noqa: PTH208
