"""What a test wants to go wrong, and at which step: the words between a test and the processes it strikes."""

from __future__ import annotations

from pathlib import Path

import msgspec

ENVIRONMENT = "NTT_TEST_FAULTS"
INJECTION = Path(__file__).parent / "injection"


class KillNtt(msgspec.Struct, frozen=True, tag=True):
    """SIGKILL to the main process of the run; the kernel's parent-death signal does the rest."""


class Die(msgspec.Struct, frozen=True, tag=True):
    """SIGKILL to the process that comes to the step."""


class Hang(msgspec.Struct, frozen=True, tag=True):
    """The process that comes to the step goes no further."""


class Send(msgspec.Struct, frozen=True, tag=True):
    """A signal to the main process; then the step goes on, or `hang`s."""

    signal: int
    hang: bool = False


class Spin(msgspec.Struct, frozen=True, tag=True):
    """The process computes and gets nowhere."""


class Swell(msgspec.Struct, frozen=True, tag=True):
    """The process takes memory until there is none."""


class Do(msgspec.Struct, frozen=True, tag=True):
    """The process evaluates Python; what that is, or the error, goes to the end of the file `answers`.

    It has all modules that are loaded; `tried(call, ...)`, which returns errors; `pack()` and `root()`, descriptors.
    """

    code: str


class Run(msgspec.Struct, frozen=True, tag=True):
    """A program, run to its end while the process that came to the step waits for it."""

    argv: tuple[str, ...]


Action = KillNtt | Die | Hang | Spin | Swell | Do | Send | Run


class Strike(msgspec.Struct, frozen=True):
    """`nth` counts the steps of this kind over all processes of the run, from 1; 0 means each of them.

    `phase` is before, during (a statement that was sent) or after. For kinds that begin with "bytes",
    `nth` is a number of bytes: exactly so many are written or read, then it strikes.
    """

    kind: str
    action: Action
    nth: int = 1
    phase: str = "before"

    def __str__(self) -> str:
        return f"{type(self.action).__name__} {self.phase} {self.kind} no. {self.nth:,}"


class Plan(msgspec.Struct, frozen=True):
    """`folder` holds the counters and the list of steps; `image` is told apart from other files by its path."""

    folder: str
    strikes: tuple[Strike, ...] = ()


class Step(msgspec.Struct, frozen=True):
    """A line of the list of steps."""

    kind: str
    phase: str


def steps_of(folder: Path) -> list[Step]:
    """The steps of a run in their order."""
    lines = (folder / "steps").read_text().splitlines()
    return [Step(*line.split("\t")) for line in lines]


def answers_of(folder: Path) -> list[str]:
    """What the `Do` of a run came to, in their order."""
    path = folder / "answers"
    return path.read_text().splitlines() if path.exists() else []


def bytes_of(folder: Path, kind: str) -> int:
    """How many bytes a run has counted under this kind."""
    return int((folder / kind).read_text() or "0")
