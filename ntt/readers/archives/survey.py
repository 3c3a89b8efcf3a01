"""The first pass over an archive's headers -> its folders, its hard links, sizes that no header has."""

from __future__ import annotations

import stat

from ntt.readers.archives.members import UNKNOWN, Member, Members, Remark
from ntt.readers.archives.tree import NameCount, Tree, names_of
from ntt.readers.base import ReadError

REMARK_LIMIT = 1000


class Survey:
    """What is known of an archive before the first entry is told. `headers` is how many could be read."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.headers = 0
        self.sizes: dict[int, tuple[int, str]] = {}
        self.targets: set[bytes] = set()
        self.carriers: dict[bytes, Member] = {}
        self.repeated: frozenset[int] = frozenset()
        self.remarks: list[str] = []
        self.ended_by = ""
        self._names = NameCount()

    def take(self, members: Members) -> None:
        """One pass. Where it cannot go on, `ended_by` says why; what was met before stays."""
        try:
            for found in members.members():
                if isinstance(found, Remark):
                    self.remarks.append(found.text)
                    del self.remarks[REMARK_LIMIT:]
                    continue
                self._member(members, found)
                self.headers += 1
        except ReadError as error:
            self.ended_by = str(error)
        for folder in self.tree.folders[1:]:
            self._names.add(folder.parent, folder.name)
        self.repeated = self._names.repeated()

    def _member(self, members: Members, member: Member) -> None:
        names = names_of(member.path)
        if stat.S_ISDIR(member.mode):
            self.tree.describe(self.tree.folder(names), member)
            return
        folder = self.tree.folder(names[:-1])
        if names:
            self._names.add(folder, names[-1])
        if member.size == UNKNOWN:
            self.sizes[member.ordinal] = members.measure(member.ordinal)
        if member.hard_link:
            target = link_key(member.hard_link)
            self.targets.add(target)
            if member.size > 0:  # cpio keeps the content with the last name
                self.carriers[target] = member


def link_key(path: bytes) -> bytes:
    """Paths that lead to the same place have the same key."""
    return b"/".join(names_of(path))
