"""An image that is an archive -> a volume: its members as files below folders, links resolved, all of it in two passes.

The first pass learns the folders, which names are further names of which member, and sizes that no header has; the
second tells the entries. A member's inode number is that of its header in the archive, counted from 2; 1 is the root.
Absolute paths and `./` begin at the root. A component `..` stays a name of its own and is reported as not storable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ntt.model import Entry, Extent, Structure, Volume, VolumeFacts, WalkProblem
from ntt.ranges import Range
from ntt.readers.archives.library import library
from ntt.readers.archives.listing import Listing
from ntt.readers.archives.members import Members, Remark
from ntt.readers.archives.survey import Survey
from ntt.readers.archives.tree import FIRST_INO, IMPLIED_INO, LOST_INO, ROOT_INO
from ntt.readers.archives.unpacked import UnpackedMembers
from ntt.readers.archives.zip import ZipMembers
from ntt.readers.base import ImageSource, ReadError, VolumeReader

ZIP_MAGIC = (b"PK\3\4", b"PK\5\6", b"PK\7\x08")


def _nothing(_size_bytes: int) -> None:
    """Nobody waits to be told."""


def open_archive(source: ImageSource, volume: Volume, advance: Callable[[int], None] = _nothing) -> ArchiveReader:
    """ReadError if this is no archive, or libarchive is needed and not installed.

    `advance` is told of every block that was taken from the image: unpacking one member may take long.
    """
    start = max(volume.offset_bytes, 0)
    try:
        return ArchiveReader(_members(source, start, advance))
    except OSError as error:
        raise ReadError(f"the image cannot be read: {error}") from None


def _members(source: ImageSource, start: int, advance: Callable[[int], None]) -> Members:
    if source.read(start, 4) in ZIP_MAGIC:
        try:
            return ZipMembers(source, start)
        except ReadError as error:
            remark = f"{error}: members are listed as they stand in the archive, replaced ones perhaps among them"
            return UnpackedMembers(library(), source, start, advance, remark)
    return UnpackedMembers(library(), source, start, advance)


class ArchiveReader:
    """A `VolumeReader` of tar, zip, 7z, cpio, rar, cab, lha, ar, or one compressed file."""

    fstype = "archive"
    label = ""

    def __init__(self, members: Members) -> None:
        self._members = members

    def walk(self) -> Iterator[Entry | WalkProblem]:
        survey = Survey()
        survey.take(self._members)
        listing = Listing(survey)
        yield from listing.root()
        left = survey.headers
        if left:
            for found in self._members.members():
                if isinstance(found, Remark):
                    continue
                yield from listing.member(found)
                left -= 1
                if not left:
                    break
        yield from listing.rest()
        for remark in survey.remarks:
            yield WalkProblem("bad_record", ROOT_INO, b"", remark)
        if survey.ended_by:
            raise ReadError(survey.ended_by)

    def read(self, ino: int, offset: int, length: int) -> bytes:
        if offset < 0:
            return b""
        return self._members.read(_ordinal(ino), offset, length)

    def extents(self, ino: int) -> Sequence[Extent]:
        return self._members.extents(_ordinal(ino))

    def facts(self) -> VolumeFacts:
        return VolumeFacts("archive", oddities=(f"an archive: {self._members.format_name}",))

    def structures(self) -> Iterator[Structure]:
        return iter(())  # none of them is known

    def used(self) -> Iterator[Range] | None:
        return None

    def close(self) -> None:
        self._members.close()


def _ordinal(ino: int) -> int:
    if LOST_INO <= ino < IMPLIED_INO:
        raise ReadError("the archive holds nothing of its content that can be read")
    if not FIRST_INO <= ino < LOST_INO:
        raise ReadError("this is a folder")
    return ino - FIRST_INO


def open_volume(source: ImageSource, volume: Volume, advance: Callable[[int], None]) -> VolumeReader:
    return open_archive(source, volume, advance)
