"""Catalogue, store and archives -> every place where what is recorded and what is there contradict each other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio.to_thread
import msgspec

from ntt.db.auditing import Auditing, BadRow, Held, OpenAttempt, Proof, RecordedArchive
from ntt.db.connection import Database
from ntt.db.media import Media, Medium
from ntt.db.verifying import BlobOrder, StoredBlob, blob_order
from ntt.names import as_text
from ntt.operations.audit_files import audit_archives, audit_plain, left_behind, plain_findings, plain_status, strangers
from ntt.operations.audit_packs import audit_pack, audit_pack_rows
from ntt.operations.findings import Finding, Findings
from ntt.store.layout import StoreLayout

LOOKED_UP = 10_000  # hashes asked of the database at once
AGAIN = "run `ntt ingest` with the medium's image again"
_ROWS = {
    "blob_row_missing": ("refers to a content that is not in the catalogue", f"{AGAIN}, with --replace"),
    "size_differs": ("its content has another size than the file", f"{AGAIN}, with --replace"),
    "outcome_without_file": ("an outcome stands for no regular file", f"{AGAIN}, with --replace"),
    "node_without_name": ("an inode that nothing names", f"{AGAIN}, with --replace"),
    "name_without_node": ("a name without inode", f"{AGAIN}, with --replace"),
    "name_without_directory": ("a name in a directory that is not listed", f"{AGAIN}, with --replace"),
}


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


async def audit(
    database: Database, store: StoreLayout, archive_dir: Path, *, medium: Medium | None, work_dir: Path | None = None
) -> AuditReport:
    """Compares all, or what concerns one medium. Reads headers and sizes, no contents; changes nothing.

    Without findings: the store's files = the rows of `blob` = the blobs that files refer to, as sets."""
    auditing = Auditing(database)
    held = await auditing.held()
    findings, compared = Findings(), _Compared()
    # read anew: what the caller holds may be older than what is compared with it
    media = await Media(database).all() if medium is None else [await Media(database).by_id(medium.id)]
    busy = frozenset(one.medium_hash for one in media if held.medium(one.id))
    async with blob_order(database, None if medium is None else medium.id, None) as order:
        if medium is None:
            await _audit_store(auditing, store, order, held, findings, compared)
        else:
            await _audit_some(store, order, findings, compared)
    for one in media:
        compared.media += 1
        if one.medium_hash not in busy:
            await _audit_medium(auditing, one, findings)
    for attempt in await auditing.open_attempts(None if medium is None else medium.id):
        if not _may_live(attempt, held):
            findings.add(_abandoned(attempt))
    if medium is None:
        await _audit_rest(auditing, findings)
        archived = {one.medium_hash: one.archive_done is not None for one in media}
        for finding in await anyio.to_thread.run_sync(audit_archives, archive_dir, archived, busy):
            findings.add(finding)
        for finding in await anyio.to_thread.run_sync(left_behind, store, work_dir):
            findings.add(finding)
    return AuditReport(
        media=compared.media,
        packs=compared.packs,
        blobs=compared.blobs,
        plain_files=compared.plain_files,
        findings=tuple(findings.kept),
        totals=findings.totals,
        busy=tuple(sorted(busy)),
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


async def _audit_store(
    auditing: Auditing, store: StoreLayout, order: BlobOrder, held: Held, findings: Findings, compared: _Compared
) -> None:
    recorded = {pack.id: pack for pack in await auditing.packs()}
    found, packs = await anyio.to_thread.run_sync(strangers, store)
    for finding in found:
        findings.add(finding)
    left_packs, left_prefixes = {*recorded, *packs}, set(range(256))

    async def one_pack(pack_id: int, blobs: list[StoredBlob]) -> None:
        left_packs.discard(pack_id)
        look = partial(audit_pack, store, pack_id, recorded.get(pack_id), blobs, written=held.pack(pack_id))
        result = await anyio.to_thread.run_sync(look)
        compared.packs += 1
        compared.blobs += len(blobs)
        for finding in result.findings:
            findings.add(finding)
        # a content that two workers met at once lies in two packs, and is only waste
        where = store.pack_path(pack_id).name
        await _report_unknown(auditing, result.unclaimed, f"{where} ", findings)

    async def one_prefix(prefix: int, blobs: list[StoredBlob]) -> None:
        left_prefixes.discard(prefix)
        result = await anyio.to_thread.run_sync(audit_plain, store, prefix, blobs)
        compared.plain_files += result.files
        compared.blobs += len(blobs)
        for finding in result.findings:
            findings.add(finding)
        if not any(held.pack(pack_id) for pack_id in recorded):  # else they may be on their way into the catalogue
            await _report_unknown(auditing, list(result.unclaimed), f"{store.blobs}: ", findings)

    async for (pack_id, prefix), blobs in _groups(order):
        await (one_prefix(prefix, blobs) if pack_id is None else one_pack(pack_id, blobs))
    for pack_id in sorted(left_packs):
        await one_pack(pack_id, [])
    for prefix in sorted(left_prefixes):
        await one_prefix(prefix, [])


async def _report_unknown(auditing: Auditing, hashes: list[bytes], where: str, findings: Findings) -> None:
    for first in range(0, len(hashes), LOOKED_UP):
        for blob_hash in await auditing.unknown(hashes[first : first + LOOKED_UP]):
            detail, step = "a content that is not in the catalogue", "keep it: some medium may lack it"
            findings.add(Finding("unknown_blob", f"{where}{blob_hash.hex()}", detail, step))


async def _audit_some(store: StoreLayout, order: BlobOrder, findings: Findings, compared: _Compared) -> None:
    async for (pack_id, _), blobs in _groups(order):
        compared.blobs += len(blobs)
        if pack_id is not None:
            compared.packs += 1
            found = await anyio.to_thread.run_sync(audit_pack_rows, store, pack_id, blobs)
        else:
            compared.plain_files += len(blobs)
            found = await anyio.to_thread.run_sync(_plain_rows, store, blobs)
        for finding in found:
            findings.add(finding)


def _plain_rows(store: StoreLayout, blobs: list[StoredBlob]) -> list[Finding]:
    return [finding for blob in blobs for finding in plain_findings(store, blob, plain_status(store, blob))]


async def _audit_rest(auditing: Auditing, findings: Findings) -> None:
    hashes, total = await auditing.unreferenced()
    for blob_hash in hashes:
        step = "nothing: it is found again when a medium with this content comes"
        findings.add(Finding("blob_unreferenced", blob_hash.hex(), "no file of any medium has this content", step))
    findings.count_more("blob_unreferenced", total - len(hashes))
    for table, medium_id in await auditing.orphan_media():
        detail = f"rows of medium {medium_id}, which is not in the catalogue"
        findings.add(Finding("orphan_rows", table, detail, "keep them, ask for help"))


async def _audit_medium(auditing: Auditing, medium: Medium, findings: Findings) -> None:
    proof = await auditing.proof(medium.id)
    for finding in _stamps(medium, proof):
        findings.add(finding)
    for row in await auditing.bad_rows(medium.id):
        findings.add(_bad_row(medium, row))
    recorded = await auditing.archive(medium.id)
    for finding in await anyio.to_thread.run_sync(_files_of, medium, recorded):
        findings.add(finding)


def _stamps(medium: Medium, proof: Proof) -> list[Finding]:
    found: list[tuple[str, str, str]] = []
    if medium.enum_done is None:
        if proof.nodes:
            found.append(("unstamped_rows", f"{proof.nodes:,} inodes but no enum_done", f"{AGAIN}, with --replace"))
        else:
            found.append(("never_loaded", "its files were never listed", AGAIN))
    elif not proof.nodes and not proof.knows_why_empty:
        found.append(("stamped_empty", "enum_done is set, but there is not one inode", f"{AGAIN}, with --replace"))
    if medium.copy_done is not None and proof.pending:
        detail = f"copy_done is set, but {proof.pending:,} files have neither content nor a reason"
        found.append(("stamped_incomplete", detail, AGAIN))
    if medium.enum_done is not None and medium.copy_done is None and not proof.pending:
        found.append(("complete_unstamped", "every file has its outcome, but copy_done is not set", AGAIN))
    return [Finding(kind, medium.medium_hash, detail, step) for kind, detail, step in found]


def _files_of(medium: Medium, recorded: RecordedArchive) -> list[Finding]:
    where = medium.medium_hash
    if not recorded.done:
        if medium.image_path is None or _is_there(Path(medium.image_path)):
            return []
        detail = f"its image {medium.image_path} is gone, and there is no archive"
        step = "nothing, if all its files are copied" if medium.copy_done else "find the image or read the medium again"
        return [Finding("image_missing", where, detail, step)]
    try:
        size_bytes = Path(recorded.path or "").stat().st_size
    except OSError as error:
        detail, step = f"its archive {recorded.path}: {error.strerror}", f"restore it from a backup, or {AGAIN}"
        return [Finding("archive_missing", where, detail, step)]
    if size_bytes != recorded.size_bytes:
        detail = f"its archive {recorded.path} has {size_bytes:,} bytes, {recorded.size_bytes or 0:,} are recorded"
        return [Finding("archive_size", where, detail, f"restore it from a backup, or {AGAIN}")]
    return []


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True


def _bad_row(medium: Medium, row: BadRow) -> Finding:
    detail, step = _ROWS[row.kind]
    path = f" {as_text(row.path)}" if row.path else ""
    return Finding(row.kind, f"{medium.medium_hash} volume {row.volume} inode {row.ino}{path}", detail, step)


def _may_live(attempt: OpenAttempt, held: Held) -> bool:
    # a pid proves nothing after a restart of the machine; a run that lives is connected to the database
    return held.run(attempt.run_id) or (attempt.medium_id is not None and held.medium(attempt.medium_id))


def _abandoned(attempt: OpenAttempt) -> Finding:
    where = f"{attempt.medium_hash or 'no medium'} {attempt.stage}"
    detail = (
        f"an attempt of {attempt.started_at:%Y-%m-%d %H:%M} by pid {attempt.pid} on {attempt.host} was never closed"
    )
    return Finding("attempt_open", where, detail, f"{AGAIN}: it is closed as interrupted")
