"""Numbers of files: derived from a path where a file system's own are not to be relied on; a set of them."""

from __future__ import annotations

from blake3 import blake3

_CLUSTER_BITS = 6  # file systems hand out inode numbers in runs


def number_of(parent: int, name: bytes) -> int:
    """63 bits of BLAKE3 over the number of the folder and the name in it; never 0."""
    digest = blake3(parent.to_bytes(8, "big") + name).digest(8)
    return int.from_bytes(digest, "big") >> 1 or 1


class NumberSet:
    """One bit for each number, and one object for each 64 neighbours of which any is in the set."""

    def __init__(self) -> None:
        self._clusters: dict[int, int] = {}

    def add(self, number: int) -> bool:
        """True if the number was not in the set yet."""
        cluster, bit = number >> _CLUSTER_BITS, 1 << (number & ((1 << _CLUSTER_BITS) - 1))
        bits = self._clusters.get(cluster, 0)
        self._clusters[cluster] = bits | bit
        return not bits & bit
