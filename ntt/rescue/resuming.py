"""A medium in a drive -> the image in work that it belongs to, or none: never on doubt.

The rule. An image is a candidate when nobody else holds it and its size is the medium's. Of each candidate, sectors
that were read are read again from the medium, past every cache: all of the first 64 KiB (boot sectors, superblocks,
FAT and root directory of a floppy), 4 KiB from 32 KiB on (volume descriptors), 128 sectors spread over all that was
read, up to 128 that are not one repeated byte, and those on both sides of every unread range (2,048 at most): a medium
that is nearly the same may differ only around what is to be read. Every sector that the drive gives must be what the
image holds; at least 16 of them must be informative (not one repeated byte), so that blank and nearly blank media are
never taken for each other. A few that it does not give are no objection: another drive, another day.

Images that both agree with the medium and, in every byte that both have read, with one another are one medium's: the
one of which more was read is gone on with, and another that has nothing beyond it, and that no catalogue knows, is
removed. If they differ somewhere that is a doubt, and none is resumed. Images that are known to be of one medium are
not compared: it is the one that was made last, of which the others are parts.
A wrong "none" costs a second reading; a wrong match would mix two media.
"""

from __future__ import annotations

import anyio.to_thread

from ntt.ranges import Range, Ranges, difference, normalised, total, within
from ntt.rescue.comparing import Agreement, agree, compare_edges, compare_spread, known_of, read_sectors
from ntt.rescue.source import Source
from ntt.rescue.working import WorkingImage, WorkingImages

START_BYTES = 64 << 10
DESCRIPTORS_AT, DESCRIPTORS_BYTES = 32 << 10, 4096
LIMIT_S = 120.0


async def resumed(images: WorkingImages, source: Source, limit_s: float = LIMIT_S) -> WorkingImage | None:
    """The image in work of the medium in `source`, held; None when there is none that it is beyond doubt.

    Takes at most `limit_s` for the start of the medium, and twice as much for each of the candidates that it leaves.
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
    agreements = [Agreement() for _ in candidates]
    await _compare_starts(source, candidates, agreements, limit_s)
    found: list[WorkingImage] = []
    for image, agreement in zip(candidates, agreements, strict=True):
        for compare in (compare_spread, compare_edges):
            if agreement.differs_at is None:
                await compare(source, image, agreement, limit_s)
        if agreement.certain:
            found.append(image)
    return await _best_of(_newest_of_each(found))


def _newest_of_each(images: list[WorkingImage]) -> list[WorkingImage]:
    """Of images that are known to be of one medium only the last."""
    newest: dict[str, WorkingImage] = {}
    for image in sorted(images, key=lambda one: one.state.created_s):
        newest[image.state.medium_hash or image.name] = image
    return list(newest.values())


async def _best_of(images: list[WorkingImage]) -> WorkingImage | None:
    if not images:
        return None
    media = {image.state.medium_hash for image in images} - {None}
    best, *others = sorted(images, key=_worth, reverse=True)
    if len(media) > 1:
        return None
    for other in others:
        if not await anyio.to_thread.run_sync(agree, best, other):
            return None
    for other in others:
        if other.state.medium_hash is None and not difference(other.mapfile().rescued, best.mapfile().rescued):
            other.remove()
    return best


def _worth(image: WorkingImage) -> tuple[int, bool, float]:
    return total(image.mapfile().rescued), image.state.medium_hash is not None, image.state.created_s


async def _compare_starts(
    source: Source, images: list[WorkingImage], agreements: list[Agreement], limit_s: float
) -> None:
    """The same sectors for all candidates, so that a box of floppies costs one reading of the start."""
    maps = [known_of(image) for image in images]
    read = normalised(piece for rescued in maps for piece in _start_of(rescued, source.size_bytes))
    content = await read_sectors(source, _split(read, source.sector_bytes), limit_s)
    for image, rescued, agreement in zip(images, maps, agreements, strict=True):
        for start, sector in content.items():
            agreement.judge(image, rescued, start, sector)


def _start_of(rescued: Ranges, size_bytes: int) -> Ranges:
    parts = (0, START_BYTES), (DESCRIPTORS_AT, DESCRIPTORS_AT + DESCRIPTORS_BYTES)
    return normalised(piece for start, end in parts for piece in within(rescued, start, min(end, size_bytes)))


def _split(ranges: Ranges, sector_bytes: int) -> list[Range]:
    return [(at, min(at + sector_bytes, end)) for start, end in ranges for at in range(start, end, sector_bytes)]
