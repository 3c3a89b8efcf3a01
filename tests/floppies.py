"""Small FAT12 images, written by the test itself in no time: files in the root directory, one entry each."""

from __future__ import annotations

from collections.abc import Sequence

SECTOR = 512
RESERVED, FATS, ROOT_ENTRIES = 1, 2, 64
FIRST_INODE = 3  # of the Sleuth Kit: the first entry of the root directory, and so on


def fat12_floppy(files: Sequence[tuple[str, bytes]], total_sectors: int, serial: int) -> bytes:
    """The image of (NAME, content) pairs; the name has at most eight characters, and no extension.

    Microsoft, "FAT: General Overview of On-Disk Format" 1.03: boot sector, two tables of 12-bit entries, root
    directory, clusters of one sector.
    """
    fat_sectors = -(-(total_sectors + 2) * 3 // 2 // SECTOR)
    clusters = total_sectors - RESERVED - FATS * fat_sectors - ROOT_ENTRIES * 32 // SECTOR
    chain: list[int] = [0xFF0, 0xFFF]
    root, data = bytearray(), bytearray()
    for name, content in files:
        first = len(chain) if content else 0
        count = -(-len(content) // SECTOR)
        chain += [*range(len(chain) + 1, len(chain) + count), 0xFFF] if count else []
        data += content.ljust(count * SECTOR, b"\0")
        root += name.encode().ljust(11) + b"\x20" + bytes(10) + bytes(2) + b"\x21\x28" + first.to_bytes(2, "little")
        root += len(content).to_bytes(4, "little")
    assert len(chain) - 2 <= clusters, "the files do not fit"
    assert len(root) <= ROOT_ENTRIES * 32, "too many files"
    boot = bytearray(SECTOR)
    boot[0:11] = b"\xeb\x3c\x90MSDOS5.0"
    boot[11:13] = SECTOR.to_bytes(2, "little")
    boot[13] = 1
    boot[14:16] = RESERVED.to_bytes(2, "little")
    boot[16] = FATS
    boot[17:19] = ROOT_ENTRIES.to_bytes(2, "little")
    boot[19:21] = total_sectors.to_bytes(2, "little")
    boot[21] = 0xF0
    boot[22:24] = fat_sectors.to_bytes(2, "little")
    boot[24:28] = (9).to_bytes(2, "little") + (2).to_bytes(2, "little")
    boot[38] = 0x29
    boot[39:43] = serial.to_bytes(4, "little")
    boot[43:62] = b"NO NAME    FAT12   "
    boot[510:512] = b"\x55\xaa"
    table = bytearray(fat_sectors * SECTOR)
    for number, value in enumerate(chain):
        at, shift = number * 3 // 2, 4 * (number % 2)
        pair = int.from_bytes(table[at : at + 2], "little") | value << shift
        table[at : at + 2] = pair.to_bytes(2, "little")
    image = bytes(boot) + bytes(table) * FATS + bytes(root).ljust(ROOT_ENTRIES * 32, b"\0") + bytes(data)
    return image.ljust(total_sectors * SECTOR, b"\0")
