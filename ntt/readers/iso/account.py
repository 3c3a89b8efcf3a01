"""What a walk met of an ISO 9660 session -> the bytes that are the file system itself, and those that are in use."""

from __future__ import annotations

from collections.abc import Iterator

from ntt.model import Structure
from ntt.ranges import Range, Ranges, difference, normalised
from ntt.readers.base import ImageSource
from ntt.readers.iso.records import SECTOR_BYTES
from ntt.readers.iso.trees import OtherTrees
from ntt.readers.iso.volume import FIRST_DESCRIPTOR, IsoVolume, descriptor_area
from ntt.readers.taken import Taken

_BOOT_SYSTEM = b"EL TORITO SPECIFICATION"
_BOOT_ENTRY, _VIRTUAL_SECTOR = 32, 512
_FLOPPIES = {1: 1_228_800, 2: 1_474_560, 3: 2_949_120}  # El Torito 1.0, figure 4: what is emulated
_BOOTABLE = 0x88
_PATH_TABLES = (("little", 140), ("little", 144), ("big", 148), ("big", 152))
_MOST_PATH_TABLE = 64 << 20
_LOST_AREAS = 10_000  # continuation areas whose files are kept
_PRIMARY, _SUPPLEMENTARY = 1, 2


class Account:
    """Filled by one walk; places are bytes of the image. Holds the directories, and ranges of everything else."""

    def __init__(self) -> None:
        self.contents = Taken()
        self.spare_areas = Taken()  # continuation areas of what is said elsewhere too
        self.is_complete = True  # every record of the tree was met and understood
        self._areas = Taken()
        self._lost_areas: list[tuple[int, int, int]] = []
        self._directories: list[tuple[int, int, int]] = []

    def directory(self, ino: int, start: int, size_bytes: int) -> None:
        self._directories.append((start, start + size_bytes, ino))

    def continuation(self, ino: int, start: int, end: int, lost: Ranges) -> None:
        self._areas.add(start, end)
        if len(self._lost_areas) < _LOST_AREAS:
            self._lost_areas.extend((low, high, ino) for low, high in lost)

    def structures(self) -> Iterator[Structure]:
        """Directories and continuation areas; what was not read of the latter with the file that it belongs to."""
        for start, end, ino in self._directories:
            yield Structure(start, end, "directory", ino)
        for start, end, ino in self._lost_areas:
            yield Structure(start, end, "continuation area", ino)
        told = normalised((start, end) for start, end, _ in self._lost_areas)
        for start, end in difference(self._areas.ranges(), told):
            yield Structure(start, end, "continuation area")
        for start, end in difference(self.spare_areas.ranges(), normalised((*told, *self._areas.ranges()))):
            yield Structure(start, end, "continuation area", spare=True)


def fixed_structures(source: ImageSource, volume: IsoVolume, trees: OtherTrees) -> Iterator[Structure]:
    """What is found without the records of the tree that is read. OSError as `ImageSource.read`."""
    start = volume.geometry.offset_bytes + volume.session_bytes
    yield Structure(start, start + FIRST_DESCRIPTOR * SECTOR_BYTES, "system area", spare=True)
    area = descriptor_area(source, start)
    primary_there = any(sector[:6] == b"\x01CD001" for _, sector in area)
    may_be_primary = not primary_there
    for position, sector in area:
        may_be_primary &= not any(sector)
        spare = not may_be_primary and sector[:1] != bytes((volume.kind,))
        yield Structure(position, position + SECTOR_BYTES, "volume descriptor", spare=spare)
        if sector[0] in (_PRIMARY, _SUPPLEMENTARY):
            yield from _path_tables(volume, sector)
        elif not sector[0] and sector[7 : 7 + len(_BOOT_SYSTEM)] == _BOOT_SYSTEM:
            yield from _boot(source, volume, int.from_bytes(sector[71:75], "little"))
    for low, high in volume.missed if primary_there else ():
        yield Structure(low, high, "root directory")
    if volume.session_bytes:  # of overwritable media: a copy of the newest ones, and where the first one's are kept
        first = volume.geometry.offset_bytes
        for at in (first, first + 2 * FIRST_DESCRIPTOR * SECTOR_BYTES):
            for position, _ in descriptor_area(source, at):
                yield Structure(position, position + SECTOR_BYTES, "volume descriptor", spare=True)
    for low, high in trees.places[0]:
        yield Structure(low, high, "directory of the other tree", spare=not volume.missed)


def used_ranges(structures: Iterator[Structure], account: Account, trees: OtherTrees) -> Ranges:
    """Sectors that a record of either tree names, and the structures."""
    places = [(one.start - one.start % SECTOR_BYTES, -(-one.end // SECTOR_BYTES) * SECTOR_BYTES) for one in structures]
    return normalised((*places, *account.contents.ranges(), *trees.places[1]))


def whole_space(source: ImageSource, volume: IsoVolume) -> Range:
    """From the disc's start, which later sessions refer to, to the end that the session claims."""
    counts_from = 0 if volume.size_bytes > volume.session_bytes else volume.session_bytes
    start = volume.geometry.offset_bytes
    return start, start + counts_from + volume.size_bytes if volume.size_bytes else source.size_bytes


def _path_tables(volume: IsoVolume, descriptor: bytes) -> Iterator[Structure]:
    """ECMA-119, 8.4.14 to 8.4.18: two of each byte order; the directories say the same."""
    size_bytes = min(int.from_bytes(descriptor[132:136], "little"), _MOST_PATH_TABLE)
    for order, at in _PATH_TABLES:
        block = int.from_bytes(descriptor[at : at + 4], "little" if order == "little" else "big")
        if block and size_bytes:
            yield _blocks(volume, block, size_bytes, "path table")


def _boot(source: ImageSource, volume: IsoVolume, block: int) -> Iterator[Structure]:
    """El Torito 1.0, section 2: the catalog, and the images that it names; a file of the tree may be the same."""
    yield _blocks(volume, block, 1, "boot catalog")
    geometry = volume.geometry
    catalog = source.read(geometry.offset_bytes + block * geometry.block_bytes, SECTOR_BYTES)
    for at in range(_BOOT_ENTRY, SECTOR_BYTES, _BOOT_ENTRY):
        entry = catalog[at : at + _BOOT_ENTRY]
        sectors, place = int.from_bytes(entry[6:8], "little"), int.from_bytes(entry[8:12], "little")
        if entry[0] == _BOOTABLE and geometry.inside(place, 1):
            yield _blocks(volume, place, _FLOPPIES.get(entry[1] & 15, sectors * _VIRTUAL_SECTOR) or 1, "boot image")


def _blocks(volume: IsoVolume, block: int, size_bytes: int, what: str) -> Structure:
    start = volume.geometry.offset_bytes + block * volume.geometry.block_bytes
    return Structure(start, start + -(-size_bytes // SECTOR_BYTES) * SECTOR_BYTES, what, spare=True)
