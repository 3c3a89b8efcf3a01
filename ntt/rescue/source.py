"""Path of a drive or an image file -> what is to be read from it, and single sectors of it: asked of a child, in time.

Nothing here blocks longer than it is told to, whatever the drive does: what hangs is the child (`peek.py`).
"""

from __future__ import annotations

import enum
import errno
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import msgspec
from anyio.streams.buffered import BufferedByteReceiveStream

from ntt import proc
from ntt.errors import MediumError
from ntt.names import printable
from ntt.ranges import Range

PROBE_LIMIT_S = 60.0  # a drive that has to close its tray and spin up answers well within
_GRACE_S = 0.5
_ANSWER_LIMIT_BYTES = 1 << 20
_DIED = (anyio.IncompleteRead, anyio.DelimiterNotFound, anyio.EndOfStream, BrokenPipeError)
_PEEK = str(Path(__file__).with_name("peek.py"))


class SourceKind(enum.StrEnum):
    """What decides how it is read: the sectors of the medium, and how patient its drive is."""

    OPTICAL = "optical"
    FLOPPY = "floppy"
    DISK = "disk"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Source:
    """Something to be imaged. `direct`: it can be read past the kernel's cache (O_DIRECT)."""

    path: Path
    kind: SourceKind
    size_bytes: int
    sector_bytes: int
    direct: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """What the source has at `offset` now; `content` None: it could not be read."""

    offset: int
    content: bytes | None


class _Answer(msgspec.Struct):
    kind: SourceKind = SourceKind.FILE
    size_bytes: int = 0
    sector_bytes: int = 512
    direct: bool = False
    offset: int = 0
    data: bytes | None = None
    error: int = 0
    detail: str = ""


async def probe(path: Path, limit_s: float = PROBE_LIMIT_S) -> Source:
    """What `path` is. MediumError: it is not there, has no medium in it, holds nothing, or gives no answer in time."""
    name = printable(str(path))
    answers = [one async for one in _asked(path, "describe\n", limit_s)]
    if not answers:
        raise MediumError(f"{name} gives no answer within {limit_s:.0f} s", "unplug the drive, plug it in, try again")
    answer = answers[0]
    if answer.error in (errno.ENOMEDIUM, errno.ENXIO):
        raise MediumError(f"{name}: {answer.detail}", "insert a medium and try again")
    if answer.error:
        raise MediumError(f"{name} cannot be opened: {answer.detail}", "name a drive or an image file")
    if answer.size_bytes <= 0:
        raise MediumError(f"{name} is empty: zero bytes are no medium", "is the medium blank, or not yet recognised?")
    return Source(path, answer.kind, answer.size_bytes, answer.sector_bytes, answer.direct)


async def pieces_of(
    source: Source, wanted: Sequence[Range], limit_s: float, max_failures: int, enough: int | None = None
) -> tuple[tuple[Piece, ...], bool]:
    """The pieces in the order wanted; did all get an answer?

       Ends when `max_failures` of them failed, `enough` of them were read, or the time is over.
    Ranges are whole sectors. Read past the page cache, so that it is the medium that answers, not a memory of it.
    """
    lines = [f"read {start} {end - start} {int(source.direct)}\n" for start, end in wanted]
    found: list[Piece] = []
    failures = 0
    async with aclosing(_asked(source.path, "".join(lines), limit_s)) as answers:
        async for answer in answers:
            found.append(Piece(answer.offset, None if answer.error else answer.data))
            failures += bool(answer.error)
            if failures >= max_failures or len(found) - failures == enough:
                break
    return tuple(found), len(found) == len(wanted)


async def _asked(path: Path, commands: str, limit_s: float) -> AsyncGenerator[_Answer, None]:
    """The answers as they come; ends early, without error, when the time is over or the child dies."""
    reading, writing = os.pipe()
    try:
        argv = [sys.executable, "-I", "-S", _PEEK, os.fspath(path)]
        deadline = anyio.current_time() + limit_s
        async with proc.running(argv, stdin=reading, stdout=subprocess.PIPE, grace_s=_GRACE_S) as child:
            os.close(reading)
            reading = -1
            assert child.process.stdout is not None
            lines = BufferedByteReceiveStream(child.process.stdout)
            for command in commands.splitlines(keepends=True):
                line = b""
                with anyio.CancelScope(deadline=deadline), suppress(*_DIED):
                    os.write(writing, command.encode())
                    line = await lines.receive_until(b"\n", _ANSWER_LIMIT_BYTES)
                if not line:
                    return
                yield msgspec.json.decode(line, type=_Answer)
    finally:
        for fd in (reading, writing):
            if fd >= 0:
                os.close(fd)
