"""The narrow interface of every reader: list entries, read a range, say where a file lies in the image."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Protocol

from ntt.model import Entry, Extent, VolumeFacts, WalkProblem
from ntt.ranges import Ranges, within


class ImageSource:
    """An image behind an open descriptor, read with `pread`, never written.

    `size_bytes` is the file's size. Reads beyond it give zeros: what lies there counts as unread, and
    `unread` (which holds `[size_bytes, 2**63)`) says so.
    """

    def __init__(self, fd: int, unread: Ranges = ()) -> None:
        self.fd = fd
        self.size_bytes = os.lseek(fd, 0, os.SEEK_END)
        self.unread = unread

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes at `offset`; zeros beyond the end and wherever the medium was not read.

        OSError if the file cannot be read.
        """
        if offset >= self.size_bytes:  # the system takes no number beyond 2**63
            return bytes(length)
        parts: list[bytes] = []
        missing, at = length, offset
        while missing > 0:
            part = os.pread(self.fd, missing, at)
            if not part:
                parts.append(bytes(missing))
                break
            parts.append(part)
            missing -= len(part)
            at += len(part)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        holes = within(self.unread, offset, min(offset + length, self.size_bytes)) if self.unread else ()
        return _zeroed(data, offset, holes) if holes else data


def _zeroed(data: bytes, offset: int, holes: Ranges) -> bytes:
    # an image that was used before may hold anything where its map says unread
    cleaned = bytearray(data)
    for start, end in holes:
        cleaned[start - offset : end - offset] = bytes(end - start)
    return bytes(cleaned)


class VolumeReader(Protocol):
    """One opened file system. Not thread-safe; a worker process owns it.

    Every method may raise `ReadError` for the file or directory in hand only; the next call works.
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

    def close(self) -> None: ...


class ReadError(Exception):
    """A reader could not list or read one thing; the text names the cause in a few words."""


class Refused(ReadError):
    """What is stored there is known not to be the file's content: whoever reads it all the same gets something else."""
