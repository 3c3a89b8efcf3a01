"""One attempt on one volume -> its root directory, open; or why not. Runs in a process and namespaces of its own.

Everything here may hang for good: the process that asked for it bounds the time, and what is mounted, attached,
copied or started here is gone when this process is.
"""

from __future__ import annotations

import errno
import os
import resource
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ntt.model import Route
from ntt.mounts import syscalls
from ntt.mounts.loops import attach
from ntt.mounts.messages import Attempt, Namespaces, Task, Through
from ntt.mounts.programs import is_mounted, run_until, said_in
from ntt.mounts.slices import copy_slice
from ntt.mounts.unpacking import Unusable, unpack

_FLAGS = (
    syscalls.MS_RDONLY
    | syscalls.MS_NOSUID
    | syscalls.MS_NODEV
    | syscalls.MS_NOEXEC
    | syscalls.MS_NOSYMFOLLOW
    | syscalls.MS_NOATIME
)
_VIEW_OPTIONS = "size=16m,mode=0700"


class Refused(Exception):
    """This attempt does not lead to the files; the text says why, in a few words."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What an attempt works with. `folder` is the session's own, on the disk; `reserve_bytes` stay free there."""

    image_fd: int
    folder: Path
    namespaces: Namespaces
    reserve_bytes: int


def carry_out(setting: Setting, task: Task, attempt: Attempt) -> tuple[int, tuple[str, ...]]:
    """The root directory, open for reading, and remarks. Refused, or OSError for what the machine does not give."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    view = _private_view(setting)
    target = view / "root"
    target.mkdir()
    fds: list[int] = []
    match attempt.route:
        case Route.KERNEL:
            _mount(_device(setting, task, attempt, view), target, attempt)
            return _opened(target), attempt.remarks
        case Route.FUSE:
            source = _source(setting, task, attempt, view, fds)
            return _driven(_filled_in(attempt.argv, source, target), view, target, fds), attempt.remarks
        case Route.SEVENZIP:
            source = _source(setting, task, attempt, view, fds)
            folder = setting.folder / f"unpacked-{secrets.token_hex(4)}"
            folder.mkdir()
            try:
                argv = (*_tied(setting), *_filled_in(attempt.argv, source, folder))
                remarks = unpack(argv, view, folder, fds, setting.reserve_bytes)
            except Unusable as error:
                raise Refused(str(error)) from None
            return _opened(folder), (*attempt.remarks, *remarks)
        case _:
            raise Refused("this is no route of a mount")


def _tied(setting: Setting) -> tuple[str, ...]:
    """Without a process namespace nothing but this ends a program together with the process that started it."""
    return ("setpriv", "--pdeathsig", "KILL", "--") if setting.namespaces is Namespaces.NONE else ()


def _private_view(setting: Setting) -> Path:
    """A small folder in memory that no other process sees; on the disk where there are no namespaces to be had."""
    if setting.namespaces is Namespaces.NONE:
        view = setting.folder / f"view-{secrets.token_hex(4)}"
        view.mkdir()
        return view
    syscalls.keep_mounts_to_oneself()
    view = setting.folder / "view"
    flags = syscalls.MS_NOSUID | syscalls.MS_NOEXEC
    syscalls.mount(b"ntt", os.fsencode(view), "tmpfs", flags, _VIEW_OPTIONS)
    return view


def _device(setting: Setting, task: Task, attempt: Attempt, view: Path) -> str:
    """The volume as a loop device; it stays open, and with it attached, as long as this process lives."""
    if not attempt.copied:
        return attach(setting.image_fd, task.offset_bytes, task.size_bytes, view)[1]
    copy = os.open(setting.folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    try:
        _copy(setting, task.offset_bytes, task.size_bytes, copy)
        return attach(copy, 0, task.size_bytes, view)[1]
    finally:
        os.close(copy)


def _source(setting: Setting, task: Task, attempt: Attempt, view: Path, fds: list[int]) -> str:
    """The path under which a program finds the volume, or the image; it may need the descriptors of `fds`."""
    if attempt.through is Through.LOOP:
        return _device(setting, task, attempt, view)
    if attempt.copied:
        return _copied(setting, task.offset_bytes, task.size_bytes, view, fds)
    if setting.namespaces is Namespaces.NONE:
        return _by_descriptor(setting.image_fd, fds)
    # programs resolve paths, and the image's may lead to another file by now, or nowhere
    image_bytes = os.fstat(setting.image_fd).st_size
    return _bound(setting.image_fd, view) or _copied(setting, 0, image_bytes, view, fds)


def _by_descriptor(fd: int, fds: list[int]) -> str:
    fds.append(fd)
    return f"/proc/self/fd/{fd}"


def _copied(setting: Setting, offset_bytes: int, size_bytes: int, view: Path, fds: list[int]) -> str:
    """A copy of a part of the image, which loses its name before it takes up any space."""
    name = setting.folder / f"copy-{secrets.token_hex(4)}"
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        bound = None if setting.namespaces is Namespaces.NONE else _bound(fd, view)
        reading = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    finally:
        name.unlink()
    _copy(setting, offset_bytes, size_bytes, fd)
    os.close(fd)
    return bound or _by_descriptor(reading, fds)


def _copy(setting: Setting, offset_bytes: int, size_bytes: int, fd: int) -> None:
    try:
        copy_slice(setting.image_fd, offset_bytes, size_bytes, fd, setting.reserve_bytes)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise Refused(f"{error.strerror}: free some space, or use another disk for the work folder") from None
        raise


def _bound(fd: int, view: Path) -> str | None:
    """An open file under a name of our own that cannot be written to; None when its path leads elsewhere."""
    place = view / "image"
    with suppress(OSError):
        found = os.open(Path(f"/proc/self/fd/{fd}").readlink(), os.O_PATH | os.O_CLOEXEC)
        try:
            if not os.path.samestat(os.fstat(found), os.fstat(fd)):
                return None
            place.touch()
            syscalls.mount(f"/proc/self/fd/{found}".encode(), os.fsencode(place), "", syscalls.MS_BIND)
        finally:
            os.close(found)
        syscalls.restrict_mount(os.fsencode(place), syscalls.MS_RDONLY)
        return str(place)
    return None


def _filled_in(argv: tuple[str, ...], source: str, target: Path) -> list[str]:
    places = {"{source}": source, "{target}": str(target), "-o{target}": f"-o{target}"}
    return [places.get(element, element) for element in argv]


def _mount(device: str, target: Path, attempt: Attempt) -> None:
    try:
        syscalls.mount(device.encode(), os.fsencode(target), attempt.name, _FLAGS, attempt.options)
    except OSError as error:
        why = f"the kernel does not take it: {error.strerror}"
        raise Refused(f"the kernel does not know {attempt.name}" if error.errno == errno.ENODEV else why) from None


def _driven(argv: list[str], view: Path, target: Path, fds: list[int]) -> int:
    """The root directory below a driver, which ends with this process: it is the first of its process namespace."""
    ended = run_until(argv, view, fds, lambda: is_mounted(target))
    if not is_mounted(target):
        raise Refused(ended.complaint)
    try:
        syscalls.restrict_mount(os.fsencode(target), _FLAGS)
        return _opened(target)
    except (Refused, OSError) as error:
        said = said_in(view)
        why = str(error) if isinstance(error, Refused) else f"its mount cannot be used: {error.strerror}"
        raise Refused(f"{why} ({said})" if said else why) from None


def _opened(target: Path) -> int:
    """The directory, after a first look into it: a driver may fail only then."""
    try:
        fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        os.fstatvfs(fd)
        with os.scandir(fd) as entries:
            next(entries, None)
    except OSError as error:
        raise Refused(f"its root directory cannot be listed: {error.strerror}") from None
    return fd
