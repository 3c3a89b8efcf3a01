"""What to ask an optical drive, as SCSI commands; the bytes that it answers -> what they say.

Source: MMC-6 (INCITS 468), sections as named at each function; SPC-4 for sense data. Numbers are big-endian. Every
parser takes whatever a drive hands out: what is cut off or contradicts itself is None or left out, never an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

SECTOR_BYTES = 2048
FRAMES_OF_LEAD_IN = 150  # MSF 00:02:00 is LBA 0 (6.25.3.2, annex on addressing)
FRAMES_PER_SECOND = 75
LEAD_OUT = 0xAA  # the track number of the lead-out in a formatted table of contents
LAST_TRACK = 99

_HEADER = 4
_DATA_TRACK = 0x04  # of the control field: Q sub-channel definitions, table in 4.2.3.3
_PROFILES = {  # 5.3.1, profile list
    0x02: "removable disk",
    0x03: "magneto-optical (erasable)",
    0x04: "magneto-optical (write once)",
    0x08: "CD-ROM",
    0x09: "CD-R",
    0x0A: "CD-RW",
    0x10: "DVD-ROM",
    0x11: "DVD-R",
    0x12: "DVD-RAM",
    0x13: "DVD-RW (restricted overwrite)",
    0x14: "DVD-RW (sequential)",
    0x15: "DVD-R DL",
    0x16: "DVD-R DL (layer jump)",
    0x17: "DVD-RW DL",
    0x1A: "DVD+RW",
    0x1B: "DVD+R",
    0x2A: "DVD+RW DL",
    0x2B: "DVD+R DL",
    0x40: "BD-ROM",
    0x41: "BD-R",
    0x42: "BD-R (random)",
    0x43: "BD-RE",
    0x50: "HD DVD-ROM",
    0x51: "HD DVD-R",
    0x52: "HD DVD-RAM",
    0x53: "HD DVD-RW",
}


@dataclass(frozen=True, slots=True)
class Command:
    """A command descriptor block, and how many bytes of answer it makes room for."""

    block: bytes
    answer_bytes: int


GET_CONFIGURATION = Command(bytes((0x46, 0x02, 0, 0, 0, 0, 0, 0, 8, 0)), 8)  # 6.5: one feature, its header is enough
READ_DISC_INFORMATION = Command(bytes((0x51, 0, 0, 0, 0, 0, 0, 0, 34, 0)), 34)  # 6.21: data type 000b
READ_TOC = Command(bytes((0x43, 0, 0, 0, 0, 0, 0, 0x03, 0x24, 0)), 804)  # 6.25: format 0, LBA; 100 descriptors
READ_FULL_TOC = Command(bytes((0x43, 0, 2, 0, 0, 0, 1, 0x10, 0, 0)), 4096)  # 6.25: format 2, from session 1 on
READ_CAPACITY = Command(bytes((0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0)), 8)  # SBC-3 5.12, MMC-6 6.19
READ_COPYRIGHT = Command(bytes((0xAD, 0, 0, 0, 0, 0, 0, 1, 0, 8, 0, 0)), 8)  # 6.22: DVD, format 01h


def profile_of(answer: bytes) -> str | None:
    """Name of the current profile (6.5.2, feature header); "" when no medium is in the drive."""
    if len(answer) < 8:
        return None
    number = int.from_bytes(answer[6:8])
    return _PROFILES.get(number, f"profile {number:04x}h") if number else ""


@dataclass(frozen=True, slots=True)
class DiscInformation:
    """6.21.3, standard disc information. `sessions` counts the last, incomplete one too, which may be empty."""

    blank: bool
    appendable: bool
    erasable: bool
    sessions: int
    last_session_empty: bool


def disc_information(answer: bytes) -> DiscInformation | None:
    if len(answer) < 10:
        return None
    status, last_session = answer[2] & 0x03, answer[2] >> 2 & 0x03
    sessions = answer[9] << 8 | answer[4]
    return DiscInformation(status == 0, status == 1, bool(answer[2] & 0x10), sessions, last_session == 0)


@dataclass(frozen=True, slots=True)
class TocEntry:
    """Where a track starts, as an LBA; `session` 0: not told."""

    number: int
    session: int
    start: int
    audio: bool


@dataclass(frozen=True, slots=True)
class Toc:
    """`lead_outs`: (session, LBA) of each lead-out that is told; the session is 0 in a table that has none.

    `odd`: entries contradicted each other or made no sense; those were left out.
    """

    entries: tuple[TocEntry, ...]
    lead_outs: tuple[tuple[int, int], ...]
    odd: bool = False


def _descriptors(answer: bytes, size: int) -> Iterator[bytes]:
    """As many whole ones as the answer has and its length field claims."""
    end = min(len(answer), 2 + int.from_bytes(answer[:2]))
    for at in range(_HEADER, end - size + 1, size):
        yield answer[at : at + size]


def formatted_toc(answer: bytes) -> Toc | None:
    """6.25.3.2, format 0000b: tracks of all sessions, and the last lead-out."""
    entries: dict[int, TocEntry] = {}
    lead_outs: list[tuple[int, int]] = []
    odd = False
    for one in _descriptors(answer, 8):
        number, start = one[2], int.from_bytes(one[4:8], signed=True)
        if number == LEAD_OUT:
            lead_outs.append((0, start))
        elif 1 <= number <= LAST_TRACK and number not in entries:
            entries[number] = TocEntry(number, 0, start, not one[1] & _DATA_TRACK)
        else:
            odd = True
    return Toc(tuple(entries.values()), tuple(lead_outs[-1:]), odd) if entries else None


def full_toc(answer: bytes) -> Toc | None:
    """6.25.3.4, format 0010b: the lead-ins of all complete sessions, as they stand on the disc; CDs only."""
    entries: dict[int, TocEntry] = {}
    lead_outs: dict[int, int] = {}
    odd = False
    for one in _descriptors(answer, 11):
        session, address, point = one[0], one[1] >> 4, one[3]
        if address != 1:
            continue  # mode 5 and the like: skip intervals, hybrid disc facts
        start = (one[8] * 60 + one[9]) * FRAMES_PER_SECOND + one[10] - FRAMES_OF_LEAD_IN
        if point == 0xA2:
            lead_outs.setdefault(session, start)
        elif 1 <= point <= LAST_TRACK:
            odd |= point in entries
            entries.setdefault(point, TocEntry(point, session, start, not one[1] & _DATA_TRACK))
    return Toc(tuple(entries.values()), tuple(lead_outs.items()), odd) if entries else None


def capacity_bytes(answer: bytes) -> int | None:
    """SBC-3 5.12.2: the last block's address and the length of one. MMC-6 6.19.3: 2,048 is meant where 0 is said."""
    if len(answer) < 8:
        return None
    last, block = int.from_bytes(answer[:4]), int.from_bytes(answer[4:8])
    if last == 0xFFFFFFFF or not last:  # too many to say in 32 bits, or nothing that can be read
        return None
    return (last + 1) * (block if block in (512, 2048) else SECTOR_BYTES)


def protection_of(answer: bytes) -> int | None:
    """6.22.3.2.2, copyright information: 0 none, 1 CSS or CPPM, 2 CPRM, 3 AACS, 10h AACS on BD-like media."""
    return answer[4] if len(answer) >= 5 else None


@dataclass(frozen=True, slots=True)
class Sense:
    """SPC-4 4.5: why a command failed."""

    key: int
    code: int
    qualifier: int

    @property
    def no_medium(self) -> bool:
        return self.code == 0x3A

    @property
    def becoming_ready(self) -> bool:
        return self.code == 0x04 and self.qualifier == 0x01

    @property
    def locked(self) -> bool:
        return self.code == 0x53 and self.qualifier == 0x02


def sense_of(data: bytes) -> Sense | None:
    """From fixed (70h, 71h) and descriptor (72h, 73h) format."""
    kind = data[0] & 0x7F if data else 0
    if kind in (0x70, 0x71) and len(data) >= 14:
        return Sense(data[2] & 0x0F, data[12], data[13])
    if kind in (0x72, 0x73) and len(data) >= 4:
        return Sense(data[1] & 0x0F, data[2], data[3])
    return None
