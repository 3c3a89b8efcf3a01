"""Catalog records -> entries: links followed to what they stand for, resource forks beside their files."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from ntt.model import Entry, WalkProblem
from ntt.readers.base import ReadError
from ntt.readers.hfs.catalog import Catalog
from ntt.readers.hfs.compressed import OpenFile, Refused
from ntt.readers.hfs.files import DECMPFS_NAME, HfsFiles, is_compressed
from ntt.readers.hfs.forks import Pieces
from ntt.readers.hfs.records import (
    ROOT,
    ROOT_PARENT,
    CatalogRecord,
)
from ntt.readers.inode_set import InodeSet

RESOURCE = 1 << 32  # added to a file's number: its resource fork
RESOURCE_SUFFIX = b":rsrc"
RESOURCE_SUFFIXES = ("/rsrc".encode("utf-16-be"), b"/rsrc")  # as they stand on the medium
LINK_LIMIT = 1 << 16
FINDER_INFO = "com.apple.FinderInfo"
NO_FINDER_INFO = bytes(32)
NO_NAME = "no path can hold this name: kept, not restorable"
SAME_NUMBER = "another file has the same number: their contents cannot be told apart, this one is left out"
TWICE = "the directory holds this name twice"
INODE_NAME = "iNode".encode("utf-16-be")


class HfsEntries:
    """Makes the entries of one walk. `linked` are the indirect nodes that some hard link named."""

    def __init__(self, catalog: Catalog, files: HfsFiles) -> None:
        self._catalog = catalog
        self._files = files
        self.private_files = 0  # the folder that holds what hard links stand for
        self._seen = InodeSet()
        self.linked = InodeSet()

    def folder(self, record: CatalogRecord) -> Entry:
        name = b"" if record.ino == ROOT and record.parent == ROOT_PARENT else self._catalog.form.shown(record.name)
        parent = record.parent if name else ROOT
        return _entry(record, record.ino, parent, name, 0, b"", -1, _finder_info(record))

    def of_file(self, record: CatalogRecord, duplicate: bool) -> Iterator[Entry | WalkProblem]:
        """The file's entry, that of its resource fork, and what is wrong with them."""
        name = self._catalog.form.shown(record.name)
        try:
            target = self._behind(record)
        except ReadError as error:
            yield WalkProblem("bad_record", record.ino, name, str(error))
            return
        if not name or b"\0" in name:
            yield WalkProblem("name_not_storable", target.ino, name, NO_NAME)
        duplicate = duplicate or self._is_also_a_fork(record.parent, name, record.name)
        if duplicate:
            yield WalkProblem("duplicate_name", target.ino, name, TWICE)
        new_inode = self._seen.add(target.ino)
        if target is record and not new_inode:
            yield WalkProblem("bad_record", record.ino, name, SAME_NUMBER)
            return
        try:
            yield from self._streams(target, record.parent, name, new_inode, duplicate)
        except ReadError as error:
            yield WalkProblem("bad_record", target.ino, name, str(error))

    def _behind(self, record: CatalogRecord) -> CatalogRecord:
        """The file itself, or the indirect node that a hard link stands for."""
        if not record.is_hard_link:
            return record
        name = INODE_NAME + str(record.special).encode("utf-16-be")
        found = self._catalog.child(self.private_files, name) if self.private_files else None
        if found is None or found.is_folder:
            raise ReadError(f"a hard link to a file that is not there (number {record.special})")
        self.linked.add(found.ino)
        return found

    def _streams(
        self, record: CatalogRecord, parent: int, name: bytes, new_inode: bool, duplicate: bool
    ) -> Iterator[Entry | WalkProblem]:
        kind = stat.S_IFMT(record.mode)
        size, target, first, attributes = 0, b"", -1, _finder_info(record)
        refused = False
        if kind == stat.S_IFLNK:
            size = record.data.size
            target = self._link_target(record)
            attributes = ()
            if size and not target:
                yield WalkProblem("bad_record", record.ino, name, "where the link leads to was not read")
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            target = b"%d:%d" % (record.special >> 24, record.special & 0xFFFFFF)
        elif is_compressed(record):
            file = self._files.opened(record)
            size, first, refused = file.size, _first_of(file), isinstance(file, Refused)
            if refused:
                attributes = (*attributes, *self._compression(record))
        else:
            size = record.data.size
            first = self._first_byte(record.data.pieces, size)
        yield _entry(record, record.ino, parent, name, size, target, first, attributes, new_inode, duplicate)
        if record.resource.size and (refused or not is_compressed(record)):
            first = self._first_byte(record.resource.pieces, record.resource.size)
            ino, name, size = record.ino | RESOURCE, name + RESOURCE_SUFFIX, record.resource.size
            mode = stat.S_IFREG | record.mode & 0o777
            fork = record._replace(mode=mode)
            yield _entry(fork, ino, parent, name, size, b"", first, (), new_inode, False)

    def _compression(self, record: CatalogRecord) -> tuple[tuple[str, bytes], ...]:
        """The compression header with what is packed in it, for a file that cannot be unpacked here."""
        try:
            attribute = self._files.compression(record.ino)
        except ReadError:
            return ()
        return ((DECMPFS_NAME, attribute.value),) if attribute is not None else ()

    def _link_target(self, record: CatalogRecord) -> bytes:
        """Empty if it was not all read."""
        return self._files.certain(record, LINK_LIMIT)

    def _first_byte(self, pieces: Pieces, size: int) -> int:
        geometry = self._files.geometry
        if not size or not pieces or sum(pieces[0]) > geometry.blocks:
            return -1
        return geometry.first_byte + pieces[0][0] * geometry.block_bytes

    def _is_also_a_fork(self, parent: int, shown: bytes, name: bytes) -> bool:
        """A file with the name under which the resource fork of another one is listed."""
        if not shown.endswith(RESOURCE_SUFFIX):
            return False
        suffix = next((suffix for suffix in RESOURCE_SUFFIXES if name.endswith(suffix)), b"")
        try:
            other = self._catalog.child(parent, name[: len(name) - len(suffix)]) if suffix else None
            return other is not None and not other.is_folder and bool(self._behind(other).resource.size)
        except ReadError:
            return False


def _first_of(file: OpenFile) -> int:
    """Only the order of reading depends on it; reading the file reports what is wrong."""
    try:
        return next((extent.image_offset for extent in file.extents()), -1)
    except ReadError:
        return -1


def _finder_info(record: CatalogRecord) -> tuple[tuple[str, bytes], ...]:
    return ((FINDER_INFO, record.finder),) if any(record.finder) else ()


def _entry(
    record: CatalogRecord,
    ino: int,
    parent: int,
    name: bytes,
    size: int,
    target: bytes,
    first: int,
    attributes: tuple[tuple[str, bytes], ...],
    new_inode: bool = True,
    duplicate: bool = False,
) -> Entry:
    mtime, owner, group = record.mtime_s, record.uid, record.gid
    return Entry(
        ino, parent, name, record.mode, size, mtime, 0, owner, group, target, first, new_inode, duplicate, attributes
    )
