"""Directory sectors of FAT12/16/32 and exFAT -> entries with exact names, times and first clusters."""

from __future__ import annotations

import calendar
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

RECORD_BYTES = 32
ATTRIBUTE_LABEL, ATTRIBUTE_DIRECTORY, ATTRIBUTE_LONG_NAME = 0x08, 0x10, 0x0F
NT_LOWER_BASE, NT_LOWER_EXTENSION = 0x08, 0x10
EXFAT_LABEL, EXFAT_FILE, EXFAT_STREAM, EXFAT_NAME = 0x83, 0x85, 0xC0, 0xC1
LAST_LONG_NAME_PART = 0x40
EXFAT_UNREAD = 0x01  # in the place of a record's kind: nothing in use has it
EXFAT_NO_CHAIN = 0x02


class FatEntry(NamedTuple):
    """`position` is the image offset of the (primary) record, `size` 0 for directories, `stated_bytes` of either.

    `is_contiguous`: its clusters follow each other, the table says nothing of them. `may_be_short`: records before it
    were not read, and a long name that they may have held is lost.
    """

    position: int
    name: bytes
    is_label: bool
    is_directory: bool
    read_only: bool
    size: int
    valid_bytes: int
    first_cluster: int
    mtime_s: int
    mtime_ns: int
    stated_bytes: int = 0
    is_contiguous: bool = False
    may_be_short: bool = False


class Broken(NamedTuple):
    """Of a set of records only the beginning stands there: a name is lost."""

    position: int


class Record(NamedTuple):
    """32 bytes of a directory and where they lie in the image; none: here one or more were not read."""

    position: int
    raw: bytes


def utf8(name: bytes) -> bytes:
    """UTF-16LE as on the medium -> UTF-8; a lone surrogate keeps its three bytes, so that nothing is merged."""
    return name.decode("utf-16-le", "surrogatepass").encode("utf-8", "surrogatepass")


def fat_time(date: int, time: int, hundredths: int = 0) -> tuple[int, int]:
    """FAT date and time -> (seconds, nanoseconds) from 1970; the medium's wall clock is taken as UTC. (0, 0): none."""
    year, month, day = 1980 + (date >> 9), date >> 5 & 15, date & 31
    hour, minute, second = time >> 11, time >> 5 & 63, (time & 31) * 2
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 60):
        return 0, 0
    seconds, rest = divmod(hundredths if hundredths < 200 else 0, 100)
    return calendar.timegm((year, month, day, hour, minute, second)) + seconds, rest * 10_000_000


def fat_entries(records: Iterable[Record]) -> Iterator[FatEntry | Broken]:
    """Microsoft, "FAT: General Overview of On-Disk Format": long-name parts, last first, before their short record.

    Parts before a deleted record are no loss: DOS deletes without them. What follows unread records is listed.
    """
    parts: list[bytes] = []
    parts_at = 0
    is_behind_gap = False
    for record in records:
        raw = record.raw
        if not raw:
            if parts:
                yield Broken(parts_at)
            parts, is_behind_gap = [], True
            continue
        if raw[0] == 0:
            break
        if raw[0] == 0xE5:
            parts, is_behind_gap = [], False
        elif raw[11] & 0x3F == ATTRIBUTE_LONG_NAME:
            if raw[0] & LAST_LONG_NAME_PART:
                if parts and not is_behind_gap:
                    yield Broken(parts_at)
                parts, is_behind_gap = [], False
            parts_at = parts_at if parts else record.position
            parts.append(raw)
        else:
            entry = _fat_entry(record, _long_name(parts, raw) or _short_name(raw))
            yield entry._replace(may_be_short=True) if is_behind_gap and not _is_own(entry) else entry
            parts, is_behind_gap = [], False
    if parts:
        yield Broken(parts_at)


def _is_own(entry: FatEntry) -> bool:
    """A label, or a directory's entry of itself or of the one above: these have no long name."""
    return entry.is_label or entry.name in (b".", b"..")


def _fat_entry(record: Record, name: bytes) -> FatEntry:
    raw = record.raw
    high, time, date, low, size = struct.unpack_from("<HHHHI", raw, 20)
    is_directory = bool(raw[11] & ATTRIBUTE_DIRECTORY)
    is_label = bool(raw[11] & ATTRIBUTE_LABEL)
    mtime_s, mtime_ns = fat_time(date, time)
    return FatEntry(
        record.position,
        raw[:11].rstrip(b" ") if is_label else name,
        is_label,
        is_directory,
        bool(raw[11] & 1),
        0 if is_directory else size,
        size,
        low | high << 16,
        mtime_s,
        mtime_ns,
        size,
    )


def _long_name(parts: list[bytes], short: bytes) -> bytes:
    """Empty unless every part is there, the last one too, in order, and carries the short name's checksum."""
    if not parts or parts[0][0] & 0x7F != LAST_LONG_NAME_PART | len(parts):
        return b""
    checksum = 0
    for byte in short[:11]:
        checksum = ((checksum >> 1 | checksum << 7) + byte) & 0xFF
    units = b""
    for number, part in enumerate(reversed(parts), 1):
        if part[0] & 0x3F != number or part[13] != checksum:
            return b""
        units += part[1:11] + part[14:26] + part[28:32]
    for at in range(0, len(units), 2):
        if units[at : at + 2] == b"\0\0":
            units = units[:at]
            break
    return utf8(units)


def _short_name(raw: bytes) -> bytes:
    """8.3 as stored, in the code page of whoever wrote it; the case bits of Windows NT lower ASCII letters only."""
    base, extension = raw[:8].rstrip(b" "), raw[8:11].rstrip(b" ")
    if base[:1] == b"\x05":
        base = b"\xe5" + base[1:]
    if raw[12] & NT_LOWER_BASE:
        base = base.lower()
    if raw[12] & NT_LOWER_EXTENSION:
        extension = extension.lower()
    return base + b"." + extension if extension else base


def exfat_entries(records: Iterable[Record]) -> Iterator[FatEntry | Broken]:
    """Microsoft, "exFAT file system specification", section 7: a file record, its stream record, its name records."""
    primary: Record | None = None
    stream = b""
    units = b""
    left = 0
    for record in records:
        kind = record.raw[0] if record.raw else EXFAT_UNREAD
        if kind == 0:
            break
        if primary is not None and (kind == EXFAT_FILE or not kind & 0x40):  # the set is broken off
            yield Broken(primary.position)
            primary = None
        if kind == EXFAT_LABEL:
            yield FatEntry(record.position, _exfat_label(record.raw), True, False, False, 0, 0, 0, 0, 0)
        if kind == EXFAT_FILE:
            primary, stream, units, left = record, b"", b"", record.raw[1]
            continue
        if primary is None:
            continue
        left -= 1
        if kind == EXFAT_STREAM and not stream:
            stream = record.raw
        elif kind == EXFAT_NAME and stream:
            units += record.raw[2:32]
        if stream and len(units) >= 2 * stream[3]:
            yield _exfat_entry(primary, stream, units[: 2 * stream[3]])
            primary = None
        elif left <= 0:
            yield Broken(primary.position)
            primary = None
    if primary is not None:
        yield Broken(primary.position)


def _exfat_label(raw: bytes) -> bytes:
    return utf8(raw[2 : 2 + 2 * min(raw[1], 11)])


def _exfat_entry(primary: Record, stream: bytes, units: bytes) -> FatEntry:
    raw = primary.raw
    (attributes,) = struct.unpack_from("<H", raw, 4)
    time, date = struct.unpack_from("<HH", raw, 12)
    valid, first_cluster, size = struct.unpack_from("<QxxxxIQ", stream, 8)
    mtime_s, mtime_ns = fat_time(date, time, raw[21])
    if raw[23] & 0x80:  # quarters of an hour east of UTC, seven bits with sign
        mtime_s -= ((raw[23] & 0x7F ^ 0x40) - 0x40) * 900
    is_directory = bool(attributes & ATTRIBUTE_DIRECTORY)
    return FatEntry(
        primary.position,
        utf8(units),
        False,
        is_directory,
        bool(attributes & 1),
        0 if is_directory else size,
        min(valid, size),
        first_cluster,
        mtime_s,
        mtime_ns,
        size,
        bool(stream[1] & EXFAT_NO_CHAIN),
    )


def exfat_checksum(records: bytes) -> int:
    """Of a set of records as its first one states it; the same specification, section 6.3.3."""
    total = 0
    for at, byte in enumerate(records):
        if at not in (2, 3):
            total = ((total << 15 | total >> 1) + byte) & 0xFFFF
    return total
