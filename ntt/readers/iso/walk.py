"""Root directory -> every entry of the tree, each directory block read once, going on behind whatever is broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from ntt.model import Entry, WalkProblem
from ntt.ranges import Ranges, normalised, total, within
from ntt.readers.base import ImageSource
from ntt.readers.iso.account import Account
from ntt.readers.iso.entries import FileEntries, Named, directory_entry, remarks_on
from ntt.readers.iso.files import BUCKET_BYTES
from ntt.readers.iso.listing import Directory, Listing, is_own_record
from ntt.readers.iso.records import (
    FLAG_MULTI_EXTENT,
    OWN_IDENTIFIER,
    SECTOR_BYTES,
    DirectoryRecord,
    parse_sector,
)
from ntt.readers.iso.rockridge import NOTHING, RockRidge
from ntt.readers.iso.trees import OtherTrees, readable_part
from ntt.readers.iso.volume import ROCK_RIDGE, IsoVolume, SystemUse

_LARGEST_DIRECTORY = 256 << 20
_WINDOW_BYTES = 128 * SECTOR_BYTES
RESOURCE_FORK = b":rsrc"  # follows the name of an associated file
_MOST_REMARKS = 20  # per directory; the rest is counted
_RELOCATION_DIRECTORIES = (b"rr_moved", b".rr_moved")

Found = Entry | WalkProblem


class IsoWalk:
    """One walk over one volume. Keeps the blocks of the directories and the hard links met, not the files.

    What is found is collected in `_out` sector by sector: a call per entry would cost more than its parsing.
    `account` is told what is in use; it is complete only if every directory was listed wholly.
    """

    def __init__(self, source: ImageSource, volume: IsoVolume, account: Account, trees: OtherTrees) -> None:
        self._source = source
        self._volume = volume
        self._geometry = volume.geometry
        self._system_use = SystemUse(source, volume)
        self._account = account
        self._trees = trees
        self._files = FileEntries(volume.geometry, account, volume.missed)
        self._out: list[Found] = []
        self._pending: list[Directory] = []
        self._relocated: list[tuple[Directory, Named]] = []  # marked RE: shown where a CL entry names them
        self._claimed: set[int] = set()  # blocks of directories that are listed or pending

    def run(self) -> Iterator[Found]:
        """The root first, then depth first without recursion; relocated directories that nothing names come last."""
        self._root()
        while self._pending or self._adopt_one():
            yield from self._given_out()
            if not self._pending:
                continue
            directory = self._pending.pop()
            first_child = len(self._pending)
            yield from self._list(directory)
            self._pending[first_child:] = self._pending[first_child:][::-1]
        yield from self._given_out()

    def _given_out(self) -> Iterator[Found]:
        yield from self._out
        self._out.clear()

    # ---- directories

    def _root(self) -> None:
        root = self._volume.root
        start = root.first_block * self._geometry.block_bytes
        own = self._own_record(start)
        try:
            rock_ridge = self._system_use.of(own) if own else NOTHING
        except OSError:  # told when the directory is listed
            rock_ridge = NOTHING
        named = Named(start // BUCKET_BYTES, (root,), rock_ridge, b"", False)
        doubt = self._volume.doubt
        self._enter(Directory(start, directory_entry(named, self._geometry)))
        if doubt:
            self._out.append(WalkProblem("directory_damaged", start // BUCKET_BYTES, b"", doubt))

    def _own_record(self, start: int) -> DirectoryRecord | None:
        try:
            sector = self._source.read(self._geometry.offset_bytes + start, SECTOR_BYTES)
        except OSError:
            return None
        records, _ = parse_sector(sector, start, self._geometry)
        return records[0] if records and records[0].identifier == OWN_IDENTIFIER else None

    def _enter(self, directory: Directory) -> None:
        self._claimed.add(directory.start // self._geometry.block_bytes)
        size_bytes = min(directory.entry.size, _LARGEST_DIRECTORY)
        self._account.directory(directory.ino, self._geometry.offset_bytes + directory.start, size_bytes)
        if directory.hidden_in is None:
            self._out.append(directory.entry)
        self._pending.append(directory)

    def _show(self, directory: Directory) -> None:
        """Gives out the entries of a hidden directory and of those that hide it, parents first."""
        entries: list[Entry] = []
        at: Directory | None = directory
        while at is not None and at.hidden_in is not None:
            entries.append(at.entry)
            above, at.hidden_in = at.hidden_in, None
            at = above
        self._out.extend(reversed(entries))

    def _subdirectory(self, holder: Directory, named: Named) -> None:
        """Checked, shown and remembered for listing; a problem instead where that cannot be."""
        record = named.record
        if not record.size_bytes or not self._geometry.inside(record.first_block, 1):
            detail = f"its directory (block {record.first_block}, {record.size_bytes} bytes) is not on the medium"
            self._account.is_complete = False
            self._remark(holder, named.name, detail)
            return
        entry = directory_entry(named, self._geometry)
        if record.first_block in self._claimed:
            detail = f"block {record.first_block} belongs to a directory that is listed elsewhere"
            self._out.append(WalkProblem("directory_cycle", entry.ino, named.name, detail))
            return
        directory = Directory(record.first_block * self._geometry.block_bytes, entry)
        if self._only_relocated(holder, directory, named):
            directory.hidden_in = holder
        self._enter(directory)

    def _only_relocated(self, holder: Directory, directory: Directory, named: Named) -> bool:
        """Whether this is where a writer keeps relocated directories (RRIP 4.1.5), and nothing else.

        Writers call it rr_moved; some mark it as relocated itself, then it may also be empty.
        """
        marked = named.rock_ridge.relocated
        usual = holder.ino == holder.entry.parent_ino and named.name in _RELOCATION_DIRECTORIES
        if self._volume.names != ROCK_RIDGE or not (marked or usual):
            return False
        try:
            marks = [
                record.is_directory and self._system_use.of(record).relocated
                for position, sector in self._sectors(directory.start, self._readable_size(directory))
                for record in parse_sector(sector, position, self._geometry)[0]
                if record.is_named
            ]
        except OSError:  # told when the directory is listed
            return False
        return all(marks) and (bool(marks) or (marked and usual))

    def _moved_here(self, holder: Directory, named: Named) -> None:
        """RRIP 4.1.5.1: the directory that a CL entry stands for; its attributes are in its own record."""
        block = named.rock_ridge.child_block
        inside = self._geometry.inside(block, 1)
        own = self._own_record(block * self._geometry.block_bytes) if inside else None
        if own is None:
            self._account.is_complete = False
            self._remark(holder, named.name, f"relocated directory: none begins at block {block}")
            return
        record = msgspec.structs.replace(own, first_block=block)
        rock_ridge = self._use_of(own, own.position // BUCKET_BYTES)
        self._subdirectory(holder, Named(holder.ino, (record,), rock_ridge, named.name, named.duplicate))

    def _adopt_one(self) -> bool:
        """A relocated directory that no CL entry names is shown where it lies, lest its files be lost."""
        while self._relocated:
            holder, named = self._relocated.pop()
            if named.record.first_block in self._claimed:
                continue
            kept, self._out = self._out, []
            self._subdirectory(holder, named)
            kept, self._out = self._out, kept
            if not self._pending or self._pending[-1].hidden_in is None:
                self._show(holder)
                detail = "relocated directory that no other directory names; shown where it lies"
                self._out.append(WalkProblem("bad_record", holder.ino, named.name, detail))
            self._out.extend(kept)
            return True
        return False

    # ---- the records of one directory

    def _list(self, directory: Directory) -> Iterator[Found]:
        listing = Listing()
        try:
            for position, sector in self._sectors(directory.start, self._checked_size(directory)):
                if not self._claim(directory, position, sector):
                    break
                self._list_sector(directory, position, sector, listing)
                yield from self._given_out()
            if listing.group:
                self._close(directory, listing.group, listing.gap)
        except OSError as failed:
            self._account.is_complete = False
            detail = f"the image cannot be read: {failed}"
            self._out.append(WalkProblem("directory_unreadable", directory.ino, directory.entry.name, detail))
        if directory.remarks > _MOST_REMARKS:
            detail = f"{directory.remarks - _MOST_REMARKS} more problems with records of this directory"
            self._out.append(WalkProblem("bad_record", directory.ino, directory.entry.name, detail))
        directory.names = set()
        yield from self._given_out()

    def _list_sector(self, directory: Directory, position: int, sector: bytes, listing: Listing) -> None:
        """Leaves in `listing` the records of a multi-extent file whose end is in the next sector."""
        start = self._geometry.offset_bytes + position
        whole, gap = len(sector), listing.gap
        sector = readable_part(self._source, start, sector)
        listing.gap = within(self._source.unread, start + len(sector), start + whole) if len(sector) < whole else ()
        records, fault = parse_sector(sector, position, self._geometry)
        if fault and listing.gap:
            fault = "a record reaches into bytes that were not read"
        for record in records:
            if listing.group and not record.continues(listing.group[0]):
                self._close(directory, listing.group)
                listing.group, gap = [], ()
            if not record.is_named:
                self._own_areas(record)
                continue
            if gap and not listing.group and self._belongs_before(record, listing):
                continue
            listing.group.append(record)
            if not record.flags & FLAG_MULTI_EXTENT or record.is_directory:
                self._close(directory, listing.group, gap if self._may_lack_parts(listing.group, gap) else ())
                listing.group, gap, listing.broken = [], (), None
        if fault:
            self._account.is_complete = False
            self._remark(directory, directory.entry.name, fault)
        if listing.group and (fault or not records or listing.gap):  # what follows a gap need not be the next part
            self._close(directory, listing.group, listing.gap)
            listing.broken = listing.group[0]
            listing.group = []

    def _belongs_before(self, record: DirectoryRecord, listing: Listing) -> bool:
        """Whether this goes on with the file whose records broke off at the gap, and which was told already."""
        return listing.broken is not None and record.continues(listing.broken)

    def _may_lack_parts(self, group: Sequence[DirectoryRecord], gap: Ranges) -> bool:
        """Whether the first file behind a gap may have begun in it."""
        return bool(gap) and not group[0].is_directory and self._trees.may_continue(group[0].first_block)

    def _own_areas(self, record: DirectoryRecord) -> None:
        """What the record of a directory in itself says, its own record in the one above says too."""
        if b"CE" in record.system_use:
            self._system_use.of(record)
            for start, end, _ in self._system_use.areas:
                self._account.spare_areas.add(start, end)

    def _use_of(self, record: DirectoryRecord, ino: int) -> RockRidge:
        rock_ridge = self._system_use.of(record)
        for start, end, lost in self._system_use.areas:
            self._account.continuation(ino, start, end, lost)
        return rock_ridge

    def _close(self, directory: Directory, records: Sequence[DirectoryRecord], lost: Ranges = ()) -> None:
        """All records of a name are there, or all but those in `lost`: out it goes."""
        record = records[0]
        rock_ridge = self._use_of(record, record.position // BUCKET_BYTES)
        name = rock_ridge.name or self._volume.name_of(record.identifier)
        if record.is_associated:
            name += RESOURCE_FORK
        duplicate = name in directory.names
        directory.names.add(name)
        named = Named(directory.ino, tuple(records), rock_ridge, name, duplicate, lost)
        if directory.hidden_in is not None and not rock_ridge.relocated:
            self._show(directory)
        for remark in remarks_on(named, self._geometry):
            self._remark(directory, name, remark)
        if b"/" in name or b"\0" in name or name in (b".", b".."):
            self._out.append(WalkProblem("name_not_storable", directory.ino, name, "no file system can hold this name"))
        if duplicate:
            self._out.append(WalkProblem("duplicate_name", directory.ino, name, "its directory holds this name twice"))
        if rock_ridge.child_block >= 0:
            self._moved_here(directory, named)
        elif not record.is_directory:
            self._out.append(self._files.entry(named, directory.start))
        elif rock_ridge.relocated:
            self._relocated.append((directory, named))
        else:
            self._subdirectory(directory, named)

    def _remark(self, directory: Directory, name: bytes, detail: str) -> None:
        directory.remarks += 1
        if directory.remarks <= _MOST_REMARKS:
            self._out.append(WalkProblem("bad_record", directory.ino, name, detail))

    # ---- its blocks

    def _readable_size(self, directory: Directory) -> int:
        in_image = self._source.size_bytes - self._geometry.offset_bytes - directory.start
        return max(0, min(directory.entry.size, in_image, _LARGEST_DIRECTORY))

    def _checked_size(self, directory: Directory) -> int:
        """How far the directory is read; what of it cannot be is a problem."""
        claimed = directory.entry.size
        start = self._geometry.offset_bytes + directory.start
        beyond = (max(start, self._source.size_bytes), start + claimed)
        lost = total(normalised((*within(self._source.unread, start, start + claimed), beyond)))
        size = self._readable_size(directory)
        detail = f"{lost} of its {claimed} bytes are unread, entries may be missing" if lost else ""
        if not lost and size < claimed:
            detail = f"it claims {claimed} bytes, only the first {size} are listed"
        if detail:
            self._account.is_complete = False
            self._out.append(WalkProblem("directory_damaged", directory.ino, directory.entry.name, detail))
        return size

    def _sectors(self, start: int, size_bytes: int) -> Iterator[tuple[int, bytes]]:
        """(position, bytes) of each sector; the image is read in larger windows."""
        for window in range(0, size_bytes, _WINDOW_BYTES):
            length = min(_WINDOW_BYTES, size_bytes - window)
            data = self._source.read(self._geometry.offset_bytes + start + window, length)
            for at in range(0, length, SECTOR_BYTES):
                yield start + window + at, data[at : at + SECTOR_BYTES]

    def _claim(self, directory: Directory, position: int, sector: bytes) -> bool:
        """Whether these blocks are this directory's alone; a size that is too large runs into the next one."""
        first = position // self._geometry.block_bytes
        blocks = range(first, first - (-len(sector) // self._geometry.block_bytes))
        if position == directory.start:
            blocks = blocks[1:]  # its first block was claimed when it was met
        begins_another = position != directory.start and is_own_record(sector, first)
        if begins_another or not self._claimed.isdisjoint(blocks):
            self._account.is_complete = False
            detail = f"at block {first} it runs into another directory, the rest is not listed"
            self._remark(directory, directory.entry.name, detail)
            return False
        self._claimed.update(blocks)
        return True
