"""ISO 9660 volume (Rock Ridge, Joliet or plain) -> entries, content and extents (ECMA-119, IEEE P1281/P1282, Joliet).

An inode number is the position of the file's first record divided by 32, as in Linux; a directory's is that of
its own "." record, which is the start of its extent. So a number alone leads back to the record, in any process.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence

from ntt.model import Entry, Extent, Structure, Volume, VolumeFacts, WalkProblem
from ntt.ranges import Range, Ranges, within
from ntt.readers.base import ImageSource, ReadError, Refused, VolumeReader
from ntt.readers.iso.account import Account, fixed_structures, used_ranges, whole_space
from ntt.readers.iso.facts import iso_facts
from ntt.readers.iso.files import BUCKET_BYTES, FIRST_RECORD, FileParts, file_parts, lost_file
from ntt.readers.iso.records import (
    FLAG_MULTI_EXTENT,
    OWN_IDENTIFIER,
    SECTOR_BYTES,
    DirectoryRecord,
    parse_sector,
)
from ntt.readers.iso.trees import OtherTrees, readable_part
from ntt.readers.iso.volume import IsoVolume, SystemUse, find_volume
from ntt.readers.iso.walk import IsoWalk


def open_iso9660(source: ImageSource, offset_bytes: int = 0, session_bytes: int = 0) -> Iso9660Reader:
    """The volume that begins at `offset_bytes`; ReadError without a readable primary volume descriptor.

    `session_bytes`: where its session begins; block numbers count from `offset_bytes` in every session.
    """
    try:
        return Iso9660Reader(source, find_volume(source, offset_bytes, session_bytes))
    except OSError as failed:
        raise ReadError(f"the image cannot be read: {failed}") from failed


class Iso9660Reader:
    """One volume; see `VolumeReader`. `names` says which tree is used: "rock-ridge", "joliet" or "plain"."""

    fstype = "iso9660"

    def __init__(self, source: ImageSource, volume: IsoVolume) -> None:
        self._source = source
        self._volume = volume
        self._geometry = volume.geometry
        self._last: tuple[int, FileParts] | None = None  # a file is read in many pieces
        self._sector: tuple[int, list[DirectoryRecord], bool] = (-1, [], False)  # neighbours are asked for in turn
        self._trees = OtherTrees(source, volume)
        self._account: Account | None = None
        self.label = volume.label
        self.names = volume.names
        self.size_bytes = volume.size_bytes

    def walk(self) -> Iterator[Entry | WalkProblem]:
        """Every entry once, parents before children; a directory met again is a problem, not an entry."""
        account = self._account = Account()
        yield from IsoWalk(self._source, self._volume, account, self._trees).run()

    def read(self, ino: int, offset: int, length: int) -> bytes:
        """See `VolumeReader.read`; ReadError for whatever is not a regular file whose extents are known."""
        found = self._readable(ino)
        if not stat.S_ISREG(found.mode):
            raise ReadError("not a regular file")
        end = min(offset + length, found.size)
        pieces: list[bytes] = []
        part_start = 0
        try:
            for image_offset, size in found.parts:
                low, high = max(offset, part_start), min(end, part_start + size)
                if low < high:
                    pieces.append(self._source.read(image_offset + low - part_start, high - low))
                part_start += size
        except OSError as failed:
            raise ReadError(f"the image cannot be read: {failed}") from failed
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def extents(self, ino: int) -> Sequence[Extent]:
        """See `VolumeReader.extents`; for a directory, where its records lie; nothing for links and devices."""
        extents: list[Extent] = []
        at = 0
        for image_offset, size in self._readable(ino).parts:
            extents.append(Extent(at, size, image_offset, size))
            at += size
        return extents

    def facts(self) -> VolumeFacts:
        """See `VolumeReader.facts`; the first of `oddities` says which tree is read."""
        try:
            return iso_facts(self._source, self._volume)
        except OSError as failed:
            raise ReadError(f"the image cannot be read: {failed}") from failed

    def structures(self) -> Iterator[Structure]:
        """See `VolumeReader.structures`; directories only if `walk` went through."""
        try:
            yield from fixed_structures(self._source, self._volume, self._trees)
        except OSError as failed:
            raise ReadError(f"the image cannot be read: {failed}") from failed
        if self._account is not None:
            yield from self._account.structures()

    def used(self) -> Iterator[Range] | None:
        """See `VolumeReader.used`: what no record names is free, if every record of the tree could be read."""
        if self._account is None or not (self._account.is_complete and self._trees.are_known):
            return iter((whole_space(self._source, self._volume),))
        try:
            return iter(used_ranges(self.structures(), self._account, self._trees))
        except OSError as failed:
            raise ReadError(f"the image cannot be read: {failed}") from failed

    def close(self) -> None:
        self._last = None

    def _readable(self, ino: int) -> FileParts:
        if self._last is None or self._last[0] != ino:
            try:
                self._last = (ino, self._find(ino))
            except OSError as failed:
                raise ReadError(f"the image cannot be read: {failed}") from failed
        found = self._last[1]
        if found.unread:
            raise ReadError(found.refusal, found.unread)
        if found.refusal and stat.S_ISREG(found.mode):
            raise Refused(found.refusal)
        return found

    def _find(self, ino: int) -> FileParts:
        """The records that `ino` stands for. Blocks below 2048 bytes leave open where its sector began: try each."""
        block_bytes = self._geometry.block_bytes
        position = (ino & ~FIRST_RECORD) * BUCKET_BYTES
        if ino < 0 or position >= self._geometry.limit_bytes:
            raise ReadError(f"no file has the inode number {ino}")
        block_start = position - position % block_bytes
        for start in range(block_start - SECTOR_BYTES + block_bytes, block_start + 1, block_bytes):
            group, gap = self._group(start, ino & ~FIRST_RECORD) if start >= 0 else ([], ())
            if group and group[0].identifier == OWN_IDENTIFIER and group[0].position == position:
                return self._directory(position, group[0].size_bytes)
            if group and group[0].is_named and not group[0].is_directory:
                missed = self._volume.missed
                rock_ridge = SystemUse(self._source, self._volume).of(group[0])
                return lost_file(rock_ridge, gap) if gap else file_parts(group, rock_ridge, self._geometry, missed)
        if position == block_start and not ino & FIRST_RECORD:  # a directory whose own record is unread
            return self._directory(position, SECTOR_BYTES)
        raise ReadError(f"no file has the inode number {ino}", self._gap(block_start))

    def _directory(self, position: int, size_bytes: int) -> FileParts:
        if position == self._volume.root.first_block * self._geometry.block_bytes:
            size_bytes = self._volume.root.size_bytes
        return FileParts(stat.S_IFDIR, size_bytes, ((self._geometry.offset_bytes + position, size_bytes),), "")

    def _group(self, start: int, bucket: int) -> tuple[list[DirectoryRecord], Ranges]:
        """The record that begins in the bucket, and those that continue a multi-extent file; empty if none does.

        With them what was not read of the directory where more records of the file may stand. Parts that follow a
        gap in the directory would be taken for the next ones: it stops at any gap.
        """
        group: list[DirectoryRecord] = []
        before: Ranges = ()
        while True:
            records, is_sound = self._records(start)
            for record in records:
                if group and not record.continues(group[0]):
                    return group, before
                if group or record.position // BUCKET_BYTES == bucket:
                    if record is records[0] and not group:
                        before = self._gap_before(start, record)
                    group.append(record)
                    if not record.flags & FLAG_MULTI_EXTENT:
                        return group, before
            if not group or not records or not is_sound or self._gap(start) or self._gap(start + SECTOR_BYTES):
                return group, self._gap(start) or self._gap(start + SECTOR_BYTES) if group else ()
            start += SECTOR_BYTES

    def _records(self, start: int) -> tuple[list[DirectoryRecord], bool]:
        if self._sector[0] != start:
            at = self._geometry.offset_bytes + start
            sector = readable_part(self._source, at, self._source.read(at, SECTOR_BYTES))
            records, fault = parse_sector(sector, start, self._geometry)
            self._sector = (start, records, not fault)
        return self._sector[1], self._sector[2]

    def _gap_before(self, start: int, first: DirectoryRecord) -> Ranges:
        """What of the sector before was not read, if this file may have begun there; see `IsoWalk`."""
        gap = self._gap(start - SECTOR_BYTES) if first.is_named and not first.is_directory and start else ()
        return gap if gap and self._trees.may_continue(first.first_block) else ()

    def _gap(self, start: int) -> Ranges:
        at = self._geometry.offset_bytes + start
        return within(self._source.unread, at, at + SECTOR_BYTES)


def open_volume(source: ImageSource, volume: Volume, _advance: Callable[[int], None]) -> VolumeReader:
    return open_iso9660(source, volume.offset_bytes, volume.session_bytes)
