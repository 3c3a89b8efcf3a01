"""The central directory of a zip archive -> its records: names as bytes, times, sizes, where contents begin.

APPNOTE.TXT (PKWARE), sections 4.3.7, 4.3.12 to 4.3.16, 4.5; extra fields of Info-ZIP: extrafld.txt.
"""

from __future__ import annotations

import stat
import struct
import zlib
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from ntt.readers.base import ImageSource, ReadError
from ntt.readers.fat.directories import fat_time

LOCAL, CENTRAL, END, END64, LOCATOR64 = (b"PK" + mark for mark in (b"\3\4", b"\1\2", b"\5\6", b"\6\6", b"\6\7"))
CENTRAL_BYTES, END_BYTES, LOCATOR_BYTES, END64_BYTES = 46, 22, 20, 56
COMMENT_LIMIT = 0xFFFF
WINDOW_BYTES = 1 << 20
RECORD_LIMIT = 4_000_000
FULL_16, FULL_32 = 0xFFFF, 0xFFFFFFFF
MADE_BY_DOS, MADE_BY_UNIX, MADE_BY_DARWIN = 0, 3, 19
EXTRA_ZIP64, EXTRA_NTFS, EXTRA_TIME, EXTRA_UNIX_PATH, EXTRA_OWNER = 0x0001, 0x000A, 0x5455, 0x7075, 0x7875
EPOCH_1601 = 116_444_736_000_000_000
ENCRYPTED, MASKED = 1, 1 << 13


class ZipRecord(NamedTuple):
    """One record of the central directory. `local_at` is the image offset of the local header; sizes are bytes."""

    path: bytes
    mode: int
    flags: int
    method: int
    crc: int
    packed_bytes: int
    size: int
    local_at: int
    mtime_s: int
    mtime_ns: int
    uid: int
    gid: int


class CentralDirectory:
    """The directory at the archive's end. ReadError if there is none, or if it is not all there."""

    def __init__(self, source: ImageSource, start: int) -> None:
        self._source = source
        end_at = _find_end(source, start)
        count, size, offset = _end_record(source, start, end_at)
        self.at = self._directory_at(start, end_at, size, offset)
        self.end = self.at + size
        self.shift = self.at - offset  # what was put before the archive moved it all
        self.count = count
        self.places = self._places()

    def _directory_at(self, start: int, end_at: int, size: int, offset: int) -> int:
        for at in (start + offset, end_at - size):
            if start <= at and at + size <= end_at and (not size or self._source.read(at, 4) == CENTRAL):
                return at
        raise ReadError("the central directory is not where the end of the archive says")

    def _places(self) -> array[int]:
        """Where each record stands, in the order of the contents; ReadError if they are not as many as stated."""
        found: list[tuple[int, int]] = []
        window, window_at = b"", 0
        at = self.at
        while at + CENTRAL_BYTES <= self.end:
            if not window_at <= at <= window_at + len(window) - CENTRAL_BYTES:
                window, window_at = self._source.read(at, min(WINDOW_BYTES, self.end - at)), at
            raw = window[at - window_at : at - window_at + CENTRAL_BYTES]
            if raw[:4] != CENTRAL:
                break
            name, extra, comment = struct.unpack_from("<HHH", raw, 28)
            (local,) = struct.unpack_from("<I", raw, 42)
            found.append((local, at))
            if len(found) > RECORD_LIMIT:
                raise ReadError(f"the central directory holds more than {RECORD_LIMIT:,} records")
            at += CENTRAL_BYTES + name + extra + comment
        if len(found) & FULL_16 != self.count & FULL_16 or at > self.end:
            raise ReadError(f"the central directory holds {len(found):,} records where {self.count:,} are stated")
        if any(local == FULL_32 for local, _ in found):
            found = [(self.record(at).local_at, at) for _, at in found]
        found.sort()
        return array("Q", (at for _, at in found))

    def records(self) -> Iterator[ZipRecord]:
        for at in self.places:
            yield self.record(at)

    def record(self, at: int) -> ZipRecord:
        """The record at an image offset."""
        raw = self._source.read(at, CENTRAL_BYTES)
        name_bytes, extra_bytes = struct.unpack_from("<HH", raw, 28)
        rest = self._source.read(at + CENTRAL_BYTES, name_bytes + extra_bytes)
        name, extra = rest[:name_bytes], dict(_extra_fields(rest[name_bytes:]))
        flags, method, time, date, crc, packed, size = struct.unpack_from("<HHHHIII", raw, 8)
        external, local = struct.unpack_from("<II", raw, 38)
        size, packed, local = _wide(size, packed, local, extra.get(EXTRA_ZIP64, b""))
        host = raw[5]
        mtime_s, mtime_ns = _time(extra, date, time)
        uid, gid = _owner(extra.get(EXTRA_OWNER, b""))
        path = _unicode_path(name, extra.get(EXTRA_UNIX_PATH, b""))
        if host == MADE_BY_DOS and b"/" not in path:
            path = path.replace(b"\\", b"/")  # some programs of Windows separate folders by what DOS did
        mode = _mode(host, external, path)
        return ZipRecord(path, mode, flags, method, crc, packed, size, self.shift + local, mtime_s, mtime_ns, uid, gid)


def _find_end(source: ImageSource, start: int) -> int:
    """The last end record whose comment ends with the image, or else the last one that is there."""
    length = min(COMMENT_LIMIT + END_BYTES, source.size_bytes - start)
    tail_at = source.size_bytes - length
    tail = source.read(tail_at, max(length, 0))
    last = at = tail.rfind(END, 0, max(len(tail) - END_BYTES + len(END), 0))
    while at >= 0:
        if at + END_BYTES + int.from_bytes(tail[at + 20 : at + 22], "little") == len(tail):
            return tail_at + at
        at = tail.rfind(END, 0, at)
    if last < 0:
        raise ReadError("the archive has no central directory: its end is missing")
    return tail_at + last


def _end_record(source: ImageSource, start: int, end_at: int) -> tuple[int, int, int]:
    """Number of records, size of the directory, its offset in the archive; of the zip64 record where there is one."""
    disk, _, _, count, size, offset = struct.unpack_from("<HHHHII", source.read(end_at, END_BYTES), 4)
    if disk not in (0, FULL_16):
        raise ReadError(f"this is volume {disk + 1} of an archive in several: give the joined archive")
    if count != FULL_16 and FULL_32 not in (size, offset):
        return count, size, offset
    locator = source.read(end_at - LOCATOR_BYTES, LOCATOR_BYTES) if end_at >= LOCATOR_BYTES else b""
    if locator[:4] != LOCATOR64:
        return count, size, offset
    (stated,) = struct.unpack_from("<Q", locator, 8)
    for at in (start + stated, end_at - LOCATOR_BYTES - END64_BYTES):
        if 0 <= at < end_at and (wide := source.read(at, END64_BYTES))[:4] == END64:
            count, size, offset = struct.unpack_from("<QQQ", wide, 32)
            return count, size, offset
    raise ReadError("the zip64 record of the archive's end is missing")


def _extra_fields(raw: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(raw):
        kind, length = struct.unpack_from("<HH", raw, at)
        yield kind, raw[at + 4 : at + 4 + length]
        at += 4 + length


def _wide(size: int, packed: int, local: int, raw: bytes) -> tuple[int, int, int]:
    """4.5.3: eight bytes for each field that is full, in this order."""
    fields = iter(struct.unpack_from(f"<{len(raw) // 8}Q", raw))
    size = next(fields, size) if size == FULL_32 else size
    packed = next(fields, packed) if packed == FULL_32 else packed
    local = next(fields, local) if local == FULL_32 else local
    return size, packed, local


def _time(extra: dict[int, bytes], date: int, time: int) -> tuple[int, int]:
    """UTC where an extra field keeps it; the wall clock of DOS is taken as UTC."""
    unix, windows = extra.get(EXTRA_TIME, b""), extra.get(EXTRA_NTFS, b"")
    if len(windows) >= 16 and windows[4:8] == b"\1\0\x18\0":
        seconds, rest = divmod(int.from_bytes(windows[8:16], "little") - EPOCH_1601, 10_000_000)
        return seconds, rest * 100
    if len(unix) >= 5 and unix[0] & 1:
        return int.from_bytes(unix[1:5], "little", signed=True), 0
    return fat_time(date, time)


def _owner(raw: bytes) -> tuple[int, int]:
    """Info-ZIP's third Unix field: version 1, then length and number of user and group."""
    if raw[:1] != b"\1" or len(raw) < 3:
        return 0, 0
    split = 2 + raw[1]
    gid_bytes = raw[split] if split < len(raw) else 0
    return int.from_bytes(raw[2:split], "little"), int.from_bytes(raw[split + 1 : split + 1 + gid_bytes], "little")


def _unicode_path(name: bytes, raw: bytes) -> bytes:
    """4.6.9: a UTF-8 path beside the one in a code page, valid as long as that one was not changed."""
    if len(raw) > 5 and raw[0] == 1 and int.from_bytes(raw[1:5], "little") == zlib.crc32(name):
        return raw[5:]
    return name


def _mode(host: int, external: int, path: bytes) -> int:
    mode = external >> 16 if host in (MADE_BY_UNIX, MADE_BY_DARWIN) else 0
    is_directory = path.endswith(b"/") or (host == MADE_BY_DOS and bool(external & 0x10))
    if not stat.S_IFMT(mode):
        mode |= stat.S_IFDIR if is_directory else stat.S_IFREG
    if not mode & 0o7777:
        mode |= 0o755 if stat.S_ISDIR(mode) else 0o644
    return mode
