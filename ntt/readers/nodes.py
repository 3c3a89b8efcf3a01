"""What each kind of file system tells the walk: its directories' children, and where contents lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from ntt.model import Extent, Structure, VolumeFacts, WalkProblem
from ntt.ranges import Range


class Node(NamedTuple):
    """What an inode says of itself; units and meanings are those of `ntt.model.Entry`."""

    mode: int
    size: int
    mtime_s: int
    mtime_ns: int
    uid: int
    gid: int
    link_target: bytes
    first_byte: int
    attributes: tuple[tuple[str, bytes], ...] = ()


class Child(NamedTuple):
    """One live name of a directory."""

    name: bytes
    ino: int
    node: Node


class Content(NamedTuple):
    """A regular file's bytes: from `valid_bytes` on they are zeros; `refusal` says why they must not be read."""

    size: int
    valid_bytes: int
    refusal: str


class Tree(Protocol):
    """One opened file system as directories and contents. Every method may raise ReadError for the thing in hand."""

    fstype: str
    label: str
    root_ino: int

    def root(self) -> Node: ...

    def children(self, ino: int) -> Iterator[Child | WalkProblem]:
        """Live names without `.` and `..`, in the order of the directory."""
        ...

    def content(self, ino: int) -> Content: ...

    def read(self, ino: int, offset: int, length: int) -> bytes:
        """Exactly `length` bytes, all of them inside `valid_bytes`."""
        ...

    def extents(self, ino: int) -> Sequence[Extent]:
        """Of a file's content, or of a directory's list of names."""
        ...

    def facts(self) -> VolumeFacts: ...

    def structures(self) -> Iterator[Structure]:
        """As `VolumeReader.structures`, without the lists of names of the directories: those are told by `extents`."""
        ...

    def used(self) -> Iterator[Range] | None:
        """As `VolumeReader.used`."""
        ...

    def close(self) -> None: ...
