"""A forward stream -> any range of any member, as long as it lies ahead."""

from __future__ import annotations

from collections.abc import Iterator

from ntt.model import Extent
from ntt.readers.archives.members import UNKNOWN, Member, Remark
from ntt.readers.archives.stream import ArchiveStream, Block
from ntt.readers.base import ReadError
from ntt.readers.tsk_extents import HOLE

START = Block(0, b"")


class Cursor:
    """One stream and how far into which member it has come. After a ReadError it is of no use any more."""

    def __init__(self, stream: ArchiveStream) -> None:
        self.stream = stream
        self.offset = 0
        self.pieces: list[tuple[int, int]] = []
        self._member: Member | None = None
        self._blocks: Iterator[Block] = iter(())
        self._block = START
        self._ended = True

    def reaches(self, ordinal: int, offset: int) -> bool:
        return (self.stream.ordinal, self.offset) <= (ordinal, offset)

    @property
    def place(self) -> tuple[int, int]:
        return self.stream.ordinal, self.offset

    def go_to(self, ordinal: int) -> Member:
        """The member's header; the stream then stands at its content."""
        while self.stream.ordinal < ordinal:
            found = self.stream.next()
            if found is None or isinstance(found, Remark):
                raise ReadError("the archive ends before it")
            self.begin(found)
        if self._member is None:
            raise ReadError("the archive holds no such member")
        return self._member

    def begin(self, member: Member) -> None:
        self._member = member
        self.pieces = self.stream.pieces() if member.size > 0 else []
        self._blocks = self.stream.blocks()
        self._block, self._ended = START, False
        self.offset = 0

    def _next_block(self) -> None:
        before = self._block.end
        found = next(self._blocks, None)
        if found is None:
            self._ended = True
            return
        if found.offset > before and not self.pieces:
            raise ReadError(f"bytes {before:,} to {found.offset:,} of it are missing from the archive")
        self._block = found

    def read(self, member: Member, offset: int, length: int) -> bytes:
        """Content from `offset` on, cut at the member's end; at that end it must hold no more and no less."""
        end = offset + length if member.size == UNKNOWN else min(offset + length, member.size)
        content = bytearray(max(end - offset, 0))
        while True:
            block = self._block
            low, high = max(block.offset, offset), min(block.end, end)
            if low < high:
                content[low - offset : high - offset] = block.content[low - block.offset : high - block.offset]
            if block.end > end or self._ended:
                break
            if block.end == end and end != member.size and member.size != UNKNOWN:
                break
            self._next_block()  # at the end, too: a wrong checksum is told there
        self.offset = end
        return self._checked(member, offset, content)

    def _checked(self, member: Member, offset: int, content: bytearray) -> bytes:
        held = self._block.end
        if member.size == UNKNOWN:
            return bytes(content[: max(held - offset, 0)]) if self._ended else bytes(content)
        if held > member.size:
            raise ReadError(f"it holds more than the {member.size:,} bytes that its header says")
        # behind its last piece a sparse member is a hole
        stored_end = max((start + length for start, length in self.pieces if length), default=0)
        stored_end = stored_end if self.pieces else member.size
        if self._ended and held < min(offset + len(content), stored_end):
            raise ReadError(f"it holds {held:,} bytes where its header says {member.size:,}")
        return bytes(content)

    def measure(self) -> tuple[int, str]:
        """How many bytes the member in hand has from here to its end, and what ended it early."""
        try:
            while not self._ended:
                self._next_block()
        except ReadError as error:
            return self._block.end, str(error)
        return self._block.end, ""

    def close(self) -> None:
        self.stream.close()


def stored_extents(member: Member, pieces: list[tuple[int, int]]) -> list[Extent]:
    """Where a member lies that stands in the image as it is; its pieces follow each other without gaps."""
    found: list[Extent] = []
    at, place = 0, member.first_byte
    for offset, length in pieces or [(0, member.size)]:
        end = min(offset + length, member.size)
        if offset < at or end <= offset:
            continue
        if offset > at:
            found.append(Extent(at, offset - at, HOLE, offset - at))
        found.append(Extent(offset, end - offset, place, end - offset))
        at, place = end, place + end - offset
    if at < member.size:
        found.append(Extent(at, member.size - at, HOLE, member.size - at))
    return found


def packed_extents(member: Member, pieces: list[tuple[int, int]], start: int, end: int) -> list[Extent]:
    """All of `[start, end)` of the image is needed for each piece; no extent looks linear."""
    found: list[Extent] = []
    for extent in stored_extents(member, pieces):
        if extent.image_offset == HOLE:
            found.append(extent)
        elif extent.file_length != end - start:
            found.append(Extent(extent.file_offset, extent.file_length, start, end - start))
        elif extent.file_length == 1:
            found.append(Extent(extent.file_offset, 1, start, 2))
        else:
            rest = extent.file_length - 1
            found.append(Extent(extent.file_offset, 1, start, end - start))
            found.append(Extent(extent.file_offset + 1, rest, start, end - start))
    return found
