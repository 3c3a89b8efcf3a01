"""Calls of Linux that Python does not offer -> small functions that raise OSError. Linux man-pages, section 2."""

from __future__ import annotations

import ctypes
import os

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def checked(result: int, what: str) -> int:
    """The result of a C function, or its errno as an OSError."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def prctl(option: int, *arguments: int) -> None:
    words = [ctypes.c_ulong(word) for word in (*arguments, 0, 0, 0, 0)[:4]]
    checked(_libc.prctl(option, *words), f"prctl {option}")


def system_call(number: int, what: str, *arguments: object) -> int:
    """For what the C library has no function. Arguments are ctypes values; plain integers would be cut to 32 bits."""
    return checked(_libc.syscall(ctypes.c_long(number), *arguments), what)


def unshare(flags: int) -> None:
    checked(_libc.unshare(flags), "unshare")


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilitySets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


_LINUX_CAPABILITY_VERSION_3 = 0x20080522


def keep_capabilities(kept: int) -> None:
    """Exactly these of the capabilities held now (a bit set): capset(2). None of them is passed on."""
    header = _CapabilityHeader(_LINUX_CAPABILITY_VERSION_3, 0)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    sets = (_CapabilitySets * 2)(_CapabilitySets(low, low, 0), _CapabilitySets(high, high, 0))
    checked(_libc.capset(ctypes.byref(header), sets), "capset")
