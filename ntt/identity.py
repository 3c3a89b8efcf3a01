"""The definition of a medium's identity: where the samples lie, and what is hashed.

docs/formats.md holds the definition for people, with a vector that a test holds this module to.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from blake3 import blake3

SAMPLE_BYTES = 4096
FIRST_SAMPLE_BYTES = 32 << 10  # ISO 9660 and UDF begin to describe themselves here
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
