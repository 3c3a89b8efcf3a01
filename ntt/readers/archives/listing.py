"""Members, in the order of the archive -> entries, folders before what they hold, each inode once."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from msgspec import structs

from ntt.model import Entry, WalkProblem
from ntt.readers.archives.members import UNKNOWN, Member
from ntt.readers.archives.survey import Survey, link_key
from ntt.readers.archives.tree import FIRST_INO, LOST_INO, ROOT, Folder, names_of

NO_LINK = "a further name of a file that the archive does not hold before it"


class Listing:
    """The second pass."""

    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self._tree = survey.tree
        self._told = bytearray(len(survey.tree.folders))
        self._targets: dict[bytes, Member] = {}
        self._met: set[tuple[int, bytes]] = set()

    def root(self) -> Iterator[Entry | WalkProblem]:
        yield from self._folder(ROOT)

    def rest(self) -> Iterator[Entry | WalkProblem]:
        """Folders that were not needed for a member."""
        for number in range(len(self._tree.folders)):
            yield from self._folder(number)

    def _folder(self, number: int) -> Iterator[Entry | WalkProblem]:
        """A folder and those above it, unless told already."""
        missing: list[int] = []
        while not self._told[number]:
            missing.append(number)
            self._told[number] = 1
            number = self._tree.folders[number].parent
        for index in reversed(missing):
            folder = self._tree.folders[index]
            yield from self._named(_folder_entry(folder, self._tree.folders[folder.parent].ino), folder.parent)

    def member(self, member: Member) -> Iterator[Entry | WalkProblem]:
        names = names_of(member.path)
        if stat.S_ISDIR(member.mode):
            yield from self._folder(self._tree.known(names))
            return
        folder = self._tree.known(names[:-1])
        yield from self._folder(folder)
        name = names[-1] if names else b"member %d" % (member.ordinal + 1)
        parent_ino = self._tree.folders[folder].ino
        shown, is_new = self._resolved(member)
        ended_by = self._survey.sizes[member.ordinal][1] if member.size == UNKNOWN else ""
        no_link = bool(shown.hard_link) and is_new
        is_lost = shown.size <= 0 and (no_link or bool(ended_by))  # never to be taken for an empty file
        ino = shown.ordinal + (LOST_INO if is_lost else FIRST_INO)
        yield from self._named(_entry(shown, ino, parent_ino, name, is_new), folder)
        if not names:
            yield WalkProblem("name_not_storable", ino, member.path, f"no path can hold its name: kept as {name!r}")
        if is_lost and no_link:
            yield WalkProblem("bad_record", ino, name, NO_LINK)
        if ended_by:
            yield WalkProblem("bad_record", ino, name, f"its content ends early: {ended_by}")

    def _resolved(self, member: Member) -> tuple[Member, bool]:
        """What a name leads to, and whether it is the first that does."""
        survey = self._survey
        if member.hard_link:
            target = self._targets.get(link_key(member.hard_link))
            if target is None:
                return member, True
            self._targets[link_key(member.path)] = target
            return target, False
        if member.size == UNKNOWN:
            member = member._replace(size=survey.sizes[member.ordinal][0])
        key = link_key(member.path)
        if key in survey.targets:
            carrier = survey.carriers.get(key)
            if carrier is not None and not member.size and stat.S_ISREG(member.mode):
                member = member._replace(ordinal=carrier.ordinal, size=carrier.size, first_byte=carrier.first_byte)
            self._targets[key] = member
        return member, True

    def _named(self, entry: Entry, folder: int) -> Iterator[Entry | WalkProblem]:
        """The entry, flagged and reported if its folder holds the name already, or no path can hold it."""
        is_root = entry.ino == entry.parent_ino
        if entry.name == b"..":
            detail = "no path can hold this name: kept, not restorable"
            yield WalkProblem("name_not_storable", entry.ino, entry.name, detail)
        if hash((folder, entry.name)) not in self._survey.repeated or is_root:
            yield entry
            return
        key = (folder, entry.name)
        if key not in self._met:
            self._met.add(key)
            yield entry
            return
        yield structs.replace(entry, duplicate=True)
        yield WalkProblem("duplicate_name", entry.ino, entry.name, "the archive holds this name more than once")


def _folder_entry(folder: Folder, parent_ino: int) -> Entry:
    return Entry(
        folder.ino, parent_ino, folder.name, folder.mode, 0, folder.mtime_s, folder.mtime_ns, folder.uid, folder.gid,
        b"", -1, True, False,
    )  # fmt: skip


def _entry(member: Member, ino: int, parent_ino: int, name: bytes, is_new: bool) -> Entry:
    size = max(member.size, 0)
    first_byte = member.first_byte if size and stat.S_ISREG(member.mode) else -1
    return Entry(
        ino, parent_ino, name, member.mode, size, member.mtime_s, member.mtime_ns, member.uid, member.gid,
        member.link_target, first_byte, is_new, False,
    )  # fmt: skip
