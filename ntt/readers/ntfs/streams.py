"""Named streams of NTFS files and directories -> files of their own beside them, found again by number alone.

A stream's inode number is its record's number, with its place among the record's streams, counted from 1, above
bit 48. That order is the one of the records and of the attribute list, so it is the same in every run.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from ntt.model import Extent, WalkProblem
from ntt.ranges import Ranges
from ntt.readers.base import ReadError
from ntt.readers.fat.directories import utf8
from ntt.readers.nodes import Child, Content, Node
from ntt.readers.ntfs.attributes import NUMBER_MASK, NtfsAttributes, Whole
from ntt.readers.ntfs.links import FLAG_ENCRYPTED
from ntt.readers.ntfs.records import DATA, Attribute, DataPlace, MftRecord, Standard
from ntt.readers.tsk_volume import LIBRARY_ERRORS, TskVolume, cause_of

STREAM_MODE = stat.S_IFREG | 0o644
NUMBER_BITS = 48
STREAM_LIMIT = 0x7FFE  # numbers stay inside 63 bits; an attribute list of 256 KiB names fewer


def is_stream(ino: int) -> bool:
    return ino > NUMBER_MASK


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


class LostStream(NamedTuple):
    """A stream of which the name is known and nothing else; `unread` is where the rest stands."""

    number: int
    name: bytes
    unread: Ranges


class NtfsStreams:
    """The named streams of one volume. Every method may raise ReadError for the stream in hand.

    `library` gives The Sleuth Kit, which unpacks what is compressed, or raises ReadError.
    """

    def __init__(self, attributes: NtfsAttributes, library: Callable[[], TskVolume]) -> None:
        self._attributes = attributes
        self._library = library
        self._found: Stream | None = None

    def children(self, name: bytes, ino: int, record: MftRecord, times: Standard) -> Iterator[Child | WalkProblem]:
        """`NAME:STREAM` for each stream of a file or directory, with its times."""
        seconds, nanoseconds, _ = times
        for found in self._streams(ino, record):
            if isinstance(found, WalkProblem):
                yield WalkProblem(found.kind, found.ino, name + b":" + found.name, found.detail)
                continue
            size, first = (found.size, self._first_byte(found)) if isinstance(found, Stream) else (0, -1)
            own = Node(STREAM_MODE, size, seconds, nanoseconds, 0, 0, b"", first)
            yield Child(name + b":" + found.name, found.number, own)

    def _streams(self, ino: int, record: MftRecord) -> Iterator[Stream | LostStream | WalkProblem]:
        numbers = iter(range(1, STREAM_LIMIT + 1))
        for name, holder_number in self._named(ino, record):
            number = next(numbers, 0) << NUMBER_BITS | ino
            if number == ino:
                yield WalkProblem("bad_record", ino, b"", f"more than {STREAM_LIMIT:,} streams: the rest is left out")
                return
            try:
                holder = self._attributes.holder(ino, holder_number)
                yield Stream(number, utf8(name), holder, _beginning(holder, name))
            except ReadError as error:
                if error.unread:
                    yield LostStream(number, utf8(name), error.unread)
                else:
                    yield WalkProblem("bad_record", ino, utf8(name), f"a stream of it is lost: {error}")
        if record.lost:
            yield WalkProblem("bad_record", ino, b"", "a part of its record was not read: streams may be missing")

    def _named(self, ino: int, record: MftRecord) -> Iterator[tuple[bytes, int]]:
        """Name (whole UTF-16 units) of each stream, and the number of the record where it begins."""
        listed = self._attributes.listed(ino)
        if listed is None:
            found = ((attribute.kind, attribute.name, attribute.lowest, ino) for attribute in record.attributes())
        else:
            found = ((e.kind, e.name, e.lowest, e.record) for e in listed)
        for kind, name, lowest, holder in found:
            if kind == DATA and len(name) > 1 and lowest == 0:
                yield name[: len(name) & ~1], holder

    def _first_byte(self, stream: Stream) -> int:
        place = stream.place
        if not stream.size:
            return -1
        if place.extents is not None:
            return place.extents[0].image_offset if place.extents else -1
        if not 0 <= place.first_cluster < self._attributes.clusters:
            return -1
        return self._attributes.offset_bytes + place.first_cluster * self._attributes.cluster_bytes

    def _stream(self, number: int) -> Stream:
        """The stream behind an inode number; the last one is kept."""
        if self._found is None or self._found.number != number:
            self._found = None
            ino = number & NUMBER_MASK
            for found in self._streams(ino, self._attributes.records.record(ino)):
                if isinstance(found, WalkProblem) or found.number != number:
                    continue
                if isinstance(found, LostStream):
                    raise ReadError("the record that holds its beginning was not read", found.unread)
                self._found = found
                return found
            raise ReadError("there is no such stream")
        return self._found

    def _whole(self, stream: Stream) -> Whole:
        found = self._attributes.find(stream.number & NUMBER_MASK, DATA, stream.attribute.name)
        if found is None:
            raise ReadError("its record does not hold it")
        return found

    def content(self, number: int) -> Content:
        stream = self._stream(number)
        refusal = "its content is encrypted (EFS)" if stream.is_encrypted and stream.size else ""
        valid = stream.place.valid_bytes
        return Content(stream.size, stream.size if valid is None else min(valid, stream.size), refusal)

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Exactly `length` bytes, all of them inside the valid length."""
        stream = self._stream(number)
        whole = self._whole(stream)
        if not whole.unit_clusters:
            return self._attributes.read(whole, offset, length)
        content = self._attributes.unpacked(whole, offset, length, partial(self._unpacked, stream))
        if len(content) != length:
            raise ReadError(f"the stream ends {length - len(content)} bytes early")
        return content

    def _unpacked(self, stream: Stream, offset: int, length: int) -> bytes:
        file = self._library().file(stream.number & NUMBER_MASK)
        parts: list[bytes] = []
        try:
            same = [found.info.id for found in file if int(found.info.type) == DATA and found.info.name == stream.name]
            if len(same) != 1:
                raise ReadError(f"{len(same)} streams of the file have this name for The Sleuth Kit")
            while length > 0:
                part = file.read_random(offset, length, DATA, same[0])
                if not part:
                    break
                parts.append(part)
                offset, length = offset + len(part), length - len(part)
        except LIBRARY_ERRORS as error:
            raise ReadError(cause_of(error)) from None
        return b"".join(parts)

    def extents(self, number: int) -> Sequence[Extent]:
        stream = self._stream(number)
        place = stream.place
        return self._attributes.extents(self._whole(stream)) if place.extents is None else place.extents


def _beginning(record: MftRecord, name: bytes) -> Attribute:
    for attribute in record.attributes():
        if attribute.kind == DATA and attribute.name == name and attribute.lowest == 0:
            if attribute.size < 0:
                raise ReadError("its size is negative")
            return attribute
    raise ReadError("its record does not hold it", record.lost)
