"""A picture of a surface -> one SVG file that needs nothing else: hover over a place for its bytes and names.

Format: W3C Scalable Vector Graphics (SVG) 1.1, in XML 1.0.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from ntt.names import printable
from ntt.operations.surface import ByKind, Kind, State, SurfaceCell, SurfaceMap
from ntt.operations.surface_looks import COLOURS, LETTERS, TITLES, letter_of
from ntt.text import size_words

COLUMNS = 56
ROWS = 36
CELLS = COLUMNS * ROWS  # how many it is made for; it draws any number
SIDE = 8  # of a place; all lengths are units of a picture that is `WIDTH` wide however large it is shown
MARGIN = 16
WIDTH = COLUMNS * SIDE + 2 * MARGIN
LINE = 18  # from one line of text to the next
TITLE, COLUMN = 84, 74  # of the legend: the words before it, each kind
LETTERS_SHOWN = 62  # of a line of text
FILES_SHOWN = 5
STRUCTURES_SHOWN = 3
SCOPE = "ntt-map"  # the class of the picture: inside a page its styles touch nothing else
_RULES = (
    "text{font:13px 'DejaVu Sans','Segoe UI',Helvetica,Arial,sans-serif;fill:#1b2430}",
    ".h{font-weight:bold;font-size:16px}",
    ".b{font-weight:bold}",
    ".d{fill:#4a5563;font-size:12px}",
    ".a{text-anchor:end}",
    ".m{font:bold 7px 'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:#fff;text-anchor:middle;pointer-events:none}",
    ".l{font-size:11px}",
    ".k{fill:#000}",
    ".g{fill:#fff}",
    ".p{fill:#05080c}",
    ".o{stroke:#05080c}",
)
_DARK_LETTERS = frozenset(  # colours too bright for a white letter
    look for look, colour in COLOURS.items() if sum(int(colour[at : at + 2], 16) for at in (1, 3, 5)) > 380
)


def svg_lines(surface: SurfaceMap, *, inside_a_page: bool = False) -> Iterator[str]:
    """The file, line by line. Everything that comes from a medium is escaped, for the reader's eyes and for XML.

    `inside_a_page`: the element alone, without the words above and below that the page has itself.
    """
    head, tail = ([], []) if inside_a_page else (list(_head(surface)), list(_tail(surface)))
    top = MARGIN + LINE * len(head) + 6
    rows = -(-len(surface.cells) // COLUMNS)
    legend = top + rows * SIDE + 2 * MARGIN
    lists = legend + LINE * (len(State) + 2) + MARGIN
    height = lists + LINE * len(tail) + (MARGIN if tail else 0)
    name = quoteattr(f"Surface of medium {surface.medium_hash}: {surface.rescued_percent} % rescued")
    if not inside_a_page:
        yield '<?xml version="1.0" encoding="UTF-8"?>'
    view = f'viewBox="0 0 {WIDTH} {height}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" class="{SCOPE}" {view} role="img" aria-label={name}>'
    yield f"<style>{style_rules()}</style>"
    yield f'<rect class="g" width="{WIDTH}" height="{height}"/>'
    yield from _texts(head, MARGIN + 12)
    panel = f'width="{COLUMNS * SIDE + 8}" height="{rows * SIDE + 8}"'
    yield f'<rect class="p" x="{MARGIN - 4}" y="{top - 4}" {panel} rx="3"/>'
    for first in range(0, len(surface.cells), COLUMNS):
        yield from _row(surface.cells[first : first + COLUMNS], top + first // COLUMNS * SIDE)
    yield from _legend(surface, legend)
    yield from _texts(tail, lists)
    yield "</svg>"


def style_rules() -> str:
    """The text of the picture's style element, the same in every picture."""
    colours = (f".{_class(*look)}{{fill:{colour}}}" for look, colour in COLOURS.items())
    return "".join(f".{SCOPE} {rule}" for rule in (*_RULES, *colours))


def _class(state: State, kind: Kind) -> str:
    return f"{state}-{kind}"


# ---------------------------------------------------------------- text

_Line = tuple[str, str, str]  # class, what is shown, what hovering tells besides


def _head(surface: SurfaceMap) -> Iterator[_Line]:
    read = surface.bytes
    yield _line("h", printable(surface.human))
    yield "d", f"medium {surface.medium_hash}: {printable(surface.health)}", ""
    if not read.unread:
        yield "", f"{size_words(surface.claimed_bytes)}, every byte was read", ""
    else:
        unread = f"{read.unread:,} bytes not read"
        yield "", f"{surface.rescued_percent} % of {size_words(surface.claimed_bytes)} rescued, {unread}", ""
    for sentence in surface.doubts:
        for line in textwrap.wrap(sentence, LETTERS_SHOWN):
            yield "d", line, ""


def _kinds(lost: ByKind) -> str:
    return f"structures {lost.structures:,}, files {lost.files:,}, free space {lost.free:,}, unknown {lost.unknown:,}"


def _tail(surface: SurfaceMap) -> Iterator[_Line]:
    files, structures = surface.files[:FILES_SHOWN], surface.structures[:STRUCTURES_SHOWN]
    if files:
        yield "b", f"{surface.files_total:,} files not whole" + _those(surface.files_total, files), ""
    for file in files:
        lost = f"{file.lost_bytes:,} bytes{' (all)' if file.failed else ''}"
        yield _line("", f"{lost if file.lost_bytes or file.failed else 'in doubt'}: {printable(file.raw)}")
    if structures:
        yield (
            "b",
            f"{surface.structures_total:,} structures not read" + _those(surface.structures_total, structures),
            "",
        )
    for piece in structures:
        yield _line("", f"{piece.lost_bytes:,} bytes: {piece.words}")


def _those(number: int, shown: Sequence[object]) -> str:
    return "" if number <= len(shown) else "; the worst"


def _line(style: str, text: str) -> _Line:
    if len(text) <= LETTERS_SHOWN:
        return style, text, ""
    return style, f"{text[: LETTERS_SHOWN // 2]}…{text[-LETTERS_SHOWN // 2 :]}", text


def _texts(lines: Sequence[_Line], top: int) -> Iterator[str]:
    for at, (style, text, whole) in enumerate(lines):
        title = f"<title>{escape(whole)}</title>" if whole else ""
        yield f'<text class="{style}" x="{MARGIN}" y="{top + at * LINE}">{title}{escape(text)}</text>'


# ---------------------------------------------------------------- the picture


def _row(cells: Sequence[SurfaceCell], top: int) -> Iterator[str]:
    for at, cell in enumerate(cells):
        yield (
            f'<rect class="{_class(cell.state, cell.kind)}" x="{MARGIN + at * SIDE}" y="{top}" width="{SIDE - 0.6}" '
            f'height="{SIDE - 0.6}"><title>{escape(told(cell))}</title></rect>'
        )
    for style, dark in (("m", False), ("m k", True)):
        marked = [
            (MARGIN + at * SIDE + SIDE // 2, letter_of(cell))
            for at, cell in enumerate(cells)
            if cell.unread is not None and ((cell.state, cell.kind) in _DARK_LETTERS) is dark
        ]
        if marked:
            places = " ".join(f"{place - 0.3:.1f}" for place, _ in marked)
            letters = "".join(letter for _, letter in marked)
            yield f'<text class="{style}" x="{places}" y="{top + SIDE - 1.8}">{letters}</text>'


def told(cell: SurfaceCell) -> str:
    """What hovering over a place tells: byte range, state, kinds, volume, the worst files and structures in it."""
    lines = [f"bytes {cell.start:,}-{cell.end - 1:,}"]
    read = cell.bytes
    if cell.unread is None:
        lines.append(f"rescued; holds {_holds(cell)}")
    else:
        states = ((read.bad, State.BAD), (read.unfinished, State.UNFINISHED), (read.untried, State.UNTRIED))
        lines.append(", ".join(f"{count:,} {TITLES[state]}" for count, state in states if count))
        lines.append(f"unread in {_kinds(cell.unread)}")
    if cell.volume is not None:
        lines.append(f"volume {cell.volume}")
    lines += [
        f"{file.lost_bytes:,} of file {printable(file.raw)}" + (" (nothing of it is kept)" if file.failed else "")
        for file in cell.files
    ]
    if cell.more_files:
        lines.append(f"+{cell.more_files:,} more files")
    lines += [f"{piece.lost_bytes:,} of {piece.words}" for piece in cell.structures]
    if cell.more_structures:
        lines.append(f"+{cell.more_structures:,} more structures")
    return "\n".join(lines)


def _holds(cell: SurfaceCell) -> str:
    words = {kind: "free space" if kind is Kind.FREE else str(kind) for kind in Kind}
    return ", ".join(words[kind] for kind in cell.holds) or "what is not known"


def _legend(surface: SurfaceMap, top: int) -> Iterator[str]:
    """A table of states and kinds with the bytes of each; hovering over a number tells it exactly."""
    of_states = {
        State.RESCUED: surface.bytes.rescued,
        State.UNTRIED: surface.bytes.untried,
        State.UNFINISHED: surface.bytes.unfinished,
        State.BAD: surface.bytes.bad,
    }
    lost = surface.unread
    of_kinds = (lost.structures, lost.files, lost.unknown, lost.free)
    lefts = [MARGIN + TITLE + column * COLUMN for column in range(len(Kind))]
    for left, kind in zip(lefts, Kind, strict=True):
        yield f'<text class="d" x="{left}" y="{top}">{kind}</text>'
    for row, state in enumerate(State, 1):
        line = top + row * LINE
        yield f'<text x="{MARGIN}" y="{line}">{TITLES[state]}</text>'
        for left, kind in zip(lefts, Kind, strict=True):
            yield from _swatch(state, kind, left, line)
        yield _amount(of_states[state], "d a", WIDTH - MARGIN, line)
    line = top + (len(State) + 1) * LINE
    yield f'<text x="{MARGIN}" y="{line}">not read</text>'
    for left, count in zip(lefts, of_kinds, strict=True):
        yield _amount(count, "d", left, line)
    yield _amount(surface.bytes.unread, "d a", WIDTH - MARGIN, line)


def _swatch(state: State, kind: Kind, left: int, line: int) -> Iterator[str]:
    yield f'<rect class="o {_class(state, kind)}" x="{left}" y="{line - 11}" width="24" height="14"/>'
    if state is not State.RESCUED:
        dark = " k" if (state, kind) in _DARK_LETTERS else ""
        letter = LETTERS[state, kind]
        yield f'<text class="m l{dark}" x="{left + 12}" y="{line}">{letter}</text>'


def _amount(count: int, style: str, left: int, line: int) -> str:
    return f'<text class="{style}" x="{left}" y="{line}"><title>{count:,} bytes</title>{size_words(count)}</text>'
