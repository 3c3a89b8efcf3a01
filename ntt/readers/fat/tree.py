"""FAT12/16/32 and exFAT as a tree: entries from the directories, places from the allocation table.

Nothing here is The Sleuth Kit's but the numbers of the files: it reads the first table alone, whatever became of it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ntt.model import Extent, Structure, VolumeFacts, WalkProblem
from ntt.ranges import Range, Ranges, within
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.fat.boot import geometry_of
from ntt.readers.fat.chains import FatChains
from ntt.readers.fat.directories import Broken, FatEntry, Record, exfat_entries, fat_entries
from ntt.readers.fat.exfat_facts import exfat_facts
from ntt.readers.fat.facts import fat_facts
from ntt.readers.fat.places import Directory, FatPlaces, Placed
from ntt.readers.fat.records import FatRecords, Listing
from ntt.readers.fat.structures import FatStructures
from ntt.readers.fat.table import FatTable
from ntt.readers.nodes import Child, Content, Node, Tree
from ntt.readers.tsk_extents import HOLE, part_of

ROOT_INO = 2
FILE_MODE, DIRECTORY_MODE = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
NO_LABEL = b"NO NAME"
SHORTENED = "what stood before it was not read: if it had a long name, this is the short one"
CUT = "where it goes on was not read"


class FatTree:
    """An entry's number is the place of its record, so it is stable. ReadError if the file system is not taken."""

    def __init__(self, source: ImageSource, offset_bytes: int, size_bytes: int, fstype: str) -> None:
        self._source = source
        self._offset = offset_bytes
        self._geometry = geometry = geometry_of(source, offset_bytes, size_bytes, fstype)
        self.fstype = geometry.fstype
        self._is_exfat = geometry.fstype == "exfat"
        table = FatTable(source, offset_bytes, geometry)
        self._structures = FatStructures(source, offset_bytes, geometry, table)
        self._places = FatPlaces(offset_bytes, geometry, FatChains(table))
        self._records = FatRecords(source, offset_bytes, geometry, table)
        self.root_ino = ROOT_INO
        self._cut: dict[int, Ranges] = {}
        self._known_ino = -1
        self._known = _File(Content(0, 0, ""), Placed((), 0))
        self._root_label = self._label_in_root()
        self.label = self._label()

    def root(self) -> Node:
        return Node(DIRECTORY_MODE, 0, 0, 0, 0, 0, b"", -1)

    def children(self, ino: int) -> Iterator[Child | WalkProblem]:
        directory = self._directory(ino)
        records = Listing(self._records.of(directory.extents))
        first = b""
        for entry in exfat_entries(records) if self._is_exfat else fat_entries(records):
            first = first or (b"." if isinstance(entry, Broken) else entry.name)
            if isinstance(entry, Broken):
                detail = "its records are incomplete: a file or directory may be missing"
                yield WalkProblem("bad_record", self._records.ino(entry.position), b"", detail)
            elif not entry.is_label and entry.name not in (b".", b".."):
                number = self._records.ino(entry.position)
                if entry.may_be_short:
                    yield WalkProblem("bad_record", number, entry.name, SHORTENED)
                yield Child(entry.name, number, self._node(entry))
        if directory.cause and not records.is_ended:
            self._cut[ino] = directory.cause
            yield WalkProblem("directory_damaged", ino, b"", f"{CUT}: names may be missing")
        fault = directory.fault or self._false_start(ino, directory, first)
        if fault:
            yield WalkProblem("directory_damaged", ino, b"", f"{fault}: names may be missing")

    def _false_start(self, ino: int, directory: Directory, first: bytes) -> str:
        """`first` is the directory's first name."""
        if ino == self.root_ino or self._is_exfat or first == b".":
            return ""
        start = directory.extents[0].image_offset
        return "" if within(self._source.unread, start, start + 1) else "it does not begin with its own entry"

    def _directory(self, ino: int) -> Directory:
        """ReadError if there is nothing of it."""
        if ino == self.root_ino:
            return self._places.root()
        return self._places.directory(self._records.entry(ino))

    def content(self, ino: int) -> Content:
        return self._file(ino).content

    def _file(self, ino: int) -> _File:
        if ino != self._known_ino:
            self._known_ino = -1
            entry = self._records.entry(ino)
            self._known = _File(Content(entry.size, entry.valid_bytes, ""), self._places.file(entry))
            self._known_ino = ino
        return self._known

    def read(self, ino: int, offset: int, length: int) -> bytes:
        placed = self._file(ino).placed
        known = max(min(length, placed.known_bytes - offset), 0)
        parts: list[bytes] = []
        for piece in part_of(placed.extents, offset, known) if known else ():
            if piece.image_offset == HOLE:
                parts.append(bytes(piece.file_length))
                continue
            try:
                parts.append(self._source.read(piece.image_offset, piece.image_length))
            except (OSError, OverflowError) as error:
                raise ReadError(f"the image cannot be read at byte {piece.image_offset}: {error}") from None
        if known < length:
            parts.append(bytes(length - known))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def extents(self, ino: int) -> Sequence[Extent]:
        if ino != self._known_ino and (ino == self.root_ino or self._records.entry(ino).is_directory):
            return self._directory(ino).extents
        return self._file(ino).placed.extents

    def facts(self) -> VolumeFacts:
        if self._is_exfat:
            return exfat_facts(self._source, self._offset, self.label, self._root_records, self._geometry.boot_at)
        in_root = self._root_label.decode("cp437")
        return fat_facts(self._source, self._offset, self._geometry, self.label, in_root)

    def structures(self) -> Iterator[Structure]:
        yield from self._structures.before_clusters()
        for ino, cause in self._cut.items():
            yield from (Structure(start, end, "directory", ino) for start, end in cause)
        if self._is_exfat:
            for what, extents in self._structures.fixed(self._root_records()):
                yield from (
                    Structure(one.image_offset, one.image_offset + one.image_length, what, -1, True) for one in extents
                )

    def used(self) -> Iterator[Range] | None:
        return self._structures.used(self._bitmap() if self._is_exfat else ())

    def _bitmap(self) -> Sequence[Extent]:
        try:
            fixed = self._structures.fixed(self._root_records())
            return next((extents for what, extents in fixed if what == "allocation bitmap"), ())
        except ReadError:
            return ()

    def close(self) -> None:
        """Nothing is kept open: the image belongs to the caller."""

    def _node(self, entry: FatEntry) -> Node:
        mode = DIRECTORY_MODE if entry.is_directory else FILE_MODE
        first = self._places.first_byte(entry)
        return Node(mode, entry.size, entry.mtime_s, entry.mtime_ns, 0, 0, b"", first)

    def _root_records(self) -> Iterator[Record]:
        return self._records.of(self._directory(self.root_ino).extents)

    def _label_in_root(self) -> bytes:
        try:
            records = self._root_records()
            entries = exfat_entries(records) if self._is_exfat else fat_entries(records)
            return next((one.name for one in entries if isinstance(one, FatEntry) and one.is_label), b"")
        except ReadError:
            return b""

    def _label(self) -> str:
        """The root directory's label record, else the boot sector's."""
        label = self._root_label or self._geometry.label.rstrip(b" \0")
        if label == NO_LABEL:
            return ""
        return label.decode("utf-8" if self._is_exfat else "cp437", "replace")


class _File(NamedTuple):
    content: Content
    placed: Placed


def open_tree(source: ImageSource, offset_bytes: int, size_bytes: int, fstype: str) -> Tree:
    return FatTree(source, offset_bytes, size_bytes, fstype)
