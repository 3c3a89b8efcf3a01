"""What a user types for file names -> the part of it that the index of names answers, and the whole of it in SQL.

Names are bytes. `*` stands for any bytes, `?` for one character, or one byte where names are not UTF-8.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

INDEXED_BYTES = 13  # of a name in `name_text`, in front of the head of its SHA-256

_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([nrt\\*?]))")
_SINGLE = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_ANY = -1
_ONE = -2

# of what encode(name, 'escape') makes of a name: ASCII as it is, but `\\` and, of other bytes and 0, `\ooo`
_BYTE = r"(?:[^\\]|\\\\|\\[0-7]{3})"
_FOLLOWS = r"\\2[0-7]{2}"
_CHARACTER = (
    rf"(?:\\3(?:0[2-7]|[123][0-7]){_FOLLOWS}|\\3[45][0-7](?:{_FOLLOWS}){{2}}|\\36[0-4](?:{_FOLLOWS}){{3}}|{_BYTE})"
)


@dataclass(frozen=True, slots=True)
class NameGlob:
    """A glob in bytes. `exact` is the name where it has no wildcard, else None.

    All names that match begin with `prefix` and are LIKE `like`; `regex` says of `encode(name, 'escape')` which of
    them do match, and is None where all do.
    """

    exact: bytes | None
    prefix: bytes
    like: bytes
    regex: str | None

    @property
    def first(self) -> bytes:
        """The least index key of a name that matches."""
        return self.prefix[:INDEXED_BYTES]

    @property
    def behind(self) -> bytes | None:
        """The least bytes behind all index keys of names that match; None: there is no end."""
        kept = self.first.rstrip(b"\xff")
        return kept[:-1] + bytes([kept[-1] + 1]) if kept else None


def parse_glob(text: bytes) -> NameGlob:
    r"""`\xNN` is that byte; `\*`, `\?` and `\\` are themselves; `\n`, `\r`, `\t`, `\uNNNN` as names are shown.

    Any other backslash is a backslash.
    """
    tokens = _tokens(text)
    wild = [at for at, token in enumerate(tokens) if token < 0]
    if not wild:
        name = bytes(tokens)
        return NameGlob(name, name, _like(tokens), None)
    prefix = bytes(tokens[: wild[0]])
    regex = f"^{''.join(map(_regex, tokens))}$" if _ONE in tokens else None
    return NameGlob(None, prefix, _like(tokens), regex)


def _tokens(text: bytes) -> list[int]:
    tokens: list[int] = []
    at = 0
    while at < len(text):
        found = _ESCAPE.match(text, at)
        if found is not None:
            tokens += _unescaped(found)
            at = found.end()
            continue
        wildcard = {ord("*"): _ANY, ord("?"): _ONE}.get(text[at], text[at])
        if wildcard != _ANY or tokens[-1:] != [_ANY]:
            tokens.append(wildcard)
        at += 1
    return tokens


def _unescaped(found: re.Match[bytes]) -> bytes:
    byte, short, long, single = found.groups()
    if byte is not None:
        return bytes([int(byte, 16)])
    if single is not None:
        return _SINGLE.get(single, single)
    code = int(short or long, 16)
    return chr(code).encode("utf-8", "surrogatepass") if code <= 0x10FFFF else found[0]


def _like(tokens: list[int]) -> bytes:
    """`?` is more than one byte where it has to be; the regular expression then decides."""
    parts: list[bytes] = []
    for token in tokens:
        if token < 0:
            if parts[-1:] != [b"%"]:
                parts.append(b"%")
        else:
            character = bytes([token])
            parts.append(b"\\" + character if character in b"%_\\" else character)
    return b"".join(parts)


def _regex(token: int) -> str:
    if token == _ANY:
        return f"{_BYTE}*"
    if token == _ONE:
        return _CHARACTER
    if token == 0x5C:
        return r"\\\\"
    if token == 0 or token >= 0x80:
        return rf"\\{token:03o}"
    return chr(token) if chr(token).isalnum() else f"[{chr(token)}]" if chr(token) not in "^[]" else f"\\{chr(token)}"
