"""Headers of raw CD sectors -> where the disc's blocks lie in an image of them (ECMA-130, 14; IEC 60908, CD-ROM XA)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple, TypeVar

from ntt.readers.base import ImageSource

SYNC = b"\0" + b"\xff" * 10 + b"\0"
USER_BYTES = 2048
WITH_HEADER = (2352, 2448, 2368)  # plain; with 96 bytes of subchannel; with the 16 of its Q channel
DATA_AT = {1: 16, 2: 24}  # by mode; mode 2 with the subheader of XA form 1
LEAD_BLOCKS = 150  # block 0 has the address 00:02:00 (ECMA-130, 20)
_SAMPLES = 64
_STEPS_OVER = 16  # sectors without a header that a bisection looks behind
_MOST_STRETCHES = 200

Found = TypeVar("Found")


class Run(NamedTuple):
    """`blocks` sectors from `position` on in the image, the first of which is block `block` of the disc."""

    block: int
    blocks: int
    position: int


def block_of(header: bytes) -> int | None:
    """The block number in the header of a data sector, which may be negative; None without one."""
    if header[:12] != SYNC or len(header) < 16:
        return None
    minute, second, frame = (value if value < 100 else -1 for value in map(_bcd, header[12:15]))
    if minute < 0 or not 0 <= second < 60 or not 0 <= frame < 75:
        return None
    return (minute * 60 + second) * 75 + frame - LEAD_BLOCKS


def header_of(block: int, mode: int) -> bytes:
    """The header that a sector of that block has."""
    seconds, frame = divmod(block + LEAD_BLOCKS, 75)
    minute, second = divmod(seconds, 60)
    return SYNC + bytes(value // 10 << 4 | value % 10 for value in (minute % 100, second, frame)) + bytes((mode,))


def _bcd(value: int) -> int:
    high, low = value >> 4, value & 15
    return high * 10 + low if high < 10 and low < 10 else 100


def stretches(count: int, value: Callable[[int], Found | None]) -> list[tuple[int, Found]]:
    """The first index and the value of each stretch of equal values in `[0, count)`; None fits any neighbour.

    Looks at samples, and between different ones at what a bisection needs: values that come again may be missed.
    """
    step = max(count // _SAMPLES, 1)
    samples = [(index, value(index)) for index in (*range(0, count - 1, step), max(count - 1, 0))] if count else []
    known = [(index, there) for index, there in samples if there is not None]
    if not known:
        return []
    found = [(0, known[0][1])]
    for (low, before), (high, after) in pairwise(known):
        if before != after and len(found) < _MOST_STRETCHES:
            found.extend(_borders(low, before, high, after, value))
    return found


def _borders(
    low: int, before: Found, high: int, after: Found, value: Callable[[int], Found | None]
) -> Iterator[tuple[int, Found]]:
    """Where the values between two different samples change, ascending."""
    pending = [(low, before, high, after)]
    given = 0
    while pending and given < _MOST_STRETCHES:
        low, before, high, after = pending.pop()
        while high - low > 1:
            middle = (low + high) // 2
            near = (value(index) for index in range(middle, min(high, middle + _STEPS_OVER)))
            there = next((one for one in near if one is not None), before)
            if there == after:
                high = middle
            elif there == before:
                low = middle
            else:
                pending.append((middle, there, high, after))
                high, after = middle, there
        if before != after:
            yield high, after
            given += 1


def runs(source: ImageSource, sector_bytes: int, base_bytes: int) -> tuple[tuple[Run, ...], int | None]:
    """Where the blocks that count from `base_bytes` lie, ascending; and what to add for their addresses, None: no use.

    An image may leave out what lies between two sessions: blocks behind such a gap lie nearer to the start. Without
    addresses that confirm `base_bytes`, one linear run; they may still all be off by the same number.
    """
    first = base_bytes % sector_bytes
    count = max(-(-(source.size_bytes - first) // sector_bytes), 0)
    shift = (first - base_bytes) // sector_bytes  # the block number of the first sector, if nothing is left out
    linear = ((Run(max(shift, 0), count + min(shift, 0), first - min(shift, 0) * sector_bytes),), None)
    if sector_bytes not in WITH_HEADER:
        return linear

    def block_at(index: int) -> int | None:
        if not 0 <= index < count:
            return None
        return block_of(source.read(first + index * sector_bytes, 16))

    def skew(index: int) -> int | None:
        """How many blocks are left out before this sector; a lone odd address says nothing."""
        block = block_at(index)
        if block is None or (block_at(index + 1) != block + 1 and block_at(index - 1) != block - 1):
            return None
        return block - index - shift

    found: list[Run] = []
    known = stretches(count, skew)
    for index, end, gap in _rising(known, count):
        block = index + shift + gap
        early = max(-block, 0)  # a pregap's blocks have negative numbers
        if end - index > early:
            found.append(Run(block + early, end - index - early, first + (index + early) * sector_bytes))
    if found:
        return tuple(found), 0
    return linear[0], known[0][1] if len(known) == 1 else None


def _rising(found: list[tuple[int, int]], count: int) -> list[tuple[int, int, int]]:
    """(first, end, gap) of the stretches that one disc can have around the one without a gap: block numbers rise."""
    ends = [index for index, _ in found[1:]] + [count]
    whole = [(index, end, gap) for (index, gap), end in zip(found, ends, strict=True)] if found else []
    home = next((at for at, (_, _, gap) in enumerate(whole) if gap == 0), -1)
    kept = whole[home : home + 1] if home >= 0 else []
    for one in reversed(whole[: max(home, 0)]):
        if one[2] < kept[0][2]:
            kept.insert(0, one)
    for one in whole[home + 1 :] if kept else ():
        if one[2] > kept[-1][2]:
            kept.append(one)
    return kept
