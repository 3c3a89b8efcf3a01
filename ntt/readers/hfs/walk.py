"""Catalog leaves -> entries: all folders first, from the root down, then the files as their leaves come.

Two passes over the leaves: memory holds the folders only, and a lost node costs what it held and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ntt.model import Entry, WalkProblem
from ntt.readers.base import ReadError
from ntt.readers.hfs.catalog import Catalog
from ntt.readers.hfs.entries import NO_NAME, TWICE, HfsEntries
from ntt.readers.hfs.files import HfsFiles
from ntt.readers.hfs.records import FOLDER_MODE, ROOT, ROOT_PARENT, CatalogRecord

PRIVATE_FILES = "\0\0\0\0HFS+ Private Data".encode("utf-16-be")
PRIVATE_FOLDERS = ".HFS+ Private Directory Data\r".encode("utf-16-be")
FILE_INODE_NAME = "iNode".encode("utf-16-be")
FOLDER_INODE_NAME = b"dir_"


class HfsWalk:
    """One walk. A folder whose record is lost keeps its content: under the name in its thread record, or its number.

    The private folders of HFS+, which hold what hard links stand for, are listed only where they hold more.
    """

    def __init__(self, catalog: Catalog, files: HfsFiles) -> None:
        self._catalog = catalog
        self._entries = HfsEntries(catalog, files)
        self._root: Entry | None = None
        self._below: dict[int, list[Entry]] = {}  # the folders in each folder
        self._links: list[CatalogRecord] = []  # hard links to folders
        self._parents: set[int] = set()  # numbers that some record names as its parent
        self._known = {ROOT}  # folders that have a record
        self._entered = {ROOT}
        self._private_files = self._private_folders = 0
        self._hidden: dict[int, Entry] = {}  # private folders that are not shown yet

    def __iter__(self) -> Iterator[Entry | WalkProblem]:
        for record, duplicate, _ in self._records():
            if record is not None:
                self._gather(record, duplicate)
        if self._root is None:
            yield _placeholder(ROOT, ROOT, b"")
            yield WalkProblem("bad_record", ROOT, b"", "the record of the root folder is lost")
        else:
            yield self._root
        yield from self._bind_links()
        yield from self._restore_lost()
        yield from self._descend(ROOT)
        yield from self._hidden_folders()
        yield from self._circles()
        self._below.clear()
        yield from self._all_files()
        yield from self._hidden_files()

    def _records(self) -> Iterator[tuple[CatalogRecord | None, bool, WalkProblem | None]]:
        """Each folder and file, whether the one before had the same name, and what is damaged."""
        before: tuple[int, bytes] | None = None
        for node in self._catalog.tree.leaves():
            if isinstance(node, str):
                detail = f"a part of the catalog is lost, names may be missing: {node}"
                yield None, False, WalkProblem("directory_damaged", ROOT, b"", detail)
                continue
            for found in self._catalog.records(node):
                if isinstance(found, CatalogRecord):
                    here = (found.parent, found.name)
                    yield found, here == before, None
                    before = here
                else:
                    parent, name, reason = found
                    yield None, False, WalkProblem("bad_record", parent or ROOT, self._catalog.form.shown(name), reason)

    # ------------------------------------------------------------ folders

    def _gather(self, record: CatalogRecord, duplicate: bool) -> None:
        if record.is_folder and record.ino == ROOT and record.parent == ROOT_PARENT and self._root is None:
            self._root = self._entries.folder(record)
            return
        self._parents.add(record.parent)
        if record.is_folder_link:
            self._links.append(record)
        elif record.is_folder:
            entry = msgspec.structs.replace(self._entries.folder(record), duplicate=duplicate)
            is_new = record.ino not in self._known
            self._known.add(record.ino)
            if is_new and record.parent == ROOT and record.name in (PRIVATE_FILES, PRIVATE_FOLDERS):
                self._hide(record, entry)
            else:
                self._below.setdefault(record.parent, []).append(entry)

    def _hide(self, record: CatalogRecord, entry: Entry) -> None:
        self._hidden[record.ino] = entry
        if record.name == PRIVATE_FILES:
            self._private_files = self._entries.private_files = record.ino
        else:
            self._private_folders = record.ino

    def _bind_links(self) -> Iterator[WalkProblem]:
        """Puts a folder that hard links stand for below each folder that holds one."""
        targets = {entry.name: entry for entry in self._below.get(self._private_folders, ())}
        for link in self._links:
            name = self._catalog.form.shown(link.name)
            target = targets.get(FOLDER_INODE_NAME + str(link.special).encode())
            if target is None:
                detail = f"a hard link to a folder that is not there (number {link.special})"
                yield WalkProblem("bad_record", link.ino, name, detail)
                continue
            entry = msgspec.structs.replace(target, parent_ino=link.parent, name=name)
            self._below.setdefault(link.parent, []).append(entry)

    def _restore_lost(self) -> Iterator[WalkProblem]:
        """Folders without a record that others name as their parent."""
        lost = sorted(self._parents - self._known)
        self._parents.clear()
        while lost:
            number = lost.pop()
            self._known.add(number)
            parent, name = self._by_thread(number)
            if parent not in self._known and parent not in lost:
                lost.append(parent)
            detail = "the record of this folder is lost: its content is listed, its own dates are unknown"
            yield WalkProblem("bad_record", number, name, detail)
            self._below.setdefault(parent, []).append(_placeholder(number, parent, name))

    def _by_thread(self, number: int) -> tuple[int, bytes]:
        try:
            thread = self._catalog.thread(number)
        except ReadError:
            thread = None
        if thread is None or thread[0] <= ROOT_PARENT:
            return ROOT, b"%d" % number
        return thread[0], self._catalog.form.shown(thread[1])

    def _descend(self, top: int) -> Iterator[Entry | WalkProblem]:
        pending = [top]
        while pending:
            for entry in self._below.pop(pending.pop(), ()):
                if not entry.name or b"\0" in entry.name:
                    yield WalkProblem("name_not_storable", entry.ino, entry.name, NO_NAME)
                if entry.duplicate:
                    yield WalkProblem("duplicate_name", entry.ino, entry.name, TWICE)
                if entry.ino not in self._entered:
                    self._entered.add(entry.ino)
                    yield entry
                    pending.append(entry.ino)
                else:
                    yield msgspec.structs.replace(entry, new_inode=False)
                    detail = "the directory was met before and is not entered again"
                    yield WalkProblem("directory_cycle", entry.ino, entry.name, detail)

    def _hidden_folders(self) -> Iterator[Entry | WalkProblem]:
        """Folders that only a private one holds."""
        for number in tuple(self._hidden):
            left = [entry for entry in self._below.pop(number, ()) if entry.ino not in self._entered]
            if left:
                self._below[number] = left
                yield from self._reveal(number)
                yield from self._descend(number)

    def _reveal(self, number: int) -> Iterator[Entry | WalkProblem]:
        """A private folder's own entry, once something in it must be listed."""
        entry = self._hidden.pop(number, None)
        if entry is not None:
            self._entered.add(number)
            if b"\0" in entry.name:
                yield WalkProblem("name_not_storable", number, entry.name, NO_NAME)
            yield entry

    def _circles(self) -> Iterator[Entry | WalkProblem]:
        """Folders that only contain each other: one of each circle is shown in the root."""
        above = {entry.ino: entry for entries in self._below.values() for entry in entries}
        for start in sorted(above):
            if start in self._entered:
                continue
            met: set[int] = set()
            at = start
            while at not in met and above[at].parent_ino in above:
                met.add(at)
                at = above[at].parent_ino
            entry = above[at]
            self._entered.add(at)
            yield msgspec.structs.replace(entry, parent_ino=ROOT)
            detail = "the directory lies inside itself: it is shown in the root"
            yield WalkProblem("directory_cycle", at, entry.name, detail)
            yield from self._descend(at)

    # ------------------------------------------------------------ files

    def _all_files(self) -> Iterator[Entry | WalkProblem]:
        for record, duplicate, problem in self._records():
            if problem is not None:
                yield problem
            if record is None or record.is_folder or record.is_folder_link:
                continue
            if record.parent == self._private_files and record.name.startswith(FILE_INODE_NAME):
                continue  # listed at its hard links, or at the end
            yield from self._reveal(record.parent)
            yield from self._entries.of_file(record, duplicate)

    def _hidden_files(self) -> Iterator[Entry | WalkProblem]:
        """Indirect nodes that no hard link stands for."""
        if not self._private_files:
            return
        try:
            for record in self._catalog.below(self._private_files):
                is_node = not record.is_folder and record.name.startswith(FILE_INODE_NAME)
                if is_node and self._entries.linked.add(record.ino):
                    yield from self._reveal(self._private_files)
                    yield from self._entries.of_file(record, False)
        except ReadError as error:
            yield WalkProblem("directory_unreadable", self._private_files, b"", str(error))


def _placeholder(ino: int, parent: int, name: bytes) -> Entry:
    return Entry(ino, parent, name, FOLDER_MODE, 0, 0, 0, 0, 0, b"", -1, True, False)
