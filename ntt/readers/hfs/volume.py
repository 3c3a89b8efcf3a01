"""The master directory block of HFS or the volume header of HFS+ -> geometry, special files, facts.

HFS: Inside Macintosh: Files, 2-60 to 2-64. HFS+: Technical Note TN1150, "Volume Header", "HFS Wrapper", "Journal".
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ntt.model import VolumeFacts
from ntt.ranges import Ranges, normalised
from ntt.readers.base import ImageSource
from ntt.readers.hfs.forks import NO_FORK, Fork, Geometry
from ntt.readers.hfs.records import plus_fork, short_pieces, unix_time

HEADER_AT = 1024
HEADER_BYTES = 512
BLOCK_LIMIT = 1 << 30
CLEAN, INCONSISTENT, JOURNALED = 1 << 8, 1 << 11, 1 << 13
JOURNAL_MAGIC = b"JNLx"
UUID_SEED = bytes.fromhex("b3e20f39f29211d697a400306543ecac")  # kFSUUIDNamespaceSHA1 of Apple's hfs project
ALTERNATE = "the first volume header is damaged: its copy at the end of the volume is used"


@dataclass(frozen=True, slots=True)
class HfsVolume:
    """`offset_bytes`: where the volume, an embedded one inside its wrapper, begins in the image.

    `bitmap_at`: of classic HFS, where its map of blocks begins; -1: it is the `allocation` file. `journal`: places
    of the journal and of what describes it.
    """

    is_plus: bool
    offset_bytes: int
    geometry: Geometry
    catalog: Fork
    overflow: Fork
    attributes: Fork
    facts: VolumeFacts
    allocation: Fork = NO_FORK
    bitmap_at: int = -1
    journal: Ranges = ()

    @property
    def headers(self) -> tuple[int, int]:
        """Where the header is in the image, and its copy."""
        geometry = self.geometry
        end = geometry.first_byte + geometry.blocks * geometry.block_bytes
        return self.offset_bytes + HEADER_AT, end - HEADER_AT if self.is_plus else end


def volume_candidates(source: ImageSource, offset_bytes: int, size_bytes: int) -> Iterator[HfsVolume]:
    """What the header says, then what its copy at the end says; none where both are damaged.

    OSError or OverflowError if the image cannot be read.
    """
    for at, remark in _places(offset_bytes, size_bytes):
        block = source.read(at, HEADER_BYTES)
        if block[:2] in (b"H+", b"HX"):
            yield from _plus(source, block, offset_bytes, remark)
        elif block[:2] == b"BD" and block[124:126] in (b"H+", b"HX"):
            yield from _embedded(source, block, offset_bytes, remark)
        elif block[:2] == b"BD":
            yield from _classic(block, offset_bytes, remark)


def _places(offset_bytes: int, size_bytes: int) -> tuple[tuple[int, tuple[str, ...]], ...]:
    end = offset_bytes + size_bytes // 512 * 512
    last = max(end - HEADER_AT, offset_bytes)
    # classic HFS counts its copy as none of its blocks: it stands behind them
    return (offset_bytes + HEADER_AT, ()), (last, (ALTERNATE,)), (end, (ALTERNATE,))


def _classic(block: bytes, offset_bytes: int, oddities: tuple[str, ...]) -> Iterator[HfsVolume]:
    created, modified, attributes = struct.unpack_from(">IIH", block, 2)
    blocks, block_bytes = struct.unpack_from(">HI", block, 18)
    (first,) = struct.unpack_from(">H", block, 28)
    (free,) = struct.unpack_from(">H", block, 34)
    files, folders = struct.unpack_from(">II", block, 84)
    if not blocks or not block_bytes or block_bytes % 512:
        return
    label = block[37 : 37 + min(block[36], 27)].decode("mac_roman")
    facts = VolumeFacts(
        "hfs",
        label,
        created_s=unix_time(created) or None,
        modified_s=unix_time(modified) or None,
        block_bytes=block_bytes,
        size_bytes=first * 512 + blocks * block_bytes + HEADER_AT,
        used_bytes=(blocks - free) * block_bytes if free <= blocks else None,
        free_bytes=free * block_bytes,
        entries=files + folders,
        state="clean" if attributes & CLEAN else "dirty",
        oddities=oddities,
    )
    yield HfsVolume(
        False,
        offset_bytes,
        Geometry(offset_bytes + first * 512, block_bytes, blocks),
        Fork(int.from_bytes(block[146:150], "big"), short_pieces(block, 150)),
        Fork(int.from_bytes(block[130:134], "big"), short_pieces(block, 134)),
        NO_FORK,
        facts,
        bitmap_at=offset_bytes + int.from_bytes(block[14:16], "big") * 512,
    )


def _embedded(source: ImageSource, block: bytes, offset_bytes: int, oddities: tuple[str, ...]) -> Iterator[HfsVolume]:
    """The HFS+ volume in a wrapper: its place counts in the wrapper's allocation blocks."""
    (block_bytes,) = struct.unpack_from(">I", block, 20)
    (first,) = struct.unpack_from(">H", block, 28)
    start, count = struct.unpack_from(">HH", block, 126)
    inner = offset_bytes + first * 512 + start * block_bytes
    for at, remark in _places(inner, count * block_bytes):
        found = source.read(at, HEADER_BYTES)
        if found[:2] in (b"H+", b"HX"):
            inside = f"the volume lies inside an HFS wrapper, {inner - offset_bytes} bytes from its beginning"
            yield from _plus(source, found, inner, tuple(dict.fromkeys((inside, *oddities, *remark))))


def _plus(source: ImageSource, block: bytes, offset_bytes: int, oddities: tuple[str, ...]) -> Iterator[HfsVolume]:
    version, attributes = struct.unpack_from(">HI", block, 2)
    (journal_block,) = struct.unpack_from(">I", block, 12)
    created, modified = struct.unpack_from(">II", block, 16)
    files, folders, block_bytes, blocks, free = struct.unpack_from(">IIIII", block, 32)
    if not 512 <= block_bytes <= BLOCK_LIMIT or block_bytes & block_bytes - 1 or not blocks or version not in (4, 5):
        return
    journal, is_pending = "", False
    if attributes & JOURNALED:
        journal, is_pending = _journal(source, offset_bytes + journal_block * block_bytes, offset_bytes)
    names = "names that differ only by case may stand side by side (HFSX)" if block[:2] == b"HX" else ""
    clean = attributes & CLEAN and not attributes & INCONSISTENT and not is_pending
    facts = VolumeFacts(
        "hfsplus",
        serial=_serial(block[104:112]),
        created_s=unix_time(created) or None,  # the only local time in HFS+
        modified_s=unix_time(modified) or None,
        block_bytes=block_bytes,
        size_bytes=blocks * block_bytes,
        used_bytes=(blocks - free) * block_bytes if free <= blocks else None,
        free_bytes=free * block_bytes,
        entries=files + folders,
        state="clean" if clean else "dirty",
        journal_pending=is_pending,
        oddities=(*oddities, *filter(None, (names, journal))),
    )
    geometry = Geometry(offset_bytes, block_bytes, blocks)
    forks = plus_fork(block, 272), plus_fork(block, 192), plus_fork(block, 352)
    allocation = plus_fork(block, 112)
    pieces = _journal_places(source, offset_bytes, offset_bytes + journal_block * block_bytes, block_bytes)
    kept = pieces if attributes & JOURNALED else ()
    yield HfsVolume(True, offset_bytes, geometry, *forks, facts, allocation, journal=kept)


def _journal(source: ImageSource, info_at: int, offset_bytes: int) -> tuple[str, bool]:
    """What there is to say of the journal, and whether it holds changes that were never carried out."""
    (flags,) = struct.unpack(">I", source.read(info_at, 4))
    (journal_at,) = struct.unpack(">Q", source.read(info_at + 36, 8))
    if not flags & 1 or journal_at >= 1 << 60:
        return "journaled; the journal is kept elsewhere", False
    header = source.read(offset_bytes + journal_at, 24)
    order = {JOURNAL_MAGIC: ">", JOURNAL_MAGIC[::-1]: "<"}.get(header[:4])
    if order is None:
        return "journaled; the journal's header is damaged", False
    start, end = struct.unpack(f"{order}QQ", header[8:])
    if start == end:
        return "journaled", False
    return "journaled; the journal holds changes that were never carried out, and is not replayed", True


def _journal_places(source: ImageSource, offset_bytes: int, info_at: int, block_bytes: int) -> Ranges:
    start, size = struct.unpack(">QQ", source.read(info_at + 36, 16))
    if start >= 1 << 60 or size >= 1 << 60:
        start, size = 0, 0
    return normalised(((info_at, info_at + block_bytes), (offset_bytes + start, offset_bytes + start + size)))


def _serial(identifier: bytes) -> str:
    """The UUID that macOS and blkid derive from the 64 bits in the header: RFC 4122, version 3."""
    if not any(identifier):
        return ""
    digest = bytearray(hashlib.md5(UUID_SEED + identifier, usedforsecurity=False).digest())
    digest[6] = digest[6] & 0x0F | 0x30
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
