"""A feed -> headers and contents through libarchive, forward only."""

from __future__ import annotations

import ctypes
import stat
from collections.abc import Iterator
from ctypes import c_int64, c_size_t, c_void_p
from typing import NamedTuple

from ntt.readers.archives import library as lib
from ntt.readers.archives.feeds import Feed
from ntt.readers.archives.library import Library
from ntt.readers.archives.members import UNKNOWN, Member, Remark
from ntt.readers.base import ReadError

SKIPS_LIMIT = 4 << 20  # headers that are none, one after the other: 2 GiB of a tar
CAUSE_LIMIT = 200
NANOSECONDS = 1_000_000_000


class Block(NamedTuple):
    """A piece of a member's content."""

    offset: int
    content: bytes

    @property
    def end(self) -> int:
        return self.offset + len(self.content)


class ArchiveStream:
    """One pass over an archive. ReadError if it is none. `close` frees what the library holds.

    `search_on`: behind a damaged part of a tar, and behind its end mark, further headers are looked for.
    """

    def __init__(self, library: Library, feed: Feed, names: bytes, formats: tuple[str, ...], search_on: bool) -> None:
        self.feed = feed
        self.start = feed.position
        self.ordinal = -1
        self.member: Member | None = None
        self._library = library
        self._names = names
        self._failure: ReadError | None = None
        self._is_linear: bool | None = None
        self._block = b""  # what the library reads from; it must outlive the call
        self._entry = c_void_p()
        self._archive = library.new()
        self._read_callback = lib.READ_CALLBACK(self._on_read)
        self._seek_callback = lib.SEEK_CALLBACK(self._on_seek)
        try:
            self._open(formats, search_on)
        except BaseException:
            self.close()
            raise

    def _open(self, formats: tuple[str, ...], search_on: bool) -> None:
        call, archive = self._library.number, self._archive
        for name in self._library.filters:
            call(f"read_support_filter_{name}", archive)
        for name in formats:
            call(f"read_support_format_{name}", archive)
        call("read_set_read_callback", archive, self._read_callback)
        if self.feed.can_seek:
            call("read_set_seek_callback", archive, self._seek_callback)
        call("read_set_callback_data", archive, None)
        if search_on:
            call("read_set_options", archive, b"tar:read_concatenated_archives")
        if call("read_open1", archive) < lib.WARN:
            raise self._error()

    def _on_read(self, _archive: object, _data: object, place: ctypes._Pointer[c_void_p]) -> int:
        try:
            self._block = self.feed.block()
        except ReadError as error:
            self._failure = error
            return lib.FATAL
        place[0] = ctypes.cast(ctypes.c_char_p(self._block), c_void_p)
        return len(self._block)

    def _on_seek(self, _archive: object, _data: object, offset: int, whence: int) -> int:
        try:
            return self.feed.seek(offset, whence)
        except ReadError as error:
            self._failure = error
            return lib.FATAL

    def _error(self) -> ReadError:
        if self._failure is not None:
            return self._failure
        text = self._library.text("error_string", self._archive) or b"libarchive does not say why"
        return ReadError(" ".join(text.decode("utf-8", "replace").split())[:CAUSE_LIMIT])

    # ------------------------------------------------------------ headers

    def next(self) -> Member | Remark | None:
        """The next header, None at the archive's end. ReadError where libarchive cannot go on."""
        skipped = 0
        while True:
            with self._library.names_in(self._names):
                status = self._library.number("read_next_header", self._archive, ctypes.byref(self._entry))
                if status in (lib.OK, lib.WARN):
                    self.ordinal += 1
                    self.member = self._member()
                    return self.member
            if status == lib.EOF:
                self.member = None
                return Remark(f"{skipped:,} blocks at the end are no headers: {self._error()}") if skipped else None
            skipped += 1
            if status not in (lib.RETRY, lib.FAILED) or self._failure is not None or skipped > SKIPS_LIMIT:
                raise self._error()

    def _member(self) -> Member:
        entry, number = self._entry, self._library.number
        mode = number("entry_mode", entry)
        seconds, nanoseconds = number("entry_mtime", entry), number("entry_mtime_nsec", entry)
        extra, nanoseconds = divmod(nanoseconds, NANOSECONDS)
        hard_link = self._library.text("entry_hardlink", entry) or b""
        target = b""
        if stat.S_ISLNK(mode):
            target = self._library.text("entry_symlink", entry) or b""
        elif stat.S_ISBLK(mode) or stat.S_ISCHR(mode):
            target = b"%d:%d" % (number("entry_rdevmajor", entry), number("entry_rdevminor", entry))
        if not stat.S_IFMT(mode):
            mode |= stat.S_IFREG
        size = number("entry_size", entry) if number("entry_size_is_set", entry) or hard_link else UNKNOWN
        encrypted = number("entry_is_encrypted", entry)
        return Member(
            self.ordinal,
            self._path(),
            mode,
            max(size, UNKNOWN) if stat.S_ISREG(mode) else len(target) if stat.S_ISLNK(mode) else 0,
            seconds + extra,
            nanoseconds,
            number("entry_uid", entry),
            number("entry_gid", entry),
            target,
            hard_link,
            self.start + self.data_at if self.is_linear else self.feed.position,
            "its content is encrypted: unpack the archive with its password" if encrypted > 0 else "",
        )

    def _path(self) -> bytes:
        text = self._library.text
        return text("entry_pathname", self._entry) or text("entry_pathname_utf8", self._entry) or b""

    # ------------------------------------------------------------ where

    @property
    def format(self) -> int:
        return self._library.number("format", self._archive) & lib.FORMAT_MASK

    @property
    def packing(self) -> str:
        """The names of the format and of what it is compressed with."""
        name = (self._library.text("format_name", self._archive) or b"").decode("utf-8", "replace")
        name = "one file" if self.format in (lib.RAW, lib.EMPTY) else name
        packed = " in ".join(found for found in (*self._filters(), self.feed.filter_name) if found)
        return f"{name} in {packed}" if packed else name

    def _filters(self) -> list[str]:
        count = self._library.number("filter_count", self._archive) - 1  # the last is the feed itself
        names = [self._library.text("filter_name", self._archive, index) or b"" for index in range(count)]
        return [name.decode("utf-8", "replace") for name in names]

    @property
    def is_compressed(self) -> bool:
        return bool(self.feed.filter_name) or self._library.number("filter_count", self._archive) > 1

    @property
    def is_linear(self) -> bool:
        """Contents stand in the image as they are; known from the first header on."""
        if self._is_linear is None:
            self._is_linear = not self.is_compressed and self.format in (lib.TAR, lib.CPIO, lib.AR)
        return self._is_linear

    @property
    def data_at(self) -> int:
        """Bytes of the archive before the content of the member in hand, in a linear one."""
        return self._library.number("filter_bytes", self._archive, 0)

    def pieces(self) -> list[tuple[int, int]]:
        """(offset, length) of what a sparse member stores; empty for one that is whole."""
        offset, length = c_int64(), c_int64()
        number = self._library.number
        found: list[tuple[int, int]] = []
        for _ in range(number("entry_sparse_reset", self._entry)):
            if number("entry_sparse_next", self._entry, ctypes.byref(offset), ctypes.byref(length)) != lib.OK:
                break
            found.append((offset.value, length.value))
        return found

    # ------------------------------------------------------------ contents

    def blocks(self) -> Iterator[Block]:
        """The content of the member in hand, once, in order; what lies between two blocks is a hole."""
        place, length, offset = c_void_p(), c_size_t(), c_int64()
        arguments = (ctypes.byref(place), ctypes.byref(length), ctypes.byref(offset))
        at = 0
        while True:
            status = self._library.number("read_data_block", self._archive, *arguments)
            if status == lib.EOF:
                return
            if status != lib.OK:  # a warning, too: that is how a wrong checksum is told
                raise self._error()
            if offset.value < at:
                raise ReadError("its pieces overlap")
            content = ctypes.string_at(place.value, length.value) if place.value and length.value else b""
            at = offset.value + len(content)
            yield Block(offset.value, content)

    def close(self) -> None:
        if self._archive:
            self._library.number("read_free", self._archive)
            self._archive = 0
