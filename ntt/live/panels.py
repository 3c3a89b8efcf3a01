"""One drive -> its part of the screen, in as many rows as there are: what matters least gives way first."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from ntt.board import Panel, Phase
from ntt.live.desk import Line
from ntt.live.rows import Span, Spans, columns, cut, row, safe, wrapped
from ntt.live.wording import BAD, PARTLY, UNREAD, Said, bad_words, bar, said_of, surface_letters
from ntt.progress_text import time_text

STYLES = {
    Phase.EMPTY: "dim",
    Phase.LOOKING: "cyan",
    Phase.ASKING: "bold yellow",
    Phase.WAITING: "yellow",
    Phase.READING: "cyan",
    Phase.WORKING: "blue",
    Phase.PAUSED: "yellow",
    Phase.EJECTING: "green",
    Phase.DONE: "green",
    Phase.PARKED: "bold red",
    Phase.REFUSED: "magenta",
}
_LOUD = frozenset((Phase.PARKED, Phase.REFUSED, Phase.WAITING, Phase.ASKING))
MAP_ROWS, MESSAGE_ROWS = 8, 4
AMOUNTS, PICTURE, EXTRA = 4, 5, 6  # ranks: how much is read and what is bad, the surface, what has room once all have
LEAST_BAR = 6
FRAMED_FROM, WORDY_FROM, SHARED_FROM = 24, 48, 28  # columns


@dataclass(frozen=True, slots=True)
class Place:
    """Which drive of the screen it is, whether the keys are for it, and the label that is typed for it."""

    number: int
    selected: bool
    typed: Line | None = None


Body = list[tuple[int, Text]]  # (the least number stays longest, row), from top to bottom


def panel_rows(panel: Panel, place: Place, width: int, height: int, now: float) -> list[Text]:
    """Exactly `height` rows of `width` columns. A frame only where it costs nothing that is to be said."""
    if height <= 0:
        return []
    if height == 1:
        return [_one_row(panel, place, width, now)]
    inner = max(1, width - 4)
    body = _body(panel, place, inner, now)
    essential = sum(rank < EXTRA for rank, _ in body)
    framed = width >= FRAMED_FROM and height >= 2 + essential
    room = height - 2 if framed else height - 1
    if panel.surface:
        body += _map(panel.surface, inner, max(1 if room > essential else 0, min(MAP_ROWS, room - len(body))))
    kept = sorted(sorted(range(len(body)), key=lambda at: (body[at][0], at))[:room])
    rows = [body[at][1] for at in kept]
    rows += [row(inner, ())] * (room - len(rows))
    bad = "" if AMOUNTS in (body[at][0] for at in kept) else bad_words(panel).split(",")[0]
    top = _title(panel, place, width, bad, framed=framed)
    style = STYLES[panel.phase]
    if not framed:
        return [top, *(_edged("  ", text, "  ", "") if width > 4 else row(width, ()) for text in rows)]
    bottom = row(width, (("╰" + "─" * (width - 2) + "╯", style),))
    return [top, *(_edged("│ ", text, " │", style) for text in rows), bottom]


def rows_wanted(panel: Panel, place: Place, width: int, now: float) -> int:
    """How many rows it fills when there is room for all it has to say."""
    body = len(_body(panel, place, max(1, width - 4), now))
    pictured = max(1, min(MAP_ROWS, len(panel.surface) // max(1, width - 4))) if panel.surface else 0
    return 2 + max(1, body + pictured)


def _edged(before: str, text: Text, after: str, style: str) -> Text:
    made = Text(no_wrap=True, end="", overflow="crop")
    made.append(before, style or None).append_text(text).append(after, style or None)
    return made


def _mark(place: Place) -> str:
    return f"{'▶' if place.selected else ' '}{place.number}"


def _title(panel: Panel, place: Place, width: int, bad: str, *, framed: bool) -> Text:
    """'╭─▶1 Vendor Model /dev/sr0 ──── 24.0 KB bad ── reading ─╮'"""
    style = STYLES[panel.phase]
    corners = ("╭─", "─╮") if framed else ("──", "──")
    phase = f" {panel.phase.value} "
    said = f" {bad} ──" if bad else ""
    name = f"{_mark(place)} {safe(panel.drive.title)} "
    node = f"{safe(str(panel.drive.node))} " if width >= WORDY_FROM else f"{safe(panel.drive.node.name)} "
    room = width - 4 - cell_len(phase) - cell_len(node) - cell_len(said)
    if room < cell_len(name):  # the node is what tells two drives of one make apart
        name = cut(name.rstrip(), max(2, room - 1)) + " "
    fill = "─" * (width - 4 - sum(map(cell_len, (name, node, said, phase))))
    strong = f"{style} bold" if place.selected else style
    middle = ((name, strong), (node, strong), (fill, style), (said, "bold red"), (phase, style))
    return row(width, ((corners[0], style), *middle, (corners[1], style)))


def _one_row(panel: Panel, place: Place, width: int, now: float) -> Text:
    said = said_of(panel.stage, now) if panel.stage else None
    bad = bad_words(panel).split(",")[0]
    right = _numbers(said, width) if said else []
    if bad and width >= 60:
        right.append((f"  {bad}", "bold red"))
    told = panel.medium or panel.message if said else panel.message or panel.medium
    left = [
        (f"{_mark(place)} {panel.drive.node.name} ", "bold" if place.selected else ""),
        (panel.phase.value, STYLES[panel.phase]),
        (f" {told}", ""),
    ]
    return row(width, left, right)


def _body(panel: Panel, place: Place, width: int, now: float) -> Body:
    said = said_of(panel.stage, now) if panel.stage else None
    bad = bad_words(panel)
    body: Body = []
    if panel.medium or panel.label:
        body.append((3, _medium(panel, width, now)))
    if place.typed is not None:
        body.append((0, row(width, typed_label(place.typed, width))))
    loud = panel.phase in _LOUD or said is None
    for at, line in enumerate(wrapped(panel.message, width)[:MESSAGE_ROWS] if panel.message else ()):
        rank = (1 if loud else 3) if at == 0 else EXTRA
        body.append((rank, row(width, ((line, STYLES[panel.phase] if loud else ""),))))
    if said:
        body.append((2, _progress(said, width)))
        body.append((AMOUNTS, _amounts(said, bad, width)))
    elif bad:
        body.append((AMOUNTS, row(width, ((bad, "bold red"),))))
    return body


def _medium(panel: Panel, width: int, now: float) -> Text:
    left: list[Span] = [(panel.medium, "bold")]
    if panel.label:
        left.append((f"  {panel.label}" if panel.medium else panel.label, "cyan"))
    right: Spans = ((time_text(max(0.0, now - panel.stage.started_s)), "dim"),) if panel.stage else ()
    return row(width, left, right)


def typed_label(line: Line, width: int) -> list[Span]:
    """The line with its cursor, of a long one the part around it."""
    room = max(1, width - len("label: ") - 1)
    start = max(0, line.at - room + 1)
    before, under, after = line.text[start : line.at], line.text[line.at : line.at + 1] or " ", line.text[line.at + 1 :]
    return [("label: ", "bold yellow"), (before, ""), (under, "reverse"), (after, "")]


def _progress(said: Said, width: int) -> Text:
    """Stage, bar, share, rate and time left; where it is narrow the bar goes first, then the stage, then the share."""
    numbers = _numbers(said, width)
    name = f"{said.name:<9} "
    room = width - columns(numbers) - 1 - len(name)
    if room >= LEAST_BAR:
        done, rest = bar(said.share, room)
        return row(width, ((name, "bold"), (done, "green"), (rest, "dim")), numbers)
    return row(width, ((name.rstrip(), "bold"),), numbers)


def _numbers(said: Said, width: int) -> list[Span]:
    style = "bold red" if said.left.startswith("no answer") else ""
    if width >= WORDY_FROM:
        percent = f"{said.percent:>5}  " if said.percent else ""
        return [(percent, "bold"), (f"{said.rate:>10}  ", ""), (f"{said.left:>12}", style)]
    percent = f"{said.percent} " if width >= SHARED_FROM else ""
    return [(percent, "bold"), (f"{said.rate} ", ""), (said.left.removesuffix(" left"), style)]


def _amounts(said: Said, bad: str, width: int) -> Text:
    left: list[Span] = [(said.amount, "")]
    if said.where:
        left.append((f"  {said.where}", "dim"))
    right: list[Span] = [(f"  {said.trouble}" if bad else said.trouble, "yellow")] if said.trouble else []
    return row(width, left, [*([(bad, "bold red")] if bad else []), *right])


def _map(surface: bytes, width: int, rows: int) -> Body:
    """The whole surface in at most that many rows: from left to right, from top to bottom."""
    rows = min(rows, max(1, len(surface) // width))
    letters = surface_letters(surface, width * rows)
    return [(PICTURE, _letters(letters[at : at + width], width)) for at in range(0, len(letters), width)]


def _letters(letters: str, width: int) -> Text:
    looks = {BAD: "bold red", PARTLY: "green", UNREAD: "dim"}
    spans: list[Span] = []
    for letter in letters:
        style = looks.get(letter, "green")
        if spans and spans[-1][1] == style:
            spans[-1] = (spans[-1][0] + letter, style)
        else:
            spans.append((letter, style))
    return row(width, spans)
