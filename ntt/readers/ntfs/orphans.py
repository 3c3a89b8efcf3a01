"""The master file table -> names of directories whose own list was not read, by what each file says of itself."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from ntt.readers.base import ReadError
from ntt.readers.ntfs.attributes import NUMBER_MASK
from ntt.readers.ntfs.indexes import FileName, NtfsIndexes, file_name
from ntt.readers.ntfs.mft import MasterFileTable
from ntt.readers.ntfs.records import FILE_NAME, MftRecord

ROOT = 5
FIRST_RECORD = 16  # below: the file system's own files, which no directory of a user holds


class NtfsOrphans:
    """All records are looked at once, when they are first needed; kept are sixteen bytes for each name in question."""

    def __init__(self, records: MasterFileTable, indexes: NtfsIndexes) -> None:
        self._records = records
        self._indexes = indexes
        self._found: dict[int, array[int]] | None = None

    def below(self, ino: int, sequence: int | None) -> Iterator[FileName]:
        """Names that files in use give themselves in this directory, in the order of their records.

        `sequence`: that of the directory's record, None if it was not read.
        """
        if self._found is None:
            self._found = self._scanned()
        for number in self._found.get(ino, ()):
            try:
                record = self._records.record(number)
                base = record if not record.base else self._records.record(record.base)
            except ReadError:
                continue
            for parent, found in _names(record):
                if parent & NUMBER_MASK == ino and sequence in (None, parent >> 48):
                    mine = record.base or number
                    yield found._replace(record=mine, sequence=base.sequence, is_directory=base.is_directory)

    def nameless(self) -> list[int]:
        """Directories without record and name: some file in use says that it lies in one, and no index has it."""
        if self._found is None:
            self._found = self._scanned()
        wanted = {number for number in self._found if number >= FIRST_RECORD and self._is_unread(number)}
        for number in range(self._records.count if wanted else 0):
            try:
                if (number < FIRST_RECORD and number != ROOT) or not self._records.record(number).is_directory:
                    continue
                wanted -= {found.record for found in self._indexes.names(number) if not isinstance(found, str)}
            except ReadError:
                continue
        return sorted(wanted)

    def _is_unread(self, number: int) -> bool:
        try:
            self._records.record(number)
        except ReadError as error:
            return bool(error.unread)
        return False

    def _scanned(self) -> dict[int, array[int]]:
        """Parents that were not read in full -> the records that name them."""
        found: dict[int, array[int]] = {}
        is_lost: dict[int, bool] = {}
        for number in range(FIRST_RECORD, self._records.count):
            try:
                record = self._records.record(number)
            except ReadError:
                continue
            if not record.is_used:
                continue
            for parent in {parent & NUMBER_MASK for parent, _ in _names(record)}:
                if parent not in is_lost:
                    is_lost[parent] = self._indexes.is_lost_in_part(parent)
                if is_lost[parent]:
                    found.setdefault(parent, array("Q")).append(number)
        return found


def _names(record: MftRecord) -> Iterator[tuple[int, FileName]]:
    """(reference to the directory, name) of each name that a record has, short ones left out."""
    for attribute in record.attributes():
        if attribute.kind > FILE_NAME:
            return
        if attribute.kind != FILE_NAME or not attribute.is_resident:
            continue
        value = attribute.value
        try:
            found = file_name(0, value)
        except ReadError:
            continue
        if found is not None:
            yield int.from_bytes(value[:8], "little"), found
