"""Counts of problems -> a table on a terminal: columns as wide as what is in them, numbers to the right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ntt.names import printable
from ntt.operations.problem_groups import ProblemGroups
from ntt.operations.problems_overview import ProblemsOverview
from ntt.text import SHORT, size_words, when_words


def group_lines(report: ProblemGroups) -> Iterator[str]:
    """Events by what they are grouped by, and whether there are media with problems at all."""
    if report.groups:
        yield from _table(
            (report.by, "events", "files", "media", "first", "last"),
            [
                (
                    printable(one.name) or "none", f"{one.events:,}", f"{one.files:,}", f"{one.media:,}",
                    when_words(one.first_at), when_words(one.last_at),
                )
                for one in report.groups
            ],
        )  # fmt: skip
    elif report.media_troubled:
        yield "no diagnostic events"
    yield _conclusion(report.media_troubled, report.media_total)


def media_lines(report: ProblemsOverview) -> Iterator[str]:
    """The media with problems as a table."""
    if report.media:
        yield from _table(
            ("medium", "health", "files", "not read", "findings", "events", "name"),
            [
                (
                    one.medium_hash[:SHORT], one.health, f"{one.error_files:,}", size_words(one.unread_bytes),
                    f"{one.findings:,}", f"{one.events:,}", printable(one.human),
                )
                for one in report.media
            ],
        )  # fmt: skip
    yield _conclusion(len(report.media), report.media_total)


def _conclusion(troubled: int, total: int) -> str:
    if not troubled:
        return f"no problems on any of {total:,} media"
    return f"{troubled:,} of {total:,} media have problems: `ntt problems` lists them"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[at]) for row in (titles, *rows)) for at in range(len(titles))]
    right = [all(row[at][:1].isdigit() for row in rows) and at > 0 for at in range(len(titles))]
    for row in (titles, *rows):
        cells = (
            text.rjust(width) if is_right else text.ljust(width)
            for text, width, is_right in zip(row, widths, right, strict=True)
        )
        yield "  ".join(cells).rstrip()
