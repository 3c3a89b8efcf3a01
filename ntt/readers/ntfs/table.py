"""The first record of NTFS's master file table -> the whole table, wherever its pieces lie."""

from __future__ import annotations

from collections.abc import Sequence

from ntt.model import Extent
from ntt.ranges import Range, normalised
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.boot_sectors import NtfsGeometry
from ntt.readers.ntfs.attributes import NtfsAttributes
from ntt.readers.ntfs.mft import MasterFileTable
from ntt.readers.ntfs.records import DATA, Attribute
from ntt.readers.tsk_extents import Run, run_extents

MFT = 0
PIECES_LIMIT = 512  # of the table, each in a record of its own
PLACES_LIMIT = 1 << 62


class _Growing:
    """The table as far as it is known. A piece of it is named by a record that stands in one of those before."""

    def __init__(self, source: ImageSource, geometry: NtfsGeometry, offset_bytes: int, clusters: int) -> None:
        self._source = source
        self._geometry = geometry
        self._offset_bytes = offset_bytes
        self._clusters = clusters
        self.lost: list[Range] = []
        start = offset_bytes + geometry.mft_at
        self.attributes = self._with([Extent(0, geometry.record_bytes, start, geometry.record_bytes)])

    def _with(self, extents: Sequence[Extent]) -> NtfsAttributes:
        records = MasterFileTable(self._source, extents, self._geometry.record_bytes, normalised(self.lost))
        return NtfsAttributes(self._source, records, self._offset_bytes, self._geometry.cluster_bytes, self._clusters)

    def reaches(self, runs: Sequence[Run], beginning: Attribute) -> None:
        size = beginning.size
        valid = int.from_bytes(beginning.raw[56:64], "little")
        self.attributes = self._with(run_extents(runs, self._geometry.cluster_bytes, self._offset_bytes, size, valid))


def master_file_table(source: ImageSource, geometry: NtfsGeometry, offset_bytes: int, clusters: int) -> NtfsAttributes:
    """The attributes of all files. ReadError if the first record is none.

    What of the table is named by a record that was not read has no place in it.
    """
    start = offset_bytes + geometry.mft_at
    if start >= PLACES_LIMIT:
        raise ReadError("the master file table lies outside the image")
    table = _Growing(source, geometry, offset_bytes, clusters)
    record = table.attributes.records.record(MFT)
    beginning = record.first(DATA)
    if beginning is None or beginning.is_resident or beginning.lowest or not 0 <= beginning.size < PLACES_LIMIT:
        raise ReadError("the master file table has no runs", record.lost)
    runs = table.attributes.runs_of(beginning)
    if not runs:
        raise ReadError("the master file table has no runs")
    table.reaches(runs, beginning)
    try:
        listed = table.attributes.listed(MFT) or ()
    except ReadError as error:
        listed = ()
        table.lost.extend(error.unread)
    pieces = [one for one in listed if one.kind == DATA and not one.name and one.lowest]
    for piece in pieces[:PIECES_LIMIT]:
        try:
            found, _ = table.attributes.piece(MFT, piece)
            runs.extend(
                run._replace(file_block=run.file_block + piece.lowest) for run in table.attributes.runs_of(found)
            )
        except ReadError as error:
            table.lost.extend(error.unread)
        table.reaches(runs, beginning)
    if table.lost:
        table.reaches(runs, beginning)
    return table.attributes
