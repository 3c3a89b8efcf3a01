"""Unread sectors at the end of an optical medium -> those that are no damage: padding and run-out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ntt.model import Volume
from ntt.ranges import Ranges, difference, normalised, within
from ntt.readers.surface import Account

SECTOR_BYTES = 2048
PADDING_SECTORS = 150  # two seconds, which writers put behind a track (ECMA-130, 20.2: postgap)
RUN_OUT_SECTORS = 2  # written behind a track of its own, "track at once"; drives may not read them (MMC, "link blocks")
OPTICAL = ("iso9660", "udf")


def run_out(volumes: Sequence[Volume], unread: Ranges, claimed_bytes: int, in_use: Ranges | None) -> Ranges:
    """The bytes of `unread` that are run-out: among the last 152 sectors, and nothing of a file system lies there.

    `in_use`: the unread bytes that anything lies on, as `unread_in_use` has them. `claimed_bytes` is the size of the
    medium. Empty where not all volumes are of an optical medium: behind the last partition of a disk there may be
    anything; where one of them gives no account; where they end further before the end of the medium, which may hold
    a session that was not read; and where one of them claims more than the medium has, whose end then is not known.
    """
    if in_use is None or not volumes or not all(volume.fstype in OPTICAL for volume in volumes):
        return ()
    sector_bytes = max(volume.sector_bytes or SECTOR_BYTES for volume in volumes)
    first = max(claimed_bytes - (PADDING_SECTORS + RUN_OUT_SECTORS) * sector_bytes, 0)
    if not first <= max(_end(volume) for volume in volumes) <= claimed_bytes:
        return ()
    return difference(within(unread, first, claimed_bytes), in_use)


def unread_in_use(volumes: Sequence[Volume], accounts: Mapping[int, Account]) -> Ranges | None:
    """The unread bytes that structures and files of any volume lie on, by `accounts` of their indexes.

    None if a volume has no account of what is in use: files may lie anywhere then.
    """
    found: list[tuple[int, int]] = []
    for volume in volumes:
        account = accounts.get(volume.index)
        if account is None or account.unread_used is None:
            return None
        found.extend(account.unread_used)
        found.extend(piece for lost in account.lost for piece in lost.ranges)
    return normalised(found)


def _end(volume: Volume) -> int:
    """Where it ends in the image; a volume in raw sectors counts their user data only."""
    if not volume.sector_bytes:
        return volume.offset_bytes + volume.size_bytes
    return volume.offset_bytes + -(-volume.size_bytes // SECTOR_BYTES) * volume.sector_bytes
