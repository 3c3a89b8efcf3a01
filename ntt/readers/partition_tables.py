"""Partition tables -> where partitions lie: GPT from either of its two copies, MBR with its chain of logical ones."""

from __future__ import annotations

import struct
import uuid
import zlib
from dataclasses import dataclass
from typing import NamedTuple

from ntt.readers.base import ImageSource

MBR_SECTOR = 512
EXTENDED = (0x05, 0x0F, 0x85)
PROTECTIVE = 0xEE
LOGICAL_LIMIT = 512  # logical partitions of one chain
GPT_SECTORS = (512, 4096)
GPT_ENTRIES_LIMIT = 1024
MBR_TYPES = {
    0x07: "NTFS, exFAT or HPFS",
    0x27: "hidden NTFS",
    0x42: "Windows dynamic disk",
    0x82: "Linux swap or Solaris",
    0x83: "Linux",
    0x8E: "Linux LVM",
    0xA5: "FreeBSD",
    0xA6: "OpenBSD",
    0xA8: "Apple UFS",
    0xA9: "NetBSD",
    0xAF: "Apple HFS",
    0xBF: "Solaris",
    0xEF: "EFI system",
    0xFD: "Linux RAID",
}
GPT_TYPES = {
    "E3C9E316-0B5C-4DB8-817D-F92DF00215AE": "Microsoft reserved",
    "21686148-6449-6E6F-744E-656564454649": "BIOS boot",
    "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7": "Windows data",
    "C12A7328-F81F-11D2-BA4B-00A0C93EC93B": "EFI system",
    "0FC63DAF-8483-4772-8E79-3D69D8477DE4": "Linux",
    "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F": "Linux swap",
    "E6D6D379-F507-44C2-A23C-238F2A3DF928": "Linux LVM",
    "A19D880F-05FC-4D3B-A006-743F0F84911E": "Linux RAID",
    "48465300-0000-11AA-AA11-00306543ECAC": "Apple HFS+",
    "7C3457EF-0000-11AA-AA11-00306543ECAC": "Apple APFS",
}
WITHOUT_FILES = ("Microsoft reserved", "BIOS boot")  # by definition


@dataclass(frozen=True, slots=True)
class Partition:
    """One entry of a table; bytes in the image, `kind` as its type reads for people."""

    offset_bytes: int
    size_bytes: int
    kind: str


@dataclass(frozen=True, slots=True)
class Table:
    """Partitions in the order of the table, empty entries left out, and remarks about the table itself."""

    scheme: str
    partitions: tuple[Partition, ...]
    remarks: tuple[str, ...]


def read_table(source: ImageSource) -> Table | None:
    """GPT if either copy of it stands, else MBR; None without a table. OSError if the image cannot be read."""
    mbr = _mbr_entries(source.read(0, MBR_SECTOR))
    is_protective = any(entry.kind == PROTECTIVE for entry in mbr or ())
    gpt = _read_gpt(source, backup_wanted=is_protective or not mbr)
    if gpt is not None:
        if any(entry.kind != PROTECTIVE for entry in mbr or ()):
            remark = "a hybrid disk: the MBR names partitions too; those of the GPT are used"
            return Table(gpt.scheme, gpt.partitions, (*gpt.remarks, remark))
        return gpt
    if mbr is None:
        return None
    remarks = ["the GPT that this disk's MBR announces is damaged in both places"] if is_protective else []
    return _read_mbr(source, [entry for entry in mbr if entry.kind != PROTECTIVE], remarks)


class MbrEntry(NamedTuple):
    """A used slot of a boot record; sectors of 512 bytes, relative as the record has it."""

    kind: int
    first: int
    sectors: int


def _mbr_entries(sector: bytes) -> list[MbrEntry] | None:
    """The four slots at byte 446; None if the sector is no boot record. (IBM PC, "Master Boot Record".)"""
    if sector[510:512] != b"\x55\xaa":
        return None
    slots = [sector[446 + 16 * index : 462 + 16 * index] for index in range(4)]
    if any(slot[0] & 0x7F for slot in slots):
        return None  # boot code or text where the activity flags should be
    entries = [MbrEntry(slot[4], *struct.unpack_from("<II", slot, 8)) for slot in slots]
    return [entry for entry in entries if entry.kind and entry.sectors]


def _read_mbr(source: ImageSource, entries: list[MbrEntry], remarks: list[str]) -> Table:
    """Primary partitions in slot order, then the logical ones in the order of their chain."""
    partitions = [_mbr_partition(entry, 0) for entry in entries if entry.kind not in EXTENDED]
    for entry in entries:
        if entry.kind in EXTENDED:
            logical, problem = _logical_partitions(source, entry.first)
            partitions.extend(logical)
            if problem:
                remarks.append(problem)
    return Table("mbr", tuple(partitions), tuple(remarks))


def _mbr_partition(entry: MbrEntry, base: int) -> Partition:
    name = MBR_TYPES.get(entry.kind)
    kind = f"type 0x{entry.kind:02x}" + (f", {name}" if name else "")
    return Partition((base + entry.first) * MBR_SECTOR, entry.sectors * MBR_SECTOR, kind)


def _logical_partitions(source: ImageSource, base: int) -> tuple[list[Partition], str]:
    """The chain of boot records inside an extended partition; its links count from the extended partition's start."""
    found: list[Partition] = []
    visited: set[int] = set()
    at = base
    while True:
        if at in visited:
            return found, f"the chain of logical partitions runs in a circle after {len(found)} partitions"
        if len(visited) >= LOGICAL_LIMIT:
            return found, f"the chain of logical partitions was left after {LOGICAL_LIMIT} links"
        visited.add(at)
        entries = _mbr_entries(source.read(at * MBR_SECTOR, MBR_SECTOR))
        if entries is None:
            return found, f"the chain of logical partitions breaks off at byte {at * MBR_SECTOR}"
        found.extend(_mbr_partition(entry, at) for entry in entries if entry.kind not in EXTENDED)
        link = next((entry for entry in entries if entry.kind in EXTENDED), None)
        if link is None:
            return found, ""
        at = base + link.first


class GptHeader(NamedTuple):
    """UEFI specification, section 5.3.2, "GPT Header"; the fields that lead to the entries."""

    sector_bytes: int
    entries_at: int
    entry_count: int
    entry_bytes: int
    entries_crc: int


def _read_gpt(source: ImageSource, *, backup_wanted: bool) -> Table | None:
    """The first copy whose header and entries agree with their checksums."""
    primary_stands = False
    for sector_bytes in GPT_SECTORS:
        raw = source.read(sector_bytes, 512)
        primary_stands = primary_stands or raw[:8] == b"EFI PART"
        header = _gpt_header(raw, sector_bytes, 1)
        partitions = None if header is None else _gpt_partitions(source, header, check=True)
        if partitions is not None:
            return Table("gpt", partitions, ())
    if not (primary_stands or backup_wanted):
        return None
    for sector_bytes in GPT_SECTORS:
        last = source.size_bytes // sector_bytes - 1
        if last < 2:
            continue
        header = _gpt_header(source.read(last * sector_bytes, 512), sector_bytes, last)
        partitions = None if header is None else _gpt_partitions(source, header, check=True)
        if partitions is not None:
            return Table("gpt", partitions, ("the primary GPT is damaged: its backup at the end of the disk is used",))
    return _damaged_gpt(source) if primary_stands else None


def _damaged_gpt(source: ImageSource) -> Table | None:
    """The primary copy without regard to checksums, when there is nothing better."""
    for sector_bytes in GPT_SECTORS:
        header = _gpt_header(source.read(sector_bytes, 512), sector_bytes, None)
        partitions = None if header is None else _gpt_partitions(source, header, check=False)
        if partitions:
            return Table("gpt", partitions, ("the GPT is damaged and has no backup: its entries are used as they are",))
    return None


def _gpt_header(raw: bytes, sector_bytes: int, own_sector: int | None) -> GptHeader | None:
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
    return GptHeader(sector_bytes, entries_at, min(count, GPT_ENTRIES_LIMIT), entry_bytes, entries_crc)


def _gpt_partitions(source: ImageSource, header: GptHeader, *, check: bool) -> tuple[Partition, ...] | None:
    """Section 5.3.3, "GPT Partition Entry Array"; None if the checksum is wrong or the place impossible."""
    position = header.entries_at * header.sector_bytes
    if position >= source.size_bytes:
        return None
    raw = source.read(position, header.entry_count * header.entry_bytes)
    if check and zlib.crc32(raw) != header.entries_crc:
        return None
    found: list[Partition] = []
    for start in range(0, len(raw), header.entry_bytes):
        first, last = struct.unpack_from("<QQ", raw, start + 32)
        if raw[start : start + 16] == bytes(16) or last < first or last >= 1 << 50:
            continue
        kind = str(uuid.UUID(bytes_le=raw[start : start + 16])).upper()
        size = (last - first + 1) * header.sector_bytes
        found.append(Partition(first * header.sector_bytes, size, GPT_TYPES.get(kind, f"type {kind}")))
    return tuple(found)
