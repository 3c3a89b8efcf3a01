"""An NTFS image with awkward files, and the truth about it out of ntfsinfo and The Sleuth Kit's own tools."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from damage_plans import Piece, TrueDirectory, TrueFile, TrueLink, Truth
from media_images import MIB, mounted_ntfs, noise, run, written

from ntt.ranges import Range, Ranges, difference, normalised

COMPRESSED = (0x810).to_bytes(4, "big")
PIECES = 400
SECTOR_BYTES = 512
ATTRIBUTE_LIST, DATA, INDEX_ROOT, INDEX_ALLOCATION = 0x20, 0x80, 0x90, 0xA0
ROOT = 5


def ntfs_image(image: Path, tree: Path) -> Path:
    """Clusters of 4 KiB and records of 1 KiB; `fragments` is named by several records, `packed/text` is compressed."""
    contents = {b"many/name number %03d of them" % number: noise(number * 7 % 900, number) for number in range(200)}
    contents |= {b"letters/%d.txt" % number: noise(5000 + number * 3001, 1000 + number) for number in range(15)}
    contents |= {b"large.bin": noise(900_000, 3), b"empty": b"", b"a/b/c/d/e/deepest": noise(9000, 4)}
    written(tree, contents)
    with image.open("wb") as file:
        file.truncate(32 * MIB)
    run("mkntfs", "-F", "-Q", "-q", image)
    with mounted_ntfs(image) as root:
        run("cp", "-a", f"{tree}/.", root)
        (root / "packed").mkdir()
        os.setxattr(root / "packed", "system.ntfs_attrib_be", COMPRESSED)
        (root / "packed" / "text").write_bytes(b"".join(b"%d, " % number for number in range(90_000)))
        (root / "letters" / "short link").symlink_to("1.txt")
        with (root / "fragments").open("wb") as file, (root / "between").open("wb") as other:
            for index in range(PIECES):
                os.pwrite(file.fileno(), noise(4096, index), index * 3 * 8192)
                os.pwrite(other.fileno(), noise(4096, PIECES + index), index * 3 * 8192)
    with _with_streams(image) as root:
        (root / "letters" / "1.txt:first").write_bytes(noise(150, 10))
        (root / "letters" / "1.txt:second").write_bytes(noise(200, 11))
        (root / "letters" / "2.txt:large").write_bytes(noise(20_000, 8))
        (root / "letters:of the folder").write_bytes(noise(300, 9))
    return image


@contextmanager
def _with_streams(image: Path) -> Iterator[Path]:
    """Mounted so that `file:stream` is a stream; nothing is left behind."""
    root = image.parent / f"{image.name}.streams"
    root.mkdir()
    device = run("losetup", "-f", "--show", image).strip()
    try:
        run("ntfs-3g", "-o", "streams_interface=windows", device, root)
        try:
            yield root
        finally:
            run("umount", root)
    finally:
        run("losetup", "-d", device)
        run("sync", "-f", image)
        root.rmdir()


# ---------------------------------------------------------------- the truth


@dataclass
class Attribute:
    """As ntfsinfo tells it: which record holds it and where, its runs (cluster of the file, of the volume, count)."""

    kind: int
    name: str
    record: int
    at: int
    length: int
    is_resident: bool
    size: int
    data_offset: int
    unit: int
    flags: int
    runs: list[tuple[int, int, int]]
    blocks: list[tuple[int, int]]  # of an index: (first cluster, bytes in use) of each block

    @property
    def value_at(self) -> int:
        return self.at + self.data_offset


@dataclass
class Record:
    """`used` are the bytes in use of the base record; `names` all that its file has."""

    number: int
    used: int
    names: tuple[str, ...]
    attributes: list[Attribute]

    def of(self, kind: int, name: str = "") -> list[Attribute]:
        return [one for one in self.attributes if (one.kind, one.name) == (kind, name)]


def record_of(image: Path, number: int) -> Record:
    told = run("ntfsinfo", "-f", "-v", "-i", str(number), image)
    head, *parts = re.split(r"^Dumping attribute ", told, flags=re.MULTILINE)
    behind: dict[int, int] = {}
    found: list[Attribute] = []
    for part in parts:
        title = re.match(r"\S+ \(0x([0-9a-f]+)\) from mft record (\d+)", part)
        assert title, part[:200]
        record = int(title[2])
        at = behind.setdefault(record, 56)
        length = _number(part, "Attribute length")
        behind[record] = at + length
        found.append(_attribute(part, int(title[1], 16), record, at, length))
    names = tuple(name for part in parts for name in re.findall(r"^\tFilename:\s+'(.*)'$", part, re.MULTILINE))
    return Record(number, _number(head, "Bytes Used"), names, found)


def _attribute(part: str, kind: int, record: int, at: int, length: int) -> Attribute:
    name = re.search(r"Attribute name:\s+'(.*)'", part)
    is_resident = bool(re.search(r"Resident:\s+Yes", part))
    runs = [
        (int(vcn, 16), int(lcn, 16), int(count, 16))
        for vcn, lcn, count in re.findall(r"^\s+(0x[0-9a-f]+)\s+(0x[0-9a-f]+)\s+(0x[0-9a-f]+)$", part, re.MULTILINE)
    ]
    blocks = [
        (_number(block, "Node VCN"), _number(block, "Index Size")) for block in part.split("Dumping index block:")[1:]
    ]
    return Attribute(
        kind,
        name[1] if name else "",
        record,
        at,
        length,
        is_resident,
        _number(part, "Data size", 0),
        _number(part, "Data offset", 0),
        _number(part, "Compression unit", 0),
        int((re.search(r"Attribute flags:\s+(0x[0-9a-f]+)", part) or ["", "0"])[1], 16),
        runs,
        blocks,
    )


def _number(text: str, name: str, otherwise: int | None = None) -> int:
    found = re.search(rf"^\s*{name}:\s+(\d+)", text, re.MULTILINE)
    if found is None:
        assert otherwise is not None, f"{name} is not in {text[:300]}"
        return otherwise
    return int(found[1])


class NtfsTruth:
    """Reads one image; `recovered` is made beside it."""

    def __init__(self, image: Path) -> None:
        self.image = image
        self.recovered = image.parent / f"{image.name}.recovered"
        told = run("ntfsinfo", "-f", "-m", image)
        self.cluster = _number(told, "Cluster Size")
        self.record_bytes = _number(told, "MFT Record Size")
        self.mirror_at = int(re.search(r"File_MFTMirr:\s+(\d+)", told)[1]) * self.cluster
        self.size_bytes = image.stat().st_size
        self.mft = record_of(image, 0)
        (table,) = self.mft.of(DATA)
        self.table = table
        self.records: dict[int, Record] = {}

    def truth(self) -> Truth:
        run("tsk_recover", "-a", self.image, self.recovered)
        files: dict[bytes, TrueFile] = {}
        directories = {b"": self._directory(self._record(ROOT))}
        links: dict[bytes, TrueLink] = {}
        for line in run("fls", "-rp", self.image).splitlines():
            found = re.match(r"([rd])/([rd]) (\d+)-(\d+)-(\d+):\t(.*)", line)
            if found is None or found[6].startswith("$"):
                continue
            number, name = int(found[3]), found[6].encode()
            record = self._record(number)
            if int(found[4]) == INDEX_ROOT:
                directories[name] = self._directory(record)
                continue
            stream = found[6].rpartition(":")[2] if ":" in found[6] else ""
            if "/.:" in found[6]:
                continue  # the folder's own stream a second time
            if stream or not record.of(DATA)[0].size:  # tsk_recover takes neither
                content = self._content(number, found[5], DATA)
            else:
                content = (self.recovered / found[6]).read_bytes()
            if content[:8] == b"IntxLNK\1":
                target = content[8:].decode("utf-16-le").encode()
                places = (*self._head(record, DATA, ""), *(piece.place for piece in self._pieces(record, "")))
                links[name] = TrueLink(target, (), tuple((place,) for place in places))
            else:
                records = tuple((place,) for place in self._head(record, DATA, stream))
                files[name] = TrueFile(content, tuple(self._pieces(record, stream)), records)
        for number in (*range(12), *(24, 25, 26)):
            self._record(number)
        return Truth(
            self.size_bytes,
            SECTOR_BYTES,
            files,
            directories,
            self._used(),
            difference(((0, self.size_bytes),), self._used()),
            account=tuple((place,) for place in (*self._head(self._record(6), DATA, ""), *self._clusters(6))),
            structures=self._structures(),
            doubtful=self._doubtful(),
            links=links,
        )

    def _record(self, number: int) -> Record:
        if number not in self.records:
            self.records[number] = record_of(self.image, number)
        return self.records[number]

    def place(self, number: int, start: int, end: int) -> Range:
        """Bytes of a record."""
        at = number * self.record_bytes
        for vcn, lcn, count in self.table.runs:
            if vcn * self.cluster <= at < (vcn + count) * self.cluster:
                first = lcn * self.cluster + at - vcn * self.cluster
                return first + start, first + end
        raise AssertionError(f"record {number} is not in the table")

    def _head(self, record: Record, kind: int, name: str) -> Iterator[Range]:
        """All that must be read to know how large an attribute is, and where it lies."""
        found = record.of(kind, name)
        listed = record.of(ATTRIBUTE_LIST)
        if listed:
            (only,) = listed
            yield self.place(record.number, 0, only.at + only.length)
            yield from ((start, min(end, start + only.size)) for start, end in self._runs(only))  # never over a cluster
        if not found:
            yield self.place(record.number, 0, record.used)
        for one in found:
            yield self.place(one.record, 0, one.value_at if one.is_resident else one.at + one.length)

    def _runs(self, attribute: Attribute) -> Iterator[Range]:
        for _, lcn, count in attribute.runs:
            yield lcn * self.cluster, (lcn + count) * self.cluster

    def _clusters(self, number: int) -> Iterator[Range]:
        for attribute in self._record(number).attributes:
            yield from self._runs(attribute)

    def _pieces(self, record: Record, stream: str) -> Iterator[Piece]:
        found = record.of(DATA, stream)
        if not found:
            return
        size = found[0].size
        for one in found:
            if one.is_resident:
                if size:
                    start, _ = self.place(one.record, one.value_at, one.value_at + size)
                    yield Piece(0, size, start)
            elif one.unit and one.flags & 1:
                yield from self._units(one, size)
            else:
                for vcn, lcn, count in one.runs:
                    length = min(count * self.cluster, size - vcn * self.cluster)
                    if length > 0:
                        yield Piece(vcn * self.cluster, length, lcn * self.cluster)

    def _units(self, attribute: Attribute, size: int) -> Iterator[Piece]:
        """A compressed file, each unit of which is one run here, or as many as a full one has."""
        unit = 1 << attribute.unit
        for vcn, lcn, count in attribute.runs:
            assert count <= unit and vcn % unit == 0, "the compressed file is fragmented"
            length = min(unit * self.cluster, size - vcn * self.cluster)
            image_length = count * self.cluster if count < unit else 0
            yield Piece(vcn * self.cluster, length, lcn * self.cluster, image_length)

    def _directory(self, record: Record) -> TrueDirectory:
        (root,) = record.of(INDEX_ROOT, "$I30")
        names = [self.place(root.record, root.value_at, root.value_at + root.size)]
        records = [(self.place(record.number, 0, root.value_at),)]
        for blocks in record.of(INDEX_ALLOCATION, "$I30"):
            records.append((self.place(record.number, 0, blocks.at + blocks.length),))
            for vcn, used in blocks.blocks:
                (start,) = (run[1] + vcn - run[0] for run in blocks.runs if run[0] <= vcn < run[0] + run[2])
                names.append((start * self.cluster, start * self.cluster + 24 + used))
        return TrueDirectory(normalised(names), tuple(records))

    def _content(self, number: int, attribute: str, kind: int) -> bytes:
        place = f"{number}-{kind}-{attribute}"
        return subprocess.run(["icat", str(self.image), place], capture_output=True, check=True).stdout

    def _used(self) -> Ranges:
        """$Bitmap, and the last sector, which belongs to no cluster."""
        bits = self._content(6, "1", DATA)
        clusters = (self.size_bytes - SECTOR_BYTES) // self.cluster
        found = [
            (one * self.cluster, (one + 1) * self.cluster) for one in range(clusters) if bits[one >> 3] >> (one & 7) & 1
        ]
        return normalised([*found, (clusters * self.cluster, self.size_bytes)])

    def _structures(self) -> tuple[tuple[Range, ...], ...]:
        """Without these nothing is read; both have their copies."""
        boot = (0, SECTOR_BYTES), (self.size_bytes - SECTOR_BYTES, self.size_bytes)
        first = self.place(0, 0, self.table.at + self.table.length)
        return boot, (first, (self.mirror_at, self.mirror_at + first[1] - first[0]))

    def _doubtful(self) -> Ranges:
        """Whole records and blocks of names: how much of them is in use stands in their first sectors."""
        found: list[Range] = []
        for record in self.records.values():
            found.append(self.place(record.number, 0, self.record_bytes))
            for attribute in record.attributes:
                if attribute.record != record.number:
                    found.append(self.place(attribute.record, 0, self.record_bytes))
                if attribute.kind == INDEX_ALLOCATION:
                    found.extend(self._runs(attribute))
        return normalised(found)
