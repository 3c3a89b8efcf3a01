"""Keys and what the board shows -> wishes: a state machine without terminal or clock."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from ntt.board import Board, Command, Panel, Phase, Wish
from ntt.live.keys import Key, KeyKind

LABEL_LIMIT = 200  # characters

_NO_MEDIUM = frozenset((Phase.EMPTY, Phase.REFUSED, Phase.EJECTING))
_RUNS = frozenset((Phase.READING, Phase.WORKING, Phase.PAUSED))
_FREE_TO_EJECT = frozenset((Phase.EMPTY, Phase.ASKING, Phase.DONE, Phase.PARKED))
_STEPS = {KeyKind.TAB: 1, KeyKind.DOWN: 1, KeyKind.BACK_TAB: -1, KeyKind.UP: -1}
STAYS = "Ctrl-Z would leave drives in the middle of a read: p pauses one, q quits"


class Mode(enum.Enum):
    KEYS = "keys"
    LABEL = "label"
    CONFIRM = "confirm"
    HELP = "help"


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is being typed; the cursor stands before `text[at]`."""

    text: str = ""
    at: int = 0

    def typed(self, text: str) -> Line:
        text = text[: LABEL_LIMIT - len(self.text)]
        return Line(self.text[: self.at] + text + self.text[self.at :], self.at + len(text))

    def edited(self, kind: KeyKind) -> Line:
        text, at = self.text, self.at
        match kind:
            case KeyKind.LEFT:
                return Line(text, max(0, at - 1))
            case KeyKind.RIGHT:
                return Line(text, min(len(text), at + 1))
            case KeyKind.HOME:
                return Line(text, 0)
            case KeyKind.END:
                return Line(text, len(text))
            case KeyKind.BACKSPACE:
                return Line(text[: max(0, at - 1)] + text[at:], max(0, at - 1))
            case KeyKind.DELETE:
                return Line(text[:at] + text[at + 1 :], at)
            case KeyKind.ERASE_LINE:
                return Line()
            case KeyKind.ERASE_WORD:
                kept = text[:at].rstrip().rpartition(" ")
                start = kept[0] + kept[1]
                return Line(start + text[at:], len(start))
            case _:
                return self


@dataclass(frozen=True, slots=True)
class Desk:
    """What the keyboard is at. `drive`: whose label is typed, or of whom `wish` was asked; `seen` is how that drive
    stood then. `left`: drives that ask for a label and whose question was left with Esc. `message`: until the next key.
    """

    selected: str = ""
    mode: Mode = Mode.KEYS
    drive: str = ""
    line: Line = Line()
    wish: Wish | None = None
    seen: tuple[Phase, str] | None = None
    left: frozenset[str] = frozenset()
    message: str = ""


Pressed = tuple[Desk, tuple[Command, ...]]


def settled(desk: Desk, board: Board) -> Desk:
    """The desk as the board has it now: what it is about may be gone, and a drive may ask for its label."""
    keys = list(board.panels)
    asking = [key for key in keys if board.panels[key].phase is Phase.ASKING]
    desk = replace(desk, left=desk.left & frozenset(asking))
    if desk.selected not in board.panels:
        desk = replace(desk, selected=keys[0] if keys else "")
    if desk.mode is Mode.LABEL:
        panel = board.panels.get(desk.drive)
        if panel is None or panel.phase in _NO_MEDIUM:
            desk = _idle(desk, "the medium is gone: its label was not kept" if desk.line.text else "")
        elif not desk.line.text and panel.phase is not Phase.ASKING and desk.seen and desk.seen[0] is Phase.ASKING:
            desk = _idle(desk)  # answered elsewhere, or not waited for any longer
    if desk.mode is Mode.CONFIRM and _standing(board.panels.get(desk.drive)) != desk.seen:
        desk = _idle(desk, "something has changed in that drive: nothing was done")
    open_questions = [key for key in asking if key not in desk.left]
    if desk.mode is Mode.KEYS and open_questions:
        drive = desk.selected if desk.selected in open_questions else open_questions[0]
        desk = replace(desk, mode=Mode.LABEL, drive=drive, line=Line(), seen=_standing(board.panels[drive]))
    return desk


def pressed(desk: Desk, board: Board, key: Key) -> Pressed:
    """The desk after a key, and what the operator wants done."""
    desk = settled(desk, board)
    if key.kind is not KeyKind.ENTER or desk.mode is not Mode.KEYS:  # the Enter of a scan leaves what is said of it
        desk = replace(desk, message="")
    if key.kind is KeyKind.SUSPEND:
        return replace(desk, message=STAYS), ()
    match desk.mode:
        case Mode.HELP:
            return _idle(desk), ()
        case Mode.CONFIRM:
            sure = key.kind is KeyKind.TEXT and key.text in ("y", "Y") and desk.wish is not None
            if not sure or desk.wish is None:
                return _idle(desk, "nothing was done"), ()
            return _idle(desk), (Command(desk.wish, desk.drive),)
        case Mode.LABEL:
            return _in_label(desk, board, key)
        case Mode.KEYS:
            return _in_keys(desk, board, key)


def _idle(desk: Desk, message: str = "") -> Desk:
    return replace(desk, mode=Mode.KEYS, drive="", line=Line(), wish=None, seen=None, message=message)


def _standing(panel: Panel | None) -> tuple[Phase, str] | None:
    return None if panel is None else (panel.phase, panel.medium)


def _in_label(desk: Desk, board: Board, key: Key) -> Pressed:
    match key.kind:
        case KeyKind.ENTER:
            command = Command(Wish.LABEL, desk.drive, desk.line.text.strip())
            # it has answered, though the board may not say so yet: the next scan is for the next drive
            return replace(_idle(desk), left=desk.left | {desk.drive}), (command,)
        case KeyKind.ESCAPE:
            return replace(_idle(desk, "l comes back to the label"), left=desk.left | {desk.drive}), ()
        case KeyKind.TEXT | KeyKind.PASTE:
            return replace(desk, line=desk.line.typed(key.text)), ()
        case KeyKind.TAB | KeyKind.BACK_TAB | KeyKind.UP | KeyKind.DOWN if not desk.line.text:
            moved = _moved(desk, board, _STEPS[key.kind])
            panel = board.panels.get(moved.selected)
            asks = panel is not None and panel.phase is Phase.ASKING
            return (replace(moved, drive=moved.selected, seen=_standing(panel)) if asks else moved), ()
        case _:
            return replace(desk, line=desk.line.edited(key.kind)), ()


def _in_keys(desk: Desk, board: Board, key: Key) -> Pressed:
    if key.kind in _STEPS:
        return _moved(desk, board, _STEPS[key.kind]), ()
    if key.kind not in (KeyKind.TEXT, KeyKind.PASTE):
        return desk, ()
    if key.kind is KeyKind.PASTE or len(key.text) > 1:  # a scanner, or a paste: never taken for keys
        return replace(desk, message=f"no drive asks for a label: press l, then scan again ({key.text[:40]})"), ()
    if key.text in "123456789":
        keys = list(board.panels)
        at = int(key.text) - 1
        return (replace(desk, selected=keys[at]) if at < len(keys) else desk), ()
    match key.text:
        case "q" | "Q":
            return desk, (Command(Wish.QUIT),)
        case "?" | "h":
            return replace(desk, mode=Mode.HELP), ()
        case _:
            return _for_drive(desk, board.panels.get(desk.selected), key.text)


def _for_drive(desk: Desk, panel: Panel | None, letter: str) -> Pressed:
    if panel is None or letter not in ("p", "s", "e", "l"):
        return desk, ()
    wish = {"p": Wish.PAUSE, "s": Wish.ENOUGH, "e": Wish.EJECT, "l": Wish.LABEL}[letter]
    refusal = _refusal(panel, wish)
    if refusal:
        return replace(desk, message=refusal), ()
    if wish is Wish.LABEL:
        line = Line(panel.label, len(panel.label))
        desk = replace(desk, mode=Mode.LABEL, drive=desk.selected, line=line, seen=_standing(panel))
        return replace(desk, left=desk.left - {desk.selected}), ()
    if wish is Wish.EJECT and panel.phase not in _FREE_TO_EJECT:
        return replace(desk, mode=Mode.CONFIRM, drive=desk.selected, wish=wish, seen=_standing(panel)), ()
    return desk, (Command(wish, desk.selected),)


def _refusal(panel: Panel, wish: Wish) -> str:
    """Why that cannot be wished for this drive now; "" if it can."""
    phase = panel.phase
    if wish is Wish.PAUSE and phase not in _RUNS:
        return "nothing runs in this drive that could be paused"
    if wish is Wish.ENOUGH and phase not in (Phase.READING, Phase.PAUSED):
        return "this drive is not reading"
    if wish is Wish.EJECT and phase in (Phase.REFUSED, Phase.EJECTING):
        return "it is being ejected" if phase is Phase.EJECTING else "this drive is not touched"
    if wish is Wish.LABEL and phase in _NO_MEDIUM:
        return "there is no medium to label"
    return ""


def _moved(desk: Desk, board: Board, step: int) -> Desk:
    keys = list(board.panels)
    if not keys:
        return desk
    return replace(desk, selected=keys[(keys.index(desk.selected) + step) % len(keys)])
