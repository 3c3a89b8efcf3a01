"""The report of `ntt ingest` -> lines for people; nothing from a medium goes out unescaped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from ntt.damage_text import pass_lines
from ntt.db.copying import FailedFile
from ntt.names import as_text, exact, printable
from ntt.operations.damage_report import harmless_places
from ntt.operations.ingest_report import DamagedFile, MediumReport

RANGES_SHOWN = 4
PROBLEMS_SHOWN = 20


def ingest_lines(report: MediumReport) -> Iterator[str]:
    """What was stored, what was known, what is damaged and where, how it was read, what to do; the verdict last."""
    yield f"medium {report.medium_hash}  {printable(report.label)}"
    yield f"  image     {report.image_bytes:,} bytes, {report.unread_bytes:,} not read: {report.health}"
    for volume in report.volumes:
        label = f' "{printable(volume.label)}"' if volume.label else ""
        yield f"  volume {volume.index}  {volume.fstype}{label}: {volume.status} by {volume.route}"
    yield f"  listed    {report.paths:,} paths, {report.files:,} files, {report.bytes:,} bytes"
    if report.changed:
        stages = ", ".join(f"{name} {stage.seconds:.1f} s" for name, stage in report.stages.items())
        yield f"  stored    {report.stored:,} new contents ({report.stored_bytes:,} bytes)"
        yield f"  known     {report.known:,} files whose content was there already"
        yield f"  took      {stages}"
    else:
        yield "  changed   nothing: this medium is in the catalogue already"
    if report.archive:
        yield f"  archive   {printable(report.archive)}, read back and compared"
    for file in report.worst:
        yield from _file_lines(file)
    hidden = report.damaged + report.failed - len(report.worst)
    if hidden > 0:
        yield f"  ...       {hidden:,} more: `ntt problems {report.medium_hash[:8]}`"
    for problem in report.problems[:PROBLEMS_SHOWN]:
        yield f"  problem   {printable(problem)}"
    damage = report.damage
    for line in pass_lines(damage.passes) if damage is not None else ():
        yield f"  pass      {line}"
    for step in damage.next_steps if damage is not None else ():
        yield f"  next      {printable(step)}"
    yield f"  verdict   {verdict(report)}"


def _file_lines(file: DamagedFile) -> Iterator[str]:
    if file.status == "failed":
        yield f"  failed    {printable(file.path)}: {printable(file.reason)}"
        return
    if file.reason:
        yield f"  in doubt  {printable(file.path)}: {printable(file.reason)}"
        return
    ranges = ", ".join(f"{start:,}-{end:,}" for start, end in file.damaged_ranges[:RANGES_SHOWN])
    more = f" and {len(file.damaged_ranges) - RANGES_SHOWN:,} more" if len(file.damaged_ranges) > RANGES_SHOWN else ""
    lost = sum(end - start for start, end in file.damaged_ranges)
    yield f"  damaged   {printable(file.path)}: {lost:,} of {file.size:,} bytes not read, at {ranges}{more}"


def verdict(report: MediumReport) -> str:
    """One sentence that says no more than what was proven."""
    if not report.complete:
        return f"NOT complete: {report.pending:,} files are still to be copied; run the same command again"
    if not report.files:
        return "complete, but NO FILE was found: see the problems above"
    doubt = printable(report.damage.doubt) if report.damage is not None else ""
    but = f"; {doubt}" if doubt else ""
    whole = report.files - report.damaged - report.failed
    if report.damaged or report.failed:
        counts = (
            f"{whole:,} of {report.files:,} files stored whole, {report.damaged:,} damaged, {report.failed:,} failed"
        )
        if report.doubtful:
            counts += f" ({report.doubtful:,} of the damaged are only in doubt: see `ntt problems`)"
        return counts + but
    if report.unread and report.files_whole:
        place = harmless_places(report.unread)
        return f"complete for its files: all {report.files:,} stored whole; the unread bytes lie {place}"
    if report.problems:
        return f"all {report.files:,} listed files stored whole" + (but or ", with the problems above")
    return f"all {report.files:,} files stored whole"


class RetriedFile(msgspec.Struct, frozen=True, omit_defaults=True):
    path: str
    volume: int
    ino: int
    size: int
    reason: str
    path_b64: str | None = None


class RetryDocument(msgspec.Struct, frozen=True):
    """`ntt retry --json`: the failed files, and the medium's report when they were copied again."""

    files: tuple[RetriedFile, ...]
    applied: bool
    medium: MediumReport | None


def retry_document(files: Sequence[FailedFile], report: MediumReport | None) -> RetryDocument:
    shown = tuple(
        RetriedFile(as_text(file.path), file.volume, file.ino, file.size, file.reason, exact(file.path))
        for file in files
    )
    return RetryDocument(shown, report is not None, report)


def retry_lines(files: Sequence[FailedFile], report: MediumReport | None) -> Iterator[str]:
    """Which files, why they failed, and what became of them or what to do."""
    if not files and report is None:
        yield "no file of this medium failed so"
        return
    for file in files:
        yield f"  {printable(file.path)} ({file.size:,} bytes): {printable(file.reason)}"
    if report is None:
        yield f"{len(files):,} files would be copied again; `--apply` does it"
        return
    yield f"{len(files):,} failed files were tried again, and what was still to be copied"
    yield from ingest_lines(report)
