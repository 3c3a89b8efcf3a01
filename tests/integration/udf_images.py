"""Trees -> UDF volumes of every kind, written from ECMA-167 and OSTA UDF, knowing nothing of the reader."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

from udf_items import (
    AD_KINDS,
    DATA,
    DIRECTORY,
    HOLE,
    NOON,
    STREAMS,
    Item,
    cs0,
    dstring,
    permissions,
    regid,
    tagged,
    timestamp,
)

PLAIN, VIRTUAL, SPARABLE, METADATA = "plain", "virtual", "sparable", "metadata"
FIRST_BLOCK = 320  # of the partition
PACKET = 32


class UdfWriter:
    """One volume. `root` holds its tree; `write` lays everything out and gives the image."""

    def __init__(
        self,
        kind: str = PLAIN,
        *,
        revision: int = 0x0201,
        block: int = 2048,
        blocks: int = 4096,
        label: str = "Ntt Läbel",
        extended: bool = True,
        closed: bool = True,
    ) -> None:
        self.kind, self.revision, self.block, self.blocks, self.label = kind, revision, block, blocks, label
        self.extended, self.closed = extended, closed
        self.version = 3 if revision >= 0x0200 else 2
        self.root = Item(kind=DIRECTORY, mode=0o755, ads="short" if kind in (PLAIN, SPARABLE) else "long")
        self.created = NOON
        self.stale_label = ""  # of a logical volume descriptor that a newer one replaces
        self.image = bytearray(block * blocks)
        self.next_block = 0  # of the partition
        self.vat: list[int] = []
        self.files = self.folders = 0
        self.spared: dict[int, int] = {}
        self.unique = 16
        self.metadata_first = -1
        self.metadata_used = 0
        self.partition_blocks = blocks - FIRST_BLOCK - 272
        self.last_vat_block = -1

    # ---- space

    def data_blocks(self, count: int, gap: int = 0) -> int:
        """Partition block of a fresh run."""
        at = self.next_block
        self.next_block += count + gap
        assert self.next_block <= self.partition_blocks, "the volume is too small for its tree"
        return at

    def put(self, block: int, content: bytes) -> None:
        start = (FIRST_BLOCK + block) * self.block
        self.image[start : start + len(content)] = content

    def sector(self, sector: int, content: bytes) -> None:
        self.image[sector * self.block : sector * self.block + len(content)] = content

    def new_icb(self, blocks: int = 1) -> int:
        """An address in the partition that ICBs are in."""
        if self.kind == VIRTUAL:
            self.vat.append(0xFFFFFFFF)
            return len(self.vat) - 1
        if self.kind == METADATA:
            self.metadata_used += blocks
            return self.metadata_used - blocks
        return self.data_blocks(blocks)

    @property
    def icb_partition(self) -> int:
        return 1 if self.kind in (VIRTUAL, METADATA) else 0

    def put_icb(self, icb: int, content: bytes) -> None:
        assert len(content) <= self.block
        if self.kind == VIRTUAL:
            self.vat[icb] = self.data_blocks(1)
            self.put(self.vat[icb], content)
        elif self.kind == METADATA:
            self.put(self.metadata_first + icb, content)
        else:
            self.put(icb, content)

    # ---- the tree

    def write(self, path: Path | None = None) -> bytes:
        if self.kind == METADATA:
            self.data_blocks(3)  # main and mirror file entries, and something to keep them apart
            self.metadata_first = self.data_blocks(256, gap=1)
            self.mirror_first = self.data_blocks(256)
        file_set = self.new_icb()
        self._number(self.root)
        self.folders += 1
        self._item(self.root, self.root)
        body = timestamp(NOON) + struct.pack("<HHIIII", 3, 3, 1, 1, 0, 0) + self._charset()
        body += dstring(self.label, 128) + self._charset() + dstring("set", 32) + bytes(64)
        body += self._long_ad(self.block, self.root.icb) + self._domain() + bytes(16 + 16 + 32)
        self.put_icb(file_set, tagged(256, file_set, body, self.version).ljust(self.block, b"\0"))
        self.file_set = file_set
        if self.kind == METADATA:
            self._metadata_files()
        if self.kind == VIRTUAL:
            self._vat()
        self._volume()
        image = bytes(self.image)
        if self.kind == VIRTUAL:  # a write-once disc ends with its table
            image = image[: (FIRST_BLOCK + self.next_block) * self.block]
        if path is not None:
            path.write_bytes(image)
        return image

    def _number(self, item: Item) -> None:
        if item.same_as is None:
            item.icb = self.new_icb(2 if item.older is not None else 1)
            for child in [*item.children, *item.streams]:
                self._number(child)

    def _item(self, item: Item, parent: Item) -> None:
        if item.kind == DIRECTORY:
            for child in item.children:
                if not child.deleted:
                    self.files += child.kind != DIRECTORY
                    self.folders += child.kind == DIRECTORY
                if child.same_as is None:
                    self._item(child, item)
            item.content = self._directory(item.children, parent)
        stream_icb = bytes(16)
        if item.streams:
            streams = Item(kind=STREAMS, ads="embedded", icb=self.new_icb())
            for stream in item.streams:
                stream.flags |= 1 << 13
                self._item(stream, streams)
            streams.content = self._directory(item.streams, item)
            self.put_icb(streams.icb, self._entry(streams, streams.icb, streams.content, bytes(16)))
            stream_icb = self._long_ad(self.block, streams.icb)
        if item.older is None:
            self.put_icb(item.icb, self._entry(item, item.icb, item.content, stream_icb))
            return
        newer = self.new_icb(2)
        self.put_icb(item.icb, self._entry(item, item.icb, item.older, stream_icb, strategy=4096))
        indirect = struct.pack("<IHHHBB6xH", 1, 4096, 1, 2, 0, 3, 0) + self._long_ad(2 * self.block, newer)
        self.put_icb(item.icb + 1, tagged(259, item.icb + 1, indirect, self.version))
        self.put_icb(newer, self._entry(item, newer, item.content, stream_icb, strategy=4096))

    def _directory(self, children: Iterable[Item], parent: Item) -> bytes:
        records = self._identifier(b"", 0x0A, parent.icb)
        for child in children:
            name = cs0(child.name) if isinstance(child.name, str) else child.name
            target = child.same_as or child
            flags = 1 * child.hidden | 2 * (target.kind == DIRECTORY) | 4 * child.deleted | 16 * child.metadata
            records += self._identifier(name, flags, target.icb)
        return records

    def _identifier(self, name: bytes, flags: int, icb: int) -> bytes:
        body = struct.pack("<HBB", 1, flags, len(name)) + self._long_ad(self.block, icb) + b"\0\0" + name
        return tagged(257, 0, body.ljust((len(body) + 3) & ~3, b"\0"), self.version)

    def _long_ad(self, size: int, block: int, partition: int | None = None) -> bytes:
        reference = self.icb_partition if partition is None else partition
        return struct.pack("<IIH6x", size, block, reference)

    # ---- file entries

    def _entry(self, item: Item, icb: int, content: bytes, stream_icb: bytes, strategy: int = 4) -> bytes:
        self.unique += 1
        header = b""
        if item.attributes:
            offset = 24 + len(item.attributes)
            header = tagged(262, icb, struct.pack("<II", offset, offset), self.version) + item.attributes
        extended = self.extended and self.revision >= 0x0200
        room = self.block - (216 if extended else 176) - len(header)
        allocation, recorded = self._allocation(item, content, min(room, 8 * item.ads_per_block))
        flags = item.flags | AD_KINDS[item.ads]
        body = struct.pack("<IHHHBB6xH", 0, strategy, 0, 1 if strategy == 4 else 2, 0, item.kind, flags)
        size = len(content) if item.size is None else item.size
        body += struct.pack("<IIIHBBIQ", item.uid, item.gid, permissions(item.mode), item.links, 0, 0, 0, size)
        time = timestamp(item.time)
        if extended:
            body += struct.pack("<QQ", size, recorded) + time * 4 + struct.pack("<II", 1, 0) + bytes(16) + stream_icb
        else:
            body += struct.pack("<Q", recorded) + time * 3 + struct.pack("<I", 1) + bytes(16)
        unique = 0 if item is self.root else self.unique
        body += regid(b"*NTT test") + struct.pack("<QII", unique, len(header), len(allocation)) + header + allocation
        return tagged(266 if extended else 261, icb, body, self.version)

    def _allocation(self, item: Item, content: bytes, room: int) -> tuple[bytes, int]:
        if item.ads == "embedded":
            assert len(content) <= room, "too much to be embedded"
            return content, 0
        descriptors: list[bytes] = []
        at = recorded = 0
        pieces = [(DATA, len(content))] if item.pieces is None else item.pieces
        item.runs = []
        for kind, size in pieces:
            count = -(-size // self.block)
            if not count:
                continue
            block, partition = self._place(item, kind, count, content[at : at + size])
            if kind == DATA:
                recorded += count
            descriptors.append(self._descriptor(item, kind, size, block, partition))
            at += size
        return self._chained(item, descriptors, room), recorded

    def _place(self, item: Item, kind: int, count: int, content: bytes) -> tuple[int, int]:
        """Partition block and reference of an extent, written if it is to be."""
        if kind == HOLE:
            return 0, 0
        if item.kind in (DIRECTORY, STREAMS) and self.kind == METADATA:
            block = self.new_icb(count)
            self.put(self.metadata_first + block, content)
            item.runs.append((FIRST_BLOCK + self.metadata_first + block, len(content)))
            return block, 1
        block = self.data_blocks(count, gap=0 if item.pieces is None else 1)
        self.put(block, content if kind == DATA else b"\xee" * len(content))  # what was there before
        if kind == DATA:
            item.runs.append((FIRST_BLOCK + block, len(content)))
        return block, 0

    def _descriptor(self, item: Item, kind: int, size: int, block: int, partition: int) -> bytes:
        length = kind << 30 | size
        match item.ads:
            case "short":
                assert partition == self.icb_partition or kind == HOLE or self.kind in (PLAIN, SPARABLE)
                return struct.pack("<II", length, block)
            case "long":
                return struct.pack("<IIH6x", length, block, partition)
            case _:
                recorded = size if kind == DATA else 0
                return struct.pack("<IIIIH2x", length, recorded, size, block, partition)

    def _chained(self, item: Item, descriptors: list[bytes], room: int) -> bytes:
        """As many as there is room for; the rest goes to allocation extents (ECMA-167, 4/14.5)."""
        packed = b"".join(descriptors)
        if len(packed) <= room:
            return packed
        width = len(descriptors[0])
        first = max(room // width - 1, 1)
        partition = self.icb_partition
        block = self.new_icb()
        limit = min(self.block - 24, 8 * item.ads_per_block)
        rest = self._chained(item, descriptors[first:], limit)
        self.put_icb(block, tagged(258, block, struct.pack("<II", 0, len(rest)) + rest, self.version))
        link = struct.pack("<IIIIH2x", 3 << 30 | self.block, 0, 0, block, partition)
        if item.ads != "extended":
            link = struct.pack("<IIH6x", 3 << 30 | self.block, block, partition)[:width]
        return b"".join(descriptors[:first]) + link

    # ---- what the kinds of partitions need

    def _metadata_files(self) -> None:
        assert self.metadata_used <= 256
        main = self.metadata_first * self.block + FIRST_BLOCK * self.block
        mirror = self.mirror_first * self.block + FIRST_BLOCK * self.block
        self.image[mirror : mirror + 256 * self.block] = self.image[main : main + 256 * self.block]
        for block, first, kind in ((0, self.metadata_first, 250), (2, self.mirror_first, 251)):
            # in two extents, so that the file's blocks are not simply added to its first one
            ads = struct.pack("<IIII", 100 * self.block, first, 156 * self.block, first + 100)
            body = struct.pack("<IHHHBB6xH", 0, 4, 0, 1, 0, kind, 0)
            body += struct.pack("<IIIHBBIQ", 0xFFFFFFFF, 0xFFFFFFFF, 0, 1, 0, 0, 0, 256 * self.block)
            body += struct.pack("<QQ", 256 * self.block, 256) + timestamp(NOON) * 4 + struct.pack("<II", 1, 0)
            body += bytes(32) + regid(b"*NTT test") + struct.pack("<QII", 0, 0, len(ads)) + ads
            self.put(block, tagged(266, block, body, self.version))

    def _vat(self) -> None:
        table = struct.pack(f"<{len(self.vat)}I", *self.vat)
        if self.revision >= 0x0200:
            header = struct.pack("<HH", 152, 0) + dstring(self.label, 128) + struct.pack("<I", 0xFFFFFFFF)
            content = header + struct.pack("<IIHHHxx", self.files, self.folders, *[self.revision] * 3) + table
        else:
            content = table + regid(b"*UDF Virtual Alloc Tbl") + struct.pack("<I", 0xFFFFFFFF)
        size = len(content)
        first = self.data_blocks(-(-size // self.block))
        self.put(first, content)
        icb = self.data_blocks(1)
        self.last_vat_block = icb
        body = struct.pack("<IHHHBB6xH", 0, 4, 0, 1, 0, 248 if self.revision >= 0x0200 else 0, 0)
        body += struct.pack("<IIIHBBIQQ", 0, 0, 0, 1, 0, 0, 0, size, -(-size // self.block)) + timestamp(NOON) * 3
        body += struct.pack("<I", 1) + bytes(16) + regid(b"*NTT test") + struct.pack("<QIIII", 0, 0, 8, size, first)
        self.put(icb, tagged(261, icb, body, self.version))

    def spare(self, block: int, *, rot: bytes = b"\xbd") -> int:
        """Moves a packet of the partition to spare space; call it after `write`. Gives the new absolute block."""
        assert self.kind == SPARABLE and block % PACKET == 0
        to = self.blocks - 272 + PACKET * len(self.spared)
        start, size = (FIRST_BLOCK + block) * self.block, PACKET * self.block
        self.image[to * self.block : to * self.block + size] = self.image[start : start + size]
        self.image[start : start + size] = rot * size
        self.spared[block] = to
        self._sparing_tables()
        return to

    def _sparing_tables(self) -> None:
        entries = b"".join(struct.pack("<II", *pair) for pair in sorted(self.spared.items()))
        entries += struct.pack("<II", 0xFFFFFFFF, self.blocks - 272 + 3 * PACKET)
        count = len(entries) // 8
        for sector in (300, 310):
            body = regid(b"*UDF Sparing Table") + struct.pack("<HHI", count, 0, len(self.spared)) + entries
            self.sector(sector, tagged(0, sector, body, self.version))

    # ---- volume structures

    def _charset(self) -> bytes:
        return b"\0OSTA Compressed Unicode".ljust(64, b"\0")

    def _domain(self) -> bytes:
        return regid(b"*OSTA UDF Compliant", struct.pack("<HB", self.revision, 0))

    def _maps(self) -> list[bytes]:
        plain = struct.pack("<BBHH", 1, 6, 1, 0)
        head = struct.pack("<BBxx", 2, 64)
        suffix = struct.pack("<H", self.revision)
        match self.kind:
            case "virtual":
                return [plain, head + regid(b"*UDF Virtual Partition", suffix) + struct.pack("<HH24x", 1, 0)]
            case "sparable":
                body = struct.pack("<HHHBxIII8x", 1, 0, PACKET, 2, self.block, 300, 310)
                return [head + regid(b"*UDF Sparable Partition", suffix) + body]
            case "metadata":
                body = struct.pack("<HHIIIIHB5x", 1, 0, 0, 2, 0xFFFFFFFF, 32, 1, 1)
                return [plain, head + regid(b"*UDF Metadata Partition", suffix) + body]
        return [plain]

    def _volume(self) -> None:
        if self.kind == SPARABLE:
            self._sparing_tables()
        step = max(2048, self.block)
        for index, name in enumerate((b"BEA01", b"NSR03" if self.revision >= 0x0200 else b"NSR02", b"TEA01")):
            start = 32768 + index * step
            self.image[start : start + 7] = b"\0" + name + b"\1"
        main, reserve, integrity = 96, 128, 160
        for first in (main, reserve):
            self._sequence(first, integrity)
        self._integrity(integrity)
        anchor = struct.pack("<IIII", 16 * self.block, main, 16 * self.block, reserve)
        for sector in (256, self.blocks - 1):
            self.sector(sector, tagged(2, sector, anchor + bytes(480), self.version))

    def _sequence(self, first: int, integrity: int) -> None:
        primary = struct.pack("<II", 1, 0) + dstring("volume", 32) + struct.pack("<HHHHII", 1, 1, 2, 2, 1, 1)
        primary += dstring("0123456789ABCDEFntt", 128) + self._charset() * 2 + bytes(16) + regid(b"*NTT")
        primary += timestamp(self.created) + regid(b"*NTT") + bytes(64) + struct.pack("<IH", 0, 0) + bytes(22)
        maps = self._maps()
        logical = struct.pack("<I", 2) + self._charset() + dstring(self.label, 128)
        logical += struct.pack("<I", self.block) + self._domain() + self._long_ad(self.block, self.file_set)
        logical += struct.pack("<II", sum(map(len, maps)), len(maps)) + regid(b"*NTT test") + bytes(128)
        logical += struct.pack("<II", 2 * self.block, integrity) + b"".join(maps)
        partition = struct.pack("<IHH", 3, 1, 0) + regid(b"+NSR03") + bytes(128)
        partition += struct.pack("<III", 4, FIRST_BLOCK, self.partition_blocks) + regid(b"*NTT") + bytes(128 + 156)
        found = [(1, primary), (6, logical), (5, partition)]
        if self.stale_label:
            stale = logical.replace(dstring(self.label, 128), dstring(self.stale_label, 128))
            found.append((6, struct.pack("<I", 1) + stale[4:]))
        for index, (kind, body) in enumerate([*found, (8, bytes(496))]):
            self.sector(first + index, tagged(kind, first + index, body, self.version))

    def _integrity(self, sector: int) -> None:
        count = len(self._maps())
        body = timestamp(NOON) + struct.pack("<III", int(self.closed), 0, 0) + struct.pack("<Q24x", self.unique)
        free = [self.partition_blocks - self.next_block, *[0xFFFFFFFF] * (count - 1)]
        sizes = [self.partition_blocks, *[0xFFFFFFFF] * (count - 1)]
        body += struct.pack("<II", count, 46) + struct.pack(f"<{2 * count}I", *free, *sizes)
        body += regid(b"*NTT test") + struct.pack("<IIHHH", self.files, self.folders, *[self.revision] * 3)
        self.sector(sector, tagged(9, sector, body, self.version))
