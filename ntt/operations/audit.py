"""Catalogue, store and archives -> every place where what is recorded and what is there contradict each other."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio.to_thread
import msgspec

from ntt.db.auditing import Auditing, Held, OpenAttempt, RecordedMedium, RecordedPack
from ntt.db.connection import Database
from ntt.db.media import Medium
from ntt.db.verifying import BlobOrder, StoredBlob, blob_order
from ntt.operations.audit_deep import audit_archive, damaged_contents, differing_rows
from ntt.operations.audit_files import (
    archive_batches,
    audit_archives,
    audit_plain,
    left_behind,
    medium_of,
    plain_findings,
    plain_status,
    strangers,
)
from ntt.operations.audit_media import abandoned, bad_row, file_findings, missing_rows, stale_summary, stamp_findings
from ntt.operations.audit_packs import audit_pack, audit_pack_rows
from ntt.operations.findings import REPAIR, Finding, Findings
from ntt.store.layout import StoreLayout

LOOKED_UP = 10_000  # hashes asked of the database at once
GONE = {"blob_missing", "blob_size"}  # of these it is known without reading that they are not what they were


class AuditReport(msgspec.Struct, frozen=True):
    """What was compared and what contradicts. Of each kind the first thousand are listed, `totals` counts all.

    `busy`: media that another process works on now; their unfinished work is no finding.
    """

    media: int
    packs: int
    blobs: int
    plain_files: int
    findings: tuple[Finding, ...]
    totals: dict[str, int]
    busy: tuple[str, ...]

    @property
    def clean(self) -> bool:
        return not self.totals


@dataclass(slots=True)
class _Compared:
    media: int = 0
    packs: int = 0
    blobs: int = 0
    plain_files: int = 0


@dataclass(frozen=True, slots=True)
class Scope:
    """What is compared: all, or what concerns `medium`. `deep`: contents and archives are read, too."""

    medium: Medium | None = None
    deep: bool = False


async def audit(
    database: Database,
    store: StoreLayout,
    archive_dir: Path,
    *,
    medium: Medium | None,
    work_dir: Path | None = None,
    deep: bool = False,
    listener: Callable[[Finding], None] | None = None,
) -> AuditReport:
    """Compares all, or what concerns one medium; changes nothing. `listener` is told every finding.

    Without `deep` headers and sizes are read, no contents: flipped bytes are found by `deep` and by `ntt verify`.
    Without findings: the store's files = the rows of `blob` = the blobs that files refer to, as sets.
    What is held in memory does not grow with the catalogue but with one pack, and with the number of packs.
    """
    findings = Findings(listener)
    audit_of = _Audit(database, store, archive_dir, Scope(medium, deep), findings, await Auditing(database).held())
    await audit_of.run(work_dir)
    compared = audit_of.compared
    return AuditReport(
        media=compared.media,
        packs=compared.packs,
        blobs=compared.blobs,
        plain_files=compared.plain_files,
        findings=tuple(findings.kept),
        totals=findings.totals,
        busy=tuple(sorted(audit_of.busy)),
    )


async def _groups(order: BlobOrder) -> AsyncIterator[tuple[tuple[int | None, int], list[StoredBlob]]]:
    """Blobs by pack, and those without one by the first byte of their hash: no more than one pack holds at once."""
    key: tuple[int | None, int] | None = None
    group: list[StoredBlob] = []
    async for page in order.pages():
        for blob in page:
            its = (blob.pack_id, 0 if blob.pack_id is not None else blob.blob_hash[0])
            if key is not None and its != key:
                yield key, group
                group = []
            key = its
            group.append(blob)
    if key is not None:
        yield key, group


class _Audit:
    """One comparison; `held` are the locks at its beginning."""

    def __init__(
        self, database: Database, store: StoreLayout, archive_dir: Path, scope: Scope, findings: Findings, held: Held
    ) -> None:
        self._database = database
        self._auditing = Auditing(database)
        self._store = store
        self._archive_dir = archive_dir
        self._medium_id = None if scope.medium is None else scope.medium.id
        self._deep = scope.deep
        self._findings = findings
        self._held = held
        self.compared = _Compared()
        self.busy: set[str] = set()

    async def run(self, work_dir: Path | None) -> None:
        async with blob_order(self._database, self._medium_id, None) as order:
            if self._medium_id is None:
                await self._contents(order)
            else:
                await self._some_contents(order)
        with tempfile.TemporaryDirectory(prefix="ntt-audit-") as work:
            async for media in self._auditing.media(self._medium_id):
                for one in media:
                    await self._medium(one, Path(work))
        for attempt in await self._auditing.open_attempts(self._medium_id):
            if not _may_live(attempt, self._held):
                self._findings.add(abandoned(attempt))
        if self._medium_id is None:
            await self._rest(work_dir)

    # ---- the store

    async def _contents(self, order: BlobOrder) -> None:
        recorded = {pack.id: pack for pack in await self._auditing.packs()}
        found, packs = await anyio.to_thread.run_sync(strangers, self._store)
        self._add(found)
        left_packs, left_prefixes = {*recorded, *packs}, set(range(256))
        written = any(self._held.pack(pack_id) for pack_id in recorded)
        async for (pack_id, prefix), blobs in _groups(order):
            if pack_id is None:
                left_prefixes.discard(prefix)
                await self._prefix(prefix, blobs, written=written)
            else:
                left_packs.discard(pack_id)
                await self._pack(pack_id, recorded.get(pack_id), blobs)
        for pack_id in sorted(left_packs):
            await self._pack(pack_id, recorded.get(pack_id), [])
        for prefix in sorted(left_prefixes):
            await self._prefix(prefix, [], written=written)

    async def _pack(self, pack_id: int, recorded: RecordedPack | None, blobs: list[StoredBlob]) -> None:
        look = partial(audit_pack, self._store, pack_id, recorded, blobs, written=self._held.pack(pack_id))
        result = await anyio.to_thread.run_sync(look)
        self.compared.packs += 1
        self.compared.blobs += len(blobs)
        self._add(result.findings)
        if not any(finding.kind == "pack_missing" for finding in result.findings):
            await self._read(blobs, result.findings)
        # a content that two workers met at once lies in two packs, and is only waste
        await self._report_unknown(result.unclaimed, f"{self._store.pack_path(pack_id).name} ", pack_id)

    async def _prefix(self, prefix: int, blobs: list[StoredBlob], *, written: bool) -> None:
        result = await anyio.to_thread.run_sync(audit_plain, self._store, prefix, blobs)
        self.compared.plain_files += result.files
        self.compared.blobs += len(blobs)
        self._add(result.findings)
        await self._read(blobs, result.findings)
        if not written:  # else they may be on their way into the catalogue
            await self._report_unknown(list(result.unclaimed), f"{self._store.blobs}: ", None)

    async def _read(self, blobs: list[StoredBlob], found: Sequence[Finding]) -> None:
        if not self._deep:
            return
        known = {finding.blob for finding in found if finding.kind in GONE}
        read = partial(damaged_contents, self._store, blobs, known)
        self._add(await anyio.to_thread.run_sync(read))

    async def _report_unknown(self, hashes: list[bytes], where: str, pack_id: int | None) -> None:
        for first in range(0, len(hashes), LOOKED_UP):
            for blob_hash in await self._auditing.unknown(hashes[first : first + LOOKED_UP]):
                name = blob_hash.hex()
                detail, step = "a content that is not in the catalogue", f"{REPAIR} takes it in, if it is whole"
                self._findings.add(Finding("unknown_blob", f"{where}{name}", detail, step, blob=name, pack_id=pack_id))

    async def _some_contents(self, order: BlobOrder) -> None:
        async for (pack_id, _), blobs in _groups(order):
            self.compared.blobs += len(blobs)
            if pack_id is not None:
                self.compared.packs += 1
                found = await anyio.to_thread.run_sync(audit_pack_rows, self._store, pack_id, blobs)
            else:
                self.compared.plain_files += len(blobs)
                found = await anyio.to_thread.run_sync(_plain_rows, self._store, blobs)
            self._add(found)
            if not any(finding.kind == "pack_missing" for finding in found):
                await self._read(blobs, found)

    # ---- media

    async def _medium(self, medium: RecordedMedium, work: Path) -> None:
        self.compared.media += 1
        if self._held.medium(medium.id):
            self.busy.add(medium.medium_hash)
            return
        proof = await self._auditing.proof(medium.id)
        found = stamp_findings(medium, proof)
        rows = [bad_row(medium, row) for row in await self._auditing.bad_rows(medium.id)]
        if not rows and not found:
            rows = missing_rows(medium, proof)
        files = await anyio.to_thread.run_sync(file_findings, medium)
        differ = False
        if self._deep and medium.archive_done is not None and not files:
            files, differ = await audit_archive(self._database, medium, work)
        if differ and not rows and not found:
            rows = [differing_rows(medium)]
        self._add([*found, *rows, *files])
        if await self._auditing.summary_is_stale(medium.id):
            self._findings.add(stale_summary(medium))

    # ---- what belongs to no medium

    async def _rest(self, work_dir: Path | None) -> None:
        hashes, total = await self._auditing.unreferenced()
        for blob_hash in hashes:
            step = "nothing: it is found again when a medium with this content comes"
            name = blob_hash.hex()
            detail = "no file of any medium has this content"
            self._findings.add(Finding("blob_unreferenced", name, detail, step, blob=name))
        self._findings.count_more("blob_unreferenced", total - len(hashes))
        for table, medium_id in await self._auditing.orphan_media():
            detail = f"rows of medium {medium_id}, which is not in the catalogue"
            self._findings.add(Finding("orphan_rows", table, detail, "keep them, ask for help"))
        for batch in archive_batches(self._archive_dir):
            media = await self._auditing.archived([medium_of(path) for path in batch])
            self._add(await anyio.to_thread.run_sync(audit_archives, batch, media, frozenset(self.busy)))
        self._add(await anyio.to_thread.run_sync(left_behind, self._store, work_dir))

    def _add(self, found: Sequence[Finding]) -> None:
        for finding in found:
            self._findings.add(finding)


def _plain_rows(store: StoreLayout, blobs: list[StoredBlob]) -> list[Finding]:
    return [finding for blob in blobs for finding in plain_findings(store, blob, plain_status(store, blob))]


def _may_live(attempt: OpenAttempt, held: Held) -> bool:
    # a pid proves nothing after a restart of the machine; a run that lives is connected to the database
    return held.run(attempt.run_id) or (attempt.medium_id is not None and held.medium(attempt.medium_id))
