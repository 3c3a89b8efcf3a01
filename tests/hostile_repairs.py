"""Damaged structures -> the same, with checksums that hold: chance breaks them, malice mends them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Protocol

BLOCK = 512
SECTOR = 2048


class Image(Protocol):
    def read(self, at: int, length: int) -> bytes: ...

    def write(self, at: int, content: bytes) -> None: ...


def _crc16_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 8
        for _ in range(8):
            value = value << 1 ^ (0x1021 if value & 0x8000 else 0)
        table.append(value & 0xFFFF)
    return table


_CRC16 = _crc16_table()


def crc16(content: bytes) -> int:
    crc = 0
    for byte in content:
        crc = (crc << 8 & 0xFFFF) ^ _CRC16[crc >> 8 ^ byte]
    return crc


def udf_tags(image: Image, touched: Sequence[int]) -> None:
    """ECMA-167, 3/7.2: the tag of each descriptor that begins a changed sector."""
    for at in {block * BLOCK // SECTOR * SECTOR for block in touched}:
        head = image.read(at, 16)
        if len(head) < 16:
            continue
        kind, version, _, zero, _, _, size, _ = struct.unpack("<HHBBHHHI", head)
        if kind in (*range(1, 10), *range(256, 267)) and version in (2, 3) and not zero and size <= SECTOR - 16:
            fresh = head[:8] + struct.pack("<H", crc16(image.read(at + 16, size))) + head[10:]
            sum_ = (sum(fresh) - fresh[4]) & 0xFF
            image.write(at, fresh[:4] + bytes((sum_,)) + fresh[5:])


def gpt_headers(image: Image, touched: Sequence[int]) -> None:
    """UEFI, 5.3.2: the checksum of the entries, then that of the header."""
    for at in {BLOCK, *(block * BLOCK for block in touched)}:
        head = bytearray(image.read(at, BLOCK))
        if head[:8] != b"EFI PART":
            continue
        size, lba = struct.unpack_from("<I", head, 12)[0], struct.unpack_from("<Q", head, 72)[0]
        count, width = struct.unpack_from("<II", head, 80)
        if count * width <= 1 << 20 and lba < 1 << 32:
            struct.pack_into("<I", head, 88, zlib.crc32(image.read(lba * BLOCK, count * width)))
        struct.pack_into("<I", head, 16, 0)
        if 92 <= size <= BLOCK:
            struct.pack_into("<I", head, 16, zlib.crc32(head[:size]))
        image.write(at, bytes(head))


def tar_headers(image: Image, touched: Sequence[int]) -> None:
    """POSIX.1, pax, "ustar Interchange Format": the sum of the header's bytes."""
    for block in touched:
        head = image.read(block * BLOCK, BLOCK)
        if head[257:262] == b"ustar":
            head = head[:148] + b" " * 8 + head[156:]
            image.write(block * BLOCK, head[:148] + b"%06o\0 " % sum(head) + head[156:])


def sevenzip_headers(image: Image, touched: Sequence[int]) -> None:
    """7zFormat.txt: the checksum of the end header, then that of the start header."""
    head = image.read(0, 32)
    if not touched or head[:6] != b"7z\xbc\xaf\x27\x1c":
        return
    offset, size = struct.unpack_from("<QQ", head, 12)
    if offset < 1 << 32 and size < 1 << 24:
        start = head[12:28] + struct.pack("<I", zlib.crc32(image.read(32 + offset, size)))
        image.write(8, struct.pack("<I", zlib.crc32(start)) + start)


REPAIRS: tuple[Callable[[Image, Sequence[int]], None], ...] = (udf_tags, gpt_headers, tar_headers, sevenzip_headers)
