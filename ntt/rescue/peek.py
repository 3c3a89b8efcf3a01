"""Commands on standard input -> facts and bytes of a source: a program of its own, which may hang and be given up.

A dead drive holds whoever asks it in the kernel, beyond any signal; so NTT asks through a child. Needs nothing but
the standard library. `describe` answers one JSON line, `read OFFSET LENGTH DIRECT` one each, bytes in base64.
"""

from __future__ import annotations

import base64
import errno
import fcntl
import json
import mmap
import os
import stat
import sys
from pathlib import Path

_BLKGETSIZE64 = 0x80081272  # <linux/fs.h>
_BLKSSZGET = 0x1268
_CDROM_DRIVE_STATUS = 0x5326  # <linux/cdrom.h>, as are the answers
_CDSL_CURRENT = 0x7FFFFFFF
_NO_DISC = {1: "no disc is in the drive", 2: "the tray is open", 3: "the drive is not ready"}
_SCSI_TYPE_OPTICAL = "5"
# 160 KiB to 2.88 MiB, and the formats with more sectors; USB floppy drives look like disks but for their size
_FLOPPY_BYTES = {n << 10 for n in (160, 180, 320, 360, 400, 720, 800, 1200, 1232, 1440, 1680, 1722, 2880)}


class NoMedium(Exception):
    """The drive answers, and has nothing in it."""


def main() -> None:
    """`peek.py SOURCE`: answers until its standard input ends."""
    path = sys.argv[1]
    for line in sys.stdin:
        command, *arguments = line.split()
        answer = describe(path) if command == "describe" else read(path, *map(int, arguments))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def describe(path: str) -> dict[str, object]:
    """Kind, size, sector and whether O_DIRECT works; or `error` and `detail`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return _described(path, fd)
        finally:
            os.close(fd)
    except NoMedium as nothing:
        return {"error": errno.ENOMEDIUM, "detail": str(nothing)}
    except OSError as error:
        return {"error": error.errno, "detail": os.strerror(error.errno or 0)}


def _described(path: str, fd: int) -> dict[str, object]:
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode):
        size = status.st_size
        sector = 2048 if size % 2048 == 0 and _is_iso9660(fd) else 512
        return {"kind": "file", "size_bytes": size, "sector_bytes": sector, "direct": _direct_works(path, size, sector)}
    if not stat.S_ISBLK(status.st_mode):
        return {"error": errno.EINVAL, "detail": "it is neither a drive nor a file"}
    kind = _kind_of_device(status.st_rdev)
    if kind == "optical":
        _require_disc(fd)
    ready = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # this waits until the medium spins, and then its size is known
    try:
        size = int.from_bytes(fcntl.ioctl(ready, _BLKGETSIZE64, bytes(8)), sys.byteorder)
        sector = int.from_bytes(fcntl.ioctl(ready, _BLKSSZGET, bytes(4)), sys.byteorder)
    finally:
        os.close(ready)
    if kind == "disk" and size in _FLOPPY_BYTES:
        kind = "floppy"
    sector = max(sector, 2048) if kind == "optical" else sector
    return {"kind": kind, "size_bytes": size, "sector_bytes": sector, "direct": _direct_works(path, size, sector)}


def _kind_of_device(number: int) -> str:
    place = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    try:
        optical = (place / "device" / "type").read_text(encoding="ascii").strip() == _SCSI_TYPE_OPTICAL
    except OSError:
        optical = False
    if optical or place.name.startswith("sr"):
        return "optical"
    return "floppy" if place.name.startswith("fd") else "disk"


def _require_disc(fd: int) -> None:
    try:
        answer = fcntl.ioctl(fd, _CDROM_DRIVE_STATUS, _CDSL_CURRENT)
    except OSError:
        return  # a drive that cannot say; opening it will
    if answer in _NO_DISC:
        raise NoMedium(_NO_DISC[answer])


def _is_iso9660(fd: int) -> bool:
    try:
        return os.pread(fd, 6, 32768)[1:] == b"CD001"  # ECMA-119, 8.1
    except OSError:
        return False


def _direct_works(path: str, size: int, sector: int) -> bool:
    """One read of a sector; an error of the medium says nothing about that. Only whole sectors can be read."""
    if size % sector:
        return False
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        for number in (1, size // sector // 2):
            try:
                return os.preadv(fd, [mmap.mmap(-1, sector)], number * sector) > 0
            except OSError as error:
                if error.errno == errno.EINVAL:
                    return False
        return False
    finally:
        os.close(fd)


def read(path: str, offset: int, length: int, direct: int) -> dict[str, object]:
    """Bytes as the source has them now, past the page cache; `error` where they cannot be read or are not all there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (os.O_DIRECT if direct else 0))
        try:
            if not direct:
                os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)
            room = mmap.mmap(-1, length)  # aligned to a page
            got = os.preadv(fd, [room], offset)
        finally:
            os.close(fd)
    except OSError as error:
        return {"offset": offset, "error": error.errno}
    if got != length:
        return {"offset": offset, "error": errno.ENODATA}
    return {"offset": offset, "data": base64.b64encode(room[:]).decode()}


if __name__ == "__main__":
    main()
