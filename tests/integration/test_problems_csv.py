"""Tables of problems: read by another program they say the same, and no cell of theirs is a formula."""

from __future__ import annotations

import csv
import io
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from problem_pages import HOSTILE, troubled_medium
from sketches import ROOT, Catalogue, Sketch, open_catalogue

from ntt.db.troubles import Grouping
from ntt.operations.problem_groups import problem_groups
from ntt.operations.problems import problems_report
from ntt.operations.problems_overview import problems_overview
from ntt.pages.group_text import group_lines, media_lines
from ntt.pages.problems_csv import files_csv, groups_csv, media_csv

FORMULAS = [b'=HYPERLINK("http://x","y")', b"+1+1", b"-2+3", b"@SUM(A1)", b"  =1", "＝1".encode(), b"\t=1", b"\r=1"]


@pytest.fixture
async def catalogue(database_url: str, home: Path) -> AsyncIterator[Catalogue]:
    async with open_catalogue(database_url, home) as opened:
        yield opened


def rows_of(table: str) -> list[dict[str, str]]:
    assert table.endswith("\r\n")
    assert table.count("\n") == table.count("\r\n")
    return list(csv.DictReader(io.StringIO(table, newline=""), strict=True))


async def test_every_file_has_a_row_with_its_exact_name_its_ranges_and_a_clean_copy(catalogue: Catalogue) -> None:
    medium, other = await troubled_medium(catalogue)
    report = await problems_report(catalogue.database, medium, catalogue.store)
    rows = rows_of("".join(files_csv(report)))
    assert [b64decode(row["path_b64"]) for row in rows] == [file.raw for file in report.files]
    by_name = {b64decode(row["path_b64"]): row for row in rows}
    letter = by_name[b"photos/letter.txt"]
    assert (letter["status"], letter["unread_ranges"], letter["unread_bytes"]) == ("damaged", "[512,1024)", "512")
    assert (letter["clean_copies"], letter["clean_copy_medium"]) == ("1", other.medium_hash)
    assert (letter["clean_copy_path"], letter["medium_hash"]) == ("old/LETTER.BAK", medium.medium_hash)
    assert b64decode(letter["clean_copy_path_b64"]) == b"old/LETTER.BAK"
    hostile = by_name[b"photos/" + HOSTILE]
    assert hostile["unread_ranges"] == "[512,1024) [4096,4100)"
    assert hostile["path"].endswith("\\x1b[2J\\n\\x07\\u202egpj.exe\\xff")
    assert by_name[b"lost.doc"]["reason"] == "its inode lies on unread sectors"


async def test_no_cell_begins_as_a_formula_does(catalogue: Catalogue) -> None:
    sketch = Sketch()
    for name in FORMULAS:
        sketch.file(ROOT, name, None, reason=name.decode())
    medium = await catalogue.medium("=cmd|' /C calc'!A0", {0: sketch})
    tables = [
        "".join(files_csv(await problems_report(catalogue.database, medium, catalogue.store))),
        "".join(media_csv(await problems_overview(catalogue.database))),
    ]
    for row in [row for table in tables for row in rows_of(table)]:
        for text in row.values():
            assert not text.lstrip().startswith(tuple("=+-@＝\t\r")), text
    rows = rows_of(tables[0])
    assert {b64decode(row["path_b64"]) for row in rows} == set(FORMULAS)
    assert {row["path"] for row in rows} >= {'\'=HYPERLINK("http://x","y")', "'+1+1", "'  =1", "\\t=1"}
    (row,) = rows_of(tables[1])
    assert row["human"] == "'=cmd|' /C calc'!A0"
    assert (row["medium_hash"], row["error_files"]) == (medium.medium_hash, str(len(FORMULAS)))


async def test_events_are_counted_by_check_action_and_error(catalogue: Catalogue) -> None:
    medium, other = await troubled_medium(catalogue)
    await catalogue.execute("DELETE FROM diagnostic_event")
    for medium_id, ino, checks, action, error in (
        (medium.id, 1, ["detected_io_error", "mount_check:ok"], "skipped", "OSError"),
        (medium.id, 1, ["detected_io_error"], "max_retries", "OSError"),
        (other.id, 2, ["detected_io_error"], "skipped", None),
    ):
        await catalogue.execute(
            "INSERT INTO diagnostic_event VALUES (now(), $1, 0, $2, 3, $3, $4, 'w0', $5)",
            medium_id, ino, checks, action, error,
        )  # fmt: skip

    async def counted(by: Grouping) -> list[tuple[str, int, int, int]]:
        report = await problem_groups(catalogue.database, by)
        assert [int(row["events"]) for row in rows_of("".join(groups_csv(report)))] == [g.events for g in report.groups]
        assert (report.media_troubled, report.media_total) == (1, 2)
        return [(group.name, group.events, group.files, group.media) for group in report.groups]

    assert await counted(Grouping.CHECK) == [("detected_io_error", 3, 2, 2), ("mount_check:ok", 1, 1, 1)]
    assert await counted(Grouping.ACTION) == [("skipped", 2, 2, 2), ("max_retries", 1, 1, 1)]
    assert await counted(Grouping.EXCEPTION) == [("OSError", 2, 1, 1), ("", 1, 1, 1)]
    of_one = await problem_groups(catalogue.database, Grouping.ACTION, other)
    assert [(group.name, group.events) for group in of_one.groups] == [("skipped", 1)]
    assert (of_one.media_troubled, of_one.media_total) == (0, 1)
    lines = list(group_lines(await problem_groups(catalogue.database, Grouping.CHECK)))
    assert lines[0].split() == ["check", "events", "files", "media", "first", "last"]
    assert lines[1].split()[:4] == ["detected_io_error", "3", "2", "2"]
    assert lines[-1] == "1 of 2 media have problems: `ntt problems` lists them"


async def test_media_are_a_table_with_what_is_wrong_with_each(catalogue: Catalogue) -> None:
    medium, _ = await troubled_medium(catalogue)
    head, line, last = media_lines(await problems_overview(catalogue.database))
    assert head.split()[0] == "medium"
    assert line.split()[:3] == [medium.medium_hash[:8], "incomplete", "10"]
    assert last.startswith("1 of 2 media have problems")
    (row,) = rows_of("".join(media_csv(await problems_overview(catalogue.database))))
    assert (row["unended"], row["message"], row["is_done"]) == (
        "archive failed: no space left <here>", "it has no identity of its own", "yes",
    )  # fmt: skip
