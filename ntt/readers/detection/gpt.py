"""GUID partition table -> its partitions, from whichever of its two copies agrees with its checksums."""

from __future__ import annotations

import struct
import uuid
import zlib
from typing import NamedTuple

from ntt.ranges import Ranges, within
from ntt.readers.detection.expected_size import shortness
from ntt.readers.detection.samples import Sample
from ntt.readers.detection.tables import LOST_TABLE, Partition, Table

SECTOR_SIZES = (512, 4096, 2048)  # of disks; of native 4K disks; of CDs
ENTRIES_LIMIT = 1024
TABLE_BYTES = 33 * 512  # a header, and 16 KiB of entries (UEFI, 5.3.1)
FARTHEST = 1 << 50  # a sector that no disk has
TYPES = {
    "E3C9E316-0B5C-4DB8-817D-F92DF00215AE": "Microsoft reserved",
    "21686148-6449-6E6F-744E-656564454649": "BIOS boot",
    "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7": "Windows data",
    "DE94BBA4-06D1-4D40-A16A-BFD50179D6AC": "Windows recovery",
    "AF9B60A0-1431-4F62-BC68-3311714A69AD": "Windows dynamic disk",
    "C12A7328-F81F-11D2-BA4B-00A0C93EC93B": "EFI system",
    "0FC63DAF-8483-4772-8E79-3D69D8477DE4": "Linux",
    "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F": "Linux swap",
    "E6D6D379-F507-44C2-A23C-238F2A3DF928": "Linux LVM",
    "A19D880F-05FC-4D3B-A006-743F0F84911E": "Linux RAID",
    "48465300-0000-11AA-AA11-00306543ECAC": "Apple HFS+",
    "7C3457EF-0000-11AA-AA11-00306543ECAC": "Apple APFS",
    "53746F72-6167-11AA-AA11-00306543ECAC": "Apple CoreStorage",
    "426F6F74-0000-11AA-AA11-00306543ECAC": "Apple boot",
}


class GptHeader(NamedTuple):
    """UEFI specification, section 5.3.2, "GPT Header"; the fields that lead to the entries."""

    sector_bytes: int
    entries_at: int
    entry_count: int
    entry_bytes: int
    entries_crc: int


def read_gpt(disk: Sample, medium_bytes: int | None, *, backup_wanted: bool) -> Table | None:
    """The first copy whose header and entries agree with their checksums.

    `medium_bytes`: the size of the medium that the disk is, to be held against what the table says; None: it is none.
    """
    primary_stands = False
    for sector_bytes in SECTOR_SIZES:
        raw = disk.at(sector_bytes, 512)
        primary_stands = primary_stands or raw[:8] == b"EFI PART"
        header = _header(raw, sector_bytes, 1)
        partitions = None if header is None else _partitions(disk, header, check=True)
        if partitions is not None:
            return Table("gpt", partitions, _short(raw, sector_bytes, medium_bytes))
    if not (primary_stands or backup_wanted):
        return None
    lost = _unread_primary(disk)
    how = f"lies on unread sectors (byte {lost[0][0]} and on)" if lost else "is damaged"
    for sector_bytes in SECTOR_SIZES:
        last = disk.size_bytes // sector_bytes - 1
        if last < 2:
            continue
        header = _header(disk.at(last * sector_bytes, 512), sector_bytes, last)
        partitions = None if header is None else _partitions(disk, header, check=True)
        if partitions is not None:
            return Table("gpt", partitions, (f"the primary GPT {how}: its backup at the end of the disk is used",))
    return _damaged(disk, lost) if primary_stands else None


def _short(header: bytes, sector_bytes: int, medium_bytes: int | None) -> tuple[str, ...]:
    """Section 5.3.2: AlternateLBA, where the backup header ends the disk."""
    (alternate,) = struct.unpack_from("<Q", header, 32)
    end_bytes = min(alternate + 1, FARTHEST) * sector_bytes
    sentence = shortness("GPT", end_bytes, medium_bytes) if medium_bytes is not None else ""
    return (sentence,) if sentence else ()


def _unread_primary(disk: Sample) -> Ranges:
    """Of the header and the 128 entries that every GPT has room for, wherever they are by the size of sectors."""
    first = disk.offset_bytes + SECTOR_SIZES[0]
    return within(disk.source.unread, first, min(first + TABLE_BYTES, disk.offset_bytes + disk.size_bytes))


def _damaged(disk: Sample, lost: Ranges) -> Table | None:
    """The primary copy without regard to checksums, when there is nothing better."""
    how = f"is damaged, has no backup, and {LOST_TABLE}" if lost else "is damaged and has no backup"
    for sector_bytes in SECTOR_SIZES:
        header = _header(disk.at(sector_bytes, 512), sector_bytes, None)
        partitions = None if header is None else _partitions(disk, header, check=False)
        if partitions or (lost and header is not None):
            return Table(
                "gpt", partitions or (), (f"the GPT {how}: its entries are used as they are",), bool(lost), lost
            )
    return None


def _header(raw: bytes, sector_bytes: int, own_sector: int | None) -> GptHeader | None:
    """None unless the signature is there and, where `own_sector` is given, checksum and place are right."""
    if raw[:8] != b"EFI PART":
        return None
    header_bytes, checksum = struct.unpack_from("<II", raw, 12)
    (at,) = struct.unpack_from("<Q", raw, 24)
    entries_at, count, entry_bytes, entries_crc = struct.unpack_from("<QIII", raw, 72)
    if not 92 <= header_bytes <= 512 or not 128 <= entry_bytes <= 4096:
        return None
    if own_sector is not None:
        blanked = raw[:16] + bytes(4) + raw[20:header_bytes]
        if at != own_sector or zlib.crc32(blanked) != checksum:
            return None
    return GptHeader(sector_bytes, entries_at, min(count, ENTRIES_LIMIT), entry_bytes, entries_crc)


def _partitions(disk: Sample, header: GptHeader, *, check: bool) -> tuple[Partition, ...] | None:
    """Section 5.3.3, "GPT Partition Entry Array"; None if the checksum is wrong or the place impossible."""
    position = header.entries_at * header.sector_bytes
    if position >= disk.size_bytes:
        return None
    length = header.entry_count * header.entry_bytes
    raw = disk.at(position, min(length, disk.size_bytes - position)).ljust(length, b"\0")
    if check and zlib.crc32(raw) != header.entries_crc:
        return None
    found: list[Partition] = []
    for start in range(0, len(raw), header.entry_bytes):
        first, last = struct.unpack_from("<QQ", raw, start + 32)
        if raw[start : start + 16] == bytes(16):
            continue
        name = str(uuid.UUID(bytes_le=raw[start : start + 16])).upper()
        kind = TYPES.get(name, f"type {name}")
        place = disk.offset_bytes + min(first, FARTHEST) * header.sector_bytes
        size = (last - first + 1) * header.sector_bytes
        if last < first or last >= FARTHEST:  # as far as it can reach: never left out
            size = max(disk.offset_bytes + disk.size_bytes - place, header.sector_bytes)
            kind = f"{kind}, whose end is damaged in the table"
        found.append(Partition(place, size, kind))
    return tuple(found)
