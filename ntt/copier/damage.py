"""Extents of a file x unread bytes of the image -> unread byte ranges of the file."""

from __future__ import annotations

from collections.abc import Sequence

from ntt.model import Extent
from ntt.ranges import Range, Ranges, normalised, within


def damaged_ranges(extents: Sequence[Extent], unread: Ranges) -> Ranges:
    """Exact to the byte for linear extents; a unit (compressed) is damaged as a whole, and so is what is vague."""
    damaged: list[Range] = []
    for extent in extents:
        if extent.image_offset < 0:
            continue
        for start, end in within(unread, extent.image_offset, extent.image_offset + extent.image_length):
            if extent.file_length == extent.image_length and not extent.vague:
                shift = extent.file_offset - extent.image_offset
                damaged.append((start + shift, end + shift))
            else:
                damaged.append((extent.file_offset, extent.file_offset + extent.file_length))
    return normalised(damaged)


def certainly_damaged(extents: Sequence[Extent], unread: Ranges) -> Ranges:
    """Without what is only in doubt."""
    return damaged_ranges([extent for extent in extents if not extent.vague], unread)


def unread_places(extents: Sequence[Extent], unread: Ranges) -> Ranges:
    """The unread bytes of the image that the file lies on."""
    return normalised(
        place
        for extent in extents
        if extent.image_offset >= 0
        for place in within(unread, extent.image_offset, extent.image_offset + extent.image_length)
    )


def stored_ranges(extents: Sequence[Extent]) -> Ranges:
    """The parts of the file that lie on the medium at all (holes do not)."""
    return normalised((e.file_offset, e.file_offset + e.file_length) for e in extents if e.image_offset >= 0)
