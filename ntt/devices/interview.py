"""Commands on standard input -> what a drive answers: a program of its own, which may hang and be given up.

A dead drive holds whoever asks it in the kernel, beyond any signal; so NTT asks through a child. Needs nothing but
the standard library. One JSON line per command line, `{"error": ERRNO}` where the kernel refuses. Nothing here writes
to a medium: SCSI commands are taken from a short list only. Sources: <linux/cdrom.h>, <linux/fs.h>, <scsi/sg.h> and the
kernel's Documentation/userspace-api/ioctl/cdrom.rst.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import stat
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress

_BLKGETSIZE64 = 0x80081272
_READ_TOC_HEADER, _READ_TOC_ENTRY, _EJECT, _MULTISESSION = 0x5305, 0x5306, 0x5309, 0x5310
_CLOSE_TRAY, _MEDIA_CHANGED, _DRIVE_STATUS, _DISC_STATUS, _LOCK_DOOR = 0x5319, 0x5325, 0x5326, 0x5327, 0x5329
_CURRENT_SLOT = 0x7FFFFFFF
_LBA, _LEAD_OUT, _DATA_TRACK = 1, 0xAA, 4
_SLOTS = {1: "empty", 2: "tray open", 3: "not ready yet", 4: "loaded"}  # CDS_NO_DISC and so on
_NO_MEDIUM = (errno.ENOMEDIUM, errno.ENXIO)
_COMING = (errno.EAGAIN, errno.EBUSY)
_SG_IO = 0x2285
_NO_DATA, _FROM_DEVICE = -1, -3
_SENSE_BYTES = 64
_PATIENCE_S, _PAUSE_S = 6.0, 0.2
# test unit ready, inquiry, start/stop, allow medium removal, read capacity, synchronize cache, read TOC, get
# configuration, disc information, read DVD structure
_ALLOWED = frozenset((0x00, 0x12, 0x1B, 0x1E, 0x25, 0x35, 0x43, 0x46, 0x51, 0xAD))

Answer = dict[str, object]


class _Request(ctypes.Structure):
    _fields_ = (
        ("interface_id", ctypes.c_int),
        ("dxfer_direction", ctypes.c_int),
        ("cmd_len", ctypes.c_ubyte),
        ("mx_sb_len", ctypes.c_ubyte),
        ("iovec_count", ctypes.c_ushort),
        ("dxfer_len", ctypes.c_uint),
        ("dxferp", ctypes.c_void_p),
        ("cmdp", ctypes.c_void_p),
        ("sbp", ctypes.c_void_p),
        ("timeout", ctypes.c_uint),
        ("flags", ctypes.c_uint),
        ("pack_id", ctypes.c_int),
        ("usr_ptr", ctypes.c_void_p),
        ("status", ctypes.c_ubyte),
        ("masked_status", ctypes.c_ubyte),
        ("msg_status", ctypes.c_ubyte),
        ("sb_len_wr", ctypes.c_ubyte),
        ("host_status", ctypes.c_ushort),
        ("driver_status", ctypes.c_ushort),
        ("resid", ctypes.c_int),
        ("duration", ctypes.c_uint),
        ("info", ctypes.c_uint),
    )


def main() -> None:
    """`interview.py NODE`: answers until its standard input ends."""
    node = sys.argv[1]
    for line in sys.stdin:
        command, *arguments = line.split()
        try:
            answer = scsi(node, *arguments) if command == "scsi" else _COMMANDS[command](node)
        except OSError as error:
            answer = {"error": error.errno or errno.EIO}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _opened(node: str, flags: int = os.O_NONBLOCK) -> int:
    """Non-blocking: an open tray is not closed by it, and a drive without a medium opens."""
    fd = os.open(node, os.O_RDONLY | os.O_CLOEXEC | flags)
    if not stat.S_ISBLK(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.ENOTBLK, "no block device")
    return fd


def _asked(node: str, question: Callable[[int], Answer], flags: int = os.O_NONBLOCK) -> Answer:
    fd = _opened(node, flags)
    try:
        return question(fd)
    finally:
        os.close(fd)


def tray(node: str) -> Answer:
    """`slot` of an optical drive, and `changed`: since this was asked last, as far as the drive tells."""

    def question(fd: int) -> Answer:
        changed = False
        with suppress(OSError):
            changed = fcntl.ioctl(fd, _MEDIA_CHANGED, _CURRENT_SLOT) == 1
        try:
            status = fcntl.ioctl(fd, _DRIVE_STATUS, _CURRENT_SLOT)
        except OSError:
            status = 0
        if status in _SLOTS:
            return {"slot": _SLOTS[status], "changed": changed}
        return medium(node) | {"changed": changed}  # it cannot say: opening it will

    return _asked(node, question)


def medium(node: str) -> Answer:
    """`slot` of any other drive, and `size_bytes` of what is in it: opening it makes the kernel look anew."""

    def question(fd: int) -> Answer:
        size = int.from_bytes(fcntl.ioctl(fd, _BLKGETSIZE64, bytes(8)), sys.byteorder)
        return {"slot": "loaded" if size else "empty", "size_bytes": size}

    try:
        return _asked(node, question, 0)
    except OSError as error:
        if error.errno in _NO_MEDIUM:
            return {"slot": "empty"}
        if error.errno in _COMING:
            return {"slot": "not ready yet"}
        raise


def claimed(node: str) -> Answer:
    """Does anything hold the device or a partition of it for itself: a mount in any namespace, swap, RAID, LVM?"""
    try:
        os.close(_opened(node, os.O_EXCL | os.O_NONBLOCK))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return {"claimed": True}
    return {"claimed": False}


def status(node: str) -> Answer:
    """`number`: what CDROM_DISC_STATUS says (CDS_AUDIO 100 to CDS_MIXED 105)."""
    return _asked(node, lambda fd: {"number": fcntl.ioctl(fd, _DISC_STATUS, _CURRENT_SLOT)})


def toc(node: str) -> Answer:
    """`tracks`: [number, LBA, is it audio] each; the lead-out has the number 170."""

    def question(fd: int) -> Answer:
        first, last = fcntl.ioctl(fd, _READ_TOC_HEADER, bytes(2))
        tracks: list[tuple[int, int, bool]] = []
        for number in (*range(max(first, 1), min(last, 99) + 1), _LEAD_OUT):
            raw = fcntl.ioctl(fd, _READ_TOC_ENTRY, struct.pack("=BBBxiB3x", number, 0, _LBA, 0, 0))
            _, control, _, start, _ = struct.unpack("=BBBxiB3x", raw)
            tracks.append((number, start, not control >> 4 & _DATA_TRACK))
        return {"tracks": tracks}

    return _asked(node, question)


def last_session(node: str) -> Answer:
    """`number`: the LBA at which the last session starts; 0 where there is only one."""

    def question(fd: int) -> Answer:
        start, _, _ = struct.unpack("=iBB2x", fcntl.ioctl(fd, _MULTISESSION, struct.pack("=iBB2x", 0, 0, _LBA)))
        return {"number": start}

    return _asked(node, question)


def lock(node: str) -> Answer:
    """Stays locked when the device is closed again."""
    return _asked(node, lambda fd: {"number": fcntl.ioctl(fd, _LOCK_DOOR, 1)})


def unlock(node: str) -> Answer:
    return _asked(node, lambda fd: {"number": _when_alone(fd, _LOCK_DOOR)})


def eject(node: str) -> Answer:
    """Unlocks first; some drives refuse that, which is no error."""

    def question(fd: int) -> Answer:
        with suppress(OSError):
            _when_alone(fd, _LOCK_DOOR)
        return {"number": _when_alone(fd, _EJECT)}

    return _asked(node, question)


def _when_alone(fd: int, request: int) -> int:
    """The kernel refuses both while another has the device open, as those who look at a disc have for a moment."""
    until_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return fcntl.ioctl(fd, request, 0)
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > until_s:
                raise
        time.sleep(_PAUSE_S)


def close_tray(node: str) -> Answer:
    return _asked(node, lambda fd: {"number": fcntl.ioctl(fd, _CLOSE_TRAY, 0)})


def flush(node: str) -> Answer:
    """Nothing that others wrote is left in the kernel when this returns."""

    def question(fd: int) -> Answer:
        os.fsync(fd)
        return {}

    return _asked(node, question)


def scsi(node: str, blocks: str, answer_bytes: str, limit_ms: str) -> Answer:
    """`data` (hex) of the last of the commands, which `+` joins; `sense` (hex) where the drive refuses that one.

    They share one opening of the device: each opening locks a medium that can be changed, each closing frees it.
    """
    commands = [bytes.fromhex(block) for block in blocks.split("+")]
    if not _ALLOWED.issuperset(command[0] for command in commands):
        raise OSError(errno.EPERM, "not one of NTT's commands")

    def question(fd: int) -> Answer:
        for command in commands[:-1]:
            _passed_through(fd, command, 0, int(limit_ms))
        return _passed_through(fd, commands[-1], int(answer_bytes), int(limit_ms))

    return _asked(node, question)


def _passed_through(fd: int, command: bytes, answer_bytes: int, limit_ms: int) -> Answer:
    room = ctypes.create_string_buffer(max(answer_bytes, 1))
    sense = ctypes.create_string_buffer(_SENSE_BYTES)
    block = ctypes.create_string_buffer(command, len(command))
    request = _Request(
        interface_id=ord("S"),
        dxfer_direction=_FROM_DEVICE if answer_bytes else _NO_DATA,
        cmd_len=len(command),
        mx_sb_len=_SENSE_BYTES,
        dxfer_len=answer_bytes,
        dxferp=ctypes.addressof(room) if answer_bytes else None,
        cmdp=ctypes.addressof(block),
        sbp=ctypes.addressof(sense),
        timeout=limit_ms,
    )
    fcntl.ioctl(fd, _SG_IO, request)
    if request.status or request.host_status or request.driver_status & 0x0F:
        return {"error": errno.EIO, "sense": sense.raw[: request.sb_len_wr].hex()}
    return {"data": room.raw[: max(0, answer_bytes - request.resid)].hex()}


_COMMANDS: dict[str, Callable[[str], Answer]] = {
    function.__name__: function
    for function in (tray, medium, claimed, status, toc, last_session, lock, unlock, eject, close_tray, flush)
}

if __name__ == "__main__":
    main()
