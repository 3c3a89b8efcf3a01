"""Image -> identity: the hash of every byte, the samples that tell media apart, and what the map says of it.

The definition of `medium_hash` stands in docs/formats.md, with a vector that a test holds it to.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import anyio
import anyio.from_thread
import anyio.to_thread
from blake3 import blake3

from ntt.errors import MediumError
from ntt.identity import SAMPLE_BYTES, medium_hash_of, sample_positions
from ntt.model import Identity
from ntt.ranges import Ranges, normalised, within

WINDOW_BYTES = 4 << 20  # of the image at a time: large enough for all cores, small in memory
SECTOR_BYTES = 512
INFORMATIVE_SECTORS = 16


@dataclass(frozen=True, slots=True)
class ImageState:
    """What `fstat` says of the image file; it must be the same at the end as at the start."""

    size_bytes: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, fd: int) -> ImageState:
        status = os.fstat(fd)
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


def require_unchanged(fd: int, before: ImageState) -> None:
    """MediumError when the image file was written to since `before`."""
    now = ImageState.of(fd)
    if now != before:
        raise MediumError(
            f"the image changed while it was read ({before.size_bytes:,} bytes, now {now.size_bytes:,})",
            "wait until it is finished and run the same command again",
        )


class IdentifyStage:
    """Reads the whole image once."""

    async def run(self, fd: int, claimed_bytes: int, unread: Ranges, advance: Callable[[int], None]) -> Identity:
        """`unread` are ranges of `[0, claimed_bytes)`; `advance` gets the bytes hashed so far.

        MediumError when the image is empty, has no byte that was read, or changes meanwhile.
        """
        before = ImageState.of(fd)
        if before.size_bytes == 0:
            raise MediumError("the image is empty: zero bytes are no medium", "image the medium again")
        unread = normalised((*unread, (before.size_bytes, max(claimed_bytes, before.size_bytes))))
        claimed_bytes = max(claimed_bytes, before.size_bytes)
        if sum(end - start for start, end in unread) >= claimed_bytes:
            raise MediumError("not one byte of the medium was read", "image it again, in another drive if possible")

        def show(done: int) -> None:
            anyio.from_thread.check_cancelled()
            anyio.from_thread.run_sync(advance, done)

        scan = await anyio.to_thread.run_sync(lambda: _scan(fd, before.size_bytes, show))
        require_unchanged(fd, before)
        return _identity(fd, scan, before.size_bytes, claimed_bytes, unread)


@dataclass(frozen=True, slots=True)
class _Scan:
    image_hash: str
    informative_sectors: int
    fill: int | None  # the one byte value that the whole image consists of


def _scan(fd: int, size_bytes: int, advance: Callable[[int], None]) -> _Scan:
    hasher = blake3(max_threads=blake3.AUTO)
    first = os.pread(fd, 1, 0)
    uniform, informative = True, 0
    # read, not mapped: a mapped file that shrinks or fails to be read kills the process (SIGBUS)
    buffer = memoryview(bytearray(min(WINDOW_BYTES, size_bytes)))
    for start in range(0, size_bytes, WINDOW_BYTES):
        window = buffer[: _fill(fd, buffer[: min(WINDOW_BYTES, size_bytes - start)], start)]
        hasher.update(window)
        if informative < INFORMATIVE_SECTORS:
            found, same = _informative(window, first, INFORMATIVE_SECTORS - informative)
            informative += found
            uniform = uniform and same
        advance(start + len(window))
    return _Scan(hasher.hexdigest(), informative, first[0] if uniform else None)


def _fill(fd: int, window: memoryview, offset: int) -> int:
    done = 0
    while done < len(window):
        try:
            got = os.preadv(fd, [window[done:]], offset + done)
        except OSError as error:
            raise MediumError(
                f"the image cannot be read at byte {offset + done:,}: {error.strerror}",
                "copy it with ddrescue and ingest the copy with its map",
            ) from error
        if not got:
            raise MediumError("the image became shorter while it was read", "wait until it is finished, run again")
        done += got
    return done


def _informative(window: memoryview, first: bytes, wanted: int) -> tuple[int, bool]:
    """(sectors that are not one repeated byte, up to `wanted`; is all of the window `first`?)"""
    fill = first * (1 << 20)
    found, same = 0, True
    for at in range(0, len(window), 1 << 20):
        piece = bytes(window[at : at + (1 << 20)])
        if piece == fill or piece == first * len(piece):
            continue
        same = False
        for sector_at in range(0, len(piece), SECTOR_BYTES):
            sector = piece[sector_at : sector_at + SECTOR_BYTES]
            if sector != sector[:1] * len(sector):
                found += 1
                if found == wanted:
                    return found, same
    return found, same


def _identity(fd: int, scan: _Scan, image_bytes: int, claimed_bytes: int, unread: Ranges) -> Identity:
    samples: list[tuple[int, bytes]] = []
    missing: list[int] = []
    for position in sample_positions(claimed_bytes):
        end = min(position + SAMPLE_BYTES, claimed_bytes)
        if within(unread, position, end):
            missing.append(position)
        else:
            samples.append((position, os.pread(fd, end - position, position)))
    informative = scan.informative_sectors >= INFORMATIVE_SECTORS
    why = _why_assigned(scan, informative, missing)
    return Identity(
        image_hash=scan.image_hash,
        image_bytes=image_bytes,
        claimed_bytes=claimed_bytes,
        unread=unread,
        sample_hash=None if why else medium_hash_of(samples),
        samples=tuple(
            (position, blake3(content).digest()[:16])
            for position, content in samples
            if content != content[:1] * len(content)
        ),
        why_assigned=why,
        informative=informative,
    )


def _why_assigned(scan: _Scan, informative: bool, missing: list[int]) -> str:
    if scan.fill is not None:
        return f"the medium is blank (every byte is 0x{scan.fill:02X}): nothing tells it from another blank one"
    if not informative:
        held = scan.informative_sectors
        return f"only {held} sectors of the medium hold anything: nothing tells it from another of its kind"
    if missing:
        return f"{len(missing)} of the samples that identify a medium were not read"
    return ""
