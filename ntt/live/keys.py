"""Bytes of a terminal -> keys; a barcode scanner is told from fingers by how fast it types.

Formats: ECMA-48 (CSI, SS3), the sequences of xterm (ctlseqs: "PC-Style Function Keys", "Bracketed Paste Mode").
"""

from __future__ import annotations

import codecs
import enum
import unicodedata
from dataclasses import dataclass, field

ESCAPE_WAIT_S = 0.05  # a sequence comes in one go, an Esc alone
PASTE_WAIT_S = 2.0  # a paste whose end got lost must not swallow the keyboard
BURST_WAIT_S = 0.05  # scanners type a character every 1 to 20 ms, fingers need more than 60
SEQUENCE_LIMIT = 32
PASTE_LIMIT = 4096
BURST_LIMIT = 512


class KeyKind(enum.Enum):
    TEXT = "text"  # printable; more than one character: typed faster than fingers can
    PASTE = "paste"
    ENTER = "enter"
    ESCAPE = "escape"
    TAB = "tab"
    BACK_TAB = "back tab"
    UP = "up"
    DOWN = "down"
    LEFT = "left"
    RIGHT = "right"
    HOME = "home"
    END = "end"
    BACKSPACE = "backspace"
    DELETE = "delete"
    ERASE_LINE = "erase line"
    ERASE_WORD = "erase word"
    REDRAW = "redraw"
    SUSPEND = "suspend"


@dataclass(frozen=True, slots=True)
class Key:
    kind: KeyKind
    text: str = ""


_CONTROLS = {
    "\r": KeyKind.ENTER,
    "\n": KeyKind.ENTER,
    "\t": KeyKind.TAB,
    "\x7f": KeyKind.BACKSPACE,
    "\x08": KeyKind.BACKSPACE,
    "\x01": KeyKind.HOME,
    "\x05": KeyKind.END,
    "\x15": KeyKind.ERASE_LINE,
    "\x17": KeyKind.ERASE_WORD,
    "\x0c": KeyKind.REDRAW,
    "\x1a": KeyKind.SUSPEND,
}
_FINALS = {
    "A": KeyKind.UP,
    "B": KeyKind.DOWN,
    "C": KeyKind.RIGHT,
    "D": KeyKind.LEFT,
    "H": KeyKind.HOME,
    "F": KeyKind.END,
    "Z": KeyKind.BACK_TAB,
    "M": KeyKind.ENTER,  # of the keypad, after SS3
}
_NUMBERS = {
    "1": KeyKind.HOME,
    "7": KeyKind.HOME,
    "4": KeyKind.END,
    "8": KeyKind.END,
    "3": KeyKind.DELETE,
}
_PASTE_START, _PASTE_END = "200", "\x1b[201~"


@dataclass(slots=True)
class Decoder:
    """Takes bytes as they come, cut anywhere. What may go on waits for `wait_s`; then `expired` ends it."""

    _text: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))
    _sequence: str = ""
    _paste: str | None = None
    _after_return: bool = False

    @property
    def wait_s(self) -> float | None:
        """How long what is begun may stay without more; None: nothing is begun."""
        if self._paste is not None:
            return PASTE_WAIT_S
        return ESCAPE_WAIT_S if self._sequence else None

    def feed(self, data: bytes) -> list[Key]:
        keys: list[Key] = []
        for character in self._text.decode(data):
            key = self._take(character)
            if key is not None:
                keys.append(key)
        return keys

    def expired(self) -> list[Key]:
        """Nothing came for `wait_s`: what was begun is all there is."""
        if self._paste is not None:
            return [self._pasted()]
        sequence, self._sequence = self._sequence, ""
        return [Key(KeyKind.ESCAPE)] if sequence in ("\x1b", "\x1b\x1b") else []

    def _take(self, character: str) -> Key | None:
        if self._paste is not None:
            return self._take_pasted(character)
        if self._sequence:
            return self._take_sequence(character)
        swallowed = self._after_return and character == "\n"  # some scanners end with both: one Enter
        self._after_return = character == "\r"
        if swallowed:
            return None
        if character == "\x1b":
            self._sequence = character
            return None
        kind = _CONTROLS.get(character)
        if kind is not None:
            return Key(kind)
        return Key(KeyKind.TEXT, character) if _is_shown(character) else None

    def _take_sequence(self, character: str) -> Key | None:
        sequence = self._sequence + character
        if character == "\x1b":
            self._sequence = character
            return Key(KeyKind.ESCAPE) if len(sequence) == 2 else None
        self._sequence = ""
        if len(sequence) == 2:
            if character in "[O":
                self._sequence = sequence
            return None  # Alt with a key: nothing is meant by it
        if "\x20" <= character <= "\x3f":  # parameters
            self._sequence = sequence[:SEQUENCE_LIMIT]
            return None
        if len(sequence) > SEQUENCE_LIMIT:
            return None
        number = sequence[2:-1].split(";")[0]
        if sequence[1] == "[" and character == "~" and number == _PASTE_START:
            self._paste = ""
            return None
        if character == "M" and sequence[1] == "[":
            return None
        kind = _NUMBERS.get(number) if character == "~" else _FINALS.get(character)
        return None if kind is None else Key(kind)

    def _take_pasted(self, character: str) -> Key | None:
        paste = (self._paste or "") + character
        if paste.endswith(_PASTE_END):
            self._paste = paste.removesuffix(_PASTE_END)
            return self._pasted()
        # of one that is too long the start is kept, and enough of its end to know it
        tail = len(_PASTE_END)
        self._paste = paste if len(paste) <= PASTE_LIMIT + tail else paste[:PASTE_LIMIT] + paste[-tail:]
        return None

    def _pasted(self) -> Key:
        lines = " ".join((self._paste or "")[:PASTE_LIMIT].split())
        self._paste = None
        return Key(KeyKind.PASTE, "".join(filter(_is_shown, lines)))


def _is_shown(character: str) -> bool:
    return unicodedata.category(character)[0] not in "CZ" or character == " "


@dataclass(slots=True)
class Bursts:
    """Single characters -> what was typed in one burst, so that a scanned code is never taken for commands."""

    _text: str = ""
    _last_s: float = 0.0

    def wait_s(self, now: float) -> float | None:
        """How long until what is held is whole; None: nothing is held."""
        return max(0.0, self._last_s + BURST_WAIT_S - now) if self._text else None

    def feed(self, keys: list[Key], now: float) -> list[Key]:
        """`now`: seconds of any clock that goes on."""
        ended = self.expired(now)
        for key in keys:
            if key.kind is KeyKind.TEXT:
                self._text = (self._text + key.text)[:BURST_LIMIT]
                self._last_s = now
            else:
                ended += [*self._held(scanned=key.kind is KeyKind.ENTER), key]
        return ended

    def expired(self, now: float) -> list[Key]:
        return self._held() if self._text and now - self._last_s >= BURST_WAIT_S else []

    def _held(self, *, scanned: bool = False) -> list[Key]:
        """`scanned`: Enter came with it, as a scanner ends: not even one character of that is a command."""
        text, self._text = self._text, ""
        return [Key(KeyKind.PASTE if scanned else KeyKind.TEXT, text)] if text else []
