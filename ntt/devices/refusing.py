"""A drive with a medium -> why it must not be touched, and what to do about it; or that it may be.

A disk is in use through its partitions, through what is stacked on it (dm, md) and through mounts of either. Sources:
proc_pid_mountinfo(5), proc_swaps(5), the kernel's Documentation/ABI/testing/sysfs-block (holders).
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from ntt.devices.answering import answered, attribute
from ntt.names import printable

_LIMIT_S = 3.0
_MOST_HOLDERS = 1000
_SYSTEM = re.compile(rb"/|/(boot|usr|var|etc|home|root|opt|srv|nix|sysroot)(/.*)?")
_BY_DESKTOP = (b"/media/", b"/run/media/")
_KEEP_DESKTOP = (
    "so that the desktop leaves media alone: `systemctl mask --runtime --now udisks2` (until the next start), or "
    "`gsettings set org.gnome.desktop.media-handling automount false`"
)

CLAIMED = (
    "something holds it for itself: a mount in a container, a RAID, another program",
    "`lsblk` and `fuser -v` on the device tell what; stop that",
)


@dataclass(frozen=True, slots=True)
class Mount:
    """`number`: "MAJOR:MINOR" of the device; of a file system that has none (btrfs), that of its source."""

    number: str
    point: bytes


@dataclass(frozen=True, slots=True)
class Usage:
    """What of this machine is in use. `swaps`: numbers of devices. `protected`: (number, path) of NTT's own folders."""

    mounts: tuple[Mount, ...] = ()
    swaps: frozenset[str] = frozenset()
    protected: tuple[tuple[str, Path], ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """A disk, its partitions and what is stacked on them: "MAJOR:MINOR" -> name; `holders`: the names of the latter."""

    members: dict[str, str]
    holders: tuple[str, ...] = ()


def judged(family: Family, usage: Usage) -> tuple[str, str] | None:
    """Reason and next step; None: as far as this tells, nobody uses it."""
    mounts = [mount for mount in usage.mounts if mount.number in family.members]
    system = [mount.point for mount in mounts if _SYSTEM.fullmatch(mount.point)]
    another = "take another drive: this one is never touched"
    if system:
        return f"it holds the running system: {printable(min(system, key=len))} is on it", another
    if family.members.keys() & usage.swaps:
        return "the running system swaps to it", another
    for number, path in usage.protected:
        if number in family.members:
            return f"NTT itself keeps {printable(str(path))} on it", another
    if mounts:
        return _mounted([mount.point for mount in mounts])
    if family.holders:
        shown = printable(", ".join(family.holders[:3]))
        step = f"take it apart first: {_apart(family.holders[0])}"
        return f"it is part of {shown}, which is in use", step
    return None


def _mounted(points: Sequence[bytes]) -> tuple[str, str]:
    more = f" and {len(points) - 1} more" if len(points) > 1 else ""
    unmount = "; ".join(f"`umount {printable(shlex.quote(os.fsdecode(point)))}`" for point in points[:3])
    if any(point.startswith(_BY_DESKTOP) for point in points):
        reason = f"the desktop has mounted it at {printable(points[0])}{more}"
        return reason, f"{unmount}; {_KEEP_DESKTOP}"
    return f"it is mounted at {printable(points[0])}{more}", unmount


def _apart(holder: str) -> str:
    if holder.startswith("md"):
        return f"`mdadm --stop /dev/{printable(holder)}`"
    return "`vgchange -an` for LVM, `cryptsetup close` for an encrypted one (`lsblk` shows which)"


async def refusal_of(name: str, sys_root: Path, protected: Iterable[Path] = ()) -> tuple[str, str] | None:
    """Of the whole disk with this name in /sys/block, as it is now. Does not touch the disk.

    What cannot be learned within a few seconds is a refusal, too.
    """
    until_s = anyio.current_time() + _LIMIT_S
    family, _ = await answered(partial(family_of, name, sys_root), until_s)
    usage, _ = await answered(partial(usage_now, tuple(protected)), until_s)
    if family is None or usage is None:
        return (
            "it cannot be told whether it is in use: the system does not answer",
            "look for a dead drive with `lsblk`",
        )
    return judged(family, usage)


def family_of(name: str, sys_root: Path) -> Family:
    members: dict[str, str] = {}
    holders: list[str] = []
    ahead = [(sys_root / "block" / name, False)]
    while ahead and len(members) < _MOST_HOLDERS:
        place, is_holder = ahead.pop()
        number = _number_at(place)
        if number in members:
            continue
        if number:
            members[number] = place.name
        if is_holder:
            holders.append(place.name)
        ahead.extend((below, is_holder) for below in _partitions(place))
        ahead.extend((sys_root / "class" / "block" / holder, True) for holder in _names(place / "holders"))
    return Family(members, tuple(sorted(set(holders))))


def _number_at(place: Path) -> str:
    try:
        return attribute(place / "dev").decode("ascii", "replace")
    except OSError:
        return ""


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names, no paths
    except OSError:
        return []


def _partitions(place: Path) -> list[Path]:
    return [place / name for name in _names(place) if (place / name / "partition").exists()]


def usage_now(protected: Sequence[Path]) -> Usage:
    """Of this process's mount namespace; what is mounted elsewhere only shows when a device is claimed."""
    mounts = tuple(mounts_in(Path("/proc/self/mountinfo").read_bytes()))
    swaps = frozenset[str]()
    with suppress(FileNotFoundError):  # a kernel without swap
        swaps = frozenset(_swaps())
    return Usage(mounts, swaps, tuple(_protected(mounts, protected)))


def mounts_in(table: bytes) -> Iterable[Mount]:
    """proc_pid_mountinfo(5); lines that are none are passed over."""
    for line in table.splitlines():
        before, _, after = line.partition(b" - ")
        left, right = before.split(b" "), after.split(b" ")
        if len(left) < 5 or len(right) < 2:
            continue
        number = left[2].decode("ascii", "replace")
        source = _unescaped(right[1])
        if number.startswith("0:") and source.startswith(b"/dev/"):
            number = device_number(source) or number
        yield Mount(number, _unescaped(left[4]))


def _unescaped(field: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal.group(1), 8) & 0xFF]), field)


def device_number(path: bytes | Path) -> str | None:
    """Number ("MAJOR:MINOR") of a block device's node."""
    try:
        status = os.stat(path)  # noqa: PTH116 - bytes
    except OSError:
        return None
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}" if stat.S_ISBLK(status.st_mode) else None


def _swaps() -> Iterable[str]:
    for line in Path("/proc/swaps").read_bytes().splitlines()[1:]:
        number = device_number(_unescaped(line.split(b" ")[0]))
        if number:
            yield number


def _protected(mounts: Sequence[Mount], paths: Sequence[Path]) -> Iterable[tuple[str, Path]]:
    """The device of the longest mount point above each, the last one there."""
    for path in paths:
        real = os.fsencode(os.path.realpath(path)) + b"/"
        above = [mount for mount in mounts if real.startswith(mount.point.rstrip(b"/") + b"/")]
        if above:
            yield max(enumerate(above), key=lambda place: (len(place[1].point), place[0]))[1].number, path
