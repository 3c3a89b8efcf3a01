"""Apple partition map -> its partitions with files; what the map keeps for itself is mentioned only."""

from __future__ import annotations

import struct
from collections import Counter

from ntt.ranges import Range, normalised, within
from ntt.readers.detection.samples import Sample
from ntt.readers.detection.tables import LOST_TABLE, Partition, Table

BLOCK_SIZES = (512, 2048, 1024, 4096)
ENTRIES_LIMIT = 256
UNREAD_FIRST = 16  # entries before the first that was read, which says how many there are
ENTRY_BYTES = 512  # as Apple's own programs read and write them; what counts are the first 80
WITHOUT_FILES = ("Apple_partition_map", "Apple_Free", "Apple_Void", "Apple_Extra", "Apple_Scratch", "Apple_Patches")
DRIVERS = "Apple_Driver"


def read_apple_map(disk: Sample) -> Table | None:
    """Inside Macintosh: Devices, "SCSI Manager": block 0 begins with "ER" and its block size, each entry with "PM".

    A CD may carry two maps, of 512 and of 2048 bytes a block: what only the second names follows the first's.
    The driver map may be missing: an entry for the map itself is enough, and any of Apple's where that is unread.
    Where nothing but the driver map was read, the table is there, without partitions.
    """
    first = disk.at(0, 4)
    stated = struct.unpack_from(">H", first, 2)[0] if first[:2] == b"ER" else 0
    sizes = dict.fromkeys((stated, *BLOCK_SIZES) if stated in BLOCK_SIZES else BLOCK_SIZES)
    partitions: dict[int, Partition] = {}
    left_out: Counter[str] = Counter()
    stands = False
    lost: list[Range] = []
    known: set[int] = set()  # places of entries: those of one map may look like a second one
    for block_bytes in sizes:
        entries, unread = _entries(disk, block_bytes, known)
        is_map = first[:2] == b"ER" or any(
            kind == WITHOUT_FILES[0] or (unread and _is_apple(kind)) for kind, *_ in entries
        )
        if not entries or not (stands or is_map):
            continue
        for kind, name, start, blocks in entries:
            if kind in WITHOUT_FILES or kind.startswith(DRIVERS):
                left_out[kind] += 0 if stands else 1
            elif blocks:
                what = f"{kind} “{name}”" if name else kind
                place = disk.offset_bytes + start * block_bytes
                partitions.setdefault(place, Partition(place, blocks * block_bytes, what, is_doubtful=stands))
        lost = lost if stands else unread
        stands = True
    if not stands:
        return _unread_map(disk, stated)
    kept = ", ".join(f"{count} {kind}" for kind, count in left_out.items() if count)
    remarks = [f"partitions of the Apple map that hold no files: {kept}"] if kept else []
    if lost:
        remarks.append(f"of the Apple partition map, {len(lost)} entries are not known: a part of it {LOST_TABLE}")
    return Table("apm", tuple(partitions.values()), tuple(remarks), bool(lost), normalised(lost))


def _unread_map(disk: Sample, stated: int) -> Table | None:
    """A driver map behind which no entry was read."""
    lost = _entries(disk, stated, set())[1] if stated in BLOCK_SIZES else []
    if not lost:
        return None
    return Table("apm", (), (f"the Apple partition map {LOST_TABLE}",), True, normalised(lost))


def _is_apple(kind: str) -> bool:
    return kind.startswith("Apple_")


def _entries(disk: Sample, block_bytes: int, known: set[int]) -> tuple[list[tuple[str, str, int, int]], list[Range]]:
    """(type, name, first block, blocks) of each entry that is not known yet, and where in the image others are unread.

    As far as the map goes on; each entry says how many there are.
    """
    found: list[tuple[str, str, int, int]] = []
    unread: list[Range] = []
    count = 0
    number = 1
    while number <= min(count or UNREAD_FIRST, ENTRIES_LIMIT):
        place = number * block_bytes
        entry = disk.at(place, 80)
        if entry[:2] == b"PM":
            count, start, blocks = struct.unpack_from(">III", entry, 4)
            if place not in known:
                found.append((_text(entry[48:80]), _text(entry[16:48]), start, blocks))
                known.add(place)
        elif entry and within(disk.source.unread, disk.offset_bytes + place, disk.offset_bytes + place + 80):
            unread.append((disk.offset_bytes + place, disk.offset_bytes + place + ENTRY_BYTES))
        else:
            break
        number += 1
    return found, unread


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("mac_roman")
