"""NTFS as a tree: names, runs, contents through The Sleuth Kit; times, links, small files from the raw records."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence

import pytsk3

from ntt.model import Extent, Structure, VolumeFacts, WalkProblem
from ntt.ranges import Range
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.boot_sectors import ntfs_geometry
from ntt.readers.nodes import Child, Content, Node, Tree
from ntt.readers.ntfs.facts import ntfs_facts
from ntt.readers.ntfs.links import (
    FLAG_ENCRYPTED,
    FLAG_REPARSE,
    FLAG_SYSTEM,
    Special,
    dos_attributes,
    interix_file,
    reparse_point,
)
from ntt.readers.ntfs.plain import PlainFile, plain_file
from ntt.readers.ntfs.records import ATTRIBUTE_LIST, DATA, VOLUME_NAME, DataPlace, MasterFileTable, MftRecord, Summary
from ntt.readers.ntfs.streams import NtfsStreams, is_stream
from ntt.readers.tsk_extents import compressed_extents, run_extents
from ntt.readers.tsk_volume import TskVolume

DATA_KIND, INDEX_KIND, REPARSE_KIND = (frozenset({kind}) for kind in (DATA, 0xA0, 0xC0))
FIRST_USER_RECORD = 16
VOLUME_RECORD = 3
NAME_ALLOCATED = int(pytsk3.TSK_FS_NAME_FLAG_ALLOC)
META_ALLOCATED = int(pytsk3.TSK_FS_META_FLAG_ALLOC)
META_DIRECTORY = int(pytsk3.TSK_FS_META_TYPE_DIR)
META_VIRTUAL = frozenset({int(pytsk3.TSK_FS_META_TYPE_VIRT), int(pytsk3.TSK_FS_META_TYPE_VIRT_DIR)})
FILE_MODE, DIRECTORY_MODE = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
INTERIX_LIMIT = 8 + 2 * 4096
REPARSE_LIMIT = 16384 + 8


class NtfsTree:
    """ReadError if the boot sector is damaged or The Sleuth Kit does not take the file system."""

    def __init__(self, source: ImageSource, offset_bytes: int, size_bytes: int) -> None:
        try:
            geometry = ntfs_geometry(source.read(offset_bytes, 512))
        except ValueError as error:
            raise ReadError(f"the boot sector is damaged: {error}") from None
        self.fstype = "ntfs"
        self._volume = TskVolume(source, offset_bytes, size_bytes, "ntfs")
        self.root_ino = self._volume.root_ino
        runs = self._volume.runs(0, DATA_KIND)
        if not runs:
            raise ReadError("the master file table has no runs")
        extents = run_extents(runs, self._volume.block_size, offset_bytes, self._volume.size(0))
        self._records = MasterFileTable(source, extents, geometry.record_bytes)
        self._streams = NtfsStreams(self._volume, self._records)
        self._last_plain: tuple[int, PlainFile | None] | None = None
        self.label = self._label()

    def root(self) -> Node:
        seconds, nanoseconds, _ = self._records.record(self.root_ino).standard()
        return Node(DIRECTORY_MODE, 0, seconds, nanoseconds, 0, 0, b"", -1)

    def children(self, ino: int) -> Iterator[Child | WalkProblem]:
        if ino == self.root_ino:
            record = self._records.record(ino)
            yield from self._streams.children(b"", ino, record, record.standard())  # `:STREAM` in the root itself
        for entry in self._volume.names(ino):
            name, meta = entry.info.name, entry.info.meta
            if name is None or not int(name.flags) & NAME_ALLOCATED or name.name in (b".", b".."):
                continue
            if ino == self.root_ino and name.meta_addr < FIRST_USER_RECORD and name.name[:1] == b"$":
                continue
            if meta is None:
                yield WalkProblem("bad_record", name.meta_addr, name.name, "its record cannot be read")
                continue
            if int(meta.type) in META_VIRTUAL or not int(meta.flags) & META_ALLOCATED:
                continue
            try:
                record = self._records.record(meta.addr)
                summary = record.summary()
                yield Child(name.name, meta.addr, self._node(meta, summary))
                if summary.may_have_streams:
                    yield from self._streams.children(name.name, meta.addr, record, summary.standard)
            except ReadError as error:
                yield WalkProblem("bad_record", meta.addr, name.name, str(error))

    def _node(self, meta: pytsk3.TSK_FS_META, summary: Summary) -> Node:
        seconds, nanoseconds, flags = summary.standard
        attributes = dos_attributes(flags)
        is_directory = int(meta.type) == META_DIRECTORY
        special = self._special(meta.addr, max(meta.size, 0), flags)
        if special.file_type:
            permissions = 0o777 if special.file_type == stat.S_IFLNK else 0o644
            size = len(special.target) if special.file_type == stat.S_IFLNK else 0
            mode = special.file_type | permissions
            return Node(mode, size, seconds, nanoseconds, 0, 0, special.target, -1, attributes)
        if is_directory:
            return Node(DIRECTORY_MODE, 0, seconds, nanoseconds, 0, 0, b"", -1, attributes)
        size = self._size(meta.addr, summary)
        first_byte = self._first_byte(meta.addr, summary.place, size)
        return Node(FILE_MODE, size, seconds, nanoseconds, 0, 0, b"", first_byte, attributes)

    def _size(self, ino: int, summary: Summary) -> int:
        """Bytes of the unnamed content by the attribute itself: The Sleuth Kit says 0 where it cannot take the record.

        ReadError if it is negative, or if nobody can know whether there is content.
        """
        size = summary.size
        if size is None:
            holder = self._listed_holder(ino)
            found = None if holder is None else holder.first(DATA)
            size = 0 if found is None else found.size
            if found is None and (holder is not None or not summary.is_whole):
                raise ReadError("its record is damaged: its content is not found")
        if size < 0:
            raise ReadError("its size is negative")
        return size

    def _special(self, ino: int, size: int, flags: int) -> Special:
        if flags & FLAG_REPARSE:
            return reparse_point(self._volume.attribute(ino, REPARSE_KIND, REPARSE_LIMIT))
        if flags & FLAG_SYSTEM and 8 < size <= INTERIX_LIMIT:
            return interix_file(self._volume.read(ino, 0, size))
        return Special(0, b"")

    def _first_byte(self, ino: int, place: DataPlace | None, size: int) -> int:
        if size == 0:
            return -1
        if place is not None and place.extents:
            return place.extents[0].image_offset
        if place is not None and 0 <= place.first_cluster < self._volume.block_count:
            return self._volume.offset_bytes + place.first_cluster * self._volume.block_size
        if place is not None:
            return -1
        try:
            return next((extent.image_offset for extent in self.extents(ino) if extent.image_offset >= 0), -1)
        except ReadError:
            return -1  # only the order of reading depends on it; the read itself reports the cause

    def content(self, ino: int) -> Content:
        if is_stream(ino):
            return self._streams.content(ino)
        plain = self._plain(ino)
        if plain is not None:
            return Content(plain.size, plain.valid_bytes, "")
        size = self._volume.size(ino)
        _, _, flags = self._records.record(ino).standard()
        refusal = self._special(ino, 0, flags).refusal if size else ""
        if flags & FLAG_ENCRYPTED and size:
            refusal = "its content is encrypted (EFS)"
        place = self._place(ino)
        valid = place.valid_bytes if place is not None else None
        return Content(size, size if valid is None else min(valid, size), refusal)

    def read(self, ino: int, offset: int, length: int) -> bytes:
        if is_stream(ino):
            return self._streams.read(ino, offset, length)
        plain = self._plain(ino)
        if plain is not None:
            return plain.read(self._volume.source, offset, length)
        return self._volume.read(ino, offset, length)

    def extents(self, ino: int) -> Sequence[Extent]:
        if is_stream(ino):
            return self._streams.extents(ino)
        plain = self._plain(ino)
        if plain is not None:
            return plain.extents
        volume = self._volume
        meta = volume.file(ino).info.meta
        if meta is not None and int(meta.type) == META_DIRECTORY:
            return self._index_extents(ino)
        size, place = volume.size(ino), self._place(ino)
        if place is not None and place.extents is not None:
            return place.extents
        runs = volume.runs(ino, DATA_KIND)
        if runs is None:
            if size == 0:
                return []
            raise ReadError("the file has no unnamed content")
        if place is not None and place.unit_clusters:
            return compressed_extents(runs, volume.block_size, volume.offset_bytes, size, place.unit_clusters)
        valid = None if place is None else place.valid_bytes
        return run_extents(runs, volume.block_size, volume.offset_bytes, size, valid)

    def _plain(self, ino: int) -> PlainFile | None:
        """The last one is kept: a file is read in many pieces."""
        if self._last_plain is None or self._last_plain[0] != ino:
            volume = self._volume
            found = plain_file(self._records.record(ino), volume.block_size, volume.offset_bytes, volume.block_count)
            self._last_plain = (ino, found)
        return self._last_plain[1]

    def _index_extents(self, ino: int) -> Sequence[Extent]:
        """A directory's names: its record, and the blocks of `$I30` where it has outgrown that."""
        record = self._records.record(ino)
        runs = self._volume.runs(ino, INDEX_KIND, b"$I30")
        size = sum(run.blocks for run in runs or []) * self._volume.block_size
        blocks = run_extents(runs or [], self._volume.block_size, self._volume.offset_bytes, size)
        moved = [extent_after(extent, self._records.record_bytes) for extent in blocks]
        return [*record.extents, *moved]

    def _place(self, ino: int) -> DataPlace | None:
        """Where the unnamed content begins: in the base record, or in the one that the attribute list names."""
        record = self._records.record(ino)
        place = record.data()
        holder = self._listed_holder(ino) if place is None else None
        return place if holder is None else holder.data()

    def _listed_holder(self, ino: int) -> MftRecord | None:
        """The other record of the file in which its unnamed content begins; None without an attribute list.

        ReadError if the list does not say.
        """
        if self._records.record(ino).first(ATTRIBUTE_LIST) is None:
            return None
        for entry in self._streams.attribute_list(ino):
            if entry.kind == DATA and not entry.name and entry.lowest == 0:
                return self._records.record(entry.record)
        raise ReadError("its attribute list names no content")

    def _label(self) -> str:
        try:
            found = self._records.record(VOLUME_RECORD).first(VOLUME_NAME)
        except ReadError:
            return ""
        return "" if found is None or not found.is_resident else found.value.decode("utf-16-le", "replace")

    def facts(self) -> VolumeFacts:
        return ntfs_facts(self._volume, self._records, self.label)

    def structures(self) -> Iterator[Structure]:
        return iter(())  # none of them is known

    def used(self) -> Iterator[Range] | None:
        return None

    def close(self) -> None:
        self._volume.close()


def extent_after(extent: Extent, bytes_before: int) -> Extent:
    """The same place in the image, further back in the file."""
    return Extent(extent.file_offset + bytes_before, extent.file_length, extent.image_offset, extent.image_length)


def open_tree(source: ImageSource, offset_bytes: int, size_bytes: int, _fstype: str) -> Tree:
    return NtfsTree(source, offset_bytes, size_bytes)
