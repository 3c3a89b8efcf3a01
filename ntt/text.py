"""Reports -> lines for a terminal; whatever comes from a medium passes `printable` first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from ntt.db.reporting import Counts, Inserted, StageAttempt
from ntt.names import printable
from ntt.operations.audit import AuditReport
from ntt.operations.doctor import DoctorReport, State
from ntt.operations.located import Located
from ntt.operations.problems_overview import ProblemsOverview, TroubledMedium
from ntt.operations.restore import RestoreReport
from ntt.operations.status import MediaList, MediumStatus

SHORT = 8  # digits of a hash that people type
SHOWN = 20  # of a list on the screen; all stand in the JSON
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def size_words(count: int) -> str:
    """1536 -> `1.5 KiB`."""
    amount = float(count)
    for unit in _UNITS[:-1]:
        if amount < 1024:
            return f"{count:,} {unit}" if unit == _UNITS[0] else f"{amount:,.1f} {unit}"
        amount /= 1024
    return f"{amount:,.1f} {_UNITS[-1]}"


def when_words(time: datetime | None) -> str:
    return "-" if time is None else f"{time.astimezone():%Y-%m-%d %H:%M}"


def more_lines(total: int, shown: int) -> Iterator[str]:
    if total > shown:
        yield f"  ... and {total - shown:,} more (--json lists them)"


def _located(title: str, found: Sequence[Located], total: int) -> Iterator[str]:
    if total:
        yield f"{title}: {total:,}"
        for one in found[:SHOWN]:
            yield f"  {printable(one.raw)}: {printable(one.reason)}"
        yield from more_lines(total, min(SHOWN, len(found)))


def restore_lines(report: RestoreReport) -> Iterator[str]:
    yield (
        f"{report.medium_hash[:SHORT]} -> {printable(report.destination)}: {report.files:,} files "
        f"({size_words(report.bytes)}), {report.directories:,} directories, {report.links:,} symbolic links, "
        f"{report.hard_links:,} further hard links, {report.special:,} special files"
    )
    yield from _located("could not be restored", report.failed, report.failed_total)
    yield from _located(
        "restored with parts that were not read, or may not have been", report.damaged, report.damaged_total
    )
    yield from _located("written from a clean copy", report.replaced, report.replaced_total)
    yield from _located("left out", report.skipped, report.skipped_total)
    yield from _located("restored, but not quite as it was", report.altered, report.altered_total)
    if report.complete:
        yield "everything was restored as it was"


def audit_lines(report: AuditReport) -> Iterator[str]:
    yield (
        f"compared {report.media:,} media, {report.blobs:,} contents, {report.packs:,} packs, "
        f"{report.plain_files:,} plain files"
    )
    for kind, total in sorted(report.totals.items()):
        yield f"{kind}: {total:,}"
        listed = [finding for finding in report.findings if finding.kind == kind]
        for finding in listed[:SHOWN]:
            yield f"  {printable(finding.where)}: {printable(finding.detail)}"
            yield f"    next: {printable(finding.next_step)}"
        yield from more_lines(total, min(SHOWN, len(listed)))
    if report.busy:
        yield f"{len(report.busy):,} media are being worked on and were only partly looked at"
    if report.clean:
        yield "what is recorded and what is there agree"


def overview_lines(report: ProblemsOverview) -> Iterator[str]:
    if not report.media:
        yield f"no problems on any of {report.media_total:,} media"
    for medium in report.media:
        yield f"{medium.medium_hash[:SHORT]}  {medium.health:<10}  {printable(medium.human)}: {_troubles(medium)}"
    if report.media:
        yield "next: `ntt problems HASH` tells which files and where"


def _troubles(medium: TroubledMedium) -> str:
    said = [
        "" if medium.is_done else "not all of it is listed and copied yet",
        f"{size_words(medium.unread_bytes)} not read" if medium.unread_bytes else "",
        f"{medium.error_files:,} files damaged or failed" if medium.error_files else "",
        f"{medium.findings:,} findings" if medium.findings else "",
        printable(medium.message or ""),
        *map(printable, medium.unended),
    ]
    return ", ".join(part for part in said if part) or "problems recorded"


def list_lines(report: MediaList) -> Iterator[str]:
    if not report.media:
        yield "no media yet: `ntt ingest IMAGE` adds one"
    for medium in report.media:
        stages = ((medium.enum_done, "listed"), (medium.copy_done, "copied"), (medium.archive_done, "archived"))
        done = ", ".join(word for stamp, word in stages if stamp) or "new"
        yield (
            f"{medium.medium_hash[:SHORT]}  {medium.health:<10}  {size_words(medium.image_bytes):>12}  "
            f"{printable(medium.human)}: {done}; {printable(medium.next_action)}"
        )


def status_lines(report: MediumStatus) -> Iterator[str]:
    yield f"medium {report.medium_hash}  {printable(report.human)}"
    yield f"  {report.health}, {size_words(report.image_bytes)}, {size_words(report.unread_bytes)} not read"
    if report.message:
        yield f"  {printable(report.message)}"
    image = printable(report.image_path) if report.image_path else "gone"
    yield f"  image {image}"
    yield f"  archive {printable(report.archive_path) if report.archive_done and report.archive_path else 'none'}"
    stages = (("listed", report.enum_done), ("copied", report.copy_done), ("archived", report.archive_done))
    yield f"  {', '.join(f'{word} {when_words(stamp)}' for word, stamp in stages)}"
    yield f"  {_counted(report.counts)}"
    for volume in report.volumes:
        label = f" {printable(volume.label)}" if volume.label else ""
        finding = f": {printable(volume.finding)}" if volume.finding else ""
        yield f"  volume {volume.index} {printable(volume.fstype)}{label} {volume.status}{finding}"
    yield from _history(report)
    yield f"  seen {len(report.sightings):,} times"
    yield f"next: {printable(report.next_action)}"


def _history(report: MediumStatus) -> Iterator[str]:
    """Every attempt and every insertion, as they came."""
    told = [(attempt.started_at, _attempt(attempt)) for attempt in report.stages]
    told += [(inserted.inserted_at, _inserted(inserted)) for inserted in report.insertions]
    for time, line in sorted(told, key=lambda one: one[0]):
        yield f"  {time.astimezone():%Y-%m-%d %H:%M:%S}  {line}"


def _counted(counts: Counts) -> str:
    return (
        f"{counts.paths:,} paths, {counts.files:,} files ({size_words(counts.file_bytes)}): {counts.copied:,} copied, "
        f"{counts.damaged:,} damaged, {counts.failed:,} failed, {counts.pending:,} pending"
    )


def _attempt(attempt: StageAttempt) -> str:
    took = "" if attempt.seconds is None else f" after {attempt.seconds:,.1f} s"
    counts = ", ".join(f"{key} {_count(value)}" for key, value in attempt.counts.items() if value not in (0, ""))
    who = f"run {attempt.run_id}, pid {attempt.pid} on {printable(attempt.host)}"
    error = f": {printable(attempt.error)}" if attempt.error else ""
    return f"{attempt.stage:<10} {attempt.state}{took}{f' ({counts})' if counts else ''}, {who}{error}"


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else printable(str(value))


def _inserted(inserted: Inserted) -> str:
    parts = [
        printable(inserted.drive),
        f"box {printable(inserted.box)}" if inserted.box else "",
        f"label {printable(inserted.label)}" if inserted.label else "",
        printable(inserted.disc),
        f"medium {inserted.sequence:,} of run {inserted.session}",
        "" if inserted.ejected_at is None else f"out at {inserted.ejected_at.astimezone():%H:%M:%S}",
    ]
    verdict = inserted.verdict or "not ended"
    summary = f": {printable(inserted.summary)}" if inserted.summary else ""
    return f"inserted   {verdict} ({', '.join(part for part in parts if part)}){summary}"


def doctor_lines(report: DoctorReport) -> Iterator[str]:
    for check in report.checks:
        yield f"{check.state:<8} {check.name:<14} {printable(check.found)}"
        if check.state is not State.OK:
            yield f"         {check.purpose}; to do: {printable(check.install)}"
    yield "this machine is ready" if report.ready else "this machine is not ready: see what is missing above"
