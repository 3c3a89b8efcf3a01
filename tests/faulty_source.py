"""An image and a plan of faults -> a file that fails, heals, slows down and vanishes as an old medium does.

`faulty_file.py` serves it by FUSE in a process of its own; no read is answered from a cache. Its clock is its own: a
bad read adds to it what the plan says and takes no time.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket

import msgspec

Ranges = tuple[tuple[int, int], ...]
SERVER = Path(__file__).with_name("faulty_file.py")
FILE_NAME = "medium"
SOCKET_NAME = "control"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What fails. Ranges are bytes, end exclusive.

    A read that touches a byte of `bad` gives EIO as a whole. `heals`: (start, end, times); each of its sectors spoils
    that many reads and is good from then on. `bad_read_s`: what a bad read takes on the plan's clock.
    `bytes_per_s`: reads take as long as this says, in real time; 0: no limit.
    The medium goes when a read would bring what was read over `vanish_after_bytes`, or touches byte `vanish_at`, and
    stays away until `return` is commanded, then for good. `gone`: what reads and opens give until then: the name of an
    errno ("EIO", "ENXIO", "ENODEV", "ENOMEDIUM"); "removed": ENODEV, and the file is not there either; "hang": nothing,
    even if the reader is killed, as a stuck drive does; "hang_until_killed".
    """

    bad: Ranges = ()
    heals: tuple[tuple[int, int, int], ...] = ()
    sector_bytes: int = 512
    bad_read_s: float = 0.0
    bytes_per_s: int = 0
    vanish_after_bytes: int | None = None
    vanish_at: int | None = None
    gone: str = "EIO"


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """What happened until now. `reads` arrived; `bad_reads` of them hit bad bytes, `gone_reads` no medium.

    `read_once`: bytes that were handed out at least once, `read_twice`: more often than once. `waiting`: reads and
    opens that hang.
    """

    opens: int
    reads: int
    bytes_read: int
    bad_reads: int
    gone_reads: int
    clock_s: float
    is_gone: bool
    waiting: int
    read_once: Ranges
    read_twice: Ranges


class Read(msgspec.Struct, frozen=True, array_like=True):
    """One read that arrived; `outcome` is "read", "bad" or "gone"."""

    offset: int
    size: int
    outcome: str


class FaultySource:
    """The served file at `path`, and its other side."""

    def __init__(self, path: Path, control: Path) -> None:
        self.path = path
        self._control = control

    def command(self, command: str, **fields: int | float | str) -> bytes:
        """Sends one command and gives the answer, JSON. Commands: those of `Served.obey`."""
        with socket(AF_UNIX, SOCK_STREAM) as connection:
            connection.connect(str(self._control))
            connection.sendall(msgspec.json.encode({"command": command, **fields}) + b"\n")
            with connection.makefile("rb") as answers:
                answer = answers.readline()
        if not answer:
            raise RuntimeError(f"the source did not take {command}: {fields}")
        return answer

    def counters(self) -> Counters:
        return msgspec.json.decode(self.command("counters"), type=Counters)

    def reads(self) -> list[Read]:
        """Every read, in the order in which they arrived."""
        return msgspec.json.decode(self.command("reads"), type=list[Read])

    def wait_for(self, field: str, at_least: int, timeout_s: float = 60) -> Counters:
        """Returns once a number of the counters is large enough; `TimeoutError` when it never is."""
        answer = self.command("wait", field=field, at_least=at_least, timeout_s=timeout_s)
        if answer == b"null\n":
            raise TimeoutError(f"{field} did not come to {at_least}: {self.counters()}")
        return msgspec.json.decode(answer, type=Counters)


@contextmanager
def faulty_source(image: Path, plan: Plan, folder: Path) -> Iterator[FaultySource]:
    """Serves `image` below `folder`, which is made; nothing is left mounted or running afterwards."""
    mount = folder / "mount"
    mount.mkdir(parents=True)
    (folder / "plan").write_bytes(msgspec.json.encode(plan))
    argv = [sys.executable, SERVER, image, mount, folder / SOCKET_NAME, folder / "plan"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            source = FaultySource(mount / FILE_NAME, folder / SOCKET_NAME)
            try:
                yield source
            finally:
                source.command("release")
                unmounted(mount)
        except BaseException:
            if server.poll() is None and not mount.is_mount():
                server.kill()
            raise
        try:
            assert server.wait(30) == 0
        except subprocess.TimeoutExpired:
            server.kill()  # a mount namespace that another program made meanwhile holds a copy of the mount


def unmounted(mount: Path) -> None:
    """A reader that was stuck may still be closing the file: then it is detached."""
    if subprocess.run(["fusermount3", "-u", mount], capture_output=True).returncode:
        subprocess.run(["fusermount3", "-u", "-z", mount], check=True)
