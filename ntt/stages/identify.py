"""Image -> identity: the hash of every byte, the samples that tell media apart, and what the map says of it.

The definition of `medium_hash` stands in docs/formats.md, with a vector that a test holds it to.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import anyio
import anyio.from_thread
import anyio.to_thread
from blake3 import blake3

from ntt.errors import MediumError
from ntt.identity import (
    INFORMATIVE_SECTORS,
    SAMPLE_BYTES,
    WINDOW_BYTES,
    ContentScan,
    ImageState,
    Scan,
    is_informative,
    medium_hash_of,
    sample_positions,
)
from ntt.model import Identity
from ntt.ranges import Ranges, normalised, within


def require_unchanged(fd: int, before: ImageState) -> None:
    """MediumError when the image file was written to since `before`."""
    now = ImageState.of(fd)
    if now != before:
        raise MediumError(
            f"the image changed while it was read ({before.size_bytes:,} bytes, now {now.size_bytes:,})",
            "wait until it is finished and run the same command again",
        )


class IdentifyStage:
    """Reads the whole image once, or not at all when that was done while it was made."""

    async def run(
        self,
        fd: int,
        claimed_bytes: int,
        unread: Ranges,
        advance: Callable[[int], None],
        scanned: Scan | None = None,
    ) -> Identity:
        """`unread` are ranges of `[0, claimed_bytes)`; `advance` gets the bytes hashed so far.

        `scanned` is taken for the image's content if it is of this file as it is now, else the image is read.

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

        if scanned is not None and scanned.state == before:
            scan = scanned
            advance(before.size_bytes)
        else:
            scan = await anyio.to_thread.run_sync(lambda: _scan(fd, before, show))
        require_unchanged(fd, before)
        return _identity(fd, scan, before.size_bytes, claimed_bytes, unread)


def _scan(fd: int, state: ImageState, advance: Callable[[int], None]) -> Scan:
    content = ContentScan()
    # read, not mapped: a mapped file that shrinks or fails to be read kills the process (SIGBUS)
    buffer = memoryview(bytearray(min(WINDOW_BYTES, state.size_bytes)))
    for start in range(0, state.size_bytes, WINDOW_BYTES):
        window = buffer[: _fill(fd, buffer[: min(WINDOW_BYTES, state.size_bytes - start)], start)]
        content.feed(window)
        advance(start + len(window))
    return content.result(state)


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


def _identity(fd: int, scan: Scan, image_bytes: int, claimed_bytes: int, unread: Ranges) -> Identity:
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
            (position, blake3(content).digest()[:16]) for position, content in samples if is_informative(content)
        ),
        why_assigned=why,
        informative=informative,
    )


def _why_assigned(scan: Scan, informative: bool, missing: list[int]) -> str:
    if scan.fill is not None:
        return f"the medium is blank (every byte is 0x{scan.fill:02X}): nothing tells it from another blank one"
    if not informative:
        held = scan.informative_sectors
        return f"only {held} sectors of the medium hold anything: nothing tells it from another of its kind"
    if missing:
        return f"{len(missing)} of the samples that identify a medium were not read"
    return ""
