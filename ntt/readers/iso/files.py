"""Records of one file -> its mode, size and place in the image, and why its content may not be read."""

from __future__ import annotations

import stat
from collections.abc import Sequence

import msgspec

from ntt.ranges import Ranges
from ntt.readers.iso.records import FLAG_MULTI_EXTENT, DirectoryRecord, Geometry
from ntt.readers.iso.rockridge import RockRidge

DEFAULT_FILE_MODE = stat.S_IFREG | 0o444
DEFAULT_DIRECTORY_MODE = stat.S_IFDIR | 0o555
BUCKET_BYTES = 32  # a record has at least 34 bytes, so no two begin in one bucket
# Marks a file whose record lies where its directory's own record should be, and whose bucket is the directory's.
FIRST_RECORD = 1 << 60
_FILE_TYPES = (stat.S_IFREG, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK)


class FileParts(msgspec.Struct, frozen=True, gc=False):
    """`parts` are (image offset, bytes) in file order, empty ones left out; `refusal` is empty for a readable file.

    `unread`: what of the image would have told its size and place, if that was not read.
    """

    mode: int
    size: int
    parts: tuple[tuple[int, int], ...]
    refusal: str
    unread: Ranges = ()


def file_parts(
    records: Sequence[DirectoryRecord], rock_ridge: RockRidge, geometry: Geometry, missed: Ranges = ()
) -> FileParts:
    """The file that these records describe: more than one only for a multi-extent file (ECMA-119, 6.5.1).

    `missed`: see `IsoVolume`.
    """
    if missed and not records[0].size_bytes:
        return FileParts(DEFAULT_FILE_MODE, 0, (), "whether it is a link was not read", missed)
    mode = file_mode(rock_ridge)
    if rock_ridge.lost and _may_be_another(records[0], rock_ridge):
        return FileParts(stat.S_IFREG | mode & 0o7777, 0, (), "what it is was not read", rock_ridge.lost)
    if not stat.S_ISREG(mode):
        size = len(rock_ridge.target or b"") if stat.S_ISLNK(mode) else 0
        return FileParts(mode, size, (), "not a regular file")
    parts = tuple(
        (geometry.offset_bytes + record.first_block * geometry.block_bytes, record.size_bytes)
        for record in records
        if record.size_bytes
    )
    size = parts[0][1] if len(parts) == 1 else sum(part[1] for part in parts)
    return FileParts(mode, size, parts, _refusal(records, rock_ridge, geometry, size))


def lost_file(rock_ridge: RockRidge, unread: Ranges) -> FileParts:
    """One of whose records at least one was not read, so that its size and place are unknown."""
    mode = stat.S_IFREG | file_mode(rock_ridge) & 0o7777
    return FileParts(mode, 0, (), "a part of its records is missing: it was not read", unread)


def _may_be_another(record: DirectoryRecord, rock_ridge: RockRidge) -> bool:
    """Whether this record may stand for a link, a device or a directory: its continuation area may have said so."""
    if rock_ridge.mode:
        return stat.S_ISDIR(rock_ridge.mode) and rock_ridge.child_block < 0
    return not record.size_bytes


def file_mode(rock_ridge: RockRidge) -> int:
    """PX mode; the default where there is none, a regular file where PX claims what a file cannot be."""
    mode = rock_ridge.mode
    if not mode:
        return DEFAULT_FILE_MODE if rock_ridge.target is None else stat.S_IFLNK | 0o777
    return mode & 0xFFFF if stat.S_IFMT(mode) in _FILE_TYPES else stat.S_IFREG | mode & 0o7777


def directory_mode(rock_ridge: RockRidge) -> int:
    """PX permissions; the type is always directory, so that its content is listed whatever PX says."""
    return stat.S_IFDIR | rock_ridge.mode & 0o7777 if rock_ridge.mode else DEFAULT_DIRECTORY_MODE


def mode_remark(is_directory: bool, rock_ridge: RockRidge) -> str:
    """Why the type in PX was not believed; empty when it was."""
    kind = stat.S_IFMT(rock_ridge.mode)
    if not rock_ridge.mode or (kind == stat.S_IFDIR if is_directory else kind in _FILE_TYPES):
        return ""
    return f"its Rock Ridge mode {rock_ridge.mode:o} does not fit a {'directory' if is_directory else 'file'}"


def _refusal(records: Sequence[DirectoryRecord], rock_ridge: RockRidge, geometry: Geometry, size: int) -> str:
    if rock_ridge.sparse:
        return "sparse file (Rock Ridge SF), not supported"
    for record in records:
        if record.interleaved:
            return "interleaved file, not supported"
        if record.size_bytes and not geometry.inside(record.first_block, 1):
            return f"its content (block {record.first_block}) is not on the medium"
    if records[-1].flags & FLAG_MULTI_EXTENT:
        return "a part of this multi-extent file is missing"
    if len(records) > 1 and size > geometry.limit_bytes:
        return "the parts of this multi-extent file claim more than the medium holds"
    return ""


def outside_remark(records: Sequence[DirectoryRecord], geometry: Geometry) -> str:
    """Where the content reaches beyond both the volume and the image; empty when it does not."""
    for record in records:
        if not geometry.inside(record.first_block, record.size_bytes):
            return f"its content (block {record.first_block}, {record.size_bytes} bytes) reaches beyond the medium"
    return ""
