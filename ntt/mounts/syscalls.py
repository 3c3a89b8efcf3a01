"""The system calls that Python 3.11 has no name for: namespaces, mounts, what a process dies of. No policy.

Linux: unshare(2), mount(2), prctl(2), ioctl_ficlonerange(2), user_namespaces(7).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_REC = 16384
MS_SLAVE = 1 << 19
MS_RELATIME = 1 << 21

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

_FICLONERANGE = 0x4020940D
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_LIBC.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]
# what a mount of another owner has locked must be given again when it is mounted anew: mount_namespaces(7)
_KEPT = (
    (os.ST_NOSUID, MS_NOSUID),
    (os.ST_NODEV, MS_NODEV),
    (os.ST_NOEXEC, MS_NOEXEC),
    (os.ST_NOATIME, MS_NOATIME),
    (os.ST_NODIRATIME, MS_NODIRATIME),
    (os.ST_RELATIME, MS_RELATIME),
)


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def unshare(flags: int) -> None:
    _checked(_LIBC.unshare(ctypes.c_int(flags)))


def prctl(option: int, value: int = 0) -> None:
    _checked(_LIBC.prctl(option, value, 0, 0, 0))


def mount(source: bytes, target: bytes, fstype: str, flags: int, options: str = "") -> None:
    """mount(2). It may not return: on a broken device, or a FUSE program that never answers."""
    _checked(_LIBC.mount(source, target, fstype.encode() or None, flags, options.encode() or None))


def keep_mounts_to_oneself() -> None:
    """No mount made from here on is seen elsewhere; what is unmounted elsewhere disappears here too."""
    mount(b"none", b"/", "", MS_REC | MS_SLAVE)


def restrict_mount(target: bytes, flags: int) -> None:
    """Further per-mount flags for what is mounted at `target`; those it has stay."""
    kept = os.statvfs(target).f_flag
    flags |= sum(flag for stated, flag in _KEPT if kept & stated)
    mount(b"none", target, "", MS_REMOUNT | MS_BIND | flags)


def become_root_of_own_namespace() -> None:
    """A user namespace in which this user is root; it must not have threads yet. OSError where that is not allowed."""
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER)
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1\n")
    Path("/proc/self/setgroups").write_text("deny\n")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1\n")


def clone_range(source_fd: int, offset: int, length: int, target_fd: int) -> None:
    """`target_fd` from its start shares these blocks with the source. OSError where the file systems cannot."""
    fcntl.ioctl(target_fd, _FICLONERANGE, struct.pack("qQQQ", source_fd, offset, length, 0))
