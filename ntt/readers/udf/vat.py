"""The end of a write-once disc -> which block was written last for each virtual address (UDF 2.2.8, 2.2.11).

The table is the last thing written. Where it is lost - a cut image, a disc that was never closed - the descriptors
themselves say which virtual address they were written for, and the last of each is the one that counts.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from ntt.readers.base import ReadError
from ntt.readers.udf.entries import VAT_FILE, FileEntry
from ntt.readers.udf.partitions import UNUSED, PlainPartition
from ntt.readers.udf.space import UdfSpace
from ntt.readers.udf.tags import EXTENDED_FILE_ENTRY, FILE_ENTRY, FILE_SET, dstring, tag_kind, tag_location

_WINDOW_BYTES = 1 << 20
_SEARCHED_BYTES = 1 << 30  # backwards from the end: more than a CD
_LARGEST_TABLE = 64 << 20
_OLD_NAME = b"*UDF Virtual Alloc Tbl"
_OLD_TAIL_BYTES = 36  # entity identifier and the place of the table before (UDF 1.50, 2.2.10)
_OLD_FILE_TYPE = 0
_STARTS = frozenset(kind.to_bytes(2, "little") for kind in (FILE_SET, FILE_ENTRY, EXTENDED_FILE_ENTRY))


@dataclass(frozen=True, slots=True)
class VirtualTable:
    """`blocks[virtual]` is the block of the partition, or UNUSED. `files` is None where the table does not count.

    `rebuilt`: how many addresses come from descriptors that stand behind the table; -1: there was no table.
    """

    blocks: array[int]
    label: str = ""
    files: int | None = None
    folders: int = 0
    modified: tuple[int, int] | None = None
    rebuilt: int = 0


def find_virtual_table(space: UdfSpace, reference: int, physical: PlainPartition) -> VirtualTable:
    """`reference`: of the partition map of `physical`. ReadError if neither a table nor any descriptor is there."""
    later: dict[int, int] = {}
    for block, raw in _last_first(physical):
        try:
            tag_kind(raw)
        except ReadError:
            continue
        table = _table_at(space, reference, block, raw)
        if table is not None:
            return _with_later(table, later)
        if tag_location(raw) != block:  # otherwise it belongs to the partition itself
            later.setdefault(tag_location(raw), block)
    if not later:
        raise ReadError("the virtual allocation table, which ends the disc, was not found")
    return _with_later(VirtualTable(array("I"), rebuilt=-1), later)


def _last_first(physical: PlainPartition) -> Iterator[tuple[int, bytes]]:
    """Blocks that may be a file entry or a file set, from the last readable one on."""
    image, size = physical.image, physical.block_bytes
    last = max((image.readable_end - physical.start) // size, 0)
    first = max(last - _SEARCHED_BYTES // size, 0)
    step = _WINDOW_BYTES // size
    for end in range(last, first, -step):
        start = max(end - step, first)
        window = image.read(physical.start + start * size, (end - start) * size)
        for block in range(end - 1, start - 1, -1):
            at = (block - start) * size
            if window[at : at + 2] in _STARTS:
                yield block, window[at : at + size]


def _table_at(space: UdfSpace, reference: int, block: int, raw: bytes) -> VirtualTable | None:
    if tag_location(raw) != block or raw[27] not in (_OLD_FILE_TYPE, VAT_FILE):
        return None
    try:
        entry = space.entry(reference, block)
        content = space.content(entry, _LARGEST_TABLE)
    except ReadError:
        return None
    return _old_table(entry, content) if raw[27] == _OLD_FILE_TYPE else _table(entry, content)


def _table(entry: FileEntry, content: bytes) -> VirtualTable | None:
    """UDF 2.00, 2.2.10: a header, then the blocks."""
    if len(content) < 152:
        return None
    (header_bytes,) = struct.unpack_from("<H", content)
    files, folders = struct.unpack_from("<II", content, 136)
    if not 152 <= header_bytes <= len(content):
        return None
    blocks = _blocks(content[header_bytes:])
    return VirtualTable(blocks, dstring(content[4:132]), files, folders, entry.mtime)


def _old_table(entry: FileEntry, content: bytes) -> VirtualTable | None:
    """UDF 1.50, 2.2.10: the blocks, then who wrote them."""
    tail = content[-_OLD_TAIL_BYTES:]
    if tail[1:24].rstrip(b"\0") != _OLD_NAME:
        return None
    return VirtualTable(_blocks(content[:-_OLD_TAIL_BYTES]), modified=entry.mtime)


def _blocks(raw: bytes) -> array[int]:
    blocks = array("I", raw[: len(raw) & ~3])
    if sys.byteorder == "big":
        blocks.byteswap()
    return blocks


def _with_later(table: VirtualTable, later: dict[int, int]) -> VirtualTable:
    """What stands behind the table was written after it."""
    highest = len(table.blocks) + 2 * len(later) + 4096  # addresses are given out in turn
    later = {virtual: block for virtual, block in later.items() if virtual < highest}
    if not later:
        return table
    blocks = array("I", table.blocks)
    blocks.extend([UNUSED] * (max(later) + 1 - len(blocks)))
    for virtual, block in later.items():
        blocks[virtual] = block
    rebuilt = -1 if table.rebuilt < 0 else len(later)
    return VirtualTable(blocks, table.label, table.files, table.folders, table.modified, rebuilt)
