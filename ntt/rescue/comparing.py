"""An image in work and a source -> does the source give what the image holds? Which sectors are asked for that.

Nothing here reads more than a few thousand sectors of a source, whatever its size, or longer than it is told to.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

import anyio
import anyio.to_thread

from ntt.identity import INFORMATIVE_SECTORS, is_informative
from ntt.ranges import Range, Ranges, difference, intersection, total, within
from ntt.rescue.source import Source, pieces_of
from ntt.rescue.working import WorkingImage

SPREAD_SECTORS = 128
EDGES = 2048
FEW_EDGES = 16
FAILURES = 16
EDGE_FAILURES = 64
AFTERWARDS = 16  # sectors of each kind after a pass
_SWEEPS = 8
_LOOKED_AT = 4096  # places of the image
_PLACE_BYTES = 64 << 10
_LOOKING_S = 5.0
_WINDOW_BYTES = 1 << 20


@dataclass(slots=True)
class Agreement:
    """What the sectors read again said of one image; `differs_at`: the first byte that is not what it holds."""

    differs_at: int | None = None
    edges_left_out: bool = False
    compared: set[int] = field(default_factory=set)
    _informative: set[int] = field(default_factory=set)

    @property
    def certain(self) -> bool:
        return self.differs_at is None and not self.edges_left_out and len(self._informative) >= INFORMATIVE_SECTORS

    def judge(self, image: WorkingImage, rescued: Ranges, start: int, sector: bytes) -> None:
        """`sector` is what the source has at `start`; only what was read of it says anything, and once."""
        if start in self.compared:
            return
        self.compared.add(start)
        for low, high in within(rescued, start, start + len(sector)):
            part = sector[low - start : high - start]
            if image.read(low, high) != part and self.differs_at is None:
                self.differs_at = low
            if is_informative(part):
                self._informative.add(start)


def known_of(image: WorkingImage) -> Ranges:
    """What was read of it, and by two drives alike if by two."""
    return difference(image.mapfile().rescued, image.state.disputed)


async def compare_spread(source: Source, image: WorkingImage, agreement: Agreement, limit_s: float) -> None:
    """Sectors of all that was read, evenly; and so many that are not one byte repeated, where there are so many."""
    rescued = known_of(image)
    telling = await anyio.to_thread.run_sync(_telling, image, rescued, source.sector_bytes)
    wanted = [sector for sector in telling if sector[0] not in agreement.compared]
    for start, content in (await read_sectors(source, wanted, limit_s)).items():
        agreement.judge(image, rescued, start, content)


async def compare_edges(source: Source, image: WorkingImage, agreement: Agreement, limit_s: float) -> None:
    """The sectors on both sides of every unread range, since a medium that is nearly the same may differ just there.

    Evenly chosen of more than `EDGES`, in several sweeps over the medium, so that what the time allows is even, too.
    """
    rescued = known_of(image)
    wanted = edges(rescued, image.size_bytes, source.sector_bytes, EDGES)
    wanted += [sector_at(at, source) for at in image.state.told_apart if within(rescued, at, at + 1)]
    wanted = [sector for sector in wanted if sector[0] not in agreement.compared]
    deadline, asked, failed = time.monotonic() + limit_s, 0, 0
    for sweep in range(_SWEEPS):
        of_sweep = wanted[sweep::_SWEEPS]
        if not of_sweep or failed >= EDGE_FAILURES or agreement.differs_at is not None:
            continue
        left_s = max(0.0, deadline - time.monotonic())
        pieces, _ = await pieces_of(source, of_sweep, left_s, EDGE_FAILURES - failed)
        asked += len(pieces)
        for piece in pieces:
            failed += piece.content is None
            if piece.content is not None:
                agreement.judge(image, rescued, piece.offset, piece.content)
    # a drive that cannot read there is no objection; one that had no time to be asked at all is
    agreement.edges_left_out = failed < EDGE_FAILURES and asked < min(FEW_EDGES, len(wanted))


async def differs_after(
    source: Source, image: WorkingImage, known: Ranges, gained: Ranges, turn: int, limit_s: float
) -> int | None:
    """A byte of `known`, read earlier, where the source that has given `gained` gives something else now; else None.

    A few sectors beside what was gained, and a few others, which are other ones every `turn`.
    """
    size, known = source.sector_bytes, difference(known, image.state.disputed)
    beside = edges(difference(((0, image.size_bytes),), gained), image.size_bytes, size, AFTERWARDS)
    others = spread(known, size, AFTERWARDS * _SWEEPS + 3)[turn % _SWEEPS :: _SWEEPS]
    wanted = sorted({s for s in (*beside, *others) if total(within(known, *s)) == size})
    agreement = Agreement()
    wanted += [sector_at(at, source) for at in image.state.told_apart if within(known, at, at + 1)]
    for start, content in (await read_sectors(source, wanted, limit_s, AFTERWARDS // 4)).items():
        agreement.judge(image, known, start, content)
    return agreement.differs_at


async def read_sectors(
    source: Source, wanted: Sequence[Range], limit_s: float, max_failures: int = FAILURES
) -> dict[int, bytes]:
    pieces, _ = await pieces_of(source, wanted, limit_s, max_failures)
    return {piece.offset: piece.content for piece in pieces if piece.content is not None}


def sector_at(at: int, source: Source) -> Range:
    start = at - at % source.sector_bytes
    return start, start + source.sector_bytes


def spread(rescued: Ranges, sector_bytes: int, sectors: int = SPREAD_SECTORS) -> list[Range]:
    """Up to `sectors` whole sectors of `rescued`, in order and evenly spread over its bytes."""
    size = total(rescued)
    wanted = [size * (2 * n + 1) // (2 * sectors) for n in range(sectors)]
    found: list[Range] = []
    before = 0
    for start, end in rescued:
        while wanted and wanted[0] < before + end - start:
            at = start + wanted.pop(0) - before
            at -= at % sector_bytes
            if at >= start and at + sector_bytes <= end and (at, at + sector_bytes) not in found[-1:]:
                found.append((at, at + sector_bytes))
        before += end - start
    return found


def edges(ranges: Ranges, size_bytes: int, sector_bytes: int, count: int) -> list[Range]:
    """The first and the last whole sector of each range, but those at the ends of the medium; evenly chosen if more."""
    found: list[Range] = []
    for start, end in ranges:
        first, last = start + -start % sector_bytes, end - end % sector_bytes - sector_bytes
        for at, is_edge in ((first, start > 0), (last, end < size_bytes)):
            if is_edge and start <= at <= end - sector_bytes and found[-1:] != [(at, at + sector_bytes)]:
                found.append((at, at + sector_bytes))
    if len(found) <= count:
        return found
    return [found[len(found) * n // count] for n in range(count)]


def _telling(image: WorkingImage, rescued: Ranges, sector_bytes: int) -> list[Range]:
    """`spread`, and for each of its sectors that says little (one byte repeated) one that says something. Blocking."""
    evenly = spread(rescued, sector_bytes)
    telling = {sector for sector in evenly if is_informative(image.read(*sector))}
    if len(telling) == SPREAD_SECTORS:
        return evenly
    places: list[list[Range]] = []
    deadline = time.monotonic() + _LOOKING_S
    for place in _places(rescued, sector_bytes):
        if len(places) + len(telling) >= SPREAD_SECTORS or time.monotonic() > deadline:
            break
        found = [sector for sector in _informative_in(image, place, sector_bytes) if sector not in telling]
        if found:
            places.append(found)
    missing = SPREAD_SECTORS - len(telling)
    longest = max((len(found) for found in places), default=0)
    in_turn = [found[n] for n in range(longest) for found in places if n < len(found)]
    return sorted({*evenly, *in_turn[:missing]})


def _places(rescued: Ranges, sector_bytes: int) -> list[Range]:
    """Up to `_LOOKED_AT` pieces of what was read: any number of the first is evenly spread (bits of n reversed)."""
    size = total(rescued)
    piece = min(max(sector_bytes, size // _LOOKED_AT // sector_bytes * sector_bytes), _PLACE_BYTES)
    count = min(_LOOKED_AT, -(-size // piece)) if size else 0
    before = [0, *accumulate(end - start for start, end in rescued)]
    wanted = [size * n // count for n in range(count)] + [size]
    found: list[Range] = []
    for at, following in pairwise(wanted):
        n = bisect_right(before, at) - 1
        start = rescued[n][0] + at - before[n]
        found.append((start, min(start + max(piece, min(following - at, _PLACE_BYTES)), rescued[n][1])))
    bits = max(count - 1, 1).bit_length()
    order = sorted(range(count), key=lambda n: int(f"{n:0{bits}b}"[::-1], 2))
    return [found[n] for n in order]


def _informative_in(image: WorkingImage, place: Range, sector_bytes: int) -> list[Range]:
    start, end = place
    content = image.read(start, end)
    if not is_informative(content):
        return []
    first = start + -start % sector_bytes
    sectors = ((at, at + sector_bytes) for at in range(first, end - sector_bytes + 1, sector_bytes))
    return [(low, high) for low, high in sectors if is_informative(content[low - start : high - start])]


def agree(one: WorkingImage, two: WorkingImage) -> bool:
    """Do they hold the same wherever both were read? Reads all of that. Blocking."""
    both = intersection(one.mapfile().rescued, two.mapfile().rescued)
    for start, end in both:
        for at in range(start, end, _WINDOW_BYTES):
            stop = min(at + _WINDOW_BYTES, end)
            if one.read(at, stop) != two.read(at, stop):
                return False
    return True
