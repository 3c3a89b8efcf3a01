"""Tables of verdicts -> docs/filesystems.md and back: what this machine could not find out is taken from the page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filesystem_verdicts import Cell

from ntt.model import Route
from ntt.mounts.drivers import DRIVERS, KERNEL
from ntt.routes import ORDER

PAGE = Path(__file__).resolve().parents[1] / "docs" / "filesystems.md"
COMMAND = "NTT_WRITE_PAGE=1 .venv/bin/pytest tests/integration/test_filesystems.py"
NOT_MEASURED = Cell("not measured")

Key = tuple[str, ...]  # section, and the cells that make a row its own


@dataclass(frozen=True, slots=True)
class Table:
    """`keys`: how many columns tell its rows apart."""

    title: str
    text: str
    columns: tuple[str, ...]
    keys: int


QUALITY = ("names", "contents", "times", "links", "extents")
WAYS = ("medium", "without root", "with root", *QUALITY)
DEFAULTS = (
    Table("File systems", "One volume without a partition table.", WAYS, 3),
    Table(
        "Optical discs", "Each side, session and partition of a disc is a volume; a row is about all of them.", WAYS, 3
    ),
    Table("Archives", "An “image” that is an archive is read as one volume.", WAYS, 3),
    Table("Layouts", "Where volumes lie on a disk; a row is about all of them.", WAYS, 3),
    Table(
        "Images that others made", "From Debian packages; compared with what `xorriso` and `mtools` unpack.", WAYS, 3
    ),
)
OTHERS = Table(
    "The other routes",
    "What the routes give that are tried only when one before them fails, or with `NTT_ONLY_ROUTE`.",
    ("medium", "route", *QUALITY),
    2,
)
BESIDE = Table(
    "Other readers",
    "What other programs make of the same media, beside what was written. Where they and NTT list a file with two "
    "contents, theirs is not the one that was written.",
    ("medium", "reader", *QUALITY[:4]),
    2,
)
NAMED = Table(
    "What is only named",
    "No files can be read from these, and NTT says why and what to do.",
    ("medium", "called", "what is said", "next step"),
    1,
)
TABLES = (*DEFAULTS, OTHERS, BESIDE, NAMED)


Rows = Mapping[Key, Sequence[Cell]]


def merged(computed: Rows, committed: Rows) -> dict[Key, Sequence[Cell]]:
    """Rows that could not be measured here are those of the page, and what was never measured stays so."""
    return {
        key: committed[key] if NOT_MEASURED in cells and key in committed else cells for key, cells in computed.items()
    }


def without_what_was_not_measured(computed: Rows, committed: Rows) -> dict[Key, Sequence[Cell]]:
    """As a machine that lacks some routes sees it: rows that the page calls not measured are not compared."""
    kept = merged(computed, committed)
    return {key: committed[key] if NOT_MEASURED in committed.get(key, ()) else cells for key, cells in kept.items()}


# ---------------------------------------------------------------- written


def page(rows: Rows) -> str:
    """The whole page; sections and rows in the order of `rows`."""
    notes: dict[str, int] = {}
    parts = [_head()]
    for table in TABLES:
        lines = [
            _line([*key[1:], *(_text(cell, notes) for cell in cells)])
            for key, cells in rows.items()
            if key[0] == table.title
        ]
        rule = _line(["---"] * len(table.columns)).replace(" ", "")
        parts.append("\n".join([f"## {table.title}", "", table.text, "", _line(table.columns), rule, *lines]))
    numbered = [f"{number}. {note}" for note, number in notes.items()]
    parts.append("\n".join(["## Notes", "", *numbered]))
    return "\n\n".join(parts) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _text(cell: Cell, notes: dict[str, int]) -> str:
    if not cell.note:
        return cell.word
    return f"{cell.word} ({notes.setdefault(cell.note, len(notes) + 1)})"


# ---------------------------------------------------------------- read


def rows_of(text: str) -> dict[Key, Sequence[Cell]]:
    """The rows of a page that `page` wrote, with their notes in words."""
    notes = dict(re.findall(r"^(\d+)\. (.*)$", text.rpartition("\n## Notes\n")[2], re.M))
    found: dict[Key, Sequence[Cell]] = {}
    for table in TABLES:
        section = text.partition(f"\n## {table.title}\n")[2].partition("\n## ")[0]
        for line in section.splitlines():
            if not line.startswith("| ") or line == _line(table.columns):
                continue
            cells = [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if set(line) <= {"|", "-"}:
                continue
            found[table.title, *cells[: table.keys]] = [_cell(cell, notes) for cell in cells[table.keys :]]
    return found


def _cell(text: str, notes: Mapping[str, str]) -> Cell:
    match = re.fullmatch(r"(.*) \((\d+)\)", text)
    return Cell(match[1], notes[match[2]]) if match else Cell(text)


# ---------------------------------------------------------------- its head


def _head() -> str:
    return f"""# File systems and layouts

This page is written by a test, which makes each medium, ingests it by each route and compares the catalogue with what
was written: `{COMMAND}`.
Without that variable the test fails where the page is not what it finds.

**names** are paths and types, **contents** every byte, **times** those of last change as exactly as the medium keeps
them, **links** symbolic links with their targets and hard links as one file with several names, **extents** whether the
bytes at the places that the route tells of a file are the file's. “–”: the medium has none, or what fills it sets none.
Numbers in brackets are [notes](#notes). Rows that say “{NOT_MEASURED.word}” need what the machine that wrote this page
did not have (a kernel module, a driver); rows that need what the testing machine lacks are not compared.

## The order of routes

Readers come first: they need no root and no mount, put no kernel parser before what is on the medium, and know where
files lie. Mounts are for what has no reader, and the second opinion on one. The kernel mounts for root only; FUSE
drivers need `/dev/fuse` and, without root, user namespaces.

| file system | routes, in order | kernel types | FUSE drivers |
|---|---|---|---|
{_order()}

**A second opinion** is asked for where a reader

- ends its listing early, or its process dies or makes no progress,
- lists nothing where the file system itself counts entries, or
- lists fewer entries than the file system counts, by more than 16 and by more than a twentieth.

The next route's listing takes its place if it has more names, or as many and did not end early. Either way
`ntt problems` tells of it, with the routes that were tried and why each did not do. FAT and exFAT count nothing that
could be compared.

**`NTT_ONLY_ROUTE`** (or `only_route` in `ntt.toml`) takes one of {_names()}.
Volumes are then read by that route or not at all, and a volume that another reader would have read is a finding that
names the setting."""


def _names() -> str:
    return ", ".join(f"`{route.value}`" for route in Route if route is not Route.NONE)


def _order() -> str:
    lines = []
    for fstype, routes in ORDER.items():
        types = ", ".join(dict.fromkeys(kind.name for kind in KERNEL.get(fstype, ()))) if Route.KERNEL in routes else ""
        fuse = [driver.programs[0] for driver in DRIVERS if fstype in driver.fstypes] if Route.FUSE in routes else []
        lines.append(_line([fstype, ", ".join(route.value for route in routes), types or "–", ", ".join(fuse) or "–"]))
    return "\n".join(lines)
