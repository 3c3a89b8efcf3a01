"""One pack file and the rows that claim its bytes -> what is missing, what is nobody's, what differs.

Headers are read one after the other from the start, as tar does; contents only by `ntt audit --deep` and `ntt verify`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ntt.db.auditing import RecordedPack
from ntt.db.verifying import StoredBlob
from ntt.operations.findings import Finding
from ntt.store.layout import FILE_MODE, StoreLayout
from ntt.store.mending import parsed_header
from ntt.store.packs import BLOCK_BYTES, member_bytes, member_header

SEAL_BYTES = 2 * BLOCK_BYTES
HEAL = "restore it from a backup, or let `ntt repair` read it again from an image or archive that has it"


@dataclass(slots=True)
class PackAudit:
    """What was found, and the hashes of members that no row of this pack claims, to be looked up."""

    findings: list[Finding] = field(default_factory=list)
    unclaimed: list[bytes] = field(default_factory=list)


def audit_pack(
    layout: StoreLayout, pack_id: int, recorded: RecordedPack | None, blobs: Sequence[StoredBlob], *, written: bool
) -> PackAudit:
    """`blobs` are all rows of this pack, by offset. `written`: a process appends to it now, so it may be longer."""
    audit = PackAudit()
    path = layout.pack_path(pack_id)
    if recorded is None:
        step = "`ntt repair` takes its contents into the catalogue"
        audit.findings.append(_of(path, pack_id, "pack_unknown", "no pack of this number is recorded", step))
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if blobs or (recorded is not None and recorded.committed_bytes):
            detail = f"{error.strerror}; {len(blobs):,} contents were in it"
            audit.findings.append(_of(path, pack_id, "pack_missing", detail, HEAL))
        return audit
    try:
        status = os.fstat(fd)
        committed = recorded.committed_bytes if recorded is not None else status.st_size
        if recorded is not None and not written:
            audit.findings += _measured(path, status, recorded)
        _Walk(fd, path, pack_id, min(committed, status.st_size), audit).run(blobs)
    finally:
        os.close(fd)
    return audit


def audit_pack_rows(layout: StoreLayout, pack_id: int, blobs: Sequence[StoredBlob]) -> list[Finding]:
    """Only whether the members of these rows are there: for some of a pack's rows."""
    path = layout.pack_path(pack_id)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        detail = f"{error.strerror}; {len(blobs):,} contents of this medium were in it"
        return [_of(path, pack_id, "pack_missing", detail, HEAL)]
    try:
        walk = _Walk(fd, path, pack_id, os.fstat(fd).st_size, PackAudit())
        for blob in blobs:
            walk.claim(blob)
    finally:
        os.close(fd)
    return walk.audit.findings


def _measured(path: Path, status: os.stat_result, recorded: RecordedPack) -> list[Finding]:
    found: list[Finding] = []
    if stat.S_IMODE(status.st_mode) != FILE_MODE:
        found.append(wrong_mode(path, status.st_mode))
    expected = recorded.committed_bytes + (SEAL_BYTES if recorded.sealed else 0)
    if status.st_size < expected:
        detail = f"{status.st_size:,} bytes, {expected:,} are recorded"
        found.append(_of(path, recorded.id, "pack_short", detail, HEAL))
    elif status.st_size > expected:
        detail = f"{status.st_size - expected:,} bytes lie behind the {expected:,} that are recorded"
        step = "`ntt repair`, or the next copy into this pack, cuts them off"
        found.append(_of(path, recorded.id, "pack_tail", detail, step))
    return found


class _Walk:
    """From member to member of `[0, end)`; rows are met in order of their offsets."""

    def __init__(self, fd: int, path: Path, pack_id: int, end: int, audit: PackAudit) -> None:
        self._fd = fd
        self._path = path
        self._pack_id = pack_id
        self._end = end
        self._at = 0
        self.audit = audit

    def run(self, blobs: Sequence[StoredBlob]) -> None:
        for blob in blobs:
            start = (blob.pack_offset or 0) - BLOCK_BYTES
            self._unclaimed_until(min(start, self._end))
            if start < self._at:
                detail = f"its header at byte {start:,} lies inside the member before it"
                self._differs(blob, "member_overlaps", detail)
            self.claim(blob)
            self._at = max(self._at, start + member_bytes(blob.size_bytes))
        self._unclaimed_until(self._end)

    def claim(self, blob: StoredBlob) -> None:
        """Does the member of this row stand where the row says?"""
        start = (blob.pack_offset or 0) - BLOCK_BYTES
        if start + BLOCK_BYTES + blob.size_bytes > self._end:
            self._differs(blob, "blob_missing", f"the pack ends at byte {self._end:,}, before its end")
        elif os.pread(self._fd, BLOCK_BYTES, start) != member_header(blob.blob_hash.hex().encode(), blob.size_bytes):
            self._differs(blob, "member_differs", f"another header stands at byte {start:,}")

    def _unclaimed_until(self, end: int) -> None:
        while self._at < end:
            header = os.pread(self._fd, BLOCK_BYTES, self._at)
            member = parsed_header(header)
            if member is None or self._at + member_bytes(member[1]) > end:
                detail = f"bytes {self._at:,} to {end:,} are no member"
                step = "nothing, if nothing else of this pack is amiss: they belong to no content"
                self.audit.findings.append(_of(self._path, self._pack_id, "pack_gap", detail, step))
                self._at = end
                return
            self.audit.unclaimed.append(member[0])
            self._at += member_bytes(member[1])

    def _differs(self, blob: StoredBlob, kind: str, detail: str) -> None:
        name = blob.blob_hash.hex()
        where = f"{self._path.name} {name}"
        self.audit.findings.append(Finding(kind, where, detail, HEAL, blob=name, pack_id=self._pack_id))


def wrong_mode(path: Path, mode: int) -> Finding:
    detail = f"its mode is {stat.S_IMODE(mode):04o} instead of {FILE_MODE:04o}"
    return Finding("mode", str(path), detail, f"`ntt repair` or `chmod {FILE_MODE:04o}`")


def _of(path: Path, pack_id: int, kind: str, detail: str, next_step: str) -> Finding:
    return Finding(kind, str(path), detail, next_step, pack_id=pack_id)
