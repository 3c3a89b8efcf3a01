"""The first, middle and last blocks of a volume -> its volume descriptors, from the main or the reserve sequence.

ECMA-167, 3/8.4: an anchor stands at sector 256, at the last one, or 256 before it (UDF 2.2.3: at two of them); it
names two sequences that say the same. What an image has lost of one is taken from the other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ntt.readers.base import ReadError
from ntt.readers.udf.partitions import UdfImage
from ntt.readers.udf.tags import (
    ANCHOR,
    LOGICAL,
    PARTITION,
    POINTER,
    PRIMARY,
    TERMINATING,
    is_descriptor,
    tag_kind,
    tag_location,
    timestamp,
)

SECTOR_SIZES = (2048, 512, 4096, 1024, 8192, 16384, 32768)
_ANCHOR_SECTORS = (256, 512)
# Behind the last recorded block drives may report link and run-out blocks, or a gap before the next track.
_BEFORE_END = (1, 257, 2, 3, 151, 153, 258, 259)
_MOST_DESCRIPTORS = 256  # of one sequence
_MOST_POINTERS = 16
_SEARCHED_BYTES = 4 << 20  # at either end, when no anchor is left
_WANTED = (PRIMARY, PARTITION, LOGICAL)

Key = tuple[int, int]  # kind of descriptor, partition number


@dataclass(frozen=True, slots=True)
class Descriptors:
    """The prevailing descriptors. `primary` may be empty; `partitions` are by partition number.

    `sequences` are (bytes, first sector) of the main sequence and the reserve one, as the anchor has them.
    """

    sector_bytes: int
    primary: bytes
    logical: bytes
    partitions: dict[int, bytes]
    remarks: tuple[str, ...] = ()
    sequences: tuple[tuple[int, int], ...] = ()


def find_descriptors(image: UdfImage, session_bytes: int = 0, *, search: bool = True) -> list[Descriptors]:
    """What the anchors lead to: usually one, more where an older file system left its anchors, the newest first.

    With `session_bytes` the anchor of that session comes first. Without anchors, and only with `search`, what a
    search near both ends of the volume finds. ReadError if no logical volume with a partition is described.
    """
    found: dict[tuple[int, bytes], Descriptors | None] = {}
    for sector_bytes, anchor in _anchors(image, session_bytes):
        place = (sector_bytes, anchor[16:32])
        if place not in found:
            found[place] = _anchored(image, sector_bytes, anchor)
    described = [replace(one, sequences=_extents(place[1])) for place, one in found.items() if one is not None]
    if described and not session_bytes:
        described.sort(key=_recorded, reverse=True)
    for sector_bytes in SECTOR_SIZES if search and not described else ():
        lost = _Sequence(image, sector_bytes)
        lost.search()
        one = lost.result(("its anchors are lost: its descriptors were found by searching",))
        if one is not None:
            return [one]
    if not described:
        raise ReadError("no readable UDF volume descriptors" if found else "no UDF anchor and no volume descriptors")
    return described


def _extents(raw: bytes) -> tuple[tuple[int, int], ...]:
    main_bytes, main, reserve_bytes, reserve = struct.unpack("<IIII", raw)
    return (main_bytes, main), (reserve_bytes, reserve)


def _recorded(descriptors: Descriptors) -> tuple[int, int]:
    return timestamp(descriptors.primary[376:388]) or (0, 0) if descriptors.primary else (0, 0)


def _anchors(image: UdfImage, session_bytes: int) -> Iterator[tuple[int, bytes]]:
    for sector_bytes in SECTOR_SIZES:
        sectors = [session_bytes // sector_bytes + sector for sector in _ANCHOR_SECTORS]
        for end in dict.fromkeys((image.end, image.readable_end)):
            sectors.extend((end - image.start) // sector_bytes - before for before in _BEFORE_END)
        for sector in dict.fromkeys(sectors):
            position = image.start + sector * sector_bytes
            if sector < 0 or position + 512 > image.readable_end:
                continue
            block = image.read(position, 512)
            if is_descriptor(block, ANCHOR, sector):
                yield sector_bytes, block


def _anchored(image: UdfImage, sector_bytes: int, anchor: bytes) -> Descriptors | None:
    main, reserve = _Sequence(image, sector_bytes), _Sequence(image, sector_bytes)
    main.follow(anchor[16:24])
    found = main.result(())
    if found is not None and found.primary and not main.damaged:
        return found
    reserve.follow(anchor[24:32])
    before = dict(main.found)
    main.add(reserve)
    changed = main.found != before
    return main.result(("its main descriptors are damaged: the reserve ones were used",) if changed else ())


class _Sequence:
    """The descriptors of a volume descriptor sequence, of each kind the one with the highest number."""

    def __init__(self, image: UdfImage, sector_bytes: int) -> None:
        self._image = image
        self._sector_bytes = sector_bytes
        self.found: dict[Key, bytes] = {}
        self.damaged = False

    def follow(self, extent: bytes) -> None:
        """ECMA-167, 3/8.4.2: an extent, and those that its pointers name, until a terminating descriptor."""
        entered: set[bytes] = set()
        pending: bytes | None = extent
        left = _MOST_DESCRIPTORS
        while pending is not None and pending not in entered and len(entered) < _MOST_POINTERS:
            entered.add(pending)
            sectors = int.from_bytes(pending[:4], "little") // self._sector_bytes
            first = int.from_bytes(pending[4:8], "little")
            pending = None
            for sector in range(first, first + min(sectors, left)):
                left -= 1
                block = self._sector(sector)
                kind = self._take(block, sector)
                if kind == POINTER:
                    pending = block[20:28]
                if kind in (POINTER, TERMINATING):
                    break

    def search(self) -> None:
        image, size = self._image, self._sector_bytes
        last = max((image.readable_end - image.start) // size, 0)
        near = _SEARCHED_BYTES // size
        for first, end in ((0, min(near, last)), (max(last - near, near), last)):
            window = image.read(image.start + first * size, (end - first) * size) if first < end else b""
            for at in range(0, len(window), size):
                if window[at : at + 2] in _STARTS:
                    self._take(window[at : at + size], first + at // size)

    def add(self, other: _Sequence) -> None:
        """Equal numbers are equal descriptors: what is there already stays."""
        for key, block in other.found.items():
            self._keep(key, block)

    def result(self, remarks: tuple[str, ...]) -> Descriptors | None:
        logical = self.found.get((LOGICAL, 0))
        partitions = {number: block for (kind, number), block in self.found.items() if kind == PARTITION}
        if logical is None or not partitions:
            return None
        return Descriptors(self._sector_bytes, self.found.get((PRIMARY, 0), b""), logical, partitions, remarks)

    def _sector(self, sector: int) -> bytes:
        return self._image.read(self._image.start + sector * self._sector_bytes, self._sector_bytes)

    def _take(self, block: bytes, sector: int) -> int:
        """The kind of the descriptor; 0 for an empty or broken one."""
        if not any(block):
            position = self._image.start + sector * self._sector_bytes
            self.damaged |= self._image.is_unread(position, self._sector_bytes)
            return 0
        try:
            kind = tag_kind(block, sector)
        except ReadError:
            self.damaged = True
            return 0
        if kind in _WANTED and tag_location(block) == sector:
            self._keep((kind, int.from_bytes(block[22:24], "little") if kind == PARTITION else 0), block)
        return kind

    def _keep(self, key: Key, block: bytes) -> None:
        known = self.found.get(key)
        if known is None or _number(known) < _number(block):
            self.found[key] = block


_STARTS = frozenset(kind.to_bytes(2, "little") for kind in _WANTED)


def _number(block: bytes) -> int:
    """Volume descriptor sequence number: the highest one prevails (ECMA-167, 3/8.4.3)."""
    return int.from_bytes(block[16:20], "little")
