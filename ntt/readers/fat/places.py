"""An entry of a directory -> where its content, or its own list of names, lies in the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ntt.model import Extent
from ntt.ranges import Ranges
from ntt.readers.base import ReadError
from ntt.readers.boot_sectors import FatGeometry
from ntt.readers.fat.chains import RING, Chain, FatChains, once
from ntt.readers.fat.directories import FatEntry
from ntt.readers.fat.table import FIRST
from ntt.readers.tsk_extents import HOLE, Run, run_extents

DIRECTORY_LIMIT = 256 << 20  # bytes; exFAT allows no more, FAT far less


class Directory(NamedTuple):
    """`fault`: why names may be missing; `cause`: the unread bytes of the image for the sake of which they may."""

    extents: Sequence[Extent]
    fault: str = ""
    cause: Ranges = ()


class Placed(NamedTuple):
    """Where a file's content lies; only of its first `known_bytes` the place is known, holes included."""

    extents: Sequence[Extent]
    known_bytes: int


class FatPlaces:
    """ReadError for what has no place at all, or a place that contradicts its entry."""

    def __init__(self, offset_bytes: int, geometry: FatGeometry, chains: FatChains) -> None:
        self._offset = offset_bytes
        self._geometry = geometry
        self._chains = chains
        self._clusters_at = offset_bytes + geometry.clusters_at

    def first_byte(self, entry: FatEntry) -> int:
        """-1 where the entry has no content."""
        cluster = self._cluster(entry)
        if not entry.size or cluster < FIRST:
            return -1
        return self._clusters_at + (cluster - FIRST) * self._geometry.cluster_bytes

    def _cluster(self, entry: FatEntry) -> int:
        """OS/2 kept something else in the upper half on FAT12 and FAT16."""
        return entry.first_cluster & (0xFFFF if self._geometry.fstype in ("fat12", "fat16") else 0xFFFFFFFF)

    def root(self) -> Directory:
        if self._geometry.root_cluster or self._geometry.fstype in ("fat32", "exfat"):
            return self._listed(self._chains.follow(self._geometry.root_cluster, self._most()))
        start = self._geometry.directory_area
        length = self._geometry.clusters_at - start
        if not length:
            raise ReadError("the root directory has no room")
        return Directory((Extent(0, length, self._offset + start, length),))

    def directory(self, entry: FatEntry) -> Directory:
        if not entry.is_contiguous:
            return self._listed(self._chains.follow(self._cluster(entry), self._most()))
        clusters = -(-entry.stated_bytes // self._geometry.cluster_bytes)
        return self._listed(self._chains.contiguous(entry.first_cluster, min(clusters, self._most())))

    def _most(self) -> int:
        return DIRECTORY_LIMIT // self._geometry.cluster_bytes

    def _listed(self, chain: Chain) -> Directory:
        if not chain.clusters:
            raise ReadError(f"the directory has no cluster chain: {chain.fault}")
        if chain.fault == RING:
            chain = chain._replace(runs=once(chain.runs))
        fault = chain.fault
        if chain.clusters >= self._most():
            fault = fault or f"it is longer than the {DIRECTORY_LIMIT >> 20} MiB that are listed"
        return Directory(self._extents(chain.runs, chain.clusters * self._geometry.cluster_bytes), fault, chain.cause)

    def file(self, entry: FatEntry) -> Placed:
        """All of the content. What lies behind unread bytes of the table has no place that is known: these stand for
        it, as a unit, so that it is damaged as long as they are unread, and the clusters before are not.
        """
        size, valid_bytes, cluster_bytes = entry.size, entry.valid_bytes, self._geometry.cluster_bytes
        if not size:
            return Placed((), 0)
        clusters = -(-size // cluster_bytes)
        first = self._cluster(entry)
        find = self._chains.contiguous if entry.is_contiguous else self._chains.follow
        chain = find(first, clusters)
        if not chain.runs:
            raise ReadError(f"the file has no cluster chain: {chain.fault}")
        if chain.fault == RING:
            raise ReadError(RING)
        covered = chain.clusters * cluster_bytes
        if covered >= size or (chain.cause and covered >= valid_bytes):
            return Placed(self._extents(chain.runs, size, valid_bytes), size)
        if not chain.cause:
            raise ReadError(f"its cluster chain ends {size - covered} bytes early: {chain.fault}")
        known = self._extents(chain.runs, covered)
        start, end = chain.cause[0]
        unknown = [Extent(covered, valid_bytes - covered, start, end - start)]
        if valid_bytes < size:
            unknown.append(Extent(valid_bytes, size - valid_bytes, HOLE, size - valid_bytes))
        return Placed([*known, *unknown], covered)

    def _extents(self, runs: list[Run], size: int, valid_bytes: int | None = None) -> list[Extent]:
        return run_extents(runs, self._geometry.cluster_bytes, self._clusters_at, size, valid_bytes)
