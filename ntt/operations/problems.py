"""Catalogue and store -> what is wrong with a medium, which bytes of which files, and where they stand whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import msgspec

from ntt.db.connection import Database
from ntt.db.damage import Damage
from ntt.db.media import Media, Medium
from ntt.db.paths import Key
from ntt.db.reporting import Reporting, StageAttempt, TroubledFile
from ntt.db.troubles import Event, Troubles
from ntt.model import Health, Volume, VolumeStatus
from ntt.names import as_text, exact
from ntt.operations.clean_copies import Copy, DamagedContent, copies_of
from ntt.operations.damage_report import DamageReport, FileFacts, damage_report, leave_doubt
from ntt.operations.located import raw_path
from ntt.ranges import Ranges, total
from ntt.store.layout import StoreLayout

EVENTS_LISTED = 1_000
ATTEMPTS_LISTED = 1_000
GO_ON = "run the same `ntt ingest` again: what is left is done then"
_STATUS = {"d": "damaged", "f": "failed"}


class CleanCopy(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file that was copied whole and agrees with all that could be read of the damaged one."""

    medium_hash: str
    path: str
    blob: str
    path_b64: str | None = None

    @property
    def raw(self) -> bytes:
        return raw_path(self.path, self.path_b64)


class FileProblem(msgspec.Struct, frozen=True, omit_defaults=True):
    """`damaged_ranges` are byte offsets in the file, end exclusive; `status` is damaged or failed.

    `in_doubt`: it was stored as it was read, which may be all of it; its ranges are those of which nothing tells.
    """

    path: str
    volume: int
    ino: int
    size: int
    status: str
    reason: str
    damaged_ranges: Ranges
    clean_copies: tuple[CleanCopy, ...]
    path_b64: str | None = None
    in_doubt: bool = False

    @property
    def raw(self) -> bytes:
        return raw_path(self.path, self.path_b64)

    @property
    def damaged_bytes(self) -> int:
        """So many are known not to have been read."""
        return 0 if self.in_doubt else total(self.damaged_ranges)


class EventReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """A failing read of a file: what was seen, and what was done about it."""

    at: datetime
    path: str
    volume: int
    ino: int
    retry_count: int
    checks: tuple[str, ...]
    action: str
    worker_id: str
    exception_type: str = ""
    exception_msg: str = ""
    path_b64: str | None = None

    @property
    def raw(self) -> bytes:
        return raw_path(self.path, self.path_b64)


class ProblemsReport(msgspec.Struct, frozen=True):
    """The document of `ntt problems HASH --json`; `problems` is `medium.problems`, empty when nothing was found.

    `unread`, `files_whole`: as in `MediumReport`. `events`: the newest, at most a thousand of `events_total`. `stages`:
    the last thousand attempts. `unended`: stages that were begun and are still to be done, in words. `next_steps`: all
    that there is to do, each once, what names a thing to do first.
    """

    medium_hash: str
    health: str
    problems: dict[str, object]
    volumes: tuple[Volume, ...]
    files: tuple[FileProblem, ...]
    events_total: int
    unread: dict[str, int]
    files_whole: bool
    damage: DamageReport
    is_done: bool = True  # listed and copied
    human: str = ""
    message: str = ""
    unended: tuple[str, ...] = ()
    events: tuple[EventReport, ...] = ()
    stages: tuple[StageAttempt, ...] = ()
    next_steps: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Nothing is wrong, and nothing is left to be done that might find something."""
        wrong = self.files or self.problems or self.message or self.unended
        return self.is_done and not wrong and self.health == Health.OK


async def problems_report(database: Database, medium: Medium, store: StoreLayout | None = None) -> ProblemsReport:
    """Every damaged and failed file of a medium. Without `store` no clean copies are looked for."""
    reporting, troubles = Reporting(database), Troubles(database)
    problems, events_total = await reporting.problems(medium.id)
    files: list[FileProblem] = []
    async for page in reporting.troubled_files(medium.id):
        copies = {} if store is None else await _clean_copies(database, store, page)
        files += [_problem(file, copies.get((file.volume, file.ino), ())) for file in page]
    unread = await Damage(database).unread(medium.id)
    found = msgspec.convert(problems or {}, dict[str, object])
    volumes = await Media(database).volumes(medium.id)
    unended = tuple(end.words for end in await troubles.bad_ends(medium.id))
    damage = await damage_report(database, medium, unread, _facts(found, files))
    return ProblemsReport(
        medium_hash=medium.medium_hash,
        health=medium.health,
        problems=found,
        volumes=volumes,
        files=tuple(files),
        events_total=events_total,
        unread=unread.bytes_by_kind(),
        files_whole=unread.harmless and not files,
        damage=damage,
        is_done=medium.enum_done is not None and medium.copy_done is not None,
        human=medium.human,
        message=medium.message or "",
        unended=unended,
        events=tuple(map(_event, await troubles.events(medium.id, EVENTS_LISTED))),
        stages=tuple(await reporting.attempts(medium.id))[-ATTEMPTS_LISTED:],
        next_steps=_next_steps(volumes, found, damage, unended),
    )


def _next_steps(
    volumes: Sequence[Volume], problems: dict[str, object], damage: DamageReport, unended: Sequence[str]
) -> tuple[str, ...]:
    steps = [
        f"volume {volume.index} ({volume.fstype}): {volume.next_step}"
        for volume in volumes
        if volume.status is VolumeStatus.FINDING and volume.next_step
    ]
    found = msgspec.convert(problems, _Advice, strict=False).findings
    steps += [finding.next_step for finding in found if finding.next_step and finding.kind != "volume"]
    steps += damage.next_steps
    if unended and not any("the same `ntt ingest` again" in step for step in steps):
        steps.append(GO_ON)
    return tuple(dict.fromkeys(steps))


class _Advised(msgspec.Struct, frozen=True):
    kind: str = ""
    next_step: str = ""


class _Advice(msgspec.Struct, frozen=True):
    """What `medium.problems` says is to be done."""

    findings: tuple[_Advised, ...] = ()


def _event(event: Event) -> EventReport:
    return EventReport(
        at=event.at,
        path=as_text(event.path),
        volume=event.volume,
        ino=event.ino,
        retry_count=event.retry_count,
        checks=event.checks,
        action=event.action,
        worker_id=event.worker_id,
        exception_type=event.exception_type,
        exception_msg=event.exception_msg,
        path_b64=exact(event.path),
    )


def _facts(problems: dict[str, object], files: list[FileProblem]) -> FileFacts:
    holders = Counter(holder for file in files for holder in {copy.medium_hash for copy in file.clean_copies})
    doubtful = sum(file.in_doubt for file in files)
    damaged = sum(file.status == "damaged" for file in files)
    return FileFacts(damaged - doubtful, len(files) - damaged, leave_doubt(problems), holders, doubtful)


def _problem(file: TroubledFile, copies: tuple[CleanCopy, ...]) -> FileProblem:
    reason = file.reason
    if not reason:
        reason = f"{total(file.damaged):,} of its {file.size:,} bytes could not be read from the medium"
    return FileProblem(
        path=as_text(file.path),
        volume=file.volume,
        ino=file.ino,
        size=file.size,
        status=_STATUS[file.status],
        reason=reason,
        damaged_ranges=file.damaged,
        clean_copies=copies,
        path_b64=exact(file.path),
        in_doubt=file.status == "d" and bool(file.reason),
    )


async def _clean_copies(
    database: Database, store: StoreLayout, page: list[TroubledFile]
) -> dict[Key, tuple[CleanCopy, ...]]:
    damaged = [
        DamagedContent((file.volume, file.ino), file.blob, file.damaged) for file in page if file.blob is not None
    ]
    return {key: tuple(map(_copy, copies)) for key, copies in (await copies_of(database, store, damaged)).items()}


def _copy(copy: Copy) -> CleanCopy:
    holder = copy.holder
    return CleanCopy(holder.medium_hash, as_text(holder.path), copy.blob.blob_hash.hex(), exact(holder.path))
