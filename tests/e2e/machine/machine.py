"""A machine of its own for each test: restored in seconds, with drives, discs, sticks and a power cable."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from enum import Enum
from pathlib import Path
from signal import Signals

from machine.bell import LIMIT_S, MachineError
from machine.emulator import IDE_DRIVE, SCSI_DRIVE, Emulator, emulator
from machine.host import run
from machine.lines import Json
from machine.link import Finished, Program
from machine.media import Medium, block_nodes, limits
from machine.parts import Parts
from machine.snapshot import restore
from machine.terminal import Terminal, open_terminal
from machine.uevents import UEvent, UEvents

HOME = "/root/ntt"


class Drive(Enum):
    """The optical drives that are always there, by serial number; which of them is sr0 is the kernel's affair."""

    IDE = IDE_DRIVE
    SCSI = SCSI_DRIVE

    @property
    def device(self) -> str:
        """A path in the machine."""
        return f"/dev/disk/by-id/{'ata-QEMU_DVD-ROM_' if self is Drive.IDE else 'scsi-0QEMU_QEMU_CD-ROM_'}{self.value}"


class Machine:
    """A machine that runs. Every wait ends within 60 s unless a limit is given, by MachineError."""

    def __init__(self, parts: Parts, folder: Path) -> None:
        self._parts, self._folder = parts, folder
        self._emulator: Emulator | None = None
        self._stack = AsyncExitStack()
        self._names = itertools.count(1)
        self._inside: dict[Drive, str] = {}
        self._marks: dict[Drive, int] = {}
        self._disks: dict[str, Medium] = {}

    @classmethod
    @asynccontextmanager
    async def restored(cls, parts: Parts, folder: Path) -> AsyncIterator[Machine]:
        """A machine that has just booted, its clock right, its drives empty and closed; it has ended on leaving.

        `folder` takes what QEMU and the console say.
        """
        machine = cls(parts, folder)
        try:
            await machine.power_on()
            yield machine
        finally:
            await machine.power_cut()

    # ---------------------------------------------------------------- power

    async def power_on(self) -> None:
        """As after a start from nothing: only disks that are plugged in remember anything, and they are there."""
        self._emulator = await self._stack.enter_async_context(
            emulator(self._parts.system, self._folder, ("-S", "-incoming", "defer"))
        )
        await restore(self._emulator, self._parts.state)
        await self.succeeds("date", "-u", "-s", f"@{time.time():.3f}")
        disks, self._disks = self._disks, {}
        for serial, medium in disks.items():
            await self.plug_disk(medium, serial)

    async def power_cut(self) -> None:
        """At once, whatever it is at. What it wrote to disks and did not sync is mostly lost. May be repeated."""
        await self._stack.aclose()
        self._emulator = None
        self._inside.clear()
        self._marks.clear()

    @property
    def _running(self) -> Emulator:
        if self._emulator is None:
            raise MachineError("the machine has no power")
        return self._emulator

    @property
    def process_id(self) -> int:
        """QEMU's, on this host."""
        return self._running.process.pid

    @property
    def processor_s(self) -> float:
        """What it has computed so far: tells how long something takes however busy this host is with others."""
        fields = Path(f"/proc/{self.process_id}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # ---------------------------------------------------------------- programs

    async def start(self, *argv: str) -> Program:
        """A program as root; its output can be read as it comes."""
        return await self._running.link.start(argv)

    async def terminal(self, *argv: str, rows: int = 24, columns: int = 80) -> Terminal:
        return await open_terminal(self._running.link, argv, rows, columns)

    async def run(self, *argv: str, stdin: bytes = b"", limit_s: float = LIMIT_S) -> Finished:
        """A program as root, to its end."""
        program = await self.start(*argv)
        if stdin:
            await program.send(stdin)
        await program.end_input()
        return await program.wait(limit_s)

    async def succeeds(self, *argv: str, stdin: bytes = b"", limit_s: float = LIMIT_S) -> str:
        """Its standard output; MachineError with what it said unless its status is 0."""
        done = await self.run(*argv, stdin=stdin, limit_s=limit_s)
        if done.status != 0:
            raise MachineError(f"{' '.join(argv)} ended with {done.status}: {done.stderr}{done.stdout}")
        return done.stdout

    async def write_file(self, path: str, data: bytes) -> None:
        await self.succeeds("sh", "-c", 'cat >"$1"', "sh", path, stdin=data)

    async def read_file(self, path: str) -> bytes:
        program = await self.start("cat", path)
        done = await program.wait()
        if done.status != 0:
            raise MachineError(done.stderr)
        return bytes(program.stdout)

    async def install_project(self) -> None:
        """`ntt` can be run as in this repository's virtual environment; `HOME` is a home whose database is made."""
        project = self._parts.project
        for name, image in (("runtime", project.runtime), ("sources", project.sources)):
            place = f"/media/{name}"
            device = await self.plug_disk(Medium(image), name)
            await self.succeeds("mkdir", "-p", place)
            await self.succeeds("mount", "-o", "ro", device, place)
            await self.succeeds("sh", f"{place}/appear.sh", place)
        await self.succeeds("ln", "-s", f"{sys.prefix}/bin/ntt", "/usr/local/bin/ntt")
        await self.succeeds("mkdir", HOME)
        await self.succeeds("tar", "-C", HOME, "-xpf", "/media/sources/home.tar")

    # ---------------------------------------------------------------- events

    @asynccontextmanager
    async def uevents(self, subsystem: str = "block") -> AsyncIterator[UEvents]:
        """What udev tells its listeners from now on."""
        program = await self.start("udevadm", "monitor", "--udev", "--property", f"--subsystem-match={subsystem}")
        events = UEvents(program)
        await events.listening()
        yield events
        await program.signal(Signals.SIGTERM)

    async def poll_media(self, every_ms: int) -> None:
        """How often the kernel asks drives for new discs; 0 is never. Debian's udev sets 2000."""
        await self.write_file("/sys/module/block/parameters/events_dfl_poll_msecs", f"{every_ms}".encode())

    # ---------------------------------------------------------------- discs

    async def insert(self, drive: Drive, medium: Medium) -> None:
        """The tray comes out if it is in, takes the disc, and goes in."""
        await self._open(drive)
        name = await self._add_medium(medium)
        await self._monitor_do("blockdev-insert-medium", id=drive.value, **{"node-name": name})
        self._inside[drive] = name
        await self.close_tray(drive)

    async def load(self, drive: Drive, medium: Medium) -> UEvent:
        """Inserted; returns udev's first event about the disc. Only while the kernel polls for discs.

        A second one often follows, and neither need name the file system: udev may have looked too early.
        """
        device = (await self.succeeds("readlink", "-f", drive.device)).strip()
        async with self.uevents() as events:
            await self.insert(drive, medium)
            return await events.one(
                lambda event: event.devname == device and event.properties.get("ID_CDROM_MEDIA") == "1",
                f"the disc in {device}",
            )

    async def close_tray(self, drive: Drive) -> None:
        """With whatever lies in it."""
        await self._monitor_do("blockdev-close-tray", id=drive.value)
        self._marks[drive] = len(self._running.monitor.events)

    async def eject_button(self, drive: Drive) -> None:
        """Pressed: a drive that the machine has locked only tells the machine."""
        await self._monitor_do("blockdev-open-tray", id=drive.value, force=False)

    async def yank(self, drive: Drive) -> None:
        """The tray is forced out, locked or not, and the disc is taken."""
        await self._open(drive)

    async def tray_opened(self, drive: Drive, limit_s: float = LIMIT_S) -> None:
        """Returns once the tray has come out since it last went in, by whoever."""
        monitor = self._running.monitor
        await monitor.event(
            "DEVICE_TRAY_MOVED",
            self._marks.get(drive, 0),
            lambda data: data["id"] == drive.value and data["tray-open"] is True,
            limit_s,
        )

    def tray_is_out(self, drive: Drive) -> bool:
        """As of the last event."""
        moves = [event for event in self._running.monitor.events if event.data.get("id") == drive.value]
        return bool(moves) and moves[-1].data["tray-open"] is True

    async def _open(self, drive: Drive) -> None:
        await self._monitor_do("blockdev-open-tray", id=drive.value, force=True)
        if name := self._inside.pop(drive, ""):
            await self._monitor_do("blockdev-remove-medium", id=drive.value)
            await self._remove_medium(name)

    async def slow(self, what: Drive | str, bytes_per_s: int | None) -> None:
        """Changes how fast the disc in a drive, or the stick or disk of this serial number, is read from now on."""
        name = self._inside[what] if isinstance(what, Drive) else f"disk-{what}"
        await self._monitor_do("qom-set", path=f"/objects/{name}-speed", property="limits", value=limits(bytes_per_s))

    # ---------------------------------------------------------------- sticks and disks

    async def plug_usb(self, medium: Medium, serial: str) -> str:
        """A stick is put in; returns its device in the machine, once udev has named it."""
        name = await self._add_medium(medium, f"disk-{serial}")
        await self._monitor_do(
            "device_add",
            driver="usb-storage",
            bus="usb.0",
            drive=name,
            id=f"usb-{serial}",
            serial=serial,
            removable=True,
        )
        device = f"/dev/disk/by-id/usb-QEMU_QEMU_HARDDISK_{serial}-0:0"
        await self.appears(device)
        return device

    async def pull_usb(self, serial: str) -> None:
        """Pulled out, whatever is read from it; QEMU is done with it on return."""
        mark = len(self._running.monitor.events)
        await self._monitor_do("device_del", id=f"usb-{serial}")
        await self._running.monitor.event("DEVICE_DELETED", mark, lambda data: data.get("device") == f"usb-{serial}")
        await self._remove_medium(f"disk-{serial}")

    async def plug_disk(self, medium: Medium, serial: str) -> str:
        """A disk that stays plugged in over power cuts; returns its device in the machine."""
        name = await self._add_medium(medium, f"disk-{serial}")
        await self._monitor_do(
            "device_add", driver="scsi-hd", bus="scsi.0", drive=name, id=f"hd-{serial}", serial=serial
        )
        self._disks[serial] = medium
        await self.appears(disk_device(serial))
        return disk_device(serial)

    async def copy_disk(self, serial: str, target: Path) -> None:
        """What a power cut at this moment would leave of a disk: the machine stands still while it is copied."""
        await self._monitor_do("stop")
        try:
            await asyncio.to_thread(run, "cp", "--sparse=always", self._disks[serial].image, target)
        finally:
            await self._monitor_do("cont")

    async def appears(self, path: str, limit_s: float = LIMIT_S) -> None:
        """Returns once udev has made this path."""
        waiting = f"--timeout={int(limit_s)}"
        await self.succeeds("udevadm", "wait", waiting, path, limit_s=limit_s + 5)

    async def vanishes(self, path: str, limit_s: float = LIMIT_S) -> None:
        """Returns once udev has removed this path."""
        waiting = f"--timeout={int(limit_s)}"
        await self.succeeds("udevadm", "wait", "--removed", waiting, path, limit_s=limit_s + 5)

    # ---------------------------------------------------------------- QEMU

    async def _add_medium(self, medium: Medium, name: str = "") -> str:
        name = name or f"medium-{next(self._names)}"
        await self._monitor_do(
            "object-add", **{"qom-type": "throttle-group"}, id=f"{name}-speed", limits=limits(medium.bytes_per_s)
        )
        await self._running.monitor.do("blockdev-add", block_nodes(medium, name))
        return name

    async def _remove_medium(self, name: str) -> None:
        await self._monitor_do("blockdev-del", **{"node-name": name})
        await self._monitor_do("object-del", id=f"{name}-speed")

    async def _monitor_do(self, command: str, **given: Json) -> object:
        return await self._running.monitor.do(command, given)


def disk_device(serial: str) -> str:
    """The device in the machine of a plugged disk."""
    return f"/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_{serial}"
