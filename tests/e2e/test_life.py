"""The test machine's own life: no process outlives its test, no half-made part is ever used."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

import pytest
from machine import Machine, MachineError
from machine.cache import cached
from machine.host import BuildError, require_programs
from machine.parts import Parts

pytestmark = pytest.mark.e2e

RUNS_UNTIL_KILLED = """
import asyncio, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs the tests may have it ignored
from pathlib import Path
from machine import Machine
from machine.parts import made_parts
parts = made_parts()
async def main():
    async with Machine.restored(parts, Path(sys.argv[1])) as machine:
        print(machine.process_id, flush=True)
        await machine.run("sleep", "1000", limit_s=1000)
asyncio.run(main())
"""


def has_ended(pid_fd: int) -> bool:
    """Waits for it, at most a minute."""
    ready, _, _ = select.select([pid_fd], [], [], 60)
    return bool(ready)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_machine_ends_with_the_process_that_started_it(
    machine_parts: Parts, tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-c", RUNS_UNTIL_KILLED, str(tmp_path / "machine")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as owner:
        assert owner.stdout is not None
        machine = os.pidfd_open(int(owner.stdout.readline()))
        try:
            owner.send_signal(number)
            assert has_ended(machine)
        finally:
            os.close(machine)
        owner.wait(60)


@pytest.mark.slow
async def test_a_machine_that_is_not_restored_leaves_no_process(machine_parts: Parts, tmp_path: Path) -> None:
    broken = tmp_path / "state.zst"
    broken.write_bytes(machine_parts.state.read_bytes()[:100_000])
    parts = Parts(machine_parts.system, broken, machine_parts.project)
    with pytest.raises(MachineError):
        async with Machine.restored(parts, tmp_path / "machine"):
            pass
    mark = os.fsencode(tmp_path / "machine")
    commands = [path for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert not any(mark in content_of(path) for path in commands)


def content_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.slow
async def test_a_machine_ended_from_outside_ends_every_wait(machine: Machine) -> None:
    program = await machine.start("sleep", "1000")
    os.kill(machine.process_id, signal.SIGKILL)
    with pytest.raises(MachineError, match="the machine ended"):
        await program.wait()


# ---------------------------------------------------------------- the cache


def fail_half_way(folder: Path, lock: int) -> None:
    (folder / "half").write_bytes(b"half")
    raise KeyboardInterrupt


def build_slowly(folder: Path, lock: int) -> None:
    """Leaves a line for each build that was begun."""
    with (folder.parent / "begun").open("a") as file:
        file.write("begun\n")
    (folder / "part").write_bytes(bytes(50_000_000))


def take_part() -> None:
    assert (cached("part", "key", build_slowly) / "part").stat().st_size == 50_000_000


def test_an_interrupted_build_leaves_nothing_that_is_taken_for_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NTT_TEST_MACHINE", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        cached("part", "key", fail_half_way)
    assert [path.name for path in tmp_path.iterdir()] == ["part.lock"]
    (tmp_path / "part-key.new").mkdir()  # as SIGKILL leaves it
    (tmp_path / "part-key.new" / "half").touch()
    take_part()
    assert [path.name for path in (tmp_path / "part-key").iterdir()] == ["part"]


def test_of_builders_at_the_same_time_one_builds_and_the_others_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NTT_TEST_MACHINE", str(tmp_path))
    builders = [get_context("spawn").Process(target=take_part) for _ in range(3)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join(60)
    assert [builder.exitcode for builder in builders] == [0, 0, 0]
    assert (tmp_path / "begun").read_text() == "begun\n"


def test_what_is_missing_on_this_host_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError) as caught:
        require_programs()
    assert "\n" not in str(caught.value)
    assert "apt-get install --no-install-recommends qemu-system-x86 mmdebstrap" in str(caught.value)
