"""A walked volume -> what of it the unread bytes hit, and where its structures, files and free space lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import msgspec

from ntt.model import LostStructure, Structure
from ntt.ranges import Range, Ranges, normalised, within
from ntt.readers.base import ReadError, VolumeReader

CELLS = 4096  # of equal size, over all that the medium claims to hold
STRUCTURE, FILES, FREE = 1, 2, 4  # bits of a cell; none of them: nothing is known of it
LOST_LIMIT = 10_000  # structures that are named one by one
PENDING_LIMIT = 100_000  # ranges in memory before they are merged
BEAT_EVERY = 1_000
FAILURES = (ReadError, OSError)


class Beat(Protocol):
    def add(self, size_bytes: int) -> None: ...


class Account(msgspec.Struct, frozen=True):
    """`lost`: what of the file system lies on unread bytes. `unread_used`: unread bytes that are in use by the file
    system's own account, None where it keeps none. `cells`: a byte for each of the `CELLS`.
    """

    lost: tuple[LostStructure, ...] = ()
    unread_used: Ranges | None = None
    cells: bytes = b""


NOTHING_TOLD = Account()


def account_of(reader: VolumeReader, span: Range, unread: Ranges, claimed_bytes: int, beat: Beat) -> Account:
    """To be asked after the walk. `span`: what the volume takes of the medium. A reader that fails here tells less."""
    unread = within(unread, 0, claimed_bytes)
    lost: dict[tuple[str, int, bool], list[Range]] = {}
    taken = _Gathered()
    try:
        for structure in _watched(reader.structures(), beat):
            taken.add(structure.start, structure.end)
            hit = within(unread, structure.start, structure.end) if unread else ()
            if hit:
                ino = structure.ino if len(lost) < LOST_LIMIT else -1
                lost.setdefault((structure.what, ino, structure.spare), []).extend(hit)
    except FAILURES:
        pass  # the walk met the same cause and has told of it
    cells = _Cells(claimed_bytes)
    structures = taken.ranges()
    for start, end in structures:
        cells.structure(start, end)
    unread_used = _used(reader, unread, cells, beat)
    if unread_used is not None:
        cells.know(*span)
    named = tuple(LostStructure(*key, normalised(ranges)) for key, ranges in sorted(lost.items()))
    return Account(named, unread_used, cells.flags())


def _used(reader: VolumeReader, unread: Ranges, cells: _Cells, beat: Beat) -> Ranges | None:
    found: list[Range] = []
    try:
        used = reader.used()
        if used is None:
            return None
        for start, end in used:
            beat.add(1)
            cells.used(start, end)
            found.extend(within(unread, start, end))
    except FAILURES:
        return None
    return normalised(found)


def _watched(structures: Iterator[Structure], beat: Beat) -> Iterator[Structure]:
    for count, structure in enumerate(structures):
        if count % BEAT_EVERY == 0:
            beat.add(1)
        yield structure


class _Gathered:
    """Ranges as they come, merged now and then so that memory follows what they cover."""

    def __init__(self) -> None:
        self._pending: list[Range] = []

    def add(self, start: int, end: int) -> None:
        self._pending.append((start, end))
        if len(self._pending) >= PENDING_LIMIT:
            merged = normalised(self._pending)
            self._pending = list(merged)[: PENDING_LIMIT // 2]  # a picture of what is more scattered has no use for it

    def ranges(self) -> Ranges:
        return normalised(self._pending)


class _Cells:
    """How many bytes of each cell are structures, in use, and known at all."""

    def __init__(self, claimed_bytes: int) -> None:
        self._claimed = max(claimed_bytes, 1)
        self._structure = [0] * CELLS
        self._used = [0] * CELLS
        self._known = [0] * CELLS

    def structure(self, start: int, end: int) -> None:
        self._add(self._structure, start, end)

    def used(self, start: int, end: int) -> None:
        self._add(self._used, start, end)

    def know(self, start: int, end: int) -> None:
        self._add(self._known, start, end)

    def flags(self) -> bytes:
        return bytes(
            (STRUCTURE if structure else 0)
            | (FILES if used > structure else 0)
            | (FREE if known > max(used, structure) else 0)
            for structure, used, known in zip(self._structure, self._used, self._known, strict=True)
        )

    def _add(self, counts: list[int], start: int, end: int) -> None:
        start, end = max(start, 0), min(end, self._claimed)
        if start >= end:
            return
        first, last = self._cell(start), self._cell(end - 1)
        for cell in range(first, last + 1):
            low, high = self._begins(cell), self._begins(cell + 1)
            counts[cell] += min(end, high) - max(start, low)

    def _cell(self, place: int) -> int:
        return place * CELLS // self._claimed

    def _begins(self, cell: int) -> int:
        return -(-cell * self._claimed // CELLS)


def merged_cells(cells: Iterable[bytes]) -> bytes:
    """Of several volumes of one medium; empty if none tells anything."""
    told = [one for one in cells if one]
    if not told:
        return b""
    merged = bytearray(CELLS)
    for one in told:
        for at, flags in enumerate(one):
            merged[at] |= flags
    return bytes(merged)
