"""An image -> the bytes of an archive in blocks, in order: as they are, or out of gzip, bzip2, xz with their checks.

libarchive does not check gzip's CRC, and is silent on what stands behind the end of gzip and bzip2.
"""

from __future__ import annotations

import bz2
import lzma
import os
import zlib
from collections.abc import Callable
from typing import Protocol

from ntt.ranges import within
from ntt.readers.archives.gzip import GZIP, GzipMember
from ntt.readers.base import ImageSource, ReadError

BLOCK_BYTES = 256 << 10
FINE_BLOCK_BYTES = 4096  # where it matters how far reading has come
MAGIC = {"gzip": GZIP, "bzip2": b"BZh", "xz": b"\xfd7zXZ\0"}
MEMORY_BYTES = 1 << 29


class Feed(Protocol):
    """`position`: how far into the image reading has come. `remark`: what was found behind the stream's end."""

    @property
    def filter_name(self) -> str: ...

    @property
    def can_seek(self) -> bool: ...

    @property
    def position(self) -> int: ...

    @property
    def remark(self) -> str: ...

    def block(self) -> bytes:
        """The next bytes, empty at the end. ReadError where the stream is damaged or ends early."""
        ...

    def seek(self, offset: int, whence: int) -> int:
        """As `os.lseek`, counted from the archive's beginning; returns where the next block will be from."""
        ...


class ImageFeed:
    """The image from `start` on. `advance` is told how many bytes each block has.

    Blocks are small where parts of the image were never read: what lies behind a member must not count as read for it.
    """

    filter_name = ""
    can_seek = True
    remark = ""

    def __init__(self, source: ImageSource, start: int, advance: Callable[[int], None]) -> None:
        self._source = source
        self._start = start
        self._advance = advance
        self._block_bytes = FINE_BLOCK_BYTES if within(source.unread, start, source.size_bytes) else BLOCK_BYTES
        self.position = start

    def block(self) -> bytes:
        length = max(min(self._block_bytes, self._source.size_bytes - self.position), 0)
        try:
            found = self._source.read(self.position, length)
        except OSError as error:
            raise ReadError(f"the image cannot be read: {error}") from None
        self.position += length
        self._advance(length)
        return found

    def seek(self, offset: int, whence: int) -> int:
        base = {os.SEEK_SET: self._start, os.SEEK_CUR: self.position, os.SEEK_END: self._source.size_bytes}[whence]
        if base + offset < self._start:
            raise ReadError("the archive points before its own beginning")
        self.position = base + offset
        return self.position - self._start


class Decoder(Protocol):
    """What bz2, lzma and our gzip have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


class InflatedFeed:
    """gzip, bzip2 or xz: all members one after the other; zeros behind the last are padding."""

    can_seek = False

    def __init__(self, image: ImageFeed, filter_name: str) -> None:
        self.filter_name = filter_name
        self.remark = ""
        self._image = image
        self._decoder = self._new()
        self._waiting = b""
        self._failure: ReadError | None = None
        self._ended = False

    def _new(self) -> Decoder:
        match self.filter_name:
            case "gzip":
                return GzipMember()
            case "bzip2":
                return bz2.BZ2Decompressor()
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY_BYTES)

    @property
    def position(self) -> int:
        return self._image.position

    def block(self) -> bytes:
        while not self._ended:
            if self._failure is not None:
                raise self._failure
            if self._decoder.eof:
                self._next_member()
                continue
            found = self._decoded(self._waiting)
            if found:
                return found
            if not self._decoder.eof and not self._waiting and self._failure is None:
                self._waiting = self._image.block()
                if not self._waiting:
                    raise ReadError(f"the {self.filter_name} stream ends early, with the image")
        return b""

    def _decoded(self, data: bytes) -> bytes:
        try:
            found = self._decoder.decompress(data, BLOCK_BYTES)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
            at = self._image.position
            self._failure = ReadError(f"the {self.filter_name} stream is damaged before byte {at:,}: {error}")
            return getattr(self._decoder, "rescued", b"")
        self._waiting = getattr(self._decoder, "unconsumed_tail", b"")
        return found

    def _next_member(self) -> None:
        rest = self._decoder.unused_data.lstrip(b"\0")
        while len(rest) < len(MAGIC[self.filter_name]):
            more = self._image.block()
            if not more:
                break
            rest = rest + more if rest else more.lstrip(b"\0")
        if rest.startswith(MAGIC[self.filter_name]):
            self._decoder, self._waiting = self._new(), rest
            return
        self._ended = True
        if rest:
            self.remark = f"bytes behind the end of the {self.filter_name} stream are no part of it and are not listed"

    def seek(self, offset: int, whence: int) -> int:
        raise ReadError(f"a {self.filter_name} stream is read forward only, not at {offset:,} from {whence}")


def open_feed(source: ImageSource, start: int, advance: Callable[[int], None]) -> Feed:
    """The bytes of the archive that begins at `start`."""
    head = source.read(start, 8)
    image = ImageFeed(source, start, advance)
    for name, magic in MAGIC.items():
        if head.startswith(magic):
            return InflatedFeed(image, name)
    return image
