"""Who the embedded server runs as: PostgreSQL refuses root, so root hands it to an unprivileged user."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ntt.errors import DatabaseError

CAP_DAC_READ_SEARCH = 2  # linux/capability.h: pass and read folders whatever their mode
CAP_SETPCAP = 8


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The owner of the server's processes and files; `switch` is False when that is NTT's own user."""

    name: str  # a number where the password database has no name
    uid: int
    gid: int
    groups: frozenset[int]
    switch: bool


def choose_user(wanted: str | None, data: Path) -> ServerUser:
    """As root: the setting, else the data directory's owner, else `postgres`, else `nobody`. Otherwise: oneself.

    DatabaseError when the data directory belongs to someone else than the chosen one.
    """
    owner = _owner(data)
    if os.geteuid() != 0:
        if owner not in (None, os.geteuid()):
            raise DatabaseError(
                f"the database in {data} belongs to {_name(owner)}",
                f"run ntt as {_name(owner)}, or with another --home",
            )
        return ServerUser(_name(os.geteuid()), os.geteuid(), os.getegid(), frozenset(os.getgroups()), switch=False)
    user = _named(wanted) if wanted else _by_uid(owner) if owner is not None else _first_named("postgres", "nobody")
    if user.uid == 0:
        raise DatabaseError(
            f"the embedded server cannot run as root, to whom {data} belongs"
            if not wanted
            else "the embedded server cannot run as root",
            f"give the folder to a user without rights (`chown -R postgres {data}`), or set another postgres_user",
        )
    if owner not in (None, user.uid):
        raise DatabaseError(
            f"the database in {data} belongs to {_name(owner)}, not to {user.name}",
            f"set postgres_user (NTT_POSTGRES_USER) to {_name(owner)}, or `chown -R {user.name} {data}`",
        )
    return user


def command_prefix(user: ServerUser, folders: Iterable[Path]) -> tuple[str, ...]:
    """The argv in front of a PostgreSQL program, so that it runs as `user` and reaches each of `folders`.

    A folder on the way that `user` may not pass keeps its mode: the program gets CAP_DAC_READ_SEARCH instead
    (setpriv(1), capabilities(7)). DatabaseError names the folder when that capability is not ours to give.
    """
    if not user.switch:
        return ()
    groups = "--clear-groups" if user.name.isdecimal() else "--init-groups"
    # setpriv's change of user forgets what the kernel was told about the parent's death, so it tells it again
    prefix = ("setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", groups, "--pdeathsig=KILL")
    barrier = first_barrier(user, folders)
    if barrier is None:
        return (*prefix, "--inh-caps=-all", "--")
    if not _may_give(CAP_DAC_READ_SEARCH, CAP_SETPCAP):
        raise DatabaseError(
            f"the embedded server runs as {user.name}, who may not pass {barrier}",
            "choose a --home outside of it, or name a server with --database",
        )
    # access(2), which initdb and pg_ctl use on each other, ignores capabilities without no_setuid_fixup
    only = "-all,+dac_read_search"
    return (*prefix, f"--inh-caps={only}", f"--ambient-caps={only}", "--securebits=+no_setuid_fixup", "--")


def first_barrier(user: ServerUser, folders: Iterable[Path]) -> Path | None:
    """The first folder on the way to any of `folders` that `user` may not pass, judged by its mode."""
    for folder in folders:
        for way in (folder, folder.resolve()):
            for part in (*reversed(way.parents), way):
                if part.is_dir() and not _may_pass(user, part.stat()):
                    return part
    return None


def _may_pass(user: ServerUser, status: os.stat_result) -> bool:
    if status.st_uid == user.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == user.gid or status.st_gid in user.groups:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _may_give(*capabilities: int) -> bool:
    """Whether this process has them and its bounding set lets a child keep them (proc(5), "status")."""
    held = -1
    for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
        key, _, value = line.partition(":")
        if key in ("CapPrm", "CapBnd"):
            held &= int(value, 16)
    return all(held >> number & 1 for number in capabilities)


def _owner(data: Path) -> int | None:
    try:
        return data.stat().st_uid
    except FileNotFoundError:
        return None
    except OSError as wrong:
        raise DatabaseError(f"{data} cannot be read: {wrong.strerror}") from None


def _named(name: str) -> ServerUser:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise DatabaseError(
            f"there is no user {name} on this machine", "correct postgres_user (NTT_POSTGRES_USER)"
        ) from None
    return _from_entry(entry)


def _first_named(*names: str) -> ServerUser:
    for name in names:
        try:
            return _from_entry(pwd.getpwnam(name))
        except KeyError:
            continue
    raise DatabaseError(
        f"none of the users {', '.join(names)} exists", "name one with postgres_user (NTT_POSTGRES_USER)"
    )


def _by_uid(uid: int) -> ServerUser:
    try:
        return _from_entry(pwd.getpwuid(uid))
    except KeyError:
        return ServerUser(str(uid), uid, uid, frozenset(), switch=True)


def _from_entry(entry: pwd.struct_passwd) -> ServerUser:
    groups = frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid, groups, switch=True)


def _name(uid: int | None) -> str:
    try:
        return pwd.getpwuid(uid).pw_name if uid is not None else "nobody"
    except KeyError:
        return str(uid)
