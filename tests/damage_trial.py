"""An image and bytes of it that were never read -> what NTT tells of each file, in one process and without a catalogue.

The parts that look at an image are the real ones, those that a worker process runs.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from ntt.copier.messages import Batch, FileJob
from ntt.copier.reading import BatchReader, ByPath
from ntt.model import Entry, LostStructure, OutcomeStatus, Volume, VolumeStatus, WalkProblem
from ntt.ranges import Ranges, normalised
from ntt.readers.base import ImageSource, ReadError, VolumeReader
from ntt.readers.messages import Found, LayoutFound, Survey, VolumeEnded
from ntt.readers.opening import open_volume
from ntt.readers.survey import survey

END = 1 << 62


@dataclass(frozen=True, slots=True)
class File:
    """`damaged` are ranges of the file, `unread` those of the image that they come from; `content` None: failed."""

    status: OutcomeStatus
    damaged: Ranges
    unread: Ranges
    reason: str
    content: bytes | None


@dataclass(slots=True)
class Told:
    """What is said of an image. Keys of `files` and `links` are (volume, path); directories are the paths of all
    directories. `links` are the targets of the symbolic links.
    """

    volumes: tuple[Volume, ...] = ()
    files: dict[tuple[int, bytes], File] = field(default_factory=dict)
    directories: dict[tuple[int, int], bytes] = field(default_factory=dict)  # by (volume, ino)
    links: dict[tuple[int, bytes], bytes] = field(default_factory=dict)
    problems: list[tuple[int, WalkProblem]] = field(default_factory=list)
    lost: dict[int, tuple[LostStructure, ...]] = field(default_factory=dict)
    unread_used: dict[int, Ranges | None] = field(default_factory=dict)
    cells: dict[int, bytes] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)

    def of(self, path: bytes) -> File | None:
        """The file of this path, on whichever volume."""
        return next((file for (_, name), file in self.files.items() if name == path), None)

    def lost_of(self, what: str) -> list[LostStructure]:
        return [one for found in self.lost.values() for one in found if one.what == what]


class Still:
    """Takes the signs of life that nobody waits for."""

    def at(self, batch: int, index: int) -> None: ...

    def add(self, size_bytes: int) -> None: ...


def told_of(image: Path, bad: Ranges) -> Told:
    """Everything NTT says of `image` when the bytes `bad` of it were not read; what they hold is never looked at."""
    fd = os.open(image, os.O_RDONLY)
    try:
        size_bytes = os.fstat(fd).st_size
        unread = normalised((*bad, (size_bytes, END)))
        return _told(ImageSource(fd, unread), unread, max(size_bytes, bad[-1][1] if bad else 0))
    finally:
        os.close(fd)


def _told(source: ImageSource, unread: Ranges, claimed_bytes: int) -> Told:
    told = Told()
    entries: dict[int, list[Entry]] = {}
    for message in survey(source, Survey(unread, claimed_bytes), Still(), lambda v: open_volume(source, v)):
        match message:
            case LayoutFound(layout=layout):
                told.volumes = layout.volumes
            case Found(volume=index, entries=found, problems=problems):
                entries.setdefault(index, []).extend(found)
                told.problems += [(index, problem) for problem in problems]
            case VolumeEnded(volume=index, failure=failure, lost=lost, unread_used=used, cells=cells):
                told.lost[index], told.unread_used[index], told.cells[index] = lost, used, cells
                if failure:
                    told.failures[index] = failure
    for volume in told.volumes:
        if volume.status is VolumeStatus.READ and volume.index in entries:
            _read(source, unread, volume, entries[volume.index], told)
    return told


def _read(source: ImageSource, unread: Ranges, volume: Volume, entries: list[Entry], told: Told) -> None:
    paths: dict[int, bytes] = {}
    named: list[tuple[bytes, Entry]] = []
    for entry in entries:
        above = paths.get(entry.parent_ino, b"") if entry.name else b""
        path = above + b"/" + entry.name if above else entry.name
        if entry.is_directory:
            paths.setdefault(entry.ino, path)
            told.directories.setdefault((volume.index, entry.ino), path)
        elif entry.is_regular:
            named.append((path, entry))
        elif stat.S_ISLNK(entry.mode):
            told.links[volume.index, path] = entry.link_target
    try:
        reader: VolumeReader = open_volume(source, volume)
    except ReadError as error:
        for path, _ in named:
            told.files[volume.index, path] = File(OutcomeStatus.FAILED, (), error.unread, str(error), None)
        return
    assert not isinstance(reader, ByPath)
    copier = BatchReader(
        {volume.index: reader}, {}, {volume.index: unread}, source.size_bytes, (ReadError,), Still(), lambda _: None
    )
    jobs = tuple(FileJob(volume.index, entry.ino, entry.size, 1) for _, entry in named)
    for (path, _), (read, content) in zip(named, copier.read(Batch(1, jobs)), strict=True):
        told.files[volume.index, path] = File(read.status, read.damaged, read.unread, read.reason, content)
    reader.close()
