"""FAT and exFAT media for planned damage, and where on them things lie: by mtools, The Sleuth Kit and exfatprogs.

Trees are `{path: content}`; all ranges are bytes of the image.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from damage_plans import Piece, Record, TrueDirectory, TrueFile, Truth
from damage_trial import Told
from media_images import run

from ntt.ranges import Range, Ranges, difference, normalised

MIB = 1 << 20
RECORD_BYTES = 32
FIRST_NUMBER = 3  # The Sleuth Kit's, of the first record that can lie in a directory
SECTOR = 512
MANY = 45
Tree = dict[bytes, bytes]


def tree_of(large_bytes: int) -> Tree:
    """Long names and short ones, a directory of several clusters, and one large file."""
    chance = random.Random(large_bytes)
    tree = {
        b"a name that needs more than two records.bin": 5000,
        b"PLAIN.TXT": 700,
        b"GAP.BIN": 3000,
        b"deep/inner/SMALL.TXT": 300,
        b"deep/inner/ONE.BIN": SECTOR,
        b"deep/EMPTY": 0,
        b"large file of many clusters": large_bytes,
    }
    tree |= {b"many/file number %02d of all of them.txt" % number: 40 * number + 1 for number in range(MANY)}
    return {path: chance.randbytes(size) for path, size in tree.items()}


def in_pieces(size: int = 9000) -> Tree:
    """A file that is written when `GAP.BIN` is gone."""
    return {b"file in several pieces.dat": random.Random(size).randbytes(size)}


def _directories(paths: Iterable[bytes]) -> list[bytes]:
    """Those above the paths, upper ones first, without the root."""
    found = {b"/".join(path.split(b"/")[:depth]) for path in paths for depth in range(1, path.count(b"/") + 1)}
    return sorted(found)


def fat_image(image: Path, bits: int, tree: Tree, source: Path, kib: int) -> Tree:
    """Clusters of one sector. Returns what it holds in the end."""
    run("mkfs.vfat", "-C", "-F", str(bits), "-s", "1", "-i", "12345678", "-n", "DAMAGED", image, str(kib))
    first = {path: content for path, content in tree.items() if b"/" not in path}
    _copied(image, first, source)
    run("mdel", "-i", image, "::/GAP.BIN")
    _copied(image, in_pieces(), source)
    for directory in _directories(tree):
        run("mmd", "-i", image, f"::/{directory.decode()}")
        below = {path: content for path, content in tree.items() if path.rpartition(b"/")[0] == directory}
        _copied(image, below, source)
    run("fsck.fat", "-n", image)
    return {path: content for path, content in (tree | in_pieces()).items() if path != b"GAP.BIN"}


def _copied(image: Path, tree: Tree, source: Path) -> None:
    """All of one directory, in the order of the tree."""
    if not tree:
        return
    paths = [source / path.decode() for path in tree]
    for path, content in zip(paths, tree.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    above = next(iter(tree)).rpartition(b"/")[0].decode()
    run("mcopy", "-i", image, *paths, f"::/{above}")


def exfat_image(image: Path, tree: Tree) -> Tree:
    """Clusters of 1 KiB, so that sets of records lie across their ends."""
    with image.open("wb") as file:
        file.truncate(8 * MIB)
    run("mkfs.exfat", "-c", "1K", "-L", "damaged", image)
    left = {path: content for path, content in (tree | in_pieces()).items() if path != b"GAP.BIN"}
    with _mounted_exfat(image) as root:
        for directory in _directories(tree):
            (root / directory.decode()).mkdir()
        for path, content in tree.items():
            (root / path.decode()).write_bytes(content)
        (root / "GAP.BIN").unlink()
        for path, content in in_pieces().items():
            (root / path.decode()).write_bytes(content)
    return left


@contextmanager
def _mounted_exfat(image: Path) -> Iterator[Path]:
    """Mounted for writing; nothing is left behind."""
    root = image.parent / f"{image.name}.mounted"
    root.mkdir()
    device = run("losetup", "-f", "--show", image).strip()
    try:
        run("mount.exfat-fuse", device, root)
        try:
            yield root
        finally:
            run("umount", root)
    finally:
        run("losetup", "-d", device)
        run("sync", "-f", image)  # the driver may still be closing the device
        root.rmdir()


@dataclass(frozen=True, slots=True)
class Known:
    """A truth, and by what name each path would be known if only the short records of it could be read."""

    truth: Truth
    shorts: dict[bytes, bytes]


class _Volume:
    """What the tools say of the volume that begins at `offset`."""

    def __init__(self, image: Path, offset: int, tree: Tree) -> None:
        self.image = image
        self.offset = offset
        self.tree = tree
        self._clusters: dict[bytes, list[int]] = {}
        self.raw = image.read_bytes()
        self.stat = self._sleuthkit("fsstat")
        self.is_exfat = "File System Type: exFAT" in self.stat
        self.cluster_bytes = int(self._said(r"Cluster Size: (\d+)")[0])
        self.heap = self._sectors("Cluster (?:Area|Heap)" if not self._is_fat32 else "Data Area")[0]
        self.area = self.heap if self.is_exfat else self._sectors("Data Area")[0]
        self.tables = [self._sectors(rf"FAT {number}") for number in (0, 1, 2) if f" FAT {number}: " in self.stat]
        self.bits = next(bits for name, bits in BITS.items() if f"File System Type: {name}" in self.stat)

    @property
    def _is_fat32(self) -> bool:
        return "File System Type: FAT32" in self.stat

    def _sleuthkit(self, *argv: str, number: int | None = None) -> str:
        of = () if number is None else (str(number),)
        return run(*argv, "-o", str(self.offset // SECTOR), self.image, *of)

    def _said(self, pattern: str) -> tuple[str, ...]:
        found = re.search(pattern, self.stat)
        assert found, f"fsstat does not say {pattern}"
        return found.groups()

    def _sectors(self, name: str) -> Range:
        first, last = self._said(rf"\*+ {name}: (\d+) - (\d+)")
        return self.offset + int(first) * SECTOR, self.offset + (int(last) + 1) * SECTOR

    def sector(self, name: str) -> Range:
        (number,) = self._said(rf"{name}: (\d+)")
        return self.offset + int(number) * SECTOR, self.offset + (int(number) + 1) * SECTOR

    @cached_property
    def numbers(self) -> dict[bytes, int]:
        """Of all names; those that the tool adds are left out."""
        lines = self._sleuthkit("fls", "-r", "-p", "-u").splitlines()
        found = [re.fullmatch(r"[rd]/[rd] (\d+):\t(.*)", line) for line in lines]
        names = {one[2].encode(): int(one[1]) for one in found if one and "Volume Label" not in one[2]}
        return {path: number for path, number in names.items() if not path.startswith(b"$")}

    def clusters(self, path: bytes) -> list[int]:
        if path not in self._clusters:
            self._clusters[path] = self._told_clusters(path)
        return self._clusters[path]

    def _told_clusters(self, path: bytes) -> list[int]:
        if not self.is_exfat:
            drive = f"{self.image}@@{self.offset}"
            said = run("mshowfat", "-i", drive, f"::/{path.decode()}").replace(f"::/{path.decode()}", "")
            runs = re.findall(r"<(\d+)(?:-(\d+))?>", said)
            return [one for first, last in runs for one in range(int(first), int(last or first) + 1)]
        told = self._sleuthkit("istat", number=self.numbers[path] if path else 2).partition("Sectors:")[2]
        heap = (self.heap - self.offset) // SECTOR
        every = self.cluster_bytes // SECTOR
        return list(dict.fromkeys(2 + (int(one) - heap) // every for one in told.split() if int(one)))

    def place(self, cluster: int) -> Range:
        start = self.heap + (cluster - 2) * self.cluster_bytes
        return start, start + self.cluster_bytes

    def entries(self, clusters: Iterable[int]) -> tuple[Record, ...]:
        """What the tables say of the clusters."""
        return tuple(
            tuple(
                (table + cluster * self.bits // 8, table + ((cluster + 1) * self.bits + 7) // 8)
                for table, _ in self.tables
            )
            for cluster in clusters
        )

    def names_of(self, path: bytes) -> list[Range]:
        """A directory's list of names, in its order."""
        if not path and not self.is_exfat and not self._is_fat32:
            return [self._sectors("Root Directory")]
        return [self.place(one) for one in self.directory_clusters(path)]

    def directory_clusters(self, path: bytes) -> list[int]:
        if path or self.is_exfat:
            return self.clusters(path)
        if not self._is_fat32:
            return []
        first, last = self._sectors("Root Directory")
        assert last - first == self.cluster_bytes or self.cluster_bytes == SECTOR
        return list(range((first - self.heap) // SECTOR + 2, (last - self.heap) // SECTOR + 2))

    def entry(self, path: bytes) -> list[int]:
        """Where the records of a name lie, in the order of the directory."""
        above = path.rpartition(b"/")[0]
        every = [at for start, end in self.names_of(above) for at in range(start, end, RECORD_BYTES)]
        index = every.index(self.area + (self.numbers[path] - FIRST_NUMBER) * RECORD_BYTES)
        if self.is_exfat:
            return every[index : index + 1 + self.raw[every[index] + 1]]
        first = index
        while first and self.raw[every[first - 1] + 11] == 0x0F and self.raw[every[first - 1]] != 0xE5:
            first -= 1
        return every[first : index + 1]

    def has_chain(self, path: bytes) -> bool:
        return not self.is_exfat or not self.raw[self.entry(path)[1] + 1] & 2

    def short(self, path: bytes) -> bytes:
        """Empty if it has no other name."""
        if self.is_exfat or len(self.entry(path)) < 2:
            return b""
        found = re.search(r"^Name: (.*)$", self._sleuthkit("istat", number=self.numbers[path]), re.MULTILINE)
        assert found
        return found[1].encode()


BITS = {"FAT12": 12, "FAT16": 16, "FAT32": 32, "exFAT": 32}


def known(image: Path, tree: Tree, offset: int = 0) -> Known:
    volume = _Volume(image, offset, tree)
    paths = _directories(tree)
    files = {path: _file(volume, path, content) for path, content in tree.items()}
    directories = {path: _directory(volume, path) for path in (b"", *paths)}
    assert set(volume.numbers) == {*files, *paths}, "the tools list another tree"
    owned = [volume.clusters(path) for path in tree] + [volume.directory_clusters(path) for path in directories]
    fixed, structures, account = _fixed(volume)
    in_use = normalised((*fixed, *(volume.place(one) for clusters in owned for one in clusters)))
    truth = Truth(
        len(volume.raw),
        SECTOR,
        files,
        directories,
        in_use,
        difference(((volume.heap, volume.place(_last(volume))[1]),), in_use),
        account,
        structures,
        spare=_spare(volume),
        table=((0, SECTOR),) if offset else (),
        doubtful=normalised((*volume.tables, *(place for record in structures for place in record))),
    )
    return Known(truth, {path: short for path in volume.numbers if (short := volume.short(path))})


def _last(volume: _Volume) -> int:
    found = re.search(r"Cluster Range: \d+ - (\d+)", volume.stat)
    assert found
    return int(found[1])


def _bytes(records: Iterable[int]) -> Ranges:
    return normalised((at, at + RECORD_BYTES) for at in records)


def _file(volume: _Volume, path: bytes, content: bytes) -> TrueFile:
    clusters = volume.clusters(path)
    size = volume.cluster_bytes
    pieces = tuple(
        Piece(at, min(size, len(content) - at), volume.place(cluster)[0])
        for at, cluster in zip(range(0, len(content), size), clusters, strict=True)
    )
    held = b"".join(volume.raw[piece.image_offset : piece.image_offset + piece.length] for piece in pieces)
    assert held == content, f"the tools find {path!r} elsewhere"
    records = volume.entries(clusters[:-1]) if clusters and volume.has_chain(path) else ()
    return TrueFile(content, pieces, records, _bytes(volume.entry(path)))


def _directory(volume: _Volume, path: bytes) -> TrueDirectory:
    has_chain = not path or volume.has_chain(path)
    records = volume.entries(volume.directory_clusters(path)) if has_chain else ()
    entry = _bytes(volume.entry(path)) if path else ()
    return TrueDirectory(normalised(volume.names_of(path)), records, entry)


def _spare(volume: _Volume) -> Ranges:
    start = volume.offset
    if volume.is_exfat:
        return ((start + SECTOR, start + 24 * SECTOR),)
    return (volume.sector("FS Info Sector"), volume.sector("Backup Boot Sector")) if volume.bits == 32 else ()


def _fixed(volume: _Volume) -> tuple[list[Range], tuple[Record, ...], tuple[Record, ...]]:
    """What is always in use, without what nothing can be read, and where is kept what is in use."""
    tables = tuple(volume.tables)
    if volume.is_exfat:
        boots = (volume.sector(r"Boot Sector \(MBR\)"), volume.sector(r"Backup Boot Sector \(MBR\)"))
        said = run("dump.exfat", volume.image)
        kept = [_kept(volume, said, "Bitmap"), _kept(volume, said, "Upcase table")]
        root = volume.names_of(b"")[0]
        places = [boots[0][0], *(end for _, end in kept)]
        regions = (places[0], places[0] + 24 * SECTOR)
        clusters = [(start, -(-end // volume.cluster_bytes) * volume.cluster_bytes) for start, end in kept]
        return [regions, *tables, *clusters], (boots,), ((kept[0],), (root,))
    boots = (volume.sector("Boot Sector"),)
    if volume.bits == 32:
        boots = (*boots, volume.sector("Backup Boot Sector"))
        return [*boots, volume.sector("FS Info Sector"), *tables], (boots,), (tables,)
    return [*boots, *tables, *volume.names_of(b"")], (boots,), (tables,)


def _kept(volume: _Volume, said: str, name: str) -> Range:
    first = re.search(rf"{name} start cluster:\s+(\d+)", said)
    size = re.search(rf"{name} size:\s+(\d+)", said)
    assert first and size
    start = volume.place(int(first[1]))[0]
    return start, start + int(size[1])


def under_full_names(known: Known, told: Told) -> tuple[Told, list[str]]:
    """What was told, each thing under its full name; and the short names that were told as if they were all right."""
    below: dict[tuple[bytes, bytes], bytes] = {}
    for path, short in known.shorts.items():
        below[path.rpartition(b"/")[0], short] = path
    said = {problem.name for _, problem in told.problems if problem.kind == "bad_record"}
    silent: list[str] = []

    def full(path: bytes) -> bytes:
        at = b""
        for name in path.split(b"/") if path else ():
            meant = below.get((at, name))
            if meant is not None and name not in said:
                silent.append(f"{path!r} is told by its short name, and nothing is said of it")
            at = meant if meant is not None else (at + b"/" + name if at else name)
        return at

    files = {(volume, full(path)): file for (volume, path), file in told.files.items()}
    directories = {number: full(path) for number, path in told.directories.items()}
    return replace(told, files=files, directories=directories), silent


def sectors_of(places: Iterable[Range]) -> Ranges:
    return normalised((start // SECTOR * SECTOR, -(-end // SECTOR) * SECTOR) for start, end in places)


def rotted(image: Path, bad: Ranges, copy: Path) -> Path:
    """The image with something else where it is bad, as if it had been used before."""
    raw = bytearray(image.read_bytes())
    for start, end in bad:
        raw[start:end] = b"\xe5\x41\x0f\x01" * ((end - start) // 4)
    copy.write_bytes(raw)
    return copy
