"""A zip archive with its central directory -> members that are read one by one, each checked by its CRC.

What one damaged member holds does not concern the others. Names are the bytes of the archive, in whatever code page.
"""

from __future__ import annotations

import bz2
import enum
import lzma
import stat
import struct
import zlib
from collections.abc import Iterator, Sequence

import zstandard

from ntt.model import Extent
from ntt.ranges import within
from ntt.readers.archives.cursor import packed_extents
from ntt.readers.archives.feeds import Decoder
from ntt.readers.archives.members import Member, Remark
from ntt.readers.archives.zip_records import ENCRYPTED, LOCAL, MASKED, CentralDirectory, ZipRecord
from ntt.readers.base import ImageSource, ReadError

NAMES = {1: "shrink", 2: "reduce", 3: "reduce", 4: "reduce", 5: "reduce", 6: "implode", 9: "deflate64", 98: "PPMd"}
LOCAL_BYTES = 30
BLOCK_BYTES = 128 << 10
LINK_LIMIT = 64 << 10
WINDOW_LIMIT = 1 << 28
LZMA_MEMORY = 1 << 29
ZSTD_PIECE_BYTES = 64  # a block of 4 bytes may stand for 128 KiB
DECODING_ERRORS = (zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError, EOFError, ValueError)


class Method(enum.IntEnum):
    """4.4.5, those that are read here."""

    STORED = 0
    DEFLATED = 8
    BZIP2 = 12
    LZMA = 14
    ZSTD = 93
    XZ = 95


class Packed:
    """The packed bytes of a member, in order."""

    def __init__(self, source: ImageSource, at: int, length: int) -> None:
        self._source = source
        self._at = at
        self._end = at + length

    def read(self, size: int) -> bytes:
        length = max(min(size, self._end - self._at), 0)
        found = self._source.read(self._at, length) if length else b""
        self._at += length
        return found


class Unpacking:
    """The content of one member, forward only; `offset` is how far it has come, `crc` that of all before it."""

    def __init__(self, record: ZipRecord, packed: Packed) -> None:
        self.offset = 0
        self.crc = 0
        self._packed = packed
        self._waiting = b""
        self._decoder = None if record.method == Method.STORED else _decoder(record.method, packed)

    def read(self, length: int) -> bytes:
        """The next `length` bytes; fewer only at the end of the content."""
        parts: list[bytes] = []
        while length > 0 and (part := self._part(min(length, BLOCK_BYTES))):
            parts.append(part)
            length -= len(part)
            self.offset += len(part)
            self.crc = zlib.crc32(part, self.crc)
        return b"".join(parts)

    def _part(self, room: int) -> bytes:
        if self._decoder is None:
            return self._packed.read(room)
        try:
            while not self._decoder.eof:
                found = self._decoder.decompress(self._waiting, room)
                self._waiting = getattr(self._decoder, "unconsumed_tail", b"")
                if found:
                    return found
                if not self._waiting and not self._decoder.eof:
                    self._waiting = self._packed.read(BLOCK_BYTES)
                    if not self._waiting:
                        return b""
        except DECODING_ERRORS as error:
            raise ReadError(f"its packed content is damaged: {error}") from None
        return b""


class ZstdDecoder:
    """A decoder like those of zlib, bz2 and lzma: small pieces go in, and what does not fit into the answer waits."""

    unused_data = b""

    def __init__(self) -> None:
        self._decoder = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT).decompressobj()
        self._ready = b""
        self.unconsumed_tail = b""

    @property
    def eof(self) -> bool:
        return self._decoder.eof and not self._ready

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes:
        while len(self._ready) < max_length and data and not self._decoder.eof:
            self._ready += self._decoder.decompress(data[:ZSTD_PIECE_BYTES])
            data = data[ZSTD_PIECE_BYTES:]
        found, self._ready = self._ready[:max_length], self._ready[max_length:]
        self.unconsumed_tail = data
        return found


def _decoder(method: int, packed: Packed) -> Decoder:
    """ReadError for a method that is not read here."""
    match method:
        case Method.DEFLATED:
            return zlib.decompressobj(wbits=-15)
        case Method.BZIP2:
            return bz2.BZ2Decompressor()
        case Method.LZMA:
            return _lzma(packed)
        case Method.XZ:
            return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=LZMA_MEMORY)
        case Method.ZSTD:
            return ZstdDecoder()
    raise ReadError(f"it is packed with {NAMES.get(method, f'method {method}')}, which is not read here")


def _lzma(packed: Packed) -> lzma.LZMADecompressor:
    """4.4.4 and 5.8: a version, the length of the properties, and these, before the raw stream."""
    head = packed.read(4)
    properties = packed.read(int.from_bytes(head[2:4], "little"))
    if len(properties) < 5 or properties[0] >= 225:
        raise ReadError("its packed content is damaged: no LZMA properties")
    pb, rest = divmod(properties[0], 45)
    lp, lc = divmod(rest, 9)
    dictionary = int.from_bytes(properties[1:5], "little")
    if dictionary > LZMA_MEMORY:
        raise ReadError(f"it needs {dictionary:,} bytes of memory to unpack")
    chain = [{"id": lzma.FILTER_LZMA1, "lc": lc, "lp": lp, "pb": pb, "dict_size": max(dictionary, 4096)}]
    try:
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain)
    except lzma.LZMAError as error:
        raise ReadError(f"its packed content is damaged: {error}") from None


class ZipMembers:
    """ReadError if the archive has no whole central directory."""

    format_name = "zip"

    def __init__(self, source: ImageSource, start: int) -> None:
        self._source = source
        self._directory = CentralDirectory(source, start)
        self._unread = within(source.unread, start, source.size_bytes)
        self._found: tuple[int, ZipRecord, int] | None = None
        self._unpacking: tuple[int, Unpacking] | None = None

    def members(self) -> Iterator[Member | Remark]:
        for ordinal, record in enumerate(self._directory.records()):
            target, refusal = b"", _refusal(record)
            is_link, is_regular = stat.S_ISLNK(record.mode), stat.S_ISREG(record.mode)
            if is_link:
                try:
                    target = self.read(ordinal, 0, min(record.size, LINK_LIMIT))
                except ReadError as error:
                    yield Remark(f"the target of the link {ordinal + 1:,} cannot be read: {error}")
            size = record.size if is_regular else len(target)
            place = self._content_at(ordinal, record) if is_regular and size else -1
            yield Member(
                ordinal,
                record.path,
                record.mode,
                size,
                record.mtime_s,
                record.mtime_ns,
                record.uid,
                record.gid,
                target,
                b"",
                place,
                refusal,
            )

    def _content_at(self, ordinal: int, record: ZipRecord) -> int:
        try:
            return self._located(ordinal)[1]
        except ReadError:
            return record.local_at  # only the order of reading depends on it

    def measure(self, ordinal: int) -> tuple[int, str]:
        return self._located(ordinal)[0].size, ""

    def _located(self, ordinal: int) -> tuple[ZipRecord, int]:
        """A member's record, and the image offset of its packed bytes; ReadError if its local header is none."""
        if self._found is None or self._found[0] != ordinal:
            self._found = None
            if not 0 <= ordinal < len(self._directory.places):
                raise ReadError("the archive holds no such member")
            record = self._directory.record(self._directory.places[ordinal])
            raw = self._source.read(record.local_at, LOCAL_BYTES)
            if raw[:4] != LOCAL:
                raise ReadError(f"its header at byte {record.local_at:,} is damaged")
            name_bytes, extra_bytes = struct.unpack_from("<HH", raw, 26)
            self._found = ordinal, record, record.local_at + LOCAL_BYTES + name_bytes + extra_bytes
        return self._found[1:]

    def read(self, ordinal: int, offset: int, length: int) -> bytes:
        record, data_at = self._located(ordinal)
        if refusal := _refusal(record):
            raise ReadError(refusal)
        wanted = max(min(length, record.size - offset), 0)
        if wanted and record.method == Method.STORED and within(self._unread, data_at, data_at + record.packed_bytes):
            return self._source.read(data_at + offset, wanted)  # zeros where unread: its CRC cannot hold
        unpacking = self._unpacking_at(ordinal, record, data_at, offset)
        try:
            found = unpacking.read(wanted)
            if len(found) < wanted:
                raise ReadError(f"it holds {unpacking.offset:,} bytes where the archive says {record.size:,}")
            if unpacking.offset == record.size:
                self._at_end(unpacking, record)
        except ReadError:
            self._unpacking = None
            raise
        return found

    def _unpacking_at(self, ordinal: int, record: ZipRecord, data_at: int, offset: int) -> Unpacking:
        if self._unpacking is None or self._unpacking[0] != ordinal or self._unpacking[1].offset > offset:
            self._unpacking = ordinal, Unpacking(record, Packed(self._source, data_at, record.packed_bytes))
        unpacking = self._unpacking[1]
        while (before := offset - unpacking.offset) > 0 and unpacking.read(min(before, BLOCK_BYTES)):
            pass
        return unpacking

    def _at_end(self, unpacking: Unpacking, record: ZipRecord) -> None:
        crc = unpacking.crc
        if unpacking.read(1):
            raise ReadError(f"it holds more than the {record.size:,} bytes that the archive says")
        if crc != record.crc:
            raise ReadError("its content is damaged: its CRC differs")

    def extents(self, ordinal: int) -> Sequence[Extent]:
        record, data_at = self._located(ordinal)
        if not record.size:
            return []
        if record.method == Method.STORED and record.packed_bytes == record.size and not record.flags & ENCRYPTED:
            return [Extent(0, record.size, data_at, record.size)]
        whole = Member(ordinal, b"", 0, record.size, 0, 0, 0, 0, b"", b"", data_at)
        return packed_extents(whole, [], data_at, data_at + max(record.packed_bytes, 1))

    def close(self) -> None:
        self._unpacking = None


def _refusal(record: ZipRecord) -> str:
    if record.flags & (ENCRYPTED | MASKED):
        return "its content is encrypted: unpack the archive with its password"
    return ""
