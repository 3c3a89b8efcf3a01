"""What NTT and its mount helper say to each other: one JSON document per message, a descriptor beside an answer."""

from __future__ import annotations

import enum

import msgspec

from ntt.model import Route, TreeKind

MESSAGE_LIMIT_BYTES = 128 << 10  # below what a socket takes in one piece


class Namespaces(enum.StrEnum):
    """What the helper may have for itself. `user`: mounts as root of a user namespace, of FUSE only."""

    NONE = "none"
    USER = "user"
    MOUNT = "mount"


class Through(enum.StrEnum):
    """What is handed to a driver: the volume as a loop device, or a file (the image, or a copy of the volume)."""

    LOOP = "loop"
    FILE = "file"


class Attempt(msgspec.Struct, frozen=True):
    """One way to reach a volume's files.

    `name`: the kernel's file system type, or the program. `options`: of mount(2). `argv`: the program's, in which
    an element `{source}` or `{target}` stands for a path. `copied`: a private copy of the volume is made first,
    filled up with zeros where the image ends too early. `limit_s` bounds all of it.
    """

    route: Route
    name: str
    through: Through
    limit_s: float
    options: str = ""
    argv: tuple[str, ...] = ()
    copied: bool = False
    kind: TreeKind = TreeKind()
    remarks: tuple[str, ...] = ()

    @property
    def how(self) -> str:
        """For people: `kernel xfs (ro,norecovery,nouuid)`."""
        options = ",".join(filter(None, ("ro", self.options)))
        shown = f"{self.route.value} {self.name}" if self.route is not Route.SEVENZIP else self.name
        return f"{shown} ({options})" if self.route is Route.KERNEL else shown


class Task(msgspec.Struct, frozen=True):
    """A volume to be mounted: the attempts are made in order until one goes well. `volume` is its index."""

    volume: int
    offset_bytes: int
    size_bytes: int
    attempts: tuple[Attempt, ...]


class Outcome(msgspec.Struct, frozen=True):
    """How one attempt ended: `refusal` is empty when the files can be reached."""

    refusal: str = ""
    remarks: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """`attempt`: position of the one that went well, its root directory comes along; None when there is none.

    `refusals` belong to the attempts before it. `stuck`: processes that the kernel does not let end.
    """

    volume: int
    attempt: int | None
    refusals: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    stuck: int = 0
