"""Words -> rows of a terminal that are exactly as wide as asked, whatever stands in the words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.text import Text

from ntt.names import printable

Span = tuple[str, str]  # text, style
Spans = Sequence[Span]

_ASCII = str.maketrans(
    {"─": "-", "│": "|", "╭": "+", "╮": "+", "╰": "+", "╯": "+", "━": "=", "█": "#", "▒": "+", "░": "."}
    | {"▶": ">", "…": "~", "·": "-"}
)


def safe(text: str) -> str:
    """Nothing in it can control a terminal. What is printable already stays as it is, its backslashes too."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if character == "\\" else printable(character) for character in text)


def columns(spans: Iterable[Span]) -> int:
    return sum(cell_len(text) for text, _ in spans)


def cut(text: str, width: int) -> str:
    """At most `width` columns; of a longer text the end gives way to an ellipsis."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1) + "…" if width > 0 else ""


def row(width: int, left: Spans, right: Spans = ()) -> Text:
    """Exactly `width` columns: `right` at the end, `left` in what it leaves. All texts are made safe here."""
    ends = _fitted([(safe(text), style) for text, style in right], width)
    used = columns(ends)
    room = width - used - (1 if used else 0)
    starts = _fitted([(safe(text), style) for text, style in left], room)
    made = Text(no_wrap=True, end="", overflow="crop")
    for text, style in starts:
        made.append(text, style or None)
    made.append(" " * (width - used - columns(starts)))
    for text, style in ends:
        made.append(text, style or None)
    return made


def _fitted(spans: Spans, width: int) -> list[Span]:
    fitted: list[Span] = []
    for text, style in spans:
        room = width - columns(fitted)
        if room <= 0:
            break
        fitted.append((cut(text, room), style))
    return fitted


def side_by_side(parts: Sequence[Text], gap: int = 1) -> Text:
    made = Text(no_wrap=True, end="", overflow="crop")
    for at, part in enumerate(parts):
        made.append(" " * gap if at else "")
        made.append_text(part)
    return made


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns, broken between words where that is possible."""
    lines: list[str] = [""]
    for word in _words(safe(text), max(1, width)):
        if lines[-1] and cell_len(lines[-1]) + 1 + cell_len(word) > width:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines


def _words(text: str, width: int) -> Iterator[str]:
    for word in text.split(" "):
        yield from chop_cells(word, width) if cell_len(word) > width else (word,)


def ascii_only(text: Text) -> Text:
    """The same for a terminal that knows nothing else: as wide as it was."""
    plain = "".join(
        character if character.isascii() else "?" * cell_len(character) for character in text.plain.translate(_ASCII)
    )
    if len(plain) != len(text.plain):  # wide or combining characters: its styles would lie elsewhere
        return Text(plain, no_wrap=True, end="", overflow="crop")
    made = text.copy()
    made.plain = plain
    return made
