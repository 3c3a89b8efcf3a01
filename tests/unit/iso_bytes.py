"""Hand-made ISO 9660 bytes: records, system use entries and descriptors, right or wrong as a test wants them."""

from __future__ import annotations

import os
import struct
import weakref
from collections.abc import Iterable
from pathlib import Path

from ntt.model import Entry, WalkProblem
from ntt.ranges import Ranges
from ntt.readers.base import ImageSource
from ntt.readers.iso.reader import Iso9660Reader, open_iso9660

ROOT_BLOCK = 20
DATE = bytes((120, 6, 15, 12, 30, 0, 0))  # 2020-06-15 12:30:00 UTC
DATE_S = 1592224200


def both(number: int, width: int = 4) -> bytes:
    return number.to_bytes(width, "little") + number.to_bytes(width, "big")


def record(
    identifier: bytes,
    block: int,
    size: int,
    flags: int = 0,
    use: bytes = b"",
    *,
    date: bytes = DATE,
    attribute_blocks: int = 0,
    unit: int = 0,
    gap: int = 0,
) -> bytes:
    body = both(block) + both(size) + date + bytes((flags, unit, gap)) + both(1, 2)
    body += bytes((len(identifier),)) + identifier + bytes(1 - len(identifier) % 2) + use
    body += bytes(len(body) % 2)
    return bytes((len(body) + 2, attribute_blocks)) + body


def directory(name: bytes, block: int, size: int = 2048, use: bytes = b"") -> bytes:
    return record(name, block, size, 2, use)


def dots(block: int, parent: int, size: int = 2048, own_use: bytes = b"") -> bytes:
    return directory(b"\0", block, size, own_use) + directory(b"\1", parent)


def susp(signature: bytes, data: bytes) -> bytes:
    return signature + bytes((4 + len(data), 1)) + data


def px(mode: int, links: int = 1, uid: int = 0, gid: int = 0, serial: int | None = None) -> bytes:
    data = both(mode) + both(links) + both(uid) + both(gid)
    return susp(b"PX", data if serial is None else data + both(serial))


def nm(name: bytes, flags: int = 0) -> bytes:
    return susp(b"NM", bytes((flags,)) + name)


def ce(block: int, offset: int, length: int) -> bytes:
    return susp(b"CE", both(block) + both(offset) + both(length))


def sp(skip: int = 0) -> bytes:
    return susp(b"SP", b"\xbe\xef" + bytes((skip,)))


ROCK_RIDGE_ROOT = sp() + px(0o40755)


def descriptor(kind: int, root: bytes, blocks: int, block_bytes: int, label: bytes, escape: bytes = b"") -> bytes:
    sector = bytearray(2048)
    sector[0:7] = bytes((kind,)) + b"CD001\x01"
    sector[40:72] = label.ljust(32)
    sector[80:88] = both(blocks)
    sector[88 : 88 + len(escape)] = escape
    sector[128:132] = struct.pack("<H", block_bytes) + struct.pack(">H", block_bytes)
    sector[156:190] = root[:34]
    return bytes(sector)


def source_of(path: Path, unread: Ranges = ()) -> ImageSource:
    """Its descriptor is closed when the last reader of it is gone."""
    source = ImageSource(os.open(path, os.O_RDONLY), unread)
    weakref.finalize(source, os.close, source.fd)
    return source


class HandMade:
    """An image in the making: put bytes at blocks, then open it."""

    def __init__(
        self, folder: Path, *, root_size: int = 2048, block_bytes: int = 2048, blocks: int = 64, root_block: int = 0
    ) -> None:
        self.path = folder / "hand-made.iso"
        self.block_bytes = block_bytes
        self.blocks = blocks
        self.root_block = root_block or ROOT_BLOCK * 2048 // block_bytes
        with self.path.open("wb") as image:
            image.truncate(blocks * block_bytes)
        root = directory(b"\0", self.root_block, root_size)
        self.at(16 * 2048, descriptor(1, root, blocks, block_bytes, b"HANDMADE"))
        self.at(17 * 2048, b"\xffCD001\x01")

    def joliet(self, root_block: int, label: bytes) -> None:
        root = directory(b"\0", root_block)
        self.at(17 * 2048, descriptor(2, root, self.blocks, self.block_bytes, label, b"%/E"))
        self.at(18 * 2048, b"\xffCD001\x01")

    def at(self, position: int, content: bytes) -> None:
        with self.path.open("r+b") as image:
            image.seek(position)
            image.write(content)

    def put(self, block: int, *pieces: bytes) -> None:
        self.at(block * self.block_bytes, b"".join(pieces))

    def root(self, *records: bytes, use: bytes = b"") -> None:
        self.put(self.root_block, dots(self.root_block, self.root_block, own_use=use), *records)

    def open(self, unread: Ranges = ()) -> Iso9660Reader:
        return open_iso9660(source_of(self.path, unread))


def entries(found: Iterable[Entry | WalkProblem]) -> list[Entry]:
    """Without the root."""
    return [one for one in found if isinstance(one, Entry) and one.name]


def problems(found: Iterable[Entry | WalkProblem]) -> list[WalkProblem]:
    return [one for one in found if isinstance(one, WalkProblem)]
