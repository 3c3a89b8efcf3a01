"""The chain of a directory in the allocation table -> what is wrong with it; The Sleuth Kit then just ends early.

Microsoft, "FAT: General Overview of On-Disk Format"; "exFAT file system specification", section 4.
"""

from __future__ import annotations

from ntt.readers.base import ImageSource, ReadError
from ntt.readers.boot_sectors import FatGeometry

BITS = {"fat12": 12, "fat16": 16, "fat32": 32, "exfat": 32}
FIRST = 2
ENDS, BAD = 8, 9  # counted from above: the eight highest values end a chain, the one before marks a bad cluster


class FatChains:
    """The first table of a volume."""

    def __init__(self, source: ImageSource, offset_bytes: int, geometry: FatGeometry) -> None:
        self._source = source
        self._bits = BITS[geometry.fstype]
        self._at = offset_bytes + geometry.table_at
        self._behind = FIRST + geometry.clusters
        self._above = 1 << (28 if geometry.fstype == "fat32" else self._bits)

    def fault(self, cluster: int) -> str:
        """Why the chain from this cluster on is none; empty if it ends as it should. ReadError if it cannot be read."""
        met: set[int] = set()
        while FIRST <= cluster < self._behind:
            if cluster in met:
                return "its chain of clusters is a ring"
            met.add(cluster)
            cluster = self._next(cluster)
        if cluster >= self._above - ENDS:
            return ""
        what = {0: "a free one", self._above - BAD: "one that is marked as bad"}.get(cluster, "one that does not exist")
        return f"its chain of clusters leads to {what} behind {len(met):,}"

    def _next(self, cluster: int) -> int:
        at = self._at + cluster * self._bits // 8
        try:
            found = int.from_bytes(self._source.read(at, 4 if self._bits == 32 else 2), "little")
        except (OSError, OverflowError) as error:
            raise ReadError(f"the image cannot be read at byte {at}: {error}") from None
        if self._bits == 12:
            return found >> 4 if cluster & 1 else found & 0xFFF
        return found & self._above - 1
