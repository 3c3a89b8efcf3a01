"""`ntt ingest` in a process of its own, with the faults of a plan; what it said, and what it left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from time import monotonic

import msgspec
from fault_plan import ENVIRONMENT, INJECTION, Plan, Strike

PROJECT = Path(__file__).resolve().parents[2]
# N FOLDER... hides each folder, M FOLDER... shows each of these in it again; the rest is the command
OPEN_UP = """set -e
n=$1; shift; hidden=""
while [ "$n" -gt 0 ]; do hidden="$hidden $1"; shift; n=$((n - 1)); done
n=$1; shift; stage=$(mktemp -d); i=0
mount -t tmpfs stage "$stage"
while [ "$i" -lt "$n" ]; do
    mkdir "$stage/$i"; mount --bind "$1" "$stage/$i"; echo "$1" >"$stage/$i.path"; shift; i=$((i + 1))
done
for folder in $hidden; do mount -t tmpfs -o mode=755 hidden "$folder"; done
while [ "$i" -gt 0 ]; do
    i=$((i - 1)); path=$(cat "$stage/$i.path"); mkdir -p "$path"; mount --bind "$stage/$i" "$path"
done
umount -l "$stage"; rmdir "$stage"
exec "$@"
"""
RUN_LIMIT_S = 60
WAIT_LIMIT_S = 20
MARK = "NTT_TEST_HOME"  # in the environment of all processes of a run, to find those it left


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that ended; `status` is negative when a signal ended it."""

    pid: int
    status: int
    stdout: str
    stderr: str
    counters: Path

    @property
    def complaints(self) -> list[str]:
        return [line.removeprefix("ntt: ") for line in self.stderr.splitlines() if line.startswith("ntt: ")]

    def failed_in_one_line(self, status: int = 3) -> str:
        """The one line that says why it ended so; nothing else than it and the progress was said."""
        assert self.status == status, f"exit {self.status}: {self.stderr}"
        assert "Traceback" not in self.stderr, self.stderr
        lines = [line for line in self.complaints if not line.startswith("finishing the files")]
        assert len(lines) == 1, self.stderr
        return lines[0]


@dataclass(frozen=True, slots=True)
class Machine:
    """Where NTT keeps what it has; `database_url` None: the home's own server. `settings` become NTT_* variables.

    `user`: who runs it, if not who runs the test; the folder of the home is then theirs.
    """

    home: Path
    database_url: str | None = None
    settings: dict[str, str] = field(default_factory=dict)
    user: int | None = None

    @property
    def store(self) -> Path:
        return Path(self.settings.get("NTT_STORE", self.home / "store"))

    @property
    def archives(self) -> Path:
        return Path(self.settings.get("NTT_ARCHIVES", self.home / "archives"))

    def ingest(
        self, image: Path, *strikes: Strike, map_path: Path | None = None, options: tuple[str, ...] = ()
    ) -> Ended:
        """Runs to its end, or fails the test."""
        with self.started(image, *strikes, map_path=map_path, options=options) as run:
            return run.ended()

    @contextmanager
    def started(
        self, image: Path, *strikes: Strike, map_path: Path | None = None, options: tuple[str, ...] = ()
    ) -> Iterator[Running]:
        """A run that goes on beside the test; killed in the end if it still does."""
        counters = self._laid_out(strikes)
        if self.user is not None:
            for folder in (counters, counters.parent):
                os.chown(folder, self.user, self.user)
        with (counters / "stdout").open("wb") as out, (counters / "stderr").open("wb") as err:
            process = subprocess.Popen(
                self.command(image, map_path, options),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**self.environment(), **_injected(counters / "plan.json")},
            )
            try:
                yield Running(process, counters)
            finally:
                process.kill()
                process.wait(WAIT_LIMIT_S)

    def command(self, image: Path, map_path: Path | None = None, options: tuple[str, ...] = ()) -> list[str]:
        argv = [sys.executable, "-m", "ntt", "ingest", str(image), "--home", str(self.home), "--json", *options]
        argv += ["--map", str(map_path)] if map_path else []
        argv += ["--database", self.database_url] if self.database_url else []
        return argv if self.user is None else [*_as_user(self.user), *argv]

    def environment(self) -> dict[str, str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("NTT_")}
        return {**clean, "NTT_WORKERS": "2", **self.settings, MARK: str(self.home)}

    def _laid_out(self, strikes: tuple[Strike, ...]) -> Path:
        number = 1
        while (counters := self.home.with_name(f"{self.home.name}.run{number}")).exists():
            number += 1
        counters.mkdir(parents=True)
        (counters / "plan.json").write_bytes(msgspec.json.encode(Plan(str(counters), strikes)))
        return counters

    def processes(self) -> list[str]:
        """What still runs of any run in this home, its database server too."""
        return [f"{pid} {' '.join(words)}" for pid, words in _processes() if self._is_ours(pid, words)]

    def _is_ours(self, pid: int, words: list[str]) -> bool:
        folder = Path("/proc") / str(pid)
        try:
            marked = f"{MARK}={self.home}".encode() in (folder / "environ").read_bytes().split(b"\0")
            inside = (folder / "cwd").readlink().is_relative_to(self.home)
        except OSError:
            return False
        return marked or inside or any(str(self.home) in word for word in words)


@dataclass(frozen=True, slots=True)
class Running:
    """A run that has been started."""

    process: subprocess.Popen[bytes]
    counters: Path

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait_for_line(self, text: str) -> None:
        """Until it has said this on standard error."""
        until(lambda: text in (self.counters / "stderr").read_text(errors="replace"), f"{text!r} is said")

    def ended(self) -> Ended:
        status = self.process.wait(RUN_LIMIT_S)
        out, err = ((self.counters / name).read_text(errors="replace") for name in ("stdout", "stderr"))
        return Ended(self.process.pid, status, out, err, self.counters)


def _as_user(user: int) -> list[str]:
    """For the front of a command. The program and its interpreter may lie in a home that others cannot enter:
    in a mount namespace of the command's own, they can."""
    needed = dict.fromkeys(str(path) for path in (PROJECT, Path(sys.base_prefix)))
    closed = dict.fromkeys(folder for path in needed if (folder := _closed_to_others(Path(path))))
    return [
        *("unshare", "--mount", "sh", "-c", OPEN_UP, "sh", str(len(closed)), *closed, str(len(needed)), *needed),
        *("setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", "--"),
    ]


def _closed_to_others(path: Path) -> str:
    """The first folder on the way to it that others cannot enter, or nothing."""
    return next((str(folder) for folder in (*reversed(path.parents), path) if not folder.stat().st_mode & 0o001), "")


def _injected(plan: Path) -> dict[str, str]:
    path = [str(INJECTION), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {ENVIRONMENT: str(plan), "PYTHONPATH": os.pathsep.join(path)}


def _processes() -> Iterator[tuple[int, list[str]]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if words != [""]:  # a zombie or a thread of the kernel has none
            yield int(folder.name), words


def until(condition: Callable[[], bool], what: str) -> None:
    """Asks every 10 ms, for what no event tells; the test fails when it does not come."""
    deadline = monotonic() + WAIT_LIMIT_S
    while not condition():
        assert monotonic() < deadline, f"waited {WAIT_LIMIT_S} s in vain until {what}"
        Event().wait(0.01)
