"""Bytes of a volume -> whether it is blank: one fill value all over, looked at whole or in samples."""

from __future__ import annotations

from dataclasses import dataclass

from ntt.readers.base import ImageSource

FILLS = (0x00, 0xFF, 0xF6, 0x55)  # erased, erased flash, formatted by DOS, tested
WHOLE_LIMIT = 64 << 20
SAMPLES = 2048
SAMPLE_BYTES = 4096
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Blank:
    """`is_whole`: every byte was compared; otherwise `sampled_bytes` of them, evenly spread."""

    fill: int
    is_whole: bool
    sampled_bytes: int


def blank_fill(source: ImageSource, start: int, end: int) -> Blank | None:
    """None unless `[start, end)` of the image holds one of the known fills only. OSError as `source.read`."""
    if end <= start:
        return None
    fill = source.read(start, 1)[0]
    if fill not in FILLS:
        return None
    is_whole = end - start <= WHOLE_LIMIT
    chunk, step = (CHUNK_BYTES, CHUNK_BYTES) if is_whole else (SAMPLE_BYTES, (end - start) // SAMPLES)
    sampled = 0
    for position in range(start, end, step):
        content = source.read(position, min(chunk, end - position))
        if content.count(fill) != len(content):
            return None
        sampled += len(content)
    return Blank(fill, is_whole, sampled)
