"""The truth about an image, as tools other than NTT tell it: what is stored where, and what must be read to find it.

A `Record` is what must be known of a thing before it can be read: an inode, the entries of a FAT, a map of blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ntt.ranges import Range, Ranges, intersection, within

Record = tuple[Range, ...]  # copies of the same bytes, of equal length: lost is what no copy has


@dataclass(frozen=True, slots=True)
class Piece:
    """Where `length` bytes of a file lie. `image_length` other than 0: as a unit, damaged as a whole (compressed)."""

    file_offset: int
    length: int
    image_offset: int
    image_length: int = 0

    @property
    def place(self) -> Range:
        return self.image_offset, self.image_offset + (self.image_length or self.length)


@dataclass(frozen=True, slots=True)
class TrueFile:
    """`pieces`: what is stored of it, holes left out. `records`: all that says how large it is and where it lies.

    `entry`: the bytes that must be whole for its name to be found in its directory: while they are, it must be listed.
    (): all of the directory's, and its records.
    """

    content: bytes
    pieces: tuple[Piece, ...]
    records: tuple[Record, ...]
    entry: Ranges = ()


@dataclass(frozen=True, slots=True)
class TrueDirectory:
    """`names`: the bytes of its list of names; `records` and `entry` as of a file; the root's path is empty."""

    names: Ranges
    records: tuple[Record, ...]
    entry: Ranges = ()


@dataclass(frozen=True, slots=True)
class TrueLink:
    """A symbolic link; `stored` are the bytes of its target where those do not lie in its record."""

    target: bytes
    stored: Ranges
    records: tuple[Record, ...]
    entry: Ranges = ()


@dataclass(frozen=True, slots=True)
class Truth:
    """One file system of an image. All ranges are bytes of the image.

    `used`, `free`: what of the volume is in use, and is not; None where the file system keeps no account.
    `account`: where it keeps that account. `structures`: without them nothing can be read at all.
    `spare`: structures that nobody misses while the others can be read. `table`: the partition table.
    `doubtful`: more bytes that may rightly be told as lost structures, beside those of `records` and `names`.
    """

    size_bytes: int
    sector_bytes: int
    files: dict[bytes, TrueFile]
    directories: dict[bytes, TrueDirectory]
    used: Ranges | None
    free: Ranges
    account: tuple[Record, ...] = ()
    structures: tuple[Record, ...] = ()
    spare: Ranges = ()
    table: Ranges = ()
    doubtful: Ranges = ()
    links: dict[bytes, TrueLink] = field(default_factory=dict)

    def named(self) -> dict[bytes, TrueFile | TrueDirectory | TrueLink]:
        """All by path."""
        return {**self.files, **self.directories, **self.links}


def lost_of(record: Record, bad: Ranges) -> Ranges:
    """What of a record no copy has, as bytes of its first copy."""
    first, end = record[0]
    lost: Ranges = ((0, end - first),)
    for start, behind in record:
        lost = intersection(lost, tuple((low - start, high - start) for low, high in within(bad, start, behind)))
    return tuple((low + first, high + first) for low, high in lost)
