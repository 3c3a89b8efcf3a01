"""One drive, now -> what lies in it, whether that may have been changed since, and whether it may be touched."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio

from ntt.devices.answering import answered, attribute
from ntt.devices.asking import Answer, Asking
from ntt.devices.debouncing import Look
from ntt.devices.hardware import SECTOR_BYTES
from ntt.devices.inventory import Known
from ntt.devices.refusing import CLAIMED, refusal_of
from ntt.drives import DriveKind, Slot

_LIMIT_S = 2.0
_MOMENT_S = 1.0
ANSWER_LIMIT_S = 20.0  # a drive that spins up holds the question that long


class Looker:
    """Looks at one drive; used by one task at a time."""

    def __init__(
        self, known: Known, sys_root: Path, protected: Sequence[Path], limit_s: float = ANSWER_LIMIT_S
    ) -> None:
        self._known = known
        self._sys_root = sys_root
        self._protected = protected
        self._limit_s = limit_s
        self._asking = Asking(known.drive.node)
        self._changes = 0

    def media_changed(self) -> None:
        """It was announced. Kernels before 5.15 keep no number that tells; later ones may count a moment after."""
        self._changes += 1

    async def look(self, *, fresh: bool) -> Look:
        """Never fails, and ends within the limit and a few seconds. NttError: no child can be started to ask.

        `fresh`: nothing reads the medium yet, so it is also asked whether anything else holds it.
        """
        sequence, size_bytes = await self._counted()
        refusal = await refusal_of(self._known.name, self._sys_root, self._protected)
        if refusal is not None and size_bytes:
            return Look(Slot.LOADED, self._generation(sequence), size_bytes, refusal)
        optical = self._known.drive.kind is DriveKind.OPTICAL
        questions = ["tray" if optical else "medium"] + (["claimed"] if fresh else [])
        answers = await self._asking.ask(questions, self._limit_s)
        if not answers:
            return Look(Slot.SILENT)
        told = answers[0]
        self._changes += told.changed
        after, size_after = await self._counted()  # asking makes the kernel look, and count
        look = Look(told.slot, self._generation(after or sequence), told.size_bytes or size_after, refusal)
        if told.error:
            return _of_error(told, look)
        if look.slot is Slot.LOADED and refusal is None and len(answers) > 1 and answers[1].claimed:
            return await self._claimed(look)
        return look

    async def _claimed(self, look: Look) -> Look:
        """Programs that look at new media hold them for a moment."""
        await anyio.sleep(_MOMENT_S)
        answers = await self._asking.ask(["claimed"], self._limit_s)
        if answers and not answers[0].claimed:
            return look
        return Look(look.slot, look.generation, look.size_bytes, CLAIMED)

    async def _counted(self) -> tuple[int | None, int]:
        """The kernel's own number of the medium, if it has such, and the size it knows of."""
        block = self._sys_root / "block" / self._known.name
        until_s = anyio.current_time() + _LIMIT_S
        sequence, _ = await answered(partial(attribute, block / "diskseq"), until_s)
        size, _ = await answered(partial(attribute, block / "size"), until_s)
        return _number(sequence), (_number(size) or 0) * SECTOR_BYTES

    def _generation(self, sequence: int | None) -> tuple[int, ...]:
        return (self._changes,) if sequence is None else (sequence, self._changes)


def _number(text: bytes | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _of_error(told: Answer, look: Look) -> Look:
    """It could not be opened: for want of rights, because it is not there yet or any more, or because it is broken."""
    if told.error in (errno.ENOENT, errno.ENODEV):
        return Look(Slot.NOT_READY, look.generation)
    reason = f"it cannot be opened: {told.complaint}"
    step = "take it out, clean it, try it again or in another drive"
    if told.error in (errno.EACCES, errno.EPERM):
        step = "run NTT as root, or put its user into the groups `cdrom` and `disk`"
    return Look(Slot.LOADED, look.generation, look.size_bytes, (reason, step))
