"""A command -> its wall time and output; whatever happens, it and all it started have ended afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

GRACE_S = 20.0  # NTT finishes the files in hand first
DONE = frozenset({0})


class CommandFailed(Exception):
    """A command ended otherwise than it should; the text is what it said last."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How long a command took, from start to end, and what it printed."""

    seconds: float
    stdout: bytes


class Running:
    """A started command."""

    def __init__(self, argv: tuple[str, ...], process: subprocess.Popen[bytes], out: IO[bytes], err: IO[bytes]) -> None:
        self._argv = argv
        self._process = process
        self._out = out
        self._err = err
        self._started = time.monotonic()

    @property
    def pid(self) -> int:
        return self._process.pid

    def finish(self, statuses: frozenset[int] = DONE) -> Finished:
        """Waits for its end. CommandFailed when its exit status is not one of `statuses`."""
        status = self._process.wait()
        seconds = time.monotonic() - self._started
        self._out.seek(0)
        self._err.seek(0)
        if status not in statuses:
            words = self._err.read().decode(errors="replace").strip().splitlines()[-5:]
            raise CommandFailed(f"{' '.join(self._argv)}: status {status}: " + " | ".join(words))
        return Finished(seconds, self._out.read())

    def stop(self) -> None:
        """SIGTERM to its session, a grace period, SIGKILL; nothing when it has ended."""
        if self._process.poll() is not None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_S)
                return


@contextmanager
def started(
    *argv: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None, stdin: IO[bytes] | None = None
) -> Iterator[Running]:
    """Starts a command in a session of its own; `env` comes on top of the environment."""
    words = tuple(str(part) for part in argv)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=out,
            stderr=err,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        running = Running(words, process, out, err)
        try:
            yield running
        finally:
            running.stop()


def run(
    *argv: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    statuses: frozenset[int] = DONE,
) -> Finished:
    """A command from start to end. CommandFailed when its exit status is not one of `statuses`."""
    with started(*argv, env=env, cwd=cwd) as running:
        return running.finish(statuses)


def shell(script: str, cwd: Path) -> Finished:
    """A bash pipeline in a folder, each part of which has to succeed."""
    return run("bash", "-c", f"set -euo pipefail; {script}", cwd=cwd)
