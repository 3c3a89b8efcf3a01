"""The kernel's announcements about disks, by way of udev where it runs, as they come: on the event loop, no thread.

An announcement is only a hint to look: some are lost, some come twice. Sources: udev(7), libudev's
udev_monitor_new_from_netlink(3); DISK_MEDIA_CHANGE and DISK_EJECT_REQUEST are of the kernel's block/disk-events.c.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
import pyudev

_BUFFER_BYTES = 8 << 20
_MOST_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Announcement:
    """Of a whole disk: its name in /sys/block. `lost`: others before it were lost, and nothing else in it counts."""

    name: str = ""
    action: str = ""
    media_changed: bool = False
    eject_requested: bool = False
    lost: bool = False


async def open_monitor(run_root: Path) -> pyudev.Monitor | str:
    """Listens from here on. One line for people where that cannot be done."""
    try:
        # it looks for the library through other programs, which takes its time
        return await anyio.to_thread.run_sync(_opened, "udev" if (run_root / "udev" / "control").exists() else "kernel")
    except (ImportError, OSError, ValueError) as error:
        return f"no announcements of media ({error}): NTT looks every 2 s; `apt install libudev1` may bring them"


async def unannounced(run_root: Path = Path("/run")) -> str:
    """For `ntt doctor`: why media are not announced here; empty when they are."""
    monitor = await open_monitor(run_root)
    return monitor if isinstance(monitor, str) else ""


def _opened(source: str) -> pyudev.Monitor:
    monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source)
    monitor.filter_by("block", "disk")
    with suppress(OSError):  # only root may have that much; what is lost is looked for
        monitor.set_receive_buffer_size(_BUFFER_BYTES)
    monitor.start()
    return monitor


async def announcements(monitor: pyudev.Monitor) -> AsyncGenerator[Announcement]:
    while True:
        await anyio.wait_readable(monitor.fileno())
        for _ in range(_MOST_AT_ONCE):
            try:
                device = monitor.poll(0)
            except OSError:  # ENOBUFS: they came faster than they were read
                yield Announcement(lost=True)
                break
            if device is None:
                break
            told = device.properties
            yield Announcement(
                device.sys_name.replace("/", "!"),
                device.action or "",
                told.get("DISK_MEDIA_CHANGE") == "1",
                told.get("DISK_EJECT_REQUEST") == "1",
            )
