"""ext2/3/4 as a tree, from the raw structures alone; The Sleuth Kit only has to take the file system.

It walks every pointer that a file's size has room for: a wrong size, or a map that names itself, would keep it busy
for hours.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ntt.model import Extent, Structure, VolumeFacts, WalkProblem
from ntt.ranges import Range, Ranges, normalised, within
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.ext.backups import with_descriptors, with_superblock
from ntt.readers.ext.blocks import Lost, Space, extent_runs, mapped_runs, with_lost
from ntt.readers.ext.directories import Form, Named, directory_entries
from ntt.readers.ext.facts import ext_facts
from ntt.readers.ext.groups import ROOT, ExtGroups
from ntt.readers.ext.inodes import FLAG_ENCRYPTED, FLAG_EXTENTS, ExtInode, ExtInodes
from ntt.readers.ext.maps import file_maps
from ntt.readers.ext.superblock import SUPERBLOCK_AT, SUPERBLOCK_BYTES, ExtSuperblock
from ntt.readers.nodes import Child, Content, Node, Tree
from ntt.readers.tsk_extents import HOLE, Run, part_of, run_extents
from ntt.readers.tsk_volume import TskVolume

LISTED_AT_ONCE = 1 << 20  # directory bytes
LINK_LIMIT = 1 << 16
FORMATS = frozenset({stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK})
KINDS = {  # "ext4 Data Structures and Algorithms", section Directory Entries
    **{stat.S_IFREG: 1, stat.S_IFDIR: 2, stat.S_IFCHR: 3, stat.S_IFBLK: 4, stat.S_IFIFO: 5, stat.S_IFSOCK: 6},
    stat.S_IFLNK: 7,
}


class Mapped(NamedTuple):
    """Where the content of one file lies; what is `lost` is among its holes."""

    ino: int
    size: int
    extents: list[Extent]
    lost: list[Lost]
    is_link: bool = False


class ExtTree:
    """ReadError if the superblock is none or The Sleuth Kit does not take the file system.

    A superblock and descriptors that were not read are taken from their copies; `structures` tells them all the same.
    """

    def __init__(self, source: ImageSource, offset_bytes: int, size_bytes: int) -> None:
        opened = with_superblock(source, offset_bytes, offset_bytes + size_bytes)
        start = offset_bytes + SUPERBLOCK_AT
        superblock = ExtSuperblock.parse(opened.read(start, SUPERBLOCK_BYTES))
        if superblock is None:
            lost = within(source.unread, start, start + SUPERBLOCK_BYTES)
            raise ReadError("the superblock was not read" if lost else "the superblock is damaged", lost)
        opened = with_descriptors(opened, offset_bytes, superblock)
        self.fstype = superblock.fstype
        self.label = superblock.label.decode("utf-8", "replace")
        self._source = opened
        volume_bytes = superblock.block_count * superblock.block_size
        self._is_whole = not within(opened.unread, offset_bytes, offset_bytes + volume_bytes)
        self._offset_bytes = offset_bytes
        self._groups = ExtGroups(opened, offset_bytes, superblock)
        self._inodes = ExtInodes(opened, offset_bytes, self._groups)
        self._form = Form(superblock.block_size, superblock.has_file_types, superblock.inode_count)
        self._volume = self._judged(size_bytes)
        self.root_ino = ROOT
        self._mapped: Mapped | None = None

    def _judged(self, size_bytes: int) -> TskVolume | None:
        """None where it cannot judge, since descriptors were read neither in their place nor as copies."""
        try:
            return TskVolume(self._source, self._offset_bytes, size_bytes, self.fstype)
        except ReadError:
            try:
                self._groups.descriptor(0)
            except ReadError:
                return None
            raise

    def root(self) -> Node:
        inode = self._inodes.inode(self.root_ino)
        if not stat.S_ISDIR(inode.mode):
            raise ReadError("the inode of the root directory is empty or damaged")
        return self._node(self.root_ino, inode)

    def children(self, ino: int) -> Iterator[Child | WalkProblem]:
        salvaged: list[Named] = []
        names: set[bytes] = set()  # kept only while some of them may be stale
        is_damaged = self._is_damaged(ino)
        for position, piece in self._directory_pieces(ino):
            unread = within(self._source.unread, position, position + len(piece)) if is_damaged else ()
            holes = tuple((start - position, end - position) for start, end in unread)
            entries, broken = directory_entries(piece, self._form, holes)
            if broken:
                yield WalkProblem("bad_record", ino, b"", f"{broken} broken blocks in the directory")
            for entry in entries:
                if entry.name in (b".", b".."):
                    continue
                if is_damaged:
                    if entry.is_salvaged:
                        salvaged.append(entry)
                        continue
                    names.add(entry.name)
                yield self._child(entry)
        for entry in salvaged:
            if entry.name not in names and self._is_live(entry):
                names.add(entry.name)
                yield self._child(entry)

    def _is_damaged(self, ino: int) -> bool:
        return not self._is_whole and any(within(self._source.unread, *one) for one in _places(self.extents(ino)))

    def _is_live(self, entry: Named) -> bool:
        """Whether a name that stands in a block without its beginning is one still: what it names must agree."""
        try:
            inode = self._inodes.inode(entry.ino)
        except ReadError as error:
            return bool(error.unread)
        return inode.is_live and entry.kind in (0, KINDS.get(stat.S_IFMT(inode.mode), 0))

    def _child(self, entry: Named) -> Child | WalkProblem:
        try:
            inode = self._inodes.inode(entry.ino)
            if stat.S_IFMT(inode.mode) not in FORMATS:
                raise ReadError("its inode is empty or damaged")
            return Child(entry.name, entry.ino, self._node(entry.ino, inode))
        except ReadError as error:
            if error.unread:
                return Child(entry.name, entry.ino, Node(entry.mode, 0, 0, 0, 0, 0, b"", -1))
            return WalkProblem("bad_record", entry.ino, entry.name, str(error))

    def _directory_pieces(self, ino: int) -> Iterator[tuple[int, bytes]]:
        """The directory's bytes in whole blocks, each piece with where it lies; of an inline one the entries behind its
        parent's number.

        ReadError behind the last piece if the directory has holes, which no ext has: names may be missing.
        """
        inode = self._inodes.inode(ino)
        if inode.is_inline:
            for index, extent in enumerate(inode.inline_extents()):
                start = extent.image_offset - inode.position
                skip = 0 if index else 4
                yield extent.image_offset + skip, inode.raw[start + skip : start + extent.image_length]
            return
        block_bytes = self._inodes.superblock.block_size
        missing = blocks = -(-inode.size // block_bytes)
        unread: list[Range] = []
        for run in self._runs(inode):
            if isinstance(run, Lost):
                unread += self._unread_map(run)
                continue
            if run.volume_block == HOLE:
                continue
            start, end = (at * block_bytes for at in (run.volume_block, run.volume_block + run.blocks))
            end -= max(run.file_block + run.blocks - blocks, 0) * block_bytes
            for at in range(start, end, LISTED_AT_ONCE):
                position = self._offset_bytes + at
                yield position, self._bytes(position, min(LISTED_AT_ONCE, end - at))
            missing -= max(end - start, 0) // block_bytes
        if missing:
            raise ReadError(f"{missing} of its {blocks} blocks are not there", normalised(unread))

    def _unread_map(self, lost: Lost) -> Ranges:
        length = self._inodes.superblock.block_size
        start = self._offset_bytes + lost.map_block * length
        return within(self._source.unread, start, start + length)

    def _node(self, ino: int, inode: ExtInode) -> Node:
        link_target = b""
        if stat.S_ISLNK(inode.mode):
            if inode.size > self._inodes.superblock.block_size:  # Linux, fs/ext4: a target fits into one block
                raise ReadError(f"its link target claims {inode.size:,} bytes")
            link_target = self._link_target(ino, inode)
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

    def _link_target(self, ino: int, inode: ExtInode) -> bytes:
        short = inode.short_link
        if short is not None:
            return short
        self.extents(ino)
        return self.read(ino, 0, min(inode.size, LINK_LIMIT))

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
        if stat.S_ISLNK(inode.mode):
            self._link_target(ino, inode)  # it is asked for where it was listed without, for one that was not read
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
        """Of a symbolic link, which is useless in part, ReadError if any of its target was not read."""
        mapped = self._mapped_to(ino)
        found: Sequence[Extent] = mapped.extents
        if mapped.lost:
            block_bytes = self._inodes.superblock.block_size
            found = with_lost(mapped.extents, mapped.lost, block_bytes, self._offset_bytes, mapped.size)
        if mapped.is_link and not self._is_whole:
            lost = normalised(one for place in _places(found) for one in within(self._source.unread, *place))
            if lost:
                raise ReadError("the target of the symbolic link was not read", lost)
        return found

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
            self._mapped = Mapped(ino, inode.size, found, lost, stat.S_ISLNK(inode.mode))
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
        return ext_facts(self._source, self._offset_bytes, self.fstype, self.label)

    def structures(self) -> Iterator[Structure]:
        """Maps of files only on a medium with unread bytes: they cost one reading of all inodes."""
        yield from self._groups.copies()
        yield from self._groups.maps()
        yield from self._journal()
        if not self._is_whole:
            yield from file_maps(self._source, self._offset_bytes, self._groups, self._map_block)

    def _journal(self) -> Iterator[Structure]:
        ino = self._inodes.superblock.journal_ino
        if not ino:
            return
        try:
            for start, end in _places(self.extents(ino)):
                yield Structure(start, end, "journal", ino, spare=True)
        except ReadError:
            return  # no reader here replays it

    def used(self) -> Iterator[Range] | None:
        return self._groups.used()

    def close(self) -> None:
        self._mapped = None
        if self._volume is not None:
            self._volume.close()


def _places(extents: Sequence[Extent]) -> Iterator[Range]:
    """Where they lie in the image."""
    for extent in extents:
        if extent.image_offset != HOLE:
            yield extent.image_offset, extent.image_offset + extent.image_length


def open_tree(source: ImageSource, offset_bytes: int, size_bytes: int, _fstype: str) -> Tree:
    return ExtTree(source, offset_bytes, size_bytes)
