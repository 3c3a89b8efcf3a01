"""A small writer of HFS+ and HFSX volumes, from Apple's Technical Note TN1150 alone: Debian has no mkfs.hfsplus.

Names must be ASCII apart from what stands decomposed in them, because only ASCII letters are folded here.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from disk_images import ENVIRONMENT, run

TO_1904 = 2_082_844_800
ROOT = 2
FILES_FOLDER = "\0\0\0\0HFS+ Private Data"
FOLDERS_FOLDER = ".HFS+ Private Directory Data\r"
NOW = 1_200_000_000  # the modification time of whatever is given none


@dataclass
class Item:
    """A folder or file of the volume. `pieces`: into how many extents its data fork is cut."""

    cnid: int
    parent: int
    name: str
    is_folder: bool
    data: bytes = b""
    resource: bytes = b""
    mode: int = 0
    finder: bytes = b""
    special: int = 0
    owner_flags: int = 0
    flags: int = 0
    owner: tuple[int, int] = (0, 0)
    mtime: int = NOW
    pieces: int = 1
    has_thread: bool = True


@dataclass
class HfsPlus:
    """Collects items; `image` lays them out. Allocation blocks and nodes are in bytes."""

    label: str = "ntt plus"
    block: int = 4096
    node: int = 4096
    case_sensitive: bool = False
    journal: str = ""  # "empty" or "pending"
    catalog_pieces: int = 1
    items: list[Item] = field(default_factory=list)
    attributes: list[tuple[int, str, bytes]] = field(default_factory=list)
    next_id: int = 16

    def folder(self, parent: int, name: str, **more: object) -> int:
        return self._add(parent, name, True, more)

    def file(self, parent: int, name: str, data: bytes = b"", **more: object) -> int:
        return self._add(parent, name, False, {"data": data, **more})

    def _add(self, parent: int, name: str, is_folder: bool, more: dict[str, object]) -> int:
        self.next_id += 1
        self.items.append(Item(self.next_id - 1, parent, name, is_folder))
        for key, value in more.items():
            setattr(self.items[-1], key, value)
        return self.items[-1].cnid

    def link(self, parent: int, name: str, number: int) -> int:
        """A hard link to the file `iNode<number>` in the private folder."""
        return self.file(parent, name, finder=b"hlnkhfs+", special=number, mode=0o100444)

    def folder_link(self, parent: int, name: str, number: int) -> int:
        return self.file(parent, name, finder=b"fdrpMACS", special=number, flags=0x22, mode=0o100444)

    # ------------------------------------------------------------ layout

    def image(self, blocks: int = 512) -> bytes:
        self.space = bytearray(blocks * self.block)
        self.used = bytearray(blocks)
        self.overflow: list[tuple[bytes, bytes]] = []
        self.cursor = max(1, -(-1536 // self.block))
        for taken in (*range(self.cursor), *range(blocks - max(1, 1024 // self.block), blocks)):
            self.used[taken] = 1
        allocation_extents = self._take(-(-blocks // 8), 1)
        journal_block = self._journal() if self.journal else 0
        catalog = self._tree(self._catalog_records(), 516, 0xBC if self.case_sensitive else 0xCF, 6)
        catalog_fork = self._fork(catalog, 4, 0, self.catalog_pieces)
        attributes = self._tree(self._attribute_records(), 266, 0, 6)
        attributes_fork = self._fork(attributes if self.attributes else b"", 8, 0, 1)
        self.overflow.sort(key=lambda record: (record[0][4:8], record[0][2], record[0][8:]))
        overflow_fork = self._fork(self._tree(self.overflow, 10, 0, 2), 3, 0, 1)
        bits = bytearray(-(-blocks // 8))
        for block, taken in enumerate(self.used):
            bits[block >> 3] |= (0x80 >> (block & 7)) if taken else 0
        self._put(allocation_extents, bytes(bits))
        allocation_fork = self._fork_data(len(bits), allocation_extents)
        forks = allocation_fork + overflow_fork + catalog_fork + attributes_fork + self._fork_data(0, [])
        header = self._header(blocks, journal_block) + forks
        assert len(header) == 512
        self.space[1024:1536] = header
        self.space[-1024:-512] = header
        return bytes(self.space)

    def _header(self, blocks: int, journal_block: int) -> bytes:
        links = [item for item in self.items if item.is_folder]
        attributes = 0x100 | (0x2000 if self.journal else 0)
        head = b"HX" if self.case_sensitive else b"H+"
        head += struct.pack(">HI4sI", 5 if self.case_sensitive else 4, attributes, b"10.0", journal_block)
        head += struct.pack(">IIII", NOW + TO_1904, NOW + 5 + TO_1904, 0, 0)
        head += struct.pack(">IIIII", len(self.items) - len(links), len(links), self.block, blocks, self.used.count(0))
        head += struct.pack(">IIIIIQ", self.cursor, self.block, self.block, self.next_id, 1, 1)
        return head + bytes(24) + b"NTTSERIA"

    def _take(self, size: int, pieces: int) -> list[tuple[int, int]]:
        """Free blocks in this many extents, one block left free between two of them."""
        blocks = -(-size // self.block)
        pieces = min(pieces, blocks)
        found: list[tuple[int, int]] = []
        for piece in range(pieces):
            count = blocks // pieces + (piece < blocks % pieces)
            found.append((self.cursor, count))
            self.used[self.cursor : self.cursor + count] = b"\1" * count
            self.cursor += count + (pieces > 1)
        return found

    def _put(self, extents: list[tuple[int, int]], content: bytes) -> None:
        for start, count in extents:
            part, content = content[: count * self.block], content[count * self.block :]
            self.space[start * self.block : start * self.block + len(part)] = part
        assert not content

    def _fork(self, content: bytes, cnid: int, kind: int, pieces: int) -> bytes:
        extents = self._take(len(content), pieces)
        self._put(extents, content)
        first = sum(count for _, count in extents[:8])
        for at in range(8, len(extents), 8):
            key = struct.pack(">HBBII", 10, kind, 0, cnid, first)
            self.overflow.append((key, _eight(extents[at : at + 8])))
            first += sum(count for _, count in extents[at : at + 8])
        return self._fork_data(len(content), extents)

    def _fork_data(self, size: int, extents: list[tuple[int, int]]) -> bytes:
        return struct.pack(">QII", size, self.block, sum(count for _, count in extents)) + _eight(extents[:8])

    def _journal(self) -> int:
        ((info, _),) = self._take(1, 1)
        ((log, count),) = self._take(2 * self.block, 1)
        record = struct.pack(">I32sQQ", 1, b"", log * self.block, count * self.block)
        self._put([(info, 1)], record)
        end = 512 if self.journal == "empty" else 1024
        head = b"xLNJ" + struct.pack("<IQQQII", 0x12345678, 512, end, count * self.block, 512, 0)
        self._put([(log, 1)], head)
        return info

    # ------------------------------------------------------------ records

    def _catalog_records(self) -> list[tuple[bytes, bytes]]:
        root = Item(ROOT, 1, self.label, True, mode=0o40755)
        records: list[tuple[tuple[int, list[int]], bytes, bytes]] = []
        for item in (root, *self.items):
            records.append((self._order(item.parent, item.name), _key(item.parent, item.name), self._record(item)))
            if item.has_thread:
                thread = struct.pack(">HHI", 3 if item.is_folder else 4, 0, item.parent) + _name(item.name)
                records.append((self._order(item.cnid, ""), _key(item.cnid, ""), thread))
        records.sort(key=lambda record: record[0])
        return [(key, data) for _, key, data in records]

    def _order(self, parent: int, name: str) -> tuple[int, list[int]]:
        units = list(struct.unpack(f">{len(_name(name)) // 2}H", _name(name)))[1:]
        if self.case_sensitive:
            return parent, units
        return parent, [unit + 32 if 65 <= unit <= 90 else unit or 0xFFFF for unit in units]

    def _record(self, item: Item) -> bytes:
        stamp = item.mtime + TO_1904 if item.mtime else 0
        dates = struct.pack(">IIIII", NOW + TO_1904, stamp, stamp, stamp, 0)
        uid, gid = item.owner
        unix = struct.pack(">IIBBHI", uid, gid, 0, item.owner_flags, item.mode, item.special)
        tail = unix + item.finder.ljust(32, b"\0") + struct.pack(">II", 0, 0)
        if item.is_folder:
            valence = sum(other.parent == item.cnid for other in self.items)
            return struct.pack(">HHII", 1, item.flags, valence, item.cnid) + dates + tail
        data = self._fork(item.data, item.cnid, 0, item.pieces)
        resource = self._fork(item.resource, item.cnid, 0xFF, 1)
        thread = 2 if item.has_thread else 0
        return struct.pack(">HHII", 2, item.flags | thread, 0, item.cnid) + dates + tail + data + resource

    def _attribute_records(self) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        for cnid, name, value in sorted(self.attributes):
            key = struct.pack(">HII", 0, cnid, 0) + _name(name)
            data = struct.pack(">IIII", 0x10, 0, 0, len(value)) + value
            found.append((struct.pack(">H", len(key)) + key, data + bytes(len(data) % 2)))
        return found

    # ------------------------------------------------------------ B-trees

    def _tree(self, records: list[tuple[bytes, bytes]], key_limit: int, compare: int, flags: int) -> bytes:
        """Header node 0, then the leaves, then each index level."""
        nodes: list[bytes] = []
        level = [(key, key + data) for key, data in records]
        height, kind, first, root, leaves = 1, 0xFF, 1, 0, (0, 0)
        while level:
            groups = self._grouped([record for _, record in level])
            above: list[tuple[bytes, bytes]] = []
            taken = 0
            for number, group in enumerate(groups, first):
                forward = number + 1 if number + 1 < first + len(groups) else 0
                nodes.append(self._node(group, kind, height, forward, number - 1 if number > first else 0))
                key = level[taken][0]
                above.append((key, key + struct.pack(">I", number)))
                taken += len(group)
            if height == 1:
                leaves = (first, first + len(groups) - 1)
            root = first
            first += len(groups)
            if len(groups) == 1:
                break
            level, height, kind = above, height + 1, 0
        total = len(nodes) + 1
        header = struct.pack(">HIIII", height if root else 0, root, len(records), *leaves)
        header += struct.pack(">HHIIHIBBI", self.node, key_limit, total, 0, 0, self.block, 0, compare, flags)
        bits = bytearray(self.node - 256)
        for number in range(total):
            bits[number >> 3] |= 0x80 >> (number & 7)
        head = self._node([header.ljust(106, b"\0"), bytes(128), bytes(bits)], 1, 0, 0, 0)
        return head + b"".join(nodes)

    def _grouped(self, records: list[bytes]) -> list[list[bytes]]:
        groups: list[list[bytes]] = [[]]
        room = self.node - 16
        for record in records:
            if len(record) + 2 > room:
                groups.append([])
                room = self.node - 16
            groups[-1].append(record)
            room -= len(record) + 2
        return groups

    def _node(self, records: list[bytes], kind: int, height: int, forward: int, backward: int) -> bytes:
        content = struct.pack(">IIBBHH", forward, backward, kind, height, len(records), 0)
        offsets: list[int] = []
        for record in records:
            offsets.append(len(content))
            content += record
        offsets.append(len(content))
        table = struct.pack(f">{len(offsets)}H", *reversed(offsets))
        assert len(content) + len(table) <= self.node
        return content.ljust(self.node - len(table), b"\0") + table


def _eight(extents: list[tuple[int, int]]) -> bytes:
    return b"".join(struct.pack(">II", *extent) for extent in extents).ljust(64, b"\0")


def _name(name: str) -> bytes:
    units = name.encode("utf-16-be", "surrogatepass")
    return struct.pack(">H", len(units) // 2) + units


def _key(parent: int, name: str) -> bytes:
    key = struct.pack(">I", parent) + _name(name)
    return struct.pack(">H", len(key)) + key


def decmpfs(kind: int, size: int, body: bytes = b"") -> bytes:
    return struct.pack("<4sIQ", b"fpmc", kind, size) + body


def packed_resource(content: bytes, plain_units: tuple[int, ...] = ()) -> bytes:
    """A resource fork with one resource of compressed 64 KiB blocks, some of them kept plain behind 0xFF."""
    units = [content[at : at + 65_536] for at in range(0, len(content), 65_536)]
    packed = [b"\xff" + unit if at in plain_units else zlib.compress(unit) for at, unit in enumerate(units)]
    table, at = struct.pack("<I", len(packed)), 4 + 8 * len(packed)
    for unit in packed:
        table += struct.pack("<II", at, len(unit))
        at += len(unit)
    body = table + b"".join(packed)
    data = struct.pack(">I", len(body)) + body
    resource_map = bytes(28) + bytes(22)
    head = struct.pack(">IIII", 256, 256 + len(data), len(data), len(resource_map))
    return head.ljust(256, b"\0") + data + resource_map


def wrapped(inner: bytes) -> bytes:
    """An HFS wrapper around an HFS+ volume: a master directory block that only says where it lies."""
    block, first = 4096, 16
    count = len(inner) // block
    mdb = bytearray(512)
    struct.pack_into(">2sIIH", mdb, 0, b"BD", NOW + TO_1904, NOW + TO_1904, 0x100)
    struct.pack_into(">HI", mdb, 18, count + 10, block)
    struct.pack_into(">H", mdb, 28, first)
    mdb[36:44] = b"\x07wrapper"
    struct.pack_into(">2sHH", mdb, 124, b"H+", 5, count)
    image = bytearray(first * 512 + (count + 10) * block + 1024)
    image[1024:1536] = image[-1024:-512] = mdb
    at = first * 512 + 5 * block
    image[at : at + len(inner)] = inner
    return bytes(image)


# ---------------------------------------------------------------- classic HFS through hfsutils


def hfs(home: Path, *argv: str | Path) -> str:
    """One of the hfsutils, with its own record of what is mounted."""
    previous, ENVIRONMENT["HOME"] = ENVIRONMENT.get("HOME", "/"), str(home)
    try:
        return run(*argv)
    finally:
        ENVIRONMENT["HOME"] = previous


def macbinary(name: bytes, kind: bytes, data: bytes, resource: bytes, flags: int = 0, modified: int = NOW) -> bytes:
    """A MacBinary II file: header of 128 bytes, both forks padded to 128."""
    head = bytearray(128)
    head[1] = len(name)
    head[2 : 2 + len(name)] = name
    head[65:73] = kind
    head[73] = flags >> 8
    struct.pack_into(">IIII", head, 83, len(data), len(resource), modified + TO_1904, modified + TO_1904)
    head[101] = flags & 0xFF
    head[122] = head[123] = 129
    struct.pack_into(">H", head, 124, _crc16(bytes(head[:124])))
    return (
        bytes(head)
        + data.ljust(-(-len(data) // 128) * 128, b"\0")
        + resource.ljust(-(-len(resource) // 128) * 128, b"\0")
    )


def _crc16(content: bytes) -> int:
    crc = 0
    for byte in content:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    return crc
