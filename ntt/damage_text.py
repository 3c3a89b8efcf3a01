"""What is wrong with a medium -> lines for people; whatever comes from a medium or a drive passes `printable` first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from ntt.model import VolumeStatus
from ntt.names import printable
from ntt.operations.damage_report import DamageReport, PassReport
from ntt.operations.problems import GO_ON, FileProblem, ProblemsReport
from ntt.operations.unread_kinds import KINDS
from ntt.ranges import Ranges
from ntt.text import SHORT, SHOWN, more_lines, size_words, when_words

RANGES_SHOWN = 8
PASSES_SHOWN = 12  # the last ones
EVENTS_SHOWN = 5  # the newest
FIRST = "everything"  # the name of the pass over the whole medium
SAMPLES = "samples"  # of that over the few places by which a medium is known
_TASKS = {
    FIRST: "first pass",
    SAMPLES: "what the medium is known by",
    "structures": "metadata",
    "beginnings": "beginnings of volumes",
}
_HARDWARE = ("vendor", "model", "serial", "firmware", "bridge", "bridge_vendor", "bridge_product", "bridge_serial")


class Found(msgspec.Struct, frozen=True):
    """A finding inside `medium.problems`."""

    kind: str = ""
    detail: str = ""
    next_step: str = ""
    volume: int | None = None
    name: str = ""


class Summary(msgspec.Struct, frozen=True):
    """What of `medium.problems` is shown besides the files."""

    findings: tuple[Found, ...] = ()
    findings_total: int = 0
    beyond_eof_detected: bool = False
    skip_count: int = 0
    high_error_rate: bool = False
    error_rate: float = 0.0
    mount_unstable: bool = False


def findings_of(report: ProblemsReport) -> Summary:
    """What the report's `problems` says, as far as it is shown."""
    return msgspec.convert(report.problems, Summary, strict=False)


def task_words(name: str) -> str:
    """What a pass is to read, by its name."""
    return _TASKS.get(name) or printable(name)


def unread_lines(unread: Mapping[str, int], structures: Mapping[str, int]) -> Iterator[str]:
    """A line for each kind of thing that unread bytes are of, the worst first."""
    width = max((len(f"{size_bytes:,}") for size_bytes in unread.values()), default=0)
    for kind, words in KINDS.items():
        if kind not in unread:
            continue
        of = ", ".join(f"{printable(what)} {size_bytes:,}" for what, size_bytes in sorted(structures.items()))
        yield f"{unread[kind]:>{width},} bytes {words}" + (f": {of}" if kind == "structures" and of else "")


def directory_lines(damage: DamageReport) -> Iterator[str]:
    for directory in damage.directories[:SHOWN]:
        path = printable(directory.raw) or "/"
        yield f"{path} (volume {directory.volume}): {directory.unread_bytes:,} bytes not read"
    if damage.directories_total > SHOWN:
        yield f"... and {damage.directories_total - SHOWN:,} more (--json lists them)"


def pass_lines(passes: Sequence[PassReport]) -> Iterator[str]:
    """Every pass over the medium with what came of it; what it was read through when that changes."""
    if len(passes) > PASSES_SHOWN:
        yield f"... {len(passes) - PASSES_SHOWN:,} earlier ones (--json lists them)"
    before = ""
    for one in passes[-PASSES_SHOWN:]:
        drive = drive_words(one)
        if drive != before:
            yield f"through {drive}"
        before = drive
        detail = f" ({printable(one.detail)})" if one.detail else ""
        read = f"{one.read_bytes:,} of {one.wanted_bytes:,} bytes read in {duration_words(one.seconds)}"
        errors = f", {one.read_errors:,} read errors" if one.read_errors else ""
        yield (
            f"{when_words(one.began_at)}  {task_words(one.name)}: {read}{errors}; {one.bad_bytes:,} bytes bad; "
            f"ended: {printable(one.meaning)}{detail}"
        )


def drive_words(one: PassReport) -> str:
    """The source of a pass, and the model, serial and bridge (VID:PID) of what it was read through."""
    told = [f"{key.replace('_', ' ')} {printable(one.hardware[key])}" for key in _HARDWARE if one.hardware.get(key)]
    return f"{printable(one.source)}" + (f": {', '.join(told)}" if told else "")


def duration_words(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"


def in_short(report: ProblemsReport) -> str:
    """One sentence: nothing wrong, or the verdict."""
    return "nothing was found wrong with its files" if report.is_clean else printable(report.damage.verdict)


def problems_lines(report: ProblemsReport) -> Iterator[str]:
    """What is wrong, on which files, how many bytes, where exactly, how it was read, and what to do."""
    yield f"medium {report.medium_hash}: {report.health}"
    for sentence in (report.damage.verdict, report.message, *report.unended):
        if sentence:
            yield f"  {printable(sentence)}"
    if report.unread:
        yield f"{sum(report.unread.values()):,} bytes of the medium were not read"
        yield from _indented(unread_lines(report.unread, report.damage.structures))
    if report.damage.directories:
        yield f"{report.damage.directories_total:,} directories of which names may be missing"
        yield from _indented(directory_lines(report.damage))
    yield from _findings(report, findings_of(report))
    yield from _indented(of_all_files(findings_of(report)))
    yield from _files("damaged", [file for file in report.files if file.status == "damaged" and not file.in_doubt])
    yield from _files("in doubt", [file for file in report.files if file.in_doubt])
    if report.events_total and not report.files:
        yield f"{report.events_total:,} times reading went wrong, and was well when it was tried again (--json: when)"
    yield from _files("failed", [file for file in report.files if file.status == "failed"])
    yield from _events(report)
    if report.damage.passes:
        yield f"{len(report.damage.passes):,} passes over the medium"
        yield from _indented(pass_lines(report.damage.passes))
    for step in report.next_steps:
        if step in report.damage.next_steps or step == GO_ON:  # the others stand beside what they are about
            yield f"next: {printable(step)}"
    if report.is_clean:
        yield in_short(report)


def of_all_files(summary: Summary) -> Iterator[str]:
    """What reading them told of the medium itself, and what to do about it."""
    if summary.beyond_eof_detected:
        yield f"{summary.skip_count:,} reads went beyond the end of the image: was it cut short?"
    if summary.high_error_rate:
        yield f"{summary.error_rate:.1%} of the files failed or are damaged: clean the medium, try another drive"
    if summary.mount_unstable:
        yield "what it was read through broke more than once: check the connection, or use another drive"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)


def _findings(report: ProblemsReport, summary: Summary) -> Iterator[str]:
    for volume in report.volumes:
        if volume.status is VolumeStatus.FINDING:
            yield f"  volume {volume.index} ({printable(volume.fstype)}): {printable(volume.finding)}"
            if volume.next_step:
                yield f"    next: {printable(volume.next_step)}"
    said = {"volume", "metadata_unread"} if report.damage.structures else {"volume"}  # above
    for finding in summary.findings[:SHOWN]:
        if finding.kind in said:
            continue
        place = "" if finding.volume is None else f" volume {finding.volume}"
        name = f" {printable(finding.name)}" if finding.name else ""
        yield f"  {finding.kind}{place}{name}: {printable(finding.detail)}"
        if finding.next_step:
            yield f"    next: {printable(finding.next_step)}"
    yield from more_lines(summary.findings_total, min(SHOWN, len(summary.findings)))


def _events(report: ProblemsReport) -> Iterator[str]:
    if not report.events_total:
        return
    yield f"{report.events_total:,} diagnostic events"
    for event in report.events[:EVENTS_SHOWN]:
        name = printable(event.raw) or f"inode {event.ino}"
        error = (
            f" ({printable(event.exception_type)}: {printable(event.exception_msg)})" if event.exception_type else ""
        )
        checks = printable(", ".join(event.checks)) or "nothing was seen"
        tries = "" if event.retry_count < 2 else f" at try {event.retry_count:,}"
        yield f"  {when_words(event.at)}  {name}: {checks}{tries}: {event.action}{error}"
    yield from more_lines(report.events_total, min(EVENTS_SHOWN, len(report.events)))


def _files(status: str, files: Sequence[FileProblem]) -> Iterator[str]:
    if not files:
        return
    lost = sum(file.damaged_bytes for file in files)
    yield f"{len(files):,} files {status}" + (f", {size_words(lost)} of them not read" if lost else "")
    for file in files[:SHOWN]:
        yield f"  {printable(file.raw)} (volume {file.volume}, inode {file.ino}, {size_words(file.size)})"
        if file.damaged_ranges and not file.in_doubt:
            share = 100 * file.damaged_bytes / file.size if file.size else 100.0
            yield f"    {file.damaged_bytes:,} bytes ({share:.2f} %) not read: {_ranges(file.damaged_ranges)}"
        else:
            yield f"    {printable(file.reason)}"
        for copy in file.clean_copies[:3]:
            yield f"    whole in medium {copy.medium_hash[:SHORT]}: {printable(copy.raw)}"
    yield from more_lines(len(files), min(SHOWN, len(files)))


def _ranges(ranges: Ranges) -> str:
    shown = ", ".join(f"{start:,}-{end - 1:,}" for start, end in ranges[:RANGES_SHOWN])
    more = f" and {len(ranges) - RANGES_SHOWN:,} more ranges" if len(ranges) > RANGES_SHOWN else ""
    return f"bytes {shown}{more}"
