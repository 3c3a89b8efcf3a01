"""NTFS as a tree, from the raw structures: names, times, links, contents; The Sleuth Kit unpacks what is compressed."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from functools import partial

from ntt.model import Extent, Structure, VolumeFacts, WalkProblem
from ntt.ranges import Range
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.nodes import Child, Content, Node, Tree
from ntt.readers.ntfs.attributes import Whole
from ntt.readers.ntfs.facts import ntfs_facts
from ntt.readers.ntfs.indexes import FileName, NtfsIndexes
from ntt.readers.ntfs.links import (
    FLAG_ENCRYPTED,
    FLAG_REPARSE,
    FLAG_SYSTEM,
    Special,
    dos_attributes,
    interix_file,
    interix_kind,
    reparse_point,
)
from ntt.readers.ntfs.orphans import NtfsOrphans
from ntt.readers.ntfs.plain import PlainFile, plain_file
from ntt.readers.ntfs.records import DATA, VOLUME_NAME, DataPlace, MftRecord, Summary
from ntt.readers.ntfs.spares import for_the_library, with_copies
from ntt.readers.ntfs.streams import NtfsStreams, is_stream
from ntt.readers.ntfs.surface import NtfsSurface
from ntt.readers.ntfs.table import master_file_table
from ntt.readers.tsk_volume import TskVolume

REPARSE_POINT = 0xC0
FIRST_USER_RECORD = 16
VOLUME_RECORD, ROOT = 3, 5
FILE_MODE, DIRECTORY_MODE = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
INTERIX_LIMIT = 8 + 2 * 4096
REPARSE_LIMIT = 16384 + 8


class NtfsTree:
    """ReadError if neither the boot sector nor its copy leads to a master file table.

    The Sleuth Kit must take the file system, too, unless some of that was not read. A file whose record was not read
    has the name and the kind that its directory keeps of it. A directory whose own names were not all read is filled
    up with the files that name it as theirs.
    """

    def __init__(self, source: ImageSource, offset_bytes: int, size_bytes: int) -> None:
        self.fstype = "ntfs"
        self.root_ino = ROOT
        mended, geometry = with_copies(source, offset_bytes, size_bytes)
        self._geometry = geometry
        clusters = (geometry.size_bytes - geometry.sector_bytes) // geometry.cluster_bytes
        self._attributes = master_file_table(mended, geometry, offset_bytes, clusters)
        self._records = self._attributes.records
        self._indexes = NtfsIndexes(mended, self._attributes)
        self._orphans = NtfsOrphans(self._records, self._indexes)
        self._surface = NtfsSurface(source, geometry, self._attributes, self._indexes)
        self._library: TskVolume | None = None
        self._no_library = ""
        view = for_the_library(mended, geometry, self._records.extents)
        try:
            self._library = TskVolume(view, offset_bytes, size_bytes, "ntfs")
        except ReadError as error:
            if not self._surface.is_damaged:
                raise
            self._no_library = f"what is compressed cannot be unpacked: {error}"
        self._streams = NtfsStreams(self._attributes, self._unpacker)
        self._last_plain: tuple[int, PlainFile | None] | None = None
        self._last_whole: tuple[int, Whole | None] | None = None
        self.label = self._label()

    def _unpacker(self) -> TskVolume:
        if self._library is None:
            raise ReadError(self._no_library)
        return self._library

    # ------------------------------------------------------------ names

    def root(self) -> Node:
        try:
            seconds, nanoseconds, _ = self._records.record(ROOT).standard()
        except ReadError as error:
            if not error.unread:
                raise
            seconds, nanoseconds = 0, 0
        return Node(DIRECTORY_MODE, 0, seconds, nanoseconds, 0, 0, b"", -1)

    def children(self, ino: int) -> Iterator[Child | WalkProblem]:
        if ino != ROOT:
            yield from self._listed(ino)
            return
        yield from self._streams_of(b"", ino)  # `:STREAM` in the root itself
        cause: ReadError | None = None
        try:
            yield from self._listed(ino)
        except ReadError as error:
            cause = error
        if self._surface.is_damaged:
            yield from self._nameless()
        if cause is not None:
            raise cause

    def _listed(self, ino: int) -> Iterator[Child | WalkProblem]:
        for found in self._names(ino):
            if isinstance(found, str):
                yield WalkProblem("bad_record", ino, b"", found)
            elif found.name in (b".", b".."):
                continue
            elif ino != ROOT or found.record >= FIRST_USER_RECORD or found.name[:1] != b"$":
                yield from self._child(found)

    def _nameless(self) -> Iterator[Child | WalkProblem]:
        """Directories of which neither record nor name was read, under their numbers."""
        for number in self._orphans.nameless():
            name = b"%d" % number
            detail = "record and name of this folder were not read: what says that it lies there is listed"
            yield WalkProblem("bad_record", number, name, detail)
            yield Child(name, number, Node(DIRECTORY_MODE, 0, 0, 0, 0, 0, b"", -1))

    def _names(self, ino: int) -> Iterator[FileName | str]:
        """What the directory lists and, if some of that was not read, what calls itself a part of it.

        ReadError at the end if nothing of the directory itself was read.
        """
        if not self._surface.is_damaged or not self._indexes.is_lost_in_part(ino):
            yield from self._indexes.names(ino)
            return
        listed: set[tuple[int, bytes]] = set()
        cause: ReadError | None = None
        try:
            for found in self._indexes.names(ino):
                if not isinstance(found, str):
                    listed.add((found.record, found.name))
                yield found
        except ReadError as error:
            cause = error
        for orphan in self._orphans.below(ino, self._sequence(ino)):
            if (orphan.record, orphan.name) not in listed:
                listed.add((orphan.record, orphan.name))
                yield orphan
        if cause is not None:
            raise cause

    def _sequence(self, ino: int) -> int | None:
        try:
            return self._records.record(ino).sequence
        except ReadError:
            return None

    def _child(self, found: FileName) -> Iterator[Child | WalkProblem]:
        number, name = found.record, found.name
        try:
            record = self._records.record(number)
            if not record.is_used or record.sequence != found.sequence:
                raise ReadError("its record cannot be read: it belongs to another file")
            summary = record.summary()
            node = self._node(number, record, summary)
            yield Child(name, number, node)
            if stat.S_ISLNK(node.mode) and not node.link_target:
                yield WalkProblem("bad_record", number, name, "where the link leads to was not read")
        except ReadError as error:
            if not error.unread:
                yield WalkProblem("bad_record", number, name, str(error))
                return
            mode = DIRECTORY_MODE if found.is_directory else FILE_MODE
            yield Child(name, number, Node(mode, 0, *found.mtime, 0, 0, b"", -1))
            return
        if summary.may_have_streams or record.lost:
            yield from self._streams_of(name, number)

    def _streams_of(self, name: bytes, ino: int) -> Iterator[Child | WalkProblem]:
        try:
            record = self._records.record(ino)
            yield from self._streams.children(name, ino, record, record.standard())
        except ReadError as error:
            yield WalkProblem("bad_record", ino, name, f"streams of it may be missing: {error}")

    def _node(self, ino: int, record: MftRecord, summary: Summary) -> Node:
        seconds, nanoseconds, flags = summary.standard
        attributes = dos_attributes(flags)
        special = self._special(ino, flags)
        if special.file_type:
            permissions = 0o777 if special.file_type == stat.S_IFLNK else 0o644
            size = len(special.target) if special.file_type == stat.S_IFLNK else 0
            mode = special.file_type | permissions
            return Node(mode, size, seconds, nanoseconds, 0, 0, special.target, -1, attributes)
        if record.is_directory:
            return Node(DIRECTORY_MODE, 0, seconds, nanoseconds, 0, 0, b"", -1, attributes)
        size = self._size(ino, record, summary)
        first_byte = self._first_byte(ino, summary.place, size)
        return Node(FILE_MODE, size, seconds, nanoseconds, 0, 0, b"", first_byte, attributes)

    def _size(self, ino: int, record: MftRecord, summary: Summary) -> int:
        """Bytes of the unnamed content by the attribute itself.

        ReadError if it is negative, or if nobody can know whether there is content.
        """
        size = summary.size
        if size is None:
            found = self._whole(ino)
            size = 0 if found is None else found.size
            if found is None and (self._attributes.listed(ino) is not None or not summary.is_whole):
                raise ReadError("its record is damaged: its content is not found", record.lost)
        if size < 0:
            raise ReadError("its size is negative")
        return size

    def _special(self, ino: int, flags: int) -> Special:
        """ReadError if a reparse point was not read: nobody can know what the file is then."""
        if flags & FLAG_REPARSE:
            found = self._attributes.find(ino, REPARSE_POINT)
            return reparse_point(b"" if found is None else self._attributes.known_bytes(found, REPARSE_LIMIT))
        content = self._whole(ino) if flags & FLAG_SYSTEM else None
        if content is None or not 8 < content.size <= INTERIX_LIMIT or content.unit_clusters:
            return Special(0, b"")
        try:
            return interix_file(self._attributes.known_bytes(content, INTERIX_LIMIT))
        except ReadError as error:
            if not error.unread:
                raise
            return interix_kind(self._attributes.read(content, 0, 8))

    def _first_byte(self, ino: int, place: DataPlace | None, size: int) -> int:
        if size == 0:
            return -1
        if place is not None and place.extents:
            return place.extents[0].image_offset
        if place is not None and 0 <= place.first_cluster < self._attributes.clusters:
            return self._attributes.offset_bytes + place.first_cluster * self._attributes.cluster_bytes
        if place is not None:
            return -1
        try:
            return next((extent.image_offset for extent in self.extents(ino) if extent.image_offset >= 0), -1)
        except ReadError:
            return -1  # only the order of reading depends on it; the read itself reports the cause

    # ------------------------------------------------------------ contents

    def content(self, ino: int) -> Content:
        if is_stream(ino):
            return self._streams.content(ino)
        plain = self._plain(ino)
        if plain is not None:
            return Content(plain.size, plain.valid_bytes, "")
        found = self._content_of(ino)
        _, _, flags = self._records.record(ino).standard()
        refusal = self._special(ino, flags & FLAG_REPARSE).refusal
        if found is None or not found.size:
            return Content(0, 0, "")
        if flags & FLAG_ENCRYPTED:
            refusal = "its content is encrypted (EFS)"
        return Content(found.size, found.valid_bytes, refusal)

    def read(self, ino: int, offset: int, length: int) -> bytes:
        if is_stream(ino):
            return self._streams.read(ino, offset, length)
        plain = self._plain(ino)
        if plain is not None:
            return plain.read(self._attributes.source, offset, length)
        found = self._content_of(ino)
        if found is None:
            raise ReadError("the file has no unnamed content")
        if not found.unit_clusters:
            return self._attributes.read(found, offset, length)
        return self._attributes.unpacked(found, offset, length, partial(self._unpacker().read, ino))

    def extents(self, ino: int) -> Sequence[Extent]:
        if is_stream(ino):
            return self._streams.extents(ino)
        plain = self._plain(ino)
        if plain is not None:
            return plain.extents
        if self._records.record(ino).is_directory:
            return self._indexes.extents(ino)
        found = self._content_of(ino)
        self._special(ino, self._records.record(ino).standard().flags & FLAG_REPARSE)
        return [] if found is None else self._attributes.extents(found)

    def _plain(self, ino: int) -> PlainFile | None:
        """The last one is kept: a file is read in many pieces."""
        if self._last_plain is None or self._last_plain[0] != ino:
            of = self._attributes
            found = plain_file(self._records.record(ino), of.cluster_bytes, of.offset_bytes, of.clusters)
            self._last_plain = (ino, found)
        return self._last_plain[1]

    def _whole(self, ino: int) -> Whole | None:
        """The unnamed content; the last one is kept."""
        if self._last_whole is None or self._last_whole[0] != ino:
            self._last_whole = (ino, self._attributes.find(ino, DATA))
        return self._last_whole[1]

    def _content_of(self, ino: int) -> Whole | None:
        """As `_whole`; ReadError where a file must have content, but its records do not name it."""
        found = self._whole(ino)
        if found is None and self._attributes.listed(ino) is not None:
            raise ReadError("its attribute list names no content")
        return found

    def _label(self) -> str:
        try:
            found = self._records.record(VOLUME_RECORD).first(VOLUME_NAME)
        except ReadError:
            return ""
        return "" if found is None or not found.is_resident else found.value.decode("utf-16-le", "replace")

    def facts(self) -> VolumeFacts:
        return ntfs_facts(self._attributes, self._indexes, self._geometry, self.label)

    def structures(self) -> Iterator[Structure]:
        return self._surface.structures()

    def used(self) -> Iterator[Range] | None:
        return self._surface.used()

    def close(self) -> None:
        if self._library is not None:
            self._library.close()


def open_tree(source: ImageSource, offset_bytes: int, size_bytes: int, _fstype: str) -> Tree:
    return NtfsTree(source, offset_bytes, size_bytes)
