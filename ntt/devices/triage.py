"""A drive with a medium -> what kind of disc it is, before it is read."""

from __future__ import annotations

import errno

import anyio

from ntt.devices.asking import ask
from ntt.devices.discs import disc_of
from ntt.devices.optical import told_by
from ntt.drives import Disc, DiscKind, Drive, DriveKind, Slot
from ntt.errors import MediumError

LIMIT_S = 60.0
_INSERT = "insert a medium and try again"


async def triage(drive: Drive, limit_s: float = LIMIT_S) -> Disc:
    """Reads no sector. Other than optical drives have no table of contents: `DATA` with its size.

    MediumError: there is no medium in it, it does not get ready, or gives no answer; within `limit_s` and a second.
    """
    if drive.kind is not DriveKind.OPTICAL:
        return await _of_disk(drive, limit_s)
    with anyio.move_on_after(limit_s) as limit:
        while True:
            left_s = limit.deadline - anyio.current_time()
            slot, told = await told_by(drive.node, max(left_s - 1, left_s / 2))
            match slot:
                case Slot.LOADED:
                    return disc_of(told)
                case Slot.EMPTY:
                    raise MediumError(f"no disc is in {drive.node}", _INSERT)
                case Slot.OPEN:
                    raise MediumError(f"the tray of {drive.node} is open", _INSERT)
                case Slot.SILENT:
                    raise _silent(drive, limit_s)
                case Slot.NOT_READY:
                    await anyio.sleep(1)
    step = "take the disc out, clean it, try it again or in another drive"
    raise MediumError(f"{drive.node} has not got ready within {limit_s:.0f} s", step)


async def _of_disk(drive: Drive, limit_s: float) -> Disc:
    answers = await ask(drive.node, ["medium"], limit_s)
    if not answers:
        raise _silent(drive, limit_s)
    if answers[0].error not in (0, errno.ENOMEDIUM):
        step = "run NTT as root, or name another drive"
        raise MediumError(f"{drive.node} cannot be opened: {answers[0].complaint}", step)
    if answers[0].slot is not Slot.LOADED:
        raise MediumError(f"no medium is in {drive.node}", _INSERT)
    return Disc(DiscKind.DATA, capacity_bytes=answers[0].size_bytes)


def _silent(drive: Drive, limit_s: float) -> MediumError:
    return MediumError(
        f"{drive.node} gives no answer within {limit_s:.0f} s", "unplug the drive, plug it in, try again"
    )
