"""Questions to a drive -> its answers, or the fact that none came in time: asked through a child that is given up.

The child is `interview.py`. While one that was given up still hangs in the kernel, its drive is not asked again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import anyio
import msgspec
from anyio.streams.buffered import BufferedByteReceiveStream

from ntt import proc
from ntt.drives import Slot
from ntt.names import printable
from ntt.tools.mmc import Command, Sense, sense_of

_INTERVIEW = str(Path(__file__).with_name("interview.py"))
_ANSWER_LIMIT_BYTES = 1 << 16
_GRACE_S = 0.3
_DIED = (anyio.IncompleteRead, anyio.DelimiterNotFound, anyio.EndOfStream, BrokenPipeError, msgspec.DecodeError)


class Answer(msgspec.Struct, frozen=True):
    """`error`: errno, 0 when the question was answered; which other fields count, the question says."""

    error: int = 0
    slot: Slot = Slot.SILENT
    changed: bool = False
    size_bytes: int = 0
    claimed: bool = False
    number: int = 0
    tracks: tuple[tuple[int, int, bool], ...] = ()
    data: str = ""
    sense: str = ""

    @property
    def complaint(self) -> str:
        return printable(os.strerror(self.error)) if self.error else ""

    @property
    def bytes_read(self) -> bytes:
        return bytes.fromhex(self.data)

    @property
    def refused(self) -> Sense | None:
        """Why the drive refused a SCSI command; None also where the kernel did."""
        return sense_of(bytes.fromhex(self.sense))


def scsi_question(command: Command, limit_s: float, first: Sequence[Command] = ()) -> str:
    """`first`: sent before it through the same opening of the device, whatever the drive says to them."""
    blocks = "+".join(one.block.hex() for one in (*first, command))
    return f"scsi {blocks} {command.answer_bytes} {int(limit_s * 1000)}"


class Asking:
    """One drive's ear. Used by one task at a time."""

    def __init__(self, node: Path) -> None:
        self._node = node
        self._left: proc.Child | None = None

    @property
    def hangs(self) -> bool:
        """The one who was asked last has not come back from the kernel."""
        return self._left is not None and self._left.process.returncode is None

    async def ask(self, questions: Sequence[str], limit_s: float) -> list[Answer]:
        """The answers in order; fewer than questions when the time was over, the child died, or an earlier one hangs.

        Returns within `limit_s` and a second. NttError: no child can be started.
        """
        if self.hangs:
            return []
        reading, writing = os.pipe()
        answers: list[Answer] = []
        try:
            argv = [sys.executable, "-I", "-S", _INTERVIEW, os.fspath(self._node)]
            deadline = anyio.current_time() + limit_s
            async with proc.running(argv, stdin=reading, stdout=subprocess.PIPE, grace_s=_GRACE_S) as child:
                self._left = child
                os.write(writing, "".join(question + "\n" for question in questions).encode())
                os.close(writing)
                writing = -1
                assert child.process.stdout is not None
                lines = BufferedByteReceiveStream(child.process.stdout)
                with anyio.CancelScope(deadline=deadline), suppress(*_DIED):
                    while len(answers) < len(questions):
                        line = await lines.receive_until(b"\n", _ANSWER_LIMIT_BYTES)
                        answers.append(msgspec.json.decode(line, type=Answer))
                    await child.wait()  # so that it ends by itself: only one that hangs is stopped
        finally:
            for fd in (reading, writing):
                if fd >= 0:
                    os.close(fd)
        return answers


async def ask(node: Path, questions: Sequence[str], limit_s: float) -> list[Answer]:
    """Asked once, of a drive that nobody else asks at the time; see `Asking.ask`."""
    return await Asking(node).ask(questions, limit_s)
