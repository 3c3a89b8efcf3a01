"""Root directory -> every entry of a UDF volume, parents first, each directory and its streams listed once."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence

from ntt.model import Entry, Extent, WalkProblem
from ntt.ranges import Ranges, intersection, normalised, total, within
from ntt.readers.base import ReadError
from ntt.readers.inode_set import InodeSet
from ntt.readers.nodes import Node
from ntt.readers.udf.account import Account
from ntt.readers.udf.directories import Gap, Identifier, identifiers
from ntt.readers.udf.entries import STREAM_DIRECTORY, FileEntry, LongAd
from ntt.readers.udf.nodes import node_of
from ntt.readers.udf.tags import cs0
from ntt.readers.udf.volume import UdfVolume

Found = Entry | WalkProblem

RESOURCE_FORK = b"*UDF Macintosh Resource Fork"
_SYSTEM_STREAM = b"*UDF "
_MOST_GAPS = 20  # told of one directory, the rest is counted
_SPARE_BYTES = 16 << 20


class UdfWalk:
    """One walk over one volume: keeps the addresses of directories, and which entries were met.

    `account` is told where entries and directories lie. A file whose entry was not read is listed without content.
    """

    def __init__(self, volume: UdfVolume, account: Account) -> None:
        self._volume = volume
        self._account = account
        self._space = volume.space
        self._image = volume.space.image
        self._seen = InodeSet()
        self._entered = InodeSet()  # by place in the image: partitions may share blocks
        self._pending: list[int] = []
        # on an honest volume each byte belongs to one directory at most
        self._bytes_left = self._image.readable_end - self._image.start + _SPARE_BYTES

    def run(self) -> Iterator[Found]:
        """ReadError if the root directory's own entry cannot be read."""
        icb = self._volume.root
        root = self._entry_at(icb)
        node = node_of(self._space, root)
        self._enter(icb.ino, root)
        self._seen.add(icb.ino)
        yield _entry(icb.ino, icb.ino, b"", node, new_inode=True, duplicate=False)
        for doubt in self._volume.doubts:
            yield WalkProblem("directory_damaged", icb.ino, b"", doubt)
        names: set[bytes] = set()
        yield from self._streams(icb.ino, b"", root, names)
        while self._pending:
            ino = self._pending.pop()
            yield from self._list(ino, names)
            names = set()

    def _enter(self, ino: int, entry: FileEntry) -> bool:
        """Remembers the directory for listing, unless it was met before."""
        if not self._entered.add(entry.position // 512):
            return False
        self._pending.append(ino)
        return True

    def _list(self, ino: int, names: set[bytes]) -> Iterator[Found]:
        try:
            entry = self._space.entry(ino >> 32, ino & 0xFFFFFFFF)
            for found in self._identifiers(ino, b"", entry):
                if isinstance(found, WalkProblem):
                    yield found
                else:
                    yield from self._child(ino, found, names)
        except ReadError as error:
            yield WalkProblem("directory_unreadable", ino, b"", str(error))

    def _child(self, parent: int, found: Identifier, names: set[bytes]) -> Iterator[Found]:
        ino = found.icb.ino
        try:
            name = cs0(found.name)
        except ReadError as error:
            name = found.name
            yield WalkProblem("bad_record", ino, name, str(error))
        try:
            entry = self._entry_at(found.icb)
            node = node_of(self._space, entry)
        except ReadError as error:
            yield WalkProblem("directory_unreadable" if found.is_directory else "bad_record", ino, name, str(error))
            if error.unread:
                mode = stat.S_IFDIR | 0o555 if found.is_directory else stat.S_IFREG | 0o444
                yield from self._without_entry(parent, ino, name, mode, error, names)
            return
        yield from self._shown(parent, ino, name, node, names)
        if stat.S_ISDIR(node.mode) and not self._enter(ino, entry):
            detail = "the directory was met before and is not entered again"
            yield WalkProblem("directory_cycle", ino, name, detail)
            return
        if entry.stream_icb.size_bytes:
            yield from self._streams(parent, name, entry, names)

    def _entry_at(self, icb: LongAd) -> FileEntry:
        entry = self._space.entry(icb.partition, icb.block)
        self._account.entry(entry.position, entry.position + self._space.block_bytes)
        return entry

    def _without_entry(
        self, parent: int, ino: int, name: bytes, mode: int, error: ReadError, names: set[bytes]
    ) -> Iterator[Found]:
        """Its name is known, and no more: what its entry says, or its target if it is a link, was not read."""
        self._account.lost_entry(ino, error.unread)
        try:
            entry = self._space.entry(ino >> 32, ino & 0xFFFFFFFF)
            mode = entry.mode if stat.S_ISLNK(entry.mode) else mode
        except ReadError:
            pass  # that is what was not read
        yield from self._shown(parent, ino, name, Node(mode, 0, 0, 0, 0, 0, b"", -1), names)

    def _shown(self, parent: int, ino: int, name: bytes, node: Node, names: set[bytes]) -> Iterator[Found]:
        if not name or b"/" in name or b"\0" in name or name in (b".", b".."):
            yield WalkProblem("name_not_storable", ino, name, "no path can hold this name: kept, not restorable")
        duplicate = name in names
        names.add(name)
        yield _entry(ino, parent, name, node, new_inode=self._seen.add(ino), duplicate=duplicate)
        if duplicate:
            yield WalkProblem("duplicate_name", ino, name, "the directory holds this name twice")

    def _streams(self, parent: int, name: bytes, owner: FileEntry, names: set[bytes]) -> Iterator[Found]:
        """Named streams (UDF 3.3.5) as `FILE:STREAM`; system streams are left out, but for the resource fork."""
        icb: LongAd = owner.stream_icb
        if not icb.size_bytes:
            return
        try:
            directory = self._entry_at(icb)
            if directory.file_type != STREAM_DIRECTORY:
                raise ReadError("its stream directory is none")
            if not self._entered.add(directory.position // 512):
                return  # another name of the same file
            for found in self._identifiers(icb.ino, name, directory):
                if isinstance(found, WalkProblem):
                    yield found
                    continue
                stream = cs0(found.name)
                if stream != RESOURCE_FORK and (found.is_metadata or stream.startswith(_SYSTEM_STREAM)):
                    continue
                yield from self._stream(parent, name, stream, found.icb, names)
        except ReadError as error:
            yield WalkProblem("bad_record", icb.ino, name, f"its streams are not readable: {error}")

    def _stream(self, parent: int, name: bytes, stream: bytes, icb: LongAd, names: set[bytes]) -> Iterator[Found]:
        shown = name + b":" + (b"rsrc" if stream == RESOURCE_FORK else stream)
        try:
            node = node_of(self._space, self._entry_at(icb))
            if not stat.S_ISREG(node.mode):
                raise ReadError("a stream that is not a regular file")
        except ReadError as error:
            yield WalkProblem("bad_record", icb.ino, shown, str(error))
            if error.unread:
                yield from self._without_entry(parent, icb.ino, shown, stat.S_IFREG | 0o444, error, names)
            return
        yield from self._shown(parent, icb.ino, shown, node, names)

    # ---- the bytes of a directory

    def _identifiers(self, ino: int, name: bytes, entry: FileEntry) -> Iterator[Identifier | WalkProblem]:
        """ReadError if its extents cannot be told, or belong to other directories too."""
        try:
            extents = self._space.extents(entry)
        except ReadError as error:
            self._account.lost_entry(ino, error.unread)
            raise
        self._account.directory(ino, extents)
        lost = self._lost(extents)
        if lost:
            detail = f"{total(lost)} of its {entry.size} bytes were not read: names may be missing"
            yield WalkProblem("directory_damaged", ino, name, detail)
        gaps = 0
        for found in identifiers(self._image, self._paid(extents)):
            if isinstance(found, Identifier):
                yield found
            elif not within(lost, found.start, found.end):
                gaps += 1
                if gaps <= _MOST_GAPS:
                    yield self._gap_problem(ino, name, found)
        if gaps > _MOST_GAPS:
            yield WalkProblem("bad_record", ino, name, f"{gaps - _MOST_GAPS} more parts of the directory are broken")

    def _gap_problem(self, ino: int, name: bytes, gap: Gap) -> WalkProblem:
        return WalkProblem("bad_record", ino, name, f"bytes {gap.start} to {gap.end} of the directory hold no names")

    def _paid(self, extents: Sequence[Extent]) -> Sequence[Extent]:
        for extent in extents:
            if extent.image_offset >= 0:
                self._bytes_left -= max(min(extent.image_length, self._image.readable_end - extent.image_offset), 0)
        if self._bytes_left < 0:
            raise ReadError("the directories together claim more bytes than the volume has: this one is not listed")
        return extents

    def _lost(self, extents: Sequence[Extent]) -> Ranges:
        """What of the directory was not read, in its own bytes."""
        lost: list[tuple[int, int]] = []
        for extent in extents:
            if extent.image_offset < 0:
                continue
            lies_at = ((extent.image_offset, extent.image_offset + extent.image_length),)
            shift = extent.file_offset - extent.image_offset
            lost.extend((start + shift, end + shift) for start, end in intersection(lies_at, self._image.unread))
        return normalised(lost)


def _entry(ino: int, parent: int, name: bytes, node: Node, *, new_inode: bool, duplicate: bool) -> Entry:
    return Entry(
        ino,
        parent,
        name,
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
