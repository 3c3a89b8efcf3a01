"""The small parts of a UDF volume as a writer makes them (ECMA-167, OSTA UDF), knowing nothing of the reader."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

DATA, ALLOCATED, HOLE = 0, 1, 2  # kinds of extents
DIRECTORY, REGULAR, BLOCK, CHARACTER, FIFO, SOCKET, SYMLINK, STREAMS, REAL_TIME = 4, 5, 6, 7, 9, 10, 12, 13, 249
AD_KINDS = {"short": 0, "long": 1, "extended": 2, "embedded": 3}
NOON = (0x1000 | (-120 & 0xFFF), 2004, 2, 29, 12, 34, 56, 78, 90, 12)  # two hours west of UTC
NOON_NS = 1_078_065_296_789_012_000  # 2004-02-29 14:34:56.789012 UTC


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 8
        for _ in range(8):
            value = value << 1 ^ (0x1021 if value & 0x8000 else 0)
        table.append(value & 0xFFFF)
    return table


_CRC = _crc_table()


def tagged(kind: int, location: int, body: bytes, version: int = 2) -> bytes:
    """A descriptor with its tag (ECMA-167, 3/7.2)."""
    crc = 0
    for byte in body:
        crc = (crc << 8 & 0xFFFF) ^ _CRC[crc >> 8 ^ byte]
    tag = struct.pack("<HHBBHHHI", kind, version, 0, 0, 1, crc, len(body), location)
    return tag[:4] + bytes((sum(tag) & 0xFF,)) + tag[5:] + body


def cs0(text: str) -> bytes:
    wide = any(ord(character) > 255 for character in text)
    return b"\x10" + text.encode("utf-16-be", "surrogatepass") if wide else b"\x08" + text.encode("latin-1")


def dstring(text: str, size: int) -> bytes:
    stored = cs0(text) if text else b""
    return stored.ljust(size - 1, b"\0") + bytes((len(stored),))


def regid(name: bytes, suffix: bytes = b"") -> bytes:
    return b"\0" + name.ljust(23, b"\0") + suffix.ljust(8, b"\0")


def timestamp(parts: tuple[int, ...]) -> bytes:
    return struct.pack("<HhBBBBBBBB", *parts)


@dataclass(eq=False)
class Item:
    """A file or directory. `pieces` None: the content in one extent; `after` AD lists go on in another block."""

    name: str | bytes = ""
    content: bytes = b""
    kind: int = REGULAR
    ads: str = "short"
    pieces: Sequence[tuple[int, int]] | None = None  # (kind of extent, bytes)
    children: list[Item] = field(default_factory=list)
    streams: list[Item] = field(default_factory=list)
    same_as: Item | None = None
    deleted: bool = False
    hidden: bool = False
    metadata: bool = False
    older: bytes | None = None  # strategy 4096: the content that an indirect entry replaces
    mode: int = 0o644
    flags: int = 0
    uid: int = 0xFFFFFFFF
    gid: int = 0xFFFFFFFF
    links: int = 1
    attributes: bytes = b""
    time: tuple[int, ...] = NOON
    ads_per_block: int = 1000
    size: int | None = None  # claimed instead of the real one
    icb: int = -1
    runs: list[tuple[int, int]] = field(default_factory=list)  # (absolute block, bytes) of its data, once written


def permissions(mode: int) -> int:
    return (mode & 7) | (mode >> 3 & 7) << 5 | (mode >> 6 & 7) << 10


def path_components(*parts: str | int) -> bytes:
    """Numbers are kinds of components without a name."""
    packed = b""
    for part in parts:
        name = b"" if isinstance(part, int) else cs0(part)
        packed += struct.pack("<BBH", part if isinstance(part, int) else 5, len(name), 0) + name
    return packed


def attribute(kind: int, body: bytes) -> bytes:
    return struct.pack("<IB3xI", kind, 1, 12 + len(body)) + body


def edited(image: bytes, changes: Iterable[tuple[int, bytes]]) -> bytes:
    """The image with other bytes at these offsets."""
    changed = bytearray(image)
    for at, content in changes:
        changed[at : at + len(content)] = content
    return bytes(changed)


def retagged(image: bytes, at: int, size: int, change: Callable[[bytearray], None]) -> bytes:
    """The image with a descriptor changed and its tag made right again."""
    descriptor = bytearray(image[at : at + size])
    change(descriptor)
    kind, version = struct.unpack_from("<HH", descriptor)
    crc_bytes, location = struct.unpack_from("<HI", descriptor, 10)
    fresh = tagged(kind, location, bytes(descriptor[16 : 16 + crc_bytes]), version)
    return edited(image, [(at, bytes(descriptor)), (at, fresh)])
