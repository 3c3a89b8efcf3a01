"""An NTFS volume of which the first things were not read -> a view of it in which their copies stand in their places.

The boot sector has its copy in the last sector of the volume, the first records of the master file table in $MFTMirr.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence

from ntt.model import Extent
from ntt.ranges import Ranges, difference, normalised, within
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.boot_sectors import SECTOR_SIZES, NtfsGeometry, ntfs_geometry
from ntt.readers.ntfs.records import SECTOR_BYTES
from ntt.readers.tsk_extents import HOLE

BOOT_BYTES = 512
MIRRORED_RECORDS = 4
CLUSTERS_RECORD = 6
PATCHES_LIMIT = 100_000


class Mended(ImageSource):
    """The image with other bytes in some places, which count as read. Patches do not overlap."""

    def __init__(self, source: ImageSource, patches: Mapping[int, bytes]) -> None:
        self.fd = source.fd
        self.size_bytes = source.size_bytes
        self.mended = normalised((at, at + len(content)) for at, content in patches.items())
        self.unread = difference(source.unread, self.mended)
        self._source = source
        self._patches = patches
        self._places = sorted(patches)

    def read(self, offset: int, length: int) -> bytes:
        """As `ImageSource.read`."""
        content = self._source.read(offset, length)
        touched = within(self.mended, offset, offset + length)
        if not touched:
            return content
        mended = bytearray(content)
        for at in self._places[max(bisect_right(self._places, offset) - 1, 0) :]:
            if at >= offset + length:
                break
            patch = self._patches[at]
            first, last = max(at, offset), min(at + len(patch), offset + length)
            if first < last:
                mended[first - offset : last - offset] = patch[first - at : last - at]
        return bytes(mended)


def with_copies(source: ImageSource, offset_bytes: int, size_bytes: int) -> tuple[ImageSource, NtfsGeometry]:
    """The view, which is the image itself where nothing has to be mended. ReadError without a boot sector."""
    patches: dict[int, bytes] = {}
    boot = source.read(offset_bytes, BOOT_BYTES)
    lost = within(source.unread, offset_bytes, offset_bytes + BOOT_BYTES)
    if lost:
        copy = boot_by_copy(source, offset_bytes, size_bytes)
        if copy is None:
            raise ReadError("the boot sector was not read, and its copy at the end of the volume is none", lost)
        patches[offset_bytes] = boot = copy
    try:
        geometry = ntfs_geometry(boot)
    except ValueError as error:
        raise ReadError(f"the boot sector is damaged: {error}") from None
    (mirror,) = struct.unpack_from("<Q", boot, 56)
    size = geometry.record_bytes
    for number in range(MIRRORED_RECORDS):
        here = offset_bytes + geometry.mft_at + number * size
        there = offset_bytes + mirror * geometry.cluster_bytes + number * size
        if within(source.unread, here, here + size) and not within(source.unread, there, there + size):
            copy = source.read(there, size)
            if copy[:4] == b"FILE":
                patches[here] = copy
    return (Mended(source, patches) if patches else source), geometry


def boot_by_copy(source: ImageSource, offset_bytes: int, size_bytes: int) -> bytes | None:
    """The copy of a boot sector that was not read; None if it was read, or its copy is none.

    It is the last sector of a partition, or the one behind what the boot sector itself counts.
    """
    if not within(source.unread, offset_bytes, offset_bytes + BOOT_BYTES):
        return None
    for behind in (*SECTOR_SIZES, 0):
        place = offset_bytes + size_bytes - behind
        if place < offset_bytes or within(source.unread, place, place + BOOT_BYTES):
            continue
        boot = source.read(place, BOOT_BYTES)
        if boot[3:11] != b"NTFS    ":
            continue
        try:
            geometry = ntfs_geometry(boot)
        except ValueError:
            continue
        if place + geometry.sector_bytes == offset_bytes + geometry.size_bytes:
            return boot
    return None


def for_the_library(source: ImageSource, geometry: NtfsGeometry, table: Sequence[Extent]) -> ImageSource:
    """The view for The Sleuth Kit, which refuses what is no damage to the content of the file in hand.

    It wants some map of clusters: where the record of $Bitmap was not read, it gets another one that has runs. It
    wants each sector of a record to end as the update sequence says, those that were not read too.
    """
    size, mended = geometry.record_bytes, dict[int, bytes]()
    for place in _records_unread(source.unread, table, size):
        raw = source.read(place, size)
        at, count = struct.unpack_from("<HH", raw, 4)
        if raw[:4] == b"FILE" and at + 2 * count <= size and (count - 1) * SECTOR_BYTES <= size:
            mended[place] = _marked(raw, at, count)
        if len(mended) > PATCHES_LIMIT:
            break
    first, place = table[0].image_offset, table[0].image_offset + CLUSTERS_RECORD * size
    if within(source.unread, place, place + size) and place not in mended:
        mended[place] = source.read(first, size)
    return Mended(source, mended) if mended else source


def _records_unread(unread: Ranges, table: Sequence[Extent], size: int) -> Iterator[int]:
    """Where the records lie that were not read, or not in full."""
    for extent in table:
        first, last = extent.image_offset, extent.image_offset + extent.image_length
        for start, end in within(unread, first, last) if first != HOLE else ():
            yield from range(start - (start - first) % size, end, size)


def _marked(raw: bytes, at: int, count: int) -> bytes:
    fixed = bytearray(raw)
    for sector in range(1, count):
        if not any(raw[(sector - 1) * SECTOR_BYTES : sector * SECTOR_BYTES]):
            fixed[sector * SECTOR_BYTES - 2 : sector * SECTOR_BYTES] = raw[at : at + 2]
    return bytes(fixed)
