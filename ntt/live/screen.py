"""The board -> a screenful of rows, at any size: every drive first, then what else there is room for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from ntt.board import Board, Wish
from ntt.live.desk import Desk, Mode
from ntt.live.panels import Place, panel_rows, rows_wanted, typed_label
from ntt.live.rows import Span, ascii_only, row, side_by_side
from ntt.live.sections import rows_of_use, section_rows

LEAST_COLUMN = 60  # columns of a drive's panel, to stand beside another
HINTS = "Tab drive  p pause  s stop the pass  e eject  l label  q quit  ? help"
_HELP = (
    ("Tab, arrows, 1-9", "which drive the keys are for"),
    ("p", "pause it, or go on"),
    ("s", "stop the pass that runs, go on with what was read"),
    ("e", "eject; asks first while the medium is being worked on"),
    ("l", "label the medium: Enter keeps it, Esc leaves"),
    ("a scanner", "types the label, up to Enter, while a drive asks for it;"),
    ("", "Esc leaves the question, l comes back to it"),
    ("q", "quit when what is in hand is finished; a second time: at once"),
    ("", "either way the next start goes on from there"),
    ("Ctrl-L", "draw the screen again"),
    ("surface", "█ read   ▒ read in part   ░ not tried yet   X bad"),
)


@dataclass(frozen=True, slots=True)
class BoardView:
    """What is seen of a board on `width` times `height` places.

    `now`: seconds of the clock of the stages; `clock`: the time of day, for people. `plain`: ASCII only.
    """

    board: Board
    width: int
    height: int
    now: float
    desk: Desk = field(default_factory=Desk)
    clock: str = ""
    plain: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for at, text in enumerate(self.rows()):
            made = text.copy()
            made.end = "\n" if at < self.height - 1 else ""
            yield made

    def rows(self) -> list[Text]:
        """Exactly `height` rows of `width` columns."""
        width, height = max(1, self.width), max(1, self.height)
        rows: list[Text] = []
        body = height - (2 if height >= 4 else 1 if height >= 3 or self._speaks else 0)
        if height >= 4:
            rows.append(self._header(width))
        rows += self._help(width, body) if self.desk.mode is Mode.HELP else self._body(width, body)
        if len(rows) < height:
            rows.append(self._foot(width))
        return [ascii_only(text) for text in rows] if self.plain else rows

    @property
    def _speaks(self) -> bool:
        return self.desk.mode in (Mode.CONFIRM, Mode.LABEL) or bool(self.desk.message)

    def _header(self, width: int) -> Text:
        board = self.board
        left: list[Span] = [("ntt watch", "bold cyan")]
        left += [(f"  {board.session}", "")] if board.session else []
        left += [(f"  box {board.box}", "bold")] if board.box else []
        right: list[Span] = [(f"{board.done:,} done", "green"), ("  ", "")]
        right.append((f"{board.problems:,} with problems", "bold yellow" if board.problems else "dim"))
        right += [(f"  {self.clock}", "dim")] if self.clock and width >= 60 else []
        return row(width, left, right)

    def _foot(self, width: int) -> Text:
        desk, board = self.desk, self.board
        if desk.mode is Mode.CONFIRM and desk.wish is Wish.EJECT:
            name = self._name(desk.drive)
            return row(width, ((f"Eject {name} now, before it is done? y ejects, any other key does not", "reverse"),))
        if desk.mode is Mode.LABEL:
            name = f"{self._name(desk.drive)} "
            hint = "  Enter keeps, Esc leaves" if width >= 60 else ""
            line = typed_label(desk.line, width - len(name) - len(hint) - 1)
            return row(width, [(name, "bold"), *line], ((hint, "dim"),) if hint else ())
        if desk.message:
            return row(width, ((desk.message, "bold yellow"),))
        if board.stopping:
            return row(width, (("finishing what is in hand, then it ends; q once more: at once", "bold yellow"),))
        return row(width, ((HINTS, "dim"),))

    def _name(self, key: str) -> str:
        keys = list(self.board.panels)
        return f"{keys.index(key) + 1} {self.board.panels[key].drive.node.name}" if key in keys else "the drive"

    def _help(self, width: int, height: int) -> list[Text]:
        rows = [row(width, ((f" {keys:<17}", "bold"), (what, ""))) for keys, what in _HELP]
        rows += [row(width, ()), row(width, ((" any key leaves this page", "dim"),))]
        return (rows + [row(width, ())] * height)[:height]

    def _body(self, width: int, height: int) -> list[Text]:
        keys = list(self.board.panels)
        if not keys:
            waits = row(width, (("no drive yet: plug one in, or name one with --device", "yellow"),))
            return [waits, *section_rows(self.board, width, height - 1, self.now)][:height] if height else []
        bands = list(_bands(keys, width))
        heights, first = self._heights(bands, width, height)
        rows: list[Text] = []
        for band, wanted in list(zip(bands, heights, strict=True))[first:]:
            rows += self._band(band, width, wanted)
        rows = rows[:height]
        return rows + section_rows(self.board, width, height - len(rows), self.now)

    def _place(self, key: str) -> Place:
        number = list(self.board.panels).index(key) + 1
        typed = self.desk.line if self.desk.mode is Mode.LABEL and self.desk.drive == key else None
        return Place(number, key == self.desk.selected, typed)

    def _heights(self, bands: Sequence[Sequence[str]], width: int, height: int) -> tuple[list[int], int]:
        """(rows of each band, the first band that is shown): evenly up to what each wants; some are left below."""
        if len(bands) > height:
            at = next((at for at, band in enumerate(bands) if self.desk.selected in band), 0)
            return [1] * len(bands), min(max(0, at - height // 2), len(bands) - height)
        inner = width // max(map(len, bands))
        panels = self.board.panels
        wanted = [max(rows_wanted(panels[key], self._place(key), inner, self.now) for key in band) for band in bands]
        below = min(rows_of_use(self.board), (height - 2) // 5 if height >= 10 else 1 if height >= 6 else 0)
        heights = [1] * len(bands)
        for level in range(2, max(wanted) + 1):
            for at in range(len(bands)):
                if heights[at] < level <= wanted[at] and sum(heights) < height - below:
                    heights[at] += 1
        return heights, 0

    def _band(self, band: Sequence[str], width: int, height: int) -> list[Text]:
        """Drives side by side."""
        count = len(band)
        room = width - (count - 1)
        widths = [room // count + (1 if at < room % count else 0) for at in range(count)]
        panels = [
            panel_rows(self.board.panels[key], self._place(key), each, height, self.now)
            for key, each in zip(band, widths, strict=True)
        ]
        return [side_by_side(parts) for parts in zip(*panels, strict=True)]


def _bands(keys: Sequence[str], width: int) -> Iterator[Sequence[str]]:
    """As many drives beside each other as there is room for, in bands as even as can be."""
    across = max(1, min(len(keys), (width + 1) // (LEAST_COLUMN + 1)))
    count = -(-len(keys) // across)
    each = -(-len(keys) // count)
    for first in range(0, len(keys), each):
        yield keys[first : first + each]


def frame(view: BoardView, console: Console) -> list[str]:
    """The rows as a terminal takes them, with their colours, without an end of line."""
    with console.capture() as captured:
        console.print(view, end="", soft_wrap=False)
    return captured.get().split("\n")
