"""One QEMU process: started with a system, and always ended."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from machine.bell import MachineError
from machine.host import ENDS_WITH_US
from machine.link import Link
from machine.monitor import Monitor
from machine.recipe import MEMORY_MIB, PROCESSORS
from machine.system import System

IDE_DRIVE, SCSI_DRIVE = "NTT-IDE-1", "NTT-SCSI-1"
PORT_NAME = "test-machine"
BOOT_LIMIT_S = 240


@dataclass(slots=True)
class Emulator:
    """A machine that runs, its monitor and its agent."""

    process: asyncio.subprocess.Process
    monitor: Monitor
    link: Link
    console: Path

    async def end(self) -> None:
        """As if its power failed; it has ended on return."""
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


def arguments(system: System, console: Path, monitor_fd: int, agent_fd: int) -> list[str]:
    """All that a snapshot and the machine restored from it must agree on; the descriptors are connected sockets."""
    return [
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        # a /dev/kvm that opens may still not work
        "-accel", "tcg,thread=multi", "-cpu", "max", "-M", "q35", "-m", str(MEMORY_MIB), "-smp", str(PROCESSORS),
        "-kernel", str(system.kernel), "-initrd", str(system.initrd),
        "-append", "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on",
        "-blockdev", f"driver=raw,node-name=root,read-only=on,file.driver=file,file.filename={system.root}",
        "-device", "virtio-blk-pci,drive=root",
        "-serial", f"file:{console}",
        "-chardev", f"socket,id=monitor,fd={monitor_fd}", "-mon", "chardev=monitor,mode=control",
        "-device", "virtio-serial-pci", "-chardev", f"socket,id=agent,fd={agent_fd}",
        "-device", f"virtserialport,chardev=agent,name={PORT_NAME}",
        "-device", "virtio-rng-pci",
        "-device", f"ide-cd,id={IDE_DRIVE},serial={IDE_DRIVE},bus=ide.0",
        "-device", "virtio-scsi-pci,id=scsi",
        "-device", f"scsi-cd,id={SCSI_DRIVE},serial={SCSI_DRIVE},bus=scsi.0",
        "-device", "qemu-xhci,id=usb",
    ]  # fmt: skip


@asynccontextmanager
async def emulator(system: System, folder: Path, more: Sequence[str] = ()) -> AsyncIterator[Emulator]:
    """A QEMU with its monitor and agent port connected; it has ended on leaving, however that is left.

    `folder` takes the console and QEMU's own words. MachineError holds those when it does not start.
    """
    said, console = folder / "qemu", folder / "console"
    folder.mkdir(parents=True, exist_ok=True)
    own, theirs = zip(socket.socketpair(), socket.socketpair(), strict=True)
    with ExitStack() as sides:
        for side in own:
            sides.enter_context(side)
        with ExitStack() as given:
            for side in theirs:
                given.enter_context(side)
            process = await _started(system, console, said, [side.fileno() for side in theirs], more)
        machine = Emulator(process, Monitor(), Link(), console)
        try:
            try:
                await machine.link.connect(own[1])
                await machine.monitor.connect(own[0])
            except MachineError as error:
                words = said.read_text(errors="replace")[-2000:]
                raise MachineError(f"QEMU does not start ({error}): {words}") from None
            yield machine
        except MachineError as error:
            error.add_note(f"the console's end: {console.read_text(errors='replace')[-3000:]}")
            raise
        finally:
            await machine.end()
            await machine.monitor.close()
            await machine.link.close()


async def _started(
    system: System, console: Path, said: Path, sides: Sequence[int], more: Sequence[str]
) -> asyncio.subprocess.Process:
    with said.open("wb") as log:
        # a session of its own: Ctrl-C is for us, who then end it
        return await asyncio.create_subprocess_exec(
            *ENDS_WITH_US,
            "qemu-system-x86_64",
            *arguments(system, console, sides[0], sides[1]),
            *more,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=sides,
            start_new_session=True,
        )
