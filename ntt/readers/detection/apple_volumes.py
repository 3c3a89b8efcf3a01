"""Byte 1024 of a volume -> a classic HFS or HFS+ file system: where it begins and how large it is."""

from __future__ import annotations

import struct

from ntt.model import Route
from ntt.ranges import within
from ntt.readers.detection.samples import Recognised, Sample

HEADER_AT = 1024
PLUS = (b"H+\0\x04", b"HX\0\x05")  # signature and version
WRAPPER = "an HFS+ volume in an HFS wrapper: the wrapper, which only holds a note to old systems, is not read"


def apple_volume(sample: Sample) -> Recognised | None:
    """None unless the header's fields agree with each other.

    Inside Macintosh: Files, "Master Directory Block"; Apple Technical Note TN1150, "Volume Header", "HFS Wrapper".
    """
    header, remarks = _header(sample)
    if header[:4] in PLUS:
        return Recognised("hfsplus", Route.HFS, _plus_size(header), remarks=remarks)
    if header[:2] != b"BD":
        return None
    (blocks,) = struct.unpack_from(">H", header, 18)
    (block_bytes,) = struct.unpack_from(">I", header, 20)
    (first,) = struct.unpack_from(">H", header, 28)
    if not blocks or not block_bytes or block_bytes % 512 or first * 512 <= HEADER_AT or not 1 <= header[36] <= 27:
        return None
    if header[124:126] == b"H+":
        start, count = struct.unpack_from(">HH", header, 126)
        inner = first * 512 + start * block_bytes
        if _plus_size(sample.at(inner + HEADER_AT, 162)):
            remarks = (WRAPPER, *remarks)
            return Recognised("hfsplus", Route.HFS, count * block_bytes, remarks=remarks, starts_at=inner)
    # The copy of the block behind the last allocation block holds no file: it may be cut off harmlessly.
    return Recognised("hfs", Route.HFS, first * 512 + blocks * block_bytes, remarks=remarks)


def _header(sample: Sample) -> tuple[bytes, tuple[str, ...]]:
    """The header, or where it was not read its copy in the last sector but one."""
    start = sample.offset_bytes + HEADER_AT
    if not within(sample.source.unread, start, min(start + 512, sample.source.size_bytes)):
        return sample.at(HEADER_AT, 162), ()
    place = sample.size_bytes - HEADER_AT
    remark = f"its volume header was not read: it is opened by the copy at byte {sample.offset_bytes + place}"
    return sample.at(place, 162), (remark,)


def _plus_size(header: bytes) -> int:
    """0 if the volume header contradicts itself."""
    if header[:4] not in PLUS:
        return 0
    block_bytes, blocks = struct.unpack_from(">II", header, 40)
    if block_bytes < 512 or block_bytes & (block_bytes - 1):
        return 0
    return int(block_bytes) * int(blocks)
