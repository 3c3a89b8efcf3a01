"""The narrow interface of every reader: list entries, read a range, say where a file lies in the image."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Protocol

from ntt.model import Entry, Extent, Structure, VolumeFacts, WalkProblem
from ntt.ranges import Range, Ranges, within


class ImageSource:
    """An image behind an open descriptor, read with `pread`, never written.

    `size_bytes` is the file's size. Reads beyond it give zeros: what lies there counts as unread, and
    `unread` (which holds `[size_bytes, 2**63)`) says so.
    """

    def __init__(self, fd: int, unread: Ranges = ()) -> None:
        self.fd = fd
        self.size_bytes = os.lseek(fd, 0, os.SEEK_END)
        self.unread = unread
        self._fault: OSError | None = None

    def take_fault(self) -> OSError | None:
        """The last error since this was asked: what a library makes of it does not tell any more."""
        fault, self._fault = self._fault, None
        return fault

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes at `offset`; zeros beyond the end and wherever the medium was not read.

        OSError if the file cannot be read; what was not read from the medium is not tried.
        """
        if offset >= self.size_bytes:  # the system takes no number beyond 2**63
            return bytes(length)
        holes = within(self.unread, offset, min(offset + length, self.size_bytes)) if self.unread else ()
        if not holes:
            return self._stored(offset, length)
        # an image that was used before may hold anything where its map says unread
        parts: list[bytes] = []
        at = offset
        for start, end in (*holes, (offset + length, offset + length)):
            if at < start:
                parts.append(self._stored(at, start - at))
            parts.append(bytes(end - start))
            at = end
        return b"".join(parts)

    def _stored(self, offset: int, length: int) -> bytes:
        parts: list[bytes] = []
        missing, at = length, offset
        while missing > 0:
            try:
                part = os.pread(self.fd, missing, at)
            except OSError as error:
                self._fault = error
                raise
            if not part:
                parts.append(bytes(missing))
                break
            parts.append(part)
            missing -= len(part)
            at += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class VolumeReader(Protocol):
    """One opened file system. Not thread-safe; a worker process owns it.

    Every method may raise `ReadError` for the file or directory in hand only; the next call works.
    What says how large a file is or where it lies may itself be unread (an inode, a table of clusters): such a file
    is listed as far as its name is known, with size 0, and `read` and `extents` raise ReadError, which names what is
    unread. Never does a file pass for whole whose size or place was taken from bytes that were not read.
    """

    fstype: str
    label: str

    def walk(self) -> Iterator[Entry | WalkProblem]:
        """Every allocated entry once, the root first, parents before children; deleted ones are left out.

        Memory stays bounded by directory depth and the number of directories, not by the files.
        A directory is entered once however many entries name it.
        """
        ...

    def read(self, ino: int, offset: int, length: int) -> bytes:
        """Content bytes `[offset, offset+length)`, cut at the file's size; holes and unread parts are zeros.

        Fewer bytes than that are a ReadError: short data is never passed on as a file.
        """
        ...

    def extents(self, ino: int) -> Sequence[Extent]:
        """Where the content lies, in file order, holes included, covering `[0, size)` exactly."""
        ...

    def facts(self) -> VolumeFacts:
        """What the file system says of itself; costs a few reads at most."""
        ...

    def structures(self) -> Iterator[Structure]:
        """Every piece of the file system itself, in any order; to be asked after `walk` went through.

        All that a listing or a file's place is read from, and what mounting needs; also what lies on unread bytes.
        """
        ...

    def used(self) -> Iterator[Range] | None:
        """Bytes of the image that are in use by the file system's own account, itself included, ascending.

        What that account says of a place it lost itself is not known: such a place counts as used. None: the file
        system keeps no account, or nothing of it can be read. To be asked after `walk` went through.
        """
        ...

    def close(self) -> None: ...


class ReadError(Exception):
    """A reader could not list or read one thing; the text names the cause in a few words.

    `unread`: the bytes of the image that were not read and are the cause, if they are: read again, they may help.
    """

    def __init__(self, text: str, unread: Ranges = ()) -> None:
        super().__init__(text)
        self.unread = unread


class Refused(ReadError):
    """What is stored there is known not to be the file's content: whoever reads it all the same gets something else."""
