"""A record -> its content: the data fork, a compressed one, or the resource fork; and the extents overflow file."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from ntt.model import Extent
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.hfs.btree import BTree, Key
from ntt.readers.hfs.compressed import Attribute, OpenFile, Refused, open_packed
from ntt.readers.hfs.forks import Fork, ForkBytes, fork_extents
from ntt.readers.hfs.records import COMPRESSED, CatalogRecord, plus_pieces, short_pieces
from ntt.readers.hfs.volume import HfsVolume

DATA_FORK, RESOURCE_FORK = 0x00, 0xFF
CATALOG_FILE, ALLOCATION_FILE, ATTRIBUTES_FILE = 4, 6, 8
INLINE_ATTRIBUTE = 0x10
DECMPFS_NAME = "com.apple.decmpfs"
DECMPFS = DECMPFS_NAME.encode("utf-16-be")


class PlainFile:
    """A fork as it is."""

    def __init__(self, fork: ForkBytes) -> None:
        self.size = fork.size
        self._fork = fork

    def read(self, offset: int, length: int) -> bytes:
        return self._fork.read(offset, length) if length else b""

    def extents(self) -> Sequence[Extent]:
        return self._fork.extents


class HfsFiles:
    """Contents of one volume. Everything raises ReadError for the file in hand."""

    def __init__(self, source: ImageSource, volume: HfsVolume) -> None:
        self._source = source
        self._volume = volume
        self.geometry = volume.geometry
        self._overflow: BTree | None = None
        self._attributes: BTree | None = None

    def catalog(self) -> ForkBytes:
        return self._fork(CATALOG_FILE, DATA_FORK, self._volume.catalog)

    def attributes(self) -> ForkBytes:
        return self._fork(ATTRIBUTES_FILE, DATA_FORK, self._volume.attributes)

    def allocation(self) -> ForkBytes:
        """HFS+ has its map of blocks in a file."""
        return self._fork(ALLOCATION_FILE, DATA_FORK, self._volume.allocation)

    def opened(self, record: CatalogRecord) -> OpenFile:
        """The content that a user sees. A compressed file that cannot be unpacked refuses to be read."""
        if not is_compressed(record):
            return PlainFile(self._fork(record.ino, DATA_FORK, record.data))
        try:
            attribute = self.compression(record.ino)
            if attribute is None:
                raise ReadError("it is compressed, and its compression header is missing")
            return open_packed(attribute, self._fork(record.ino, RESOURCE_FORK, record.resource))
        except ReadError as error:
            return Refused(0, str(error), error.unread)

    def certain(self, record: CatalogRecord, limit: int) -> bytes:
        """The data fork, or as much of it; empty if some of that was not read."""
        fork = self._fork(record.ino, DATA_FORK, record.data)
        length = min(fork.size, limit)
        return b"" if not length or fork.unread(0, length) else fork.read(0, length)

    def resource(self, record: CatalogRecord) -> OpenFile:
        return PlainFile(self._fork(record.ino, RESOURCE_FORK, record.resource))

    def _fork(self, ino: int, kind: int, fork: Fork) -> ForkBytes:
        extents = fork_extents(self.geometry, fork.size, self._pieces(ino, kind, fork))
        return ForkBytes(self._source, fork.size, extents)

    def _pieces(self, ino: int, kind: int, fork: Fork) -> Iterator[tuple[int, int]]:
        """The record's own, then one overflow record after the other."""
        yield from fork.pieces
        blocks = sum(count for _, count in fork.pieces)
        while found := self._overflow_pieces((ino, bytes((kind,)), blocks)):
            yield from found
            blocks += sum(count for _, count in found)

    def _overflow_pieces(self, key: Key) -> tuple[tuple[int, int], ...]:
        is_plus, fork = self._volume.is_plus, self._volume.overflow
        if self._overflow is None:
            if not fork.size:
                return ()
            extents = fork_extents(self.geometry, fork.size, fork.pieces)
            key_of = plus_overflow_key if is_plus else overflow_key
            self._overflow = BTree(ForkBytes(self._source, fork.size, extents), key_of)
        for node, index in self._overflow.seek(key):
            record = node.record(index)
            if self._overflow.key_of(record) == key:
                length = 76 if is_plus else 20
                if len(record) < length:
                    raise ReadError("an extents overflow record is cut short")
                return plus_pieces(record, 12) if is_plus else short_pieces(record, 8)
            break
        return ()

    def compression(self, ino: int) -> Attribute | None:
        """A file's `com.apple.decmpfs`, if it has one."""
        fork = self._volume.attributes
        if self._attributes is None:
            if not fork.size:
                return None
            self._attributes = BTree(self._fork(ATTRIBUTES_FILE, DATA_FORK, fork), attribute_key)
        key = (ino, DECMPFS, 0)
        for node, index in self._attributes.seek(key):
            record = node.record(index)
            if attribute_key(record) != key:
                return None
            at = 2 + int.from_bytes(record[:2], "big")
            kind, _, _, length = struct.unpack(">IIII", record[at : at + 16].ljust(16, b"\xff"))
            if kind != INLINE_ATTRIBUTE or at + 16 + length > len(record):
                raise ReadError("its compression header is damaged")
            places = self._attributes.image_places(node, node.places[index] + at + 16, length)
            first = min((place for place, _ in places), default=-1)
            end = max((place + size for place, size in places), default=-1)
            return Attribute(record[at + 16 : at + 16 + length], first, end - first)
        return None

    def attribute_records(self) -> int:
        """How many attributes the volume keeps; 0 if that cannot be told."""
        fork = self._volume.attributes
        if not fork.size:
            return 0
        try:
            return BTree(self._fork(ATTRIBUTES_FILE, DATA_FORK, fork), attribute_key).leaf_records
        except ReadError:
            return 0


def is_compressed(record: CatalogRecord) -> bool:
    return bool(record.owner_flags & COMPRESSED) and not record.is_folder and not record.data.size


def overflow_key(record: bytes) -> Key:
    if len(record) < 8:
        raise ReadError("an extents overflow record is cut short")
    return int.from_bytes(record[2:6], "big"), record[1:2], int.from_bytes(record[6:8], "big")


def plus_overflow_key(record: bytes) -> Key:
    if len(record) < 12:
        raise ReadError("an extents overflow record is cut short")
    return int.from_bytes(record[4:8], "big"), record[2:3], int.from_bytes(record[8:12], "big")


def attribute_key(record: bytes) -> Key:
    """TN1150 leaves this key out; Apple's hfs_format.h has it."""
    name_end = 14 + 2 * int.from_bytes(record[12:14], "big")
    if len(record) < 14 or name_end > len(record):
        raise ReadError("an attribute record is cut short")
    return int.from_bytes(record[4:8], "big"), record[14:name_end], int.from_bytes(record[8:12], "big")
