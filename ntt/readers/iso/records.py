"""One sector of a directory -> its records, each checked before anything trusts it (ECMA-119, sections 7.3, 9.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import date

import msgspec

SECTOR_BYTES = 2048
FLAG_DIRECTORY = 0x02
FLAG_ASSOCIATED = 0x04
FLAG_MULTI_EXTENT = 0x80
OWN_IDENTIFIER = b"\x00"  # the record of the directory itself, "."
PARENT_IDENTIFIER = b"\x01"  # the record of the directory above, ".."

SHORTEST_RECORD = 34
_EPOCH_DAY = date(1970, 1, 1).toordinal()
# length, extended attribute blocks, extent, size, date, flags, unit, gap, identifier length
_LITTLE_ENDIAN = struct.Struct("<BBI4xI4x7sBBB4xB")
_BIG_ENDIAN = struct.Struct(">6xI4xI")  # extent and size once more


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where a volume lies in the image. A position is a byte offset in the volume, not in the image."""

    offset_bytes: int
    block_bytes: int
    limit_bytes: int  # the end of the volume or of the image, whichever is later; a position

    def inside(self, block: int, size_bytes: int) -> bool:
        return not size_bytes or block * self.block_bytes + size_bytes <= self.limit_bytes


class DirectoryRecord(msgspec.Struct, frozen=True, gc=False):
    """One record as it stands on the medium; `first_block` is behind the extended attribute record."""

    position: int
    first_block: int
    size_bytes: int
    flags: int
    interleaved: bool
    recorded: bytes  # 7 bytes, see `recorded_time`
    identifier: bytes
    system_use: bytes
    remark: str  # what is odd about it; empty when nothing is
    attribute_blocks: int = 0  # before the first block

    @property
    def is_directory(self) -> bool:
        return bool(self.flags & FLAG_DIRECTORY)

    @property
    def is_associated(self) -> bool:
        """A second stream of the file of this name: on Apple's discs its resource fork (ECMA-119, 6.5.4)."""
        return self.flags & (FLAG_ASSOCIATED | FLAG_DIRECTORY) == FLAG_ASSOCIATED

    def continues(self, first: DirectoryRecord) -> bool:
        """Whether it can be a later part of the multi-extent file that `first` begins."""
        same = self.identifier == first.identifier and self.is_associated == first.is_associated
        return same and not self.is_directory

    @property
    def is_named(self) -> bool:
        return self.identifier not in (OWN_IDENTIFIER, PARENT_IDENTIFIER)


def parse_sector(sector: bytes, position: int, geometry: Geometry) -> tuple[list[DirectoryRecord], str]:
    """The records up to the padding, and why the rest of the sector cannot be used (empty: it can).

    A record never crosses its sector (ECMA-119, 6.8.1.1), so one broken length costs one sector.
    """
    records: list[DirectoryRecord] = []
    at, end = 0, len(sector)
    while at < end and sector[at]:
        length = sector[at]
        if length < SHORTEST_RECORD or at + length > end:
            fault = "too short" if length < SHORTEST_RECORD else "crosses the end of its sector"
            return records, f"record of {length} bytes at byte {position + at} {fault}"
        _, attribute_blocks, block, size, recorded, flags, unit, gap, name_length = _LITTLE_ENDIAN.unpack_from(
            sector, at
        )
        name_end = at + 33 + name_length
        if not name_length or name_end > at + length:
            return records, f"record at byte {position + at} has a name of {name_length} bytes in {length}"
        remark = ""
        second_block, second_size = _BIG_ENDIAN.unpack_from(sector, at)
        if second_block != block or second_size != size:
            block, size, remark = _settled(geometry, (block, size), (second_block, second_size))
            if block < 0:
                return records, f"record at byte {position + at}: {remark}"
        use_at = name_end + 1 - (name_length & 1)  # a pad byte follows a name of even length
        records.append(
            DirectoryRecord(
                position + at,
                block + attribute_blocks,
                size,
                flags,
                bool(unit or gap),
                recorded,
                sector[at + 33 : name_end],
                sector[use_at : at + length],
                remark,
                attribute_blocks,
            )
        )
        at += length
    return records, ""


def _settled(geometry: Geometry, little: tuple[int, int], big: tuple[int, int]) -> tuple[int, int, str]:
    """Both byte orders must agree; if not, the one that lies inside the medium, else block -1."""
    if big == (0, 0):  # some writers leave the second copy out
        return (*little, "")
    remark = f"the two copies of its extent and size differ: {little[0]}+{little[1]} and {big[0]}+{big[1]}"
    for block, size in (little, big):
        if geometry.inside(block, size):
            return block, size, remark
    return -1, 0, remark


def recorded_time(stamp: bytes) -> int:
    """Seconds from 1970 UTC of a 7-byte date (ECMA-119, 9.1.5); 0 when it is no date."""
    if len(stamp) != 7:
        return 0
    years, month, day, hour, minute, second, zone = stamp
    return _seconds(1900 + years, month, day, (hour, minute, second), zone)


def digits_time(stamp: bytes) -> tuple[int, int]:
    """Seconds from 1970 UTC and nanoseconds of a 17-byte date (ECMA-119, 8.4.26.1); zeros when it is no date."""
    if len(stamp) != 17 or not stamp[:16].isdigit():
        return 0, 0
    year, month, day, hour, minute, second, hundredths = (
        int(stamp[low:high]) for low, high in ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14), (14, 16))
    )
    seconds = _seconds(year, month, day, (hour, minute, second), stamp[16])
    return seconds, hundredths * 10_000_000 if seconds else 0


def _seconds(year: int, month: int, day: int, clock: tuple[int, int, int], zone: int) -> int:
    hour, minute, second = clock
    if hour > 23 or minute > 59 or second > 59:
        return 0
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        return 0
    quarters = zone - 256 if zone > 127 else zone
    if not -52 <= quarters <= 52:  # no place on earth: writers that leave rubbish here mean UTC
        quarters = 0
    return days * 86400 + hour * 3600 + minute * 60 + second - quarters * 900
