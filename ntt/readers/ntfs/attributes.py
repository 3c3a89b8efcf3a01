"""An attribute of an NTFS file -> its bytes and places, put together from every record that holds a piece of it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ntt.model import Extent
from ntt.ranges import Ranges, normalised, within
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.ntfs.mft import MasterFileTable
from ntt.readers.ntfs.records import ATTRIBUTE_LIST, Attribute, MftRecord, mapped_runs
from ntt.readers.tsk_extents import HOLE, Run, compressed_extents, part_of, run_extents

NUMBER_MASK = (1 << 48) - 1
LIST_LIMIT = 1 << 18
SIZE_LIMIT = 1 << 62


class Listed(NamedTuple):
    """An entry of an attribute list: which record holds the piece that begins at cluster `lowest` of the attribute."""

    kind: int
    name: bytes
    lowest: int
    record: int


class LostPiece(NamedTuple):
    """Clusters of an attribute whose place stands in `unread` bytes of the image."""

    first: int
    clusters: int
    unread: Ranges


class Whole(NamedTuple):
    """An attribute: its beginning, the record with that, and all its runs; what is `lost` is among their holes."""

    beginning: Attribute
    record: MftRecord
    runs: Sequence[Run]
    lost: tuple[LostPiece, ...]

    @property
    def size(self) -> int:
        return self.beginning.size

    @property
    def valid_bytes(self) -> int:
        """What follows was never written and reads as zeros."""
        place = self.record.place_of(self.beginning)
        return self.size if place.valid_bytes is None else min(place.valid_bytes, self.size)

    @property
    def unit_clusters(self) -> int:
        """Of a compressed attribute; 0 if it is none."""
        return self.record.place_of(self.beginning).unit_clusters

    @property
    def unread(self) -> Ranges:
        return normalised(place for piece in self.lost for place in piece.unread)


class NtfsAttributes:
    """The attributes of one volume. Everything raises ReadError for the file in hand, with what was not read."""

    def __init__(
        self, source: ImageSource, records: MasterFileTable, offset_bytes: int, cluster_bytes: int, clusters: int
    ) -> None:
        self.source = source
        self.records = records
        self.offset_bytes = offset_bytes
        self.cluster_bytes = cluster_bytes
        self.clusters = clusters
        self._list: tuple[int, Sequence[Listed]] = (-1, ())

    def listed(self, ino: int) -> Sequence[Listed] | None:
        """The file's attribute list up to its first contradiction; None if it needs none."""
        record = self.records.record(ino)
        found = record.first(ATTRIBUTE_LIST)
        if found is None:
            return None
        if self._list[0] != ino:
            whole = Whole(found, record, () if found.is_resident else self.runs_of(found), ())
            raw = self.known_bytes(whole, LIST_LIMIT)
            self._list = (ino, tuple(_entries(raw)))
        return self._list[1]

    def find(self, ino: int, kind: int, name: bytes = b"") -> Whole | None:
        """None without such an attribute; ReadError if that cannot be known."""
        record = self.records.record(ino)
        listed = self.listed(ino)
        if listed is None:
            found = next((one for one in record.attributes() if one.kind == kind and one.name == name), None)
            if found is None and record.lost:
                raise ReadError("a part of its record was not read", record.lost)
            return None if found is None else self._whole(found, record)
        pieces = [one for one in listed if one.kind == kind and one.name == name]
        if not pieces or pieces[0].lowest:
            return None
        return self._joined(ino, pieces)

    def whole_in(self, record: MftRecord) -> Iterator[Whole]:
        """What has clusters among the attributes of one record, whatever may be wrong with it left out."""
        for found in record.attributes():
            if not found.is_resident and found.lowest == 0:
                try:
                    yield self._whole(found, record)
                except ReadError:
                    continue

    def _joined(self, ino: int, pieces: Sequence[Listed]) -> Whole:
        beginning, holder = self.piece(ino, pieces[0])
        if beginning.is_resident:
            return Whole(beginning, holder, (), ())
        runs, lost = self.runs_of(beginning), list[LostPiece]()
        end = -(-max(beginning.size, 0) // self.cluster_bytes)
        for number, piece in enumerate(pieces[1:], 2):
            try:
                found, _ = self.piece(ino, piece)
                runs.extend(run._replace(file_block=run.file_block + piece.lowest) for run in self.runs_of(found))
            except ReadError as error:
                if not error.unread:
                    raise
                behind = pieces[number].lowest if number < len(pieces) else end
                lost.append(LostPiece(piece.lowest, max(behind - piece.lowest, 0), error.unread))
        return Whole(beginning, holder, runs, tuple(lost))

    def piece(self, ino: int, listed: Listed) -> tuple[Attribute, MftRecord]:
        """What the record that the list names holds of the attribute."""
        record = self.holder(ino, listed.record)
        for found in record.attributes():
            if found.kind == listed.kind and found.name == listed.name and found.lowest == listed.lowest:
                if found.size < 0 and not listed.lowest:
                    raise ReadError("its size is negative")
                return found, record
        raise ReadError("its record does not hold it", record.lost)

    def holder(self, ino: int, number: int) -> MftRecord:
        """A record that the attribute list of a file names."""
        record = self.records.record(number)
        if number != ino and record.base != ino:
            raise ReadError(f"record {number} belongs to another file")
        return record

    def _whole(self, found: Attribute, record: MftRecord) -> Whole:
        if found.size < 0:
            raise ReadError("its size is negative")
        return Whole(found, record, () if found.is_resident else self.runs_of(found), ())

    def runs_of(self, found: Attribute) -> list[Run]:
        """Of one piece, counted from its first cluster."""
        runs = mapped_runs(found.raw[int.from_bytes(found.raw[32:34], "little") :])
        if runs is None:
            raise ReadError("its list of runs is damaged")
        for run in runs:
            if run.volume_block != HOLE and run.volume_block + run.blocks > self.clusters:
                raise ReadError(f"{run.blocks} blocks at {run.volume_block} lie outside the file system")
        return runs

    # ------------------------------------------------------------ bytes and places

    def extents(self, whole: Whole) -> list[Extent]:
        """Covers the attribute exactly. What is lost lies, as a whole, where its place was not read."""
        if whole.beginning.is_resident:
            return part_of(whole.record.extents, *whole.beginning.value_range)
        if whole.size >= SIZE_LIMIT:
            raise ReadError("its record is damaged")
        block, offset, size = self.cluster_bytes, self.offset_bytes, whole.size
        if whole.unit_clusters:
            if whole.lost:
                raise ReadError("a part of its record was not read", whole.unread)
            return compressed_extents(whole.runs, block, offset, size, whole.unit_clusters)
        found = run_extents(whole.runs, block, offset, size, whole.valid_bytes)
        for piece in whole.lost:
            found = _with_lost(found, piece.first * block, min((piece.first + piece.clusters) * block, size), piece)
        return found

    def read(self, whole: Whole, offset: int, length: int) -> bytes:
        """Exactly these bytes of what is not compressed, zeros where unread, lost, or a hole."""
        if whole.beginning.is_resident:
            content = whole.beginning.value[offset : offset + length]
        else:
            runs = run_extents(whole.runs, self.cluster_bytes, self.offset_bytes, whole.size, whole.valid_bytes)
            content = self.bytes_at(part_of(runs, offset, length))
        if len(content) != length:
            raise ReadError(f"the content ends {length - len(content)} bytes early")
        return content

    def unpacked(self, whole: Whole, offset: int, length: int, unpack: Callable[[int, int], bytes]) -> bytes:
        """These bytes of what is compressed, by `unpack(offset, length)`; zeros for units not read in full."""
        if whole.lost:
            raise ReadError("a part of what says where it lies was not read", whole.unread)
        end, parts = offset + length, list[bytes]()
        for extent in self.extents(whole):
            low, high = max(extent.file_offset, offset), min(extent.file_offset + extent.file_length, end)
            if low >= high:
                continue
            is_unit = extent.file_length != extent.image_length
            stored = extent.image_offset, extent.image_offset + extent.image_length
            is_lost = is_unit and bool(within(self.source.unread, *stored))
            parts.append(bytes(high - low) if is_lost else unpack(low, high - low))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def bytes_at(self, extents: Sequence[Extent]) -> bytes:
        """The bytes of linear extents, zeros for holes."""
        try:
            parts = [
                bytes(one.file_length)
                if one.image_offset == HOLE
                else self.source.read(one.image_offset, one.file_length)
                for one in extents
            ]
        except (OSError, OverflowError) as error:
            raise ReadError(f"the image cannot be read: {error}") from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def known_bytes(self, whole: Whole, limit: int) -> bytes:
        """At most `limit` bytes from the start, every one of which was read; ReadError otherwise."""
        length = min(whole.size, limit)
        extents = part_of(self.extents(whole), 0, length)
        unread = normalised(
            place
            for one in extents
            if one.image_offset != HOLE
            for place in within(self.source.unread, one.image_offset, one.image_offset + one.image_length)
        )
        if unread:
            raise ReadError("a part of what describes it was not read", unread)
        return self.read(whole, 0, length)


def _entries(raw: bytes) -> Iterator[Listed]:
    at = 0
    while at + 26 <= len(raw):
        kind, length, units, name_at, lowest, reference = struct.unpack_from("<IHBBQQ", raw, at)
        if length < 26 or at + length > len(raw):
            return
        yield Listed(kind, raw[at + name_at : at + name_at + 2 * units], lowest, reference & NUMBER_MASK)
        at += length


def _with_lost(extents: Sequence[Extent], start: int, end: int, piece: LostPiece) -> list[Extent]:
    """`[start, end)` of the file, a hole so far, is given the place of the record that was not read."""
    if start >= end:
        return list(extents)
    place = piece.unread[0][0], piece.unread[-1][1] - piece.unread[0][0]
    found: list[Extent] = []
    for one in extents:
        low, high = one.file_offset, one.file_offset + one.file_length
        if one.image_offset != HOLE or high <= start or low >= end:
            found.append(one)
            continue
        first, last = max(low, start), min(high, end)
        if low < first:
            found.append(Extent(low, first - low, HOLE, first - low))
        # of a length of its own: equal ones would read as linear
        found.append(Extent(first, last - first, place[0], place[1] + (place[1] == last - first)))
        if last < high:
            found.append(Extent(last, high - last, HOLE, high - last))
    return found
