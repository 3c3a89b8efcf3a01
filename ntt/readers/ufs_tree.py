"""UFS1 and UFS2 (BSD's FFS) as a tree: names and inodes from the raw structures, contents through The Sleuth Kit."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence

from ntt.model import Extent, VolumeFacts, WalkProblem
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.nodes import Child, Content, Node
from ntt.readers.tsk_extents import HOLE, Run, run_extents
from ntt.readers.tsk_volume import TskVolume
from ntt.readers.ufs_inodes import UfsInode, UfsInodes, directory_names
from ntt.readers.ufs_superblock import PLACES, UfsSuperblock

CONTENT = frozenset({1})  # 4097 and 4098 are the blocks of the map itself
LINK_LIMIT = 1 << 16
LISTED_AT_ONCE = 1 << 16  # directory bytes, whole blocks
FORMATS = frozenset({stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK})


class UfsTree:
    """Directories are those of 4.4BSD and later. ReadError if The Sleuth Kit does not take the file system."""

    def __init__(self, source: ImageSource, offset_bytes: int, size_bytes: int, fstype: str) -> None:
        superblock = UfsSuperblock.find(source, offset_bytes)
        if superblock is None:
            raise ReadError("the superblock is damaged")
        self.fstype = fstype
        self.label = superblock.label
        self._source = source
        self._superblock = superblock
        self._inodes = UfsInodes(source, offset_bytes, superblock)
        self._volume = TskVolume(source, offset_bytes, size_bytes, fstype, _moved(superblock))
        self.root_ino = self._volume.root_ino

    def root(self) -> Node:
        inode = self._inodes.inode(self.root_ino)
        if not stat.S_ISDIR(inode.mode):
            raise ReadError("the inode of the root directory is empty or damaged")
        return self._node(self.root_ino, inode)

    def children(self, ino: int) -> Iterator[Child | WalkProblem]:
        for extent in self.extents(ino):
            if extent.image_offset == HOLE:
                continue
            for start in range(0, extent.image_length, LISTED_AT_ONCE):
                content = self._bytes(extent.image_offset + start, min(LISTED_AT_ONCE, extent.image_length - start))
                for found in directory_names(content, self._superblock.order):
                    if isinstance(found, str):
                        yield WalkProblem("bad_record", ino, b"", f"the directory is {found}: names may be missing")
                    else:
                        yield self._child(*found)

    def _bytes(self, position: int, length: int) -> bytes:
        try:
            return self._source.read(position, length)
        except (OSError, OverflowError) as error:
            raise ReadError(f"the image cannot be read at byte {position}: {error}") from None

    def _child(self, name: bytes, ino: int) -> Child | WalkProblem:
        try:
            inode = self._inodes.inode(ino)
            if stat.S_IFMT(inode.mode) not in FORMATS:
                raise ReadError("its inode is empty or damaged")
            return Child(name, ino, self._node(ino, inode))
        except ReadError as error:
            return WalkProblem("bad_record", ino, name, str(error))

    def _node(self, ino: int, inode: UfsInode) -> Node:
        target, first, size = b"", -1, min(inode.size, (1 << 63) - 1)
        if stat.S_ISLNK(inode.mode):
            short = self._inodes.short_link(inode)
            target = self.read(ino, 0, min(size, LINK_LIMIT)) if short is None else short
        elif stat.S_ISCHR(inode.mode) or stat.S_ISBLK(inode.mode):
            target = inode.device(self._superblock.version, self._superblock.order)
        elif stat.S_ISREG(inode.mode) and size:
            first = self._first_byte(ino)
        return Node(inode.mode, size, inode.mtime_s, inode.mtime_ns, inode.uid, inode.gid, target, first)

    def _first_byte(self, ino: int) -> int:
        try:
            return next((extent.image_offset for extent in self.extents(ino) if extent.image_offset >= 0), -1)
        except ReadError:
            return -1  # only the order of reading depends on it; the read itself reports the cause

    def content(self, ino: int) -> Content:
        size = self._inodes.inode(ino).size
        return Content(size, size, "")

    def read(self, ino: int, offset: int, length: int) -> bytes:
        self._runs(ino)
        return self._volume.read(ino, offset, length)

    def extents(self, ino: int) -> Sequence[Extent]:
        volume = self._volume
        return run_extents(self._runs(ino), volume.block_size, volume.offset_bytes, volume.size(ino))

    def _runs(self, ino: int) -> list[Run]:
        """ReadError where the blocks do not reach to the file's end: what is read behind them would be made up."""
        size = self._volume.size(ino)
        if size != self._inodes.inode(ino).size:
            raise ReadError("its inode is damaged")
        runs = self._volume.runs(ino, CONTENT) or []
        covered = max((run.file_block + run.blocks for run in runs), default=0) * self._volume.block_size
        if covered < size:
            raise ReadError(f"its blocks end {size - covered} bytes early")
        return runs

    def facts(self) -> VolumeFacts:
        return self._superblock.facts(self.fstype)

    def close(self) -> None:
        self._volume.close()


def _moved(superblock: UfsSuperblock) -> tuple[int, bytes]:
    """The Sleuth Kit looks for UFS2 at 64 KiB only: `makefs` and small media have it elsewhere."""
    if superblock.version == 2 and superblock.at != PLACES[0]:
        return PLACES[0], superblock.raw
    return 0, b""
