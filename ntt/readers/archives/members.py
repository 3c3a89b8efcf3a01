"""The words of archives: what one member is, and what each way of reading an archive provides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from ntt.model import Extent

UNKNOWN = -1


class Member(NamedTuple):
    """One header of an archive; units and meanings are those of `ntt.model.Entry`.

    `ordinal` counts headers from 0. `path` is as it stands in the archive. `size` may be UNKNOWN until its content
    was read through. `hard_link` is the path of an earlier member that it is a further name of, empty if none.
    `refusal` says why its content cannot be read.
    """

    ordinal: int
    path: bytes
    mode: int
    size: int
    mtime_s: int
    mtime_ns: int
    uid: int
    gid: int
    link_target: bytes
    hard_link: bytes
    first_byte: int
    refusal: str = ""


class Remark(NamedTuple):
    """What a pass over the headers met and went on from."""

    text: str


class Members(Protocol):
    """An opened archive."""

    @property
    def format_name(self) -> str: ...

    def members(self) -> Iterator[Member | Remark]:
        """A pass over all headers, in the archive's order. ReadError where it cannot go on."""
        ...

    def measure(self, ordinal: int) -> tuple[int, str]:
        """Size of a member by reading it through, and what ended that early. For the member listed last only."""
        ...

    def read(self, ordinal: int, offset: int, length: int) -> bytes:
        """Content, cut at the member's end. ReadError if it does not hold what its header says."""
        ...

    def extents(self, ordinal: int) -> Sequence[Extent]: ...

    def close(self) -> None: ...
