"""A slice of an open image -> a read-only loop device that is gone when the last user is.

Linux: loop(4), include/uapi/linux/loop.h.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from pathlib import Path

_LOOP_SET_FD = 0x4C00
_LOOP_CLR_FD = 0x4C01
_LOOP_SET_STATUS64 = 0x4C04
_LOOP_CONFIGURE = 0x4C0A
_LOOP_CTL_GET_FREE = 0x4C82
_READ_ONLY, _AUTOCLEAR = 1, 4
_INFO = struct.Struct("=5Q4I64s64s32s2Q")
_CONFIG = struct.Struct(f"=II{_INFO.size}s8Q")
_MAJOR = 7
_TRIES = 100  # others may take the device that was free a moment ago


def attach(image_fd: int, offset_bytes: int, size_bytes: int, private: Path) -> tuple[int, str]:
    """An open loop device of `[offset, offset+size)` and its path; closing it, and whatever uses it, detaches it.

    Where /dev does not have the device, it is made in the folder `private`. OSError when there is none to be had.
    """
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_TRIES):
            number = fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
            path = _node(number, private)
            device = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _configure(device, image_fd, offset_bytes, size_bytes)
            except OSError as error:
                os.close(device)
                if error.errno != errno.EBUSY:
                    raise
            else:
                return device, path
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, "no loop device is free")


def _node(number: int, private: Path) -> str:
    path = f"/dev/loop{number}"
    if Path(path).exists():
        return path
    own = private / f"loop{number}"
    if not own.exists():
        os.mknod(own, 0o600 | stat.S_IFBLK, os.makedev(_MAJOR, number))
    return str(own)


def _configure(device: int, image_fd: int, offset_bytes: int, size_bytes: int) -> None:
    flags = _READ_ONLY | _AUTOCLEAR
    info = _INFO.pack(0, 0, 0, offset_bytes, size_bytes, 0, 0, 0, flags, b"ntt", b"", b"", 0, 0)
    try:
        fcntl.ioctl(device, _LOOP_CONFIGURE, _CONFIG.pack(image_fd, 0, info, *[0] * 8))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTTY):
            raise
        _configure_in_two_steps(device, image_fd, info)


def _configure_in_two_steps(device: int, image_fd: int, info: bytes) -> None:
    """For kernels before 5.8. The device is read-only because the image is open for reading only."""
    fcntl.ioctl(device, _LOOP_SET_FD, image_fd)
    try:
        fcntl.ioctl(device, _LOOP_SET_STATUS64, info)
    except OSError:
        fcntl.ioctl(device, _LOOP_CLR_FD)
        raise
