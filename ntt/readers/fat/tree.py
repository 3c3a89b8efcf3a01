"""FAT12/16/32 and exFAT as a tree: entries from the raw directories, chains and contents through The Sleuth Kit."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence

from ntt.model import Extent, Structure, VolumeFacts, WalkProblem
from ntt.ranges import Range
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.boot_sectors import exfat_geometry, fat_variant
from ntt.readers.fat.chains import FatChains
from ntt.readers.fat.directories import (
    EXFAT_NO_CHAIN,
    RECORD_BYTES,
    Broken,
    FatEntry,
    Record,
    exfat_entries,
    fat_entries,
)
from ntt.readers.fat.exfat_facts import exfat_facts
from ntt.readers.fat.facts import fat_facts
from ntt.readers.nodes import Child, Content, Node, Tree
from ntt.readers.tsk_extents import HOLE, run_extents
from ntt.readers.tsk_volume import TskVolume

CONTENT = frozenset({1})
FIRST_INO = 3  # The Sleuth Kit numbers 32-byte records from here, beginning at the directory area
READ_AT_ONCE = 1 << 16
FILE_MODE, DIRECTORY_MODE = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
NO_LABEL = b"NO NAME"


class FatTree:
    """An entry's number is the place of its record, so it is stable. ReadError if the file system is not taken."""

    def __init__(self, source: ImageSource, offset_bytes: int, size_bytes: int, fstype: str) -> None:
        self._source = source
        self._is_exfat = fstype == "exfat"
        try:
            geometry = (
                exfat_geometry(source.read(offset_bytes, 512))
                if self._is_exfat
                else fat_variant(lambda position, length: source.read(offset_bytes + position, length))
            )
        except ValueError as error:
            raise ReadError(f"the boot sector is damaged: {error}") from None
        if geometry is None:
            raise ReadError("the boot sector is damaged")
        self._geometry = geometry
        self.fstype = geometry.fstype
        self._chains = FatChains(source, offset_bytes, geometry)
        self._volume = TskVolume(source, offset_bytes, size_bytes, geometry.fstype)
        self.root_ino = self._volume.root_ino
        self._root_label = self._label_in_root()
        self.label = self._label()

    def root(self) -> Node:
        return Node(DIRECTORY_MODE, 0, 0, 0, 0, 0, b"", -1)

    def children(self, ino: int) -> Iterator[Child | WalkProblem]:
        first = b""
        for entry in self._entries(ino):
            first = first or (b"." if isinstance(entry, Broken) else entry.name)
            if isinstance(entry, Broken):
                detail = "its records are incomplete: a file or directory may be missing"
                yield WalkProblem("bad_record", self._ino(entry.position), b"", detail)
            elif not entry.is_label and entry.name not in (b".", b".."):
                yield Child(entry.name, self._ino(entry.position), self._node(entry))
        fault = self._fault(ino, first)
        if fault:
            yield WalkProblem("directory_damaged", ino, b"", f"{fault}: names may be missing")

    def _fault(self, ino: int, first: bytes) -> str:
        """What tells that a directory is not whole; `first` is its first name."""
        if ino == self.root_ino:
            cluster = self._geometry.root_cluster
            return self._chains.fault(cluster) if cluster else ""
        record = self._source.read(self._position(ino), 2 * RECORD_BYTES)
        if self._is_exfat:
            stated = int.from_bytes(record[RECORD_BYTES + 20 : RECORD_BYTES + 24], "little")
            return "" if record[RECORD_BYTES + 1] & EXFAT_NO_CHAIN else self._chains.fault(stated)
        fault = self._chains.fault(self._cluster(int.from_bytes(record[26:28] + record[20:22], "little")))
        return fault or ("" if first == b"." else "it does not begin with its own entry")

    def _cluster(self, stated: int) -> int:
        """OS/2 kept something else in the upper half on FAT12 and FAT16."""
        return stated & (0xFFFF if self.fstype in ("fat12", "fat16") else 0xFFFFFFFF)

    def content(self, ino: int) -> Content:
        size = self._volume.size(ino)
        if not self._is_exfat:
            return Content(size, size, "")
        entry = next(exfat_entries(self._records_from(self._position(ino))), None)
        if isinstance(entry, Broken):
            entry = None
        if entry is None and not size:
            raise ReadError("its records go on in another cluster, or are damaged")
        if entry is None or entry.is_label or entry.is_directory:
            return Content(size, size, "")
        if entry.size != size:
            raise ReadError(f"its records contradict each other: {entry.size} bytes, and {size}")
        return Content(size, min(entry.valid_bytes, size), "")

    def read(self, ino: int, offset: int, length: int) -> bytes:
        return self._volume.read(ino, offset, length)

    def extents(self, ino: int) -> Sequence[Extent]:
        runs = self._volume.runs(ino, CONTENT)
        has_entry = self._is_exfat and ino != self.root_ino
        content = self.content(ino) if has_entry else Content(self._volume.size(ino), self._volume.size(ino), "")
        size = content.size
        if size and not runs:
            raise ReadError("the file has no cluster chain")
        covered = sum(run.blocks for run in runs or []) * self._volume.block_size
        if covered < size:
            raise ReadError(f"its cluster chain ends {size - covered} bytes early")
        return run_extents(runs or [], self._volume.block_size, self._volume.offset_bytes, size, content.valid_bytes)

    def facts(self) -> VolumeFacts:
        source, offset = self._source, self._volume.offset_bytes
        if self._is_exfat:
            return exfat_facts(source, offset, self.label, self._root_records)
        return fat_facts(source, offset, self._geometry, self.label, self._root_label.decode("cp437"))

    def structures(self) -> Iterator[Structure]:
        return iter(())  # none of them is known

    def used(self) -> Iterator[Range] | None:
        return None

    def close(self) -> None:
        self._volume.close()

    def _entries(self, ino: int) -> Iterator[FatEntry | Broken]:
        records = self._records(self._directory_extents(ino))
        return exfat_entries(records) if self._is_exfat else fat_entries(records)

    def _directory_extents(self, ino: int) -> Sequence[Extent]:
        runs = self._volume.runs(ino, CONTENT)
        if not runs:
            raise ReadError("the directory has no cluster chain")
        size = sum(run.blocks for run in runs) * self._volume.block_size
        return run_extents(runs, self._volume.block_size, self._volume.offset_bytes, size)

    def _records(self, extents: Sequence[Extent]) -> Iterator[Record]:
        for extent in extents:
            if extent.image_offset == HOLE:
                continue
            for start in range(0, extent.image_length, READ_AT_ONCE):
                length = min(READ_AT_ONCE, extent.image_length - start)
                yield from self._records_at(extent.image_offset + start, length)

    def _records_at(self, position: int, length: int) -> Iterator[Record]:
        try:
            content = self._source.read(position, length)
        except (OSError, OverflowError) as error:
            raise ReadError(f"the image cannot be read at byte {position}: {error}") from None
        for at in range(0, length - RECORD_BYTES + 1, RECORD_BYTES):
            yield Record(position + at, content[at : at + RECORD_BYTES])

    def _records_from(self, position: int) -> Iterator[Record]:
        """One entry's own records, its set of at most 19 cut at the end of its cluster."""
        cluster = self._geometry.cluster_bytes
        in_area = position - self._volume.offset_bytes - self._geometry.clusters_at
        return self._records_at(position, min(19 * RECORD_BYTES, cluster - in_area % cluster))

    def _ino(self, position: int) -> int:
        return FIRST_INO + (position - self._volume.offset_bytes - self._geometry.directory_area) // RECORD_BYTES

    def _position(self, ino: int) -> int:
        in_area = (ino - FIRST_INO) * RECORD_BYTES
        return self._volume.offset_bytes + self._geometry.directory_area + in_area

    def _node(self, entry: FatEntry) -> Node:
        first = -1
        cluster = self._cluster(entry.first_cluster)
        if entry.size and cluster >= 2:
            in_area = (cluster - 2) * self._geometry.cluster_bytes
            first = self._volume.offset_bytes + self._geometry.clusters_at + in_area
        mode = DIRECTORY_MODE if entry.is_directory else FILE_MODE
        return Node(mode, entry.size, entry.mtime_s, entry.mtime_ns, 0, 0, b"", first)

    def _root_records(self) -> Iterator[Record]:
        return self._records(self._directory_extents(self.root_ino))

    def _label_in_root(self) -> bytes:
        try:
            found = (entry for entry in self._entries(self.root_ino) if isinstance(entry, FatEntry))
            return next((entry.name for entry in found if entry.is_label), b"")
        except ReadError:
            return b""

    def _label(self) -> str:
        """The root directory's label record, else the boot sector's."""
        label = self._root_label or self._geometry.label.rstrip(b" \0")
        if label == NO_LABEL:
            return ""
        return label.decode("utf-8" if self._is_exfat else "cp437", "replace")


def open_tree(source: ImageSource, offset_bytes: int, size_bytes: int, fstype: str) -> Tree:
    return FatTree(source, offset_bytes, size_bytes, fstype)
