"""The catalog of HFS and HFS+: records by name, by number, and all of them leaf by leaf."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator

from ntt.readers.base import ReadError
from ntt.readers.hfs.btree import BTree, Node
from ntt.readers.hfs.forks import ForkBytes
from ntt.readers.hfs.records import (
    BINARY_COMPARE,
    FILE,
    FILE_THREAD,
    FOLDER,
    FOLDER_THREAD,
    ROOT_PARENT,
    CatalogRecord,
    Format,
    HfsPlusFormat,
)

RUN_OF_PLACES = 1 << 20


class Catalog:
    """ReadError if the tree's header node is damaged. What is found by a number is a file, never a folder."""

    def __init__(self, fork: ForkBytes, form: Format) -> None:
        self.form = form
        self.tree = BTree(fork, form.key_of)
        if isinstance(form, HfsPlusFormat):
            form.binary = self.tree.compare_type == BINARY_COMPARE
        self._places: list[array[int]] | None = None

    def root(self) -> CatalogRecord | None:
        """The record of the root folder, whose name is the volume's."""
        return next((record for record in self.below(ROOT_PARENT) if record.is_folder), None)

    def below(self, parent: int) -> Iterator[CatalogRecord]:
        """The records of a folder's children, in the order of their names; ReadError where the tree is damaged."""
        for node, index in self.tree.seek((parent, b"", 0)):
            found, name, data = self.form.split(node.record(index))
            if found != parent:
                return
            if self.form.kind(data) in (FOLDER, FILE):
                yield self.form.entry(parent, name, data)

    def child(self, parent: int, name: bytes) -> CatalogRecord | None:
        """The child of exactly this name, as it stands on the medium."""
        for node, index in self.tree.seek(self.form.key(parent, name)):
            found, known, data = self.form.split(node.record(index))
            if (found, known) == (parent, name):
                return self.form.entry(parent, name, data) if self.form.kind(data) in (FOLDER, FILE) else None
            break
        # its letters are folded in another way here than there
        return next((record for record in self.below(parent) if record.name == name), None)

    def thread(self, ino: int) -> tuple[int, bytes] | None:
        """Parent and name of a number, if it has a thread record."""
        for node, index in self.tree.seek((ino, b"", 0)):
            found, name, data = self.form.split(node.record(index))
            if found == ino and not name and self.form.kind(data) in (FOLDER_THREAD, FILE_THREAD):
                return self.form.thread(data)
            break
        return None

    def file(self, ino: int) -> CatalogRecord:
        """The file of this number, or ReadError; the first call for one without thread reads all leaves."""
        try:
            thread = self.thread(ino)
            record = self.child(*thread) if thread is not None else None
            if record is not None and record.ino == ino and not record.is_folder:
                return record
        except ReadError:
            pass  # the index is damaged: the leaves may not be
        return self._file_by_leaves(ino)

    def _file_by_leaves(self, ino: int) -> CatalogRecord:
        if self._places is None:
            self._places = list(self._sorted_places())
        for run in self._places:
            at = bisect_left(run, ino << 32)
            if at < len(run) and run[at] >> 32 == ino:
                for found in self.records(self.tree.node_as_it_is(run[at] & 0xFFFFFFFF)):
                    if isinstance(found, CatalogRecord) and found.ino == ino and not found.is_folder:
                        return found
        raise ReadError(f"no file has the number {ino}")

    def _sorted_places(self) -> Iterator[array[int]]:
        """(number << 32 | leaf node) of every file, in runs that are sorted by themselves: eight bytes for each."""
        run = array("Q")
        for node in self.tree.leaves():
            if isinstance(node, str):
                continue
            for found in self.records(node):
                if isinstance(found, CatalogRecord) and not found.is_folder:
                    run.append(found.ino << 32 | node.number)
            if len(run) >= RUN_OF_PLACES:
                yield array("Q", sorted(run))
                run = array("Q")
        yield array("Q", sorted(run))

    def records(self, node: Node) -> Iterator[CatalogRecord | tuple[int, bytes, str]]:
        """Folders and files of one leaf; (parent, name, reason) of what is damaged."""
        form = self.form
        for index in range(node.length):
            parent, name = 0, b""
            try:
                if node.is_lost(index):
                    raise ReadError("the record was not read")
                parent, name, data = form.split(node.record(index))
                kind = form.kind(data)
                if kind in (FOLDER, FILE):
                    yield form.entry(parent, name, data)
                elif kind not in (FOLDER_THREAD, FILE_THREAD):
                    raise ReadError(f"a catalog record of the unknown kind {kind}")
            except ReadError as error:
                yield parent, name, str(error)
