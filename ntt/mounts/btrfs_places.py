"""Logical addresses, as FIEMAP tells them of btrfs -> places in the volume, by the chunk tree.

Btrfs documentation, "On-disk Format" and "btrfs(5)": superblock, sys_chunk_array, chunk tree. Of its own blocks btrfs
has checksums, and it takes none that does not agree.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ntt.model import Extent
from ntt.mounts.fiemap import Piece
from ntt.ranges import Ranges, within

SUPERBLOCK_AT, SUPERBLOCK_BYTES = 0x10000, 4096
MAGIC_AT, MAGIC = 0x40, b"_BHRfS_M"
CHUNK_ROOT_AT, SECTOR_BYTES_AT, NODE_BYTES_AT, DEVICE_AT = 0x58, 0x90, 0x94, 0xC9
ARRAY_BYTES_AT, ARRAY_AT, ARRAY_LIMIT = 0xA0, 0x32B, 2048
HEADER_BYTES = 101
CHUNK_ITEM = 228
PACKED_BYTES = 128 << 10  # the most that a compressed extent takes
NODES_LIMIT = 1 << 16
_KEY = struct.Struct("<QBQ")
_CHUNK = struct.Struct("<QQQQIIIHH")
_STRIPE = struct.Struct("<QQ16x")
_ITEM = struct.Struct("<QBQII")
_POINTER = struct.Struct("<QBQQ8x")

Read = Callable[[int, int], bytes]


class Chunk(NamedTuple):
    """Logical bytes `[start, start + length)`; `copies`: where each of its stripes on this device begins."""

    start: int
    length: int
    copies: tuple[int, ...]
    stripes: int


class BtrfsPlaces:
    """Of a volume on one device. What is not there once, in one piece, has no place: nobody knows which copy is read.

    `read` is the image's, with zeros where it was not read. Nothing here raises: what is damaged gives no places.
    """

    def __init__(self, read: Read, offset_bytes: int, size_bytes: int, unread: Ranges) -> None:
        self._read = read
        self._offset = offset_bytes
        self._end = offset_bytes + size_bytes
        self._unread = unread
        self._chunks: list[Chunk] | None = None
        self._device = 0

    def extents(self, _: int, piece: Piece, start: int, end: int) -> list[Extent] | None:
        """Where `[start, end)` of a file lies, which is in this piece; None: nobody knows."""
        if piece.inline:  # in a block of the tree, which has a checksum
            return [Extent(start, end - start, self._offset, 0)]
        if piece.told < 0:
            return None
        if piece.packed:
            runs = list(self._runs(piece.told, PACKED_BYTES, cut=True))
            return [Extent(start, end - start, *runs[0], vague=True)] if len(runs) == 1 else None
        found: list[Extent] = []
        at = start
        for place, length in self._runs(piece.told + start - piece.logical, end - start, cut=False):
            found.append(Extent(at, length, place, length))
            at += length
        return found if at == end else None

    def _runs(self, logical: int, length: int, *, cut: bool) -> Iterator[tuple[int, int]]:
        """(place in the image, bytes) of logical bytes; ends where there is no one place. `cut`: at a chunk's end."""
        chunks = self._known()
        while length > 0:
            at = bisect_right(chunks, logical, key=lambda chunk: chunk.start) - 1
            if at < 0 or logical >= chunks[at].start + chunks[at].length or chunks[at].stripes != 1:
                return
            chunk = chunks[at]
            if not chunk.copies:
                return
            run = min(length, chunk.start + chunk.length - logical)
            place = self._offset + chunk.copies[0] + logical - chunk.start
            if place + run > self._end:
                return
            yield place, run
            logical, length = logical + run, 0 if cut else length - run

    def _known(self) -> list[Chunk]:
        if self._chunks is None:
            self._chunks = []  # so that the tree is not looked for twice
            try:
                self._chunks = self._all_chunks()
            except (struct.error, OSError):
                self._chunks = []
        return self._chunks

    def _all_chunks(self) -> list[Chunk]:
        """All of them, or none: what lies in a chunk that was missed would seem to have no place."""
        head = self._whole(self._offset + SUPERBLOCK_AT, SUPERBLOCK_BYTES)
        if head is None or head[MAGIC_AT : MAGIC_AT + 8] != MAGIC:
            return []
        (root,) = struct.unpack_from("<Q", head, CHUNK_ROOT_AT)
        (node_bytes,) = struct.unpack_from("<I", head, NODE_BYTES_AT)
        (array_bytes,) = struct.unpack_from("<I", head, ARRAY_BYTES_AT)
        (self._device,) = struct.unpack_from("<Q", head, DEVICE_AT)
        if not 4096 <= node_bytes <= 1 << 16:
            return []
        system = sorted(self._array(head[ARRAY_AT : ARRAY_AT + min(array_bytes, ARRAY_LIMIT)]))
        found: list[Chunk] = []
        pending, seen = [root], {root}
        while pending:
            node = self._node(system, pending.pop(), node_bytes)
            if node is None or len(seen) > NODES_LIMIT:
                return []
            for below in self._node_items(node, found):
                if below not in seen:
                    seen.add(below)
                    pending.append(below)
        return sorted(found)

    def _array(self, array: bytes) -> Iterator[Chunk]:
        at = 0
        while at + _KEY.size + _CHUNK.size <= len(array):
            _, kind, logical = _KEY.unpack_from(array, at)
            if kind != CHUNK_ITEM:
                return
            chunk, size = self._chunk(array[at + _KEY.size :], logical)
            yield chunk
            at += _KEY.size + size

    def _chunk(self, item: bytes, logical: int) -> tuple[Chunk, int]:
        length, *_, stripes, _ = _CHUNK.unpack_from(item)
        each = (_STRIPE.unpack_from(item, _CHUNK.size + number * _STRIPE.size) for number in range(stripes))
        copies = tuple(place for device, place in each if device == self._device)
        return Chunk(logical, length, copies, stripes), _CHUNK.size + stripes * _STRIPE.size

    def _node(self, system: list[Chunk], logical: int, node_bytes: int) -> bytes | None:
        """By whichever copy was read."""
        for chunk in system:
            if not chunk.start <= logical < chunk.start + chunk.length:
                continue
            for copy in chunk.copies:
                node = self._whole(self._offset + copy + logical - chunk.start, node_bytes)
                if node is not None and struct.unpack_from("<Q", node, 48)[0] == logical:
                    return node
        return None

    def _whole(self, place: int, length: int) -> bytes | None:
        if place < self._offset or place + length > self._end or within(self._unread, place, place + length):
            return None
        found = self._read(place, length)
        return found if len(found) == length else None

    def _node_items(self, node: bytes, found: list[Chunk]) -> Iterator[int]:
        """Adds the chunks of a leaf; of another node, the nodes below."""
        count, level = struct.unpack_from("<IB", node, 96)
        size = _POINTER.size if level else _ITEM.size
        for number in range(min(count, (len(node) - HEADER_BYTES) // size)):
            at = HEADER_BYTES + number * size
            if level:
                yield _POINTER.unpack_from(node, at)[3]
                continue
            _, kind, logical, offset, length = _ITEM.unpack_from(node, at)
            if kind == CHUNK_ITEM:
                found.append(self._chunk(node[HEADER_BYTES + offset :][:length], logical)[0])
