"""The steps of a running NTT and its workers -> counted over all of them; at the planned ones, the planned fault.

A worker can neither write the counters nor strike NTT: it gave that up. A process beside each does it for it,
which is started before the worker has given up anything, and is spoken to through pipes.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

import msgspec
from fault_plan import ENVIRONMENT, Die, Do, Hang, KillNtt, Plan, Run, Send, Spin, Strike, Swell

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
MAIN = "NTT_TEST_MAIN"
PIPE = Path(__file__).with_name("counting_pipe.py")
RUN_LIMIT_S = 90
STATEMENT_WORDS = 4

_write, _lseek, _open, _pread, _pwrite, _preadv = os.write, os.lseek, os.open, os.pread, os.pwrite, os.preadv
_read = os.read
_unlink, _ftruncate = os.unlink, os.ftruncate


class Faults:
    """The plan as one process carries it out; the counters lie in files that all processes of the run share."""

    def __init__(self, plan: Plan, role: str, main_pid: int) -> None:
        self.role = role
        self.plan = plan
        self._main_pid = main_pid
        self._counters: dict[str, int] = {}
        self._alone = threading.Lock()

    def step(self, kind: str, phase: str) -> None:
        """Counts one more, and strikes if it is the one."""
        for strike in self.due(kind, phase):
            self.act(strike)

    def strike_only(self, kind: str, phase: str) -> None:
        """As `step`, for kinds too many to be counted unless one of them is planned for."""
        if any(strike.kind == kind for strike in self.plan.strikes):
            self.step(kind, phase)

    def what(self, target: int | str) -> str:
        return _what(os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else str(target))

    def due(self, kind: str, phase: str) -> list[Strike]:
        number = self._counted(f"{kind} {phase}", b"+")
        self._counted("steps", f"{kind}\t{phase}\n".encode())
        mine = [s for s in self.plan.strikes if s.kind == kind and s.phase == phase]
        return [s for s in mine if s.nth in (0, number)]

    def _counted(self, name: str, mark: bytes) -> int:
        """Where the mark was appended ends: the kernel counts, whatever processes do so at once."""
        with self._alone:
            fd = self._counters.get(name)
            if fd is None:
                path = os.path.join(self.plan.folder, name.replace("/", "_"))
                fd = self._counters[name] = _open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            _write(fd, mark)
            return _lseek(fd, 0, os.SEEK_CUR)

    def allowance(self, kind: str, size_bytes: int) -> tuple[int, Strike | None]:
        """How many of these bytes may pass, and what then strikes."""
        fd = _open(os.path.join(self.plan.folder, kind), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            before = int(_pread(fd, 20, 0) or b"0")
            _pwrite(fd, b"%d" % (before + size_bytes), 0)
        finally:
            os.close(fd)
        for strike in self.plan.strikes:
            if strike.kind == kind and before <= strike.nth < before + size_bytes:
                return strike.nth - before, strike
        return size_bytes, None

    def tell(self, text: str) -> None:
        self._counted("answers", f"{text}\n".encode())

    def outside(self, strike: Strike) -> None:
        """The part of a strike that hits others than the process that came to the step."""
        match strike.action:
            case KillNtt():
                os.kill(self._main_pid, signal.SIGKILL)
            case Send(signal=number):
                os.kill(self._main_pid, number)
            case Run(argv=argv):
                clean = {key: value for key, value in os.environ.items() if key not in (ENVIRONMENT, MAIN)}
                subprocess.run(argv, env=clean, timeout=RUN_LIMIT_S, check=True, stdin=subprocess.DEVNULL)

    def act(self, strike: Strike) -> None:
        self.outside(strike)
        match strike.action:
            case KillNtt() | Hang() | Send(hang=True):
                _wait_for_ever()
            case Die():
                os.kill(os.getpid(), signal.SIGKILL)
            case Spin():
                while True:
                    pass
            case Swell():
                taken = [bytes(1 << 20)]
                while True:
                    taken.append(bytes(1 << 20))
            case Do(code=code):
                self.tell(_tried(eval, code, {**sys.modules, "tried": _tried, "pack": _pack, "root": _root}))


class Fenced(Faults):
    """The same in a worker: what it cannot do any more is asked of the process beside it."""

    def __init__(self, plan: Plan, role: str, main_pid: int) -> None:
        super().__init__(plan, role, main_pid)
        self._answers, answers = os.pipe()
        questions, self._questions = os.pipe()
        if os.fork() == 0:
            try:
                _serve_beside(Faults(plan, role, main_pid), questions, answers)
            finally:
                os._exit(0)
        os.close(questions)
        os.close(answers)

    def _asked(self, *question: str | int) -> list[int]:
        with self._alone:
            _write(self._questions, msgspec.json.encode(question) + b"\n")
            answer = _line(self._answers)
        return msgspec.json.decode(answer, type=list[int])

    def what(self, target: int | str) -> str:
        """A worker writes to nothing else, and cannot look its descriptors up."""
        return "pack" if isinstance(target, int) and _appends(target) else "blob"

    def due(self, kind: str, phase: str) -> list[Strike]:
        return [self.plan.strikes[int(number)] for number in self._asked("due", kind, phase)]

    def allowance(self, kind: str, size_bytes: int) -> tuple[int, Strike | None]:
        allowed, number = map(int, self._asked("allowance", kind, size_bytes))
        return allowed, None if number < 0 else self.plan.strikes[number]

    def tell(self, text: str) -> None:
        self._asked("tell", text)

    def outside(self, strike: Strike) -> None:
        self._asked("outside", self.plan.strikes.index(strike))


def _line(fd: int) -> bytes:
    """Up to the end of the line, which is the end of what is there; nothing when the other side is gone."""
    found = b""
    while not found.endswith(b"\n"):
        part = _read(fd, 1 << 16)
        if not part:
            return b""
        found += part
    return found


def _serve_beside(faults: Faults, questions: int, answers: int) -> None:
    """Until the worker has ended."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd not in (2, questions, answers):
            with contextlib.suppress(OSError):
                os.close(fd)
    strikes = faults.plan.strikes
    while question := _line(questions):
        match msgspec.json.decode(question):
            case ["due", kind, phase]:
                answer = [strikes.index(strike) for strike in faults.due(kind, phase)]
            case ["allowance", kind, size_bytes]:
                allowed, strike = faults.allowance(kind, size_bytes)
                answer = [allowed, -1 if strike is None else strikes.index(strike)]
            case ["tell", text]:
                faults.tell(text)
                answer = []
            case ["outside", number]:
                faults.outside(strikes[number])
                answer = []
        _write(answers, msgspec.json.encode(answer) + b"\n")


def _tried(call: Callable[..., object], *args: object) -> str:
    """What comes of a call; nothing that goes wrong in it goes further."""
    try:
        return str(call(*args))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        return f"{type(error).__name__}: {error}"


def _pack() -> int:
    """The worker's descriptor of its pack: the one that appends."""
    return next(fd for fd in range(3, 99) if _appends(fd))


def _root() -> int:
    """The worker's descriptor of the directory that a volume is mounted at."""
    return next(fd for fd in range(3, 99) if _is_folder(fd))


def _is_folder(fd: int) -> bool:
    try:
        return stat.S_ISDIR(os.fstat(fd).st_mode)
    except OSError:
        return False


def _appends(fd: int) -> bool:
    try:
        return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND)
    except OSError:
        return False


def _wait_for_ever() -> None:
    threading.Event().wait()


# ---------------------------------------------------------------- what is stepped


def install(plan_path: str) -> None:
    """Builds the faults in, as fits the process: NTT itself, or a worker of it."""
    faults = faults_of(plan_path)
    if faults.role in ("ntt", "copy", "walk"):
        _step_files(faults)
        _step_bytes(faults)
    if faults.role == "ntt":
        _step_statements(faults)
        _step_programs(faults)
    elif faults.role == "copy":
        _step_copied_files(faults)
    if any(isinstance(strike.action, Spin) for strike in faults.plan.strikes):
        _hurry()


def faults_of(plan_path: str) -> Faults:
    """The first process that comes here is the run's main process; those that it starts learn so."""
    with open(plan_path, "rb") as file:
        plan = msgspec.json.decode(file.read(), type=Plan)
    main_pid = int(os.environ.setdefault(MAIN, str(os.getpid())))
    words = sys.orig_argv
    if "ntt.worker" in words:
        return Fenced(plan, words[words.index("ntt.worker") + 1], main_pid)
    return Faults(plan, "ntt" if main_pid == os.getpid() else "other", main_pid)


def _what(path: str) -> str:
    """Which of NTT's files a path means."""
    for ending, what in {".tar": "pack", ".tar.zst": "archive", ".tar.zst.part": "archive", ".part": "blob"}.items():
        if path.endswith(ending):
            return what
    if "/blobs/" in path:
        return "blob"
    if path.startswith("/memfd:"):
        return "pulse"
    return "folder" if os.path.isdir(path) else "file"


def _stepped(faults: Faults, name: str, call: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    @functools.wraps(call)
    def stepping(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        target = args[0]
        kind = f"{faults.role} {name} {faults.what(target if isinstance(target, int) else str(target))}"
        faults.step(kind, "before")
        result = call(*args, **kwargs)
        faults.step(kind, "after")
        return result

    return stepping


def _step_files(faults: Faults) -> None:
    names = ("fsync", "fdatasync", "ftruncate", "rename", "mkdir", "symlink", "unlink", "rmdir", "pwrite", "pwritev")
    for name in names:
        stepping = _stepped(faults, name, getattr(os, name))
        for supporting in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
            if getattr(os, name) in supporting:
                supporting.add(stepping)
        setattr(os, name, stepping)


def _step_bytes(faults: Faults) -> None:
    """Bytes that go to packs and blobs, bytes that the image is hashed from, reads of the image by workers."""
    pwritev, pwrite = os.pwritev, os.pwrite

    def counting_pwritev(fd: int, buffers: Sequence[bytes], offset: int, flags: int = 0) -> int:
        content = b"".join(buffers)
        allowed, strike = faults.allowance("bytes packed", len(content))
        if strike is not None:
            _pwrite(fd, content[:allowed], offset)
            faults.act(strike)
        return pwritev(fd, buffers, offset, flags)

    def counting_pwrite(fd: int, content: bytes, offset: int) -> int:
        allowed, strike = faults.allowance("bytes of large blobs", len(content))
        if strike is not None:
            _pwrite(fd, content[:allowed], offset)
            faults.act(strike)
        return pwrite(fd, content, offset)

    def counting_preadv(fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        _, strike = faults.allowance("bytes hashed", sum(map(len, buffers)))
        if strike is not None:
            faults.act(strike)
        return _preadv(fd, buffers, offset)

    def counting_pread(fd: int, length: int, offset: int) -> bytes:
        faults.step(f"{faults.role} pread", "before")
        return _pread(fd, length, offset)

    for counting in (counting_pwritev, counting_pwrite, counting_preadv, counting_pread):
        setattr(os, counting.__name__.removeprefix("counting_"), counting)


def _step_copied_files(faults: Faults) -> None:
    """Each file that a copy worker takes in hand, in all and by its inode."""
    from ntt.copier.messages import FileJob
    from ntt.copier.reading import BatchReader, LargeFile, Source

    read_file = BatchReader._read_file

    def stepping(self: BatchReader, source: Source, job: FileJob, large: LargeFile | None) -> object:
        faults.step("file", "before")
        faults.strike_only(f"file {job.ino}", "before")
        return read_file(self, source, job, large)

    setattr(BatchReader, read_file.__name__, stepping)


def _hurry() -> None:
    """A second of processor time must do, so that the test need not wait for the usual minute."""
    from ntt.confinement import processor_time

    setattr(processor_time, "UNIT_S", 1)  # noqa: B010


def _step_statements(faults: Faults) -> None:
    """Every statement, COPY and connection of the catalogue."""
    import asyncpg

    connection = asyncpg.Connection
    latest: dict[int, str] = {}  # what each connection did last: a COMMIT is told apart by it
    for name in ("execute", "executemany", "fetch", "fetchval", "fetchrow", "copy_records_to_table"):
        setattr(connection, name, _stepped_statement(faults, name, latest, getattr(connection, name)))


def _stepped_statement(
    faults: Faults, name: str, latest: dict[int, str], call: Callable[..., Awaitable[Result]]
) -> Callable[..., Awaitable[Result]]:
    @functools.wraps(call)
    async def stepping(self: object, statement: str, *args: object, **kwargs: object) -> Result:
        copying = name == "copy_records_to_table"
        label = f"COPY {statement}" if copying else _label(statement)
        kind = f"sql {label}"
        if label == "COMMIT":
            kind = f"sql COMMIT of {latest.get(id(self), 'nothing')}"
        elif label != "read":
            latest[id(self)] = label
        faults.step(kind, "before")
        strikes = faults.due(kind, "during")
        if strikes and copying:
            records = kwargs["records"]
            assert isinstance(records, list)
            result = await call(self, statement, *args, **{**kwargs, "records": _half_way(faults, strikes, records)})
        elif strikes:
            going = asyncio.ensure_future(call(self, statement, *args, **kwargs))
            await asyncio.sleep(0)  # the statement is on its way now, its answer is not here yet
            for strike in strikes:
                faults.act(strike)
            result = await going
        else:
            result = await call(self, statement, *args, **kwargs)
        faults.step(kind, "after")
        return result

    return stepping


def _half_way(faults: Faults, strikes: Sequence[Strike], records: Sequence[object]) -> Iterator[object]:
    """The records; the server waits for the second half of them while it strikes."""
    yield from records[: len(records) // 2]
    for strike in strikes:
        faults.act(strike)
    yield from records[len(records) // 2 :]


def _label(statement: str) -> str:
    words = re.sub(r"[^A-Za-z_]+", " ", statement).split()
    if words[0] in ("SELECT", "SHOW", "SET", "BEGIN", "ROLLBACK"):
        return "read"
    if words[0] in ("DELETE", "ANALYZE", "COMMIT"):
        return words[0]
    if words[0] == "NTT":  # schema.sql begins with its title
        return "CREATE everything"
    return " ".join(words[:STATEMENT_WORDS])


def _step_programs(faults: Faults) -> None:
    """Each program that is started; what tar writes goes through a pipe that counts."""
    import anyio

    open_process: Callable[..., Awaitable[object]] = anyio.open_process

    async def stepping(argv: Sequence[str], **kwargs: object) -> object:
        argv = list(argv)
        program = argv[argv.index("--") + 1] if "--" in argv else argv[0]
        kind = f"ntt start {_program(argv, program)}"
        if program == "tar":
            at = argv.index("tar")
            argv[at:at] = [sys.executable, str(PIPE)]
        faults.step(kind, "before")
        process = await open_process(argv, **kwargs)
        faults.step(kind, "after")
        return process

    setattr(anyio, "open_process", stepping)  # noqa: B010 - mypy knows that it is another function


def _program(argv: Sequence[str], program: str) -> str:
    if "ntt.worker" in argv:
        return f"{argv[argv.index('ntt.worker') + 1]} worker"
    if "--decompress" in argv:
        return "zstd --decompress"
    names = [os.path.basename(word) for word in argv]
    return next((name for name in ("initdb", "pg_ctl", "postgres") if name in names), program)
