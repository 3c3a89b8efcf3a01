"""Damaged images, one line each -> what came of looking at each in a process confined as workers are.

Started as a program; it has everything loaded, and looks at each image in a child of its own. A line on standard input
is a JSON array [base image, seed of the damage or null, cue sheet]; the answers are `Verdict`s as JSON lines.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import signal
import sys
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
from hostile_images import Base, damage

from ntt import worker
from ntt.config import Settings
from ntt.confinement.entering import confine
from ntt.confinement.processor_time import ProcessorTime
from ntt.copier.messages import Batch, FileJob, Read
from ntt.copier.reading import BatchReader
from ntt.fence import FRAME_LIMIT_BYTES
from ntt.model import Entry, OutcomeStatus, Volume, VolumeStatus
from ntt.pulse import Pulse
from ntt.readers.base import ImageSource, ReadError, VolumeReader
from ntt.readers.messages import Found, FromSurvey, LayoutFound, Survey, VolumeEnded
from ntt.readers.opening import open_volume
from ntt.readers.survey import survey
from ntt.store.layout import SMALL_BLOB_LIMIT_BYTES

MEMORY_BYTES: int = Settings.model_fields["worker_memory_bytes"].default
WALL_S = 20.0
ENTRIES = 20_000  # that are looked at of one image; more are counted only
ALL_FILES_BYTES = 64 << 20
MOST_READ_BYTES = 16 << 20  # of one large file
WORST = ("traceback", "wall", "signal", "memory", "read_error", "problems", "ok")


class Verdict(msgspec.Struct, frozen=True):
    """`outcome` is one of WORST. `detail`: a signal's number, a traceback's text, else the first complaint."""

    image: str
    seed: int | None
    outcome: str
    detail: str = ""
    entries: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0


class Enough(Exception):
    """Of a large file as much was read as is wanted."""


class LargeFile:
    """Counts what it is given, and ends a file that gives no end."""

    def __init__(self) -> None:
        self._left = MOST_READ_BYTES

    def write(self, chunk: bytes) -> None:
        self._left -= len(chunk)
        if self._left < 0:
            raise Enough

    def digest(self) -> bytes:
        return bytes(32)


class Trial:
    """One look at one image, by the same parts and in the same order as NTT's workers."""

    def __init__(self, fd: int, cue: str, pulse: Pulse) -> None:
        size_bytes = os.fstat(fd).st_size
        self._source = ImageSource(fd, ((size_bytes, 1 << 63),))  # as NTT counts what lies behind the end
        self._cue = cue
        self._pulse = pulse
        self._time = ProcessorTime()
        self.first_complaint = ""
        self.outcome = "ok"
        self.entries = 0

    def run(self) -> None:
        self._time.allow(self._source.size_bytes)
        request = Survey(self._source.unread, self._source.size_bytes, self._cue, "disc.bin" if self._cue else "")
        opened = partial(open_volume, self._source)
        decoder: msgspec.msgpack.Decoder[FromSurvey] = msgspec.msgpack.Decoder(FromSurvey)
        files: list[FileJob] = []
        checked: dict[int, Listed] = {}
        for sent in survey(self._source, request, self._pulse, opened):
            frame = msgspec.msgpack.encode(sent)
            assert len(frame) <= FRAME_LIMIT_BYTES, "a message is larger than NTT takes"
            match decoder.decode(frame):
                case LayoutFound(layout=layout):
                    volumes = layout.volumes
                    for text in (*layout.remarks, *(volume.finding for volume in volumes)):
                        self._complain("problems", text)
                case Found(volume=index, entries=entries, problems=problems):
                    checked.setdefault(index, Listed()).take(entries)
                    self.entries += len(entries)
                    for problem in problems:
                        assert -(1 << 63) <= problem.ino < 1 << 63, problem
                        self._complain("problems", f"{problem.kind}: {problem.detail}")
                    if len(files) < ENTRIES:
                        files.extend(FileJob(index, e.ino, e.size, 1) for e in entries if e.is_regular and e.new_inode)
                case VolumeEnded(failure=failure):
                    self._complain("problems", failure)
        self._read(volumes, files)

    def _read(self, volumes: tuple[Volume, ...], files: list[FileJob]) -> None:
        sources, closed = {}, {}
        for volume in volumes:
            if volume.status is VolumeStatus.READ:
                try:
                    sources[volume.index] = open_volume(self._source, volume)
                except worker.FAILURES as error:
                    closed[volume.index] = str(error)
        unread = worker._touched(volumes, self._source.unread)
        reader = BatchReader(
            sources, closed, unread, self._source.size_bytes, worker.FAILURES, self._pulse, self._time.allow
        )
        left = ALL_FILES_BYTES
        for file in files:
            if left <= 0:
                break
            left -= min(file.size, MOST_READ_BYTES)
            large = LargeFile() if file.size >= SMALL_BLOB_LIMIT_BYTES else None
            try:
                answers = list(reader.read(Batch(1, (file,)), large))
            except Enough:
                answers = []
            for answer, content in answers:
                self._take(answer, content, file)
            if file.volume in sources:
                self._places(sources[file.volume], file)

    def _take(self, answer: Read, content: bytes | None, file: FileJob) -> None:
        msgspec.msgpack.encode(answer)
        if answer.status is OutcomeStatus.FAILED:
            assert answer.reason, "a failure without a reason"
            self._complain("read_error", answer.reason)
        elif content is not None:
            assert len(content) == file.size, "a file with another size than it was listed with"

    def _places(self, source: VolumeReader, file: FileJob) -> None:
        try:
            extents = source.extents(file.ino)
        except ReadError as error:
            self._complain("read_error", str(error))
            return
        at = 0
        for extent in extents:
            assert extent.file_offset == at and extent.file_length > 0, f"extents leave a gap or overlap: {extent}"
            assert -1 <= extent.image_offset < 1 << 63, extent
            at += extent.file_length
        assert at == file.size, f"extents cover {at} bytes of {file.size}"

    def _complain(self, kind: str, text: str) -> None:
        if text and WORST.index(kind) < WORST.index(self.outcome):
            self.outcome, self.first_complaint = kind, text[:300]


class Listed:
    """The entries of a volume so far; what the catalogue would not take is an AssertionError."""

    def __init__(self) -> None:
        self._inodes: set[int] = set()
        self._folders: set[int] = set()

    def take(self, entries: tuple[Entry, ...]) -> None:
        for entry in entries:
            for number in (entry.ino, entry.parent_ino, entry.first_byte):
                assert -(1 << 63) <= number < 1 << 63, entry
            assert entry.new_inode is (entry.ino not in self._inodes), f"listed as new twice, or never: {entry}"
            assert entry.parent_ino in self._folders or not entry.name, f"its folder was not listed before it: {entry}"
            self._inodes.add(entry.ino)
            if entry.is_directory:
                self._folders.add(entry.ino)
            names = [name for name, _ in entry.attributes]
            assert len(set(names)) == len(names), entry
            for name in names:
                assert "\0" not in name and name.encode(), entry


# ---------------------------------------------------------------- one process for each image


def verdict_of(image: str, seed: int | None, fd: int, cue: str, pulse_fd: int) -> Verdict:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _look(fd, cue, pulse_fd, writing)
    os.close(writing)
    watch = os.pidfd_open(child)
    has_ended = bool(select.select([watch], [], [], WALL_S)[0])
    if not has_ended:
        os.kill(child, signal.SIGKILL)
    _, status, used = os.wait4(child, 0)
    os.close(watch)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    seconds, peak_bytes = used.ru_utime + used.ru_stime, used.ru_maxrss << 10
    facts = (image, seed)
    if not has_ended:
        return Verdict(*facts, "wall", f"more than {WALL_S:.0f} s", 0, seconds, peak_bytes)
    if os.WIFSIGNALED(status):
        return Verdict(*facts, "signal", signal.Signals(os.WTERMSIG(status)).name, 0, seconds, peak_bytes)
    outcome, detail, entries = msgspec.json.decode(said, type=tuple[str, str, int]) if said else ("memory", "", 0)
    return Verdict(*facts, outcome, detail, entries, seconds, peak_bytes)


def _look(fd: int, cue: str, pulse_fd: int, answer: int) -> None:
    """Never returns."""
    try:
        pulse = Pulse(pulse_fd)
        confine(MEMORY_BYTES, (), reads_mounts=False)
        trial = Trial(fd, cue, pulse)
        trial.run()
        _say(answer, trial.outcome, trial.first_complaint, trial.entries)
    except MemoryError:
        _say(answer, "memory", "", 0)
    except BaseException:  # noqa: BLE001  # told to the parent, whatever it is
        _say(answer, "traceback", traceback.format_exc()[-4000:], 0)
    finally:  # also where there is no memory left to say so
        os._exit(0)


def _say(answer: int, outcome: str, detail: str, entries: int) -> None:
    os.write(answer, msgspec.json.encode((outcome, detail, entries)))


class Changing:
    """A copy of a base image in memory that is damaged and made whole again, so that no image is written twice."""

    def __init__(self, path: Path) -> None:
        self.base = Base.of(path)
        self._fd = os.memfd_create(path.name)
        os.ftruncate(self._fd, len(self.base.content))
        for start, end in self.base.data:
            os.pwrite(self._fd, self.base.content[start:end], start)

    def damaged(self, seed: int) -> Iterator[int]:
        """A descriptor of the damaged image; it is whole again afterwards."""
        canvas = damage(self.base, seed)
        for at, content in canvas.changes():
            os.pwrite(self._fd, content, at)
        os.ftruncate(self._fd, canvas.size)
        yield self.read_only()
        os.ftruncate(self._fd, len(self.base.content))
        lost = [(start, end) for start, end in self.base.data if end > canvas.size]
        for start, end in (*((at, at + len(content)) for at, content in canvas.changes()), *lost):
            os.pwrite(self._fd, self.base.content[start:end], start)

    def read_only(self) -> int:
        return os.open(f"/proc/self/fd/{self._fd}", os.O_RDONLY)


def _tried(line: bytes, bases: dict[str, Changing], pulse_fd: int) -> Iterator[Verdict]:
    name, seed, cue = msgspec.json.decode(line, type=tuple[str, int | None, str])
    if seed is None:
        fd = os.open(name, os.O_RDONLY)
        yield verdict_of(name, seed, fd, cue, pulse_fd)
        os.close(fd)
        return
    if name not in bases:
        bases.clear()
        bases[name] = Changing(Path(name))
    for fd in bases[name].damaged(seed):
        yield verdict_of(name, seed, fd, cue, pulse_fd)
        os.close(fd)


def main() -> None:
    worker._load_what_comes_late(Survey((), 0))  # without volumes: every reader
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # dies with the test
    pulse_fd = os.memfd_create("pulse")
    os.ftruncate(pulse_fd, mmap.PAGESIZE)
    bases: dict[str, Changing] = {}
    with os.fdopen(os.dup(1), "wb") as answers:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        for line in sys.stdin.buffer:
            for verdict in _tried(line, bases, pulse_fd):
                answers.write(msgspec.json.encode(verdict) + b"\n")
                answers.flush()


if __name__ == "__main__":
    main()
