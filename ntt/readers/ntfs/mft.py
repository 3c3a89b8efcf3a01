"""NTFS's master file table -> its records by number, as far as they were read."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from ntt.model import Extent
from ntt.ranges import Ranges, normalised, within
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.ntfs.records import SECTOR_BYTES, MftRecord
from ntt.readers.tsk_extents import HOLE, part_of

RECORD_HEADER_BYTES = 48
WINDOW_BYTES = 64 << 10  # of the table that are read at once


class MasterFileTable:
    """Records by number. ReadError if a record lies outside the table or its update sequence does not hold.

    `lost`: what was not read of what says where the table lies, if anything: `extents` then have holes.
    """

    def __init__(self, source: ImageSource, extents: Sequence[Extent], record_bytes: int, lost: Ranges = ()) -> None:
        self._source = source
        self._extents = extents
        self._lost = lost
        self._last: tuple[int, MftRecord] | None = None  # content, extents and reading ask for the same in turn
        self._window: tuple[int, bytes] = (-1, b"")  # neighbours are asked for in turn too
        self.record_bytes = record_bytes

    @property
    def extents(self) -> Sequence[Extent]:
        return self._extents

    @property
    def count(self) -> int:
        """Records that can be in the image at all."""
        end = self._extents[-1].file_offset + self._extents[-1].file_length if self._extents else 0
        return min(end, self._source.size_bytes) // self.record_bytes

    def record(self, number: int) -> MftRecord:
        """ReadError, with what was not read if that is the cause."""
        if self._last is None or self._last[0] != number:
            self._last = (number, self._record(number))
        return self._last[1]

    def _record(self, number: int) -> MftRecord:
        extents = part_of(self._extents, number * self.record_bytes, self.record_bytes)
        try:
            if len(extents) == 1 and extents[0].image_offset != HOLE and extents[0].file_length == self.record_bytes:
                raw = self._through_window(extents[0].image_offset)
            else:
                raw = b"".join(
                    self._source.read(extent.image_offset, extent.image_length)
                    for extent in extents
                    if extent.image_offset != HOLE
                )
        except (OSError, OverflowError) as error:
            raise ReadError(f"record {number} cannot be read: {error}") from None
        if self._lost and any(extent.image_offset == HOLE for extent in extents):
            raise ReadError(f"where record {number} lies was not read", self._lost)
        unread = _unread_of(extents, self._source.unread)
        if len(raw) != self.record_bytes or (not unread and raw[:4] != b"FILE"):
            raise ReadError(f"record {number} is none")
        if not unread:
            return MftRecord(_put_right(raw, number, len(raw)), extents, len(raw))
        return self._of_what_was_read(raw, extents, number, unread)

    def _of_what_was_read(self, raw: bytes, extents: Sequence[Extent], number: int, unread: Ranges) -> MftRecord:
        """A record of which a part was not read: whole if it does not use that part. ReadError without its header."""
        places = normalised(
            place
            for extent in extents
            for place in within(self._source.unread, extent.image_offset, extent.image_offset + extent.image_length)
        )
        known = unread[0][0]
        at, count = struct.unpack_from("<HH", raw, 4)
        if known < RECORD_HEADER_BYTES or known < at + 2 * count:
            raise ReadError(f"record {number} was not read", places)
        if raw[:4] != b"FILE":
            raise ReadError(f"record {number} is none")
        fixed = _put_right(raw, number, known)
        if int.from_bytes(raw[24:28], "little") <= known:
            return MftRecord(fixed, extents, len(raw))
        return MftRecord(fixed, extents, known, places)

    def _through_window(self, position: int) -> bytes:
        start = position - position % WINDOW_BYTES
        if position + self.record_bytes > start + WINDOW_BYTES:
            return self._source.read(position, self.record_bytes)
        if self._window[0] != start:
            self._window = (start, self._source.read(start, WINDOW_BYTES))
        return self._window[1][position - start : position - start + self.record_bytes]


def _unread_of(extents: Sequence[Extent], unread: Ranges) -> Ranges:
    """The unread bytes of a record, counted from its start."""
    if len(extents) == 1:  # nearly always
        start = extents[0].image_offset
        found = within(unread, start, start + extents[0].image_length) if unread else ()
        return tuple((low - start, high - start) for low, high in found) if found else ()
    return normalised(
        (low - extent.image_offset + extent.file_offset, high - extent.image_offset + extent.file_offset)
        for extent in extents
        if extent.image_offset != HOLE
        for low, high in within(unread, extent.image_offset, extent.image_offset + extent.image_length)
    )


def _put_right(raw: bytes, number: int, known: int) -> bytes:
    """The last two bytes of each sector stand in the update sequence; they must have been its number instead.

    Sectors that do not end in the first `known` bytes were not read and stay as they are.
    """
    at, count = struct.unpack_from("<HH", raw, 4)
    if at + 2 * count > len(raw) or (count - 1) * SECTOR_BYTES > len(raw):
        raise ReadError(f"record {number} has a damaged update sequence")
    fixed = bytearray(raw)
    check = raw[at : at + 2]
    for sector in range(1, count):
        end = sector * SECTOR_BYTES
        if end > known:
            break
        if fixed[end - 2 : end] != check:
            raise ReadError(f"record {number} was only written in part")
        fixed[end - 2 : end] = raw[at + 2 * sector : at + 2 * sector + 2]
    return bytes(fixed)
