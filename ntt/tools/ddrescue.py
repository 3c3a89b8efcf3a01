"""What to read -> ddrescue's arguments; what it shows while it reads -> numbers for people.

Source: GNU ddrescue manual, "Invoking ddrescue" and "Meaning of ddrescue's screen output"; ChangeLog and NEWS for the
versions. Every option here exists from 1.22 on under the name it is given here (`--mapfile-interval` and ranges of
`--cpass` are the youngest). 1.30 gave `-N` another meaning and made the fifth copying pass a phase of its own, run
after trimming unless `--no-sweep` is given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

MINIMUM_VERSION = (1, 22)
SWEEPING_VERSION = (1, 30)  # the first that sweeps instead of running a fifth copying pass
ALL_PASSES = frozenset(range(1, 6))

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_UNITS |= {f"{letter}i": 1 << (10 * n) for n, letter in enumerate("KMGTPE", 1)} | {"s": 0}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_VERSION = re.compile(r"ddrescue (\d+)\.(\d+)")
_QUANTITY = re.compile(r"([\d_]+)\s*([kKMGTPE]i?)?B?(?:/s)?")
_DURATION = re.compile(r"(\d+)\s*([dhms])")
_MOVES_CURSOR = re.compile(r"\x1b\[[\d;]*[A-Za-z]")
_UNFINISHED_ESCAPE = re.compile(r"\x1b\[?[\d;]*\Z")
_BREAKS = re.compile(r"[\r\n]+")
_LAST_FIELD = "time since last successful read"
_LONGEST_LINE = 4096  # of output that is no line; what is longer is forgotten


@dataclass(frozen=True, slots=True)
class Flags:
    """How ddrescue shall go about it.

    `cluster_sectors` None: ddrescue's own choice (64 KiB). `copy_passes`: which of the five passes of the copying
    phase are run ("1", "1-5"; "0": none); None: all. `retries` counts passes over bad sectors. `direct`: bypass the
    page cache; needs the true `sector_bytes`. `retrim`: all failed blocks are trimmed and scraped anew. `try_again`:
    what was neither trimmed nor scraped is copied anew. `size_bytes`: nothing beyond is read. `skip_bytes`: what is
    skipped after an error, "initial" or "initial,maximum", at least 65536; "0": nothing. The map is written to its
    file every `map_interval_s` (0: after every read) and made durable every `sync_interval_s`, which is at least 5
    and not less than `map_interval_s`.
    """

    sector_bytes: int = 512
    cluster_sectors: int | None = None
    copy_passes: str | None = None
    trim: bool = True
    scrape: bool = True
    retries: int = 0
    reverse: bool = False
    direct: bool = False
    retrim: bool = False
    try_again: bool = False
    size_bytes: int | None = None
    skip_bytes: str | None = None
    map_interval_s: int = 5
    sync_interval_s: int = 30


def rescue_argv(
    source: Path, image: Path, map: Path, flags: Flags, domain: Path | None, version: tuple[int, int] = (1, 27)
) -> list[str]:
    """Reads `source` into `image` as far as `map` does not say it is read; `domain`: a map whose finished blocks count.

    `version`: that of the ddrescue which will be run; from 1.30 on other options say the same.
    The state shown goes to standard output, complaints to standard error. SIGTERM, SIGINT and SIGHUP make it save the
    map and end; its exit status proves nothing.
    """
    argv = ["ddrescue", f"-b{flags.sector_bytes}"]
    argv += [f"-c{flags.cluster_sectors}"] if flags.cluster_sectors is not None else []
    argv += _copy_passes(flags.copy_passes, version) if flags.copy_passes is not None else []
    switches = {
        "--no-trim": not flags.trim,
        "-n": not flags.scrape,
        "-R": flags.reverse,
        "-d": flags.direct,
        "-M": flags.retrim,
        "-A": flags.try_again,
    }
    argv += [switch for switch, wanted in switches.items() if wanted]
    argv += [f"-r{flags.retries}", f"--mapfile-interval={flags.map_interval_s},{_sync_interval_s(flags)}"]
    argv += [f"-s{flags.size_bytes}"] if flags.size_bytes is not None else []
    argv += [f"-K{flags.skip_bytes}"] if flags.skip_bytes is not None else []
    argv += [f"-m{domain}"] if domain is not None else []
    return [*argv, "--", str(source), str(image), str(map)]


def _copy_passes(passes: str, version: tuple[int, int]) -> list[str]:
    """ValueError when they are not of the form "1", "1,3-5"."""
    chosen = set[int]()
    for part in passes.split(","):
        first, *last = (int(number) for number in part.split("-", 1))
        chosen |= set(range(first, *(number + 1 for number in last or [first])))
    if not chosen <= ALL_PASSES | {0}:
        raise ValueError(f"no such copying pass: {passes}")
    if version < SWEEPING_VERSION:
        return [f"--cpass={passes}"]
    left = ",".join(str(number) for number in sorted(chosen - {5})) or "0"
    return [f"--cpass={left}"] + (["--no-sweep"] if 5 not in chosen else [])


def _sync_interval_s(flags: Flags) -> int:
    return max(flags.sync_interval_s, flags.map_interval_s, 5)  # ddrescue refuses anything less


def version_of(text: str) -> tuple[int, int] | None:
    """(1, 27) from what `ddrescue --version` prints; None when it is something else."""
    found = _VERSION.search(text)
    return (int(found[1]), int(found[2])) if found else None


@dataclass(frozen=True, slots=True)
class Status:
    """What ddrescue shows, rounded by it to four or five digits: exact bytes stand in the map.

    Counts are of this run's domain; `bad_areas` and `bad_bytes` are of bad sectors only. None: ddrescue cannot say.
    `phase`: its own words ("Copying non-tried blocks... Pass 1 (forwards)", "Finished", "Interrupted by user").
    """

    position: int
    rescued_bytes: int
    bad_bytes: int
    non_trimmed_bytes: int
    read_errors: int
    bad_areas: int
    rate_per_s: int
    average_per_s: int
    remaining_s: int | None
    since_success_s: int | None
    phase: str
    non_tried_bytes: int = 0
    non_scraped_bytes: int = 0


class StatusScreen:
    """ddrescue's standard output, in whatever pieces it comes -> what it says."""

    def __init__(self) -> None:
        self._unfinished = ""
        self._fields: dict[str, str] = {}
        self._is_whole = False  # all fields of a screen have come, the phase is due next
        self._phase = ""

    def feed(self, data: bytes) -> Status | None:
        """The newest state that `data` completes; None when it completes none. Never fails, whatever comes."""
        text = self._unfinished + data.decode(errors="replace")
        escape = _UNFINISHED_ESCAPE.search(text)
        text, kept = (text[: escape.start()], escape[0]) if escape else (text, "")
        *lines, last = _BREAKS.split(_MOVES_CURSOR.sub("\n", text))
        told = [status for line in lines if (status := self._line(line.strip())) is not None]
        if last.endswith(")") and self._is_whole:  # the phase has no line end before the next screen
            told += [status] if (status := self._line(last.strip())) is not None else []
            last = ""
        self._unfinished = (last + kept)[-_LONGEST_LINE:]
        return told[-1] if told else None

    def _line(self, line: str) -> Status | None:
        if not line:
            return None
        if re.match(r"[a-z][a-z -]*:", line):
            for field in line.split(","):
                name, _, value = field.partition(":")
                self._fields[name.strip()] = value.strip()
                self._is_whole |= name.strip() == _LAST_FIELD
            return None
        if not self._is_whole:
            return None
        self._is_whole = line == self._phase  # what follows its own phase is how it ended
        self._phase = line
        return self._status()

    def _status(self) -> Status:
        fields = self._fields
        return Status(
            position=_quantity(fields.get("ipos")),
            rescued_bytes=_quantity(fields.get("rescued")),
            bad_bytes=_quantity(fields.get("bad-sector")),
            non_trimmed_bytes=_quantity(fields.get("non-trimmed")),
            read_errors=_quantity(fields.get("read errors")),
            bad_areas=_quantity(fields.get("bad areas")),
            rate_per_s=_quantity(fields.get("current rate")),
            average_per_s=_quantity(fields.get("average rate")),
            remaining_s=_duration_s(fields.get("remaining time")),
            since_success_s=_duration_s(fields.get(_LAST_FIELD)),
            phase=self._phase,
            non_tried_bytes=_quantity(fields.get("non-tried")),
            non_scraped_bytes=_quantity(fields.get("non-scraped")),
        )


def _quantity(text: str | None) -> int:
    found = _QUANTITY.match(text or "")
    return int(found[1].replace("_", "") or 0) * _UNITS[found[2] or ""] if found else 0


def _duration_s(text: str | None) -> int | None:
    """ "1h 4m" -> 3840; None for "n/a"."""
    parts = _DURATION.findall(text or "")
    return sum(int(count) * _SECONDS[unit] for count, unit in parts) if parts else None
