"""`python faulty_file.py IMAGE FOLDER SOCKET PLAN` serves FOLDER/medium by FUSE as PLAN, a file of JSON, says.

It says "ready" and ends when FOLDER is unmounted. On the socket it takes commands, one JSON object per line, and
answers each with one line of JSON.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingUnixStreamServer

import mfusepy
import msgspec
from faulty_source import FILE_NAME, Counters, Plan, Ranges, Read

from ntt.ranges import normalised, within


class Served:
    """The file's content and faults; every method may be called by many threads."""

    def __init__(self, fd: int, plan: Plan) -> None:
        self._fd = fd
        self._plan = plan
        self._bad = normalised(plan.bad)
        self._failures_left = Counter[int]()
        for start, end, times in plan.heals:
            for sector in range(start // plan.sector_bytes, -(-end // plan.sector_bytes)):
                self._failures_left[sector] = times
        self._reads: list[Read] = []
        self._bytes_read = self._bad_reads = self._gone_reads = self._opens = self._waiting = 0
        self._clock_s = 0.0
        self._gone = self._returned = self._released = False
        self._free_at_s = 0.0
        self._changed = threading.Condition()

    @property
    def removed(self) -> bool:
        return self._gone and self._plan.gone == "removed" and not self._released

    def open(self) -> None:
        with self._changed:
            self._opens += 1
            if self._gone:
                self._be_gone()

    def read(self, size: int, offset: int) -> bytes:
        """OSError as planned; short only at the end of the file."""
        with self._changed:
            end = min(offset + size, os.fstat(self._fd).st_size)
            self._wait_for_bandwidth(end - offset)
            if self._vanishes(offset, end):
                self._gone = True
            if self._gone:
                self._note(offset, size, "gone")
                self._gone_reads += 1
                self._be_gone()
            if self._spoiled(offset, end):
                self._bad_reads += 1
                self._clock_s += self._plan.bad_read_s
                self._note(offset, size, "bad")
                raise OSError(errno.EIO, "planned")
            content = os.pread(self._fd, size, offset)
            self._bytes_read += len(content)
            self._note(offset, len(content), "read")
            return content

    def _note(self, offset: int, size: int, outcome: str) -> None:
        self._reads.append(Read(offset, size, outcome))
        self._changed.notify_all()

    def _vanishes(self, offset: int, end: int) -> bool:
        if self._returned or self._released or end <= offset:
            return False
        after, at = self._plan.vanish_after_bytes, self._plan.vanish_at
        return (after is not None and self._bytes_read + end - offset > after) or (
            at is not None and offset <= at < end
        )

    def _spoiled(self, offset: int, end: int) -> bool:
        spoiled = bool(within(self._bad, offset, end))
        for sector in range(offset // self._plan.sector_bytes, -(-end // self._plan.sector_bytes)):
            if self._failures_left[sector] > 0:
                self._failures_left[sector] -= 1
                spoiled = True
        return spoiled

    def _be_gone(self) -> None:
        """The errors of a medium that is gone; returns when it has come back."""
        if self._plan.gone in ("hang", "hang_until_killed"):
            _, _, reader = mfusepy.fuse_get_context()
            self._waiting += 1
            self._changed.notify_all()
            while self._gone and not self._released:
                self._changed.wait(0.05)
                if self._plan.gone == "hang_until_killed" and is_being_killed(reader):
                    break
            self._waiting -= 1
            raise OSError(errno.EIO, "the medium hung")
        raise OSError(getattr(errno, "ENODEV" if self._plan.gone == "removed" else self._plan.gone), "the medium went")

    def _wait_for_bandwidth(self, size: int) -> None:
        if not self._plan.bytes_per_s:
            return
        now = time.monotonic()
        self._free_at_s = max(now, self._free_at_s) + size / self._plan.bytes_per_s
        self._changed.wait_for(lambda: self._released, self._free_at_s - now)

    def obey(self, command: str, fields: dict[str, int | float | str]) -> Counters | list[Read] | None:
        """`counters`, `reads`; `wait` for `field` `at_least` in `timeout_s` (null: in vain); `vanish`, `return`.

        `release` answers whatever hangs and lets all that follows through without delay, so that it can be unmounted.
        """
        with self._changed:
            match command:
                case "counters":
                    return self._counters()
                case "reads":
                    return self._reads
                case "wait":
                    name, least = f"_{fields['field']}", int(fields["at_least"])
                    waited = self._changed.wait_for(lambda: getattr(self, name) >= least, float(fields["timeout_s"]))
                    return self._counters() if waited else None
                case "vanish":
                    self._gone = True
                case "return":
                    self._gone, self._returned = False, True
                case "release":
                    self._released = True
                case _:
                    raise ValueError(command)
            self._changed.notify_all()
            return self._counters()

    def _counters(self) -> Counters:
        read = [(r.offset, r.offset + r.size) for r in self._reads if r.outcome == "read"]
        return Counters(
            opens=self._opens,
            reads=len(self._reads),
            bytes_read=self._bytes_read,
            bad_reads=self._bad_reads,
            gone_reads=self._gone_reads,
            clock_s=self._clock_s,
            is_gone=self._gone,
            waiting=self._waiting,
            read_once=normalised(read),
            read_twice=twice(read),
        )


def twice(ranges: list[tuple[int, int]]) -> Ranges:
    """The bytes that lie in more than one of them."""
    depth, found = 0, []
    edges = sorted([(start, 1) for start, end in ranges] + [(end, -1) for start, end in ranges])
    for (at, step), (following, _) in pairwise(edges):
        depth += step
        if depth > 1:
            found.append((at, following))
    return normalised(found)


def is_being_killed(pid: int) -> bool:
    """Is a SIGKILL pending? The process cannot end before its read is answered."""
    fields = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    pending = int(fields["SigPnd"], 16) | int(fields["ShdPnd"], 16)
    return bool(pending & 1 << (signal.SIGKILL - 1))


class FileSystem(mfusepy.Operations):
    """One read-only file."""

    use_ns = True

    def __init__(self, served: Served, size_bytes: int) -> None:
        self._served = served
        self._size_bytes = size_bytes

    def init(self, path: str) -> None:
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path != f"/{FILE_NAME}" or self._served.removed:
            raise mfusepy.FuseOSError(errno.ENOENT)
        return {"st_mode": stat.S_IFREG | 0o444, "st_nlink": 1, "st_size": self._size_bytes, "st_mtime": 10**18}

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", ".."] if self._served.removed else [".", "..", FILE_NAME]

    def open(self, path: str, flags: int) -> int:
        self._served.open()
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return self._served.read(size, offset)


class Commands(StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            fields = msgspec.json.decode(line)
            answer = served.obey(fields.pop("command"), fields)
            self.wfile.write(msgspec.json.encode(answer) + b"\n")


class Control(ThreadingUnixStreamServer):
    daemon_threads = True


if __name__ == "__main__":
    image, folder, control, plan = sys.argv[1:]
    descriptor = os.open(image, os.O_RDONLY)
    served = Served(descriptor, msgspec.json.decode(Path(plan).read_bytes(), type=Plan))
    with Control(control, Commands) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        mfusepy.FUSE(
            FileSystem(served, os.fstat(descriptor).st_size),
            folder,
            foreground=True,
            direct_io=True,
            ro=True,
            nothreads=False,
            attr_timeout=0,
            entry_timeout=0,
        )
        server.shutdown()
