"""Mount sessions side by side, killed, and with drivers that hang: afterwards there is nothing left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic

import anyio
import msgspec
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from media_images import noise, written
from mounting import (
    LIMITS,
    Told,
    helpers_of,
    left_of,
    made_image,
    pure_udf,
    seen_below,
    session_of,
    sha256,
    until_nothing_is_left_of,
)

from ntt.errors import MediumError
from ntt.model import Route
from ntt.mounts.drivers import Driver
from ntt.mounts.session import Mounted, MountLimits
from ntt.proc import running

HERE = Path(__file__).resolve().parents[1]
KERNEL = (Route.KERNEL,)
SESSIONS = 20

HANGS = """#!{python}
import stat, sys, threading
import mfusepy

class Hangs(mfusepy.Operations):
    use_ns = True

    def wait(self):
        threading.Event().wait()

    def getattr(self, path, fh=None):
        if "{where}" == "root":
            self.wait()
        if path == "/":
            return {{"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}}
        return {{"st_mode": stat.S_IFREG | 0o644, "st_nlink": 1, "st_size": 4096}}

    def readdir(self, path, fh):
        return [".", "..", "file"]

    def read(self, path, size, offset, fh):
        self.wait()

mfusepy.FUSE(Hangs(), sys.argv[2], foreground=True, allow_other=True)
"""


READS = """
import os, sys
fd = os.open("file", os.O_RDONLY, dir_fd=int(sys.argv[1]))
os.write(1, b"reading\\n")
try:
    os.read(fd, 1)
except OSError:
    os.write(1, b"failed\\n")
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("image")
    tree = written(folder / "tree", {f"file {number}": noise(3000, number) for number in range(50)})
    return made_image("xfs", folder / "image", tree)


def hanging(folder: Path, where: str) -> Driver:
    """A driver for a made-up type that answers nothing (`root`), or everything but what is in files (`read`)."""
    program = folder / f"hangs in {where}"
    program.write_text(HANGS.format(python=sys.executable, where=where))
    program.chmod(0o755)
    return Driver((str(program),), "none", frozenset(("made-up",)), argv=("{source}", "{target}"))


async def test_f012_twenty_sessions_two_of_them_killed_leave_nothing(image: Path, tmp_path: Path) -> None:
    before = sha256(image)
    here, go_on = [anyio.Event() for _ in range(SESSIONS)], anyio.Event()
    read = [0] * SESSIONS

    async def work(number: int) -> None:
        folder = tmp_path / f"work {number}"
        async with session_of(image, "xfs", KERNEL, folder) as (session, volume):
            read[number] = len(seen_below(session.mounted[1], volume).contents)
            here[number].set()
            await go_on.wait()
            if number < 2:
                (helper,) = helpers_of(folder)
                os.kill(helper, signal.SIGKILL)
                broken = await session.reopen(1)
                assert broken == session.refused[1]
                assert broken.tried[0].startswith("mount helper: ")
                again = await session.reopen(1)
                assert isinstance(again, Mounted)
            read[number] += len(seen_below(session.mounted[1], volume).contents)

    async with anyio.create_task_group() as sessions:
        for number in range(SESSIONS):
            sessions.start_soon(work, number)
        for event in here:
            await event.wait()
        assert len([left for left in left_of(tmp_path) if left.startswith("folder")]) == SESSIONS
        assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
        go_on.set()
    assert read == [100] * SESSIONS
    await until_nothing_is_left_of(tmp_path)
    await until_nothing_is_left_of(image.parent)
    assert sha256(image) == before


@pytest.mark.parametrize(("fstype", "routes"), [("xfs", "kernel"), ("xfs", "fuse"), ("udf", "7z")])
@pytest.mark.parametrize("killed", ["NTT", "NTT and its helper"])
async def test_when_ntt_is_killed_nothing_lives_on(
    fstype: str, routes: str, killed: str, image: Path, tmp_path: Path
) -> None:
    if fstype == "udf":
        image = pure_udf(tmp_path / "udf", written(tmp_path / "tree", {"file": noise(9000)}))
    work = tmp_path / "work"
    argv = [sys.executable, str(HERE / "mounting.py"), str(image), fstype, routes, str(work), "0", "hold"]
    async with running(argv, stdout=subprocess.PIPE, bound=False) as ntt:
        assert ntt.process.stdout is not None
        line = await BufferedByteReceiveStream(ntt.process.stdout).receive_until(b"\n", 1 << 20)
        assert msgspec.json.decode(line, type=Told).how != ""
        (helper,) = helpers_of(work)
        for victim in [ntt.pid] if killed == "NTT" else [helper, ntt.pid]:
            os.kill(victim, signal.SIGKILL)
    if killed == "NTT and its helper":  # nobody was left to remove the folder: the next session does
        async with session_of(image, fstype, tuple(Route(route) for route in routes.split(",")), work):
            pass
    await until_nothing_is_left_of(work)


async def test_when_ntt_is_killed_while_a_driver_hangs_nothing_lives_on(image: Path, tmp_path: Path) -> None:
    driver = hanging(tmp_path, "root").programs[0]
    work = tmp_path / "work"
    argv = [sys.executable, str(HERE / "mounting.py"), str(image), "made-up", "fuse", str(work), "0", "hold", driver]
    async with running(argv, bound=False) as ntt:
        with anyio.fail_after(20):
            while not any(left.startswith("mount") for left in left_of(work)):
                await anyio.lowlevel.checkpoint()
        os.kill(ntt.pid, signal.SIGKILL)
    await until_nothing_is_left_of(work)


async def test_a_cancelled_session_leaves_nothing(image: Path, tmp_path: Path) -> None:
    with anyio.CancelScope() as scope:
        async with session_of(image, "xfs", KERNEL, tmp_path):
            scope.cancel()
            await anyio.sleep_forever()
    await until_nothing_is_left_of(tmp_path)


async def test_f020_a_driver_that_never_answers_is_given_up(image: Path, tmp_path: Path) -> None:
    driver = hanging(tmp_path, "root")
    limits = MountLimits(attempt_s=2)
    began = monotonic()
    async with session_of(image, "made-up", (Route.FUSE,), tmp_path / "work", limits=limits, drivers=[driver]) as (
        session,
        _,
    ):
        assert session.refused[1].tried == (f"fuse {driver.programs[0]}: no answer within 2 s",)
    assert monotonic() - began < 10
    await until_nothing_is_left_of(tmp_path / "work")


async def test_a_driver_that_hangs_while_a_file_is_read_does_not_hold_up_the_end(image: Path, tmp_path: Path) -> None:
    driver = hanging(tmp_path, "read")
    async with session_of(image, "made-up", (Route.FUSE,), tmp_path / "work", drivers=[driver]) as (session, _):
        root_fd = session.mounted[1].root_fd
        argv = [sys.executable, "-c", READS, str(root_fd)]
        reader = await anyio.open_process(argv, stdout=subprocess.PIPE, pass_fds=[root_fd])
        assert reader.stdout is not None
        assert await reader.stdout.receive() == b"reading\n"
        began = monotonic()
    assert monotonic() - began < LIMITS.grace_s
    assert await reader.stdout.receive() == b"failed\n"
    assert await reader.wait() == 0
    await reader.aclose()
    await until_nothing_is_left_of(tmp_path / "work")


async def test_a_work_folder_that_cannot_be_written_to_is_said(image: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MediumError, match="nothing can be mounted"):
        async with session_of(image, "xfs", KERNEL, tmp_path / "work") as (session, _):
            (tmp_path / "work").rename(tmp_path / "gone")
            await session.close_helper()
            await session.reopen(1)
