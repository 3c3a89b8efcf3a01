"""Named streams of NTFS files and directories -> files of their own beside them, found again by number alone.

A stream's inode number is its record's number, with its place among the record's streams, counted from 1, above
bit 48. That order is the one of the records and of the attribute list, so it is the same in every run.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ntt.model import Extent, WalkProblem
from ntt.readers.base import ReadError
from ntt.readers.fat.directories import utf8
from ntt.readers.nodes import Child, Content, Node
from ntt.readers.ntfs.links import FLAG_ENCRYPTED
from ntt.readers.ntfs.records import ATTRIBUTE_LIST, DATA, Attribute, DataPlace, MasterFileTable, MftRecord, Standard
from ntt.readers.tsk_extents import Run, compressed_extents, run_extents
from ntt.readers.tsk_volume import LIBRARY_ERRORS, TskVolume, cause_of

STREAM_MODE = stat.S_IFREG | 0o644
NUMBER_BITS = 48
NUMBER_MASK = (1 << NUMBER_BITS) - 1
STREAM_LIMIT = 0x7FFE  # numbers stay inside 63 bits; an attribute list of 256 KiB names fewer
DATA_KIND, LIST_KIND = frozenset({DATA}), frozenset({ATTRIBUTE_LIST})
LIST_LIMIT = 1 << 18


def is_stream(ino: int) -> bool:
    return ino > NUMBER_MASK


class Listed(NamedTuple):
    """An entry of an attribute list: which record holds the piece that begins at cluster `lowest` of the attribute."""

    kind: int
    name: bytes
    lowest: int
    record: int


class Stream(NamedTuple):
    """A named stream by the record and the attribute that hold its beginning; `number` is its inode number."""

    number: int
    name: bytes
    record: MftRecord
    attribute: Attribute

    @property
    def size(self) -> int:
        return self.attribute.size

    @property
    def place(self) -> DataPlace:
        return self.record.place_of(self.attribute)

    @property
    def is_encrypted(self) -> bool:
        return bool(self.attribute.flags & FLAG_ENCRYPTED)


class NtfsStreams:
    """The named streams of one volume. Every method may raise ReadError for the stream in hand."""

    def __init__(self, volume: TskVolume, records: MasterFileTable) -> None:
        self._volume = volume
        self._records = records
        self._found: Stream | None = None

    def children(self, name: bytes, ino: int, record: MftRecord, times: Standard) -> Iterator[Child | WalkProblem]:
        """`NAME:STREAM` for each stream of a file or directory, with its times."""
        for found in self._streams(ino, record):
            if isinstance(found, WalkProblem):
                yield WalkProblem(found.kind, found.ino, name + b":" + found.name, found.detail)
                continue
            seconds, nanoseconds = times.seconds, times.nanoseconds
            own = Node(STREAM_MODE, found.size, seconds, nanoseconds, 0, 0, b"", self._first_byte(found))
            yield Child(name + b":" + found.name, found.number, own)

    def _streams(self, ino: int, record: MftRecord) -> Iterator[Stream | WalkProblem]:
        numbers = iter(range(1, STREAM_LIMIT + 1))
        for name, holder_number in self._named(ino, record):
            number = next(numbers, 0) << NUMBER_BITS | ino
            if number == ino:
                yield WalkProblem("bad_record", ino, b"", f"more than {STREAM_LIMIT:,} streams: the rest is left out")
                return
            try:
                holder = record if holder_number == ino else self._extension(holder_number, ino)
                yield Stream(number, utf8(name), holder, _beginning(holder, name))
            except ReadError as error:
                yield WalkProblem("bad_record", ino, utf8(name), f"a stream of it is lost: {error}")

    def _named(self, ino: int, record: MftRecord) -> Iterator[tuple[bytes, int]]:
        """Name (whole UTF-16 units) of each stream, and the number of the record where it begins."""
        if record.first(ATTRIBUTE_LIST) is None:
            found = ((attribute.kind, attribute.name, attribute.lowest, ino) for attribute in record.attributes())
        else:
            found = ((e.kind, e.name, e.lowest, e.record) for e in self.attribute_list(ino))
        for kind, name, lowest, holder in found:
            if kind == DATA and len(name) > 1 and lowest == 0:
                yield name[: len(name) & ~1], holder

    def attribute_list(self, ino: int) -> Iterator[Listed]:
        """What a file's attribute list says, up to its first contradiction."""
        raw = self._volume.attribute(ino, LIST_KIND, LIST_LIMIT)
        at = 0
        while at + 26 <= len(raw):
            kind, length, units, name_at, lowest, reference = struct.unpack_from("<IHBBQQ", raw, at)
            if length < 26 or at + length > len(raw):
                return
            yield Listed(kind, raw[at + name_at : at + name_at + 2 * units], lowest, reference & NUMBER_MASK)
            at += length

    def _extension(self, number: int, ino: int) -> MftRecord:
        record = self._records.record(number)
        if record.base != ino:
            raise ReadError(f"record {number} belongs to another file")
        return record

    def _first_byte(self, stream: Stream) -> int:
        place = stream.place
        if not stream.size:
            return -1
        if place.extents is not None:
            return place.extents[0].image_offset if place.extents else -1
        if not 0 <= place.first_cluster < self._volume.block_count:
            return -1
        return self._volume.offset_bytes + place.first_cluster * self._volume.block_size

    def _stream(self, number: int) -> Stream:
        """The stream behind an inode number; the last one is kept."""
        if self._found is None or self._found.number != number:
            self._found = None
            ino = number & NUMBER_MASK
            for found in self._streams(ino, self._records.record(ino)):
                if isinstance(found, Stream) and found.number == number:
                    self._found = found
                    return found
            raise ReadError("there is no such stream")
        return self._found

    def content(self, number: int) -> Content:
        stream = self._stream(number)
        refusal = "its content is encrypted (EFS)" if stream.is_encrypted and stream.size else ""
        valid = stream.place.valid_bytes
        return Content(stream.size, stream.size if valid is None else min(valid, stream.size), refusal)

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Exactly `length` bytes, all of them inside the valid length."""
        stream = self._stream(number)
        if stream.attribute.is_resident:
            content = stream.attribute.value[offset : offset + length]
        else:
            content = self._read_clusters(stream, offset, length)
        if len(content) != length:
            raise ReadError(f"the stream ends {length - len(content)} bytes early")
        return content

    def _read_clusters(self, stream: Stream, offset: int, length: int) -> bytes:
        attribute_id, _ = self._in_library(stream)
        file = self._volume.file(stream.number & NUMBER_MASK)
        parts: list[bytes] = []
        try:
            while length > 0:
                part = file.read_random(offset, length, DATA, attribute_id)
                if not part:
                    break
                parts.append(part)
                offset, length = offset + len(part), length - len(part)
        except LIBRARY_ERRORS as error:
            raise ReadError(cause_of(error)) from None
        return b"".join(parts)

    def extents(self, number: int) -> Sequence[Extent]:
        stream = self._stream(number)
        place, volume = stream.place, self._volume
        if place.extents is not None:
            return place.extents
        _, runs = self._in_library(stream)
        if place.unit_clusters:
            return compressed_extents(runs, volume.block_size, volume.offset_bytes, stream.size, place.unit_clusters)
        return run_extents(runs, volume.block_size, volume.offset_bytes, stream.size, place.valid_bytes)

    def _in_library(self, stream: Stream) -> tuple[int, list[Run]]:
        """The Sleuth Kit's number of a stream that has clusters, and its runs from all records that it spans."""
        ino = stream.number & NUMBER_MASK
        try:
            same = [
                (found.info.id, found.info.name)
                for found in self._volume.file(ino)
                if int(found.info.type) == DATA and found.info.name == stream.name
            ]
        except LIBRARY_ERRORS as error:
            raise ReadError(cause_of(error)) from None
        if len(same) != 1:
            raise ReadError(f"{len(same)} streams of the file have this name for The Sleuth Kit")
        attribute_id, name = same[0]
        return attribute_id, self._volume.runs(ino, DATA_KIND, name) or []


def _beginning(record: MftRecord, name: bytes) -> Attribute:
    for attribute in record.attributes():
        if attribute.kind == DATA and attribute.name == name and attribute.lowest == 0:
            if attribute.size < 0:
                raise ReadError("its size is negative")
            return attribute
    raise ReadError("its record does not hold it")
