"""The text of a ddrescue map -> its unread blocks, one at a time: a map of a million blocks is never held in pieces.

Format: GNU ddrescue manual, "Mapfile structure". The text was accepted by `parse_mapfile` when it came in; what only
that understands (line ends other than of Unix and Windows) is not found here: compare the sum.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_BLOCK = re.compile(r"^[ \t]*+(\w++)[ \t]++(\w++)[ \t]++([-?*/+])", re.MULTILINE)  # a status line has no second number
_UNREAD = re.compile(r"^[ \t]*+(\w++)[ \t]++(\w++)[ \t]++([-?*/])", re.MULTILINE)  # possessive: no way back
_AT_ONCE = 1 << 16  # characters


def unread_blocks(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, status) of every block that is not finished, in order; what lies before the first is `?`."""
    first = _BLOCK.search(text)
    if first is not None and _number(first[1]):
        yield 0, _number(first[1]), "?"
    at = 0
    while at < len(text):
        end = text.find("\n", at + _AT_ONCE) + 1 or len(text)
        for position, size, status in _UNREAD.findall(text[at:end]):
            start = int(position, 16) if position[:2] == "0x" else _number(position)
            yield start, start + (int(size, 16) if size[:2] == "0x" else _number(size)), status
        at = end


def _number(text: str) -> int:
    if text[:2] in ("0x", "0X"):
        return int(text, 16)
    return int(text, 8) if text[0] == "0" and text != "0" else int(text)
