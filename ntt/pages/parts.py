"""What a page is made of: facts, steps, sections of pictures and tables; all of it text, escaped when it is drawn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Column:
    """`is_exact`: hashes, paths, ranges, set in letters of one width. `is_word`: of few letters, never broken."""

    title: str
    is_number: bool = False
    is_exact: bool = False
    is_word: bool = False

    @property
    def style(self) -> str:
        """Its classes in the style sheet."""
        classes = ((self.is_number, "n"), (self.is_exact, "exact"), (self.is_word, "word"))
        return " ".join(name for applies, name in classes if applies)


@dataclass(frozen=True, slots=True)
class Cell:
    """`sort` stands for the text when rows are sorted; `more` are smaller lines below it."""

    text: str
    sort: str = ""
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """`left_out` says what is not shown, and where it stands; the first column names the row."""

    name: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """`picture` is finished SVG: who made it has escaped what is in it."""

    heading: str
    notes: tuple[str, ...] = ()
    picture: str = ""
    table: Table | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """`verdict` is one sentence; `steps` may hold `commands` between backticks; `facts`: (number, what of)."""

    title: str
    subtitle: str
    is_clean: bool
    verdict: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    steps: tuple[str, ...]
    sections: tuple[Section, ...]


def number(count: int) -> Cell:
    return Cell(f"{count:,}", str(count))


def moment(at: datetime) -> Cell:
    """To the second, in UTC."""
    return Cell(f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}", at.astimezone(UTC).isoformat())


def with_commands(step: str) -> tuple[tuple[bool, str], ...]:
    """(is it a command?, text) of the parts between backticks; a backtick without its fellow is one."""
    parts = step.split("`")
    if len(parts) % 2 == 0:
        return ((False, step),)
    return tuple((at % 2 == 1, part) for at, part in enumerate(parts) if part)


def sections_of(*sections: Section | None) -> tuple[Section, ...]:
    return tuple(section for section in sections if section is not None)


def left_out_of(total: int, shown: int, where: str) -> str:
    """What is told below a table that does not show all."""
    return f"{shown:,} of {total:,} are shown; {where}" if total > shown else ""


def rows_of(rows: Iterable[tuple[Cell, ...]]) -> tuple[tuple[Cell, ...], ...]:
    return tuple(rows)
