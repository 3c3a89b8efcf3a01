"""What is below the drives: space, what has ended, what is still done, notes; each in as many rows as it is given."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from ntt.board import Board, Finished, Queued, Room, Verdict
from ntt.live.rows import Span, Spans, row, side_by_side
from ntt.live.wording import said_of
from ntt.progress_text import size_text, time_text

TITLE_COLUMNS = 10
TWO_COLUMNS_FROM = 120
VERDICTS = {
    Verdict.COMPLETE: "green",
    Verdict.KNOWN: "cyan",
    Verdict.PROBLEMS: "yellow",
    Verdict.FAILED: "bold red",
}


@dataclass(frozen=True, slots=True)
class Item:
    left: Spans
    right: Spans = ()


@dataclass(frozen=True, slots=True)
class Section:
    """`brief` stands for all items where there is one row only."""

    title: str
    items: Sequence[Item]
    brief: Item | None = None


def section_rows(board: Board, width: int, height: int, now: float) -> list[Text]:
    """Exactly `height` rows; in two columns where there is room for them."""
    space, finished, queue, notes = _space(board), _finished(board), _queue(board, now), _notes(board)
    if width < TWO_COLUMNS_FROM:
        return _filled((space, finished, queue, notes), width, height)
    left = (width - 2) // 2
    return [
        side_by_side(pair, gap=2)
        for pair in zip(
            _filled((finished, notes), left, height), _filled((space, queue), width - 2 - left, height), strict=True
        )
    ]


def rows_of_use(board: Board) -> int:
    """How many rows have something to say, one below the other."""
    return len(board.rooms) + len(board.finished) + len(board.queue) + len(board.notes) + (1 if board.database else 0)


def _filled(sections: Sequence[Section], width: int, height: int) -> list[Text]:
    given = [0] * len(sections)
    left = height
    while left > 0 and any(have < len(section.items) for have, section in zip(given, sections, strict=True)):
        for at, section in enumerate(sections):
            if left > 0 and given[at] < len(section.items):
                given[at] += 1
                left -= 1
    rows = [made for section, count in zip(sections, given, strict=True) for made in _drawn(section, count, width)]
    return rows + [row(width, ())] * (height - len(rows))


def _drawn(section: Section, count: int, width: int) -> list[Text]:
    items = list(section.items[:count])
    hidden = len(section.items) - count
    if count == 1 and section.brief is not None and hidden:
        items, hidden = [section.brief], 0
    title_columns = TITLE_COLUMNS if width >= 40 else 0
    rows: list[Text] = []
    for at, item in enumerate(items):
        title = f"{section.title if at == 0 else '':<{title_columns}}" if title_columns else ""
        more: list[Span] = [(f"  and {hidden:,} more", "dim")] if hidden and at == len(items) - 1 else []
        rows.append(row(width, [(title, "dim"), *item.left], [*item.right, *more]))
    return rows


def _space(board: Board) -> Section:
    """Places that have not enough first. The database is with them: it is what else all of it stands on."""
    rooms = sorted(board.rooms, key=lambda room: room.enough)
    items = [Item(_room(room)) for room in rooms]
    brief: list[Span] = []
    for room in rooms:
        brief += [*([("  ", "")] if brief else []), *_room(room)]
    database: Spans = ((f"database {board.database}", ""),) if board.database else ()
    if database:
        items.append(Item(database))
    also: Spans = ((f"  db {board.database}", ""),) if database else ()
    return Section("space", items, Item(brief, also) if brief else None)


def _room(room: Room) -> Spans:
    free = f"{room.what} {size_text(room.free_bytes)} free"
    if room.enough:
        return ((free, ""),)
    return ((f"! {free}, needs {size_text(room.needed_bytes)}", "bold red"),)


def _finished(board: Board) -> Section:
    return Section("finished", [_ended(medium) for medium in reversed(board.finished)])


def _ended(medium: Finished) -> Item:
    left: list[Span] = [
        (f"#{medium.sequence:<4} ", "bold"),
        (f"{medium.verdict.value:<8}  ", VERDICTS[medium.verdict]),
        (medium.medium, "bold"),
        (f"  {medium.summary}", ""),
    ]
    at = time.strftime("%H:%M", time.localtime(medium.at_s))
    return Item(left, ((f"{at} in {time_text(medium.seconds)}", "dim"),))


def _queue(board: Board, now: float) -> Section:
    items = [_queued(queued, now) for queued in board.queue]
    return Section("queue", items)


def _queued(queued: Queued, now: float) -> Item:
    if queued.stage is None:
        return Item(((queued.medium, "bold"), ("  waits", "dim")))
    said = said_of(queued.stage, now)
    right = "  ".join(filter(None, (said.percent, said.rate, said.left)))
    return Item(((queued.medium, "bold"), (f"  {said.name} {said.amount}", "")), ((right, ""),))


def _notes(board: Board) -> Section:
    return Section("notes", [Item(((text, "yellow" if bad else ""),)) for text, bad in reversed(board.notes)])
