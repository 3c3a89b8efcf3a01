"""An audio track in a drive -> a WAV file of it, durable, or why there is none; by cdparanoia."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread

from ntt import proc
from ntt.drives import Drive, Track
from ntt.names import printable
from ntt.tools.cdparanoia import SECTOR_BYTES, WAV_HEADER_BYTES, Progress, ProgressLines, rip_argv

_GRACE_S = 5.0
_STEP = "clean the disc, or try another drive"


@dataclass(frozen=True, slots=True)
class RipLimits:
    """`track_s`: for one track in all. `stall_s`: without a sector written."""

    track_s: float = 3600.0
    stall_s: float = 300.0


_LIMITS = RipLimits()


@dataclass(frozen=True, slots=True)
class RipProgress:
    """Sectors of 2,352 bytes of this track."""

    track: Track
    done: int
    skipped: int


@dataclass(frozen=True, slots=True)
class Rip:
    """What became of a track. `path` None: there is no file, and `problem` says why.

    `skipped`: sectors of the track, counted from its start, in which something could not be read: they hold silence or
    a guess, and `problem` says so. `problem` is empty only when all was read. `next_step` may be empty.
    """

    track: Track
    path: Path | None
    size_bytes: int = 0
    skipped: tuple[int, ...] = ()
    corrections: int = 0
    problem: str = ""
    next_step: str = ""


async def rip(
    drive: Drive, track: Track, target: Path, show: Callable[[RipProgress], None], limits: RipLimits = _LIMITS
) -> Rip:
    """Reads one audio track into `target`, which is there only when it is whole and durable; an older one is replaced.

    What goes wrong is a value, for the next track may be good. Cancelled, it leaves no file.
    """
    part = target.with_name(target.name + ".part")
    lines = ProgressLines()
    try:
        try:
            ended = await _run(drive, track, part, show, limits, lines)
        except proc.ProgramMissing:
            return Rip(track, None, problem="cdparanoia is not installed", next_step="`apt install cdparanoia`")
        now = lines.feed(b"")
        if ended:
            return Rip(track, None, problem=f"track {track.number}: {ended}", next_step=_STEP)
        return await anyio.to_thread.run_sync(partial(_kept, track, part, target, now, lines.last_words))
    finally:
        part.unlink(missing_ok=True)


async def _run(
    drive: Drive,
    track: Track,
    part: Path,
    show: Callable[[RipProgress], None],
    limits: RipLimits,
    lines: ProgressLines,
) -> str:
    """Why it was ended before its time, or failed; empty when cdparanoia ended well."""
    argv = rip_argv(drive.node, track.number, part)
    async with proc.running(argv, stderr=subprocess.PIPE, grace_s=_GRACE_S) as child:
        output = child.process.stderr
        assert output is not None
        if late := await _followed(output, track, show, limits, lines):
            child.signal_session(signal.SIGTERM)
            with anyio.move_on_after(_GRACE_S):
                async for _ in output:  # to its end, so that the pipe is closed
                    pass
            return late
        status = await child.wait()
        return (printable(lines.last_words) or f"cdparanoia ended with status {status}") if status else ""


async def _followed(
    output: anyio.abc.ByteReceiveStream,
    track: Track,
    show: Callable[[RipProgress], None],
    limits: RipLimits,
    lines: ProgressLines,
) -> str:
    """To the end of the output, empty; or which limit was reached: a drive can talk for ever and write nothing."""
    done = -1
    until_s = anyio.current_time() + limits.track_s
    with anyio.CancelScope(deadline=min(until_s, anyio.current_time() + limits.stall_s)) as scope:
        async for chunk in output:
            now = lines.feed(chunk)
            sectors = min(max(now.sector - track.start, 0), track.sectors)
            if sectors > done:
                done = sectors
                scope.deadline = min(until_s, anyio.current_time() + limits.stall_s)
                show(RipProgress(track, done, len(now.skips)))
    if not scope.cancelled_caught:
        return ""
    if anyio.current_time() >= until_s:
        return f"not done after {limits.track_s:.0f} s"
    return f"nothing was read for {limits.stall_s:.0f} s"


def _kept(track: Track, part: Path, target: Path, now: Progress, last_words: str) -> Rip:
    """Its exit status proves nothing: the size does."""
    try:
        size_bytes = part.stat().st_size
        expected = WAV_HEADER_BYTES + track.sectors * SECTOR_BYTES
        if size_bytes != expected:
            short = (
                f"track {track.number}: {size_bytes:,} bytes were written, {expected:,} are in the table of contents"
            )
            return Rip(track, None, problem=f"{short} ({printable(last_words)})", next_step=_STEP)
        _sync(part)
        part.replace(target)
        _sync(target.parent)
    except OSError as error:
        problem = f"track {track.number} cannot be written to {printable(str(target))}: {error.strerror}"
        return Rip(track, None, problem=problem, next_step="make room there, or look after the disk")
    skipped = tuple(sorted({min(max(place - track.start, 0), max(track.sectors - 1, 0)) for place in now.skips}))
    problem = f"track {track.number}: {len(skipped)} of {track.sectors} sectors could not be read" if skipped else ""
    return Rip(track, target, size_bytes, skipped, now.corrections, problem, _STEP if skipped else "")


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
