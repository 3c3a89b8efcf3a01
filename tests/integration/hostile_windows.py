"""Hostile FAT, exFAT and NTFS: chains and directories that lead back to themselves, runs, lists and sizes that lie.

Microsoft, "FAT32 File System Specification", "exFAT file system specification"; Linux-NTFS, "NTFS Documentation".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from hostile_cases import get, hostile, put, variants

MOST = 0xFFFFFFFF
BIGGEST = (1 << 63) - 1


# ---------------------------------------------------------------- FAT


class Fat:
    """The tables and directories of a small image. Names are those of 8.3 records, eleven bytes."""

    def __init__(self, image: bytearray) -> None:
        self.image = image
        self.cluster = image[13] * 512
        self.fat_at = get(image, "<H", 14) * 512
        self.fat_bytes = (get(image, "<H", 22) or get(image, "<I", 36)) * 512
        self.root_bytes = get(image, "<H", 17) * 32
        self.root_at = self.fat_at + image[16] * self.fat_bytes
        self.data_at = self.root_at + self.root_bytes
        sectors = get(image, "<H", 19) or get(image, "<I", 32)
        clusters = (sectors * 512 - self.data_at) // self.cluster
        self.bits = 12 if clusters < 4085 else 16 if clusters < 65525 else 32
        self.root = get(image, "<I", 44) if self.bits == 32 else 0

    def at(self, cluster: int) -> int:
        return self.data_at + (cluster - 2) * self.cluster

    def set(self, cluster: int, value: int) -> None:
        """In every copy of the table."""
        for copy in range(self.image[16]):
            start = self.fat_at + copy * self.fat_bytes
            if self.bits == 12:
                at = start + cluster * 3 // 2
                old = get(self.image, "<H", at)
                put(self.image, "<H", at, (old & 15) | value << 4 if cluster & 1 else (old & 0xF000) | (value & 0xFFF))
            else:
                width = self.bits // 8
                put(self.image, "<H" if width == 2 else "<I", start + cluster * width, value)

    def next(self, cluster: int) -> int:
        """What the table says; 0 at the end of a chain."""
        if self.bits == 12:
            value = get(self.image, "<H", self.fat_at + cluster * 3 // 2)
            value = value >> 4 if cluster & 1 else value & 0xFFF
        else:
            value = get(self.image, "<H" if self.bits == 16 else "<I", self.fat_at + cluster * self.bits // 8)
        return value if value < (1 << min(self.bits, 28)) - 8 else 0

    def records(self, cluster: int) -> list[int]:
        """Offsets of the records of a folder; 0: of the root of FAT12 and FAT16."""
        if not cluster:
            return list(range(self.root_at, self.data_at, 32))
        found: list[int] = []
        while cluster:
            found += range(self.at(cluster), self.at(cluster) + self.cluster, 32)
            cluster = self.next(cluster)
        return found

    def find(self, *path: bytes) -> tuple[int, int]:
        """(offset of its record, its first cluster) of a path."""
        at, cluster = 0, self.root
        for name in path:
            short = [at for at in self.records(cluster) if self.image[at + 11] != 15]
            at = next(at for at in short if self.image[at : at + 11] == name)
            cluster = get(self.image, "<H", at + 26) | get(self.image, "<H", at + 20) << 16
        return at, cluster

    def point(self, record: int, cluster: int) -> None:
        put(self.image, "<H", record + 26, cluster & 0xFFFF)
        put(self.image, "<H", record + 20, cluster >> 16)


FATS = ("fat12", "fat16", "fat32")
FOLDER, DEEPER, DEEPEST = b"FOLDER     ", b"DEEPER     ", b"DEEPEST    "
BIG = b"BIG        "


@hostile(*FATS)
def directory_in_itself(image: bytearray) -> None:
    fat = Fat(image)
    fat.point(fat.find(FOLDER, DEEPER, DEEPEST)[0], fat.find(FOLDER, DEEPER)[1])


@hostile(*FATS)
def directory_holds_the_root(image: bytearray) -> None:
    fat = Fat(image)
    fat.point(fat.find(FOLDER, DEEPER, DEEPEST)[0], fat.root)


@hostile(*FATS)
def directory_holds_its_grandparent(image: bytearray) -> None:
    fat = Fat(image)
    fat.point(fat.find(FOLDER, DEEPER, DEEPEST)[0], fat.find(FOLDER)[1])


@hostile(*FATS)
def directory_chain_that_is_a_ring(image: bytearray) -> None:
    fat = Fat(image)
    cluster = fat.find(FOLDER)[1]
    fat.set(cluster, cluster)


@hostile(*FATS)
def file_chain_that_is_a_ring(image: bytearray) -> None:
    fat = Fat(image)
    record, cluster = fat.find(FOLDER, DEEPER, BIG)
    fat.set(cluster, cluster + 1)
    fat.set(cluster + 1, cluster)
    put(image, "<I", record + 28, MOST)


@hostile(*FATS)
def every_record_is_a_folder_with_the_same_clusters(image: bytearray) -> None:
    fat = Fat(image)
    cluster = fat.find(FOLDER)[1]
    for at in fat.records(cluster)[2:]:
        if image[at] and image[at + 11] != 15:
            image[at + 11] = 0x10
            fat.point(at, cluster)


@hostile("fat32")
def root_chain_that_is_a_ring(image: bytearray) -> None:
    fat = Fat(image)
    fat.set(fat.root, fat.root)


@hostile(*FATS)
def chains_that_all_lead_into_one(image: bytearray) -> None:
    fat = Fat(image)
    for cluster in range(2, 120):
        fat.set(cluster, 2 + cluster % 7)


@hostile(*FATS)
def long_names_without_end(image: bytearray) -> None:
    fat = Fat(image)
    for at in fat.records(fat.find(FOLDER)[1])[2:]:
        image[at] = 0x7F
        image[at + 11] = 15


FAT_FIELDS = {
    "sectors_per_cluster_0": (13, "<B", 0),
    "sectors_per_cluster_128": (13, "<B", 128),
    "reserved_65535": (14, "<H", 0xFFFF),
    "tables_255": (16, "<B", 255),
    "root_records_65535": (17, "<H", 0xFFFF),
    "sectors_4_billion": (32, "<I", MOST),
    "sector_size_1": (11, "<H", 1),
    "sector_size_4096": (11, "<H", 4096),
}
for base in FATS:
    variants(base, FAT_FIELDS)
variants("fat16", {"table_65535": (22, "<H", 0xFFFF)})
variants(
    "fat32",
    {
        "table_4_billion": (36, "<I", MOST),
        "root_cluster_0": (44, "<I", 0),
        "root_cluster_far_away": (44, "<I", 0x0FFFFFF0),
        "information_sector_65535": (48, "<H", 0xFFFF),
    },
)


# ---------------------------------------------------------------- exFAT


class ExFat:
    """Entry sets of a small image, found by their names."""

    def __init__(self, image: bytearray) -> None:
        self.image = image
        sector = 1 << image[108]
        self.cluster = sector << image[109]
        self.fat_at = get(image, "<I", 80) * sector
        self.heap_at = get(image, "<I", 88) * sector
        self.root = get(image, "<I", 96)

    def find(self, name: str) -> int:
        """Offset of the file record of a set whose first name record holds this name."""
        wanted = b"\xc1\0" + name.encode("utf-16-le").ljust(30, b"\0")
        return self.image.index(wanted) - 64

    def first(self, at: int) -> int:
        return get(self.image, "<I", at + 32 + 20)

    def stream(self, at: int, cluster: int, size: int | None = None, flags: int | None = None) -> None:
        """Changes the stream record, and makes the checksum of the set right."""
        put(self.image, "<I", at + 32 + 20, cluster)
        if size is not None:
            put(self.image, "<Q", at + 32 + 8, size)
            put(self.image, "<Q", at + 32 + 24, size)
        if flags is not None:
            self.image[at + 33] = flags
        total = 0
        for index in range(32 * (1 + self.image[at + 1])):
            if index not in (2, 3):
                total = ((total << 15 | total >> 1) & 0xFFFF) + self.image[at + index] & 0xFFFF
        put(self.image, "<H", at + 2, total)


@hostile("exfat")
def folder_in_itself(image: bytearray) -> None:
    fs = ExFat(image)
    fs.stream(fs.find("deepest"), fs.first(fs.find("deeper")))


@hostile("exfat")
def folder_holds_the_root(image: bytearray) -> None:
    fs = ExFat(image)
    fs.stream(fs.find("deepest"), fs.root)


@hostile("exfat")
def folder_of_8_eib_without_a_chain(image: bytearray) -> None:
    fs = ExFat(image)
    at = fs.find("folder")
    fs.stream(at, fs.first(at), BIGGEST, 3)


@hostile("exfat")
def file_of_8_eib_without_a_chain(image: bytearray) -> None:
    fs = ExFat(image)
    at = fs.find("big")
    fs.stream(at, fs.first(at), BIGGEST, 3)


@hostile("exfat")
def file_of_8_eib_in_a_ring(image: bytearray) -> None:
    fs = ExFat(image)
    at = fs.find("big")
    cluster = fs.first(at)
    put(image, "<I", fs.fat_at + 4 * cluster, cluster)
    fs.stream(at, cluster, BIGGEST, 1)


@hostile("exfat")
def every_chain_is_a_ring(image: bytearray) -> None:
    fs = ExFat(image)
    for cluster in range(2, 200):
        put(image, "<I", fs.fat_at + 4 * cluster, cluster)


@hostile("exfat")
def sets_of_256_records(image: bytearray) -> None:
    fs = ExFat(image)
    for name in ("folder", "deeper", "deepest", "big"):
        image[fs.find(name) + 1] = 255


variants(
    "exfat",
    {
        "sector_shift_255": (108, "<B", 255),
        "cluster_shift_255": (109, "<B", 255),
        "cluster_shift_25": (109, "<B", 16),
        "tables_255": (110, "<B", 255),
        "clusters_4_billion": (92, "<I", MOST),
        "heap_far_away": (88, "<I", MOST),
        "root_far_away": (96, "<I", MOST),
        "size_8_eib": (72, "<Q", BIGGEST),
    },
)


# ---------------------------------------------------------------- NTFS


class Ntfs:
    """Records of a small image whose master file table lies in one piece, at least at its beginning."""

    def __init__(self, image: bytearray) -> None:
        self.image = image
        self.cluster = get(image, "<H", 11) * image[13]
        self.table_at = get(image, "<Q", 48) * self.cluster

    def record(self, number: int) -> int:
        return self.table_at + 1024 * number

    def attributes(self, number: int) -> Iterator[tuple[int, int, int]]:
        """(kind, offset, length)"""
        at = self.record(number) + get(self.image, "<H", self.record(number) + 20)
        while (kind := get(self.image, "<I", at)) != MOST:
            length = get(self.image, "<I", at + 4)
            yield kind, at, length
            if not 16 <= length <= 1024:  # changed already
                return
            at += length

    def attribute(self, number: int, kind: int) -> int:
        return next(at for found, at, _ in self.attributes(number) if found == kind)

    def number(self, name: str) -> int:
        """The file with this name, by the name in its record."""
        wanted = name.encode("utf-16-le")
        for number in range(64, 200):
            if self.image[self.record(number) : self.record(number) + 4] != b"FILE":
                continue
            for kind, at, length in self.attributes(number):
                units = self.image[at + 24 + 64]
                if kind == 0x30 and units == len(name) and self.image[at + 24 + 66 : at + length].startswith(wanted):
                    return get(self.image, "<I", self.record(number) + 32) or number
        raise AssertionError(name)

    def index_entries(self, name: str) -> Iterator[int]:
        """Offsets of the entries of directories that have this name."""
        wanted = bytes((len(name), 0)) + name.encode("utf-16-le")
        at = -1
        while (at := self.image.find(wanted[:1], at + 1)) >= 0:
            entry = at - 16 - 64
            if self.image[at + 2 : at + 2 + 2 * len(name)] == wanted[2:] and entry > 0:
                length, key = struct.unpack_from("<HH", self.image, entry + 8)
                if key == 66 + 2 * len(name) and length >= 16 + key:
                    yield entry


@hostile("ntfs")
def index_names_its_own_directory(image: bytearray) -> None:
    ntfs = Ntfs(image)
    for entry in ntfs.index_entries("deepest"):
        put(image, "<I", entry, ntfs.number("deeper"))


@hostile("ntfs")
def index_names_the_root(image: bytearray) -> None:
    ntfs = Ntfs(image)
    for entry in ntfs.index_entries("deepest"):
        put(image, "<Q", entry, 5 | 5 << 48)


@hostile("ntfs")
def index_nodes_in_a_ring(image: bytearray) -> None:
    """Every subnode of every entry is the first node."""
    at = -1
    while (at := image.find(b"INDX", at + 1)) >= 0:
        put(image, "<B", at + 24 + 12, 1)
        entry, end = at + 24 + get(image, "<I", at + 24), at + 24 + get(image, "<I", at + 28)
        while entry + 16 <= min(end, at + 4000):
            length = get(image, "<H", entry + 8)
            if length < 16:
                break
            put(image, "<H", entry + 12, get(image, "<H", entry + 12) | 1)
            put(image, "<Q", entry + length - 8, 0)
            entry += length


@hostile("ntfs")
def attributes_of_length_0(image: bytearray) -> None:
    ntfs = Ntfs(image)
    for name in ("big", "pieces", "folder"):
        put(image, "<I", ntfs.attribute(ntfs.number(name), 0x30) + 4, 0)


@hostile("ntfs")
def attributes_of_4_gib(image: bytearray) -> None:
    ntfs = Ntfs(image)
    for name in ("big", "pieces", "folder"):
        put(image, "<I", ntfs.attribute(ntfs.number(name), 0x30) + 4, MOST)


def _runs(image: bytearray, name: str) -> int:
    ntfs = Ntfs(image)
    at = ntfs.attribute(ntfs.number(name), 0x80)
    return at + get(image, "<H", at + 32)


@hostile("ntfs")
def runs_of_8_eib(image: bytearray) -> None:
    for name in ("big", "pieces"):
        at = _runs(image, name)
        image[at : at + 10] = b"\x18" + struct.pack("<Q", BIGGEST) + b"\x04"


@hostile("ntfs")
def runs_before_the_volume_and_far_behind_it(image: bytearray) -> None:
    at = _runs(image, "pieces")
    image[at : at + 20] = b"\x81\x01" + struct.pack("<q", -BIGGEST) + b"\x81\x01" + struct.pack("<q", BIGGEST)
    at = _runs(image, "big")
    image[at : at + 4] = b"\x21\x45\x00\x80"


@hostile("ntfs")
def sizes_of_8_eib(image: bytearray) -> None:
    ntfs = Ntfs(image)
    for name in ("big", "pieces", "text"):
        put(image, "<QQQ", ntfs.attribute(ntfs.number(name), 0x80) + 40, BIGGEST, BIGGEST, BIGGEST)


@hostile("ntfs")
def negative_sizes(image: bytearray) -> None:
    ntfs = Ntfs(image)
    for name in ("big", "pieces", "text"):
        put(image, "<qqq", ntfs.attribute(ntfs.number(name), 0x80) + 40, -1, -1, -1)


@hostile("ntfs")
def units_of_2_to_the_65535(image: bytearray) -> None:
    ntfs = Ntfs(image)
    put(image, "<H", ntfs.attribute(ntfs.number("text"), 0x80) + 34, 0xFFFF)


@hostile("ntfs")
def compressed_unit_that_promises_more(image: bytearray) -> None:
    start = image.find(b"0, 1, 2")
    image[start - 3 : start + 40] = b"\xff\xbf" + b"\xff" * 41


@hostile("ntfs")
def attribute_list_of_its_own_record(image: bytearray) -> None:
    """Resident or not, every entry names the file's own record."""
    ntfs = Ntfs(image)
    number = ntfs.number("empty")
    at = ntfs.attribute(number, 0x20)
    start = at + get(image, "<H", at + 20)
    end = start + get(image, "<I", at + 16)
    if image[at + 8]:
        runs = at + get(image, "<H", at + 32)
        assert image[runs] in (0x21, 0x11)
        start = int.from_bytes(image[runs + 2 : runs + 2 + (image[runs] >> 4)], "little") * ntfs.cluster
        end = start + get(image, "<Q", at + 48)
    while start + 26 <= end:
        put(image, "<I", start + 16, number)
        start += get(image, "<H", start + 4)


@hostile("ntfs")
def table_that_is_its_own_first_record(image: bytearray) -> None:
    ntfs = Ntfs(image)
    at = ntfs.attribute(0, 0x80)
    runs = at + get(image, "<H", at + 32)
    first = get(image, "<Q", 48)
    image[runs : runs + 20] = (b"\x11\x01" + bytes((first,)) + b"\x11\x01\x00" * 5 + b"\0\0")[:20]


@hostile("ntfs")
def reparse_data_of_4_gib(image: bytearray) -> None:
    ntfs = Ntfs(image)
    number = ntfs.number("link")
    kinds = [kind for kind, _, _ in ntfs.attributes(number)]
    at = ntfs.attribute(number, 0xC0 if 0xC0 in kinds else 0x80)
    put(image, "<I", at + 16, MOST)


variants(
    "ntfs",
    {
        "record_size_0": (64, "<B", 0),
        "record_size_2_to_the_127": (64, "<B", 0x81),
        "record_size_64_kib": (64, "<b", -16),
        "index_size_0": (68, "<B", 0),
        "sectors_per_cluster_255": (13, "<B", 255),
        "sectors_per_cluster_0": (13, "<B", 0),
        "sector_size_65535": (11, "<H", 0xFFFF),
        "table_far_away": (48, "<Q", 1 << 62),
        "table_at_0": (48, "<Q", 0),
        "size_8_eib": (40, "<Q", BIGGEST),
    },
)
