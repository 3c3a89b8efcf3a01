"""A medium in a drive -> what the catalogue may know of it already, from a few reads in bounded time.

It only ever gives candidates: that samples agree says nothing of what lies between them (docs/identity.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from blake3 import blake3

from ntt.db.media import Media, Medium
from ntt.identity import SAMPLE_BYTES, is_informative, sample_positions
from ntt.rescue.source import Source, pieces_of

LIMIT_S = 10.0
FAILURES = 3
DIGEST_BYTES = 16
SURE_SAMPLES = 4


@dataclass(frozen=True, slots=True)
class Look:
    """`alike`: media of this size that agree in every sample that could be read, the newest last.

    `sure_samples`: samples read that tell media apart; `missing`: samples that could not be read in time.
    """

    alike: tuple[Medium, ...]
    sure_samples: int
    missing: int

    @property
    def finished(self) -> Medium | None:
        """The one medium that it looks like, where that was read, kept and archived whole and all samples agree."""
        if self.missing or len(self.alike) != 1 or self.sure_samples < SURE_SAMPLES:
            return None
        (medium,) = self.alike
        return medium if medium.archive_done is not None and not medium.unread_bytes else None


async def look(media: Media, source: Source, limit_s: float = LIMIT_S) -> Look:
    """Reads the samples of the identity, past every cache; never more than `limit_s` and three failing reads."""
    positions = [at for at in sample_positions(source.size_bytes) if at + SAMPLE_BYTES <= source.size_bytes]
    pieces, _ = await pieces_of(source, [(at, at + SAMPLE_BYTES) for at in positions], limit_s, FAILURES)
    samples = [
        (piece.offset, blake3(piece.content).digest()[:DIGEST_BYTES])
        for piece in pieces
        if piece.content is not None and is_informative(piece.content)
    ]
    read = sum(piece.content is not None for piece in pieces)
    alike = await media.sharing_samples(samples) if samples else []
    return Look(
        tuple(medium for medium in alike if medium.claimed_bytes == source.size_bytes),
        len(samples),
        len(positions) - read,
    )
