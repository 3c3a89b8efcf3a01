"""Paths below an open root -> open directories, name by name, no link followed, a few kept open."""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice

from ntt.mounts.numbers import number_of

_KEPT_OPEN = 32
_ROUNDS = 12  # more links in a path than a driver follows
_CANDIDATES = 8
_DEEPEST_CHAIN = 4096  # directories that hold nothing but the next one look alike without being one
_PATH_BYTES = 4096
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Folder:
    """A directory as a name in another one, so that deep trees take little memory; `ino` is for who walks it."""

    __slots__ = ("_looks", "ino", "name", "parent")

    def __init__(self, parent: Folder | None, name: bytes, ino: int) -> None:
        self.parent = parent
        self.name = name
        self.ino = ino
        self._looks = 0

    def alike_above(self, looks: Looks) -> Iterator[tuple[Folder, bytes]]:
        """The directories above it that look the same, nearest first, and the path from there to here.

        To be asked once, when all of its names are known; an empty one is like no other.
        """
        self._looks = looks.value()
        above, way = self.parent, [self.name]
        while self._looks and above is not None:
            if above._looks == self._looks:
                yield above, b"/".join(reversed(way))
            way.append(above.name)
            above = above.parent

    def holds_itself(self, looks: Looks) -> bool:
        """A directory above it shows the same names, sizes and times; to be asked when all of its names are known.

        Where inode numbers say nothing, this is all that tells a directory which a damaged volume has put into itself.
        """
        self._looks = looks.value()
        left = 1 if looks.names > 1 else _DEEPEST_CHAIN
        above = self.parent
        while self._looks and above is not None and left:
            left -= above._looks == self._looks
            above = above.parent
        return not left


class Looks:
    """What a directory shows, so that it is known again: the sum does not depend on the order of its names."""

    def __init__(self) -> None:
        self._sum = 0
        self.names = 0

    def add(self, name: bytes, mode: int, size: int, mtime_s: int) -> None:
        self.names += 1
        self._sum += number_of(mode, b"%d %d %b" % (size, mtime_s, name))

    def value(self) -> int:
        """0 for an empty directory."""
        return self._sum


class Directories:
    """`device`: what no directory may leave, None where that does not matter."""

    def __init__(self, root_fd: int, device: int | None) -> None:
        self._root_fd = root_fd
        self._device = device
        self._open: OrderedDict[Folder, int] = OrderedDict()
        self._by_path: OrderedDict[bytes, Folder] = OrderedDict()

    def open(self, folder: Folder) -> int:
        """A descriptor that stays this object's own; OSError when a name on the way is no directory of this volume."""
        way: list[Folder] = []
        at: Folder | None = folder
        while at is not None and at.parent is not None and at not in self._open:
            way.append(at)
            at = at.parent
        if at is None or at.parent is None:
            fd = self._root_fd
        else:
            fd = self._open[at]
            self._open.move_to_end(at)
        for step in reversed(way):
            fd = self._enter(step, fd)
        return fd

    def _enter(self, folder: Folder, parent_fd: int) -> int:
        fd = os.open(folder.name, _FLAGS, dir_fd=parent_fd)
        if self._device is not None and os.fstat(fd).st_dev != self._device:
            os.close(fd)
            raise OSError(errno.EXDEV, "it belongs to another file system")
        self._open[folder] = fd
        if len(self._open) > _KEPT_OPEN:
            os.close(self._open.popitem(last=False)[1])
        return fd

    def holding(self, path: bytes) -> tuple[int, bytes]:
        """The open directory that holds the last name of a relative path, and that name."""
        parent, _, name = path.rpartition(b"/")
        if not name or name in (b".", b".."):
            raise OSError(errno.EINVAL, "this path names no file")
        return self.open(self._folder(parent)), name

    def _folder(self, path: bytes) -> Folder:
        folder = self._by_path.get(path)
        if folder is not None:
            self._by_path.move_to_end(path)
            return folder
        folder = Folder(None, b"", 0)
        for name in path.split(b"/") if path else ():
            if name in (b"", b".", b".."):
                raise OSError(errno.EINVAL, "this path leads nowhere")
            folder = Folder(folder, name, 0)
        self._by_path[path] = folder
        if len(self._by_path) > _KEPT_OPEN:
            self._by_path.popitem(last=False)
        return folder

    def in_circle(self, folder: Folder, looks: Looks) -> bool:
        """For drivers that follow links: is it, by way of a link, a directory above it?

        Only a path that goes round and round has too many links in it.
        """
        for above, way in islice(folder.alike_above(looks), _CANDIDATES):
            round_and_round = b"/".join([way] * _ROUNDS)
            if len(round_and_round) >= _PATH_BYTES:
                continue  # the driver's own limit ends it
            try:
                os.stat(round_and_round, dir_fd=self.open(above))
            except OSError as error:
                if error.errno == errno.ELOOP:
                    return True
        return False

    def close(self) -> None:
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()
        self._by_path.clear()
