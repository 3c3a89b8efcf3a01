"""NTFS's own files ($Volume, $Bitmap, $MFTMirr, $LogFile) -> what the file system says of itself."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from ntt.model import Extent, VolumeFacts
from ntt.readers.allocation import bits_set, unread_bytes
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.boot_sectors import NtfsGeometry
from ntt.readers.ntfs.attributes import NtfsAttributes
from ntt.readers.ntfs.indexes import NtfsIndexes
from ntt.readers.ntfs.mft import MasterFileTable
from ntt.readers.ntfs.records import DATA, EPOCH_1601, STANDARD_INFORMATION
from ntt.readers.tsk_extents import HOLE, part_of

BITMAP, VOLUME_INFORMATION = 0xB0, 0x70
MFT, MIRROR, LOG_FILE, VOLUME, ROOT, CLUSTERS, EXTEND = 0, 1, 2, 3, 5, 6, 11
DIRTY, RESIZE_LOG, UPGRADE, CHKDSK_UNDER_WAY = 0x1, 0x2, 0x4, 0x4000
FIRST_FREE_RECORD = 24  # below: the file system's own files and what is kept free for them
MIRRORED_RECORDS = 4
NAMES_LIMIT = 4096
LOG_PAGE, NO_CLIENT, VOLUME_IS_CLEAN = 4096, 0xFFFF, 0x2
FAILURES = (OSError, OverflowError, ReadError, ValueError, struct.error)
Answer = TypeVar("Answer")


@dataclass(slots=True)
class _Ntfs:
    """The volume with what its boot sector says; `oddities` grows while it is looked at."""

    source: ImageSource
    attributes: NtfsAttributes
    indexes: NtfsIndexes
    records: MasterFileTable
    geometry: NtfsGeometry
    oddities: list[str] = field(default_factory=list)

    @property
    def clusters(self) -> int:
        """Without the backup boot sector, which belongs to none."""
        return (self.geometry.size_bytes - self.geometry.sector_bytes) // self.geometry.cluster_bytes

    def extents(self, ino: int, kind: int) -> list[Extent]:
        """Where the unnamed attribute of this type lies; ReadError without it."""
        found = self.attributes.find(ino, kind)
        if found is None:
            raise ReadError(f"record {ino} has no attribute 0x{kind:X}")
        return self.attributes.extents(found)

    def size(self, ino: int) -> int:
        """Bytes of the unnamed content, 0 without any."""
        found = self.attributes.find(ino, DATA)
        return 0 if found is None else found.size

    def read(self, extents: Sequence[Extent], start: int, length: int) -> bytes:
        """Bytes of an attribute that were all read from the medium; ReadError where they were not."""
        pieces = [piece for piece in part_of(extents, start, length) if piece.image_offset != HOLE]
        lost = sum(unread_bytes(self.source, piece.image_offset, piece.image_length) for piece in pieces)
        content = b"".join(self.source.read(piece.image_offset, piece.image_length) for piece in pieces)
        if lost or len(content) < length:
            raise ReadError(f"{lost or length - len(content):,} of its bytes were not read")
        return content


def ntfs_facts(attributes: NtfsAttributes, indexes: NtfsIndexes, geometry: NtfsGeometry, label: str) -> VolumeFacts:
    """Reads the two bitmaps, at most 64 MiB each. Never raises: what cannot be read is None, with a sentence.

    `entries` are the records in use from 24 on, without those of `$Extend`: files and folders, but also the second
    records of files whose attributes did not fit into one.
    """
    source = attributes.source
    try:
        boot = source.read(attributes.offset_bytes, 512)
    except FAILURES as error:
        return VolumeFacts("ntfs", label, oddities=(f"the boot sector cannot be read: {error}",))
    ntfs = _Ntfs(source, attributes, indexes, attributes.records, geometry)
    used = _tried(ntfs, "what is free was not counted, its bitmap cannot be read", _used)
    entries = _tried(ntfs, "its records were not counted, their bitmap cannot be read", _entries)
    flags = _tried(ntfs, "its version and state are not known, $Volume cannot be read", _volume_flags)
    is_log_clean = _tried(ntfs, "whether its log was worked off is not known", _is_log_clean)
    created = _tried(ntfs, "when it was made is not known", _created)
    _tried(ntfs, "the mirror of its first records cannot be compared", _compare_mirror)
    _tried(ntfs, "whether a system sleeps on it is not known", _look_for_sleep)
    state = "" if flags is None else "dirty" if flags & DIRTY or is_log_clean is False else "clean"
    return VolumeFacts(
        "ntfs",
        label,
        serial=f"{int.from_bytes(boot[72:80], 'little'):016X}",
        created_s=created,
        block_bytes=geometry.cluster_bytes,
        size_bytes=geometry.size_bytes - geometry.sector_bytes,
        used_bytes=None if used is None else used * geometry.cluster_bytes,
        free_bytes=None if used is None else (ntfs.clusters - used) * geometry.cluster_bytes,
        entries=entries,
        state=state,
        journal_pending=is_log_clean is False,
        oddities=tuple(ntfs.oddities),
    )


def _tried(ntfs: _Ntfs, otherwise: str, ask: Callable[[_Ntfs], Answer]) -> Answer | None:
    try:
        return ask(ntfs)
    except FAILURES as error:
        ntfs.oddities.append(f"{otherwise}: {error}")
        return None


def _used(ntfs: _Ntfs) -> int:
    return bits_set(ntfs.source, ntfs.extents(CLUSTERS, DATA), 0, ntfs.clusters)


def _entries(ntfs: _Ntfs) -> int:
    records = ntfs.size(MFT) // ntfs.geometry.record_bytes
    count = max(records - FIRST_FREE_RECORD, 0)
    return max(bits_set(ntfs.source, ntfs.extents(MFT, BITMAP), FIRST_FREE_RECORD, count) - _extensions(ntfs), 0)


def _extensions(ntfs: _Ntfs) -> int:
    """How many records `$Extend` and its folders hold: indexes, quotas, the change journal; no user sees them."""
    seen, folders, names = {EXTEND}, [EXTEND], 0
    try:
        while folders:
            for found in ntfs.indexes.names(folders.pop()):
                names += 1
                if names > NAMES_LIMIT:
                    return len(seen) - 1
                if isinstance(found, str) or found.record < FIRST_FREE_RECORD:
                    continue
                if found.record not in seen and found.is_directory:
                    folders.append(found.record)
                seen.add(found.record)
    except ReadError:
        pass  # NTFS before 3.0 has none
    return len(seen) - 1


def _volume_flags(ntfs: _Ntfs) -> int:
    found = ntfs.records.record(VOLUME).first(VOLUME_INFORMATION)
    if found is None or len(found.value) < 12:
        raise ReadError("it has no volume information")
    major, minor, flags = struct.unpack_from("<BBH", found.value, 8)
    ntfs.oddities.append(f"NTFS version {major}.{minor}")
    if flags & DIRTY:
        ntfs.oddities.append("it is marked for checking (dirty)")
    if flags & CHKDSK_UNDER_WAY:
        ntfs.oddities.append("a check (chkdsk) was begun and not ended")
    if flags & (RESIZE_LOG | UPGRADE):
        ntfs.oddities.append("its log or its version was about to be changed")
    return int(flags)


def _is_log_clean(ntfs: _Ntfs) -> bool:
    """By the newer of the two restart pages; an empty log, all 0xFF, is clean."""
    extents = ntfs.extents(LOG_FILE, DATA)
    pages = [ntfs.read(extents, at, LOG_PAGE) for at in (0, LOG_PAGE)]
    if pages[0][:4] == pages[1][:4] == b"\xff" * 4:
        return True
    areas: list[tuple[int, int, int]] = []
    for page in pages:
        (at,) = struct.unpack_from("<H", page, 24)
        if page[:4] == b"RSTR" and at <= 512 - 18:  # the end of each sector stands elsewhere in the page
            areas.append(struct.unpack_from("<QxxxxHH", page, at))
    if not areas:
        raise ReadError("its log has no restart page")
    _, client, flags = max(areas)
    if client == NO_CLIENT or flags & VOLUME_IS_CLEAN:
        return True
    ntfs.oddities.append("its log was not worked off: the latest changes may be missing")
    return False


def _created(ntfs: _Ntfs) -> int | None:
    """The birth of $Volume, which is that of the file system; mkntfs gives the master file table none."""
    found = ntfs.records.record(VOLUME).first(STANDARD_INFORMATION)
    if found is None or len(found.value) < 8:
        raise ReadError("$Volume has no standard information")
    born = int.from_bytes(found.value[:8], "little")
    return (born - EPOCH_1601) // 10_000_000 if born else None


def _compare_mirror(ntfs: _Ntfs) -> None:
    size = ntfs.records.record_bytes
    there, here = ntfs.extents(MIRROR, DATA), ntfs.extents(MFT, DATA)
    mirror = MasterFileTable(ntfs.source, there, size)
    different: list[int] = []
    for number in range(MIRRORED_RECORDS):
        ntfs.read(there, number * size, size)
        ntfs.read(here, number * size, size)
        try:
            if _steady(mirror.record(number).raw) != _steady(ntfs.records.record(number).raw):
                different.append(number)
        except ReadError:
            different.append(number)
    if different:
        numbers = ", ".join(map(str, different))
        ntfs.oddities.append(f"the mirror of its first records differs in record {numbers}")


def _steady(record: bytes) -> bytes:
    """Without the update sequence, which counts how often this copy was written."""
    at, count = struct.unpack_from("<HH", record, 4)
    return record[:at] + record[at + 2 * count :]


def _look_for_sleep(ntfs: _Ntfs) -> None:
    for number, found in enumerate(ntfs.indexes.names(ROOT)):
        if number >= NAMES_LIMIT:
            return
        if isinstance(found, str) or found.name.lower() != b"hiberfil.sys":
            continue
        content = ntfs.attributes.find(found.record, DATA)
        if content is not None and content.size >= 4 and ntfs.attributes.read(content, 0, 4).lower() == b"hibr":
            ntfs.oddities.append("a Windows system sleeps on it (hiberfil.sys): what it had open may be incomplete")
