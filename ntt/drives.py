"""Drives and what lies in them: words that devices, the watch and the live view share."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path


class DriveKind(enum.StrEnum):
    """What decides who may touch it, and how it is given back."""

    OPTICAL = "optical"  # has a tray
    REMOVABLE = "removable"  # a stick, a card, a Zip disk, a floppy; also a disk behind USB: it may be pulled
    DISK = "disk"  # stays in the machine: never touched unless it was named


class Slot(enum.StrEnum):
    """What a drive says of the place where a medium goes."""

    EMPTY = "empty"
    OPEN = "tray open"
    NOT_READY = "not ready yet"
    LOADED = "loaded"
    SILENT = "gives no answer"


@dataclass(frozen=True, slots=True)
class Drive:
    """A drive as the machine knows it now.

    `node` is its device ("/dev/sr0"); `key` what names the same drive again when it comes back under another node
    (serial, or the port it hangs on); `title` is for people: vendor and model, printable.
    """

    node: Path
    kind: DriveKind
    key: str
    title: str


@dataclass(frozen=True, slots=True)
class Insertion:
    """A medium lies in a drive and can be read. `number` differs for each insertion into this drive."""

    drive: Drive
    number: int


@dataclass(frozen=True, slots=True)
class Removal:
    """The medium of a drive is gone, or the drive itself with it (`pulled`)."""

    drive: Drive
    pulled: bool


@dataclass(frozen=True, slots=True)
class EjectRequest:
    """The button at the drive was pressed while its tray is locked."""

    drive: Drive


@dataclass(frozen=True, slots=True)
class Refusal:
    """There is a medium, and it is not touched: a fixed disk, the system's disk, something mounted. Said once."""

    drive: Drive
    reason: str
    next_step: str


DriveEvent = Insertion | Removal | EjectRequest | Refusal


@dataclass(frozen=True, slots=True)
class DriveState:
    """A drive at one moment, for people. `polling`: who notices a change of its medium. `refusal`: why it would not be
    touched, None if it would."""

    drive: Drive
    slot: Slot
    polling: str
    refusal: Refusal | None = None


class Release(enum.StrEnum):
    """How far a medium was given back."""

    TRAY_OPEN = "tray open"
    POWERED_OFF = "powered off: it can be pulled out"
    SAFE = "safe to remove"
    STAYS = "stays in the machine; all was written to it that was to be"


class DiscKind(enum.StrEnum):
    """What a drive's own table of contents says of an optical disc; `DATA` for everything that has no such table."""

    BLANK = "blank"
    AUDIO = "audio CD"
    MIXED = "mixed mode CD"
    CD_EXTRA = "CD-Extra"
    VIDEO_DVD = "video DVD"
    DATA = "data"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Track:
    """One track; sectors of 2,048 bytes of user data for data, 2,352 for audio. `start` counts from the disc's 0."""

    number: int
    session: int
    start: int
    sectors: int
    audio: bool


@dataclass(frozen=True, slots=True)
class Disc:
    """What lies in a drive. `profile`: of MMC's list ("CD-R", "DVD-ROM"), "" if unknown or no disc.

    `capacity_bytes`: what the drive says can be read, None if it says nothing. `toc_bytes`: up to the end of the last
    data track. `encrypted`: None if it cannot be told. `remarks`: what is odd, for people.
    """

    kind: DiscKind
    profile: str = ""
    tracks: tuple[Track, ...] = ()
    sessions: int = 0
    capacity_bytes: int | None = None
    toc_bytes: int | None = None
    encrypted: bool | None = None
    remarks: tuple[str, ...] = ()

    @property
    def data_tracks(self) -> tuple[Track, ...]:
        return tuple(track for track in self.tracks if not track.audio)

    @property
    def audio_tracks(self) -> tuple[Track, ...]:
        return tuple(track for track in self.tracks if track.audio)
