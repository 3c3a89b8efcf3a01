"""A process -> the peak memory of it and all it started, PostgreSQL aside, sampled from a process beside it.

PSS is what /proc/PID/smaps_rollup says: a page that several processes share counts in parts (proc(5)).
Only root sees it of NTT's workers, which hide their memory; RSS, where shared pages count in each, is for all.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench.record import Memory, Share

INTERVAL_S = 0.05
PAGE_BYTES = os.sysconf("SC_PAGESIZE")
NOT_NTT = frozenset({"postgres", "pg_ctl", "initdb"})


class Sampled(msgspec.Struct):
    """What the sampler hands over at its end; filled by the `with` that it runs in."""

    pss_bytes: int | None = None
    rss_bytes: int = 0
    samples: int = 0
    at_peak: tuple[Share, ...] = ()

    def of(self, image: str) -> Memory:
        return Memory(image, self.pss_bytes, self.rss_bytes, self.samples, self.at_peak)


@contextmanager
def sampling(pid: int) -> Iterator[Sampled]:
    """Samples the tree of `pid` until the body ends; the result is complete then."""
    sampled = Sampled()
    argv = [sys.executable, "-m", "bench.memory", str(pid)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as sampler:
        yield sampled
        words, _ = sampler.communicate()
    found = msgspec.json.decode(words, type=Sampled)
    sampled.pss_bytes, sampled.rss_bytes = found.pss_bytes, found.rss_bytes
    sampled.samples, sampled.at_peak = found.samples, found.at_peak


def main() -> None:
    """`python -m bench.memory PID`: samples until its standard input ends."""
    pid = int(sys.argv[1])
    best = Sampled(pss_bytes=0)
    while not select.select([sys.stdin], [], [], INTERVAL_S)[0]:
        _take(pid, best)
    sys.stdout.buffer.write(msgspec.json.encode(best))


def _take(pid: int, best: Sampled) -> None:
    shares: list[Share] = []
    pss_bytes: int | None = 0
    rss_bytes = 0
    for process in tree(pid):
        pss, rss = _memory(process)
        pss_bytes = None if pss is None or pss_bytes is None else pss_bytes + pss
        rss_bytes += rss
        if rss:
            shares.append(Share(_command(process), rss if pss is None else pss))
    best.samples += 1
    if pss_bytes is None or best.pss_bytes is None:
        best.pss_bytes = None
        is_peak = rss_bytes > best.rss_bytes
    else:
        is_peak = pss_bytes > best.pss_bytes
        best.pss_bytes = max(best.pss_bytes, pss_bytes)
    best.rss_bytes = max(best.rss_bytes, rss_bytes)
    if is_peak:
        best.at_peak = tuple(sorted(shares, key=lambda share: -share.bytes))


def tree(pid: int) -> list[int]:
    """`pid` and all that descends from it, but PostgreSQL's programs and what they started."""
    children: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        try:
            head, tail = Path(f"/proc/{entry}/stat").read_text("utf-8", "replace").rsplit(")", 1)
        except (OSError, ValueError):
            continue  # it has ended
        names[int(entry)] = head.partition("(")[2]
        children.setdefault(int(tail.split()[1]), []).append(int(entry))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        process = waiting.pop()
        if names.get(process) not in NOT_NTT:
            found.append(process)
            waiting.extend(children.get(process, ()))
    return found


def _memory(pid: int) -> tuple[int | None, int]:
    """(PSS or None where it may not be seen, RSS) in bytes; nothing for a process that has ended."""
    try:
        fields = dict(
            line.split()[:2]
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii", "replace").splitlines()[1:]
        )
        return int(fields.get("Pss:", "0")) * 1024, int(fields.get("Rss:", "0")) * 1024
    except PermissionError:
        return None, _resident(pid)
    except OSError:
        return 0, 0


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except OSError:
        return 0


def _command(pid: int) -> str:
    """Its program, and for Python the module and its first argument: `ntt.worker copy`."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace").split("\0")
    except OSError:
        return "ended"
    if "-m" in words:
        at = words.index("-m")
        return " ".join(words[at + 1 : at + 3])
    return Path(words[0]).name


if __name__ == "__main__":
    main()
