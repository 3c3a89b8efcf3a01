"""An optical drive -> its slot, and all that it tells of the disc in it before a sector is read.

SCSI commands tell most (ntt/tools/mmc.py); where they may not be passed through, the kernel's own questions remain,
which know nothing of sessions, blank discs and copy protection.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path

from ntt.devices.asking import Answer, Asking, ask, scsi_question
from ntt.drives import Slot
from ntt.tools import mmc

_COMMAND_LIMIT_S = 20.0
_BY_KERNEL = ("status", "toc", "last_session")
_BY_SCSI = (
    mmc.GET_CONFIGURATION,
    mmc.READ_DISC_INFORMATION,
    mmc.READ_FULL_TOC,
    mmc.READ_TOC,
    mmc.READ_CAPACITY,
    mmc.READ_COPYRIGHT,
)


@dataclass(frozen=True, slots=True)
class Told:
    """What a drive told of its disc; None: it did not say.

    `profile` "": the drive sees no medium. `status`: of CDROM_DISC_STATUS. `last_session`: where the last session's
    data begins, by the kernel. `complete`: every question was answered or refused in time.
    """

    profile: str | None = None
    information: mmc.DiscInformation | None = None
    full_toc: mmc.Toc | None = None
    toc: mmc.Toc | None = None
    capacity_bytes: int | None = None
    protection: int | None = None
    status: int | None = None
    last_session: int | None = None
    complete: bool = True


async def slot_of(node: Path, limit_s: float) -> Slot:
    """SILENT also where the device may not be opened or is no optical drive."""
    answers = await ask(node, ["tray"], limit_s)
    return answers[0].slot if answers else Slot.SILENT


async def told_by(node: Path, limit_s: float) -> tuple[Slot, Told]:
    """What the drive says within `limit_s`; each question that it does not know costs only itself.

    The kernel's own come first: they are the ones that every drive answers.
    """
    questions = ["tray", *_BY_KERNEL, *(scsi_question(command, _COMMAND_LIMIT_S) for command in _BY_SCSI)]
    answers = await Asking(node).ask(questions, limit_s)
    if not answers:
        return Slot.SILENT, Told(complete=False)
    missing = [Answer(error=errno.ETIMEDOUT)] * (len(questions) - len(answers))
    tray, status, toc, last_session, *scsi = answers + missing
    configuration, information, full, formatted, capacity, copyright_ = (answer.bytes_read for answer in scsi)
    return tray.slot, Told(
        mmc.profile_of(configuration),
        mmc.disc_information(information),
        mmc.full_toc(full),
        mmc.formatted_toc(formatted) or _of_kernel(toc),
        mmc.capacity_bytes(capacity),
        mmc.protection_of(copyright_),
        None if status.error else status.number,
        None if last_session.error else last_session.number,
        not missing,
    )


def _of_kernel(toc: Answer) -> mmc.Toc | None:
    if toc.error or not toc.tracks:
        return None
    entries = [mmc.TocEntry(n, 0, start, audio) for n, start, audio in toc.tracks if n != mmc.LEAD_OUT]
    lead_outs = [(0, start) for n, start, _ in toc.tracks if n == mmc.LEAD_OUT]
    return mmc.Toc(tuple(entries), tuple(lead_outs))
