"""This machine -> what can be mounted on it: asked, never assumed."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ntt.errors import NttError
from ntt.mounts.messages import Namespaces
from ntt.proc import run

_CAP_SYS_ADMIN = 21
_TRIAL_S = 10.0
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # an ordinary user's PATH may be without them


@dataclass(frozen=True, slots=True)
class Machine:
    """`kernel_types`: what the kernel mounts now, or has a module for. `programs`: name -> path of those asked for.

    `loops`, `fuse`: this user may use loop devices, and /dev/fuse.
    """

    namespaces: Namespaces
    kernel_types: frozenset[str]
    programs: Mapping[str, str]
    loops: bool
    fuse: bool

    @property
    def mounts_by_kernel(self) -> bool:
        return self.namespaces is Namespaces.MOUNT and self.loops

    @property
    def mounts_by_fuse(self) -> bool:
        return self.namespaces is not Namespaces.NONE and self.fuse


async def ask_machine(programs: Iterable[str]) -> Machine:
    """Costs a process or two. Looks, changes nothing."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SYSTEM_FOLDERS))
    found = {name: where for name in programs if (where := shutil.which(name, path=path))}
    loops = _is_real_root() and _may_open("/dev/loop-control")
    return Machine(await _namespaces(), _kernel_types(), found, loops, _may_open("/dev/fuse"))


async def _namespaces() -> Namespaces:
    """By trying: a container, a kernel setting or a security module may forbid them to anyone."""
    if _is_administrator() and await _succeeds("unshare", "--mount", "--pid", "--fork", "true"):
        return Namespaces.MOUNT
    if await _succeeds("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "true"):
        return Namespaces.USER
    return Namespaces.NONE


def _is_administrator() -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1)
    return False


def _is_real_root() -> bool:
    """Not only root of a user namespace, for whom the kernel mounts no disks."""
    return Path("/proc/self/uid_map").read_text().split() == ["0", "0", str((1 << 32) - 1)]


async def _succeeds(*argv: str) -> bool:
    try:
        return (await run(argv, timeout_s=_TRIAL_S)).status == 0
    except (NttError, TimeoutError):
        return False


def _kernel_types() -> frozenset[str]:
    try:
        lines = Path("/proc/filesystems").read_text().splitlines()
    except OSError:
        lines = []
    return frozenset(line.split("\t")[-1] for line in lines) | _loadable_types()


def _loadable_types() -> frozenset[str]:
    """Those that the kernel loads a module for by itself when they are mounted: modules.alias(5), `fs-TYPE`."""
    try:
        if not os.access(Path("/proc/sys/kernel/modprobe").read_text().strip(), os.X_OK):
            return frozenset()
        aliases = Path("/lib/modules", platform.release(), "modules.alias").read_text()
    except OSError:
        return frozenset()
    words = (line.split() for line in aliases.splitlines() if line.startswith("alias fs-"))
    return frozenset(word[1].removeprefix("fs-") for word in words if len(word) > 2)


def _may_open(device: str) -> bool:
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True
