"""The definition of a medium's identity: where the samples lie, what is hashed, and one reading of the whole image.

docs/formats.md holds the definition for people, with a vector that a test holds this module to.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from blake3 import blake3

SAMPLE_BYTES = 4096
FIRST_SAMPLE_BYTES = 32 << 10  # ISO 9660 and UDF begin to describe themselves here
WINDOW_BYTES = 4 << 20  # of the image at a time: large enough for all cores, small in memory
SECTOR_BYTES = 512
INFORMATIVE_SECTORS = 16
_PIECE_BYTES = 1 << 20
_MEDIUM_PREFIX = b"NTT medium 1\0"
_LOOK_ALIKE_PREFIX = b"NTT look-alike 1\0"


def sample_positions(claimed_bytes: int) -> Iterator[int]:
    """0, then 32 KiB x 1, 1.5, 2, 3, 4, 6, 8, ...: a few dozen on any medium, the same whatever its exact size."""
    yield 0
    step = FIRST_SAMPLE_BYTES
    while step + SAMPLE_BYTES <= claimed_bytes:
        yield step
        if step + step // 2 + SAMPLE_BYTES <= claimed_bytes:
            yield step + step // 2
        step *= 2


def medium_hash_of(samples: list[tuple[int, bytes]]) -> str:
    """(position, 4,096 bytes) of every sample, in order -> 32 hex digits."""
    hasher = blake3(_MEDIUM_PREFIX)
    for position, content in samples:
        hasher.update(position.to_bytes(8, "little"))
        hasher.update(content)
    return hasher.hexdigest()[:32]


def look_alike_hash(sample_hash: str, image_hash: str) -> str:
    """The id of a medium whose samples equal another's while its content does not."""
    return blake3(_LOOK_ALIKE_PREFIX + bytes.fromhex(sample_hash) + bytes.fromhex(image_hash)).hexdigest()[:32]


def assigned_hash() -> str:
    """An id for a medium that has none of its own; never the same twice."""
    return secrets.token_hex(16)


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


@dataclass(frozen=True, slots=True)
class Scan:
    """What one reading of a whole image found; it holds for the file that is in `state`, and no other.

    `informative_sectors` (not one repeated byte) are counted up to `INFORMATIVE_SECTORS`; `fill` is the one byte value
    that the whole image consists of, else None.
    """

    image_hash: str
    informative_sectors: int
    fill: int | None
    state: ImageState


class ContentScan:
    """Hashes an image window by window, and counts what tells it from a blank one."""

    def __init__(self, max_threads: int = blake3.AUTO) -> None:
        self._hasher = blake3(max_threads=max_threads)
        self._first = b""
        self._informative = 0
        self._uniform = True

    def feed(self, window: bytes | memoryview) -> None:
        """The next bytes of the image; every window but the last is a multiple of `SECTOR_BYTES`."""
        self._hasher.update(window)
        if self._informative < INFORMATIVE_SECTORS and len(window):
            self._first = self._first or bytes(window[:1])
            self._count(memoryview(window))

    def result(self, state: ImageState) -> Scan:
        """What was fed was all of the file in `state`."""
        fill = self._first[0] if self._uniform and self._first else None
        return Scan(self._hasher.hexdigest(), self._informative, fill, state)

    def _count(self, window: memoryview) -> None:
        fill = self._first * _PIECE_BYTES
        for at in range(0, len(window), _PIECE_BYTES):
            piece = bytes(window[at : at + _PIECE_BYTES])
            if piece == fill or piece == self._first * len(piece):
                continue
            self._uniform = False
            for sector_at in range(0, len(piece), SECTOR_BYTES):
                if is_informative(piece[sector_at : sector_at + SECTOR_BYTES]):
                    self._informative += 1
                    if self._informative == INFORMATIVE_SECTORS:
                        return


def is_informative(sector: bytes) -> bool:
    """It is not one byte repeated, which blank media and gaps consist of."""
    return sector != sector[:1] * len(sector)
