"""/sys/block -> the drives of this machine: which kind each is, what it is called, and what names it again.

Nothing here opens a block device. Sources: the kernel's Documentation/ABI/stable/sysfs-block, systemd's
60-persistent-storage.rules for the meaning of ID_SERIAL, ID_SERIAL_SHORT and ID_PATH.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio

from ntt.devices.answering import answered, attribute
from ntt.devices.hardware import facts_of_device
from ntt.drives import Drive, DriveKind
from ntt.errors import UsageError
from ntt.names import printable

FACTS_LIMIT_S = 3.0
_NO_DRIVES = re.compile(r"(loop|ram|zram|dm-|md|nbd|rbd|drbd|bcache|zd|mtdblock|ubiblock)\d")
_NO_USER_AREA = re.compile(r"mmcblk\d+(boot\d+|rpmb|gp\d+)")
_OF_THIS_BOOT = re.compile(r"host\d+|target\d+:\d+:\d+|block|scsi_device")  # numbers that differ the next time
_SCSI_ADDRESS = re.compile(r"\d+:(\d+:\d+:\d+)")
_MADE_UP = re.compile(
    r"(.)\1*|0123456789(ABCDEF?)?|1234567890?(ABCDEF)?|.{0,3}", re.IGNORECASE
)  # serials of cheap bridges
_PULLABLE = frozenset(("usb", "firewire"))
_TITLE_WORDS = 60


@dataclass(frozen=True, slots=True)
class Known:
    """A drive, and what the kernel calls it: `name` in /sys/block, `number` "MAJOR:MINOR".

    `port`: where it hangs. `spins_up`: being asked wears it (a floppy drive). `sure`: all facts that decide its kind
    have come in.
    """

    drive: Drive
    name: str
    number: str
    port: str
    spins_up: bool
    sure: bool


def names(sys_root: Path) -> list[str]:
    """Of all whole block devices, drives or not."""
    try:
        return sorted(os.listdir(sys_root / "block"))  # noqa: PTH208 - names, no paths
    except OSError:
        return []


def is_drive(name: str) -> bool:
    """It is hardware; the others are only looked at when they are named."""
    return not _NO_DRIVES.match(name) and not _NO_USER_AREA.fullmatch(name)


async def number_of(name: str, sys_root: Path) -> str:
    """Its "MAJOR:MINOR"; empty when it has gone."""
    until_s = anyio.current_time() + FACTS_LIMIT_S
    number, _ = await answered(partial(attribute, sys_root / "block" / name / "dev"), until_s)
    return (number or b"").decode("ascii", "replace")


async def known(name: str, sys_root: Path, run_root: Path) -> Known | None:
    """The drive with this name in /sys/block, None when it has gone."""
    until_s = anyio.current_time() + FACTS_LIMIT_S
    at = await number_of(name, sys_root)
    if not at:
        return None
    place, _ = await answered(partial(os.path.realpath, sys_root / "block" / name), until_s)
    facts = await facts_of_device(at, FACTS_LIMIT_S, sys_root=sys_root, run_root=run_root)
    mmc_type, _ = await answered(partial(attribute, sys_root / "block" / name / "device" / "type"), until_s)
    kind = _kind(name, facts, mmc_type or b"")
    port = facts.get("ID_PATH") or port_of(Path(place or "/"), sys_root)
    drive = Drive(Path("/dev") / name.replace("!", "/"), kind, key_of(facts, port), _title(facts))
    sure = not set(facts.get("unanswered", "").split(", ")) & {"removable", "scsi_type", "udev"}
    return Known(drive, name, at, port, facts["kind"] == "floppy", sure)


def _kind(name: str, facts: dict[str, str], mmc_type: bytes) -> DriveKind:
    """When in doubt a fixed disk, which nobody touches."""
    if facts["kind"] == "optical":
        return DriveKind.OPTICAL
    if not is_drive(name):
        return DriveKind.DISK
    card = facts.get("transport") == "mmc" and mmc_type in (b"SD", b"SDcombo")  # "MMC" is soldered in
    pullable = facts.get("transport") in _PULLABLE or facts.get("removable") == "1" or facts["kind"] == "floppy"
    return DriveKind.REMOVABLE if card or pullable else DriveKind.DISK


def key_of(facts: dict[str, str], port: str) -> str:
    """The serial, if it is one, with the model and the slot; otherwise the port.

    udev's ID_SERIAL alone does not do: without a serial it is vendor and model, the same for every such drive.
    """
    serial = facts.get("ID_SERIAL_SHORT") or facts.get("ID_SCSI_SERIAL") or facts.get("serial", "")
    whole = facts.get("ID_SERIAL", "")
    if not whole:
        serial = serial or facts.get("bridge_serial", "")
        lun = port.rpartition(":")[2] if facts.get("bridge_serial") else ""
        whole = "_".join(filter(None, (facts.get("vendor"), facts.get("model"), serial, lun))).replace(" ", "_")
    return port if _MADE_UP.fullmatch(serial) else whole


def apart(found: Known, taken: Collection[str]) -> Known:
    """The same, with a key that no other drive has: bridges of one kind often have one serial between them."""
    drive = found.drive
    if drive.key not in taken:
        return found
    behind = found.port if found.port != drive.key else found.name
    return replace(found, drive=replace(drive, key=f"{drive.key}@{behind}"))


def port_of(place: Path, sys_root: Path) -> str:
    """The way to a device in sysfs, without what the kernel counts anew at each start or plugging."""
    parts = place.relative_to(sys_root).parts if place.is_relative_to(sys_root) else place.parts
    kept = [part for part in parts[1:-1] if not _OF_THIS_BOOT.fullmatch(part)]
    if "virtual" in parts or not kept:
        kept.append(place.name)
    return "/".join(_SCSI_ADDRESS.sub(r"\1", part) for part in kept)


def _title(facts: dict[str, str]) -> str:
    vendor, model = facts.get("vendor", ""), facts.get("model", "")
    words = [facts.get("bridge_vendor", ""), facts.get("bridge_product", "")] if not model else [vendor, model]
    title = " ".join(word for word in words if word and word != "ATA") or facts.get("name", "")
    return printable(title)[:_TITLE_WORDS] or facts["kind"]


def named_numbers(named: Iterable[Path]) -> set[str]:
    """Numbers ("MAJOR:MINOR") of those that are there by now; links are followed. Others may come later."""
    found = set[str]()
    for path in named:
        with suppress(OSError):
            status = path.stat()
            if stat.S_ISBLK(status.st_mode):
                found.add(f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}")
    return found


def check_named(named: Iterable[Path], sys_root: Path) -> None:
    """UsageError for what is there and can never be a drive: a file, a folder, a partition."""
    for path in named:
        shown = printable(str(path))
        if path.exists() and not path.is_block_device():
            raise UsageError(f"{shown} is no device", "an image file is for `ntt ingest`")
        for number in named_numbers([path]):
            place = sys_root / "dev" / "block" / number
            if (place / "partition").exists():
                whole = printable(Path(os.path.realpath(place)).parent.name)
                raise UsageError(f"{shown} is a partition", f"name the whole device: /dev/{whole}")
