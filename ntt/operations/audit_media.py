"""What a medium's row claims -> where its rows, its image and its archive say otherwise."""

from __future__ import annotations

from pathlib import Path

from ntt.db.auditing import BadRow, OpenAttempt, Proof, RecordedMedium
from ntt.names import as_text
from ntt.operations.findings import REPAIR, Finding

AGAIN = "run `ntt ingest` with the medium's image again"
_FROM_ARCHIVE = f"{REPAIR} restores its rows from its archive; without one {AGAIN}, with --replace"
_ROWS = {
    "blob_row_missing": (
        "refers to a content that is not in the catalogue",
        f"{REPAIR} finds it by the medium's archive or image, or says that it is lost",
    ),
    "size_differs": ("its content has another size than the file", f"{AGAIN}, with --replace"),
    "outcome_without_file": ("an outcome stands for no regular file", _FROM_ARCHIVE),
    "node_without_name": ("an inode that nothing names", _FROM_ARCHIVE),
    "name_without_node": ("a name without inode", _FROM_ARCHIVE),
    "name_without_directory": ("a name in a directory that is not listed", _FROM_ARCHIVE),
}


def stamp_findings(medium: RecordedMedium, proof: Proof) -> list[Finding]:
    """Stamps without their proof, and proof without its stamp."""
    found: list[tuple[str, str, str]] = []
    if medium.enum_done is None:
        if proof.nodes:
            step = f"{REPAIR} stamps it, if they can be proven to be all; else {AGAIN}"
            found.append(("unstamped_rows", f"{proof.nodes:,} inodes but no enum_done", step))
        else:
            found.append(("never_loaded", "its files were never listed", AGAIN))
    elif not proof.nodes and not proof.knows_why_empty:
        found.append(("stamped_empty", "enum_done is set, but there is not one inode", _FROM_ARCHIVE))
    if medium.copy_done is not None and proof.pending:
        detail = f"copy_done is set, but {proof.pending:,} files have neither content nor a reason"
        found.append(("stamped_incomplete", detail, f"{REPAIR} restores or unstamps them; then {AGAIN}"))
    if medium.enum_done is not None and medium.copy_done is None and not proof.pending:
        detail = "every file has its outcome, but copy_done is not set"
        found.append(("complete_unstamped", detail, f"{REPAIR} stamps it"))
    return [Finding(kind, medium.medium_hash, detail, step, medium.medium_hash) for kind, detail, step in found]


def missing_rows(medium: RecordedMedium, proof: Proof) -> list[Finding]:
    """Fewer or more rows than its last whole listing counted. To be asked where no row contradicts another."""
    if medium.enum_done is None or proof.listed is None or proof.listed == (proof.nodes, proof.names):
        return []
    detail = (
        f"{proof.nodes:,} inodes and {proof.names:,} names, its listing counted {proof.listed[0]:,} and "
        f"{proof.listed[1]:,}"
    )
    return [Finding("rows_missing", medium.medium_hash, detail, _FROM_ARCHIVE, medium.medium_hash)]


def file_findings(medium: RecordedMedium) -> list[Finding]:
    """Is its archive there and as long as it was, or without one its image?"""
    where = medium.medium_hash
    if medium.archive_done is None:
        if medium.image_path is None or _size_of(Path(medium.image_path)) is not None:
            return []
        detail = f"its image {medium.image_path} is gone, and there is no archive"
        step = "nothing, if all its files are copied" if medium.copy_done else "find the image or read the medium again"
        return [Finding("image_missing", where, detail, step, where)]
    try:
        size_bytes = Path(medium.archive_path or "").stat().st_size
    except OSError as error:
        detail = f"its archive {medium.archive_path}: {error.strerror}"
        step = f"restore it from a backup; or {REPAIR} takes its stamp away, and {AGAIN}"
        return [Finding("archive_missing", where, detail, step, where)]
    if size_bytes != medium.archive_bytes:
        detail = (
            f"its archive {medium.archive_path} has {size_bytes:,} bytes, {medium.archive_bytes or 0:,} are recorded"
        )
        step = f"restore it from a backup; or {REPAIR} takes its stamp away, and {AGAIN}"
        return [Finding("archive_size", where, detail, step, where)]
    return []


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def bad_row(medium: RecordedMedium, row: BadRow) -> Finding:
    detail, step = _ROWS[row.kind]
    path = f" {as_text(row.path)}" if row.path else ""
    where = f"{medium.medium_hash} volume {row.volume} inode {row.ino}{path}"
    return Finding(row.kind, where, detail, step, medium.medium_hash)


def stale_summary(medium: RecordedMedium) -> Finding:
    detail = "medium.problems is not what its rows say"
    return Finding("summary_stale", medium.medium_hash, detail, f"{REPAIR} makes it anew", medium.medium_hash)


def abandoned(attempt: OpenAttempt) -> Finding:
    where = f"{attempt.medium_hash or 'no medium'} {attempt.stage}"
    detail = (
        f"an attempt of {attempt.started_at:%Y-%m-%d %H:%M} by pid {attempt.pid} on {attempt.host} was never closed"
    )
    step = f"{REPAIR} closes it as interrupted, as the next run does"
    return Finding("attempt_open", where, detail, step, attempt.medium_hash or "")
