"""File names are bytes; this is how they look to people, on a screen and in JSON."""

from __future__ import annotations

import unicodedata
from base64 import b64encode

_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}
# control, format (bidi overrides among them), surrogate, unassigned and line separators move the cursor or lie
_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def is_text(name: bytes) -> bool:
    """Can the name be given exactly as JSON text?"""
    if name.isascii():
        return b"\0" not in name
    try:
        return "\0" not in name.decode()
    except UnicodeDecodeError:
        return False


def as_text(name: bytes) -> str:
    """For JSON: what is no UTF-8 becomes U+FFFD (and stands exactly in a `_b64` field beside it)."""
    return name.decode("utf-8", "replace").replace("\0", "�")


def exact(name: bytes) -> str | None:
    """Base64 of a name that `as_text` cannot give exactly, None of one that it can."""
    return None if is_text(name) else b64encode(name).decode()


def printable(text: bytes | str) -> str:
    """For a terminal: one line, nothing that could control it; bytes that are no UTF-8 stand as \\xNN."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    return "".join(map(_shown, text))


def json_printable(document: str) -> str:
    """A JSON document that means the same, and holds nothing that could control a terminal."""
    if document.isascii():  # JSON itself escapes what is below a space
        return document
    return "".join(map(_json_shown, document))


def _json_shown(character: str) -> str:
    if character.isascii() or unicodedata.category(character) not in _UNSAFE:
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


def _shown(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if unicodedata.category(character) in _UNSAFE:
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return character


def storable(path: str) -> str:
    """A path of this machine as text: itself, or escaped where it is not UTF-8 (then it opens no file)."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return printable(path)
    return path
