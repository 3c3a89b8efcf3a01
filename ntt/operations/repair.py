"""What `ntt audit` finds -> put right as far as proof allows, every changed row noted first; then compared again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio.to_thread
import msgspec

from ntt.config import Settings
from ntt.db.auditing import Auditing
from ntt.db.connection import Database
from ntt.db.locks import LockSpace, advisory_lock
from ntt.db.media import Medium
from ntt.db.repairing import Repairing
from ntt.db.undo import UndoFile
from ntt.db.verifying import StoredBlob
from ntt.errors import BusyError
from ntt.operations.audit import AuditReport, audit
from ntt.operations.findings import Finding
from ntt.operations.healing import Healer
from ntt.operations.reindexing import Reindexer
from ntt.operations.repair_media import Fix, MediaRepair
from ntt.store.layout import FILE_MODE, StoreLayout
from ntt.store.mending import walk_pack
from ntt.store.packs import BLOCK_BYTES, cut, member_bytes
from ntt.store.plain import remove_orphans
from ntt.store.scratch import remove_leftovers, remove_parts

SHOWN_FIXES = 10_000
LOST = {"blob_missing", "blob_damaged", "blob_size", "member_differs", "member_overlaps"}
# what a repair tries, as its dry run says it; what is not here it leaves
TRIES = {
    "complete_unstamped": "stamp what is proven to be done",
    "unstamped_rows": "stamp what is proven to be done",
    "never_loaded": "take its rows from its archive, if it has one",
    "archive_unstamped": "read it back, and stamp its medium if it is whole",
    "stamped_incomplete": "restore what is missing from its archive, else take the stamp away",
    "stamped_empty": "restore what is missing from its archive, else take the stamp away",
    "rows_missing": "restore its rows from its archive, else take its stamps away",
    "rows_differ": "make its rows again what its archive says",
    "name_without_node": "restore its rows from its archive, else take its stamps away",
    "node_without_name": "restore its rows from its archive, else take its stamps away",
    "name_without_directory": "restore its rows from its archive, else take its stamps away",
    "outcome_without_file": "restore its rows from its archive, else take its stamps away",
    "size_differs": "restore its rows from its archive",
    "blob_row_missing": "find the content by archive or image; else the file has failed, with the reason",
    "attempt_open": "close it as interrupted",
    "archive_missing": "take the stamp away",
    "archive_size": "take the stamp away",
    "archive_wrong": "take the stamp away",
    "blob_missing": "read it again from an image or archive; else its files have failed, with the reason",
    "blob_damaged": "read it again from an image or archive; else its files have failed, with the reason",
    "blob_size": "read it again from an image or archive; else its files have failed, with the reason",
    "member_differs": "write its header anew, or read it again from an image or archive",
    "member_overlaps": "find it in its pack, or read it again from an image or archive",
    "pack_missing": "read its contents again from images and archives",
    "pack_short": "read its contents again from images and archives",
    "pack_tail": "cut it off",
    "pack_unknown": "take it and its contents into the catalogue",
    "unknown_blob": "take it into the catalogue, if it is whole",
    "mode": "set it",
    "temp_file": "remove it",
    "work_folder": "remove it",
    "summary_stale": "make it anew",
}  # fmt: skip
LOST_REASON = "its content is lost: the store no longer has it, and no image or archive that is here does"


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a repair works on and with; `work` is a folder of this run."""

    database: Database
    store: StoreLayout
    settings: Settings
    work: Path


class RepairReport(msgspec.Struct, frozen=True):
    """`found` before and `left` after (without --apply the same) are what an audit says. `undo` takes rows back.

    `fixes`: the first 10,000 of `fixed`. `tries`: what is, or would be, tried for each kind of finding.
    """

    applied: bool
    found: dict[str, int]
    tries: dict[str, str]
    fixed: int
    fixes: tuple[Fix, ...]
    left: tuple[Finding, ...]
    left_totals: dict[str, int]
    refusals: tuple[str, ...]
    busy: tuple[str, ...]
    undo: str | None

    @property
    def clean(self) -> bool:
        return not self.left_totals


@dataclass(slots=True)
class _Work:
    """What an audit found, by what is to be done. It grows with what is broken, not with the catalogue."""

    media: dict[str, set[str]] = field(default_factory=dict)
    lost: set[bytes] = field(default_factory=set)
    unknown: dict[int | None, set[bytes]] = field(default_factory=dict)
    packs: dict[int, set[str]] = field(default_factory=dict)
    modes: list[Path] = field(default_factory=list)

    def take(self, finding: Finding) -> None:
        if finding.medium_hash:
            self.media.setdefault(finding.medium_hash, set()).add(finding.kind)
        if finding.kind in LOST:
            self.lost.add(bytes.fromhex(finding.blob))
        elif finding.kind == "unknown_blob":
            self.unknown.setdefault(finding.pack_id, set()).add(bytes.fromhex(finding.blob))
        elif finding.kind == "mode":
            self.modes.append(Path(finding.where))
        if finding.pack_id is not None and finding.kind.startswith("pack_"):
            self.packs.setdefault(finding.pack_id, set()).add(finding.kind)


async def repair(shop: Workshop, *, medium: Medium | None, apply: bool, deep: bool) -> RepairReport:
    """Of all, or of what concerns one medium. Without `apply` nothing is changed."""
    work = _Work()
    before = await _audit(shop, medium, deep, work)
    tries = {kind: TRIES[kind] for kind in before.totals if kind in TRIES}
    if not apply:
        return RepairReport(
            applied=False, found=before.totals, tries=tries, fixed=0, fixes=(), left=before.findings,
            left_totals=before.totals, refusals=(), busy=before.busy, undo=None,
        )  # fmt: skip
    undo = UndoFile(shop.settings.home / "undo")
    try:
        run = _Repair(shop, work, undo)
        await run.all_of_it(medium, anybody_busy=bool(before.busy))
    finally:
        undo.close()
    after = await _audit(shop, medium, deep, None)
    return RepairReport(
        applied=True,
        found=before.totals,
        tries=tries,
        fixed=len(run.fixes),
        fixes=tuple(run.fixes[:SHOWN_FIXES]),
        left=after.findings,
        left_totals=after.totals,
        refusals=tuple(dict.fromkeys(run.refusals)),
        busy=after.busy,
        undo=str(undo.path) if undo.changes else None,
    )


async def _audit(shop: Workshop, medium: Medium | None, deep: bool, work: _Work | None) -> AuditReport:
    settings = shop.settings
    return await audit(
        shop.database,
        shop.store,
        settings.archive_dir,
        medium=medium,
        work_dir=settings.work_dir,
        deep=deep,
        listener=work.take if work is not None else None,
    )


class _Repair:
    """One repair: files first, then what is in the store, then rows, then what they prove."""

    def __init__(self, shop: Workshop, work: _Work, undo: UndoFile) -> None:
        self._shop = shop
        self._work = work
        self._auditing = Auditing(shop.database)
        self._repairing = Repairing(shop.database, undo)
        self._media = MediaRepair(shop.database, shop.settings.archive_dir, shop.work, undo)
        self.fixes: list[Fix] = []
        self.refusals: list[str] = []

    async def all_of_it(self, medium: Medium | None, *, anybody_busy: bool) -> None:
        if medium is None:
            await anyio.to_thread.run_sync(self._sweep)
            await self._unknown()
        await self._attempts(None if medium is None else medium.id)
        for medium_hash, kinds in self._work.media.items():
            await self._media.run(medium_hash, kinds)
        await self._contents(anybody_busy=anybody_busy)
        if medium is None:
            await self._packs()
        self.fixes += self._media.fixes

    def _sweep(self) -> None:
        store, settings = self._shop.store, self._shop.settings
        gone = [*remove_orphans(store), *remove_parts(settings.archive_dir), *remove_leftovers(settings.work_dir)]
        self.fixes += [Fix("removed", str(path), "whoever wrote it is gone") for path in gone]
        for path in self._work.modes:
            if not path.is_symlink():
                path.chmod(FILE_MODE)
            self.fixes.append(Fix("mode", str(path), f"its mode is {FILE_MODE:04o} again"))

    async def _unknown(self) -> None:
        reindexer = Reindexer(self._shop.database, self._shop.store, self._repairing)
        for pack_id, kinds in self._work.packs.items():
            if "pack_unknown" in kinds:
                await reindexer.pack(pack_id)
        for unknown_in, hashes in self._work.unknown.items():
            if unknown_in is None:
                await reindexer.plain(hashes)
            else:
                await reindexer.pack(unknown_in, hashes)
        self.fixes += [Fix("pack", f"pack {pack_id}", "is in the catalogue now") for pack_id in reindexer.done.packs]
        self.fixes += [Fix("taken", name, "is in the catalogue now") for name in reindexer.done.taken]
        self.refusals += [f"{name} is in the store, but is not what its name says" for name in reindexer.done.rotten]

    async def _attempts(self, medium_id: int | None) -> None:
        held = await self._auditing.held()
        for attempt in await self._auditing.open_attempts(medium_id):
            if held.run(attempt.run_id) or (attempt.medium_id is not None and held.medium(attempt.medium_id)):
                continue
            if await self._repairing.close_attempts(attempt.medium_id, [attempt.run_id]):
                where = f"{attempt.medium_hash or 'no medium'} {attempt.stage}"
                self.fixes.append(Fix("attempt", where, "is closed as interrupted"))

    # ---- contents

    async def _contents(self, *, anybody_busy: bool) -> None:
        lost = await self._lost()
        numbers = await self._dangling()
        if not lost and not numbers:
            return
        shop = self._shop
        healer = Healer(shop.database, shop.store, shop.settings, shop.work, self._repairing)
        left, unnamed = await healer.heal(lost, numbers)
        healed = healer.healed
        self.refusals += healed.refusals
        self.fixes += [Fix("healed", name, "is in the store again, as it was") for name in healed.contents]
        self.fixes += [Fix("found", f"content number {number}", "was found again") for number in healed.found]
        concerned = {h for h, kinds in self._work.media.items() if "blob_row_missing" in kinds}
        if left or unnamed:
            if healed.waits or anybody_busy:
                self.refusals.append("contents are not given up while media are being worked on: repair again then")
            else:
                concerned |= await self._give_up(left, unnamed)
        for medium_hash in sorted(concerned):
            await self._media.run(medium_hash, self._work.media.get(medium_hash, set()))

    async def _lost(self) -> list[StoredBlob]:
        lost = {blob.id: blob for blob in await self._repairing.blobs(sorted(self._work.lost))}
        for pack_id, kinds in self._work.packs.items():
            if "pack_missing" in kinds and not await anyio.to_thread.run_sync(self._is_unreachable, pack_id):
                lost |= {blob.id: blob for blob in await self._repairing.blobs_of_pack(pack_id)}
        return list(lost.values())

    def _is_unreachable(self, pack_id: int) -> bool:
        """It is there, but cannot be opened: nothing is lost yet."""
        path = self._shop.store.pack_path(pack_id)
        if os.path.lexists(path):
            self.refusals.append(f"{path} is there, but cannot be opened: see its mode and its disk")
            return True
        return False

    async def _dangling(self) -> list[int]:
        numbers: set[int] = set()
        wanted = [h for h, kinds in self._work.media.items() if "blob_row_missing" in kinds]
        for medium in (await self._auditing.archived(wanted)).values():
            numbers.update(await self._repairing.dangling(medium.id))
        return sorted(numbers)

    async def _give_up(self, left: Sequence[StoredBlob], unnamed: Sequence[int]) -> set[str]:
        """Never left as copied: the files with these contents have failed from now on. The media concerned."""
        files, media = await self._repairing.give_up([*(blob.id for blob in left), *unnamed], LOST_REASON)
        for name in (*(blob.blob_hash.hex() for blob in left), *(f"content number {n}" for n in unnamed)):
            self.fixes.append(Fix("given_up", name, f"{LOST_REASON}; {files:,} files in all have failed"))
        found: set[str] = set()
        async for page in self._auditing.media(None):
            found |= {medium.medium_hash for medium in page if medium.id in media}
        return found

    # ---- packs

    async def _packs(self) -> None:
        for pack_id, kinds in self._work.packs.items():
            if not kinds & {"pack_tail", "pack_short", "pack_missing"}:
                continue
            try:
                async with advisory_lock(self._shop.database, LockSpace.PACK, pack_id, f"pack {pack_id}"):
                    await self._pack(pack_id)
            except BusyError as busy:
                self.refusals.append(str(busy))

    async def _pack(self, pack_id: int) -> None:
        """Ends where its last member does, on the disk and in its row."""
        store = self._shop.store
        rows = await self._repairing.blobs_of_pack(pack_id)
        recorded = next((pack for pack in await self._auditing.packs() if pack.id == pack_id), None)
        path = store.pack_path(pack_id)
        if recorded is None or (rows and not path.is_file()):
            return
        known = {(row.pack_offset or 0) - BLOCK_BYTES: member_bytes(row.size_bytes) for row in rows}
        end, sealed = recorded.committed_bytes, recorded.sealed
        if not path.is_file() or path.stat().st_size < end:
            end = (await anyio.to_thread.run_sync(walk_pack, store, pack_id, known)).end if path.is_file() else 0
            if any(start + length > end for start, length in known.items()):
                return  # rows that could not be helped yet
            await self._repairing.record_pack(pack_id, end, sealed=False)
            sealed = False
        elif sealed and path.stat().st_size < end + 2 * BLOCK_BYTES:
            await self._repairing.record_pack(pack_id, end, sealed=False)
            sealed = False
        extra = await anyio.to_thread.run_sync(cut, store, pack_id, end + (2 * BLOCK_BYTES if sealed else 0))
        self.fixes.append(Fix("pack", str(path), f"ends at byte {end:,} again; {extra:,} bytes were cut off"))
