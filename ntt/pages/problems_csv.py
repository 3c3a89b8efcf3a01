"""Problems -> tables for a spreadsheet (RFC 4180: commas, CRLF, a header line), a row for each file or medium.

A text that a spreadsheet might take for a formula gets an apostrophe before it; what is exact stands in Base64.
"""

from __future__ import annotations

import csv
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence

from ntt.names import printable
from ntt.operations.problem_groups import ProblemGroups
from ntt.operations.problems import ProblemsReport
from ntt.operations.problems_overview import ProblemsOverview

_FORMULAS = tuple("=+-@＝＋－＠\t\r\n")  # OWASP, "CSV Injection"; the wide ones count in Japanese editions

_FILES = (
    "medium_hash", "status", "path", "path_b64", "volume", "ino", "size_bytes", "unread_bytes", "unread_ranges",
    "reason", "clean_copies", "clean_copy_medium", "clean_copy_path", "clean_copy_path_b64",
)  # fmt: skip
_MEDIA = (
    "medium_hash", "human", "health", "is_done", "unread_bytes", "error_files", "findings", "events", "message",
    "unended",
)  # fmt: skip
_GROUPS = ("events", "files", "media", "first_at", "last_at")

Cell = str | int


class _Lines:
    """What `csv` writes, line by line."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, line: str) -> None:
        self.written.append(line)


def files_csv(report: ProblemsReport) -> Iterator[str]:
    """Every file that is not whole. A range is `[start,end)`, the end not in it; several stand apart by a space.

    `path` is escaped, `path_b64` the exact bytes. Of clean copies the first is told.
    """
    yield from _table(_FILES, _file_rows(report))


def _file_rows(report: ProblemsReport) -> Iterator[Sequence[Cell]]:
    for file in report.files:
        copy = file.clean_copies[0] if file.clean_copies else None
        yield (
            report.medium_hash,
            "in doubt" if file.in_doubt else file.status,
            cell(file.raw),
            b64encode(file.raw).decode(),
            file.volume,
            file.ino,
            file.size,
            file.size if file.status == "failed" else file.damaged_bytes,
            " ".join(f"[{start},{end})" for start, end in file.damaged_ranges),
            cell(file.reason),
            len(file.clean_copies),
            "" if copy is None else copy.medium_hash,
            "" if copy is None else cell(copy.raw),
            "" if copy is None else b64encode(copy.raw).decode(),
        )


def media_csv(report: ProblemsOverview) -> Iterator[str]:
    """Every medium with problems."""
    rows: Iterable[Sequence[Cell]] = (
        (
            one.medium_hash, cell(one.human), one.health, "yes" if one.is_done else "no", one.unread_bytes,
            one.error_files, one.findings, one.events, cell(one.message or ""), cell("; ".join(one.unended)),
        )
        for one in report.media
    )  # fmt: skip
    yield from _table(_MEDIA, rows)


def groups_csv(report: ProblemGroups) -> Iterator[str]:
    """Every kind of diagnostic event; the first column is named as what they are counted by."""
    rows: Iterable[Sequence[Cell]] = (
        (cell(one.name), one.events, one.files, one.media, one.first_at.isoformat(), one.last_at.isoformat())
        for one in report.groups
    )
    yield from _table((report.by, *_GROUPS), rows)


def cell(text: bytes | str) -> str:
    """A text from a medium as a cell: escaped, and no formula whatever it begins with."""
    shown = printable(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULAS) else shown


def _table(titles: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """Lines with their ends."""
    lines = _Lines()
    writer = csv.writer(lines, lineterminator="\r\n")
    writer.writerow(titles)
    for row in rows:
        writer.writerow(row)
        yield from lines.written
        lines.written.clear()
    yield from lines.written
