"""Hostile partition tables: counts of four billion, chains in rings, partitions that hold the disk they are on.

UEFI specification, section 5.3; for the MBR's chains of extended partitions, what every FDISK since DOS 3.3 writes.
"""

from __future__ import annotations

import struct

from hostile_cases import get, hostile, put
from hostile_repairs import gpt_headers

SECTOR = 512
MOST = 0xFFFFFFFF
ENTRIES_AT = 2 * SECTOR


class _Disk:
    """A bytearray as the repairs want it."""

    def __init__(self, image: bytearray) -> None:
        self._image = image

    def read(self, at: int, length: int) -> bytes:
        return bytes(self._image[at : at + length])

    def write(self, at: int, content: bytes) -> None:
        self._image[at : at + len(content)] = content


def _valid(image: bytearray) -> None:
    """Without the copy at the end, so that the damaged table is the only one; its checksums are right."""
    image[-SECTOR:] = bytes(SECTOR)
    gpt_headers(_Disk(image), (1,))


def _header(image: bytearray, field: int, form: str, value: int) -> None:
    put(image, form, SECTOR + field, value)
    _valid(image)


for name, (field, form, value) in {
    "entries_4_billion": (80, "<I", MOST),
    "entries_of_1_byte": (84, "<I", 1),
    "entries_of_2_gib": (84, "<I", 1 << 31),
    "entries_far_away": (72, "<Q", (1 << 63) - 1),
    "entries_in_the_header": (72, "<Q", 1),
    "copy_is_itself": (32, "<Q", 1),
    "usable_up_to_16_eib": (48, "<Q", (1 << 64) - 1),
    "header_of_4_gib": (12, "<I", MOST),
}.items():

    def _change(image: bytearray, what: tuple[int, str, int] = (field, form, value)) -> None:
        _header(image, *what)

    _change.__name__ = name
    hostile("gpt")(_change)


@hostile("gpt")
def partitions_that_are_the_disk(image: bytearray) -> None:
    entry = bytearray(image[ENTRIES_AT : ENTRIES_AT + 128])
    for index in range(128):
        put(entry, "<QQ", 32, index % 2, len(image) // SECTOR - 1)
        entry[16] = index
        image[ENTRIES_AT + 128 * index : ENTRIES_AT + 128 * (index + 1)] = entry
    _valid(image)


@hostile("gpt")
def partitions_that_end_before_they_begin(image: bytearray) -> None:
    put(image, "<QQ", ENTRIES_AT + 32, (1 << 64) - 1, 0)
    put(image, "<QQ", ENTRIES_AT + 128 + 32, 1600, (1 << 64) - 1)
    _valid(image)


@hostile("gpt")
def copy_far_away_and_table_damaged(image: bytearray) -> None:
    put(image, "<Q", SECTOR + 32, (1 << 63) - 1)
    put(image, "<I", SECTOR + 16, 0)
    image[-SECTOR:] = bytes(SECTOR)


def _entry(kind: int, start: int, count: int) -> bytes:
    return struct.pack("<B3xB3xII", 0, kind, start, count)


def _extended(image: bytearray) -> int:
    """First sector of the extended partition."""
    return next(get(image, "<I", at + 8) for at in range(446, 510, 16) if image[at + 4] == 5)


@hostile("mbr")
def chain_that_is_a_ring(image: bytearray) -> None:
    at = _extended(image) * SECTOR
    image[at + 462 : at + 478] = _entry(5, 0, 6000)


@hostile("mbr")
def chain_that_is_a_ring_of_two(image: bytearray) -> None:
    first = _extended(image)
    second = first + get(image, "<I", first * SECTOR + 462 + 8)
    image[second * SECTOR + 462 : second * SECTOR + 478] = _entry(5, 0, 6000)


@hostile("mbr")
def chain_that_leads_to_the_first_sector(image: bytearray) -> None:
    first = _extended(image)
    image[first * SECTOR + 462 : first * SECTOR + 478] = _entry(5, (1 << 32) - first, 6000)


@hostile("mbr")
def chain_of_every_sector(image: bytearray) -> None:
    """Each sector of the extended partition continues in the next and names a partition that begins in itself."""
    first = _extended(image)
    for sector in range(first, len(image) // SECTOR - 1):
        at = sector * SECTOR
        image[at + 446 : at + 512] = _entry(1, 0, MOST) + _entry(5, sector + 1 - first, MOST) + bytes(32) + b"\x55\xaa"


@hostile("mbr")
def four_extended_partitions_that_are_one(image: bytearray) -> None:
    first = _extended(image)
    image[446:510] = _entry(5, first, MOST) * 4
    at = first * SECTOR
    image[at + 446 : at + 510] = _entry(5, 0, MOST) * 4


@hostile("mbr")
def partitions_that_are_the_disk_again(image: bytearray) -> None:
    image[446:510] = _entry(0x83, 0, MOST) + _entry(7, 0, len(image) // SECTOR) + _entry(1, 1, MOST) * 2


@hostile("mbr")
def partitions_far_away(image: bytearray) -> None:
    image[446:510] = _entry(0x83, MOST, MOST) * 4
