"""Files that one record of the master file table describes whole: read without The Sleuth Kit, which costs more.

Compressed, encrypted, reparsed and listed (`$ATTRIBUTE_LIST`) ones are not plain.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from ntt.model import Extent
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.ntfs.links import FLAG_ENCRYPTED, FLAG_REPARSE, FLAG_SYSTEM
from ntt.readers.ntfs.records import ATTRIBUTE_LIST, DATA, STANDARD_INFORMATION, Attribute, MftRecord, mapped_runs
from ntt.readers.tsk_extents import HOLE, part_of, run_extents

NOT_PLAIN = FLAG_REPARSE | FLAG_SYSTEM | FLAG_ENCRYPTED
PACKED = 0x4001  # attribute flags: compressed, encrypted
FLAGS_AT = 32  # in $STANDARD_INFORMATION


class PlainFile(NamedTuple):
    """`extents` cover the file exactly; from `valid_bytes` on they are holes.

    `resident`: the content that stands in the record itself, whose last two bytes of each sector stand elsewhere.
    """

    size: int
    valid_bytes: int
    extents: Sequence[Extent]
    resident: bytes | None = None

    def read(self, source: ImageSource, offset: int, length: int) -> bytes:
        """Exactly `length` bytes inside of the file."""
        if self.resident is not None:
            return self.resident[offset : offset + length]
        try:
            parts = [
                bytes(extent.file_length)
                if extent.image_offset == HOLE
                else source.read(extent.image_offset, extent.file_length)
                for extent in part_of(self.extents, offset, length)
            ]
        except (OSError, OverflowError) as error:
            raise ReadError(f"the image cannot be read: {error}") from None
        return parts[0] if len(parts) == 1 else b"".join(parts)


def plain_file(record: MftRecord, cluster_bytes: int, offset_bytes: int, clusters: int) -> PlainFile | None:
    """None where the record alone does not say everything, or contradicts itself: then The Sleuth Kit decides."""
    if not record.is_used_file or record.base:
        return None
    data: Attribute | None = None
    is_plain = False
    for found in record.attributes():
        if found.kind == ATTRIBUTE_LIST:
            return None
        if found.kind == STANDARD_INFORMATION:
            flags = found.value[FLAGS_AT : FLAGS_AT + 4]
            is_plain = len(flags) == 4 and not int.from_bytes(flags, "little") & NOT_PLAIN
        elif found.kind == DATA and not found.name:
            if data is not None:
                return None
            data = found
    if data is None or not is_plain or data.flags & PACKED:
        return None
    if data.is_resident:
        start, length = data.value_range
        return PlainFile(length, length, part_of(record.extents, start, length), data.value)
    return _with_clusters(data, cluster_bytes, offset_bytes, clusters)


def _with_clusters(data: Attribute, cluster_bytes: int, offset_bytes: int, clusters: int) -> PlainFile | None:
    (runs_at,) = struct.unpack_from("<H", data.raw, 32)
    size, valid = struct.unpack_from("<QQ", data.raw, 48)
    runs = mapped_runs(data.raw[runs_at:])
    if runs is None or data.lowest or size >= 1 << 62:
        return None
    mapped = sum(run.blocks for run in runs) * cluster_bytes
    if mapped < size or any(run.volume_block + run.blocks > clusters for run in runs if run.volume_block != HOLE):
        return None
    extents = run_extents(runs, cluster_bytes, offset_bytes, size, valid)
    return PlainFile(size, min(valid, size), extents)
