"""One volume through The Sleuth Kit: its tree walked without recursion, its files read exactly or not at all."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence

from ntt.model import Entry, Extent, Structure, Volume, VolumeFacts, WalkProblem
from ntt.ranges import Range, intersection, normalised, total, within
from ntt.readers.base import ImageSource, ReadError, Refused, VolumeReader
from ntt.readers.inode_set import InodeSet
from ntt.readers.nodes import Child, Content, Node
from ntt.readers.tsk_trees import open_tree


class TskReader:
    """ext2/3/4, FAT12/16/32, exFAT, NTFS, and UFS; a `VolumeReader`. ReadError if the file system does not open.

    Times of FAT and exFAT carry no zone unless exFAT says so: the wall clock is taken as UTC. They are
    read from the raw entries, so the process's own time zone does not matter. FAT, exFAT and NTFS keep no
    Unix permissions: files are 0644, directories 0755, owned by 0. Only the unnamed stream of an NTFS
    file is its content. Short FAT names are bytes in an unknown code page and stay as they are.
    """

    def __init__(self, source: ImageSource, volume: Volume) -> None:
        self._source = source
        self._tree = open_tree(source, volume.offset_bytes, volume.size_bytes, volume.fstype)
        self.fstype = self._tree.fstype
        self.label = self._tree.label
        self._content_ino = -1
        self._content = Content(0, 0, "")
        start, end = volume.offset_bytes, volume.offset_bytes + volume.size_bytes
        self._unread = within(source.unread, start, end)
        self._entered = InodeSet()

    def walk(self) -> Iterator[Entry | WalkProblem]:
        seen, entered = InodeSet(), InodeSet()
        self._entered = entered
        root_ino = self._tree.root_ino
        root = self._tree.root()
        seen.add(root_ino)
        entered.add(root_ino)
        yield _entry(Child(b"", root_ino, root), root_ino, new_inode=True, duplicate=False)
        pending = [root_ino]
        while pending:
            yield from self._walk_directory(pending.pop(), seen, entered, pending)

    def _walk_directory(
        self, ino: int, seen: InodeSet, entered: InodeSet, pending: list[int]
    ) -> Iterator[Entry | WalkProblem]:
        yield from self._damage_of(ino)
        names: set[bytes] = set()
        try:
            for child in self._tree.children(ino):
                if isinstance(child, WalkProblem):
                    yield child
                    continue
                if not child.name or b"/" in child.name or b"\0" in child.name:
                    yield WalkProblem(
                        "name_not_storable", child.ino, child.name, "no path can hold this name: kept, not restorable"
                    )
                duplicate = child.name in names
                names.add(child.name)
                yield _entry(child, ino, new_inode=seen.add(child.ino), duplicate=duplicate)
                if duplicate:
                    yield WalkProblem("duplicate_name", child.ino, child.name, "the directory holds this name twice")
                if not stat.S_ISDIR(child.node.mode):
                    continue
                if entered.add(child.ino):
                    pending.append(child.ino)
                else:
                    detail = "the directory was met before and is not entered again"
                    yield WalkProblem("directory_cycle", child.ino, child.name, detail)
        except ReadError as error:
            yield WalkProblem("directory_unreadable", ino, b"", str(error))

    def _damage_of(self, ino: int) -> Iterator[WalkProblem]:
        """What of a directory's own bytes was never read; nothing is computed for a medium without damage."""
        if not self._unread:
            return
        try:
            extents = self._tree.extents(ino)
        except ReadError:
            return  # listing it meets the same cause and reports it
        lies_at = normalised(
            (extent.image_offset, extent.image_offset + extent.image_length)
            for extent in extents
            if extent.image_offset >= 0
        )
        lost = total(intersection(lies_at, self._unread))
        if lost:
            detail = f"{lost} of its {total(lies_at)} bytes were not read: names may be missing"
            yield WalkProblem("directory_damaged", ino, b"", detail)

    def read(self, ino: int, offset: int, length: int) -> bytes:
        content = self._content_of(ino)
        if content.refusal:
            raise Refused(content.refusal)
        wanted = min(length, content.size - offset)
        if offset < 0 or wanted <= 0:
            return b""
        written = max(min(wanted, content.valid_bytes - offset), 0)
        found = self._tree.read(ino, offset, written) if written else b""
        return found + bytes(wanted - written) if wanted > written else found

    def _content_of(self, ino: int) -> Content:
        if ino != self._content_ino:
            self._content_ino = -1
            self._content = self._tree.content(ino)
            self._content_ino = ino
        return self._content

    def extents(self, ino: int) -> Sequence[Extent]:
        return self._tree.extents(ino)

    def facts(self) -> VolumeFacts:
        return self._tree.facts()

    def structures(self) -> Iterator[Structure]:
        yield from self._tree.structures()
        for ino in self._entered:
            try:
                extents = self._tree.extents(ino)
            except ReadError as error:
                yield from (Structure(start, end, "directory", ino) for start, end in error.unread)
                continue
            for extent in extents:
                if extent.image_offset >= 0:
                    yield Structure(extent.image_offset, extent.image_offset + extent.image_length, "directory", ino)

    def used(self) -> Iterator[Range] | None:
        return self._tree.used()

    def close(self) -> None:
        self._tree.close()


def open_volume(source: ImageSource, volume: Volume, _advance: Callable[[int], None]) -> VolumeReader:
    return TskReader(source, volume)


def _entry(child: Child, parent_ino: int, *, new_inode: bool, duplicate: bool) -> Entry:
    node: Node = child.node
    return Entry(
        child.ino,
        parent_ino,
        child.name,
        node.mode,
        node.size,
        node.mtime_s,
        node.mtime_ns,
        node.uid,
        node.gid,
        node.link_target,
        node.first_byte,
        new_inode,
        duplicate,
        node.attributes,
    )
