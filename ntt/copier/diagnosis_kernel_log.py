r"""The kernel's log since a moment -> what it says of one device; lines of any other are not even kept.

A record of /dev/kmsg is `level,sequence,microseconds,flags;text`, then lines ` KEY=value` (Documentation/ABI/testing/
dev-kmsg). Bytes that are not printable stand as `\xNN`, a line feed within the text too.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ntt.copier.diagnosis import Check

KMSG = Path("/dev/kmsg")
RECORD_BYTES = 8192  # the kernel refuses to give a record into less
RECORDS_AT_ONCE = 20_000  # a machine that logs without end must not keep anyone here
# The kernel has no error numbers in its log: these are the sentences of block/blk-core.c, fs/buffer.c and the drivers
_SENTENCES = (
    (re.compile(r"attempt to access beyond end of device|access beyond EOD"), Check.LOG_BEYOND_EOF),
    (re.compile(r"I/O error|Medium Error|critical (medium|target) error", re.IGNORECASE), Check.LOG_IO_ERROR),
    (re.compile(r"[-\w]+(-fs)? (error|critical)|corrupt|Metadata|bad (block|inode|entry)|invalid", re.IGNORECASE),
     Check.LOG_FS_ERROR),
)  # fmt: skip
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")


def record_of(raw: bytes) -> tuple[str, Mapping[str, str]]:
    """(text, its dictionary) of one record; both empty where it is none."""
    head, _, rest = raw.decode("ascii", "replace").partition(";")
    if head.count(",") < 3:
        return "", {}
    text, *lines = rest.splitlines() or [""]
    pairs = (line.strip().partition("=") for line in lines if line.startswith(" "))
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text), {key: value for key, _, value in pairs}


def check_of(raw: bytes, name: str, number: tuple[int, int]) -> Check | None:
    """What a record says of the device, as it is called and numbered; None: nothing, or it is another's."""
    text, pairs = record_of(raw)
    told = pairs.get("DEVICE")  # b<major>:<minor> of a block device
    named = re.search(rf"(?<![\w/.-])(/dev/)?{re.escape(name)}(?![\w.-])", text) is not None
    if not named and told != f"b{number[0]}:{number[1]}":
        return None
    return next((check for sentence, check in _SENTENCES if sentence.search(text)), None)


class KernelLog:
    """What was logged of some block devices from now on; of a machine that does not let it be read: nothing.

    `devices`: volume -> (major, minor) of the block device that it is mounted from.
    """

    def __init__(self, devices: Mapping[int, tuple[int, int]], path: Path = KMSG) -> None:
        self._devices = {volume: (_name(number), number) for volume, number in devices.items()}
        self._met = 0
        self._last: dict[tuple[int, Check], int] = {}  # volume, what -> when it was last met
        self._fd = -1
        if self._devices:
            self._fd = _opened(path)

    def mark(self) -> int:
        """This moment, for `since`."""
        self._drain()
        return self._met

    def since(self, mark: int, volume: int) -> tuple[Check, ...]:
        """What was logged of the volume's device after that moment."""
        self._drain()
        return tuple(check for (at, check), met in sorted(self._last.items()) if at == volume and met > mark)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _drain(self) -> None:
        for raw in self._records():
            for volume, (name, number) in self._devices.items():
                check = check_of(raw, name, number)
                if check is not None:
                    self._met += 1
                    self._last[volume, check] = self._met

    def _records(self) -> Iterator[bytes]:
        for _ in range(RECORDS_AT_ONCE if self._fd >= 0 else 0):
            try:
                raw = os.read(self._fd, RECORD_BYTES)
            except OSError as error:
                if error.errno == errno.EPIPE:  # records were overwritten before they were read
                    continue
                return
            if not raw:
                return
            yield raw


def _opened(path: Path) -> int:
    """At its end; -1 where it may not be read, or is not there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        os.lseek(fd, 0, os.SEEK_END)
    except OSError:
        os.close(fd)
        return -1
    return fd


def _name(number: tuple[int, int]) -> str:
    """As the kernel calls the device: loop3."""
    try:
        return Path(f"/sys/dev/block/{number[0]}:{number[1]}").resolve(strict=True).name
    except OSError:
        return f"block {number[0]}:{number[1]}"
