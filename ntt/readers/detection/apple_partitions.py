"""Apple partition map -> its partitions with files; what the map keeps for itself is mentioned only."""

from __future__ import annotations

import struct
from collections import Counter

from ntt.readers.detection.samples import Sample
from ntt.readers.detection.tables import Partition, Table

BLOCK_SIZES = (512, 2048, 1024, 4096)
ENTRIES_LIMIT = 256
WITHOUT_FILES = ("Apple_partition_map", "Apple_Free", "Apple_Void", "Apple_Extra", "Apple_Scratch", "Apple_Patches")
DRIVERS = "Apple_Driver"


def read_apple_map(disk: Sample) -> Table | None:
    """Inside Macintosh: Devices, "SCSI Manager": block 0 begins with "ER" and its block size, each entry with "PM".

    A CD may carry two maps, of 512 and of 2048 bytes a block: what only the second names follows the first's.
    The driver map may be missing: an entry for the map itself is enough.
    """
    first = disk.at(0, 4)
    stated = struct.unpack_from(">H", first, 2)[0] if first[:2] == b"ER" else 0
    sizes = dict.fromkeys((stated, *BLOCK_SIZES) if stated in BLOCK_SIZES else BLOCK_SIZES)
    partitions: dict[int, Partition] = {}
    left_out: Counter[str] = Counter()
    stands = False
    known: set[int] = set()  # places of entries: those of one map may look like a second one
    for block_bytes in sizes:
        entries = _entries(disk, block_bytes, known)
        if not entries or not (stands or first[:2] == b"ER" or any(kind == WITHOUT_FILES[0] for kind, *_ in entries)):
            continue
        for kind, name, start, blocks in entries:
            if kind in WITHOUT_FILES or kind.startswith(DRIVERS):
                left_out[kind] += 0 if stands else 1
            elif blocks:
                what = f"{kind} “{name}”" if name else kind
                place = disk.offset_bytes + start * block_bytes
                partitions.setdefault(place, Partition(place, blocks * block_bytes, what, is_doubtful=stands))
        stands = True
    if not stands:
        return None
    kept = ", ".join(f"{count} {kind}" for kind, count in left_out.items() if count)
    remarks = (f"partitions of the Apple map that hold no files: {kept}",) if kept else ()
    return Table("apm", tuple(partitions.values()), remarks)


def _entries(disk: Sample, block_bytes: int, known: set[int]) -> list[tuple[str, str, int, int]]:
    """(type, name, first block, blocks) of each entry that is not known yet, as far as the map goes on."""
    found: list[tuple[str, str, int, int]] = []
    count = 1
    number = 1
    while number <= min(count, ENTRIES_LIMIT):
        entry = disk.at(number * block_bytes, 80)
        if entry[:2] != b"PM":
            break
        count, start, blocks = struct.unpack_from(">III", entry, 4)
        if number * block_bytes not in known:
            found.append((_text(entry[48:80]), _text(entry[16:48]), start, blocks))
            known.add(number * block_bytes)
        number += 1
    return found


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("mac_roman")
