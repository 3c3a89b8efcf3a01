"""No file, no connection, no signal to others by way of Landlock. Linux, "Landlock: unprivileged access control"."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Sequence

from ntt.confinement.kernel import system_call

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture but Alpha
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILES_V1 = (1 << 13) - 1
_REFER_V2, _TRUNCATE_V3, _IOCTL_DEV_V5 = 1 << 13, 1 << 14, 1 << 15
_CONNECTIONS_V4 = 0b11  # bind and connect of TCP
_SCOPES_V6 = 0b11  # abstract UNIX sockets, signals


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("connections", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def restrict(roots: Sequence[int]) -> None:
    """Only files below the directories `roots` (descriptors) can be opened from now on, and only for reading.

    What is open stays open. OSError where the kernel has no Landlock.
    """
    if platform.machine() == "alpha":
        raise OSError("Landlock is not known here")
    version = system_call(
        _CREATE_RULESET, "landlock", None, ctypes.c_size_t(0), ctypes.c_uint32(_CREATE_RULESET_VERSION)
    )
    rules = _ruleset(version)
    fd = system_call(
        _CREATE_RULESET, "landlock", ctypes.byref(rules), ctypes.c_size_t(_size(version)), ctypes.c_uint32(0)
    )
    try:
        for root in roots:
            beneath = _PathBeneath(_READ_FILE | _READ_DIR, root)
            kind, none = ctypes.c_int(_RULE_PATH_BENEATH), ctypes.c_uint32(0)
            system_call(_ADD_RULE, "landlock", ctypes.c_int(fd), kind, ctypes.byref(beneath), none)
        system_call(_RESTRICT_SELF, "landlock", ctypes.c_int(fd), ctypes.c_uint32(0))
    finally:
        os.close(fd)


def _ruleset(version: int) -> _Ruleset:
    files = _FILES_V1
    files |= _REFER_V2 if version >= 2 else 0
    files |= _TRUNCATE_V3 if version >= 3 else 0
    files |= _IOCTL_DEV_V5 if version >= 5 else 0
    return _Ruleset(files, _CONNECTIONS_V4 if version >= 4 else 0, _SCOPES_V6 if version >= 6 else 0)


def _size(version: int) -> int:
    """Of the part of the structure that this kernel knows."""
    return 24 if version >= 6 else 16 if version >= 4 else 8
