"""ext2/3/4 as a tree: names and inodes from the raw structures, block maps and contents through The Sleuth Kit."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence

from ntt.model import Extent, VolumeFacts, WalkProblem
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.ext_facts import ext_facts
from ntt.readers.ext_inodes import FLAG_ENCRYPTED, ExtInode, ExtInodes, ExtSuperblock, directory_entries
from ntt.readers.nodes import Child, Content, Node
from ntt.readers.tsk_extents import run_extents
from ntt.readers.tsk_volume import TskVolume

CONTENT = frozenset({1})  # TSK_FS_ATTR_TYPE_DEFAULT; 4097 and 4098 are the blocks of the map itself
LISTED_AT_ONCE = 1 << 20  # directory bytes
LINK_LIMIT = 1 << 16
FORMATS = frozenset({stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK})


class ExtTree:
    """ReadError if the superblock is none or The Sleuth Kit does not take the file system."""

    def __init__(self, source: ImageSource, offset_bytes: int, size_bytes: int) -> None:
        superblock = ExtSuperblock.parse(source.read(offset_bytes + 1024, 1024))
        if superblock is None:
            raise ReadError("the superblock is damaged")
        self.fstype = superblock.fstype
        self.label = superblock.label.decode("utf-8", "replace")
        self._volume = TskVolume(source, offset_bytes, size_bytes, superblock.fstype)
        self._inodes = ExtInodes(source, offset_bytes, superblock)
        self.root_ino = self._volume.root_ino

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
        """The directory's bytes in whole blocks; of an inline one the entries behind its parent's number."""
        inode = self._inodes.inode(ino)
        if not inode.is_inline:
            for offset in range(0, inode.size, LISTED_AT_ONCE):
                yield self._volume.read(ino, offset, min(LISTED_AT_ONCE, inode.size - offset))
            return
        for index, extent in enumerate(inode.inline_extents()):
            start = extent.image_offset - inode.position
            content = inode.raw[start : start + extent.image_length]
            yield content[4:] if index == 0 else content

    def _node(self, ino: int, inode: ExtInode) -> Node:
        link_target = b""
        if stat.S_ISLNK(inode.mode):
            short = inode.short_link
            link_target = self._volume.read(ino, 0, min(inode.size, LINK_LIMIT)) if short is None else short
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
            self._first_byte(ino, inode),
        )

    def _first_byte(self, ino: int, inode: ExtInode) -> int:
        first = self._inodes.first_byte(inode)
        if first is not None:
            return first
        try:
            return next((extent.image_offset for extent in self.extents(ino) if extent.image_offset >= 0), -1)
        except ReadError:
            return -1  # only the order of reading depends on it; the read itself reports the cause

    def content(self, ino: int) -> Content:
        inode = self._inodes.inode(ino)
        refusal = "its content is encrypted (fscrypt)" if inode.flags & FLAG_ENCRYPTED else ""
        return Content(inode.size, inode.size, refusal)

    def read(self, ino: int, offset: int, length: int) -> bytes:
        return self._volume.read(ino, offset, length)

    def extents(self, ino: int) -> Sequence[Extent]:
        inode = self._inodes.inode(ino)
        if inode.is_inline:
            return inode.inline_extents()
        runs = self._volume.runs(ino, CONTENT)
        if runs is None:
            if inode.size == 0:
                return []
            raise ReadError("the file has no block map")
        return run_extents(runs, self._volume.block_size, self._volume.offset_bytes, inode.size)

    def facts(self) -> VolumeFacts:
        return ext_facts(self._volume.source, self._volume.offset_bytes, self.fstype, self.label)

    def close(self) -> None:
        self._volume.close()
