"""A first cluster -> the runs of its chain in the allocation table, and why the chain ends where it does.

Microsoft, "FAT: General Overview of On-Disk Format"; "exFAT file system specification", section 4.
"""

from __future__ import annotations

from typing import NamedTuple

from ntt.ranges import Ranges
from ntt.readers.fat.table import FIRST, FatTable
from ntt.readers.tsk_extents import Run

ENDS, BAD = 8, 9  # counted from above: the eight highest values end a chain, the one before marks a bad cluster
RING = "its chain of clusters is a ring"


class Chain(NamedTuple):
    """`runs` count clusters, those of the volume from 0. `fault`: why it is no chain as it should be, if it is none.

    `cause`: the unread bytes of the image that would tell how it goes on; the runs are then its beginning. Those of a
    ring may hold clusters more than once.
    """

    runs: list[Run]
    fault: str = ""
    cause: Ranges = ()

    @property
    def clusters(self) -> int:
        return self.runs[-1].file_block + self.runs[-1].blocks if self.runs else 0


class FatChains:
    def __init__(self, table: FatTable) -> None:
        self._table = table
        self._behind = table.behind

    def follow(self, cluster: int, most: int) -> Chain:
        """At most `most` clusters from this one on: what stands in the entry of the last of them does not matter.

        ReadError if the image cannot be read.
        """
        runs: list[Run] = []
        first = cluster
        length = count = 0
        window = self._table.window(FIRST)
        hare, laps = cluster, 1  # a ring leads back to where the hare waits; it moves on ever more slowly
        cause: Ranges = ()
        while FIRST <= cluster < self._behind:
            if cluster != first + length:
                runs.append(Run(count - length, length, first - FIRST))
                first, length = cluster, 0
            length += 1
            count += 1
            if count >= most:
                break
            if self._table.lost:
                cause = self._table.cause(cluster)
                if cause:
                    break
            at = cluster - window.first
            if not 0 <= at < len(window.entries):
                window = self._table.window(cluster)
                at = cluster - window.first
            cluster = window.entries[at]
            if cluster == hare:
                return Chain([*runs, Run(count - length, length, first - FIRST)], RING)
            if count == laps:
                hare, laps = cluster, 2 * laps
        if length:
            runs.append(Run(count - length, length, first - FIRST))
        if _overlap(runs):
            return Chain(runs, RING)
        if cause or (count >= most and count) or cluster >= self._table.top - ENDS:
            return Chain(runs, "", cause)
        what = {0: "a free one", self._table.top - BAD: "one that is marked as bad"}
        found = what.get(cluster, "one that does not exist")
        return Chain(runs, f"its chain of clusters leads to {found} behind {count:,}")

    def contiguous(self, cluster: int, clusters: int) -> Chain:
        """As exFAT keeps what needs no chain."""
        if not FIRST <= cluster < self._behind or clusters > self._behind - cluster:
            return Chain([], f"{clusters:,} clusters from number {cluster:,} on do not exist")
        return Chain([Run(0, clusters, cluster - FIRST)])


def _overlap(runs: list[Run]) -> bool:
    behind = 0
    for _, blocks, start in sorted(runs, key=lambda run: run.volume_block):
        if start < behind:
            return True
        behind = start + blocks
    return False


def once(runs: list[Run]) -> list[Run]:
    """Of a ring each cluster once: the runs up to the first cluster that is met again."""
    kept: list[Run] = []
    met: set[int] = set()
    for run in runs:
        own = next((at for at in range(run.blocks) if run.volume_block + at in met), run.blocks)
        if own:
            kept.append(run._replace(blocks=own))
        if own < run.blocks:
            break
        met.update(range(run.volume_block, run.volume_block + run.blocks))
    return kept
