"""`ntt problems`: what went wrong, on which files, and what to do; on the screen, as JSON, as a table, as a page."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import anyio.to_thread
import typer

from ntt import damage_text, text
from ntt.app import Catalogue, open_catalogue
from ntt.cli.base import EPILOG, DatabaseUrl, Home, Json, cli, complain, run, say, say_json, settings_of
from ntt.cli.catalogue import MaybeHash
from ntt.cli.files import STANDARD_OUTPUT, check_target, write_file
from ntt.db.media import Medium
from ntt.db.troubles import Grouping, Troubles
from ntt.errors import EXIT_OK, EXIT_PROBLEMS, EXIT_USAGE
from ntt.map_svg import CELLS
from ntt.operations.problem_groups import ProblemGroups, problem_groups
from ntt.operations.problems import ProblemsReport, problems_report
from ntt.operations.problems_overview import ProblemsOverview, problems_overview
from ntt.operations.surface import surface_maps
from ntt.pages.group_text import group_lines, media_lines
from ntt.pages.overview_html import overview_page
from ntt.pages.parts import Page
from ntt.pages.problems_csv import files_csv, groups_csv, media_csv
from ntt.pages.problems_html import problems_page
from ntt.pages.rendering import is_page, page_pieces
from ntt.progress import Stop

OUR_PAGE = "a page that NTT wrote"


@dataclass(frozen=True, slots=True)
class Answer:
    """A report in every form it may be asked for; `page` only where one was asked for."""

    report: object
    lines: Iterable[str]
    table: Iterable[str]
    is_clean: bool
    headline: str
    page: Page | None = None


@cli.command(epilog=EPILOG)
def problems(
    medium: MaybeHash = None,
    by: Annotated[Grouping | None, typer.Option("--by", help="counts, over all media or of one")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="write a page to this file; `-`: to standard output")
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="a table for a spreadsheet on standard output")] = False,
    home: Home = None,
    database: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """What went wrong, on which files, where exactly, and what to do. Exit 1 when there is something.

    --html replaces a file only if it is a page that NTT wrote.
    """
    complaint = _refusal(medium, by, html, csv, json)
    if complaint:
        complain(complaint)
        raise typer.Exit(EXIT_USAGE)
    settings = settings_of(home, database)

    async def work(_: Stop) -> Answer:
        if html is not None and html != STANDARD_OUTPUT:
            check_target(html, is_page, OUR_PAGE)  # before all the looking
        async with open_catalogue(settings, must_exist=True) as catalogue:
            answer = await _answer(catalogue, medium, by, html is not None)
        if answer.page is not None and html is not None and html != STANDARD_OUTPUT:
            await anyio.to_thread.run_sync(write_file, html, page_pieces(answer.page))
        return answer

    answer = run(work)
    if json:
        say_json(answer.report)
    elif csv:
        _print(answer.table)
    elif answer.page is not None and html == STANDARD_OUTPUT:
        _print(page_pieces(answer.page))
    elif answer.page is not None:
        say(answer.headline)
    else:
        for line in answer.lines:
            say(line)
    raise typer.Exit(EXIT_OK if answer.is_clean else EXIT_PROBLEMS)


def _refusal(medium: str | None, by: Grouping | None, html: Path | None, csv: bool, json: bool) -> str:
    if (json and csv) or (html == STANDARD_OUTPUT and (json or csv)):
        return "only one of --json, --csv and --html - may have standard output"
    if html is not None and by is not None:
        return "a page has all the counts: leave out --by"
    if medium is not None and by is Grouping.MEDIUM:
        return "--by medium is for all media: leave out the hash"
    return ""


async def _answer(catalogue: Catalogue, prefix: str | None, by: Grouping | None, with_page: bool) -> Answer:
    medium = None if prefix is None else await catalogue.media.by_prefix(prefix)
    if by is not None and by is not Grouping.MEDIUM:
        return _of_groups(await problem_groups(catalogue.database, by, medium))
    if medium is None:
        return await _of_all(catalogue, await problems_overview(catalogue.database), by is not None, with_page)
    report = await problems_report(catalogue.database, medium, catalogue.store)
    page = await _page(catalogue, medium, report) if with_page else None
    headline, *_ = damage_text.problems_lines(report)
    return Answer(
        report, damage_text.problems_lines(report), files_csv(report), report.is_clean,
        f"{headline}; {damage_text.in_short(report)}", page,
    )  # fmt: skip


def _of_groups(report: ProblemGroups) -> Answer:
    return Answer(report, group_lines(report), groups_csv(report), not report.media_troubled, "")


async def _of_all(catalogue: Catalogue, report: ProblemsOverview, as_table: bool, with_page: bool) -> Answer:
    page = None
    if with_page:
        troubles = Troubles(catalogue.database)
        kinds = (Grouping.CHECK, Grouping.ACTION, Grouping.EXCEPTION)
        page = overview_page(report, {by: await troubles.grouped(by) for by in kinds})
    lines = media_lines(report) if as_table else text.overview_lines(report)
    *_, headline = media_lines(report)
    return Answer(report, lines, media_csv(report), not report.media, headline, page)


async def _page(catalogue: Catalogue, medium: Medium, report: ProblemsReport) -> Page:
    (surface,) = await surface_maps(catalogue.database, medium, [CELLS])
    return await anyio.to_thread.run_sync(problems_page, report, surface)


def _print(pieces: Iterable[str]) -> None:
    """As UTF-8, whatever the terminal's own encoding: a file of it says so, or is taken for it."""
    sys.stdout.flush()
    for piece in pieces:
        sys.stdout.buffer.write(piece.encode())
    sys.stdout.buffer.flush()
