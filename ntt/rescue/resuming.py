"""A medium in a drive -> the image in work that it belongs to, or none: never on doubt.

The rule. An image is a candidate when nobody else holds it and its size is the medium's. Of each candidate, sectors
that were read are read again from the medium, past every cache: all of the first 64 KiB (boot sectors, superblocks,
FAT and root directory of a floppy), 4 KiB from 32 KiB on (volume descriptors), and up to 128 sectors spread over all
that was read. Every sector that the drive gives must be what the image holds; at least 16 of them must be informative
(not one repeated byte), so that blank and nearly blank media are never taken for each other. A few that it does not
give are no objection: another drive, another day. Two images that both agree are a doubt, and so none is resumed,
unless they are known to be of one medium: then it is the one that was made last, of which the others are parts.
A wrong "none" costs a second reading; a wrong match would mix two media.
"""

from __future__ import annotations

from dataclasses import dataclass

from ntt.identity import INFORMATIVE_SECTORS, is_informative
from ntt.ranges import Range, Ranges, normalised, total, within
from ntt.rescue.source import Source, pieces_of
from ntt.rescue.working import WorkingImage, WorkingImages

START_BYTES = 64 << 10
DESCRIPTORS_AT, DESCRIPTORS_BYTES = 32 << 10, 4096
SPREAD_SECTORS = 128
FAILURES = 16
LIMIT_S = 120.0


@dataclass(slots=True)
class _Agreement:
    """What the sectors read again said of one candidate."""

    informative: int = 0
    contradicted: bool = False

    @property
    def certain(self) -> bool:
        return not self.contradicted and self.informative >= INFORMATIVE_SECTORS


async def resumed(images: WorkingImages, source: Source, limit_s: float = LIMIT_S) -> WorkingImage | None:
    """The image in work of the medium in `source`, held; None when there is none that it is beyond doubt.

    Takes at most `limit_s` for the start of the medium and as much for each of the candidates that it leaves.
    """
    held = images.free(source.size_bytes)
    kept: WorkingImage | None = None
    try:
        kept = await _only_one(held, source, limit_s)
    finally:
        for image in held:
            if image is not kept:
                image.close()
    return kept


async def _only_one(candidates: list[WorkingImage], source: Source, limit_s: float) -> WorkingImage | None:
    if not candidates:
        return None
    agreements = [_Agreement() for _ in candidates]
    await _compare_starts(source, candidates, agreements, limit_s)
    found: list[WorkingImage] = []
    for image, agreement in zip(candidates, agreements, strict=True):
        if not agreement.contradicted:
            await _compare_spread(source, image, agreement, limit_s)
        if agreement.certain:
            found.append(image)
    one_medium = len({image.state.medium_hash for image in found}) == 1
    if not found or not one_medium or (len(found) > 1 and found[0].state.medium_hash is None):
        return None
    return max(found, key=lambda image: image.state.created_s)


async def _compare_starts(
    source: Source, images: list[WorkingImage], agreements: list[_Agreement], limit_s: float
) -> None:
    """The same sectors for all candidates, so that a box of floppies costs one reading of the start."""
    maps = [image.mapfile().rescued for image in images]
    read = normalised(piece for rescued in maps for piece in _start_of(rescued, source.size_bytes))
    content = await _sectors(source, _split(read, source.sector_bytes), limit_s)
    for image, rescued, agreement in zip(images, maps, agreements, strict=True):
        _judge(image, rescued, content, agreement)


async def _compare_spread(source: Source, image: WorkingImage, agreement: _Agreement, limit_s: float) -> None:
    rescued = image.mapfile().rescued
    _judge(image, rescued, await _sectors(source, spread(rescued, source.sector_bytes), limit_s), agreement)


def _start_of(rescued: Ranges, size_bytes: int) -> Ranges:
    parts = (0, START_BYTES), (DESCRIPTORS_AT, DESCRIPTORS_AT + DESCRIPTORS_BYTES)
    return normalised(piece for start, end in parts for piece in within(rescued, start, min(end, size_bytes)))


def _split(ranges: Ranges, sector_bytes: int) -> list[Range]:
    return [(at, min(at + sector_bytes, end)) for start, end in ranges for at in range(start, end, sector_bytes)]


def spread(rescued: Ranges, sector_bytes: int, sectors: int = SPREAD_SECTORS) -> list[Range]:
    """Up to `sectors` whole sectors of `rescued`, in order and evenly spread over its bytes."""
    size = total(rescued)
    wanted = [size * (2 * n + 1) // (2 * sectors) for n in range(sectors)]
    found: list[Range] = []
    before = 0
    for start, end in rescued:
        while wanted and wanted[0] < before + end - start:
            at = start + wanted.pop(0) - before
            at -= at % sector_bytes
            if at >= start and at + sector_bytes <= end and (at, at + sector_bytes) not in found[-1:]:
                found.append((at, at + sector_bytes))
        before += end - start
    return found


async def _sectors(source: Source, wanted: list[Range], limit_s: float) -> dict[int, bytes]:
    pieces, _ = await pieces_of(source, wanted, limit_s, FAILURES)
    return {piece.offset: piece.content for piece in pieces if piece.content is not None}


def _judge(image: WorkingImage, rescued: Ranges, content: dict[int, bytes], agreement: _Agreement) -> None:
    for start, sector in content.items():
        for low, high in within(rescued, start, start + len(sector)):
            part = sector[low - start : high - start]
            agreement.contradicted |= image.read(low, high) != part
            agreement.informative += is_informative(part)
