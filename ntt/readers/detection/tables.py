"""What every partition table comes to: partitions in its order, and what is to be said about it."""

from __future__ import annotations

from dataclasses import dataclass


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
    """Partitions in the order of the table, empty entries left out, and remarks about the table itself."""

    scheme: str
    partitions: tuple[Partition, ...]
    remarks: tuple[str, ...]
