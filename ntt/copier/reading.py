"""Image -> content of one batch of files, each with its hash and its damage; runs in a worker process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import msgspec
from blake3 import blake3

from ntt.copier.damage import damaged_ranges, stored_ranges, unread_places
from ntt.copier.messages import Batch, FileJob, Read
from ntt.model import Extent, OutcomeStatus
from ntt.ranges import Ranges, difference, total, within

CHUNK_BYTES = 1 << 20
HOLES_OF_A_FILE_BYTES = 2 << 40  # hashed at some GB/s; a corrupt size must not keep a worker busy for days
HOLES_OF_A_MEDIUM_BYTES = 8 << 40


class Source(Protocol):
    """What is needed of a file system: content and where it lies."""

    def read(self, ino: int, offset: int, length: int) -> bytes: ...

    def extents(self, ino: int) -> Sequence[Extent]: ...


@runtime_checkable
class ByPath(Protocol):
    """A source that has no other way from a number to a file than its path."""

    def locate(self, ino: int, path: bytes) -> None: ...


@runtime_checkable
class Located(Protocol):
    """A failure that knows which unread bytes of the image it comes from."""

    unread: Ranges


class LargeFile(Protocol):
    """Where a large file's content goes while it is read."""

    def write(self, chunk: bytes) -> None: ...

    def digest(self) -> bytes: ...


class Beat(Protocol):
    """Tells the parent that this process is alive, and at which file."""

    def at(self, batch: int, index: int) -> None: ...

    def add(self, size_bytes: int) -> None: ...


Content = bytes | None  # None: nothing to keep, or it is in the large file


class BatchReader:
    """Reads batches. `sources` and `unread` by volume index; `failures` are what a source may raise for one file.

    `allow` is told the size of each file before it is read: how much time that may take depends on it.
    """

    def __init__(
        self,
        sources: dict[int, Source],
        closed_volumes: dict[int, str],
        unread: dict[int, Ranges],
        image_bytes: int,
        failures: tuple[type[Exception], ...],
        beat: Beat,
        allow: Callable[[int], None],
    ) -> None:
        self._sources = sources
        self._closed_volumes = closed_volumes
        self._unread = unread
        self._image_bytes = image_bytes
        self._failures = failures
        self._beat = beat
        self._allow = allow
        self._hole_bytes_left = HOLES_OF_A_MEDIUM_BYTES

    def read(self, batch: Batch, large: LargeFile | None = None) -> Iterator[tuple[Read, Content]]:
        """One answer per file, in order; a file's failure is an answer, never an exception.

        `large`: where the content of the batch's one file goes.
        """
        for index, job in enumerate(batch.files):
            self._beat.at(batch.number, index)
            source = self._sources.get(job.volume)
            if source is None:
                why = self._closed_volumes.get(job.volume, "its volume is not readable")
                yield _failed(why, "ReadError"), None
                continue
            self._allow(job.size)
            try:
                yield self._read_file(source, job, large)
            except self._failures as error:
                unread = error.unread if isinstance(error, Located) else ()
                yield _failed(str(error), type(error).__name__, unread=unread), None

    def _read_file(self, source: Source, job: FileJob, large: LargeFile | None) -> tuple[Read, Content]:
        if job.path and isinstance(source, ByPath):
            source.locate(job.ino, job.path)
        damaged: Ranges = ()
        checks: tuple[str, ...] = ()
        places: Ranges = ()
        unread = self._unread[job.volume]
        if unread and job.size:
            extents = source.extents(job.ino)
            damaged = damaged_ranges(extents, unread)
            checks = self._causes(extents, damaged, unread)
            places = unread_places(extents, unread) if damaged else ()
            if damaged and not difference(stored_ranges(extents), damaged):
                return _failed("unread: none of its bytes could be read from the medium", "", checks, places), None
        status = OutcomeStatus.DAMAGED if damaged else OutcomeStatus.COPIED
        if large is not None:
            return self._read_large(
                source, job, large, Read(status, b"", 0, "", damaged, "", False, checks, places)
            ), None
        content = source.read(job.ino, 0, job.size)
        self._beat.add(len(content))
        if len(content) != job.size:
            return _failed(f"holds {len(content):,} bytes where its entry says {job.size:,}", "ReadError"), None
        blob_hash = blake3(content).digest()
        return Read(status, blob_hash, len(content), "", damaged, "", True, checks, places), content

    def _read_large(
        self,
        source: Source,
        job: FileJob,
        large: LargeFile,
        found: Read,
    ) -> Read:
        """`found` with the content's hash, once that is written."""
        # what lies behind the end of the image is not there either
        holes = job.size - total(stored_ranges(source.extents(job.ino))) + total(found.damaged)
        if holes > min(HOLES_OF_A_FILE_BYTES, self._hole_bytes_left):
            what = "holes, or not there" if found.damaged else "holes"
            return _failed(f"claims {job.size:,} bytes of which {holes:,} are {what}: more than is hashed", "")
        self._hole_bytes_left -= holes
        written = 0
        for chunk in self._chunks(source, job):
            large.write(chunk)
            self._beat.add(len(chunk))
            written += len(chunk)
        if written != job.size:
            return _failed(f"holds {written:,} bytes where its entry says {job.size:,}", "ReadError")
        return msgspec.structs.replace(found, blob_hash=large.digest(), size=job.size)

    def _causes(self, extents: Sequence[Extent], damaged: Ranges, unread: Ranges) -> tuple[str, ...]:
        """Beyond the end of the image, or in what the map says was not read, or both."""
        if not damaged:
            return ()
        beyond = damaged_ranges(extents, within(unread, self._image_bytes, 1 << 62))
        causes = ["detected_beyond_eof"] if beyond else []
        if difference(damaged, beyond):
            causes.append("detected_io_error")
        return tuple(causes)

    def _chunks(self, source: Source, job: FileJob) -> Iterator[bytes]:
        zeros = bytes(CHUNK_BYTES)
        at = 0
        for start, end in (*stored_ranges(source.extents(job.ino)), (job.size, job.size)):
            while at < start:  # a hole is not read, however large
                length = min(CHUNK_BYTES, start - at)
                yield zeros if length == CHUNK_BYTES else bytes(length)
                at += length
            while at < end:
                length = min(CHUNK_BYTES, end - at)
                yield source.read(job.ino, at, length)
                at += length


def _failed(
    reason: str, error_type: str, checks: tuple[str, ...] = ("detected_io_error",), unread: Ranges = ()
) -> Read:
    return Read(OutcomeStatus.FAILED, b"", 0, reason, (), error_type, False, checks, unread)
