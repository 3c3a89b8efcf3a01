"""The only door to other programs: argv in, supervised child out, never a shell, never left behind.

anyio sends SIGKILL when a task with a child is cancelled, and ddrescue then loses its map. Here a child
is asked first (SIGTERM), given a grace period, and only then killed; its whole session is meant.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
import anyio.abc

from ntt.errors import NttError

OUTPUT_LIMIT_BYTES = 1 << 20  # of a captured stream; what comes after is read and dropped


class ProgramMissing(NttError):
    """The program is not installed."""

    def __init__(self, program: str) -> None:
        super().__init__(f"{program} is not installed", "`ntt doctor` says which package has it")


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended: exit status (negative: the signal that ended it), output cut at 1 MiB each."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes

    @property
    def complaint(self) -> str:
        """The last line it wrote to standard error, or its exit status: for an error message."""
        lines = self.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"{self.argv[0]} ended with status {self.status}"


@dataclass(frozen=True, slots=True)
class Child:
    """A running program. Its streams are None where they were not asked for as pipes."""

    argv: tuple[str, ...]
    process: anyio.abc.Process

    @property
    def pid(self) -> int:
        return self.process.pid

    async def wait(self) -> int:
        """Its exit status, once it ended."""
        return await self.process.wait()

    def signal_session(self, number: signal.Signals) -> None:
        """To the child and all it started; nothing happens when they are gone already."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return


def _bound(argv: Sequence[str]) -> list[str]:
    """The same program, killed by the kernel when NTT itself dies, and never with more rights than NTT."""
    for program in (argv[0], "setpriv"):
        if shutil.which(program) is None:
            raise ProgramMissing(program)
    return ["setpriv", "--pdeathsig", "KILL", "--no-new-privs", "--", *argv]


@asynccontextmanager
async def running(
    argv: Sequence[str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    pass_fds: Sequence[int] = (),
    bound: bool = True,
    grace_s: float = 5.0,
) -> AsyncIterator[Child]:
    """Starts `argv` in a session of its own; on leaving, by whatever way, it has ended.

    Left without error: waits for nothing, a child still running is stopped. Cancelled or failed: SIGTERM
    to the session, `grace_s` seconds, SIGKILL. A `bound` child dies with NTT even when NTT is killed.
    `ProgramMissing` when there is no such program.
    """
    try:
        process = await anyio.open_process(
            _bound(argv) if bound else list(argv),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=cwd,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
    except FileNotFoundError:
        raise ProgramMissing(argv[0]) from None
    except OSError as error:
        raise NttError(f"{argv[0]} cannot be started: {error.strerror}", "are there too many processes?") from error
    child = Child(tuple(argv), process)
    try:
        yield child
    finally:
        await _stop(child, grace_s)


async def _stop(child: Child, grace_s: float) -> None:
    with anyio.CancelScope(shield=True):
        if child.process.returncode is None:
            child.signal_session(signal.SIGTERM)
            with anyio.move_on_after(grace_s):
                await child.wait()
        if child.process.returncode is None:
            child.signal_session(signal.SIGKILL)
            # a child in an uninterruptible system call does not even end then: it is left, not waited for
            with anyio.move_on_after(grace_s):
                await child.wait()
        # asyncio lets go of a pipe at its end only: what was written and not read lies before that
        with anyio.move_on_after(grace_s), suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            for output in (child.process.stdout, child.process.stderr):
                if output is not None:
                    async for _ in output:
                        pass
        for stream in (child.process.stdin, child.process.stdout, child.process.stderr):
            if stream is not None:
                await stream.aclose()


async def _collect(stream: anyio.abc.ByteReceiveStream | None, into: bytearray) -> None:
    if stream is None:
        return
    async for chunk in stream:
        into += chunk[: max(0, OUTPUT_LIMIT_BYTES - len(into))]


async def run(
    argv: Sequence[str],
    *,
    timeout_s: float | None = None,
    input_bytes: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    pass_fds: Sequence[int] = (),
    bound: bool = True,
    grace_s: float = 5.0,
) -> Finished:
    """Runs a program to its end and returns what it said. `TimeoutError` after `timeout_s`, child stopped."""
    out, complaints = bytearray(), bytearray()
    with anyio.fail_after(timeout_s):
        async with running(
            argv,
            stdin=subprocess.DEVNULL if input_bytes is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd=cwd,
            pass_fds=pass_fds,
            bound=bound,
            grace_s=grace_s,
        ) as child:
            async with anyio.create_task_group() as readers:
                readers.start_soon(_collect, child.process.stdout, out)
                readers.start_soon(_collect, child.process.stderr, complaints)
                if input_bytes is not None and child.process.stdin is not None:
                    with suppress(anyio.BrokenResourceError):  # a program need not read all that it is given
                        await child.process.stdin.send(input_bytes)
                    await child.process.stdin.aclose()
            status = await child.wait()
    return Finished(tuple(argv), status, bytes(out), bytes(complaints))
