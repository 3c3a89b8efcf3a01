"""A picture of a surface -> lines and rows of styled places for a terminal of given size, with or without colours."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ntt.names import printable
from ntt.operations.surface import Kind, LostFile, State, SurfaceCell, SurfaceMap
from ntt.operations.surface_looks import COLOURS, LETTERS, TITLES, colour_of, letter_of
from ntt.text import size_words

COLUMNS = 64  # of the picture, when nobody says
ROWS = 32  # of the picture, at most
LEAST_ROWS = 4
LABEL_COLUMNS = 12  # before each row: where it begins
LINE_COLUMNS = 80
AROUND_ROWS = 17  # of a terminal, kept for what stands above and below the picture
FILES_SHOWN, STRUCTURES_SHOWN = 10, 6
UPPER_HALF = "▀"
SWATCH = "██"


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a row; colours are `#rrggbb`, empty: the terminal's own."""

    text: str
    front: str = ""
    back: str = ""


Row = tuple[Span, ...]


def picture_size(console_columns: int, console_rows: int | None) -> tuple[int, int]:
    """(columns, rows) of a picture that fits a terminal together with what stands around it; rows None: no limit."""
    columns = max(8, min(COLUMNS, console_columns - LABEL_COLUMNS))
    return columns, ROWS if console_rows is None else max(LEAST_ROWS, min(ROWS, console_rows - AROUND_ROWS))


def map_rows(
    surface: SurfaceMap, columns: int, *, coloured: bool, width: int | None = None, height: int | None = None
) -> Iterator[Row]:
    """The whole answer. `coloured`: two cells above each other in a place, else one, as a letter.

    Of a terminal of `width` columns and `height` rows no line is longer, and the lists take what rows are left.
    """
    picture = list(picture_rows(surface.cells, columns, coloured=coloured))
    legend = list(legend_rows(coloured=coloured))
    head = list(head_lines(surface, width))
    room = None if height is None else height - 1 - len(head) - len(picture) - len(legend)
    for line in (*head, *list_lines(surface, width, room)):
        yield (Span(line),)
    yield from picture
    yield from legend


# ---------------------------------------------------------------- what is said


def head_lines(surface: SurfaceMap, width: int | None = None) -> Iterator[str]:
    """Health, and bytes by state and kind."""
    yield _cut(f"medium {surface.medium_hash}  {printable(surface.human)}: {printable(surface.health)}", width)
    for sentence in (_read(surface), _unread(surface), *surface.doubts):
        yield from textwrap.wrap(sentence, LINE_COLUMNS, initial_indent="  ", subsequent_indent="    ")


def list_lines(surface: SurfaceMap, width: int | None = None, room: int | None = None) -> Iterator[str]:
    """The worst files, then the worst structures, in at most `room` lines; files take what they need of it first."""
    left = 2 + FILES_SHOWN + STRUCTURES_SHOWN if room is None else room
    kept = min(2, len(surface.structures)) + 1 if surface.structures and left > 5 else 0  # for the second list
    files = surface.files[: max(0, min(FILES_SHOWN, left - 1 - kept))]
    if files:
        doubtful = "" if all(file.lost_bytes or file.failed for file in files) else ", or in doubt"
        count = _counted(surface.files_total, "file is", "files are")
        yield f"{count} not whole{doubtful}{_those(surface.files_total, files)}"
        left -= 1 + len(files)
    for file in files:
        yield _cut(f"  {_lost(file)}  {printable(file.raw)}", width)
    structures = surface.structures[: max(0, min(STRUCTURES_SHOWN, left - 1))]
    if structures:
        count = _counted(surface.structures_total, "piece of a file system", "pieces of file systems")
        yield f"{count} not read{_those(surface.structures_total, structures)}"
    for piece in structures:
        yield _cut(f"  {piece.lost_bytes:>14,} bytes  {piece.words}", width)


def _read(surface: SurfaceMap) -> str:
    read = surface.bytes
    if not read.unread:
        return f"{size_words(surface.claimed_bytes)}, every byte was read"
    return (
        f"{surface.rescued_percent} % of {size_words(surface.claimed_bytes)} rescued; bytes bad "
        f"{read.bad:,}, unfinished {read.unfinished:,}, never tried {read.untried:,}"
    )


def _unread(surface: SurfaceMap) -> str:
    lost = surface.unread
    if not surface.bytes.unread:
        return ""
    return (
        f"unread bytes in structures {lost.structures:,}, files {lost.files:,}, free space {lost.free:,}, "
        f"unknown {lost.unknown:,}"
    )


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _those(number: int, shown: Sequence[object]) -> str:
    return ":" if number <= len(shown) else ", the worst:"


def _lost(file: LostFile) -> str:
    if not file.lost_bytes and not file.failed:
        return f"{'in doubt':>20}"
    return f"{file.lost_bytes:>14,} bytes" + (" (all)" if file.failed else "")


def _cut(line: str, width: int | None) -> str:
    """The line in at most `width` columns: of one that is longer the middle is left out, its end tells more."""
    if width is None or _columns(line) <= width:
        return line
    keep = min(48, width // 2)
    head, tail = _fitting(line, keep - 1), _fitting(line[::-1], width - keep)[::-1]
    return f"{head}…{tail}"


def _fitting(text: str, columns: int) -> str:
    used = 0
    for at, character in enumerate(text):
        used += _columns(character)
        if used > columns:
            return text[:at]
    return text


def _columns(text: str) -> int:
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1 for c in text
    )


# ---------------------------------------------------------------- what is drawn


def picture_rows(cells: Sequence[SurfaceCell], columns: int, *, coloured: bool) -> Iterator[Row]:
    """From left to right, from top to bottom; before each row where it begins. Runs that look alike are one span."""
    step = 2 * columns if coloured else columns
    for first in range(0, len(cells), step):
        row = cells[first : first + step]
        label = Span(f"{size_words(row[0].start):>{LABEL_COLUMNS - 1}} ")
        if coloured:
            yield (label, *_halves(row[:columns], row[columns:]))
        else:
            yield (label, Span("".join(map(letter_of, row))))


def _halves(upper: Sequence[SurfaceCell], lower: Sequence[SurfaceCell]) -> Iterator[Span]:
    last: tuple[str, str] | None = None
    run = 0
    for at, cell in enumerate(upper):
        look = colour_of(cell), colour_of(lower[at]) if at < len(lower) else ""
        if look != last and last is not None:
            yield Span(UPPER_HALF * run, *last)
            run = 0
        last, run = look, run + 1
    if last is not None:
        yield Span(UPPER_HALF * run, *last)


def legend_rows(*, coloured: bool) -> Iterator[Row]:
    """A table of every state and kind. A place shows the worst state in it, and what matters most of what is unread."""
    yield (Span(" " * LABEL_COLUMNS + "".join(f"{kind:^11}" for kind in Kind)),)
    for state in State:
        spans = [Span(f"{TITLES[state]:<{LABEL_COLUMNS}}")]
        for kind in Kind:
            mark = Span(SWATCH, COLOURS[state, kind]) if coloured else Span(LETTERS[state, kind])
            left = (11 - len(mark.text)) // 2
            spans += [Span(" " * left), mark, Span(" " * (11 - left - len(mark.text)))]
        yield tuple(spans)
