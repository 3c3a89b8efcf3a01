"""What every partition table comes to: partitions in its order, and what is to be said about it."""

from __future__ import annotations

from dataclasses import dataclass

from ntt.ranges import Ranges

LOST_TABLE = "lies on unread sectors: partitions may be missing"
BEYOND_END = "lies beyond the end of the image: partitions may be missing"


@dataclass(frozen=True, slots=True)
class Partition:
    """One entry of a table; bytes in the image, `kind` as its type reads for people.

    `is_doubtful`: only a second table names it, or one beside a file system: it counts if something is in it.
    """

    offset_bytes: int
    size_bytes: int
    kind: str
    is_doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Partitions in the order of the table, empty entries left out, and remarks about the table itself.

    `is_partial`: a part of it was not read, so that there may be others, of which only their signatures tell.
    `lost`: where that part lies in the image, or would if the image went on.
    """

    scheme: str
    partitions: tuple[Partition, ...]
    remarks: tuple[str, ...]
    is_partial: bool = False
    lost: Ranges = ()
