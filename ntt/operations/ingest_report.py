"""What a run did and what the catalogue now says of each medium -> the report of `ntt ingest`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ntt.db.connection import Database
from ntt.db.counting import count
from ntt.db.damage import Damage
from ntt.db.media import Media
from ntt.db.reporting import Reporting
from ntt.model import Stage
from ntt.names import as_text
from ntt.operations.damage_report import DamageReport, FileFacts, damage_report, leave_doubt
from ntt.operations.unread_kinds import of_which
from ntt.ranges import total


class VolumeReport(msgspec.Struct, frozen=True):
    index: int
    fstype: str
    route: str
    label: str
    status: str
    finding: str = ""
    next_step: str = ""


class StageReport(msgspec.Struct, frozen=True):
    seconds: float


class DamagedFile(msgspec.Struct, frozen=True):
    """A file of which not all could be read or stored; ranges are byte offsets in it, end exclusive."""

    path: str
    status: str
    size: int
    reason: str
    damaged_ranges: tuple[tuple[int, int], ...]


class MediumReport(msgspec.Struct, frozen=True):
    """One medium of `ntt ingest --json`. Counts are of the catalogue, `stored`/`known` of this run.

    `unread`: how many of the unread bytes concern what (`ntt.db.damage.Unread`). `files_whole`: none of them concern
    a file or a listing. `doubtful`: so many of the damaged files may be whole, but nothing tells whether they are.
    """

    medium_hash: str
    label: str
    recognition: str
    changed: bool
    complete: bool
    image_hash: str
    image_bytes: int
    unread_bytes: int
    health: str
    files: int
    paths: int
    bytes: int
    stored: int
    stored_bytes: int
    known: int
    damaged: int  # those in doubt among them
    failed: int
    pending: int
    problems: tuple[str, ...]
    archive: str | None
    volumes: tuple[VolumeReport, ...]
    stages: dict[str, StageReport]
    worst: tuple[DamagedFile, ...] = ()
    unread: dict[str, int] = {}
    files_whole: bool = True
    damage: DamageReport | None = None
    doubtful: int = 0


class RunFacts(msgspec.Struct, frozen=True):
    """What only the run itself knows of a medium."""

    medium_id: int
    recognition: str
    changed: bool
    seconds: dict[Stage, float]
    stored: int
    stored_bytes: int
    known: int


async def medium_report(database: Database, facts: RunFacts) -> MediumReport:
    """The catalogue's present state of a medium, with what the run did."""
    media = Media(database)
    medium = await media.by_id(facts.medium_id)
    counts = await count(database, medium.id)
    volumes = await media.volumes(medium.id)
    problems = list(counts.findings)
    unread = await Damage(database).unread(medium.id)
    if medium.unread_bytes > total(unread.run_out):  # which alone are no problem
        problems.append(f"{medium.unread_bytes:,} bytes of the medium were not read{of_which(unread)}")
    if counts.damaged > counts.doubtful:
        problems.append(f"{counts.damaged - counts.doubtful:,} files are damaged: parts of them were not read")
    if counts.doubtful:
        problems.append(f"{counts.doubtful:,} files may be damaged: they were stored as they were read")
    if counts.failed:
        problems.append(f"{counts.failed:,} files could not be stored")
    recorded, _ = await Reporting(database).problems(medium.id)
    facts_of_files = FileFacts(
        counts.damaged - counts.doubtful, counts.failed, leave_doubt(recorded), doubtful=counts.doubtful
    )
    archive = medium.archive_path if medium.archive_done else None
    if archive is not None and not Path(archive).is_file():
        problems.append(f"the archive {archive} is gone: ingest the image again to archive it")
        archive = None
    return MediumReport(
        medium_hash=medium.medium_hash,
        label=medium.human,
        recognition=facts.recognition,
        changed=facts.changed,
        complete=medium.copy_done is not None and not counts.pending,
        image_hash=medium.image_hash,
        image_bytes=medium.image_bytes,
        unread_bytes=medium.unread_bytes,
        health=medium.health,
        files=counts.files,
        paths=counts.paths,
        bytes=counts.size_bytes,
        stored=facts.stored,
        stored_bytes=facts.stored_bytes,
        known=facts.known,
        damaged=counts.damaged,
        failed=counts.failed,
        pending=counts.pending,
        problems=tuple(problems),
        archive=archive,
        volumes=tuple(
            VolumeReport(v.index, v.fstype, v.route.value, v.label, v.status.value, v.finding, v.next_step)
            for v in volumes
        ),
        stages={stage.value: StageReport(round(seconds, 3)) for stage, seconds in facts.seconds.items()},
        worst=tuple(
            DamagedFile(as_text(path), status, size, reason, ranges)
            for path, status, size, reason, ranges in counts.worst
        ),
        unread=unread.bytes_by_kind(),
        files_whole=unread.harmless and not counts.damaged and not counts.failed,
        damage=await damage_report(database, medium, unread, facts_of_files),
        doubtful=counts.doubtful,
    )
