"""The superblock of UFS1 and UFS2 (BSD's FFS), wherever it lies, -> what the file system says of itself.

Fields as in `struct fs` of FreeBSD's sys/ufs/ffs/fs.h; the positions behind the old pointers are those on the medium.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ntt.model import VolumeFacts
from ntt.readers.base import ImageSource
from ntt.readers.ufs.blocks import Geometry

PLACES = (65_536, 8192, 0, 262_144)  # where BSD looks, in its order
SUPERBLOCK_BYTES = 1376
UFS1, UFS2 = 0x00011954, 0x19540119
LIMIT = 1 << 60
RESERVED_INODES = 3  # 0, 1, and the root


@dataclass(frozen=True, slots=True)
class UfsSuperblock:
    """`at`: bytes from the start of the volume; `order`: as struct writes byte order."""

    at: int
    version: int
    order: str
    raw: bytes

    @classmethod
    def find(cls, source: ImageSource, offset_bytes: int) -> UfsSuperblock | None:
        """The first one with a magic number and sizes that can be; OSError if the image cannot be read."""
        for at in PLACES:
            raw = source.read(offset_bytes + at, SUPERBLOCK_BYTES)
            for order in "<", ">":
                (magic,) = struct.unpack_from(f"{order}I", raw, 1372)
                if magic in (UFS1, UFS2):
                    found = cls(at, 2 if magic == UFS2 else 1, order, raw)
                    if found.is_plausible:
                        return found
        return None

    @property
    def is_plausible(self) -> bool:
        groups, block, fragment, per_block = self._numbers("4i", 44)
        powers = block > 0 and fragment > 0 and not block & block - 1 and not fragment & fragment - 1
        return groups > 0 and powers and 4096 <= block <= 65_536 and fragment >= 512 and block == per_block * fragment

    def _numbers(self, kinds: str, at: int) -> tuple[int, ...]:
        return struct.unpack_from(f"{self.order}{kinds}", self.raw, at)

    @property
    def geometry(self) -> Geometry:
        _, block_bytes, fragment_bytes, _ = self._numbers("4i", 44)
        (fragments,) = self._numbers("q", 1080) if self.version == 2 else self._numbers("i", 36)
        return Geometry(block_bytes, fragment_bytes, fragments, self.order, 8 if self.version == 2 else 4)

    @property
    def short_link_limit(self) -> int:
        """A link's target of fewer bytes stands in its inode."""
        return max(self._numbers("i", 1320)[0], 0)

    def inode_position(self, ino: int, inode_bytes: int) -> int:
        """Byte of the volume where an inode lies; -1 if there is none of this number."""
        (inodes_at,) = self._numbers("i", 16)
        group_offset, group_mask = self._numbers("ii", 24)
        groups, _, fragment_bytes, _ = self._numbers("4i", 44)
        inodes_per_group, fragments_per_group = self._numbers("ii", 184)
        if inodes_per_group <= 0 or not 0 <= ino < groups * inodes_per_group:
            return -1
        group, index = divmod(ino, inodes_per_group)
        fragment = group * fragments_per_group + inodes_at
        if self.version == 1:  # its groups were staggered over the platters of a disk
            fragment += group_offset * (group & ~group_mask)
        return max(fragment * fragment_bytes + index * inode_bytes, -1)

    def groups(self, inode_bytes: int, behind: int) -> Iterator[tuple[int, int, int, int]]:
        """Bytes of the volume: each group's copy of the superblock, its map, and start and end of its inodes.

        Groups that begin at `behind` or later are left out.
        """
        copy_at, map_at, inodes_at = self._numbers("3i", 8)
        groups, _, fragment_bytes, _ = self._numbers("4i", 44)
        inodes_per_group, fragments_per_group = self._numbers("ii", 184)
        if min(copy_at, map_at, inodes_at, inodes_per_group) < 0 or fragments_per_group <= 0:
            return
        for group in range(min(groups, behind // (fragments_per_group * fragment_bytes) + 1)):
            inodes = self.inode_position(group * inodes_per_group, inode_bytes)
            base = inodes - inodes_at * fragment_bytes
            if inodes < 0 or base < 0:
                return
            copy, free_map = base + copy_at * fragment_bytes, base + map_at * fragment_bytes
            yield copy, free_map, inodes, inodes + inodes_per_group * inode_bytes

    def facts(self, fstype: str) -> VolumeFacts:
        """Sizes count the blocks for data only where it says what is used or free."""
        groups, block_bytes, fragment_bytes, per_block = self._numbers("4i", 44)
        (inodes_per_group,) = self._numbers("i", 184)
        if self.version == 2:
            _, free_blocks, free_inodes, free_fragments = self._numbers("4q", 1008)
            modified, fragments, data = self._numbers("3q", 1072)
        else:
            _, free_blocks, free_inodes, free_fragments = self._numbers("4i", 192)
            modified, fragments, data = self._numbers("3i", 32)
        free = (free_blocks * per_block + free_fragments) * fragment_bytes
        entries = groups * inodes_per_group - free_inodes - RESERVED_INODES
        return VolumeFacts(
            fstype,
            self.label,
            serial=self._serial(),
            modified_s=modified if 0 < modified < LIMIT else None,
            block_bytes=block_bytes,
            size_bytes=_possible(fragments * fragment_bytes),
            used_bytes=_possible(data * fragment_bytes - free),
            free_bytes=_possible(free),
            entries=_possible(entries),
            state="clean" if self.raw[209] == 1 else "dirty",
            oddities=(f"UFS{self.version}, {'little' if self.order == '<' else 'big'}-endian",),
        )

    @property
    def label(self) -> str:
        return self.raw[680:712].split(b"\0")[0].decode("utf-8", "replace") if self.version == 2 else ""

    def _serial(self) -> str:
        first, second = self._numbers("2I", 144)
        return f"{first:08x}{second:08x}" if first or second else ""


def _possible(number: int) -> int | None:
    return number if 0 <= number < LIMIT else None
