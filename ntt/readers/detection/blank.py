"""Bytes of a volume -> whether they say nothing: one value or a short pattern all over, judged whole or by samples."""

from __future__ import annotations

from dataclasses import dataclass

from ntt.ranges import Ranges, difference, within
from ntt.readers.base import ImageSource

FILLS = (0x00, 0xFF, 0xF6, 0x55)  # erased, erased flash, formatted by DOS, tested
WHOLE_LIMIT = 64 << 20
SAMPLES = 2048
SAMPLE_BYTES = 4096
CHUNK_BYTES = 1 << 20
PERIODS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512)  # bytes of a wiping pattern
EFFORT = 16  # volumes of one image that are looked at with full effort


@dataclass(frozen=True, slots=True)
class Blank:
    """`is_whole`: every byte that was read from the medium was compared; otherwise evenly spread samples were.

    `pattern` repeats all over, beginning at the volume's start; `sampled_bytes` were compared with it.
    """

    pattern: bytes
    is_whole: bool
    sampled_bytes: int

    @property
    def is_fresh(self) -> bool:
        """Filled with what media are made or formatted with; anything else was written to wipe it."""
        return len(self.pattern) == 1 and self.pattern[0] in FILLS


def is_judged_whole(size_bytes: int, volumes: int = 1) -> bool:
    """Whether `blank_fill` looks at every byte of a volume of that size, among so many of one image."""
    return size_bytes <= WHOLE_LIMIT * EFFORT // max(volumes, EFFORT)


def blank_fill(source: ImageSource, start: int, end: int, volumes: int = 1) -> Blank | None:
    """None unless the bytes of `[start, end)` that were read repeat one value or a short pattern.

    `volumes`: how many an image has; of very many each is looked at with less effort. OSError as `source.read`.
    """
    readable = difference(((start, end),), within(source.unread, start, end)) if end > start else ()
    if not readable:
        return None
    pattern = _pattern(source, start, readable)
    if not pattern:
        return None
    is_whole = is_judged_whole(end - start, volumes)
    samples = max(SAMPLES * EFFORT // max(volumes, EFFORT), 16)
    chunk, step = (CHUNK_BYTES, CHUNK_BYTES) if is_whole else (SAMPLE_BYTES, (end - start) // samples)
    expected = pattern * (chunk // len(pattern) + 2)
    sampled = 0
    for position in range(start, end, step):
        stretch = (position, min(position + chunk, end))
        for low, high in within(readable, *stretch):
            content = source.read(low, high - low)
            phase = (low - start) % len(pattern)
            if content != expected[phase : phase + len(content)]:
                return None
            sampled += len(content)
    return Blank(pattern, is_whole, sampled) if sampled else None


def _pattern(source: ImageSource, start: int, readable: Ranges) -> bytes:
    """The shortest pattern that the first bytes repeat, turned so that it begins at `start`; empty if there is none."""
    low, high = readable[0]
    repeated = short_pattern(source.read(low, min(SAMPLE_BYTES, high - low)))
    shift = (start - low) % max(len(repeated), 1)
    return repeated[shift:] + repeated[:shift]


def short_pattern(content: bytes) -> bytes:
    """The shortest of the patterns looked for that `content` repeats at least twice; empty if there is none."""
    for period in PERIODS:
        if 2 * period > len(content) and period > 1:
            break
        if content[period:] == content[:-period]:
            return content[:period]
    return b""
