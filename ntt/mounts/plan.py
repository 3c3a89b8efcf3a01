"""A volume, its routes and this machine -> the attempts to make, and what would be possible elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from ntt.model import Route, Volume
from ntt.mounts.drivers import DRIVERS, KERNEL, SEVENZIP_NAMES, SEVENZIP_PACKAGE, SEVENZIP_TYPES, Driver
from ntt.mounts.machine import Machine
from ntt.mounts.messages import Attempt, Namespaces, Through

_SECTOR_BYTES = 2048
_LOOP_BYTES, _BLOCK_BYTES = 512, 4096
_PACKED = ("squashfs", "cramfs", "romfs")
_AS_ROOT = "run the same command as root: NTT then mounts it"


@dataclass(frozen=True, slots=True)
class MountLimits:
    """Seconds and bytes. `attempt_s` bounds one attempt on one volume, `copy_s` comes on top where it is copied first.

    `unpack_s` bounds 7z. `reserve_bytes` stay free on the disk of the work folder. `grace_s`: for the helper's end.
    """

    attempt_s: float = 60.0
    copy_s: float = 1800.0
    unpack_s: float = 7200.0
    reserve_bytes: int = 1 << 30
    grace_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """`impossible`: routes that this machine or this user does not have; `steps` would give them, best first."""

    attempts: tuple[Attempt, ...]
    impossible: tuple[str, ...]
    steps: tuple[str, ...]


def programs(drivers: Sequence[Driver] = DRIVERS) -> tuple[str, ...]:
    """Every program that a plan may need."""
    return (*(name for driver in drivers for name in driver.programs), *SEVENZIP_NAMES)


def mounted_bytes(volume: Volume) -> int:
    """How much of the image a driver is to see of a volume.

    Packed file systems count their bytes and end within a block, of which drivers read the whole; a loop device ends
    with a whole sector, and what is cut off there would be missing without a word.
    """
    unit = _BLOCK_BYTES if volume.fstype in _PACKED else _LOOP_BYTES
    return -(-volume.size_bytes // unit) * unit


def plan(
    volume: Volume,
    routes: Sequence[Route],
    machine: Machine,
    image_bytes: int,
    limits: MountLimits,
    drivers: Sequence[Driver] = DRIVERS,
) -> Plan:
    """The attempts for `routes` in their order; readers among them are left out."""
    made = _Made(volume, machine, image_bytes, limits)
    if volume.sector_bytes:
        return Plan((), ("no mount reads raw sectors",), ())
    for route in routes:
        match route:
            case Route.KERNEL:
                made.kernel()
            case Route.FUSE:
                for driver in drivers:
                    if volume.fstype in driver.fstypes:
                        made.fuse(driver)
            case Route.SEVENZIP:
                made.unpacked()
            case _:
                continue
    return Plan(tuple(made.attempts), tuple(made.impossible), tuple(dict.fromkeys(made.steps)))


class _Made:
    """A plan in the making. `short`: the image ends before the volume does, `cut`: before a loop device would."""

    def __init__(self, volume: Volume, machine: Machine, image_bytes: int, limits: MountLimits) -> None:
        self._volume = volume
        self._machine = machine
        self._short = volume.offset_bytes + volume.size_bytes > image_bytes
        self._cut = volume.offset_bytes + mounted_bytes(volume) > image_bytes
        self._limits = limits
        self.attempts: list[Attempt] = []
        self.impossible: list[str] = []
        self.steps: list[str] = []

    def kernel(self) -> None:
        types = KERNEL.get(self._volume.fstype, ())
        known = [kind for kind in types if kind.name in self._machine.kernel_types]
        names = ", ".join(dict.fromkeys(kind.name for kind in types if kind not in known))
        if names:
            self.impossible.append(f"kernel: it has no {names}, and no module for it")
        if known and not self._machine.mounts_by_kernel:
            name = known[0].name
            self.impossible.append(f"kernel {name}: only root may mount it")
            self.steps.insert(0, f"{_AS_ROOT} (kernel {name})")
            return
        for kind in known:
            options = ",".join(filter(None, (kind.options, self._session(kind.name))))
            other = () if kind.name == types[0].name else (self._view(kind.name),)
            remarks = (*kind.remarks, *other)
            limit_s = self._limits.attempt_s + (self._limits.copy_s if self._cut else 0)
            self.attempts.append(
                Attempt(Route.KERNEL, kind.name, Through.LOOP, limit_s, options, (), self._cut, kind.kind, remarks)
            )

    def _session(self, name: str) -> str:
        first = self._volume.session_bytes // _SECTOR_BYTES
        return f"sbsector={first}" if first and name == "iso9660" else ""

    def _view(self, name: str) -> str:
        return f"mounted as {name}, not as {self._volume.fstype}: this side of the medium may show other files"

    def fuse(self, driver: Driver) -> None:
        name = driver.programs[0]
        path = next((self._machine.programs[known] for known in driver.programs if known in self._machine.programs), "")
        if not path:
            self.impossible.append(f"fuse {name}: not installed")
            self.steps.append(f"install {name} (`apt install {driver.package}`)")
        elif not self._machine.mounts_by_fuse:
            why = "this user may not open /dev/fuse" if not self._machine.fuse else "user namespaces are not allowed"
            self.impossible.append(f"fuse {name}: {why}")
            self.steps.append(f"{_AS_ROOT} ({name})")
        elif driver.needs_all and self._short:
            self.impossible.append(f"fuse {name}: it would show files cut short, the image ends before the volume does")
        elif self._volume.session_bytes:
            self.impossible.append(f"fuse {name}: it reads the first session only")
        else:
            self.attempts.append(self._driven(driver, path))
            if self._machine.namespaces is not Namespaces.MOUNT:
                self.steps.append(f"{_AS_ROOT} ({name})")

    def _driven(self, driver: Driver, path: str) -> Attempt:
        loops = self._machine.mounts_by_kernel
        in_own_name = self._machine.namespaces is Namespaces.MOUNT
        offset = self._volume.offset_bytes
        by_offset = bool(offset and driver.offset_option and not loops)
        copied = (self._cut if loops else self._short) or bool(offset and not loops and not by_offset)
        options = [
            "ro,nosuid,nodev,noexec",
            # the process that reads is another user; in a user namespace it is the same one, and must be
            "allow_other" if in_own_name else "",
            driver.options,
            driver.offset_option.format(offset=offset) if by_offset and not copied else "",
        ]
        joined = ",".join(filter(None, options))
        return Attempt(
            Route.FUSE,
            driver.programs[0],
            Through.LOOP if loops else Through.FILE,
            self._limits.attempt_s + (self._limits.copy_s if copied else 0),
            argv=(path, *(part.replace("{options}", joined) for part in driver.argv)),
            copied=copied,
            # the one user of a user namespace stands for root, all others for nobody
            kind=driver.kind if in_own_name else msgspec.structs.replace(driver.kind, owners_kept=False),
            remarks=driver.remarks,
        )

    def unpacked(self) -> None:
        if self._volume.fstype not in SEVENZIP_TYPES:
            return
        path = next((self._machine.programs[name] for name in SEVENZIP_NAMES if name in self._machine.programs), "")
        if not path:
            self.impossible.append("7z: not installed")
            self.steps.append(f"install 7z (`apt install {SEVENZIP_PACKAGE}`)")
            return
        switches = ("-y", "-aou", "-bd", "-bsp0", "-bse1", "-p")
        kind = SEVENZIP_TYPES[self._volume.fstype]
        # never filled up with zeros: 7z would take them for the content of files
        copied = self._volume.offset_bytes != 0 and not self._short
        if self._volume.offset_bytes and self._short:
            self.impossible.append("7z: the image ends before the volume does")
            return
        limit_s = self._limits.unpack_s + (self._limits.copy_s if copied else 0)
        argv = (path, "x", *switches, *filter(None, (kind,)), "-o{target}", "--", "{source}")
        self.attempts.append(Attempt(Route.SEVENZIP, "7z", Through.FILE, limit_s, "", argv, copied))
