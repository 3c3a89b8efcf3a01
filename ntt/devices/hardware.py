"""A source's path -> what the machine knows of the drive and the bridge behind it: provenance, never identity.

Nothing here opens a block device. Sources: sysfs(5) and the kernel's Documentation/ABI/stable/sysfs-block,
udev's database in /run/udev/data, proc_pid_mountinfo(5); smartctl where that is harmless.
"""

from __future__ import annotations

import os
import re
import stat
from functools import partial
from pathlib import Path

import anyio

from ntt import proc
from ntt.devices.answering import answered, attribute
from ntt.errors import NttError
from ntt.names import printable
from ntt.tools.smartctl import smartctl_argv, smartctl_facts

SECTOR_BYTES = 512  # the unit of sysfs's `size`, whatever the drive's sectors are
LONGEST_VALUE = 200
UDEV_PREFIX = b"E:ID_"
SCSI_OPTICAL = b"5"  # SPC-4, peripheral device type
USB_FLOPPY = b"04"  # USB Mass Storage Class Specification Overview, subclass UFI
SYSFS_SHARE = 0.5  # of the time that is allowed; the rest is smartctl's
_NOT_SHOWN = frozenset({"size", "udev", "bridge_vid", "bridge_pid", "usb_subclass"})
_OF_DISK = {
    "rotational": "queue/rotational",
    "logical_block_bytes": "queue/logical_block_size",
    "physical_block_bytes": "queue/physical_block_size",
    "removable": "removable",
    "vendor": "device/vendor",
    "model": "device/model",
    "revision": "device/rev",
    "serial": "device/serial",
    "firmware": "device/firmware_rev",
    "name": "device/name",
    "scsi_type": "device/type",
}
_OF_BRIDGE = {
    "bridge_vendor": "manufacturer",
    "bridge_product": "product",
    "bridge_serial": "serial",
    "bridge_release": "bcdDevice",
    "bridge_speed_mbit": "speed",
}
_TRANSPORTS = (("usb", r"usb\d+"), ("ata", r"ata\d+"), ("nvme", r"nvme"), ("mmc", r"mmc_host"), ("firewire", r"fw\d+"),
               ("virtio", r"virtio\d+"), ("floppy", r"floppy\.\d+"), ("virtual", r"virtual"))  # fmt: skip


async def hardware_of(
    path: Path, timeout_s: float = 5, *, sys_root: Path = Path("/sys"), run_root: Path = Path("/run")
) -> dict[str, str]:
    """What can be learned within `timeout_s`; no error, whatever is missing, and never more than a second later.

    `kind`: "optical", "floppy", "disk" for a block device, "file" otherwise, "unknown" if not even that is answered.
    A block device: `device` (number), `size_bytes`, `transport`, `vendor`, `model`, `revision`, `serial`, `bridge`
    (USB "VID:PID") and `bridge_...`, block sizes in bytes, `rotational` and `removable` ("0", "1"), udev's properties
    under their own names (`ID_...`), `smart_...`. A file: `filesystem` and the `device` it lies on. `unanswered` names
    what did not answer. Values are printable and short.
    """
    started_s = anyio.current_time()
    status, _ = await answered(partial(os.stat, path), started_s + timeout_s)
    if status is None:
        return {"kind": "unknown"}
    if not stat.S_ISBLK(status.st_mode):
        return await _of_file(path, started_s + timeout_s)
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    facts = await facts_of_device(number, timeout_s * SYSFS_SHARE, sys_root=sys_root, run_root=run_root)
    if facts["kind"] == "disk" and "unanswered" not in facts:
        facts |= await facts_by_smartctl(path, timeout_s * (1 - SYSFS_SHARE))
    return facts


async def facts_of_device(number: str, timeout_s: float, *, sys_root: Path, run_root: Path) -> dict[str, str]:
    """Of the block device with the number "MAJOR:MINOR": what sysfs and udev say. One that hangs costs only itself."""
    until_s = anyio.current_time() + timeout_s
    place, _ = await answered(partial(os.path.realpath, sys_root / "dev" / "block" / number), until_s)
    block = Path(place or sys_root)
    found, _ = await answered(partial(_places, block, sys_root), until_s)
    disk, interface, bridge = found or (block, None, None)
    files = {"size": block / "size"} | {name: disk / at for name, at in _OF_DISK.items()}
    if interface is not None:
        files["usb_subclass"] = interface / "bInterfaceSubClass"
    if bridge is not None:
        files |= {"bridge_vid": bridge / "idVendor", "bridge_pid": bridge / "idProduct"}
        files |= {name: bridge / at for name, at in _OF_BRIDGE.items()}
    files["udev"] = run_root / "udev" / "data" / f"b{number}"
    raw, unanswered = await _read_all(files, until_s)
    facts = {"kind": _kind(block.name, raw), "device": number} | _shown(raw)
    facts |= {"transport": transport} if (transport := _transport(block)) else {}
    return facts | ({"unanswered": ", ".join(sorted(unanswered))} if unanswered else {})


def _places(block: Path, sys_root: Path) -> tuple[Path, Path | None, Path | None]:
    """The disk that a partition belongs to; the USB interface and the USB device nearest above it, if any."""
    disk = block.parent if (block / "partition").exists() else block
    interface = None
    for above in disk.parents:
        if above == sys_root:
            break
        if (above / "bInterfaceSubClass").exists():
            interface = above
        if (above / "idVendor").exists() and (above / "idProduct").exists():
            return disk, interface, above
    return disk, interface, None


async def _read_all(files: dict[str, Path], until_s: float) -> tuple[dict[str, bytes], set[str]]:
    """All at once: what was read, and the names of what did not answer."""
    raw: dict[str, bytes] = {}
    unanswered: set[str] = set()

    async def read(name: str, path: Path) -> None:
        value, came = await answered(partial(attribute, path), until_s)
        if not came:
            unanswered.add(name)
        elif value:
            raw[name] = value

    async with anyio.create_task_group() as readers:
        for name, path in files.items():
            readers.start_soon(read, name, path)
    return raw, unanswered


def _kind(name: str, raw: dict[str, bytes]) -> str:
    udev = raw.get("udev", b"")
    if name.startswith("sr") or raw.get("scsi_type") == SCSI_OPTICAL or b"E:ID_CDROM=1" in udev:
        return "optical"
    words = b" ".join(raw.get(field, b"") for field in ("vendor", "model", "bridge_vendor", "bridge_product")).lower()
    words_say_so = any(word in words for word in (b"floppy", b"fdd", b"uf000x"))
    ufi = raw.get("usb_subclass") == USB_FLOPPY
    if re.match(r"fd\d", name) or ufi or words_say_so or b"E:ID_DRIVE_FLOPPY=1" in udev or b"E:ID_TYPE=floppy" in udev:
        return "floppy"
    return "disk"


def _transport(block: Path) -> str:
    """By the buses on its way in sysfs; empty when none is known."""
    for name, pattern in _TRANSPORTS:
        if any(re.fullmatch(pattern, part) for part in block.parts):
            return name
    return ""


def _shown(raw: dict[str, bytes]) -> dict[str, str]:
    facts = {name: _value(value) for name, value in raw.items() if name not in _NOT_SHOWN}
    if raw.get("size", b"").isdigit():
        facts["size_bytes"] = str(int(raw["size"]) * SECTOR_BYTES)
    if "bridge_vid" in raw and "bridge_pid" in raw:
        facts["bridge"] = _value(raw["bridge_vid"] + b":" + raw["bridge_pid"])
    for line in raw.get("udev", b"").splitlines():
        if line.startswith(UDEV_PREFIX):
            name, _, value = line[2:].partition(b"=")
            facts[_value(name)] = _value(value)
    return facts


def _value(raw: bytes) -> str:
    return printable(raw[:LONGEST_VALUE].strip())


async def facts_by_smartctl(path: Path, timeout_s: float) -> dict[str, str]:
    """`smart_...`: what the drive itself says; nothing when smartctl is missing, fails or does not answer in time."""
    try:
        ended = await proc.run(smartctl_argv(str(path)), timeout_s=timeout_s, grace_s=0.2)
    except TimeoutError:
        return {"unanswered": "smartctl"}
    except NttError:
        return {}
    return {f"smart_{name}": _value(value.encode()) for name, value in smartctl_facts(ended.stdout).items()}


async def _of_file(path: Path, until_s: float) -> dict[str, str]:
    found, _ = await answered(partial(_mount_of, path), until_s)
    filesystem, device = found or (b"", b"")
    told = {"filesystem": filesystem, "device": device}
    return {"kind": "file"} | {name: _value(value) for name, value in told.items() if value}


def _mount_of(path: Path) -> tuple[bytes, bytes]:
    """File system type and source of the mount that `path` lies in: the longest mount point above it, the last one."""
    real = os.fsencode(os.path.realpath(path))
    best, found = b"", (b"", b"")
    with open("/proc/self/mountinfo", "rb") as table:  # noqa: PTH123
        for line in table:
            before, _, after = line.partition(b" - ")
            point = _unescaped(before.split(b" ")[4])
            if len(point) >= len(best) and (real + b"/").startswith(point.rstrip(b"/") + b"/"):
                best, found = point, (after.split(b" ")[0], _unescaped(after.split(b" ")[1]))
    return found


def _unescaped(field: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal.group(1), 8)]), field)
