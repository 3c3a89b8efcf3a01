"""System -> the state of a machine that has booted, in the cache: booted once, restored in seconds."""

from __future__ import annotations

import asyncio
import shlex
import tempfile
from pathlib import Path

from machine.bell import MachineError
from machine.cache import cached, key_of
from machine.emulator import BOOT_LIMIT_S, Emulator, arguments, emulator
from machine.host import run
from machine.monitor import Monitor
from machine.system import System


def snapshot(system: System) -> Path:
    """The saved state, made if need be: 30 s. Only QEMU of this version takes it, with these arguments.

    May not be called from within an event loop.
    """
    version = run("qemu-system-x86_64", "--version")
    words = " ".join(arguments(system, Path("console"), 0, 0))
    return cached("booted", key_of(version, words), lambda folder, _: asyncio.run(_boot(system, folder))) / "state.zst"


async def _boot(system: System, folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ntt-boot-") as sockets:
        async with emulator(system, Path(sockets)) as machine:
            await machine.link.bell.until(lambda: machine.link.ready or None, "the machine to boot", BOOT_LIMIT_S)
            await migrated(machine.monitor, "migrate", f"exec:zstd -q -1 > {shlex.quote(str(folder / 'state.zst'))}")


async def restore(machine: Emulator, state: Path) -> None:
    """The machine was started with `-incoming defer`; on return it runs as it did when it was saved."""
    await migrated(machine.monitor, "migrate-incoming", f"exec:zstd -q -dc {shlex.quote(str(state))}")
    await machine.monitor.do("cont")


async def migrated(monitor: Monitor, command: str, uri: str) -> None:
    """Runs a migration to its end; MachineError when it fails."""
    mark = len(monitor.events)
    await monitor.do("migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": True}]})
    await monitor.do(command, {"uri": uri})
    done = await monitor.event("MIGRATION", mark, lambda data: data["status"] in ("completed", "failed"))
    if done.data["status"] == "failed":
        raise MachineError(f"{command} failed: {uri}")
