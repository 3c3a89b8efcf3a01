"""A UDF volume -> entries, content and extents (ECMA-167; OSTA UDF 1.02 to 2.60).

An inode number is where a file's ICB begins: the partition's reference number above 32 bits of block number. It
leads back to the file in any process, and hard links share it.
"""

from __future__ import annotations

import stat
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

from ntt.model import Entry, Extent, Structure, Volume, VolumeFacts, WalkProblem
from ntt.ranges import Range
from ntt.readers.base import ImageSource, ReadError, VolumeReader
from ntt.readers.udf.account import Account, fixed_structures, used_ranges
from ntt.readers.udf.entries import FileEntry
from ntt.readers.udf.facts import facts_of, label_of
from ntt.readers.udf.partitions import UdfImage
from ntt.readers.udf.volume import open_udf
from ntt.readers.udf.walk import UdfWalk


class UdfReader:
    """A `VolumeReader`. ReadError if the volume has no readable descriptors, partition, file set or root directory.

    Times without a zone, or with the unspecified one, are taken as UTC. An owner that is not said is 0.
    Real-time files are regular files. Named streams are entries `FILE:STREAM`, a Macintosh resource fork
    `FILE:rsrc`; other system streams (access control lists, OS/2 attributes) are left out.
    `volume.session_bytes`: where the session begins whose anchor is looked at first.
    """

    fstype = "udf"

    def __init__(self, source: ImageSource, volume: Volume) -> None:
        image = UdfImage(source, volume.offset_bytes, volume.size_bytes)
        self._volume = open_udf(image, volume.session_bytes)
        self._space = self._volume.space
        self.label = label_of(self._volume)
        self._account = Account()
        self._ino = -1
        self._entry: FileEntry
        self._extents: list[Extent] = []

    def walk(self) -> Iterator[Entry | WalkProblem]:
        """See `VolumeReader.walk`; a stream follows its file, in the same directory."""
        self._account = Account()
        yield from UdfWalk(self._volume, self._account).run()

    def read(self, ino: int, offset: int, length: int) -> bytes:
        """See `VolumeReader.read`; ReadError for whatever is not a regular file whose extents cover its size."""
        self._find(ino)
        if not stat.S_ISREG(self._entry.mode):
            raise ReadError("not a regular file")
        if self._entry.is_transformed:
            raise ReadError("its content is transformed (compressed or encrypted) in a way that its writer alone knows")
        end = min(offset + length, self._entry.size)
        if offset < 0 or end <= offset:
            return b""
        pieces: list[bytes] = []
        index = bisect_right(self._extents, offset, key=_file_offset) - 1
        while offset < end:
            extent = self._extents[index]
            low = offset - extent.file_offset
            size = min(extent.file_length - low, end - offset)
            is_hole = extent.image_offset < 0
            pieces.append(bytes(size) if is_hole else self._space.image.read(extent.image_offset + low, size))
            offset += size
            index += 1
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def extents(self, ino: int) -> Sequence[Extent]:
        """See `VolumeReader.extents`; of a directory, where its names lie; nothing of links and devices."""
        self._find(ino)
        kind = stat.S_IFMT(self._entry.mode)
        return tuple(self._extents) if kind in (stat.S_IFREG, stat.S_IFDIR) else ()

    def facts(self) -> VolumeFacts:
        return facts_of(self._volume)

    def structures(self) -> Iterator[Structure]:
        """See `VolumeReader.structures`; file entries and directories only if `walk` went through."""
        yield from fixed_structures(self._volume)
        yield from self._account.structures()

    def used(self) -> Iterator[Range] | None:
        """See `VolumeReader.used`: by the space bitmap, which a read-only or write-once disc does not have."""
        used = used_ranges(self._volume, self.structures())
        return None if used is None else iter(used)

    def close(self) -> None:
        self._ino, self._extents = -1, []

    def _find(self, ino: int) -> None:
        """A file is read in many pieces: the last one's extents are kept."""
        if ino == self._ino:
            return
        if not 0 <= ino < 1 << 48:
            raise ReadError(f"no file has the inode number {ino}")
        self._ino = -1
        self._entry = self._space.entry(ino >> 32, ino & 0xFFFFFFFF)
        self._extents = self._space.extents(self._entry)
        self._ino = ino


def _file_offset(extent: Extent) -> int:
    return extent.file_offset


def open_volume(source: ImageSource, volume: Volume, _advance: Callable[[int], None]) -> VolumeReader:
    return UdfReader(source, volume)
