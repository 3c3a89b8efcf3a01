"""Boot record -> primary partitions, and the chain of logical ones inside an extended partition."""

from __future__ import annotations

import struct
from typing import NamedTuple

from ntt.ranges import Range, Ranges, normalised, within
from ntt.readers.detection.expected_size import shortness
from ntt.readers.detection.samples import Sample
from ntt.readers.detection.tables import BEYOND_END, LOST_TABLE, Partition, Table

SECTOR_BYTES = 512
EXTENDED = (0x05, 0x0F, 0x85)
PROTECTIVE = 0xEE
LOGICAL_LIMIT = 512  # logical partitions of one chain
TYPES = {
    0x07: "NTFS, exFAT or HPFS",
    0x0A: "OS/2 boot manager",
    0x17: "hidden NTFS, exFAT or HPFS",
    0x27: "hidden NTFS",
    0x42: "Windows dynamic disk",
    0x63: "Unix System V",
    0x82: "Linux swap or Solaris",
    0x83: "Linux",
    0x8E: "Linux LVM",
    0xA5: "FreeBSD",
    0xA6: "OpenBSD",
    0xA8: "Apple UFS",
    0xA9: "NetBSD",
    0xAB: "Apple boot",
    0xAF: "Apple HFS",
    0xBF: "Solaris",
    0xCD: "ISO 9660",
    0xEB: "BeOS",
    0xEF: "EFI system",
    0xFB: "VMware VMFS",
    0xFD: "Linux RAID",
}


class MbrEntry(NamedTuple):
    """A used slot of a boot record; sectors of 512 bytes, relative as the record has it."""

    kind: int
    first: int
    sectors: int


def mbr_entries(sector: bytes) -> list[MbrEntry] | None:
    """The four slots at byte 446; None if the sector is no boot record. (IBM PC, "Master Boot Record".)"""
    if sector[510:512] != b"\x55\xaa":
        return None
    slots = [sector[446 + 16 * index : 462 + 16 * index] for index in range(4)]
    if any(slot[0] & 0x7F for slot in slots):
        return None  # boot code or text where the activity flags should be
    entries = [MbrEntry(slot[4], *struct.unpack_from("<II", slot, 8)) for slot in slots]
    return [entry for entry in entries if entry.kind and entry.sectors]


def read_mbr(disk: Sample, entries: list[MbrEntry], remarks: list[str], medium_bytes: int | None = None) -> Table:
    """Primary partitions in slot order, then the logical ones in the order of their chain.

    `medium_bytes` as for `read_gpt`: an extended partition is no volume, but may say that the medium goes on.
    """
    partitions = [_partition(disk, entry, 0) for entry in entries if entry.kind not in EXTENDED]
    is_partial = False
    lost: list[Range] = []
    for entry in entries:
        if entry.kind in EXTENDED:
            logical, problem, missed = _logical_partitions(disk, entry.first)
            is_partial |= LOST_TABLE in problem
            partitions.extend(logical)
            lost.extend(missed)
            end_bytes = (entry.first + entry.sectors) * SECTOR_BYTES
            short = "" if medium_bytes is None else shortness("partition table", end_bytes, medium_bytes)
            remarks.extend(filter(None, (problem, short)))
    return Table("mbr", tuple(partitions), tuple(remarks), is_partial, normalised(lost))


def _partition(disk: Sample, entry: MbrEntry, base: int) -> Partition:
    name = TYPES.get(entry.kind)
    kind = f"type 0x{entry.kind:02x}" + (f", {name}" if name else "")
    start = disk.offset_bytes + (base + entry.first) * SECTOR_BYTES
    return Partition(start, entry.sectors * SECTOR_BYTES, kind)


def _logical_partitions(disk: Sample, base: int) -> tuple[list[Partition], str, Ranges]:
    """The chain of boot records inside an extended partition; its links count from the extended partition's start.

    With it what is wrong with the chain, and the place in the image of the record that could not be read.
    """
    found: list[Partition] = []
    visited: set[int] = set()
    at = base
    while True:
        if at in visited:
            return found, f"the chain of logical partitions runs in a circle after {len(found)} partitions", ()
        if len(visited) >= LOGICAL_LIMIT:
            return found, f"the chain of logical partitions was left after {LOGICAL_LIMIT} links", ()
        visited.add(at)
        entries = mbr_entries(disk.at(at * SECTOR_BYTES, SECTOR_BYTES))
        if entries is None:
            return found, *_broken(disk, disk.offset_bytes + at * SECTOR_BYTES)
        found.extend(_partition(disk, entry, at) for entry in entries if entry.kind not in EXTENDED)
        link = next((entry for entry in entries if entry.kind in EXTENDED), None)
        if link is None:
            return found, "", ()
        at = base + link.first


def _broken(disk: Sample, place: int) -> tuple[str, Ranges]:
    """Why there is no record at this place of the image, and its bytes if that is for want of them."""
    end, size_bytes = place + SECTOR_BYTES, disk.source.size_bytes
    if end > size_bytes:
        return f"the chain of logical partitions breaks off at byte {place}, which {BEYOND_END}", ((place, end),)
    if lost := within(disk.source.unread, place, end):
        return f"the chain of logical partitions goes on at byte {place}, which {LOST_TABLE}", lost
    return f"the chain of logical partitions breaks off at byte {place}", ()
