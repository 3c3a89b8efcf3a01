"""The trees of a session that are not read (Joliet beside Rock Ridge) -> which bytes they and their files take."""

from __future__ import annotations

import struct
from functools import cached_property

from ntt.ranges import Ranges, within
from ntt.readers.base import ImageSource
from ntt.readers.iso.records import FLAG_DIRECTORY, FLAG_MULTI_EXTENT, SECTOR_BYTES, SHORTEST_RECORD
from ntt.readers.iso.volume import IsoVolume
from ntt.readers.taken import Taken

_PLACE = struct.Struct("<BI4xI4x7sB")  # attribute blocks, extent, size, date, flags
_LARGEST_DIRECTORY = 256 << 20
_SPARE_BYTES = 1 << 20
_FARTHEST = 64  # blocks
_SMALLEST_PART = 512 << 20  # writers cut files that are larger than 4 GiB, none into pieces below 1 GiB


class OtherTrees:
    """Looked through when first asked for; holds their directories, not their files. OSError as `ImageSource.read`."""

    def __init__(self, source: ImageSource, volume: IsoVolume) -> None:
        self._source = source
        self._volume = volume
        self._geometry = volume.geometry
        self._later_parts: set[int] = set()
        self._is_complete = bool(volume.others)

    @cached_property
    def places(self) -> tuple[Ranges, Ranges]:
        """(directories, contents of files), in bytes of the image."""
        directories, contents = Taken(), Taken()
        entered = {self._volume.root.first_block}
        pending = sorted(self._volume.others, key=lambda one: bool(one[1]))  # those without a size come last
        left = self._source.size_bytes + _SPARE_BYTES  # on an honest volume no byte belongs to two directories
        while pending:
            block, size_bytes = pending.pop()
            size_bytes = size_bytes or self._unread_from(block)
            left -= size_bytes
            if block in entered or not self._geometry.inside(block, 1) or size_bytes > _LARGEST_DIRECTORY or left < 0:
                continue
            entered.add(block)
            start = self._geometry.offset_bytes + block * self._geometry.block_bytes
            directories.add(start, start + size_bytes)
            self._look_through(start, size_bytes, contents, pending)
        return directories.ranges(), contents.ranges()

    def _unread_from(self, block: int) -> int:
        """How large a directory may be of which that was not read: as far as nothing was, and up to the next one."""
        geometry = self._geometry
        following = min((first for first, _ in self._volume.others if first > block), default=block + _FARTHEST)
        start = geometry.offset_bytes + block * geometry.block_bytes
        end = start + min(following - block, _FARTHEST) * geometry.block_bytes
        unread = within(self._source.unread, start, end)
        return max(unread[0][1] - start if unread and unread[0][0] == start else 0, SECTOR_BYTES)

    @property
    def are_known(self) -> bool:
        """Where their directories lie is known of all."""
        _ = self.places
        return not self._volume.others or self._is_complete or self._volume.others_known

    def may_continue(self, block: int) -> bool:
        """Whether content that begins there may be a later part of a multi-extent file whose record before is unread.

        The other trees tell, and where there are none, or these are unread too: whether there is room before it.
        """
        _ = self.places
        if block in self._later_parts:
            return True
        behind = block * self._geometry.block_bytes - self._volume.session_bytes
        return not self._is_complete and behind >= _SMALLEST_PART

    def _look_through(self, start: int, size_bytes: int, contents: Taken, pending: list[tuple[int, int]]) -> None:
        block_bytes, offset = self._geometry.block_bytes, self._geometry.offset_bytes
        goes_on = False
        for position in range(start, start + size_bytes, SECTOR_BYTES):
            sector = readable_part(self._source, position, self._source.read(position, SECTOR_BYTES))
            self._is_complete &= len(sector) == SECTOR_BYTES
            at, end = 0, len(sector)
            while at < end and sector[at]:
                length = sector[at]
                if length < SHORTEST_RECORD or at + length > end:
                    self._is_complete = False
                    break
                attribute_blocks, block, size, _, flags = _PLACE.unpack_from(sector, at + 1)
                if flags & FLAG_DIRECTORY:
                    if sector[at + 33] > 1 or sector[at + 32] > 1:
                        pending.append((block + attribute_blocks, size))
                elif size:
                    first = offset + block * block_bytes
                    contents.add(first, first + -(-size // block_bytes) * block_bytes + attribute_blocks * block_bytes)
                    if goes_on:
                        self._later_parts.add(block + attribute_blocks)
                goes_on = bool(flags & FLAG_MULTI_EXTENT)
                at += length


def readable_part(source: ImageSource, position: int, sector: bytes) -> bytes:
    """The bytes of a sector, which lies at `position` of the image, up to the first one that was not read."""
    end = position + len(sector)
    if end > source.size_bytes:
        sector = sector[: max(source.size_bytes - position, 0)]
    holes = within(source.unread, position, end) if source.unread else ()
    return sector[: holes[0][0] - position] if holes else sector
