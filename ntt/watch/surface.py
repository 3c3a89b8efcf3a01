"""A map -> how much of each equal part of the medium was read, for a small picture of it."""

from __future__ import annotations

from bisect import bisect_right

from ntt.tools.mapfile import Mapfile

CELLS = 1024
UNTRIED, READ, BAD = 0, 1, 2
_FAILED = "*/-"


def surface_of(mapfile: Mapfile, cells: int = CELLS) -> bytes:
    """The worst of each part: bad before not tried before read."""
    starts = [block.start for block in mapfile.blocks]
    size = max(1, mapfile.end - mapfile.start)
    found = bytearray()
    for cell in range(cells):
        low = mapfile.start + size * cell // cells
        high = max(low + 1, mapfile.start + size * (cell + 1) // cells)
        first, last = max(0, bisect_right(starts, low) - 1), bisect_right(starts, high - 1)
        seen = {block.status for block in mapfile.blocks[first:last]}
        found.append(BAD if seen & set(_FAILED) else UNTRIED if seen - {"+"} else READ)
    return bytes(found)
