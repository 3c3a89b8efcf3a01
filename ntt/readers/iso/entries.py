"""Records of one name -> its entry: default attributes, inode number, hard links, what is odd about it."""

from __future__ import annotations

import stat
from collections.abc import Sequence

import msgspec

from ntt.model import Entry
from ntt.ranges import Ranges
from ntt.readers.iso.account import Account
from ntt.readers.iso.extensions import finder_attributes, xa_remark
from ntt.readers.iso.files import (
    BUCKET_BYTES,
    FIRST_RECORD,
    FileParts,
    directory_mode,
    file_parts,
    lost_file,
    mode_remark,
    outside_remark,
)
from ntt.readers.iso.records import FLAG_MULTI_EXTENT, DirectoryRecord, Geometry, recorded_time
from ntt.readers.iso.rockridge import RockRidge


class Named(msgspec.Struct, frozen=True, gc=False):
    """What a directory says about one name: several records only for a multi-extent file.

    `lost`: what of the directory was not read and may hold more records of it.
    """

    parent_ino: int
    records: Sequence[DirectoryRecord]
    rock_ridge: RockRidge
    name: bytes
    duplicate: bool
    lost: Ranges = ()

    @property
    def record(self) -> DirectoryRecord:
        return self.records[0]


def directory_entry(named: Named, geometry: Geometry) -> Entry:
    """A directory's number comes from where its records begin, whoever names it."""
    record, rock_ridge = named.record, named.rock_ridge
    start = record.first_block * geometry.block_bytes
    return Entry(
        start // BUCKET_BYTES,
        named.parent_ino,
        named.name,
        directory_mode(rock_ridge),
        record.size_bytes,
        recorded_time(record.recorded) if rock_ridge.mtime_s is None else rock_ridge.mtime_s,
        rock_ridge.mtime_ns,
        rock_ridge.uid,
        rock_ridge.gid,
        b"",
        geometry.offset_bytes + start,
        True,
        named.duplicate,
    )


class FileEntries:
    """Makes the entries of files in the order of the walk; remembers only those that PX calls hard-linked.

    What the records say to be in use goes to the account. `missed`: see `IsoVolume`.
    """

    def __init__(self, geometry: Geometry, account: Account, missed: Ranges) -> None:
        self._geometry = geometry
        self._account = account
        self._missed = missed
        self._links: dict[tuple[int, int, int, int], int] = {}

    def entry(self, named: Named, directory_start: int) -> Entry:
        """`directory_start`: position of the directory that holds the records."""
        record, rock_ridge = named.record, named.rock_ridge
        self._take(named.records)
        if named.lost:
            found = lost_file(rock_ridge, named.lost)
        else:
            found = file_parts(named.records, rock_ridge, self._geometry, self._missed)
        ino = record.position // BUCKET_BYTES
        if record.position == directory_start:
            ino |= FIRST_RECORD
        linked = rock_ridge.links > 1 and not record.is_associated
        first = self._first_link(ino, rock_ridge, found) if linked else ino
        return Entry(
            first,
            named.parent_ino,
            named.name,
            found.mode,
            found.size,
            recorded_time(record.recorded) if rock_ridge.mtime_s is None else rock_ridge.mtime_s,
            rock_ridge.mtime_ns,
            rock_ridge.uid,
            rock_ridge.gid,
            (rock_ridge.target or b"") if stat.S_ISLNK(found.mode) else rock_ridge.device,
            found.parts[0][0] if found.parts else -1,
            first == ino,
            named.duplicate,
            finder_attributes(record.system_use) if b"AA" in record.system_use else (),
        )

    def _take(self, records: Sequence[DirectoryRecord]) -> None:
        offset, block_bytes = self._geometry.offset_bytes, self._geometry.block_bytes
        for record in records:
            if record.size_bytes:
                start = offset + (record.first_block - record.attribute_blocks) * block_bytes
                blocks = record.attribute_blocks - (-record.size_bytes // block_bytes)
                self._account.contents.add(start, start + blocks * block_bytes)
                self._account.is_complete &= not record.interleaved

    def _first_link(self, ino: int, rock_ridge: RockRidge, found: FileParts) -> int:
        """Equal content alone is no hard link, writers store it once; nor is an equal serial (RRIP 1.12) alone."""
        start = found.parts[0][0] if found.parts else -1
        if start < 0 and not rock_ridge.serial:
            return ino
        return self._links.setdefault((rock_ridge.serial, start, found.size, stat.S_IFMT(found.mode)), ino)


def remarks_on(named: Named, geometry: Geometry) -> list[str]:
    """Everything about these records that a person should know; usually nothing."""
    remarks = [remark for remark in (*named.rock_ridge.remarks, *(one.remark for one in named.records)) if remark]
    is_directory = named.record.is_directory or named.rock_ridge.child_block >= 0
    if remark := mode_remark(is_directory, named.rock_ridge):
        remarks.append(remark)
    if is_directory:
        return remarks
    if remark := outside_remark(named.records, geometry):
        remarks.append(remark)
    if named.lost:
        remarks.append("a part of its records was not read: how large it is and where it lies is unknown")
    elif named.records[-1].flags & FLAG_MULTI_EXTENT:
        remarks.append("a part of this multi-extent file is missing")
    if named.record.interleaved:
        remarks.append("interleaved file, its content is not read")
    if remark := xa_remark(named.record.system_use):
        remarks.append(remark)
    if stat.S_ISLNK(named.rock_ridge.mode) and named.rock_ridge.target is None:
        remarks.append("symbolic link without a target")
    return remarks
