"""A disk whose partition table was not read -> its partitions all the same, by what stands at their usual places."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

from ntt.model import Volume, VolumeStatus
from ntt.ranges import Range, Ranges, within
from ntt.readers.base import ImageSource
from ntt.readers.detection.mbr import EXTENDED, TYPES, mbr_entries
from ntt.readers.detection.odd_offsets import is_file_system, places
from ntt.readers.detection.pieces import Pieces, Region, opened
from ntt.readers.detection.signatures import recognise, recognise_at
from ntt.readers.detection.tables import LOST_TABLE

SECTOR_BYTES = 512
ALIGNED_BYTES = 1 << 20  # where partitioning programs let partitions begin
TRACK_BYTES = 63 * SECTOR_BYTES  # and those of DOS
STEPS = 4096  # such places beyond the first that are looked at
MOST_VOLUMES = 128
DISKETTE_BYTES = 8 << 20  # smaller media have no partition table
MOUNTED_ONLY = ("xfs", "btrfs", "f2fs", "jfs", "reiserfs", "nilfs2")
LOST_FIRST = f"the first sector of the disk, where its partition table stands, {LOST_TABLE}"
Examine = Callable[[ImageSource, Region], Pieces]


def is_table_lost(source: ImageSource, region: Region) -> bool:
    """Whether the first sector of a disk, large enough to be partitioned, was not read."""
    if region.depth or region.size_bytes < DISKETTE_BYTES or region.offset_bytes >= source.size_bytes:
        return False
    return bool(unread_first(source, region))


def unread_first(source: ImageSource, region: Region) -> Ranges:
    """The unread bytes of the sector where a disk's table stands."""
    return within(source.unread, region.offset_bytes, region.offset_bytes + SECTOR_BYTES)


def lost_partitions(source: ImageSource, region: Region, known: Ranges, examine: Examine) -> Pieces:
    """File systems outside of `known` that open, ascending, and what boot records of logical partitions name.

    They are looked for in every sector of the first MiB, at whole MiB, at cylinder boundaries, and behind each
    partition that is known or found. OSError as `ImageSource.read`.
    """
    found = Pieces("mbr" if region.scheme == "none" else region.scheme)
    search = _Search(region, min(region.end_bytes, source.size_bytes), known)
    for place in search:
        inside = _named(source, place, search.end) or _file_system(source, place, search.end)
        if inside is None or search.is_taken(inside.offset_bytes) or len(found.pieces) >= MOST_VOLUMES:
            continue
        inside = inside._replace(scheme=found.scheme, depth=region.depth + 1)
        pieces = examine(source, inside) if inside.kind else _opened(source, inside)
        if any(_is_sure(piece.volume) for piece in pieces.pieces):
            search.take(inside.offset_bytes, inside.end_bytes)
            found.add(pieces)
    return found


def _is_sure(volume: Volume) -> bool:
    return volume.status is VolumeStatus.READ or volume.fstype in MOUNTED_ONLY


class _Search:
    """Places in the image, ascending; what lies in something found is left out, what may follow it is added."""

    def __init__(self, region: Region, end: int, known: Ranges) -> None:
        self.end = end
        self._taken: list[Range] = []
        start = region.offset_bytes
        usual = {start + place for place in places(end - start)}
        usual.update(start + step * ALIGNED_BYTES for step in range(1, STEPS))
        self._places = sorted(place for place in usual if place < end)
        for low, high in known:
            self.take(low, high)

    def take(self, start: int, end: int) -> None:
        self._taken.append((start, end))
        aligned = -(-end // ALIGNED_BYTES) * ALIGNED_BYTES
        for base in (end, aligned):
            for place in (base, base + TRACK_BYTES, base + ALIGNED_BYTES):
                heapq.heappush(self._places, place)

    def is_taken(self, place: int) -> bool:
        """It lies in something known or found: a boot record of a known partition may stand outside, and name it."""
        return any(start <= place < end for start, end in self._taken)

    def __iter__(self) -> Iterator[int]:
        last = -1
        while self._places:
            place = heapq.heappop(self._places)
            if last < place < self.end and not self.is_taken(place):
                last = place
                yield place


def _named(source: ImageSource, place: int, end: int) -> Region | None:
    """What the boot record of a logical partition says of it: its own place counts from that of the record."""
    entries = mbr_entries(source.read(place, SECTOR_BYTES))
    if not entries or len(entries) > 2 or entries[0].kind in EXTENDED:
        return None
    kind, first, sectors = entries[0]
    start = place + first * SECTOR_BYTES
    if not first or start >= end or any(entry.kind not in EXTENDED for entry in entries[1:]):
        return None
    name = TYPES.get(kind)
    return Region(start, sectors * SECTOR_BYTES, kind=f"type 0x{kind:02x}" + (f", {name}" if name else ""))


def _file_system(source: ImageSource, place: int, end: int) -> Region | None:
    found = recognise_at(source, place, end - place)
    if found is not None and is_file_system(source, place, end, found):
        return Region(place, found.size_bytes)
    if place % ALIGNED_BYTES:
        return None
    found = recognise(source, place, end - place)
    if found is None or found.fstype not in MOUNTED_ONLY or not found.size_bytes > 0:
        return None
    return Region(place, found.size_bytes)


def _opened(source: ImageSource, region: Region) -> Pieces:
    found = recognise(source, region.offset_bytes, region.size_bytes)
    return Pieces(region.scheme, [opened(source, region, found)] if found is not None else [])
