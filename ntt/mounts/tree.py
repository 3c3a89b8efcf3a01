"""The files below a mount, as a reader of a volume shows them: entries, contents, where these lie in the image.

Whatever is asked is asked relative to the open root directory, name by name, and no link is followed. Everything
may fail with OSError for the thing in hand; the next call works.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence

from ntt.model import Entry, Extent, Route, Structure, TreeKind, Volume, VolumeFacts, WalkProblem
from ntt.mounts.btrfs_places import BtrfsPlaces
from ntt.mounts.contents import Contents, Places
from ntt.mounts.directories import Directories, Folder, Looks
from ntt.mounts.erofs_places import ErofsPlaces
from ntt.mounts.numbers import NumberSet, number_of
from ntt.ranges import Range, Ranges, intersection, normalised, total, within

# what a file system counts besides the files, folders and links of its users, the root among them
_OWN_INODES = {"ext2": 10, "ext3": 10, "ext4": 10, "xfs": 4, "squashfs": 1, "erofs": 1, "f2fs": 4}
_GONE = (errno.ENOTCONN, errno.ECONNABORTED)  # of a driver that ended, whatever is asked


class MountedTree:
    """One mount or folder of unpacked files. It does not close `root_fd`. Not thread-safe.

    `kind` says what may be relied on. Where inode numbers may not, an entry's is derived from its path, the same
    in every process and mount, and hard links are separate files. A listing on which `unread` bytes of the image
    have an influence is reported where it is known; where extents are not known, it is not. `read` gives bytes of the
    image, zeros where they were not read: with it more is known of where files lie.
    """

    def __init__(
        self,
        root_fd: int,
        volume: Volume,
        kind: TreeKind,
        unread: Ranges = (),
        read: Callable[[int, int], bytes] | None = None,
    ) -> None:
        self.fstype = volume.fstype
        self.label = volume.label
        self._root_fd = root_fd
        self._volume = volume
        self._kind = kind
        self._unread = within(unread, volume.offset_bytes, volume.offset_bytes + volume.size_bytes)
        self._root_device = os.fstat(root_fd).st_dev
        # on a damaged volume a directory may be in itself; a real folder, which 7z unpacks to, cannot
        self._is_guessed = not kind.numbers_kept and volume.route is Route.FUSE
        # the subvolumes of btrfs look like other devices; beneath a mount of our own nothing else is mounted
        self._has_subvolumes = volume.fstype == "btrfs"
        self._subvolumes: dict[int, int] = {}
        self._device = None if self._has_subvolumes else self._root_device
        self._directories = Directories(root_fd, self._device)
        places = self._places(read) if read is not None and volume.route is Route.KERNEL else None
        self._contents = Contents(self._directories, volume, kind.extents_known, self._device, places, self._unread)

    def _places(self, read: Callable[[int, int], bytes]) -> Places | None:
        volume = self._volume
        match volume.fstype:
            case "btrfs":
                return BtrfsPlaces(read, volume.offset_bytes, volume.size_bytes, self._unread)
            case "erofs":
                return ErofsPlaces(read, volume.offset_bytes, self._unread)
            case _:
                return None

    def walk(self) -> Iterator[Entry | WalkProblem]:
        """Every entry once, the root first, parents before children; only directories are held.

        OSError where it cannot go on: the driver has ended.
        """
        seen = NumberSet()
        status = os.fstat(self._root_fd)
        root = Folder(None, b"", self._number(0, b"", status))
        seen.add(root.ino)
        yield self._entry(root.ino, root.ino, b"", status, b"", -1, True, False)
        pending = [root]
        while pending:
            yield from self._walk_folder(pending.pop(), seen, pending)

    def _walk_folder(self, folder: Folder, seen: NumberSet, pending: list[Folder]) -> Iterator[Entry | WalkProblem]:
        names: set[bytes] = set()
        below: list[Folder] = []
        looks = Looks()
        try:
            fd = self._directories.open(folder)
            yield from self._damage_of(fd, folder)
            with os.scandir(fd) as found:
                for item in found:
                    for listed in self._listed(fd, os.fsencode(item.name), folder, names, seen, below):
                        if self._is_guessed and isinstance(listed, Entry):
                            looks.add(listed.name, listed.mode, listed.size, listed.mtime_s)
                        yield listed
        except OSError as error:
            if error.errno in _GONE:
                raise
            yield WalkProblem("directory_unreadable", folder.ino, b"", error.strerror or str(error))
        if self._kind.links_followed and self._directories.in_circle(folder, looks):
            detail = "a link to a folder above it, which this driver follows; not entered again"
            yield WalkProblem("directory_cycle", folder.ino, folder.name, detail)
            return
        if self._is_guessed and folder.holds_itself(looks):
            detail = "it shows the same as a folder above it: what is in it is not entered again"
            yield WalkProblem("directory_cycle", folder.ino, folder.name, detail)
            return
        pending += below

    def _listed(
        self, fd: int, name: bytes, folder: Folder, names: set[bytes], seen: NumberSet, below: list[Folder]
    ) -> Iterator[Entry | WalkProblem]:
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            target = _link_target(fd, name, status)
        except OSError as error:
            if error.errno in _GONE:
                raise
            yield WalkProblem("bad_record", folder.ino, name, error.strerror or str(error))
            return
        duplicate = name in names
        names.add(name)
        ino = self._number(folder.ino, name, status)
        new = not duplicate and (not self._kind.numbers_kept or seen.add(ino))
        first = self._contents.first_byte(fd, name, status)
        yield self._entry(ino, folder.ino, name, status, target, first, new, duplicate)
        if duplicate:
            yield WalkProblem("duplicate_name", ino, name, "the directory holds this name twice")
        if stat.S_ISDIR(status.st_mode):
            if new:
                below.append(Folder(folder, name, ino))
            else:
                yield WalkProblem("directory_cycle", ino, name, "the directory was met before and is not entered again")

    def _number(self, parent: int, name: bytes, status: os.stat_result) -> int:
        # an empty stand-in for a subvolume has number 2 on btrfs, as often as there are any
        stand_in = self._has_subvolumes and status.st_ino == 2
        if not self._kind.numbers_kept or not 0 < status.st_ino < 1 << 63 or stand_in:
            return number_of(parent, name)
        if status.st_dev == self._root_device:
            return status.st_ino
        # each subvolume counts anew; the device number of a mount is not stable, its place in the tree is
        subvolume = self._subvolumes.setdefault(status.st_dev, number_of(parent, name))
        return number_of(subvolume, b"%d" % status.st_ino)

    def _damage_of(self, fd: int, folder: Folder) -> Iterator[WalkProblem]:
        if not self._unread or not self._kind.extents_known:
            return
        try:
            extents = self._contents.extents_of(fd)
        except OSError:
            return  # listing it meets the same cause and reports it
        lies_at = normalised(
            (extent.image_offset, extent.image_offset + extent.image_length)
            for extent in extents
            if extent.image_offset >= 0 and not extent.vague
        )
        lost = total(intersection(lies_at, self._unread))
        if lost:
            detail = f"{lost} of its {total(lies_at)} bytes were not read: names may be missing"
            yield WalkProblem("directory_damaged", folder.ino, b"", detail)

    def _entry(
        self,
        ino: int,
        parent: int,
        name: bytes,
        status: os.stat_result,
        target: bytes,
        first_byte: int,
        new_inode: bool,
        duplicate: bool,
    ) -> Entry:
        seconds, nanoseconds = divmod(status.st_mtime_ns, 10**9)
        owned = self._kind.owners_kept
        return Entry(
            ino,
            parent,
            name,
            status.st_mode,
            status.st_size,
            seconds,
            nanoseconds,
            status.st_uid if owned else 0,
            status.st_gid if owned else 0,
            target,
            first_byte,
            new_inode,
            duplicate,
        )

    def locate(self, ino: int, path: bytes) -> None:
        """Tells where the file `ino` is, relative to the root, before it is read."""
        self._contents.locate(ino, path)

    def read(self, ino: int, offset: int, length: int) -> bytes:
        """Content bytes, cut at the file's size; holes are zeros. Fewer than that are an OSError."""
        return self._contents.read(ino, offset, length)

    def extents(self, ino: int) -> Sequence[Extent]:
        """Where the content lies, holes included. A piece whose place is not known is vague, and may lie anywhere in
        the volume."""
        return self._contents.extents(ino)

    @property
    def blanked(self) -> Ranges:
        """What was given as zeros of the file located last, since it lies on unread bytes and could not be read."""
        return self._contents.blanked

    def facts(self) -> VolumeFacts:
        if self._volume.route is Route.SEVENZIP:  # the folder's file system is that of this machine
            return VolumeFacts(self.fstype, self.label)
        state = os.fstatvfs(self._root_fd)
        own = _OWN_INODES.get(self.fstype) if self._volume.route is Route.KERNEL else None
        entries = None if own is None or not state.f_files else max(state.f_files - state.f_ffree - own, 0)
        used = (state.f_blocks - state.f_bfree) * state.f_frsize
        sized = state.f_blocks > 0
        return VolumeFacts(
            self.fstype,
            self.label,
            block_bytes=state.f_frsize or None,
            size_bytes=state.f_blocks * state.f_frsize if sized else None,
            used_bytes=used if sized else None,
            free_bytes=state.f_bfree * state.f_frsize if sized else None,
            entries=entries,
        )

    def structures(self) -> Iterator[Structure]:
        return iter(())  # none of them is known

    def used(self) -> Iterator[Range] | None:
        return None

    def close(self) -> None:
        self._contents.close()
        self._directories.close()


def _link_target(fd: int, name: bytes, status: os.stat_result) -> bytes:
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(name, dir_fd=fd)
    if stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode):
        return b"%d:%d" % (os.major(status.st_rdev), os.minor(status.st_rdev))
    return b""
