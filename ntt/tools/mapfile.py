"""ddrescue's mapfile <-> blocks; what was not rescued, as ranges.

Format: GNU ddrescue manual, "Mapfile structure": comment lines with `#`, one status line (current
position, status, pass), then `position size status` per block. Numbers are decimal, 0x hex or 0 octal.
"""

from __future__ import annotations

from dataclasses import dataclass

from ntt.errors import UsageError
from ntt.ranges import Ranges, normalised

LARGEST_MEDIUM_BYTES = 1 << 62
STATUSES = "?*/-+"  # non-tried, non-trimmed, non-scraped, bad-sector, finished


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes `[start, start+size)` of the medium and their status, one of `STATUSES`."""

    start: int
    size: int
    status: str


@dataclass(frozen=True, slots=True)
class Mapfile:
    """Blocks in order, without gaps."""

    blocks: tuple[Block, ...]

    @property
    def start(self) -> int:
        return self.blocks[0].start

    @property
    def end(self) -> int:
        return self.blocks[-1].start + self.blocks[-1].size

    @property
    def rescued(self) -> Ranges:
        return normalised((b.start, b.start + b.size) for b in self.blocks if b.status == "+")

    @property
    def unread(self) -> Ranges:
        """Whatever is not finished, and what lies before the first block."""
        before = ((0, self.start),) if self.start else ()
        return normalised((*before, *((b.start, b.start + b.size) for b in self.blocks if b.status != "+")))


def parse_mapfile(text: str, name: str) -> Mapfile:
    """UsageError with the line number when it is no mapfile, or its blocks overlap or leave gaps."""
    blocks: list[Block] = []
    lines = [(n, line.split("#", 1)[0].split()) for n, line in enumerate(text.splitlines(), 1)]
    rows = [(n, fields) for n, fields in lines if fields]
    for n, fields in rows[1:]:
        block = _block(fields, n, name)
        if blocks and block.start != blocks[-1].start + blocks[-1].size:
            raise _wrong(name, n, "the block does not begin where the one before ends")
        blocks.append(block)
    if not rows or len(rows[0][1]) not in (2, 3) or rows[0][1][1] not in "?*/-FG+":
        raise _wrong(name, rows[0][0] if rows else 1, "the status line is missing")
    if not blocks:
        raise _wrong(name, rows[0][0], "it has no blocks")
    return Mapfile(tuple(blocks))


def _block(fields: list[str], n: int, name: str) -> Block:
    if len(fields) != 3 or fields[2] not in STATUSES:
        raise _wrong(name, n, "expected `position size status`")
    try:
        start, size = _number(fields[0]), _number(fields[1])
    except ValueError:
        raise _wrong(name, n, "position or size is not a number") from None
    if start < 0 or size <= 0 or start + size > LARGEST_MEDIUM_BYTES:
        raise _wrong(name, n, "position or size is out of range")
    return Block(start, size, fields[2])


def _number(text: str) -> int:
    if text.lower().startswith("0x"):
        return int(text, 16)
    return int(text, 8) if text.startswith("0") and text != "0" else int(text)


def _wrong(name: str, line: int, what: str) -> UsageError:
    return UsageError(f"{name} is not a ddrescue mapfile: line {line}: {what}", "name the map that ddrescue wrote")
