"""One member of a gzip file -> its content, as far as it can be had, and what its header says; RFC 1952."""

from __future__ import annotations

import zlib

from ntt.readers.base import ImageSource

GZIP = b"\x1f\x8b\x08"
HEADER_CRC, EXTRA, NAME, COMMENT = 2, 4, 8, 16
HEADER_LIMIT = 1 << 17
TRAILER_BYTES = 8
SMALL_BYTES = 512


class GzipMember:
    """A decoder as those of bz2 and lzma are. zlib.error where it is damaged; `rescued` is what came before that.

    zlib's own gzip decoder keeps back what it has unpacked in the call that fails.
    """

    def __init__(self) -> None:
        self.eof = False
        self.unused_data = b""
        self.unconsumed_tail = b""
        self.rescued = b""
        self._head: bytes | None = b""
        self._inflater = zlib.decompressobj(wbits=-15)
        self._tail: bytes | None = None
        self._crc = 0
        self._size = 0

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes:
        """At most `max_length` bytes; what is left in `unconsumed_tail` is to be given again."""
        if self._tail is not None:
            self._check(self._tail + data)
            return b""
        if self._head is not None:
            data = self._behind_header(self._head + data)
        return self._inflated(data, max_length) if self._head is None else b""

    def _behind_header(self, data: bytes) -> bytes:
        end = header_end(data)
        self._head = data if end < 0 else None
        if end < 0 and len(data) > HEADER_LIMIT:
            raise zlib.error("its header has no end")
        return data[end:] if end >= 0 else b""

    def _inflated(self, data: bytes, max_length: int) -> bytes:
        before = self._inflater.copy()
        try:
            found = self._inflater.decompress(data, max_length)
        except zlib.error:
            self.rescued = _rescued(before, data, max_length)
            raise
        self._crc = zlib.crc32(found, self._crc)
        self._size += len(found)
        self.unconsumed_tail = self._inflater.unconsumed_tail
        if self._inflater.eof:
            self._tail, self.unconsumed_tail = self._inflater.unused_data, b""
            if not found:
                self._check(self._tail)
        return found

    def _check(self, tail: bytes) -> None:
        self._tail, self.rescued, self.unconsumed_tail = tail, b"", b""
        if len(tail) < TRAILER_BYTES:
            return
        if tail[:TRAILER_BYTES] != self._crc.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little"):
            raise zlib.error("its checksum differs: some of the content before it is wrong")
        self.eof, self.unused_data = True, tail[TRAILER_BYTES:]


def _rescued(inflater: zlib._Decompress, data: bytes, max_length: int) -> bytes:
    """What can be unpacked before the damage, in small steps: a step that fails gives nothing."""
    found = b""
    try:
        while len(found) < max_length and (part := inflater.decompress(data, SMALL_BYTES)):
            found += part
            data = inflater.unconsumed_tail
    except zlib.error:
        pass
    return found


def header_end(head: bytes) -> int:
    """Where the compressed data begin; -1 if the header is longer than what is given."""
    if len(head) < 10:
        return -1
    flags, at = head[3], 10
    if flags & EXTRA:
        at += 2 + int.from_bytes(head[at : at + 2], "little")
    for _ in range(bool(flags & NAME) + bool(flags & COMMENT)):
        at = head.find(b"\0", at) + 1
        if not at:
            return -1
    at += 2 if flags & HEADER_CRC else 0
    return at if at <= len(head) else -1


def gzip_header(source: ImageSource, start: int) -> tuple[bytes, int]:
    """The original file's name (empty: not kept) and time of change in seconds (0: not kept)."""
    head = source.read(start, 4096)
    if head[:3] != GZIP:
        return b"", 0
    at = 10
    if head[3] & EXTRA:
        at += 2 + int.from_bytes(head[at : at + 2], "little")
    end = head.find(b"\0", at) if head[3] & NAME else at
    return head[at : max(end, at)], int.from_bytes(head[4:8], "little")
