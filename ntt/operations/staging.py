"""Planned entries -> a tree in DEST: built flat and out of sight, then moved together, the deepest directory first.

While it is built, directory N is `DEST/.ntt-restore-XXXX/<N div 10000>/N`: a name from the medium is only ever the
last part of a path whose other parts are ours, so no link can lead outside and no tree is too deep.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ntt.db.restoring import Attributes, PlannedDirectory, PlannedEntry
from ntt.names import printable
from ntt.operations.file_attributes import set_attributes
from ntt.operations.tally import Note, Tally, note_of, raise_if_fatal, words_of, writing_the_destination
from ntt.store.layout import BlobLocation, StoreLayout
from ntt.store.reading import BlobDamaged, BlobReader

BUCKET = 10_000  # ext3 allows 32,000 directories in one
LONGEST_NAME_BYTES = 255
DUPLICATES_LIMIT = 1_000
HOLE_BYTES = 64 << 10
_ZEROS = bytes(HOLE_BYTES)
NO_TARGET = "the target of this link is empty: it was not read, or the medium holds none"
_UNFIT_NAME = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NAMED = {stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a character device", stat.S_IFBLK: "a block device"}

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the operator allows: device nodes; set-uid, set-gid and sticky bits."""

    devices: bool
    setuid: bool


class Staging:
    """Builds below the directory behind `fd`. StoreError when that takes no more; all else is a note in `tally`.

    `progress` is called now and then while contents are written, and may raise to end it.
    """

    def __init__(self, fd: int, layout: StoreLayout, allowed: Allowed, progress: Callable[[Tally], None]) -> None:
        self.tally = Tally()
        self._destination = fd
        self._allowed = allowed
        self._progress = progress
        self._as_root = os.geteuid() == 0
        self._reader = BlobReader(layout)
        self._previous: tuple[int, int, bytes] | None = None
        self._buckets: set[int] = set()
        self._roots: list[tuple[str, Note, Attributes]] = []
        self._name = f".ntt-restore-{secrets.token_hex(8)}"
        with writing_the_destination():
            os.mkdir(self._name, 0o700, dir_fd=fd)
            self._fd = os.open(self._name, _FOLDER, dir_fd=fd)

    def make_directories(self, ids: Sequence[int]) -> None:
        with writing_the_destination():
            for number in ids:
                if number // BUCKET not in self._buckets:
                    os.mkdir(str(number // BUCKET), 0o700, dir_fd=self._fd)
                    self._buckets.add(number // BUCKET)
                os.mkdir(_flat(number), 0o700, dir_fd=self._fd)

    def place(self, entries: Sequence[PlannedEntry]) -> None:
        """Creates entries; the names of one inode must follow each other. A file is there whole or not at all."""
        for entry in entries:
            complaint = _refusal(entry)
            if complaint or entry.attributes is None or entry.directory_id is None:
                self.tally.skipped.append(note_of(entry, complaint))
                continue
            try:
                self._place(entry, entry.directory_id, entry.attributes)
            except BlobDamaged as damaged:
                self.tally.failed.append(note_of(entry, f"its content in the store {damaged}"))
            except (OSError, ValueError, OverflowError) as error:
                raise_if_fatal(error)
                self.tally.failed.append(note_of(entry, words_of(error)))

    def _place(self, entry: PlannedEntry, directory_id: int, attributes: Attributes) -> None:
        if self._link_to_previous(entry, directory_id):
            return
        made: bytes | None = None
        kind = stat.S_IFMT(attributes.mode)
        if kind == stat.S_IFREG:
            made = self._file(entry, directory_id, attributes)
        elif kind == stat.S_IFLNK and not entry.link_target:  # symlink(2) takes none
            self.tally.failed.append(note_of(entry, NO_TARGET))
        elif kind == stat.S_IFLNK:
            made = self._node(
                entry, directory_id, attributes, lambda path: os.symlink(entry.link_target, path, dir_fd=self._fd)
            )
            self.tally.links += 1
        elif kind == stat.S_IFIFO:
            made = self._node(entry, directory_id, attributes, lambda path: os.mkfifo(path, 0o600, dir_fd=self._fd))
            self.tally.special += 1
        elif kind in (stat.S_IFCHR, stat.S_IFBLK) and self._allowed.devices and self._as_root:
            device = os.makedev(*map(int, entry.link_target.split(b":", 1)))
            made = self._node(
                entry, directory_id, attributes, lambda path: os.mknod(path, kind | 0o600, device, dir_fd=self._fd)
            )
            self.tally.special += 1
        else:
            self.tally.skipped.append(note_of(entry, _left_out(kind, self._allowed.devices)))
        self._previous = None if made is None else (entry.volume, entry.ino, made)

    def _link_to_previous(self, entry: PlannedEntry, directory_id: int) -> bool:
        if self._previous is None or self._previous[:2] != (entry.volume, entry.ino):
            return False
        source = self._previous[2]

        def link(path: bytes) -> None:
            # never follows `source`: it may be a symbolic link with several names
            os.link(source, path, src_dir_fd=self._fd, dst_dir_fd=self._fd, follow_symlinks=False)

        try:
            self._unique(entry, directory_id, link)
        except OSError as error:
            raise_if_fatal(error)
            return False  # a file system without hard links, or with too few, gets a copy
        self.tally.hard_links += 1
        return True

    def _file(self, entry: PlannedEntry, directory_id: int, attributes: Attributes) -> bytes | None:
        if entry.blob_hash is None:
            self.tally.failed.append(note_of(entry, entry.reason or "not copied from the medium yet"))
            return None
        blob = BlobLocation(entry.blob_hash, entry.blob_size, entry.pack_id, entry.pack_offset)
        path, fd = self._unique(entry, directory_id, lambda p: os.open(p, _CREATE, 0o600, dir_fd=self._fd))
        before = self.tally.bytes
        try:
            self._write(fd, blob)
            self._set_attributes(fd, note_of(entry, ""), attributes)
        except BaseException:
            self.tally.bytes = before
            os.unlink(path, dir_fd=self._fd)
            raise
        finally:
            os.close(fd)
        self.tally.files += 1
        if entry.taken_from:
            self.tally.replaced.append(note_of(entry, entry.taken_from))
        if entry.status == "d":
            self.tally.damaged.append(note_of(entry, entry.reason or "parts could not be read from the medium"))
        return path

    def _write(self, fd: int, blob: BlobLocation) -> None:
        at = 0
        for chunk in self._reader.chunks(blob):
            for start in range(0, len(chunk), HOLE_BYTES):
                piece = chunk[start : start + HOLE_BYTES]
                if len(piece) < HOLE_BYTES or piece != _ZEROS:
                    _write_all(fd, piece, at + start)
            at += len(chunk)
            self.tally.bytes += len(chunk)
            self._progress(self.tally)
        os.ftruncate(fd, at)

    def _node(
        self, entry: PlannedEntry, directory_id: int, attributes: Attributes, make: Callable[[bytes], None]
    ) -> bytes:
        path, _ = self._unique(entry, directory_id, make)
        self._set_attributes(path, note_of(entry, ""), attributes)
        return path

    def settle(self, directories: Sequence[PlannedDirectory], targets: Mapping[int, str]) -> None:
        """Moves directories, no parent before its children, into their parents; a volume's root into `targets`."""
        for directory in directories:
            try:
                fd = os.open(_flat(directory.id), _FOLDER, dir_fd=self._fd)
                try:
                    self._settle(directory, fd, targets)
                finally:
                    os.close(fd)
            except OSError as error:
                raise_if_fatal(error)
                self.tally.failed.append(note_of(directory, f"{words_of(error)}; what is in it lies in {self._name}"))

    def _settle(self, directory: PlannedDirectory, fd: int, targets: Mapping[int, str]) -> None:
        if directory.parent_id is None:
            target = targets[directory.volume]
            if target != ".":
                os.mkdir(target, 0o700, dir_fd=self._destination)
            _move_names(fd, target, self._destination)
            os.rmdir(_flat(directory.id), dir_fd=self._fd)
            self._roots.append((target, note_of(directory, ""), directory.attributes))
        else:
            self._unique(directory, directory.parent_id, lambda path: self._move(_flat(directory.id), path))
            # through the descriptor: it may now lie where no path reaches
            self._set_attributes(fd, note_of(directory, ""), directory.attributes)
            self.tally.directories += 1

    def _move(self, source: str, target: bytes) -> None:
        try:
            os.stat(target, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(source, target, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        else:
            # rename(2) would replace an empty directory of that name
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    def _unique(
        self, entry: PlannedEntry | PlannedDirectory, directory_id: int, make: Callable[[bytes], Made]
    ) -> tuple[bytes, Made]:
        """`make` at the first name that is free and that the file system takes; another than its own is reported."""
        folder = _flat(directory_id).encode() + b"/"
        name = entry.name
        for number in range(1, DUPLICATES_LIMIT + 1):
            try:
                made = make(folder + name)
            except FileExistsError:
                suffix = b".ntt-duplicate-%d" % number
                name = entry.name[: LONGEST_NAME_BYTES - len(suffix)] + suffix
            except OSError as error:
                substitute = b"ntt-renamed-%d" % entry.ino
                if error.errno not in _UNFIT_NAME or name == substitute:
                    raise
                name = substitute
            else:
                if name != entry.name:
                    self.tally.altered.append(note_of(entry, f"restored as {printable(name)}"))
                return folder + name, made
        raise OSError(errno.EEXIST, f"its directory holds this name more than {DUPLICATES_LIMIT:,} times")

    def _set_attributes(self, node: int | bytes, note: Note, attributes: Attributes) -> None:
        failed = set_attributes(node, self._fd, attributes, as_root=self._as_root, setuid=self._allowed.setuid)
        if failed:
            self.tally.altered.append(Note(note.volume, note.parent_ino, note.name, failed))

    def finish(self) -> None:
        """Removes the empty scaffold, then sets the roots' times; what could not be moved stays and was noted."""
        for bucket in self._buckets:
            with contextlib.suppress(OSError):
                os.rmdir(str(bucket), dir_fd=self._fd)
        with contextlib.suppress(OSError):
            os.rmdir(self._name, dir_fd=self._destination)
        for target, note, attributes in self._roots:
            fd = os.open(target, _FOLDER, dir_fd=self._destination)
            self._set_attributes(fd, note, attributes)
            os.close(fd)

    def discard(self) -> None:
        """Removes all that was built; only before `settle`, as it does not go deep."""
        shutil.rmtree(self._name, ignore_errors=True, dir_fd=self._destination)

    def close(self) -> None:
        self._reader.close()
        os.close(self._fd)


def _write_all(fd: int, piece: bytes, at: int) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.pwrite(fd, rest, at + len(piece) - len(rest)) :]


def _move_names(source: int, target: str, place: int) -> None:
    fd = os.open(target, _FOLDER, dir_fd=place)
    try:
        moved = True
        while moved:  # renaming while reading may hide names from one pass
            moved = False
            with os.scandir(source) as found:
                for item in found:
                    _move_name(item.name, source, fd)
                    moved = True
    finally:
        os.close(fd)


def _move_name(name: str, source: int, target: int) -> None:
    try:
        os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
    except PermissionError:
        mode = os.stat(name, dir_fd=source, follow_symlinks=False).st_mode
        if not stat.S_ISDIR(mode):
            raise
        # a directory must be writable to get another parent, and this one has its own mode already
        os.chmod(name, stat.S_IMODE(mode) | stat.S_IRWXU, dir_fd=source)
        os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
        os.chmod(name, stat.S_IMODE(mode), dir_fd=target)


def _flat(number: int) -> str:
    return f"{number // BUCKET}/{number}"


def _refusal(entry: PlannedEntry) -> str:
    if entry.name in (b"", b".", b"..") or b"/" in entry.name or b"\0" in entry.name:
        return "no file may have this name"
    if entry.attributes is None:
        return "the catalogue has no inode for this name"
    if entry.directory_id is None:
        return "the directory that holds it is not restored"
    if stat.S_ISDIR(entry.attributes.mode):
        return "another name of a directory, whose content is at its first name"
    return ""


def _left_out(kind: int, devices: bool) -> str:
    if kind not in _NAMED:
        return "of no known type"
    if kind == stat.S_IFSOCK:
        return "a socket is not restored"
    return f"{_NAMED[kind]} is restored only " + ("as root" if devices else "when devices are asked for")
