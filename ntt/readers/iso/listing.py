"""What a walk remembers of a directory: before it is listed, and while it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from ntt.model import Entry
from ntt.ranges import Ranges
from ntt.readers.iso.records import DirectoryRecord


@dataclass(slots=True)
class Listing:
    """How far a directory is listed: `group` are the records of a multi-extent file, as far as they have been met.

    `gap`: what of the sector before was not read. `broken`: the first record of a file that broke off there.
    """

    group: list[DirectoryRecord] = field(default_factory=list)
    gap: Ranges = ()
    broken: DirectoryRecord | None = None


@dataclass(slots=True)
class Directory:
    """A directory that is to be listed, or being listed. Its entry is not given out while it is `hidden_in` another."""

    start: int  # position
    entry: Entry
    hidden_in: Directory | None = None
    names: set[bytes] = field(default_factory=set)  # only while it is listed
    remarks: int = 0

    @property
    def ino(self) -> int:
        return self.entry.ino


def is_own_record(sector: bytes, block: int) -> bool:
    """Whether a directory begins in this sector."""
    return sector[32:34] == b"\x01\x00" and int.from_bytes(sector[2:6], "little") == block
