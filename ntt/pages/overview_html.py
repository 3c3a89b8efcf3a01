"""Problems of all media -> a page: which media, what they lack, and what was met how often."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

from ntt.db.troubles import EventGroup, Grouping
from ntt.names import printable
from ntt.operations.problems_overview import ProblemsOverview, TroubledMedium
from ntt.pages.parts import Cell, Column, Page, Section, Table, left_out_of, moment, number, rows_of, sections_of
from ntt.text import SHORT, size_words

MEDIA_SHOWN = 1_000
_HEADINGS = {
    Grouping.CHECK: "Diagnostic events by check",
    Grouping.ACTION: "Diagnostic events by action",
    Grouping.EXCEPTION: "Diagnostic events by error",
}


def overview_page(report: ProblemsOverview, groups: Mapping[Grouping, Sequence[EventGroup]]) -> Page:
    troubled = len(report.media)
    verdict = f"{troubled:,} of {report.media_total:,} media have problems."
    return Page(
        title="All media",
        subtitle=f"{report.media_total:,} media in the catalogue",
        is_clean=not troubled,
        verdict=(verdict if troubled else f"No problems on any of {report.media_total:,} media.",),
        facts=(
            (f"{troubled:,}", "media with problems"),
            (f"{sum(one.error_files for one in report.media):,}", "files damaged or failed"),
            (size_words(sum(one.unread_bytes for one in report.media)), "not read"),
            (f"{sum(one.events for one in report.media):,}", "diagnostic events"),
        ),
        steps=("`ntt problems HASH` tells of one medium which files, where, and what to do",) if troubled else (),
        sections=sections_of(_media(report), *(_group(by, groups.get(by, ())) for by in _HEADINGS)),
    )


def _media(report: ProblemsOverview) -> Section | None:
    if not report.media:
        return None
    worst = heapq.nsmallest(
        MEDIA_SHOWN, report.media, key=lambda one: (one.is_done, -one.error_files, -one.unread_bytes)
    )
    columns = (
        Column("Medium"), Column("Health", is_word=True), Column("Files", True), Column("Not read", True),
        Column("Findings", True), Column("Events", True), Column("Besides"),
    )  # fmt: skip
    left_out = left_out_of(len(report.media), len(worst), "the worst; `ntt problems --csv` lists them all")
    return Section("Media with problems", table=Table("media", columns, rows_of(map(_medium, worst)), left_out))


def _medium(one: TroubledMedium) -> tuple[Cell, ...]:
    said = ["" if one.is_done else "not all of it is listed and copied yet", one.message or "", *one.unended]
    return (
        Cell(printable(one.human), more=(one.medium_hash[:SHORT],)),
        Cell(one.health),
        number(one.error_files),
        Cell(size_words(one.unread_bytes), str(one.unread_bytes)),
        number(one.findings),
        number(one.events),
        Cell("; ".join(printable(text) for text in said if text)),
    )


def _group(by: Grouping, groups: Sequence[EventGroup]) -> Section | None:
    if not groups:
        return None
    rows = [
        (
            Cell(printable(one.name) or "none"), number(one.events), number(one.files), number(one.media),
            moment(one.first_at), moment(one.last_at),
        )
        for one in groups
    ]  # fmt: skip
    columns = (
        Column(by.value.capitalize()), Column("Events", True), Column("Files", True), Column("Media", True),
        Column("First", is_word=True), Column("Last", is_word=True),
    )  # fmt: skip
    return Section(_HEADINGS[by], table=Table(by.value, columns, rows_of(rows)))
