"""ext2/3/4 as a tree, from the raw structures alone; The Sleuth Kit only has to take the file system.

It walks every pointer that a file's size has room for: a wrong size, or a map that names itself, would keep it busy
for hours.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ntt.model import Extent, Structure, VolumeFacts, WalkProblem
from ntt.ranges import Range, within
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.ext.blocks import Lost, Space, extent_runs, mapped_runs, with_lost
from ntt.readers.ext.facts import ext_facts
from ntt.readers.ext.inodes import (
    FLAG_ENCRYPTED,
    FLAG_EXTENTS,
    ExtInode,
    ExtInodes,
    ExtSuperblock,
    directory_entries,
)
from ntt.readers.nodes import Child, Content, Node, Tree
from ntt.readers.tsk_extents import HOLE, Run, part_of, run_extents
from ntt.readers.tsk_volume import TskVolume

ROOT = 2
LISTED_AT_ONCE = 1 << 20  # directory bytes
LINK_LIMIT = 1 << 16
FORMATS = frozenset({stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK})


class Mapped(NamedTuple):
    """Where the content of one file lies; what is `lost` is among its holes."""

    ino: int
    size: int
    extents: list[Extent]
    lost: list[Lost]


class ExtTree:
    """ReadError if the superblock is none or The Sleuth Kit does not take the file system."""

    def __init__(self, source: ImageSource, offset_bytes: int, size_bytes: int) -> None:
        superblock = ExtSuperblock.parse(source.read(offset_bytes + 1024, 1024))
        if superblock is None:
            raise ReadError("the superblock is damaged")
        self.fstype = superblock.fstype
        self.label = superblock.label.decode("utf-8", "replace")
        self._volume = TskVolume(source, offset_bytes, size_bytes, superblock.fstype)
        self._source = source
        self._offset_bytes = offset_bytes
        self._inodes = ExtInodes(source, offset_bytes, superblock)
        self.root_ino = ROOT
        self._mapped: Mapped | None = None

    def root(self) -> Node:
        inode = self._inodes.inode(self.root_ino)
        if not stat.S_ISDIR(inode.mode):
            raise ReadError("the inode of the root directory is empty or damaged")
        return self._node(self.root_ino, inode)

    def children(self, ino: int) -> Iterator[Child | WalkProblem]:
        for piece in self._directory_pieces(ino):
            superblock = self._inodes.superblock
            entries, broken = directory_entries(piece, superblock.block_size, superblock.has_file_types)
            if broken:
                yield WalkProblem("bad_record", ino, b"", f"{broken} broken blocks in the directory")
            for name, child in entries:
                if name in (b".", b".."):
                    continue
                try:
                    inode = self._inodes.inode(child)
                    if stat.S_IFMT(inode.mode) not in FORMATS:
                        raise ReadError("its inode is empty or damaged")
                    yield Child(name, child, self._node(child, inode))
                except ReadError as error:
                    yield WalkProblem("bad_record", child, name, str(error))

    def _directory_pieces(self, ino: int) -> Iterator[bytes]:
        """The directory's bytes in whole blocks; of an inline one the entries behind its parent's number.

        ReadError behind the last piece if the directory has holes, which no ext has: names may be missing.
        """
        inode = self._inodes.inode(ino)
        if inode.is_inline:
            for index, extent in enumerate(inode.inline_extents()):
                start = extent.image_offset - inode.position
                content = inode.raw[start : start + extent.image_length]
                yield content[4:] if index == 0 else content
            return
        block_bytes = self._inodes.superblock.block_size
        missing = blocks = -(-inode.size // block_bytes)
        for run in self._runs(inode):
            if isinstance(run, Lost) or run.volume_block == HOLE:
                continue
            start, end = (at * block_bytes for at in (run.volume_block, run.volume_block + run.blocks))
            end -= max(run.file_block + run.blocks - blocks, 0) * block_bytes
            for at in range(start, end, LISTED_AT_ONCE):
                yield self._bytes(self._offset_bytes + at, min(LISTED_AT_ONCE, end - at))
            missing -= max(end - start, 0) // block_bytes
        if missing:
            raise ReadError(f"{missing} of its {blocks} blocks are not there")

    def _node(self, ino: int, inode: ExtInode) -> Node:
        link_target = b""
        if stat.S_ISLNK(inode.mode):
            if inode.size > self._inodes.superblock.block_size:  # Linux, fs/ext4: a target fits into one block
                raise ReadError(f"its link target claims {inode.size:,} bytes")
            short = inode.short_link
            link_target = self.read(ino, 0, min(inode.size, LINK_LIMIT)) if short is None else short
        elif stat.S_ISCHR(inode.mode) or stat.S_ISBLK(inode.mode):
            link_target = inode.device
        return Node(
            inode.mode,
            inode.size,
            inode.mtime_s,
            inode.mtime_ns,
            inode.uid,
            inode.gid,
            link_target,
            self._first_byte(inode),
        )

    def _first_byte(self, inode: ExtInode) -> int:
        first = self._inodes.first_byte(inode)
        if first is not None:
            return first
        try:
            for run in self._runs(inode):
                if isinstance(run, Run) and run.volume_block != HOLE:
                    return self._offset_bytes + run.volume_block * self._inodes.superblock.block_size
        except ReadError:
            pass  # only the order of reading depends on it; the read itself reports the cause
        return -1

    def content(self, ino: int) -> Content:
        inode = self._inodes.inode(ino)
        refusal = "its content is encrypted (fscrypt)" if inode.flags & FLAG_ENCRYPTED else ""
        return Content(inode.size, inode.size, refusal)

    def read(self, ino: int, offset: int, length: int) -> bytes:
        pieces = [
            bytes(piece.file_length)
            if piece.image_offset == HOLE
            else self._bytes(piece.image_offset, piece.image_length)
            for piece in part_of(self._mapped_to(ino).extents, offset, length)
        ]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def extents(self, ino: int) -> Sequence[Extent]:
        mapped = self._mapped_to(ino)
        if not mapped.lost:
            return mapped.extents
        superblock = self._inodes.superblock
        return with_lost(mapped.extents, mapped.lost, superblock.block_size, self._offset_bytes, mapped.size)

    def _mapped_to(self, ino: int) -> Mapped:
        if self._mapped is None or self._mapped.ino != ino:
            inode = self._inodes.inode(ino)
            if inode.is_inline:
                self._mapped = Mapped(ino, inode.size, inode.inline_extents(), [])
                return self._mapped
            runs: list[Run] = []
            lost: list[Lost] = []
            for run in self._runs(inode):
                if isinstance(run, Lost):
                    lost.append(run)
                else:
                    runs.append(run)
            found = run_extents(runs, self._inodes.superblock.block_size, self._offset_bytes, inode.size)
            self._mapped = Mapped(ino, inode.size, found, lost)
        return self._mapped

    def _runs(self, inode: ExtInode) -> Iterator[Run | Lost]:
        superblock = self._inodes.superblock
        space = Space(superblock.block_size, superblock.block_count, self._map_block)
        block_map = inode.raw[40:100]
        if inode.flags & FLAG_EXTENTS:
            return extent_runs(block_map, inode.size, space)
        return mapped_runs(block_map, inode.size, space)

    def _map_block(self, block: int) -> bytes | None:
        length = self._inodes.superblock.block_size
        start = self._offset_bytes + block * length
        return None if within(self._source.unread, start, start + length) else self._bytes(start, length)

    def _bytes(self, position: int, length: int) -> bytes:
        try:
            return self._source.read(position, length)
        except (OSError, OverflowError) as error:
            raise ReadError(f"the image cannot be read at byte {position}: {error}") from None

    def facts(self) -> VolumeFacts:
        return ext_facts(self._volume.source, self._volume.offset_bytes, self.fstype, self.label)

    def structures(self) -> Iterator[Structure]:
        return iter(())  # none of them is known

    def used(self) -> Iterator[Range] | None:
        return None

    def close(self) -> None:
        self._mapped = None
        self._volume.close()


def open_tree(source: ImageSource, offset_bytes: int, size_bytes: int, _fstype: str) -> Tree:
    return ExtTree(source, offset_bytes, size_bytes)
