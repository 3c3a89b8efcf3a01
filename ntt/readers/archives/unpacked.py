"""Archives that libarchive reads: a pass over the headers, and contents of any member by forward streams."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence

from ntt.model import Extent
from ntt.ranges import within
from ntt.readers.archives import library as lib
from ntt.readers.archives.cursor import Cursor, packed_extents, stored_extents
from ntt.readers.archives.feeds import BLOCK_BYTES, open_feed
from ntt.readers.archives.gzip import gzip_header
from ntt.readers.archives.library import Library
from ntt.readers.archives.members import Member, Remark
from ntt.readers.archives.stream import ArchiveStream
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.tsk_extents import HOLE, part_of

PASSES, PASSES_BYTES = 20, 8 << 30  # a damaged member costs a pass: those behind it must be unpacked anew
CURSORS = 2  # large files are asked for ahead of small ones: each kind goes forward by itself
UNICODE_FORMATS = (b"7z\xbc\xaf\x27\x1c", b"Rar!", b"PK")
TAR_BLOCK = 512
UNNAMED = b"content"
SINGLE_FILE = ("empty", "raw")


class UnpackedMembers:
    """tar, cpio, 7z, rar, cab, lha, ar, and a single compressed file; ReadError if it is none of these.

    Names are the bytes of the archive in tar, cpio and ar. 7z, rar, cab keep Unicode, which libarchive gives as UTF-8
    in composed form (NFC); a name that was decomposed is not told apart from its composed twin.
    """

    def __init__(
        self, library: Library, source: ImageSource, start: int, advance: Callable[[int], None], remark: str = ""
    ) -> None:
        self._library = library
        self._source = source
        self._start = start
        self._told = advance
        self._taken_bytes = 0
        self._failures = 0
        self._remark = remark
        self._formats: tuple[str, ...] = lib.FORMATS
        self._unread = within(source.unread, start, source.size_bytes)
        head = source.read(start, 8)
        self._names = lib.UTF_8 if head.startswith(UNICODE_FORMATS) else lib.BYTES
        self._single = gzip_header(source, start)
        self._cursors: list[Cursor] = []
        self._pass: Cursor | None = None
        self._dead_from: tuple[int, str] | None = None
        self._ends: array[int] | None = None
        self._places: tuple[int, list[Extent]] | None = None
        self._is_empty_file = False
        self.format_name = self._format()

    def _format(self) -> str:
        """Its name. Zeros at the beginning look like the end of a tar to libarchive: like an image's first sectors."""
        cursor = self._new()
        try:
            first = cursor.stream.next()
            if first is None and cursor.stream.format == lib.TAR and cursor.stream.is_compressed:
                self._formats = SINGLE_FILE
                return cursor.stream.packing
            self._is_empty_file = first is None and cursor.stream.format == lib.EMPTY and cursor.stream.is_compressed
            if (first is None or cursor.stream.format == lib.RAW) and not cursor.stream.is_compressed:
                raise ReadError("this is no archive that is known here")
            return cursor.stream.packing
        finally:
            cursor.close()

    def _new(self) -> Cursor:
        feed = open_feed(self._source, self._start, self._advance)
        return Cursor(ArchiveStream(self._library, feed, self._names, self._formats, bool(self._unread)))

    def _advance(self, size_bytes: int) -> None:
        self._taken_bytes += size_bytes
        self._told(size_bytes)

    # ------------------------------------------------------------ listing

    def members(self) -> Iterator[Member | Remark]:
        if self._remark:
            yield Remark(self._remark)
        self._pass = cursor = self._new()
        try:
            while True:
                found = cursor.stream.next()
                if found is None:
                    break
                if isinstance(found, Remark):
                    yield found
                    break
                cursor.begin(found)
                yield self._named(cursor, found)
            if self._is_empty_file:
                yield self._empty_file()
            yield from self._behind(cursor)
        finally:
            self._pass = None
            cursor.close()

    def _named(self, cursor: Cursor, member: Member) -> Member:
        """A single compressed file has the name that gzip kept, else one that says what it is."""
        if cursor.stream.format != lib.RAW:
            return member
        name, mtime_s = self._single
        return member._replace(path=name or UNNAMED, mtime_s=mtime_s, mtime_ns=0)

    def _empty_file(self) -> Member:
        name, mtime_s = self._single
        return Member(0, name or UNNAMED, 0o100644, 0, mtime_s, 0, 0, 0, b"", b"", -1)

    def _behind(self, cursor: Cursor) -> Iterator[Remark]:
        """What stands behind the archive's end, and whether that is its own."""
        stream = cursor.stream
        if stream.is_linear and stream.format == lib.TAR:
            yield from self._behind_tar(self._start + stream.data_at)
        elif stream.feed.filter_name:
            rest = False
            while block := stream.feed.block():  # to the end, where the checksum stands
                rest = rest or bool(block.strip(b"\0"))
            if rest and stream.format == lib.TAR:
                yield Remark("bytes behind the archive's end mark are not listed")
            if stream.feed.remark:
                yield Remark(stream.feed.remark)

    def _behind_tar(self, at: int) -> Iterator[Remark]:
        around = self._source.read(max(at - TAR_BLOCK, self._start), TAR_BLOCK)
        if at >= self._source.size_bytes and (around.strip(b"\0") or len(around) < TAR_BLOCK):
            yield Remark("the archive has no end mark: members may be missing behind the last one")
        while at < self._source.size_bytes:
            block = self._source.read(at, min(BLOCK_BYTES, self._source.size_bytes - at))
            self._advance(len(block))
            if block.strip(b"\0"):
                yield Remark(f"bytes behind the archive's end mark, from byte {at:,} on, are not listed")
                return
            at += len(block)

    def measure(self, ordinal: int) -> tuple[int, str]:
        assert self._pass is not None
        assert self._pass.stream.ordinal == ordinal
        return self._pass.measure()

    # ------------------------------------------------------------ contents

    def read(self, ordinal: int, offset: int, length: int) -> bytes:
        if length <= 0 or self._is_empty_file:
            return b""
        cursor = self._cursor(ordinal, offset)
        member = self._located(cursor, ordinal)
        if member.refusal:
            raise ReadError(member.refusal)
        if cursor.stream.is_linear:
            return self._stored(member, cursor.pieces, offset, length)
        try:
            return cursor.read(member, offset, length)
        except ReadError:
            self._drop(cursor)
            raise

    def _stored(self, member: Member, pieces: list[tuple[int, int]], offset: int, length: int) -> bytes:
        length = min(length, member.size - offset)
        if length <= 0:
            return b""
        return b"".join(
            bytes(part.file_length)
            if part.image_offset == HOLE
            else self._source.read(part.image_offset, part.image_length)
            for part in part_of(self._stored_extents(member, pieces), offset, length)
        )

    def _stored_extents(self, member: Member, pieces: list[tuple[int, int]]) -> list[Extent]:
        if self._places is None or self._places[0] != member.ordinal:
            self._places = member.ordinal, stored_extents(member, pieces)
        return self._places[1]

    def _cursor(self, ordinal: int, offset: int) -> Cursor:
        """The stream that is nearest before the place; else a new one, instead of the one used longest ago."""
        if self._dead_from is not None and ordinal >= self._dead_from[0]:
            raise ReadError(self._dead_from[1])
        fitting = [c for c in self._cursors if c.stream.is_linear and c.stream.ordinal <= ordinal]
        fitting += [c for c in self._cursors if c.reaches(ordinal, offset)]
        if fitting:
            cursor = max(fitting, key=lambda c: c.place)
            self._cursors.remove(cursor)
        else:
            if self._failures and self._taken_bytes > max(PASSES * self._source.size_bytes, PASSES_BYTES):
                raise ReadError(f"given up: {self._taken_bytes:,} bytes were read because of the archive's damage")
            if len(self._cursors) == CURSORS:
                self._cursors.pop(0).close()
            cursor = self._new()
        self._cursors.append(cursor)
        return cursor

    def _located(self, cursor: Cursor, ordinal: int) -> Member:
        try:
            return cursor.go_to(ordinal)
        except ReadError as error:
            # every later member lies behind the same place: reading up to it again would take as long each time
            self._dead_from = (ordinal, str(error))
            self._drop(cursor)
            raise

    def _drop(self, cursor: Cursor) -> None:
        self._failures += 1
        self._cursors.remove(cursor)
        cursor.close()

    # ------------------------------------------------------------ places

    def extents(self, ordinal: int) -> Sequence[Extent]:
        if self._is_empty_file:
            return []
        cursor = self._cursor(ordinal, 1 << 62)
        member = self._located(cursor, ordinal)
        if member.size <= 0 and member.size != -1:
            return []
        if cursor.stream.is_linear:
            return self._stored_extents(member, cursor.pieces)
        if member.size < 0:
            member = member._replace(size=self._measured(ordinal))
        end = self._end_of(ordinal) if self._unread else self._source.size_bytes
        return packed_extents(member, cursor.pieces, self._start, end)

    def _measured(self, ordinal: int) -> int:
        cursor = self._new()
        try:
            cursor.go_to(ordinal)
            return cursor.measure()[0]
        finally:
            cursor.close()

    def _end_of(self, ordinal: int) -> int:
        """How much of the image is needed to unpack a member and all before it; found out once, for all."""
        if self._ends is None:
            self._ends = array("Q")
            cursor = self._new()
            try:
                while isinstance(found := cursor.stream.next(), Member):
                    cursor.begin(found)
                    cursor.measure()
                    self._ends.append(max(cursor.stream.feed.position, self._start + 1))
            except ReadError:
                pass  # what lies behind the damage needs all of the image, as far as is known
            finally:
                cursor.close()
        return self._ends[ordinal] if ordinal < len(self._ends) else self._source.size_bytes

    def close(self) -> None:
        for cursor in self._cursors:
            cursor.close()
        self._cursors.clear()
