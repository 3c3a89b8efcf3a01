"""What is wrong with one medium -> a page: verdict, what to do, surface, files, directories, passes, stages, events."""

from __future__ import annotations

import heapq

from ntt.damage_text import drive_words, duration_words, findings_of, of_all_files, task_words
from ntt.map_svg import svg_lines
from ntt.model import VolumeStatus
from ntt.names import printable
from ntt.operations.problems import FileProblem, ProblemsReport
from ntt.operations.surface import SurfaceMap
from ntt.operations.unread_kinds import KINDS
from ntt.pages.parts import Cell, Column, Page, Section, Table, left_out_of, moment, number, rows_of, sections_of
from ntt.pages.stages_svg import stages_svg
from ntt.ranges import Ranges
from ntt.text import SHORT, size_words

FILES_SHOWN = 1_000  # what a browser and a printer still take easily
DIRECTORIES_SHOWN = 200
EVENTS_SHOWN = 200
ATTEMPTS_SHOWN = 50
PASSES_SHOWN = 50
RANGES_SHOWN = 6
COPIES_SHOWN = 3


def problems_page(report: ProblemsReport, surface: SurfaceMap) -> Page:
    """Everything that comes from a medium or a drive passes `printable` here, and is escaped again as HTML later."""
    return Page(
        title=printable(report.human) or report.medium_hash[:SHORT],
        subtitle=f"Medium {report.medium_hash}, {size_words(surface.claimed_bytes)}, health: {report.health}",
        is_clean=report.is_clean,
        verdict=_verdict(report),
        facts=_facts(report, surface),
        steps=() if report.is_clean else tuple(map(printable, report.next_steps)),
        sections=sections_of(
            _files(report), _directories(report), _unread(report), _surface(surface), _volumes(report),
            _findings(report), _passes(report), _stages(report), _events(report),
        ),
    )  # fmt: skip


def _verdict(report: ProblemsReport) -> tuple[str, ...]:
    sentences = [report.damage.verdict, report.message, *report.unended]
    return tuple(map(_sentence, filter(None, sentences)))


def _sentence(text: str) -> str:
    return f"{printable(text[:1].upper())}{printable(text[1:])}."


def _facts(report: ProblemsReport, surface: SurfaceMap) -> tuple[tuple[str, str], ...]:
    doubtful = sum(file.in_doubt for file in report.files)
    failed = sum(file.status == "failed" for file in report.files)
    counts = (
        (len(report.files) - failed - doubtful, "files damaged"),
        (failed, "files failed"),
        (doubtful, "files in doubt"),
        (report.damage.directories_total, "directories hit"),
        (report.events_total, "diagnostic events"),
    )
    return (
        (f"{surface.rescued_percent} %", "of the medium read"),
        (size_words(sum(report.unread.values())), "not read"),
        *((f"{count:,}", what) for count, what in counts if count or what in ("files damaged", "files failed")),
    )


def _files(report: ProblemsReport) -> Section | None:
    if not report.files:
        return None
    worst = heapq.nsmallest(FILES_SHOWN, report.files, key=lambda f: (f.status != "failed", -f.damaged_bytes))
    where = f"all stand in `ntt problems {report.medium_hash[:SHORT]} --csv`"
    columns = (
        Column("File", is_exact=True), Column("State", is_word=True), Column("Size", True), Column("Not read", True),
        Column("Which bytes, or why", is_exact=True), Column("Clean copies"),
    )  # fmt: skip
    table = Table(
        "files", columns, rows_of(map(_file, worst)), left_out_of(len(report.files), len(worst), f"the worst; {where}")
    )
    return Section("Files that are not whole", table=table)


def _file(file: FileProblem) -> tuple[Cell, ...]:
    state = "in doubt" if file.in_doubt else file.status
    lost = file.size if file.status == "failed" else file.damaged_bytes
    known = bool(file.damaged_ranges) and not file.in_doubt
    more = len(file.clean_copies) - COPIES_SHOWN
    copies = [f"{copy.medium_hash[:SHORT]}: {printable(copy.raw)}" for copy in file.clean_copies[:COPIES_SHOWN]]
    return (
        Cell(printable(file.raw), more=(f"volume {file.volume}, inode {file.ino}",)),
        Cell(state),
        Cell(size_words(file.size), str(file.size)),
        Cell(f"{lost:,}", str(lost)),
        Cell(_ranges(file.damaged_ranges) if known else printable(file.reason), "" if not known else str(lost)),
        Cell(
            "none known" if not copies else f"{len(file.clean_copies):,} found",
            str(len(file.clean_copies)),
            (*copies, *((f"and {more:,} more",) if more > 0 else ())),
        ),
    )


def _ranges(ranges: Ranges) -> str:
    shown = ", ".join(f"{start:,}-{end - 1:,}" for start, end in ranges[:RANGES_SHOWN])
    return shown + (f" and {len(ranges) - RANGES_SHOWN:,} more" if len(ranges) > RANGES_SHOWN else "")


def _directories(report: ProblemsReport) -> Section | None:
    damage = report.damage
    if not damage.directories:
        return None
    rows = [
        (Cell(printable(one.raw) or "/"), Cell(str(one.volume)), number(one.unread_bytes))
        for one in damage.directories[:DIRECTORIES_SHOWN]
    ]
    left_out = left_out_of(damage.directories_total, len(rows), "`--json` lists them")
    columns = (Column("Directory", is_exact=True), Column("Volume", True), Column("Bytes not read", True))
    table = Table("directories", columns, rows_of(rows), left_out)
    return Section("Directories of which names may be missing", table=table)


def _unread(report: ProblemsReport) -> Section | None:
    if not report.unread:
        return None
    parts = tuple(f"{printable(what)}: {count:,} bytes" for what, count in sorted(report.damage.structures.items()))
    rows = [
        (Cell(KINDS[kind], more=parts if kind == "structures" else ()), number(report.unread[kind]))
        for kind in KINDS
        if kind in report.unread
    ]
    return Section("What was not read", table=Table("kinds", (Column("Where"), Column("Bytes", True)), rows_of(rows)))


def _surface(surface: SurfaceMap) -> Section:
    notes = (
        "Each place is an equal part of the medium, the first at the top left. Its colour tells the worst that was met "
        "in it, its letter what is lost there. Point at a place for its bytes and names.",
        *map(_sentence, surface.doubts),
    )
    return Section("The surface", notes, "\n".join(svg_lines(surface, inside_a_page=True)))


def _volumes(report: ProblemsReport) -> Section | None:
    if not report.volumes:
        return None
    rows = [
        (
            Cell(str(one.index)),
            Cell(printable(one.fstype)),
            Cell(printable(one.label)),
            Cell(size_words(one.size_bytes), str(one.size_bytes)),
            Cell(str(one.route)),
            Cell("read" if one.status is VolumeStatus.READ else printable(one.finding) or "not read"),
        )
        for one in report.volumes
    ]
    columns = (
        Column("Volume", True), Column("File system"), Column("Label"), Column("Size", True), Column("Read by"),
        Column("Outcome"),
    )  # fmt: skip
    return Section("Volumes", table=Table("volumes", columns, rows_of(rows)))


def _findings(report: ProblemsReport) -> Section | None:
    found = findings_of(report)
    notes = tuple(map(_sentence, of_all_files(found)))
    if not found.findings:
        return Section("Findings", notes) if notes else None
    rows = [
        (
            Cell(printable(one.kind)),
            Cell("" if one.volume is None else str(one.volume)),
            Cell(printable(one.name)),
            Cell(printable(one.detail)),
        )
        for one in found.findings
    ]
    left_out = left_out_of(found.findings_total, len(rows), "the table `finding` of the catalogue has them all")
    columns = (Column("Kind"), Column("Volume", True), Column("Name", is_exact=True), Column("What was found"))
    return Section("Findings", notes, table=Table("findings", columns, rows_of(rows), left_out))


def _passes(report: ProblemsReport) -> Section | None:
    passes = report.damage.passes[-PASSES_SHOWN:]
    if not passes:
        return None
    rows = [
        (
            Cell(task_words(one.name)),
            moment(one.began_at),
            Cell(duration_words(one.seconds), str(one.seconds)),
            number(one.wanted_bytes),
            number(one.read_bytes),
            number(one.read_errors),
            Cell(drive_words(one)),
            Cell(printable(one.meaning), more=(printable(one.detail),) if one.detail else ()),
        )
        for one in passes
    ]
    columns = (
        Column("Pass"), Column("Began", is_word=True), Column("Took", True), Column("Wanted", True),
        Column("Read", True), Column("Errors", True), Column("Through"), Column("Ended because"),
    )  # fmt: skip
    left_out = left_out_of(len(report.damage.passes), len(rows), "the last ones; `--json` lists them all")
    return Section("Passes over the medium", table=Table("passes", columns, rows_of(rows), left_out))


def _stages(report: ProblemsReport) -> Section | None:
    attempts = report.stages[-ATTEMPTS_SHOWN:]
    if not attempts:
        return None
    rows = [
        (
            Cell(printable(one.stage)),
            moment(one.started_at),
            Cell("" if one.seconds is None else duration_words(one.seconds), str(one.seconds or 0.0)),
            Cell(one.state),
            Cell(printable(one.error or "")),
            Cell(printable(f"{one.host}, process {one.pid}")),
        )
        for one in attempts
    ]
    columns = (
        Column("Stage", is_word=True), Column("Began", is_word=True), Column("Took", True),
        Column("Ended", is_word=True), Column("Error"), Column("By"),
    )  # fmt: skip
    left_out = left_out_of(len(report.stages), len(rows), "the last ones; `--json` lists them all")
    return Section(
        "Stages", picture="\n".join(stages_svg(attempts)), table=Table("attempts", columns, rows_of(rows), left_out)
    )


def _events(report: ProblemsReport) -> Section | None:
    if not report.events_total:
        return None
    rows = [
        (
            moment(one.at),
            Cell(printable(one.raw) or f"inode {one.ino}", more=(f"volume {one.volume}, inode {one.ino}",)),
            Cell(printable(one.checks[0]) if one.checks else "", more=tuple(map(printable, one.checks[1:]))),
            Cell(printable(one.action)),
            number(one.retry_count),
            Cell(printable(one.exception_type), more=(printable(one.exception_msg),) if one.exception_msg else ()),
        )
        for one in report.events[:EVENTS_SHOWN]
    ]
    columns = (
        Column("When", is_word=True), Column("File", is_exact=True), Column("Checks", is_word=True),
        Column("Action", is_word=True), Column("Tries", True), Column("Error"),
    )  # fmt: skip
    left_out = left_out_of(report.events_total, len(rows), "the newest; the catalogue has them all")
    return Section("Diagnostic events", table=Table("events", columns, rows_of(rows), left_out))
