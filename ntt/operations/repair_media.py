"""A medium whose rows or stamps contradict its files -> rows as its archive says, stamps as the proof says."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import anyio.to_thread
import msgspec

from ntt.db.auditing import Auditing, RecordedMedium
from ntt.db.connection import Database
from ntt.db.locks import LockSpace, advisory_lock
from ntt.db.rebuilding import Replica, replica_of
from ntt.db.repairing import Repairing
from ntt.db.undo import UndoFile, noted
from ntt.errors import BusyError, MediumError
from ntt.operations.audit_deep import MANIFEST_MEMBER, proven_archive
from ntt.operations.audit_media import file_findings, missing_rows

ROWS = {
    "name_without_node", "node_without_name", "name_without_directory", "outcome_without_file", "rows_missing",
    "rows_differ", "stamped_empty", "stamped_incomplete", "blob_row_missing", "size_differs",
}  # fmt: skip
STAMPS = {"unstamped_rows", "never_loaded", "complete_unstamped", "archive_unstamped"}
ARCHIVE = {"archive_missing", "archive_size", "archive_wrong"}
UNLISTED = {"name_without_node", "node_without_name", "name_without_directory", "outcome_without_file"}


class Fix(msgspec.Struct, frozen=True):
    """Something that was put right: of which medium, content or file, and how."""

    kind: str
    where: str
    detail: str


@dataclass(slots=True)
class MediaRepair:
    """Works on one medium at a time and holds it meanwhile; `work` is a folder of this run."""

    database: Database
    archive_dir: Path
    work: Path
    undo: UndoFile
    fixes: list[Fix] = field(default_factory=list)

    async def run(self, medium_hash: str, kinds: Collection[str]) -> None:
        """A medium that another process works on is left alone."""
        medium = await self._medium(medium_hash)
        if medium is None:
            return
        try:
            async with advisory_lock(self.database, LockSpace.MEDIUM, medium.id, f"medium {medium_hash[:8]}"):
                await self._run(medium, set(kinds))
        except BusyError:
            return

    async def _run(self, medium: RecordedMedium, kinds: set[str]) -> None:
        proven = False
        if kinds & (ROWS | STAMPS) and not kinds & ARCHIVE:
            proven = await self._by_archive(medium)
        if not proven and kinds & {"unstamped_rows", "complete_unstamped"}:
            await self._by_witness(medium)
        await self._unstamp(medium, kinds)
        auditing = Auditing(self.database)
        if await auditing.summary_is_stale(medium.id):
            await self._repairing.refresh(medium.id)
            self._fixed("summary_stale", medium, "its summary of problems was made anew")

    @property
    def _repairing(self) -> Repairing:
        return Repairing(self.database, self.undo)

    async def _medium(self, medium_hash: str) -> RecordedMedium | None:
        return (await Auditing(self.database).archived([medium_hash])).get(medium_hash)

    def _fixed(self, kind: str, medium: RecordedMedium, detail: str) -> None:
        self.fixes.append(Fix(kind, medium.medium_hash, detail))

    # ---- proof

    async def _by_archive(self, medium: RecordedMedium) -> bool:
        """True: its archive was read back, holds the image that was listed, and its rows are what the manifest says."""
        archive = Path(medium.archive_path or self.archive_dir / f"{medium.medium_hash}.tar.zst")
        if not await anyio.to_thread.run_sync(archive.is_file):
            return False
        manifest = self.work / MANIFEST_MEMBER
        try:
            if await proven_archive(medium.medium_hash, medium.image_hash, archive, manifest):
                return False
            async with replica_of(self.database, manifest) as replica:
                if replica.header.image_hash != medium.image_hash:
                    return False
                return await self._as_manifest(medium, replica, archive)
        except MediumError:
            return False
        finally:
            manifest.unlink(missing_ok=True)

    async def _as_manifest(self, medium: RecordedMedium, replica: Replica, archive: Path) -> bool:
        found = await replica.differences(medium.id)
        # rows of a medium that is listed but not archived may be newer than an archive that lies there
        if not found.none and (medium.archive_done is not None or medium.enum_done is None):
            async with noted(replica.connection, self.undo) as recorder:
                changed = await replica.restore(recorder, medium.id)
            if changed:
                self._fixed("rows", medium, f"{changed:,} rows were put back as the manifest in its archive says")
            found = await replica.differences(medium.id)
        if not found.none:
            return False
        header, before = replica.header, medium
        if medium.copy_done is None:
            await self._repairing.stamp(
                medium.id, await replica.counts(), _time(header.enum_done), _time(header.copy_done)
            )
        if medium.archive_done is None:
            size_bytes = archive.stat().st_size
            await self._repairing.stamp_archived(medium.id, str(archive), size_bytes, medium.image_hash)
        await self._tell_stamps(before, "proven by its archive, which was read back")
        return True

    async def _by_witness(self, medium: RecordedMedium) -> None:
        """The record of its last listing counts as many rows as there are, and its files all have their outcomes."""
        witness = await self._repairing.witness(medium.id)
        if medium.enum_done is not None:
            await self._repairing.stamp_copied(medium.id, witness.copied_at if witness is not None else None)
        elif witness is not None:
            listed = witness.nodes, witness.names
            await self._repairing.stamp(medium.id, listed, witness.listed_at, witness.copied_at)
        await self._tell_stamps(medium, "proven by its rows and the record of its listing")

    async def _tell_stamps(self, before: RecordedMedium, how: str) -> None:
        now = await self._medium(before.medium_hash)
        names = ("enum_done", "copy_done", "archive_done")
        new = [name for name in names if getattr(before, name) is None and getattr(now, name, None) is not None]
        if new:
            self._fixed("stamps", before, f"{', '.join(new)} set: {how}")

    # ---- what has no proof

    async def _unstamp(self, before: RecordedMedium, kinds: set[str]) -> None:
        medium = await self._medium(before.medium_hash)
        if medium is None or medium.enum_done is None:
            return
        auditing = Auditing(self.database)
        proof = await auditing.proof(medium.id)
        unlisted = [row for row in await auditing.bad_rows(medium.id) if row.kind in UNLISTED]
        empty = not proof.nodes and not proof.knows_why_empty
        if kinds & ROWS and (unlisted or empty or missing_rows(medium, proof)):
            await self._repairing.unstamp(medium.id, "enum_done")
            self._fixed("unstamped", medium, "its rows are not all there, and nothing can tell them: ingest it again")
        elif medium.copy_done is not None and proof.pending:
            await self._repairing.unstamp(medium.id, "copy_done")
            self._fixed("unstamped", medium, f"{proof.pending:,} files are to be copied again: ingest it again")
        elif kinds & ARCHIVE and medium.archive_done is not None and await anyio.to_thread.run_sync(_is_gone, medium):
            await self._repairing.unstamp(medium.id, "archive_done")
            self._fixed("unstamped", medium, "it has no whole archive: ingest it again, and it gets one")
        elif "archive_wrong" in kinds and medium.archive_done is not None:
            await self._repairing.unstamp(medium.id, "archive_done")
            self._fixed("unstamped", medium, "its archive is not whole: ingest it again, and it gets one")


def _is_gone(medium: RecordedMedium) -> bool:
    """Is it this one archive that is missing or another? Where all are missing, their disk may not be mounted."""
    folder = Path(medium.archive_path or "").parent
    return bool(file_findings(medium)) and next(folder.glob("*.tar.zst"), None) is not None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
