"""Unread sectors behind the end of an optical medium's volumes -> those that are no damage: padding and run-out."""

from __future__ import annotations

from collections.abc import Sequence

from ntt.model import Volume
from ntt.ranges import Ranges, within

SECTOR_BYTES = 2048
PADDING_SECTORS = 150  # two seconds, which writers put behind a track (ECMA-130, 20.2: postgap)
RUN_OUT_SECTORS = 2  # written behind a track of its own, "track at once"; drives may not read them (MMC, "link blocks")
OPTICAL = ("iso9660", "udf")


def run_out(layout_volumes: Sequence[Volume], unread: Ranges, claimed_bytes: int) -> Ranges:
    """The bytes of `unread` that are run-out: among the last 152 sectors, and behind everything a volume claims.

    Empty where not all volumes are of an optical medium: behind the last partition of a disk there may be anything.
    `claimed_bytes` is the size of the medium.
    """
    if not layout_volumes or not all(volume.fstype in OPTICAL for volume in layout_volumes):
        return ()
    sector_bytes = max(volume.sector_bytes or SECTOR_BYTES for volume in layout_volumes)
    last = claimed_bytes - (PADDING_SECTORS + RUN_OUT_SECTORS) * sector_bytes
    return within(unread, max(last, *(_end(volume) for volume in layout_volumes)), claimed_bytes)


def _end(volume: Volume) -> int:
    """Where it ends in the image; a volume in raw sectors counts their user data only."""
    if not volume.sector_bytes:
        return volume.offset_bytes + volume.size_bytes
    return volume.offset_bytes + -(-volume.size_bytes // SECTOR_BYTES) * volume.sector_bytes
