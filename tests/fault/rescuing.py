"""A medium with a plan of faults -> rescued pass by pass with the real ddrescue, and what that came to."""

from __future__ import annotations

import os
import random
from pathlib import Path

from ntt.model import Effort, PassRecord
from ntt.progress import Stop
from ntt.ranges import Ranges, difference, normalised
from ntt.rescue.hashing import PrefixHash
from ntt.rescue.passes import first_pass, further_passes
from ntt.rescue.running import Limits, Progress, run_pass
from ntt.rescue.source import Source, probe
from ntt.rescue.working import WorkingImage, WorkingImages

SECTOR_BYTES = 512
LIMITS = Limits(stall_s=20, check_s=5, grace_s=5, poll_s=0.02, check_after_s=2)


def medium(path: Path, size_bytes: int, seed: int = 1) -> Path:
    """Random bytes: no two sectors are the same."""
    path.write_bytes(random.Random(seed).randbytes(size_bytes))
    return path


def bad_sectors(size_bytes: int, areas: int, seed: int, sector_bytes: int = SECTOR_BYTES) -> Ranges:
    """Areas of 1 to 20 bad sectors, anywhere; the first and the last sector of the medium are among them."""
    rng = random.Random(seed)
    last = size_bytes // sector_bytes
    starts = [rng.randrange(last) for _ in range(areas)]
    areas_found = [(start, min(start + rng.randrange(1, 20), last)) for start in starts]
    return normalised((a * sector_bytes, b * sector_bytes) for a, b in [(0, 1), (last - 1, last), *areas_found])


def ignored(progress: Progress) -> None:
    """For tests that do not look at the progress."""


async def first(
    source: Source, image: WorkingImage, limits: Limits = LIMITS, stop: Stop | None = None, **more: PrefixHash
) -> PassRecord:
    flags = first_pass(source, Effort.NORMAL)
    return await run_pass(source, image, "first", flags, None, limits, ignored, stop or Stop(), **more)


async def further(
    source: Source,
    image: WorkingImage,
    effort: Effort = Effort.NORMAL,
    domain: Ranges | None = None,
    attempt: int = 1,
    limits: Limits = LIMITS,
) -> list[PassRecord]:
    """Passes over what is unread of the domain."""
    return [
        await run_pass(source, image, effort.value, flags, domain, limits, ignored, Stop())
        for flags in further_passes(source, effort, attempt)
    ]


async def rescued(source_path: Path, folder: Path, effort: Effort = Effort.NORMAL) -> tuple[WorkingImage, Source]:
    """All passes over a medium that is new; the caller closes the image."""
    source = await probe(source_path)
    image = WorkingImages(folder).new(source)
    await first(source, image)
    await further(source, image, effort)
    return image, source


def wrong_bytes(image: WorkingImage, original: Path) -> Ranges:
    """Where the image is not what its map says: the original where it was rescued, zeros elsewhere."""
    expected = bytearray(original.read_bytes())
    unread = image.mapfile().unread
    for start, end in unread:
        expected[start:end] = bytes(end - start)
    found = image.path.read_bytes()
    if found == expected:
        return ()
    assert len(found) == len(expected)
    return normalised((at, at + 1) for at in range(len(found)) if found[at] != expected[at])


def rescued_wrongly(image: WorkingImage, original: Path) -> Ranges:
    """As `wrong_bytes`, of what is rescued alone: after a kill the image may hold more than the map says."""
    content, found = original.read_bytes(), image.path.read_bytes()
    return tuple(one for one in image.mapfile().rescued if content[slice(*one)] != found[slice(*one)])


def all_but(size_bytes: int, ranges: Ranges) -> Ranges:
    return difference(((0, size_bytes),), ranges)


def size_of(path: Path) -> int:
    return os.stat(path).st_size
