"""A session whose primary volume descriptor was not read -> its root directory, which is its own parent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ntt.ranges import within
from ntt.readers.base import ImageSource
from ntt.readers.iso.records import (
    OWN_IDENTIFIER,
    PARENT_IDENTIFIER,
    SECTOR_BYTES,
    DirectoryRecord,
    Geometry,
    parse_sector,
)
from ntt.readers.iso.rockridge import rock_ridge_at, skip_length

_SEARCHED_BYTES = 8 << 20  # behind the start of the session: writers put directories first
_WINDOW_BYTES = 1 << 20


class FoundRoot(NamedTuple):
    """`is_joliet`: its names are UCS-2 (no other identifier holds a byte that is 0)."""

    record: DirectoryRecord
    has_rock_ridge: bool
    is_joliet: bool


def searched_root(source: ImageSource, geometry: Geometry, session_bytes: int) -> FoundRoot | None:
    """The root of one of the session's trees: with Rock Ridge before one without, Joliet last.

    Both its own and its parent's record say where it lies (ECMA-119, 6.8.2.2), which no other directory has.
    OSError as `ImageSource.read`.
    """
    best: FoundRoot | None = None
    for found in _roots(source, geometry, session_bytes):
        if found.has_rock_ridge:
            return found
        if best is None or (best.is_joliet and not found.is_joliet):
            best = found
    return best


def is_unread(source: ImageSource, position: int) -> bool:
    """Whether any byte of the sector at this place of the image was not read."""
    end = position + SECTOR_BYTES
    return end > source.size_bytes or bool(within(source.unread, position, end))


def _roots(source: ImageSource, geometry: Geometry, session_bytes: int) -> Iterator[FoundRoot]:
    first = geometry.offset_bytes + session_bytes
    end = min(first + _SEARCHED_BYTES, source.size_bytes)
    for start in range(first, end, _WINDOW_BYTES):
        window = source.read(start, min(_WINDOW_BYTES, end - start))
        for at in range(0, len(window), SECTOR_BYTES):
            if window[at + 32 : at + 34] != b"\x01" + OWN_IDENTIFIER:
                continue
            position = start + at - geometry.offset_bytes
            records, _ = parse_sector(window[at : at + SECTOR_BYTES], position, geometry)
            if len(records) < 2 or records[1].identifier != PARENT_IDENTIFIER or not records[0].is_directory:
                continue
            block = position // geometry.block_bytes
            if records[0].size_bytes and records[0].first_block == records[1].first_block == block:
                own = records[0].system_use
                has_rock_ridge = skip_length(own) is not None and rock_ridge_at(own) >= 0
                is_joliet = any(record.is_named and b"\0" in record.identifier for record in records)
                yield FoundRoot(records[0], has_rock_ridge, is_joliet)
