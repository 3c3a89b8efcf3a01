"""An image whose superblock or group descriptors were not read -> one that has their copies in those places.

Copies are made by mke2fs, resize2fs and e2fsck; Linux writes none. Sizes and places in them are right, counts and flags
are those of long ago.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ntt.ranges import Range, Ranges, difference, intersection, normalised, within
from ntt.readers.base import ImageSource
from ntt.readers.ext.superblock import SUPERBLOCK_AT, SUPERBLOCK_BYTES, ExtSuperblock

BLOCKS = (1024, 2048, 4096, 65536, 8192, 16384, 32768)
CLUSTERS = (1, 16, 2, 4, 8, 32, 64)  # blocks in a cluster: a group of bigalloc has that many times the blocks
GROUPS = (1, 3, 5, 7, 9, 25, 27, 49, 81)
GROUP_NUMBER_AT = 90  # s_block_group_nr
GROUPS_LIMIT = 1 << 18  # of which the descriptors are looked at


class PatchedSource(ImageSource):
    """An image with other bytes in a few places, which count as read. `patches` by image offset."""

    def __init__(self, source: ImageSource, patches: Mapping[int, bytes]) -> None:
        self.fd = source.fd
        self.size_bytes = source.size_bytes
        self.patched = normalised((start, start + len(content)) for start, content in patches.items())
        self.unread = difference(source.unread, self.patched)
        self._source = source
        self._patches = patches

    def read(self, offset: int, length: int) -> bytes:
        """As `ImageSource.read`."""
        content = self._source.read(offset, length)
        if not within(self.patched, offset, offset + length):
            return content
        found = bytearray(content)
        for start, patch in self._patches.items():
            low, high = max(start, offset), min(start + len(patch), offset + length)
            if low < high:
                found[low - offset : high - offset] = patch[low - start : high - start]
        return bytes(found)


def with_superblock(source: ImageSource, offset_bytes: int, end_bytes: int) -> ImageSource:
    """`source` itself if its superblock was read, or if no copy of it was; the copy must lie before `end_bytes`.

    OSError if the image cannot be read.
    """
    start = offset_bytes + SUPERBLOCK_AT
    missing = within(source.unread, start, start + SUPERBLOCK_BYTES)
    if not missing:
        return source
    for place, group in _likely_copies(source, offset_bytes, end_bytes):
        content = _copy(source, place, group, place - offset_bytes)
        if content is not None:
            # the group's number is the only thing in which a fresh copy differs
            content = content[:GROUP_NUMBER_AT] + b"\0\0" + content[GROUP_NUMBER_AT + 2 :]
            return PatchedSource(source, {low: content[low - start : high - start] for low, high in missing})
    return source


def _likely_copies(source: ImageSource, offset_bytes: int, end_bytes: int) -> Iterator[tuple[int, int]]:
    """(place in the image, group) where mke2fs puts them, by the half of a superblock that was read or by rule."""
    known = ExtSuperblock.parse(source.read(offset_bytes + SUPERBLOCK_AT, SUPERBLOCK_BYTES))
    if known is not None:
        unknown = () if known.backup_groups is None else (*GROUPS, known.group_count - 1)  # they lie in its lost half
        for group in (*known.copies(), *unknown):
            yield offset_bytes + known.first_block(group) * known.block_size, group
        return
    for clusters in CLUSTERS:
        for block in BLOCKS:
            first = 1 if block == 1024 and clusters == 1 else 0
            for group in GROUPS:
                place = offset_bytes + (first + group * min(8 * block, 65528) * clusters) * block
                if place < end_bytes:
                    yield place, group


def _copy(source: ImageSource, place: int, group: int, position: int) -> bytes | None:
    if place >= source.size_bytes or within(source.unread, place, place + SUPERBLOCK_BYTES):
        return None
    content = source.read(place, SUPERBLOCK_BYTES)
    found = ExtSuperblock.parse(content)
    if found is None or int.from_bytes(content[GROUP_NUMBER_AT : GROUP_NUMBER_AT + 2], "little") != group & 0xFFFF:
        return None
    return content if found.first_block(group) * found.block_size == position else None


def with_descriptors(source: ImageSource, offset_bytes: int, superblock: ExtSuperblock) -> ImageSource:
    """`source` itself if all descriptors were read; else with what their copies have. OSError as `source.read`."""
    patches: dict[int, bytes] = {}
    for index in range(-(-min(superblock.group_count, GROUPS_LIMIT) // superblock.descriptors_per_block)):
        group = index * superblock.descriptors_per_block
        first = offset_bytes + superblock.descriptor_at(group)
        missing = _whole(superblock, first, within(source.unread, first, first + superblock.block_size))
        for place in superblock.descriptor_copies(group) if missing else ():
            if not missing:
                break
            shift = offset_bytes + place - first
            moved = tuple((start + shift, end + shift) for start, end in missing)
            found = difference(moved, intersection(moved, source.unread))
            for start, end in found:
                patches[start - shift] = source.read(start, end - start)
            missing = difference(missing, tuple((start - shift, end - shift) for start, end in found))
    return PatchedSource(source, patches) if patches else source


def _whole(superblock: ExtSuperblock, first: int, missing: Ranges) -> Ranges:
    """Rounded to whole descriptors: halves of two ages would not fit."""
    size = superblock.descriptor_size
    rounded: list[Range] = []
    for start, end in missing:
        low, high = (start - first) // size * size, -(-(end - first) // size) * size
        rounded.append((first + low, min(first + high, first + superblock.block_size)))
    return normalised(rounded)
