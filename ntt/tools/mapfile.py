"""ddrescue's mapfile <-> blocks: what was rescued, as ranges; maps merged, changed and written.

Format: GNU ddrescue manual, "Mapfile structure": comment lines with `#`, one status line (current
position, status, pass), then `position size status` per block. Numbers are decimal, 0x hex or 0 octal. What a comment
holds (the command line, with names in whatever encoding) is never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ntt.errors import UsageError
from ntt.ranges import Ranges, normalised

LARGEST_MEDIUM_BYTES = 1 << 62
_LONGEST_NUMBER = 64
STATUSES = "?*/-+"  # non-tried, non-trimmed, non-scraped, bad-sector, finished
PHASES = "?*/-FG+"  # copying, trimming, scraping, retrying, filling, generating, finished; newer ones may have more
_NUMBER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes `[start, start+size)` of the medium and their status, one of `STATUSES`."""

    start: int
    size: int
    status: str


@dataclass(frozen=True, slots=True)
class Mapfile:
    """Blocks in order, without gaps, at least one.

    `position`, `phase` (one of `PHASES`) and `pass_number`: where ddrescue was, and goes on when it resumes.
    """

    blocks: tuple[Block, ...]
    position: int = 0
    phase: str = "?"
    pass_number: int = 1

    @property
    def start(self) -> int:
        return self.blocks[0].start

    @property
    def end(self) -> int:
        return self.blocks[-1].start + self.blocks[-1].size

    @property
    def rescued(self) -> Ranges:
        return self.ranges("+")

    @property
    def unread(self) -> Ranges:
        """Whatever is not finished, and what lies before the first block."""
        before = ((0, self.start),) if self.start else ()
        return normalised((*before, *self.ranges("?*/-")))

    def ranges(self, statuses: str) -> Ranges:
        """The bytes whose status is one of `statuses`: "-" is bad, "?" never tried, "*/" failed but not yet settled."""
        return normalised((b.start, b.start + b.size) for b in self.blocks if b.status in statuses)


def mapfile_of(finished: Ranges, size_bytes: int, bad: Ranges = ()) -> Mapfile:
    """A map of `[0, size_bytes)`: what is neither finished nor bad is non-tried; finished wins where they overlap.

    What lies beyond `size_bytes` is left out. `ValueError` when there is nothing to map (`size_bytes` < 1).
    """
    return _painted((("+", finished), ("-", bad)), 0, size_bytes)


def with_status(mapfile: Mapfile, ranges: Ranges, status: str) -> Mapfile:
    """The same map with `ranges`, as far as it covers them, set to `status`; ddrescue begins again at its first pass.

    (A phase or position kept could lie behind what is now to be read; starting over reads nothing twice.)
    """
    return _painted(((status, ranges), *((s, mapfile.ranges(s)) for s in STATUSES)), mapfile.start, mapfile.end)


def best_of(left: Mapfile, right: Mapfile) -> Mapfile:
    """Two maps of one medium: what either read is read, else what was tried more counts: `-`, `/`, `*`, `?`.

    Covers what either covers. ddrescue begins again at its first pass.
    """
    layers = [(status, mapfile.ranges(status)) for status in reversed(STATUSES) for mapfile in (left, right)]
    return _painted(layers, min(left.start, right.start), max(left.end, right.end))


def _painted(layers: Sequence[tuple[str, Ranges]], start: int, end: int) -> Mapfile:
    """Every byte of `[start, end)` takes the status of the first layer that has it, else non-tried; one sweep."""
    if start >= end:
        raise ValueError("a map needs at least one byte")
    at, cursors = start, [0] * len(layers)
    edges: list[tuple[int, str]] = []
    while at < end:
        status, until = "?", end
        for n, (letter, ranges) in enumerate(layers):
            while cursors[n] < len(ranges) and ranges[cursors[n]][1] <= at:
                cursors[n] += 1
            if cursors[n] == len(ranges):
                continue
            low, high = ranges[cursors[n]]
            until = min(until, high if low <= at else low)
            if low <= at:
                status = letter
                break
        if not edges or edges[-1][1] != status:
            edges.append((at, status))
        at = until
    stops = [begin for begin, _ in edges[1:]] + [end]
    return Mapfile(
        tuple(Block(begin, stop - begin, status) for (begin, status), stop in zip(edges, stops, strict=True))
    )


def mapfile_text(mapfile: Mapfile, remark: str = "") -> str:
    """The map as ddrescue writes it (GNU ddrescue manual, "Mapfile structure"); `remark` becomes comment lines."""
    lines = ["# Mapfile. Written by NTT in the format of GNU ddrescue"]
    lines += [f"# {line}" for line in remark.splitlines()]
    lines.append("# current_pos  current_status  current_pass")
    lines.append(f"0x{mapfile.position:08X}     {mapfile.phase}               {mapfile.pass_number}")
    lines.append("#      pos        size  status")
    lines += [f"0x{b.start:08X}  0x{b.size:08X}  {b.status}" for b in mapfile.blocks]
    return "\n".join(lines) + "\n"


def domain_text(ranges: Ranges, size_bytes: int) -> str:
    """A map for `ddrescue -m`, which reads nothing but its finished blocks: these are `ranges`.

    ddrescue reads to the byte what it is told; let `ranges` begin and end on sectors.
    """
    return mapfile_text(mapfile_of(ranges, size_bytes), "Domain: what is to be read")


def parse_mapfile(text: str, name: str) -> Mapfile:
    """UsageError with the line number when it is no mapfile, or its blocks overlap or leave gaps.

    Bytes of a map may be decoded as Latin-1: what is not ASCII may only stand in comments.
    """
    blocks: list[Block] = []
    ends = "\n" if "\n" in text else "\r"  # what else ends a line in Unicode may be half a letter of a name
    lines = [(n, _fields(line.split("#", 1)[0])) for n, line in enumerate(text.split(ends), 1)]
    rows = [(n, fields) for n, fields in lines if fields]
    for n, fields in rows[1:]:
        block = _block(fields, n, name)
        if blocks and block.start != blocks[-1].start + blocks[-1].size:
            raise _wrong(name, n, "the block does not begin where the one before ends")
        blocks.append(block)
    position, phase, pass_number = _status_line(*(rows[0] if rows else (1, [])), name)
    if not blocks:
        raise _wrong(name, rows[0][0], "it has no blocks")
    return Mapfile(tuple(blocks), position, phase, pass_number)


def _fields(row: str) -> list[str]:
    return row.split() if row.isascii() else [row]


def _status_line(n: int, fields: list[str], name: str) -> tuple[int, str, int]:
    """Position, phase, pass; ddrescue before 1.22 wrote no pass."""
    missing = _wrong(name, n, "the status line is missing")
    if len(fields) not in (2, 3) or len(fields[1]) != 1 or fields[1].isdigit():
        raise missing
    try:
        position, pass_number = _number(fields[0]), _number(fields[2]) if len(fields) == 3 else 1
    except ValueError:
        raise missing from None
    if not 0 <= position <= LARGEST_MEDIUM_BYTES or pass_number < 0:
        raise _wrong(name, n, "position or pass is out of range")
    return position, fields[1], pass_number


def _block(fields: list[str], n: int, name: str) -> Block:
    if len(fields) != 3 or fields[2] not in tuple(STATUSES):
        raise _wrong(name, n, "expected `position size status`")
    try:
        start, size = _number(fields[0]), _number(fields[1])
    except ValueError:
        raise _wrong(name, n, "position or size is not a number") from None
    if start < 0 or size <= 0 or start + size > LARGEST_MEDIUM_BYTES:
        raise _wrong(name, n, "position or size is out of range")
    return Block(start, size, fields[2])


def _number(text: str) -> int:
    """As C writes it, nothing else that Python would take. ValueError when it is none."""
    if _NUMBER.fullmatch(text) is None or len(text) > _LONGEST_NUMBER:
        raise ValueError(text)
    digits = text.removeprefix("-")
    base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10
    number = int(digits, base)
    return number if digits is text else -number


def _wrong(name: str, line: int, what: str) -> UsageError:
    return UsageError(f"{name} is not a ddrescue mapfile: line {line}: {what}", "name the map that ddrescue wrote")
