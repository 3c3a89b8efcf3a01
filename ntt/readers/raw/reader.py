"""A file system inside of raw sectors -> the same entries, with every place told as a place in the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from ntt.model import Entry, Extent, Route, Structure, Volume, VolumeFacts, WalkProblem
from ntt.ranges import Range
from ntt.readers.base import ImageSource, ReadError, VolumeReader
from ntt.readers.raw.view import SectorView


class ViewReader:
    """See `VolumeReader`: `reader` reads through `view`. The extents are one per sector, and exact to the byte.

    What the image does not hold (blocks before its first one) has extents far behind its end, and so counts as unread.
    """

    def __init__(self, reader: VolumeReader, view: SectorView) -> None:
        self._reader = reader
        self._view = view
        self.fstype = reader.fstype
        self.label = reader.label

    def walk(self) -> Iterator[Entry | WalkProblem]:
        for found in self._reader.walk():
            if isinstance(found, Entry) and found.first_byte >= 0:
                yield msgspec.structs.replace(found, first_byte=self._view.image_offset(found.first_byte))
            else:
                yield found

    def read(self, ino: int, offset: int, length: int) -> bytes:
        return self._reader.read(ino, offset, length)

    def extents(self, ino: int) -> Sequence[Extent]:
        found: list[Extent] = []
        for extent in self._reader.extents(ino):
            file_offset, file_length = extent.file_offset, extent.file_length
            start, length = extent.image_offset, extent.image_length
            if start < 0:
                found.append(extent)
            elif file_length != length:  # a compressed unit: all sectors from its first to its last byte
                first, last = self._view.image_offset(start), self._view.image_offset(start + max(length, 1) - 1)
                found.append(Extent(file_offset, file_length, first, max(last + 1 - first, 1)))
            else:
                found.extend(self._linear(file_offset, start, length))
        return found

    def facts(self) -> VolumeFacts:
        return self._reader.facts()

    def structures(self) -> Iterator[Structure]:
        for found in self._reader.structures():
            start, end = self._span(found.start, found.end)
            yield Structure(start, end, found.what, found.ino, found.spare)

    def used(self) -> Iterator[Range] | None:
        used = self._reader.used()
        return None if used is None else (self._span(start, end) for start, end in used)

    def _span(self, start: int, end: int) -> Range:
        """From the first to the last byte, with what lies between the sectors' user data."""
        return self._view.image_offset(start), self._view.image_offset(max(end - 1, start)) + 1

    def close(self) -> None:
        self._reader.close()

    def _linear(self, file_offset: int, start: int, length: int) -> Iterator[Extent]:
        for place, size in self._view.pieces(start, length):
            yield Extent(file_offset, size, place, size)
            file_offset += size


def open_in_view(
    source: ImageSource, volume: Volume, opener: Callable[[ImageSource, Volume], VolumeReader]
) -> VolumeReader:
    """The volume inside of the image's raw sectors. ReadError as `opener` raises it."""
    try:
        view = SectorView(source, volume.sector_bytes, volume.data_at, volume.offset_bytes)
    except OSError as failed:
        raise ReadError(f"the image cannot be read: {failed}") from failed
    inside = msgspec.structs.replace(volume, offset_bytes=0, sector_bytes=0, data_at=0)
    if volume.route in (Route.TSK, Route.HFS):  # these know no sessions: a volume that begins inside of a sector
        inside = msgspec.structs.replace(inside, offset_bytes=volume.session_bytes, session_bytes=0)
    reader = ViewReader(opener(view, inside), view)
    view.strict = True  # a descriptor proves itself, what a file holds does not
    return reader
