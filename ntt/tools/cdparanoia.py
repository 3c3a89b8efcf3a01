"""A track of an audio CD -> cdparanoia's arguments; what it shows while it reads -> how far it is, and what it lost.

Source: cdparanoia(1), III release 10.2; the words of its progress lines as that release prints them
("##: NUMBER [EVENT] @ POSITION", in 16-bit samples from the beginning of the disc).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

SECTOR_BYTES = 2352
WORDS_PER_SECTOR = SECTOR_BYTES // 2
WAV_HEADER_BYTES = 44
RETRIES = 20  # without any progress at a place, before it is passed over: cdparanoia's own choice

_LINE = re.compile(rb"##: (-?\d+) \[([^\]\n]*)\] @ (-?\d+)")
_LONGEST_LINE = 4096
_MOST_SKIPS = 10_000


def rip_argv(device: Path, track: int, target: Path) -> list[str]:
    """One whole track as WAV. What cannot be read after many tries is passed over, and told (`skip`)."""
    argv = ["cdparanoia", "--stderr-progress", "--output-wav", f"--never-skip={RETRIES}"]
    return [*argv, "--force-cdrom-device", str(device), "--", str(track), str(target)]


def version_argv() -> list[str]:
    return ["cdparanoia", "--version"]


def version_of(text: str) -> str | None:
    """ "III release 10.2" from what it prints; None when it is something else."""
    found = re.search(r"cdparanoia (\S+ release \S+)", text)
    return found[1] if found else None


@dataclass(frozen=True, slots=True)
class Progress:
    """`sector` of the disc up to which was written. `corrections`: read wrongly, then right. `skips`: sectors of the
    disc where it gave up; what it wrote there is silence or a guess. `errors`: of the drive or its bus."""

    sector: int = 0
    corrections: int = 0
    skips: tuple[int, ...] = ()
    errors: int = 0
    finished: bool = False


class ProgressLines:
    """cdparanoia's standard error, in whatever pieces it comes -> what it says."""

    def __init__(self) -> None:
        self._unfinished = b""
        self._now = Progress()
        self._skips: dict[int, None] = {}
        self.last_words = ""  # the last line that is no progress

    def feed(self, data: bytes) -> Progress:
        """The newest state; never fails, whatever comes."""
        *lines, self._unfinished = re.split(rb"[\r\n]+", self._unfinished + data)
        self._unfinished = self._unfinished[-_LONGEST_LINE:]
        sector, corrections = self._now.sector, self._now.corrections
        errors, finished = self._now.errors, self._now.finished
        for line in lines:
            found = _LINE.search(line)
            if found is None:
                self.last_words = line.decode(errors="replace").strip()[:200] or self.last_words
                continue
            place = max(int(found[3]), 0) // WORDS_PER_SECTOR
            match found[2]:
                case b"wrote":
                    sector = max(sector, place + 1)
                case b"finished":
                    finished = True
                case b"skip":
                    if len(self._skips) < _MOST_SKIPS:
                        self._skips[place] = None
                case b"correction" | b"scratch repair":
                    corrections += 1
                case b"transport error" | b"readerr":
                    errors += 1
                case _:
                    pass
        self._now = Progress(sector, corrections, tuple(sorted(self._skips)), errors, finished)
        return self._now
