"""Image -> content of one batch of files, each with its hash and its damage; runs in a worker process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import msgspec
from blake3 import blake3

from ntt.copier.damage import stored_ranges, unread_places
from ntt.copier.diagnosis import Check, class_of
from ntt.copier.diagnosis_policy import Fault, Step, Tries
from ntt.copier.messages import Batch, FileJob, Read
from ntt.copier.wholeness import Judge
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


@dataclass(slots=True)
class _Attempts:
    """Those at the file in hand: what the last one led to, and its errno."""

    tries: Tries
    began: float
    step: Step = Step.AGAIN
    number: int | None = None


class BatchReader:
    """Reads batches. `sources` and `unread` by volume index; `failures` are what a source may raise for one file.

    `allow` is told the size of each file before it is read: how much time that may take depends on it. `fault` gives
    the last error of the image itself, once: a reader's own error does not tell. `health` says whether what a volume
    is read through is still there.
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
        fault: Callable[[], OSError | None] = lambda: None,
        health: Callable[[int], str] = lambda _: Check.MOUNT_OK,
    ) -> None:
        self._sources = sources
        self._closed_volumes = closed_volumes
        self._unread = unread
        self._image_bytes = image_bytes
        self._judge = Judge(image_bytes)
        self._failures = failures
        self._beat = beat
        self._allow = allow
        self._fault = fault
        self._health = health
        self._attempts: _Attempts | None = None  # of the file in hand, once one has failed
        self._limit = 1
        self._closed_health: dict[int, str] = {}
        self._hole_bytes_left = HOLES_OF_A_MEDIUM_BYTES

    def read(self, batch: Batch, large: LargeFile | None = None) -> Iterator[tuple[Read, Content]]:
        """One answer per file, in order; a file's failure is an answer, never an exception.

        `large`: where the content of the batch's one file goes.
        """
        self._limit = batch.limit
        for index, job in enumerate(batch.files):
            self._beat.at(batch.number, index)
            source = self._sources.get(job.volume)
            if source is None:
                why = self._closed_volumes.get(job.volume, "its volume is not readable")
                yield _failed(why, "ReadError", (self._health_of_closed(job.volume),)), None
                continue
            yield self._tried(source, job, large)

    def _health_of_closed(self, volume: int) -> str:
        if volume not in self._closed_health:
            self._closed_health[volume] = self._health(volume)
        return self._closed_health[volume]

    def _tried(self, source: Source, job: FileJob, large: LargeFile | None) -> tuple[Read, Content]:
        self._attempts = None
        while True:
            self._allow(job.size)
            self._fault()  # one of another file says nothing of this one
            try:
                found, content = self._read_file(source, job, large)
            except self._failures as error:
                if self._again(job, error):
                    continue
                return self._given_up(source, job, error), None
            if self._attempts is not None:
                found = msgspec.structs.replace(found, retries=self._attempts.tries.count + 1 - job.attempt)
            return found, content

    def _again(self, job: FileJob, error: Exception, place: int = 0) -> bool:
        """Is what has just failed to be tried again at once? Asked anew of the same error, the answer is the same."""
        if self._attempts is None:
            self._attempts = _Attempts(Tries(job.attempt, self._limit), time.monotonic())
        attempts = self._attempts
        if attempts.step in (Step.END, Step.CHECKPOINT):
            return False
        self._beat.add(1)  # a drive that fails slowly is not one that hangs
        cause = self._fault() or error
        known = isinstance(error, Located) and error.unread  # by the map: no attempt can help
        attempts.number = cause.errno if isinstance(cause, OSError) and not known else None
        fault = Fault(type(error).__name__, attempts.number, str(error), place)
        attempts.step = attempts.tries.failed(fault, time.monotonic() - attempts.began)
        return attempts.step is Step.AGAIN

    def _given_up(self, source: Source, job: FileJob, error: Exception) -> Read:
        attempts = self._attempts
        assert attempts is not None
        unread = error.unread if isinstance(error, Located) else self._may_be_why(source, job)
        beyond = within(unread, self._image_bytes, 1 << 62)
        found = class_of(attempts.number) if attempts.number is not None else None
        checks = [check for check in (Check.BEYOND_EOF if beyond else None, found) if check is not None]
        if isinstance(error, Located) and difference(unread, beyond):
            checks.append(Check.IO_ERROR)
        checks.append(Check(self._health(job.volume)))
        return msgspec.structs.replace(
            _failed(str(error), type(error).__name__, tuple(checks), unread),
            retries=attempts.tries.count - job.attempt,
            undecided=attempts.step is Step.CHECKPOINT,
        )

    def _may_be_why(self, source: Source, job: FileJob) -> Ranges:
        """A mount does not tell what it failed on: it may be any unread byte where the file may lie."""
        unread = self._unread[job.volume]
        if not unread or not isinstance(source, ByPath):
            return ()
        try:
            return unread_places(source.extents(job.ino), unread) or unread
        except self._failures:
            return unread

    def _read_file(self, source: Source, job: FileJob, large: LargeFile | None) -> tuple[Read, Content]:
        if job.path and isinstance(source, ByPath):
            source.locate(job.ino, job.path)
        found = self._judge.before(source, job.ino, self._unread[job.volume] if job.size else ())
        if found.status is OutcomeStatus.FAILED:
            return found, None
        if large is not None:
            return self._read_large(source, job, large, found), None
        content = self._given(source, job, 0, job.size, found)
        self._beat.add(len(content))
        if len(content) != job.size:
            return _failed(f"holds {len(content):,} bytes where its entry says {job.size:,}", "ReadError"), None
        found = self._judge.after(source, job.ino, self._unread[job.volume], found)
        if found.status is OutcomeStatus.FAILED:
            return found, None
        blob_hash = blake3(content).digest()
        return msgspec.structs.replace(found, blob_hash=blob_hash, size=len(content), in_pack=True), content

    def _given(self, source: Source, job: FileJob, at: int, length: int, found: Read) -> bytes:
        content = source.read(job.ino, at, length)
        if not found.damaged or not isinstance(source, ByPath):
            return content
        return self._judge.without_unread(source, job.ino, self._unread[job.volume], at, content)

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
        for chunk in self._chunks(source, job, found):
            large.write(chunk)
            self._beat.add(len(chunk))
            written += len(chunk)
        if written != job.size:
            return _failed(f"holds {written:,} bytes where its entry says {job.size:,}", "ReadError")
        found = self._judge.after(source, job.ino, self._unread[job.volume], found)
        if found.status is OutcomeStatus.FAILED:
            return found
        return msgspec.structs.replace(found, blob_hash=large.digest(), size=job.size)

    def _chunks(self, source: Source, job: FileJob, found: Read) -> Iterator[bytes]:
        zeros = bytes(CHUNK_BYTES)
        at = 0
        for start, end in (*stored_ranges(source.extents(job.ino)), (job.size, job.size)):
            while at < start:  # a hole is not read, however large
                length = min(CHUNK_BYTES, start - at)
                yield zeros if length == CHUNK_BYTES else bytes(length)
                at += length
            while at < end:
                length = min(CHUNK_BYTES, end - at)
                yield self._chunk(source, job, at, length, found)
                at += length

    def _chunk(self, source: Source, job: FileJob, at: int, length: int, found: Read) -> bytes:
        """What was read before it is not read again."""
        while True:
            try:
                return self._given(source, job, at, length, found)
            except self._failures as error:
                if not self._again(job, error, at):
                    raise
                self._allow(length)


def _failed(reason: str, error_type: str, checks: tuple[str, ...] = (Check.MOUNT_OK,), unread: Ranges = ()) -> Read:
    return Read(OutcomeStatus.FAILED, b"", 0, reason, (), error_type, False, checks, unread)
