"""A source that fails -> is it still there? And what a source that is gone was blamed for, taken back."""

from __future__ import annotations

from dataclasses import dataclass

from ntt.errors import MediumError
from ntt.ranges import Range, Ranges, difference, normalised
from ntt.rescue.comparing import spread
from ntt.rescue.source import Source, pieces_of, probe
from ntt.rescue.working import WorkingImage
from ntt.tools.mapfile import Mapfile, with_status

_SECTORS = 8
FAILED = "*/-"


@dataclass(frozen=True, slots=True)
class Gone:
    """What the source does instead of answering; `swapped`: it answers, but is another medium."""

    detail: str
    swapped: bool = False


async def why_gone(source: Source, image: WorkingImage, read: Ranges, limit_s: float) -> Gone | None:
    """None when the source gives one of the sectors that were read, as it was.

    `read`: bytes that were read, if possible in the pass that now fails. Asks for at most a few sectors, the last that
    were read first, past the page cache; at most `limit_s`. With nothing read so far, its size must be the same.
    """
    sectors = _to_ask_for(read, source.sector_bytes)
    if not sectors:
        return await _why_other(source, limit_s)
    pieces, answered = await pieces_of(source, sectors, limit_s, len(sectors), enough=1)
    for piece in pieces:
        if piece.content is not None:
            same = image.read(piece.offset, piece.offset + len(piece.content)) == piece.content
            return None if same else Gone(f"it gives something else at byte {piece.offset:,}: another medium", True)
    if answered:
        return Gone("it does not give any of the sectors that were read before")
    return Gone(f"it gives no answer within {limit_s:.0f} s")


async def _why_other(source: Source, limit_s: float) -> Gone | None:
    try:
        now = await probe(source.path, limit_s)
    except MediumError as error:
        return Gone(str(error))
    if now.size_bytes != source.size_bytes:
        return Gone(f"it has {now.size_bytes:,} bytes now, not {source.size_bytes:,}: another medium", True)
    return None


def _to_ask_for(read: Ranges, sector_bytes: int) -> list[Range]:
    spread_out = spread(read, sector_bytes, _SECTORS)
    return spread_out[::-1]


class Blame:
    """The maps of one pass, as they are saved -> the last one from before the last successful read."""

    def __init__(self, before: Mapfile) -> None:
        self._newest = self._base = before
        self._newest_bytes = rescued_bytes(before)

    def saved(self, mapfile: Mapfile) -> None:
        """A map that was saved later than all before."""
        size = rescued_bytes(mapfile)
        if size > self._newest_bytes:
            self._base = self._newest
        self._newest, self._newest_bytes = mapfile, size

    @property
    def suspects(self) -> Ranges:
        """What is worse in the newest map than in the base: all that failed since the last read is among it."""
        return normalised(
            piece for status in FAILED for piece in difference(self._newest.ranges(status), self._base.ranges(status))
        )

    @property
    def taken_back(self) -> Mapfile:
        """What was rescued is; all else is as it was before the last successful read."""
        return with_status(self._base, self._newest.rescued, "+")


def rescued_bytes(mapfile: Mapfile) -> int:
    return sum(block.size for block in mapfile.blocks if block.status == "+")
