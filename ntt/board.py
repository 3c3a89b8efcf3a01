"""What the live view shows, as the watch keeps it: words only; the watch writes, the screen reads, nobody waits."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from ntt.drives import Drive
from ntt.model import Stage
from ntt.progress import Work


class Phase(enum.StrEnum):
    """Where a drive is with its medium."""

    EMPTY = "empty"
    LOOKING = "looking at it"
    ASKING = "label?"
    WAITING = "waiting"  # for space, or for its turn
    READING = "reading"
    WORKING = "working"  # the medium is still in; what is done does not read it
    PAUSED = "paused"
    EJECTING = "ejecting"
    DONE = "done"  # still in: no ejecting was asked for
    PARKED = "parked"  # failed: it stays in, and is not tried again by itself
    REFUSED = "not touched"


class Verdict(enum.StrEnum):
    """What became of a medium."""

    COMPLETE = "complete"
    PROBLEMS = "problems"
    KNOWN = "known"
    FAILED = "failed"


@dataclass(slots=True)
class StageLine:
    """A stage of a medium that runs now; `marks`: (seconds, bytes, files) of the last seconds, for rates."""

    stage: Stage
    started_s: float
    work: Work = field(default_factory=Work)
    marks: list[tuple[float, int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Panel:
    """One drive. Texts are printable. `surface`: state per equal part of the medium, in order: 0 not tried, 1 read,
    2 bad; empty while nothing is known."""

    drive: Drive
    phase: Phase = Phase.EMPTY
    medium: str = ""
    label: str = ""
    message: str = ""
    stage: StageLine | None = None
    bad_bytes: int = 0
    surface: bytes = b""


@dataclass(slots=True)
class Queued:
    """A medium whose source is not needed any more, with what is still done for it; `stage` None: it waits."""

    medium: str
    stage: StageLine | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """A medium that this run has ended with. `at_s`: seconds from 1970 UTC; `seconds` from insertion to the end."""

    sequence: int
    medium: str
    medium_hash: str
    verdict: Verdict
    summary: str
    at_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Room:
    """Free space of a folder, what the next medium may need there, and whether that is enough."""

    what: str
    free_bytes: int
    needed_bytes: int

    @property
    def enough(self) -> bool:
        return self.free_bytes >= self.needed_bytes


@dataclass(slots=True)
class Board:
    """Everything at once. `finished` holds the last ones, newest last; `notes` (text, is a problem) too."""

    session: str = ""
    box: str = ""
    panels: dict[str, Panel] = field(default_factory=dict)  # by the drive's key, in the order they came
    queue: list[Queued] = field(default_factory=list)
    finished: list[Finished] = field(default_factory=list)
    rooms: tuple[Room, ...] = ()
    database: str = ""  # "embedded, 0.4 ms", "gives no answer since 12 s"
    notes: list[tuple[str, bool]] = field(default_factory=list)
    stopping: bool = False
    done: int = 0  # media of this session
    problems: int = 0


class Wish(enum.StrEnum):
    """What the operator asks for at the keyboard."""

    PAUSE = "pause"  # or go on
    ENOUGH = "enough"  # stop the pass, go on with what was read
    EJECT = "eject"
    LABEL = "label"  # comes with a text
    QUIT = "quit"  # the first time: finish what is in hand; the second time: at once


@dataclass(frozen=True, slots=True)
class Command:
    """A wish about one drive (its key), or about all of it (""). `text`: the label."""

    wish: Wish
    drive: str = ""
    text: str = ""
