"""What a worker that a hostile image took over could do: compute, and lie about that image; nothing else."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from blake3 import blake3
from catalogue_state import broken_promises, rows, state_of, unfinished_business
from fault_plan import Do, Hang, KillNtt, Spin, Strike, Swell, answers_of, steps_of
from ntt_runs import Machine, until
from rescued_media import RescueMedium, ino_of

from ntt.fence import missing_layers

VICTIM = b"folder 0/00123.bin"
NOBODY = 65534
DAC_READ_SEARCH = 1 << 2
READER_ALONE = {"NTT_ONLY_ROUTE": "tsk"}  # a mount would have its own attempts after it
INSIDE = {"copy": "file", "walk": "walk pread"}  # a step behind the fence, by role
DENIED = ("Function not implemented", "Operation not permitted", "Permission denied")


@pytest.fixture
def machine(tmp_path: Path, database_url: str) -> Machine:
    return Machine(tmp_path / "home", database_url, {"NTT_WORKERS": "1", **READER_ALONE})


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("the secret")
    path.chmod(0o600)
    return path


def tried(machine: Machine, medium: RescueMedium, kind: str, *codes: str, status: int = 0) -> list[str]:
    """What comes of each of these in a worker at its first such step; the run itself ends well."""
    ended = machine.ingest(medium.image, *(Strike(kind, Do(code)) for code in codes), map_path=medium.map_path)
    assert ended.status == status, ended.stderr
    answers = answers_of(ended.counters)
    assert len(answers) == len(codes), answers
    return answers


@contextmanager
def stopped_inside(machine: Machine, medium: RescueMedium, role: str) -> Iterator[int]:
    """The process id of a worker that has the image open and goes no further."""
    with machine.started(medium.image, Strike(INSIDE[role], Hang())) as run:
        found: list[int] = []

        def there() -> bool:
            found[:] = [pid for pid in children(run.process.pid) if f"ntt.worker\0{role}\0" in said(pid, "cmdline")]
            steps = run.counters / "steps"
            return bool(found) and steps.exists() and INSIDE[role] in {step.kind for step in steps_of(run.counters)}

        until(there, f"a {role} worker is at its work")
        yield found[0]
        run.process.kill()
        run.process.wait()
    until(lambda: machine.processes() == [], "the worker has ended with NTT")


def children(pid: int) -> list[int]:
    return [int(word) for word in said(pid, f"task/{pid}/children").split()]


def said(pid: int, what: str) -> str:
    """A file of /proc; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/{what}").read_text(errors="replace")
    except OSError:
        return ""


def status_of(pid: int) -> dict[str, str]:
    return {key: value.strip() for key, value in (line.split(":", 1) for line in said(pid, "status").splitlines())}


@pytest.mark.parametrize("role", INSIDE)
def test_a_worker_is_nobody_has_no_rights_no_network_and_a_filter(
    role: str, machine: Machine, whole: RescueMedium
) -> None:
    with stopped_inside(machine, whole, role) as pid:
        status = status_of(pid)
        assert status["Uid"].split() == status["Gid"].split() == [str(NOBODY)] * 4
        assert status["Groups"] == ""
        held = {name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        assert held == dict.fromkeys(held, 0)
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
        limits = {line[:26].strip(): line[26:].split()[:2] for line in said(pid, "limits").splitlines()}
        assert limits["Max core file size"] == limits["Max processes"] == ["0", "0"]
        assert limits["Max cpu time"][0] != "unlimited"
        assert limits["Max address space"] == [str(2 << 30)] * 2


@pytest.mark.parametrize("role", INSIDE)
def test_a_worker_opens_reads_writes_starts_and_stops_nothing(
    role: str, machine: Machine, whole: RescueMedium, secret: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        answers = tried(
            machine,
            whole,
            INSIDE[role],
            f"open({str(secret)!r}).read()",
            "open('/etc/passwd').read()",
            f"open({str(machine.store / 'packs' / 'mine.tar')!r}, 'wb')",
            f"os.open({str(machine.store / 'tmp')!r}, os.O_RDONLY)",
            f"os.truncate({str(secret)!r}, 0)",
            f"os.rename({str(secret)!r}, '/tmp/taken')",
            f"socket.create_connection(('127.0.0.1', {server.getsockname()[1]}))",
            "socket.socket()",
            "socket.socketpair()",
            "os.kill(os.getppid(), 0)",
            "os.fork()",
            "os.execv('/bin/true', ['true'])",
            "os.setresuid(0, 0, 0)",
        )
        assert [answer for answer in answers if not answer.endswith(DENIED) and f"{DENIED[0]}:" not in answer] == []
        with pytest.raises(BlockingIOError):
            server.accept()
    assert secret.read_text() == "the secret"


def test_a_worker_below_a_mount_may_read_all_of_it_and_nothing_beside_it(
    tmp_path: Path, database_url: str, whole: RescueMedium, secret: Path
) -> None:
    machine = Machine(tmp_path / "home", database_url, {"NTT_WORKERS": "1", "NTT_ONLY_ROUTE": "kernel"})
    closed = replace(whole, image=tmp_path / "medium.img")
    shutil.copyfile(whole.image, closed.image)
    names = [os.fsdecode(path) for path in whole.files]
    commands = [f'sif "/{name}" mode 0100000' for name in names] + ['sif "/folder 0" mode 040000']
    subprocess.run(["debugfs", "-w", closed.image], input="\n".join(commands).encode(), check=True, capture_output=True)
    with stopped_inside(machine, closed, "copy") as pid:
        status = status_of(pid)
        held = {name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        assert held == {"CapInh": 0, "CapPrm": DAC_READ_SEARCH, "CapEff": DAC_READ_SEARCH, "CapBnd": 0, "CapAmb": 0}
        assert status["Uid"].split() == [str(NOBODY)] * 4
    *answers, places = tried(
        machine,
        closed,
        "file",
        f"open({str(secret)!r}).read()",
        "open('/etc/passwd').read()",
        "os.listdir('/')",
        "os.open('mine', os.O_WRONLY | os.O_CREAT, dir_fd=root())",
        "socket.socket()",
        "[*sys.modules['ntt.mounts.fiemap'].pieces(os.open('of its own', os.O_RDONLY, dir_fd=root()), 1)]",
    )
    assert [answer for answer in answers if not any(denied in answer for denied in DENIED)] == []
    assert "Piece(logical=0, " in places
    assert rows(database_url, "SELECT DISTINCT route FROM volume") == [("kernel",)]
    assert state_of(database_url, blake3(closed.image.read_bytes()).hexdigest()).files == whole.files


def test_a_worker_adds_to_its_pack_and_cannot_harm_what_is_in_it(
    machine: Machine, database_url: str, whole: RescueMedium, long: RescueMedium
) -> None:
    assert machine.ingest(whole.image).status == 0
    (pack, *_) = sorted((machine.store / "packs").iterdir())
    before = pack.read_bytes()
    answers = tried(
        machine,
        long,
        "copy pwritev pack",
        "tried(os.ftruncate, pack(), 0)",
        "tried(fcntl.fcntl, pack(), fcntl.F_SETFL, 0)",
        "tried(os.posix_fallocate, pack(), 0, 1 << 20)",
        "tried(os.pwritev, pack(), [b'x'], 0, 0x20)",
        "tried(os.fchmod, pack(), 0o777)",
        "tried(os.pread, pack(), 1, 0)",
    )
    assert [a for a in answers if not a.startswith(("OSError", "PermissionError"))] == []
    assert pack.read_bytes().startswith(before)
    assert broken_promises(database_url, machine) == []


def test_a_worker_that_stored_something_else_than_it_says_is_not_believed(
    machine: Machine, database_url: str, whole: RescueMedium
) -> None:
    answers = tried(machine, whole, "copy fdatasync pack", "os.write(pack(), b'of its own')")
    assert answers == ["10"]
    assert state_of(database_url, whole.image_hash).files == whole.files
    assert broken_promises(database_url, machine) == []
    assert unfinished_business(database_url, machine, whole) == []


def the_victim_failed(machine: Machine, url: str, medium: RescueMedium, *words: str) -> None:
    found = state_of(url, medium.image_hash).files
    assert found.pop(VICTIM).status == "f"
    assert found == {path: file for path, file in medium.files.items() if path != VICTIM}
    ((reason,),) = rows(url, "SELECT reason FROM outcome WHERE status = 'f'")
    assert [word for word in words if word not in reason] == [], reason
    assert broken_promises(url, machine) == []


def test_a_file_that_takes_all_memory_fails_by_name(machine: Machine, database_url: str, whole: RescueMedium) -> None:
    victim = f"file {ino_of(whole.image, VICTIM)}"
    assert machine.ingest(whole.image, Strike(victim, Swell(), nth=0)).status == 1
    the_victim_failed(machine, database_url, whole, "worker_crashed", "MemoryError")


def test_a_file_that_never_comes_to_an_end_is_ended_by_its_processor_time(
    machine: Machine, database_url: str, whole: RescueMedium
) -> None:
    """The seconds without a sign of life, 120, are not what ends it."""
    since = time.monotonic()
    victim = f"file {ino_of(whole.image, VICTIM)}"
    assert machine.ingest(whole.image, Strike(victim, Spin(), nth=0)).status == 1
    assert time.monotonic() - since < 60
    the_victim_failed(machine, database_url, whole, "worker_timeout", "processor time")


@pytest.mark.parametrize("role", INSIDE)
def test_a_worker_ends_when_ntt_is_killed_though_it_changed_its_user(
    role: str, machine: Machine, whole: RescueMedium
) -> None:
    assert machine.ingest(whole.image, Strike(INSIDE[role], KillNtt())).status == -9
    until(lambda: machine.processes() == [], "the worker has ended with NTT")


@pytest.fixture
def common_folder() -> Iterator[Path]:
    """A folder that everybody can get to, which those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="ntt-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.slow
def test_an_ordinary_user_gets_the_same_files_and_the_same_fence(common_folder: Path, whole: RescueMedium) -> None:
    user = pwd.getpwnam("daemon").pw_uid
    secret = common_folder / "secret"
    secret.write_text("theirs")
    os.chown(secret, user, user)
    theirs = replace(whole, image=common_folder / "medium.img")
    shutil.copyfile(whole.image, theirs.image)
    machine = Machine(common_folder / "home", settings={"NTT_WORKERS": "1"}, user=user)
    answers = tried(
        machine,
        theirs,
        "file",
        "os.getresuid()",
        f"open({str(secret)!r}).read()",
        "socket.socket()",
        "os.kill(os.getppid(), 0)",
        "os.fork()",
    )
    assert answers[0] == str((user,) * 3)
    assert [answer for answer in answers[1:] if DENIED[0] not in answer] == []
    assert {path.stat().st_uid for path in machine.store.rglob("*")} == {user}
    packs = (machine.store / "packs").iterdir()
    stored = [name for pack in packs for name in subprocess.check_output(["tar", "-tf", pack], text=True).split()]
    assert sorted(stored) == sorted({file.blob for file in whole.files.values()})
    assert machine.processes() == []


async def test_this_machine_offers_every_layer_of_the_fence() -> None:
    assert await missing_layers() == ()


def test_without_the_filter_the_rest_of_the_fence_stands_and_it_is_said() -> None:
    """The library is hidden from this one process tree."""
    known = subprocess.run(["/sbin/ldconfig", "-p"], check=True, capture_output=True, text=True).stdout
    (library, *_) = [line.split("=> ")[1] for line in known.splitlines() if "libseccomp.so.2 " in line]
    say = "import anyio; from ntt.fence import missing_layers as m; print(*anyio.run(m), sep='\\n')"
    script = 'mount --bind /dev/null "$1" && exec "$2" -c "$3"'
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", os.path.realpath(library), sys.executable, say]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["workers may make any system call: libseccomp2 is not installed"]
