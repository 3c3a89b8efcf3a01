"""Folders of the store and their recorded contents -> what is missing, what is nobody's, what was left behind."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ntt.db.auditing import RecordedMedium
from ntt.db.verifying import StoredBlob
from ntt.operations.audit_packs import HEAL, wrong_mode
from ntt.operations.findings import REPAIR, Finding
from ntt.store.layout import FILE_MODE, StoreLayout
from ntt.store.scratch import leftovers

LISTED_AT_ONCE = 1_000
SWEPT = "`ntt repair` or the next run removes it"
KEEP = "look at it; NTT did not make it, or lost its record"
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class PlainAudit:
    """What was found, and the files that no row claims (their hashes, to be looked up once more)."""

    findings: tuple[Finding, ...]
    unclaimed: tuple[bytes, ...]
    files: int


def audit_plain(layout: StoreLayout, prefix: int, blobs: Sequence[StoredBlob]) -> PlainAudit:
    """The plain files whose hash begins with the byte `prefix` against all rows of plain blobs that do."""
    findings: list[Finding] = []
    held: dict[bytes, os.stat_result] = {}
    for path, status in _plain_files(layout.blobs / f"{prefix:02x}", findings):
        held[bytes.fromhex(path.name)] = status
    for blob in blobs:
        findings += plain_findings(layout, blob, held.get(blob.blob_hash))
    unclaimed = held.keys() - {blob.blob_hash for blob in blobs}
    return PlainAudit(tuple(findings), tuple(sorted(unclaimed)), len(held))


def plain_findings(layout: StoreLayout, blob: StoredBlob, status: os.stat_result | None) -> list[Finding]:
    """Is this plain blob there, of the right size and mode? `status` None: it is not."""
    path = layout.blob_path(blob.blob_hash)
    if status is None:
        return [Finding("blob_missing", str(path), "is not there", HEAL, blob=path.name)]
    found: list[Finding] = []
    if status.st_size != blob.size_bytes:
        detail = f"{status.st_size:,} bytes, {blob.size_bytes:,} are recorded"
        found.append(Finding("blob_size", str(path), detail, HEAL, blob=path.name))
    if stat.S_IMODE(status.st_mode) != FILE_MODE:
        found.append(wrong_mode(path, status.st_mode))
    return found


def plain_status(layout: StoreLayout, blob: StoredBlob) -> os.stat_result | None:
    try:
        status = layout.blob_path(blob.blob_hash).lstat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _plain_files(folder: Path, findings: list[Finding]) -> Iterator[tuple[Path, os.stat_result]]:
    for second in _listed(folder):
        if not _is_folder(second) or len(second.name) != 2 or not set(second.name) <= _HEX:
            findings.append(_stranger(Path(second.path)))
            continue
        for item in _listed(Path(second.path)):
            status = item.stat(follow_symlinks=False)
            named = len(item.name) == 64 and set(item.name) <= _HEX and item.name[:4] == folder.name + second.name
            if named and stat.S_ISREG(status.st_mode):
                yield Path(item.path), status
            else:
                findings.append(_stranger(Path(item.path)))


def strangers(layout: StoreLayout) -> tuple[list[Finding], list[int]]:
    """What lies in the store's folders and is none of its files, and the numbers of the packs there are."""
    findings = [
        _stranger(Path(item.path))
        for item in _listed(layout.blobs)
        if not _is_folder(item) or len(item.name) != 2 or not set(item.name) <= _HEX
    ]
    packs: list[int] = []
    for item in _listed(layout.packs):
        number = item.name.removesuffix(".tar")
        if number.isdecimal() and layout.pack_path(int(number)).name == item.name and not item.is_symlink():
            packs.append(int(number))
        else:
            findings.append(_stranger(Path(item.path)))
    return findings, sorted(packs)


def left_behind(layout: StoreLayout, work: Path | None) -> list[Finding]:
    """Temp files and work folders whose process is gone; they are locked while it lives."""
    temps = [Path(item.path) for item in _listed(layout.tmp)]
    found = [Finding("temp_file", str(path), "its writer is gone", SWEPT) for path in temps if not _is_locked(path)]
    if work is not None:
        found += [Finding("work_folder", str(path), "its run has ended", SWEPT) for path in leftovers(work)]
    return found


def archive_batches(folder: Path) -> Iterator[list[Path]]:
    """The files of the archive folder, a thousand at a time."""
    try:
        with os.scandir(folder) as found:
            while batch := [Path(item.path) for item in islice(found, LISTED_AT_ONCE)]:
                yield sorted(batch)
    except FileNotFoundError:
        return


def medium_of(archive: Path) -> str:
    """The hash of the medium that the name of an archive names, or what stands in its place."""
    return archive.name.partition(".")[0]


def audit_archives(files: Sequence[Path], media: Mapping[str, RecordedMedium], busy: frozenset[str]) -> list[Finding]:
    """Files of the archive folder against the media that their names name."""
    found: list[Finding] = []
    for path in files:
        medium_hash, _, ending = path.name.partition(".")
        if medium_hash in busy:
            continue
        medium = media.get(medium_hash)
        if ending == "tar.zst.part":
            if not _is_locked(path):
                found.append(Finding("temp_file", str(path), "an archive that was not finished", SWEPT))
        elif ending != "tar.zst" or medium is None:
            step = "`ntt repair --from-archives` takes its medium back into the catalogue, if it is an archive of NTT's"
            found.append(Finding("unknown_archive", str(path), "belongs to no medium of the catalogue", step))
        elif medium.archive_done is None:
            step = f"{REPAIR} reads it back, and stamps the medium if it is whole; else `ntt ingest` archives anew"
            detail = "was never proven to be whole"
            found.append(Finding("archive_unstamped", str(path), detail, step, medium_hash=medium_hash))
        elif stat.S_IMODE(path.lstat().st_mode) != FILE_MODE:
            found.append(wrong_mode(path, path.lstat().st_mode))
    return found


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda item: item.name)
    except FileNotFoundError:
        return []


def _is_folder(item: os.DirEntry[str]) -> bool:
    return item.is_dir(follow_symlinks=False)


def _is_locked(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _stranger(path: Path) -> Finding:
    return Finding("unknown_file", str(path), "is none of the store's files", KEEP)
