"""What listing a medium met -> the rows of `finding` that say so to people, and layouts that say it themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ntt.db.health import RUN_OUT
from ntt.db.loading import Loaded, Problem
from ntt.model import Layout, LostStructure, Route, Volume, VolumeStatus, WalkProblem
from ntt.names import as_text
from ntt.ranges import Range, Ranges, difference, intersection, normalised, total, within
from ntt.readers.detection.expected_size import SHORT, SHORT_STEP
from ntt.readers.detection.run_out import run_out, unread_in_use
from ntt.readers.detection.tables import BEYOND_END, LOST_TABLE
from ntt.readers.surface import Account

AGAIN_ELSEWHERE = "read the medium again, in another drive if possible"
NAMED_DIRECTORIES = 5
SECTOR_BYTES = 512
GPT_SECTORS = 34  # protective MBR, header, 128 entries: UEFI specification, "GUID Partition Table"


def walk_problem(volume: int, problem: WalkProblem) -> Problem:
    return Problem(problem.kind, problem.detail, "", volume, problem.ino, problem.name)


def unreplayed(index: int) -> Problem:
    detail = f"the journal of volume {index} holds changes that are not replayed: what was written last may be missing"
    step = "to have it too, replay the journal in a copy of the image (mount the copy read-write), and ingest that"
    return Problem("journal_pending", detail, step, index)


def table_problem(remark: str) -> Problem:
    """What is to be said of a partition table, or of the medium as a whole."""
    if SHORT in remark:
        return Problem("medium_short", remark, SHORT_STEP)
    if LOST_TABLE in remark or BEYOND_END in remark:
        return Problem("table_unread", remark, AGAIN_ELSEWHERE)
    return Problem("table", remark)


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
    doubt = f"volume {volume}: the listing may be incomplete" if volume else "the medium: volumes may be missing"
    detail = f"{doubt}: {parts} were not read{where}"
    return Problem("metadata_unread", detail, AGAIN_ELSEWHERE, volume or None)


def lost_tables(layout: Layout, claimed_bytes: int, unread: Ranges) -> tuple[LostStructure, ...]:
    """Of the partition tables that the layout was read from, and of those that it would have been."""
    missed: list[Range] = list(layout.lost_tables)
    second: list[Range] = []
    if layout.scheme in ("mbr", "hybrid"):
        missed.append((0, SECTOR_BYTES))
    if layout.scheme in ("gpt", "hybrid"):
        length = GPT_SECTORS * SECTOR_BYTES
        (second if layout.volumes else missed).append((0, length))
        second.append((max(claimed_bytes - length, length), claimed_bytes))
    lost = intersection(normalised(missed), within(unread, 0, claimed_bytes))
    spare = difference(intersection(normalised(second), unread), lost)
    found = (LostStructure("partition table", -1, False, lost), LostStructure("partition table", -1, True, spare))
    return tuple(one for one in found if one.ranges)


def unread_run_out(
    volumes: Sequence[Volume], accounts: Mapping[int, Account], claimed_bytes: int, unread: Ranges
) -> tuple[LostStructure, ...]:
    """The unread sectors at the end of a disc that are no damage, as a spare piece of the medium."""
    ranges = run_out(volumes, unread, claimed_bytes, unread_in_use(volumes, accounts))
    return (LostStructure(RUN_OUT, -1, True, ranges),) if ranges else ()


def restricted(layout: Layout, only: Route | None) -> Layout:
    """Volumes that another route than the wanted one would read are findings."""
    volumes = (
        volume
        if only in (None, volume.route) or volume.status is VolumeStatus.FINDING
        else msgspec.structs.replace(
            volume,
            route=Route.NONE,
            status=VolumeStatus.FINDING,
            finding=f"not read by {volume.route.value}: only the route {only} is to be used",
            next_step="ingest it again without that restriction (NTT_ONLY_ROUTE)",
        )
        for volume in layout.volumes
    )
    return msgspec.structs.replace(layout, volumes=tuple(volumes))


def unrecognised(claimed_bytes: int, death: str) -> Layout:
    """For an image that no worker survives looking at."""
    finding = f"looking at the image ended the process that did it: {death}"
    step = "keep the image: it is archived; look at a copy of it on a machine that holds nothing else"
    volume = Volume(1, "none", 0, claimed_bytes, "unknown", Route.NONE, VolumeStatus.FINDING, "", finding, step)
    return Layout("none", (volume,))
