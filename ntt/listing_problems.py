"""What listing a medium met -> the rows of `finding` that say so to people."""

from __future__ import annotations

from collections.abc import Sequence

from ntt.db.loading import Loaded, Problem
from ntt.model import Layout, LostStructure, Volume, VolumeStatus, WalkProblem
from ntt.names import as_text
from ntt.ranges import Range, Ranges, total, within

NAMED_DIRECTORIES = 5
SECTOR_BYTES = 512
GPT_SECTORS = 34  # protective MBR, header, 128 entries: UEFI specification, "GUID Partition Table"


def walk_problem(volume: int, problem: WalkProblem) -> Problem:
    return Problem(problem.kind, problem.detail, "", volume, problem.ino, problem.name)


def unreplayed(index: int) -> Problem:
    detail = f"the journal of volume {index} holds changes that are not replayed: what was written last may be missing"
    step = "to have it too, replay the journal in a copy of the image (mount the copy read-write), and ingest that"
    return Problem("journal_pending", detail, step, index)


def volume_problem(volume: Volume) -> Problem:
    kind = "volume" if volume.status is VolumeStatus.FINDING else "volume_truncated"
    return Problem(kind, volume.finding, volume.next_step, volume.index)


def short_listing(volume: Volume, doubt: str, tried: Sequence[str]) -> Problem:
    others = f"; tried besides: {'; '.join(tried)}" if tried else ""
    step = "look at the medium on another machine; what was listed is copied"
    return Problem("listing_incomplete", f"volume {volume.index}: {doubt}{others}", step, volume.index)


def no_files(volumes: Sequence[Volume], loaded: Loaded) -> Problem:
    if not any(volume.status is VolumeStatus.READ for volume in volumes):
        return Problem("no_files", "no file could be listed: no volume of the medium is readable")
    if loaded.links:
        return Problem("no_files", f"the medium holds {loaded.links:,} symbolic links and no regular file",
                       "is that what its label says? the files may be on another medium")  # fmt: skip
    return Problem("no_files", "the medium holds no regular file", "is that what its label says?")


def incomplete_listing(volume: int, lost: Sequence[LostStructure], directories: Sequence[bytes]) -> Problem | None:
    """None where nothing of the file system itself is missed; `directories` are paths of those that are hit.

    Volume 0 is the table that names the volumes.
    """
    by_kind: dict[str, int] = {}
    for structure in lost:
        if not structure.spare:
            by_kind[structure.what] = by_kind.get(structure.what, 0) + total(structure.ranges)
    if not by_kind:
        return None
    parts = ", ".join(f"{size:,} bytes of its {what}" for what, size in sorted(by_kind.items()))
    named = ", ".join(as_text(path) or "/" for path in directories[:NAMED_DIRECTORIES])
    more = f" and {len(directories) - NAMED_DIRECTORIES:,} more" if len(directories) > NAMED_DIRECTORIES else ""
    where = f"; directories concerned: {named}{more}" if named else ""
    whose = f"volume {volume}" if volume else "the medium"
    detail = f"{whose}: the listing may be incomplete: {parts} were not read{where}"
    step = "read the medium again, in another drive if possible"
    return Problem("metadata_unread", detail, step, volume or None)


def lost_tables(layout: Layout, claimed_bytes: int, unread: Ranges) -> tuple[LostStructure, ...]:
    """Of the partition tables that the layout was read from."""
    places: list[tuple[str, bool, Range]] = []
    if layout.scheme in ("mbr", "hybrid"):
        places.append(("partition table", False, (0, SECTOR_BYTES)))
    if layout.scheme in ("gpt", "hybrid"):
        length = GPT_SECTORS * SECTOR_BYTES
        places.append(("partition table", bool(layout.volumes), (0, length)))
        places.append(("partition table", True, (max(claimed_bytes - length, length), claimed_bytes)))
    return tuple(
        LostStructure(what, -1, spare, ranges)
        for what, spare, (start, end) in places
        if (ranges := within(unread, start, end))
    )
