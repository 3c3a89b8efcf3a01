"""A volume of FAT or exFAT -> the pieces that make it a file system, and which of its clusters are in use."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence

from ntt.model import Extent, Structure
from ntt.ranges import Range, Ranges, difference, normalised
from ntt.readers.allocation import BITMAP_LIMIT
from ntt.readers.base import ImageSource
from ntt.readers.boot_sectors import FatGeometry
from ntt.readers.fat.chains import FatChains
from ntt.readers.fat.directories import Record
from ntt.readers.fat.table import FIRST, FatTable, unread_within
from ntt.readers.tsk_extents import run_extents

EXFAT_REGION = 12  # sectors of a boot region; the backup of it follows
EXFAT_FIXED = {0x81: "allocation bitmap", 0x82: "up-case table"}  # kinds of records of the root directory
ROOT_RECORDS = 4096  # these are among the first that any tool writes
BITMAP_PIECE = 1 << 16
SET = re.compile("1+")


class FatStructures:
    """`root_records` gives the records of the root directory of an exFAT, as far as they can be read."""

    def __init__(self, source: ImageSource, offset_bytes: int, geometry: FatGeometry, table: FatTable) -> None:
        self._source = source
        self._offset = offset_bytes
        self._geometry = geometry
        self._table = table
        self._clusters_at = offset_bytes + geometry.clusters_at

    def before_clusters(self) -> Iterator[Structure]:
        """Boot sectors and tables. OSError if the image cannot be read."""
        is_exfat = self._geometry.fstype == "exfat"
        yield from self._exfat_boot() if is_exfat else self._fat_boot()
        yield from self._tables()

    def _piece(self, first: int, behind: int, what: str, spare: bool) -> Structure:
        sector = self._geometry.sector_bytes
        return Structure(self._offset + first * sector, self._offset + behind * sector, what, -1, spare)

    def _fat_boot(self) -> Iterator[Structure]:
        by_backup = self._geometry.boot_at > 0
        yield self._piece(0, 1, "boot sector", by_backup)
        if self._geometry.fstype != "fat32":
            return
        raw = self._source.read(self._offset + self._geometry.boot_at, 512)
        (reserved,) = struct.unpack_from("<H", raw, 14)
        info, backup = struct.unpack_from("<HH", raw, 48)
        if 0 < info < reserved:
            yield self._piece(info, info + 1, "FSInfo", True)
        if 0 < backup < reserved:
            yield self._piece(backup, backup + 1, "backup boot sector", not by_backup)

    def _exfat_boot(self) -> Iterator[Structure]:
        """All twelve sectors are covered by a checksum, but only the first is read here."""
        by_backup = self._geometry.boot_at > 0
        yield self._piece(0, 1, "boot sector", by_backup)
        yield self._piece(1, EXFAT_REGION, "boot region", True)
        yield self._piece(EXFAT_REGION, EXFAT_REGION + 1, "backup boot sector", not by_backup)
        yield self._piece(EXFAT_REGION + 1, 2 * EXFAT_REGION, "backup boot region", True)

    def _tables(self) -> Iterator[Structure]:
        """What is lost in one copy and was read in another is spare in both."""
        table = self._table
        for number, start in enumerate(table.copies):
            whole = ((start, start + table.bytes),)
            lost = tuple((start + low, start + high) for low, high in table.lost)
            needed = difference(whole, self._replaced(start, lost)) if number == 0 else lost
            yield from (Structure(*one, "FAT") for one in needed)
            yield from (Structure(*one, "FAT", -1, True) for one in difference(whole, needed))
            if table.bytes < table.full_bytes:
                yield Structure(start + table.bytes, start + table.full_bytes, "FAT", -1, True)
        yield from (Structure(start, start + table.full_bytes, "FAT", -1, True) for start in table.spares)

    def _replaced(self, start: int, lost: Ranges) -> Ranges:
        return difference(unread_within(self._source, start, start + self._table.bytes), lost)

    def fixed(self, root_records: Iterable[Record]) -> Iterator[tuple[str, Sequence[Extent]]]:
        """What an exFAT keeps in clusters that no name leads to. ReadError if it cannot be found any more."""
        chains = FatChains(self._table)
        cluster_bytes = self._geometry.cluster_bytes
        for number, record in enumerate(root_records):
            if record.raw[:1] == b"\0" or number >= ROOT_RECORDS:
                break
            if record.raw and record.raw[0] in EXFAT_FIXED:
                first, size = struct.unpack_from("<IQ", record.raw, 20)
                size = min(size, BITMAP_LIMIT)
                runs = chains.follow(first, -(-size // cluster_bytes)).runs if size else []
                covered = sum(run.blocks for run in runs) * cluster_bytes
                extents = run_extents(runs, cluster_bytes, self._clusters_at, min(size, covered))
                yield EXFAT_FIXED[record.raw[0]], extents

    def used(self, bitmap: Sequence[Extent]) -> Iterator[Range]:
        """Bytes in use, ascending; `bitmap` is that of an exFAT: what of it has no place, or is unread, is in use."""
        yield from normalised((one.start, one.end) for one in self.before_clusters())
        if self._geometry.fstype != "exfat":
            root = self._offset + self._geometry.directory_area, self._clusters_at
            yield from [root] if root[0] < root[1] else []
            found = self._table.in_use()
        else:
            found = self._set_in(bitmap)
        size = self._geometry.cluster_bytes
        for first, behind in found:
            yield self._clusters_at + (first - FIRST) * size, self._clusters_at + (behind - FIRST) * size

    def _set_in(self, bitmap: Sequence[Extent]) -> Iterator[Range]:
        """The numbers of clusters whose bits are set, or not known."""
        behind = FIRST + self._geometry.clusters
        number = FIRST
        for extent in bitmap:
            for at in range(extent.image_offset, extent.image_offset + extent.image_length, BITMAP_PIECE):
                length = min(BITMAP_PIECE, extent.image_offset + extent.image_length - at)
                raw = bytearray(self._source.read(at, length))
                for low, high in unread_within(self._source, at, at + length):
                    raw[low - at : high - at] = b"\xff" * (high - low)
                bits = f"{int.from_bytes(raw, 'little'):0{8 * length}b}"[::-1][: max(behind - number, 0)]
                yield from ((number + run.start(), number + run.end()) for run in SET.finditer(bits))
                number += 8 * length
        if number < behind:
            yield number, behind
