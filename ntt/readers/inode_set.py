"""A set of inode numbers as a sparse bitmap: memory grows with the ranges in use, one bit each."""

from __future__ import annotations

from collections.abc import Iterator

CHUNK_BITS = 4096 * 8


class InodeSet:
    """Numbers from 0 up; a chunk of 4 KiB covers 32,768 neighbours."""

    def __init__(self) -> None:
        self._chunks: dict[int, bytearray] = {}

    def __iter__(self) -> Iterator[int]:
        """Its numbers; they must not change meanwhile."""
        for chunk, bits in self._chunks.items():
            for at, byte in enumerate(bits):
                if byte:
                    yield from (chunk * CHUNK_BITS + at * 8 + bit for bit in range(8) if byte >> bit & 1)

    def add(self, number: int) -> bool:
        """True if the number was not in the set yet."""
        chunk, bit = divmod(number, CHUNK_BITS)
        bits = self._chunks.get(chunk)
        if bits is None:
            bits = self._chunks[chunk] = bytearray(CHUNK_BITS // 8)
        mask = 1 << (bit & 7)
        if bits[bit >> 3] & mask:
            return False
        bits[bit >> 3] |= mask
        return True
