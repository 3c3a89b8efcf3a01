"""UFS1 and UFS2 (BSD's FFS) as a tree, from the raw structures alone.

The Sleuth Kit reads UFS too, but runs without end on damaged directories and sizes, and knows no sub-seconds in UFS1.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence

from ntt.model import Extent, Structure, VolumeFacts, WalkProblem
from ntt.ranges import Range, normalised, within
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.nodes import Child, Content, Node, Tree
from ntt.readers.tsk_extents import HOLE, part_of, run_extents
from ntt.readers.ufs.blocks import block_runs
from ntt.readers.ufs.inodes import INODE_BYTES, UfsInode, UfsInodes, directory_names
from ntt.readers.ufs.superblock import PLACES, SUPERBLOCK_BYTES, UfsSuperblock

ROOT = 2
LINK_LIMIT = 1 << 16
LISTED_AT_ONCE = 1 << 16  # directory bytes, whole blocks
SIZE_LIMIT = 1 << 62
FORMATS = frozenset({stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK})


class UfsTree:
    """Directories are those of 4.4BSD and later. ReadError if there is no superblock."""

    def __init__(self, source: ImageSource, offset_bytes: int) -> None:
        superblock = UfsSuperblock.find(source, offset_bytes)
        if superblock is None:
            places = ((offset_bytes + at, offset_bytes + at + SUPERBLOCK_BYTES) for at in PLACES)
            unread = normalised(lost for place in places for lost in within(source.unread, *place))
            raise ReadError("the superblock is damaged or was not read", unread)
        self.fstype = "ufs"
        self.label = superblock.label
        self.root_ino = ROOT
        self._source = source
        self._offset_bytes = offset_bytes
        self._superblock = superblock
        self._geometry = superblock.geometry
        self._inodes = UfsInodes(source, offset_bytes, superblock)
        self._mapped_ino = -1
        self._mapped: list[Extent] = []

    def root(self) -> Node:
        inode = self._inodes.inode(ROOT)
        if not stat.S_ISDIR(inode.mode):
            raise ReadError("the inode of the root directory is empty or damaged")
        return self._node(ROOT, inode)

    def children(self, ino: int) -> Iterator[Child | WalkProblem]:
        for extent in tuple(self.extents(ino)):
            if extent.image_offset == HOLE:
                continue
            for start in range(0, extent.image_length, LISTED_AT_ONCE):
                content = self._bytes(extent.image_offset + start, min(LISTED_AT_ONCE, extent.image_length - start))
                for found in directory_names(content, self._superblock.order):
                    if isinstance(found, str):
                        yield WalkProblem("bad_record", ino, b"", f"the directory is {found}: names may be missing")
                    else:
                        yield self._child(*found)

    def _child(self, name: bytes, ino: int, is_directory: bool) -> Child | WalkProblem:
        try:
            inode = self._inodes.inode(ino)
            if stat.S_IFMT(inode.mode) not in FORMATS:
                raise ReadError("its inode is empty or damaged")
            return Child(name, ino, self._node(ino, inode))
        except ReadError as error:
            if not error.unread:
                return WalkProblem("bad_record", ino, name, str(error))
            mode = stat.S_IFDIR | 0o755 if is_directory else stat.S_IFREG | 0o644
            return Child(name, ino, Node(mode, 0, 0, 0, 0, 0, b"", -1))

    def _node(self, ino: int, inode: UfsInode) -> Node:
        target, first = b"", -1
        if inode.size >= SIZE_LIMIT:
            raise ReadError("its inode is damaged")
        if stat.S_ISLNK(inode.mode):
            short = self._inodes.short_link(inode)
            target = self._long_target(ino, inode) if short is None else short
        elif stat.S_ISCHR(inode.mode) or stat.S_ISBLK(inode.mode):
            target = inode.device(self._superblock.version, self._superblock.order)
        elif stat.S_ISREG(inode.mode) and inode.size:
            first = self._first_byte(inode)
        return Node(inode.mode, inode.size, inode.mtime_s, inode.mtime_ns, inode.uid, inode.gid, target, first)

    def _long_target(self, ino: int, inode: UfsInode) -> bytes:
        """ReadError if some of it was not read: where the link leads to is not known then."""
        unread = normalised(
            place
            for extent in self.extents(ino)
            if extent.image_offset != HOLE
            for place in within(self._source.unread, extent.image_offset, extent.image_offset + extent.image_length)
        )
        if unread:
            raise ReadError("where the link leads to was not read")
        return self.read(ino, 0, min(inode.size, LINK_LIMIT))

    def _first_byte(self, inode: UfsInode) -> int:
        """The block map is read as far as its first block; the read itself reports what is wrong with it."""
        try:
            extents = self._extents(inode, first_only=True)
        except ReadError:
            return -1
        return next((extent.image_offset for extent in extents if extent.image_offset >= 0), -1)

    def content(self, ino: int) -> Content:
        size = self._inodes.inode(ino).size
        return Content(size, size, "")

    def read(self, ino: int, offset: int, length: int) -> bytes:
        pieces = part_of(self.extents(ino), offset, length)
        return b"".join(
            bytes(piece.file_length)
            if piece.image_offset == HOLE
            else self._bytes(piece.image_offset, piece.image_length)
            for piece in pieces
        )

    def extents(self, ino: int) -> Sequence[Extent]:
        if ino != self._mapped_ino:
            self._mapped_ino = -1
            self._mapped = self._extents(self._inodes.inode(ino))
            self._mapped_ino = ino
        return self._mapped

    def _extents(self, inode: UfsInode, first_only: bool = False) -> list[Extent]:
        addresses = inode.addresses(self._superblock.version, self._superblock.order)
        runs = block_runs(self._geometry, addresses, inode.size, self._at)
        found = [run for run in (next(runs, None),) if run is not None] if first_only else list(runs)
        return run_extents(found, self._geometry.fragment_bytes, self._offset_bytes, inode.size)

    def _at(self, position: int, length: int) -> bytes:
        """A part of a block map: where it was not read, its zeros would pass for holes."""
        start = self._offset_bytes + position
        unread = within(self._source.unread, start, start + length)
        if unread:
            raise ReadError("a part of its block map was not read", unread)
        return self._bytes(start, length)

    def _bytes(self, position: int, length: int) -> bytes:
        try:
            return self._source.read(position, length)
        except (OSError, OverflowError) as error:
            raise ReadError(f"the image cannot be read at byte {position}: {error}") from None

    def facts(self) -> VolumeFacts:
        return self._superblock.facts(self.fstype)

    def structures(self) -> Iterator[Structure]:
        """Superblock, and of each group its copy and its map (both spare) and its inodes."""
        superblock, start = self._superblock, self._offset_bytes
        yield Structure(start + superblock.at, start + superblock.at + SUPERBLOCK_BYTES, "superblock")
        behind = self._source.size_bytes - start
        for copy, free_map, inodes, end in superblock.groups(INODE_BYTES[superblock.version], behind):
            if copy != superblock.at:
                yield Structure(start + copy, start + copy + SUPERBLOCK_BYTES, "superblock", -1, True)
            block = self._geometry.block_bytes
            yield Structure(start + free_map, start + free_map + block, "cylinder group", -1, True)
            yield Structure(start + inodes, start + end, "inode table")

    def used(self) -> Iterator[Range] | None:
        return None

    def close(self) -> None:
        self._mapped_ino = -1
        self._mapped = []


def open_tree(source: ImageSource, offset_bytes: int, _size_bytes: int, _fstype: str) -> Tree:
    return UfsTree(source, offset_bytes)
