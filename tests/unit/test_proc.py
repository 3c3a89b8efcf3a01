"""Other programs: asked before they are killed, never left behind, never waited for without end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from ntt import proc
from ntt.proc import OUTPUT_LIMIT_BYTES, Finished, ProgramMissing, run, running

# Says "ready" once it can be asked to stop, and writes a line when it is.
STOPS_WHEN_ASKED = """
import pathlib, signal, sys
def stop(number, frame):
    pathlib.Path(sys.argv[1]).write_text("asked")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
signal.pause()
"""

STOPS_NEVER = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True:
    time.sleep(60)
"""


def alive(pid: int) -> bool:
    """Whether the process still runs; one that only waits to be collected by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def first_line(child: proc.Child) -> bytes:
    assert child.process.stdout is not None
    return await child.process.stdout.receive()


async def test_a_program_is_run_to_its_end_and_heard() -> None:
    finished = await run(["sh", "-c", "cat; echo complaint >&2; exit 3"], input_bytes=b"input")
    assert finished == Finished(("sh", "-c", "cat; echo complaint >&2; exit 3"), 3, b"input", b"complaint\n")
    assert finished.complaint == "complaint"
    assert (await run(["false"])).complaint == "false ended with status 1"


async def test_the_arguments_reach_the_program_without_a_shell() -> None:
    assert (await run(["printf", "%s|", "a b", "$HOME", "*", ""])).stdout == b"a b|$HOME|*||"


async def test_environment_folder_and_descriptors_are_those_given(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"through the pipe\n")
    os.close(writing)
    script = f"pwd; echo $COLOUR; cat /dev/fd/{reading}"
    try:
        finished = await run(
            ["sh", "-c", script], env={"PATH": "/usr/bin:/bin", "COLOUR": "red"}, cwd=str(tmp_path), pass_fds=(reading,)
        )
    finally:
        os.close(reading)
    assert finished.stdout.decode().splitlines() == [str(tmp_path), "red", "through the pipe"]


async def test_a_cancelled_program_is_asked_to_stop_before_it_is_killed(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with anyio.CancelScope() as scope:
        async with running([sys.executable, "-c", STOPS_WHEN_ASKED, str(mark)], stdout=subprocess.PIPE) as child:
            await first_line(child)
            scope.cancel()
            await anyio.sleep_forever()
    assert mark.read_text() == "asked"
    assert child.process.returncode == 0


async def test_a_program_that_does_not_stop_is_killed_after_its_grace() -> None:
    with anyio.fail_after(20):
        async with running([sys.executable, "-c", STOPS_NEVER], stdout=subprocess.PIPE, grace_s=0.1) as child:
            await first_line(child)
    assert child.process.returncode == -signal.SIGKILL


async def test_all_that_a_program_started_ends_with_it() -> None:
    script = "sleep 600 & echo $!; wait"
    async with running(["sh", "-c", script], stdout=subprocess.PIPE) as child:
        grandchild = int(await first_line(child))
        assert os.getsid(grandchild) == child.pid
    await until(lambda: not alive(grandchild))
    assert not alive(child.pid)


async def test_a_failing_body_ends_the_program_too() -> None:
    with pytest.raises(ZeroDivisionError):
        async with running(["sleep", "600"]) as child:
            raise ZeroDivisionError
    assert child.process.returncode == -signal.SIGTERM


PARENT = """
import anyio, sys
from ntt.proc import running

async def main() -> None:
    async with running(["sleep", "600"], bound=sys.argv[1] == "bound") as child:
        print(child.pid, flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


async def test_a_bound_program_dies_when_ntt_is_killed_and_another_lives_on() -> None:
    lives = {}
    for way in ("bound", "free"):
        async with running([sys.executable, "-c", PARENT, way], stdout=subprocess.PIPE) as parent:
            pid = int(await first_line(parent))
            # the program in the place of what prepares it: only then the kernel has been told
            await until(lambda pid=pid: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
            os.kill(parent.pid, signal.SIGKILL)
            await parent.wait()
        if way == "bound":
            await until(lambda pid=pid: not alive(pid))
        lives[way] = alive(pid)
    os.kill(pid, signal.SIGKILL)
    assert lives == {"bound": False, "free": True}


async def test_output_beyond_the_limit_is_read_and_dropped() -> None:
    finished = await run(["head", "-c", str(3 * OUTPUT_LIMIT_BYTES), "/dev/zero"])
    assert finished.status == 0
    assert len(finished.stdout) == OUTPUT_LIMIT_BYTES


async def test_a_program_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(TimeoutError):
        await run(["sleep", "600"], timeout_s=0.2)


@pytest.mark.parametrize("bound", [True, False])
async def test_a_missing_program_is_named(bound: bool) -> None:
    with pytest.raises(ProgramMissing, match="no-such-program is not installed; `ntt doctor`"):
        await run(["no-such-program"], bound=bound)


async def test_a_program_that_does_not_read_its_input_is_no_error() -> None:
    assert (await run(["true"], input_bytes=bytes(1 << 20))).status == 0
