"""Catalogue and store -> what is wrong with a medium, which bytes of which files, and where they stand whole."""

from __future__ import annotations

from collections import Counter

import anyio.to_thread
import msgspec

from ntt.db.connection import Database
from ntt.db.damage import Damage
from ntt.db.media import Media, Medium
from ntt.db.reporting import MediumSummary, Reporting, TroubledFile
from ntt.db.verifying import Holder, StoredBlob, holders_of
from ntt.model import Health, Volume
from ntt.names import as_text, exact
from ntt.operations.clean_copies import AGREEING, PROBES, agreeing_blobs
from ntt.operations.damage_report import DamageReport, FileFacts, damage_report, leave_doubt
from ntt.operations.located import raw_path
from ntt.ranges import Ranges, total
from ntt.store.layout import StoreLayout

CANDIDATES = 20_000  # contents of equal size that are held in memory at a time
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
    """`damaged_ranges` are byte offsets in the file, end exclusive; `status` is damaged or failed."""

    path: str
    volume: int
    ino: int
    size: int
    status: str
    reason: str
    damaged_ranges: Ranges
    clean_copies: tuple[CleanCopy, ...]
    path_b64: str | None = None

    @property
    def raw(self) -> bytes:
        return raw_path(self.path, self.path_b64)

    @property
    def damaged_bytes(self) -> int:
        return total(self.damaged_ranges)


class ProblemsReport(msgspec.Struct, frozen=True):
    """The document of `ntt problems HASH --json`; `problems` is `medium.problems`, empty when nothing was found.

    `unread`, `files_whole`: as in `MediumReport`.
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


class ProblemsOverview(msgspec.Struct, frozen=True):
    """The media of which there is something to tell, and how many there are in all."""

    media: tuple[MediumSummary, ...]
    media_total: int


async def problems_overview(database: Database) -> ProblemsOverview:
    """Every medium with problems, a message, or unread bytes other than run-out sectors, oldest first."""
    everything = await Reporting(database).media()
    troubled = [m for m in everything if m.has_problems or m.health != Health.OK or m.message]
    return ProblemsOverview(tuple(troubled), len(everything))


async def problems_report(database: Database, medium: Medium, store: StoreLayout | None = None) -> ProblemsReport:
    """Every damaged and failed file of a medium. Without `store` no clean copies are looked for."""
    reporting = Reporting(database)
    problems, events_total = await reporting.problems(medium.id)
    files: list[FileProblem] = []
    async for page in reporting.troubled_files(medium.id):
        copies = {} if store is None else await _clean_copies(database, reporting, store, page)
        files += [_problem(file, copies.get((file.volume, file.ino), ())) for file in page]
    unread = await Damage(database).unread(medium.id)
    found = msgspec.convert(problems or {}, dict[str, object])
    return ProblemsReport(
        medium_hash=medium.medium_hash,
        health=medium.health,
        problems=found,
        volumes=await Media(database).volumes(medium.id),
        files=tuple(files),
        events_total=events_total,
        unread=unread.bytes_by_kind(),
        files_whole=unread.harmless and not files,
        damage=await damage_report(database, medium, unread, _facts(found, files)),
    )


def _facts(problems: dict[str, object], files: list[FileProblem]) -> FileFacts:
    holders = Counter(holder for file in files for holder in {copy.medium_hash for copy in file.clean_copies})
    damaged = sum(file.status == "damaged" for file in files)
    return FileFacts(damaged, len(files) - damaged, leave_doubt(problems), holders)


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
    )


async def _clean_copies(
    database: Database, reporting: Reporting, store: StoreLayout, page: list[TroubledFile]
) -> dict[tuple[int, int], tuple[CleanCopy, ...]]:
    damaged = [(file, file.blob) for file in page if file.blob is not None]
    sizes = {blob.size_bytes for _, blob in damaged}
    each = min(PROBES, max(AGREEING, CANDIDATES // max(1, len(sizes))))
    candidates = await reporting.blobs_of_sizes(sizes, each)
    agreeing: dict[tuple[int, int], list[StoredBlob]] = {}
    for file, blob in damaged:
        agreeing[file.volume, file.ino] = await anyio.to_thread.run_sync(
            agreeing_blobs, store, blob, file.damaged, candidates.get(blob.size_bytes, [])
        )
    wanted = {blob.id: blob.blob_hash for found in agreeing.values() for blob in found}
    # only files that were copied whole: an equal content may itself have been read from a damaged medium
    holders: dict[int, list[Holder]] = {}
    for holder in await holders_of(database, list(wanted), AGREEING, "c"):
        holders.setdefault(holder.blob_id, []).append(holder)
    return {
        key: tuple(
            CleanCopy(holder.medium_hash, as_text(holder.path), wanted[blob.id].hex(), exact(holder.path))
            for blob in found
            for holder in holders.get(blob.id, ())
        )[:AGREEING]
        for key, found in agreeing.items()
    }
