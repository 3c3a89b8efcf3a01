"""The text of a cue sheet -> the tracks that it describes (CDRWIN User's Guide, "Cue sheet commands")."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ntt.readers.base import ReadError

FRAMES_PER_SECOND = 75
# Sector size of each mode in the image; the third kind of number in a name is that of a Philips CD-i writer.
SECTOR_BYTES = {
    "AUDIO": 2352,
    "CDG": 2448,
    "MODE1/2048": 2048,
    "MODE1/2352": 2352,
    "MODE1/2448": 2448,
    "MODE2/2048": 2048,
    "MODE2/2324": 2324,
    "MODE2/2336": 2336,
    "MODE2/2352": 2352,
    "MODE2/2448": 2448,
    "CDI/2336": 2336,
    "CDI/2352": 2352,
}
_LONGEST_TEXT = 1 << 20
_MOST_TRACKS = 99
_MOST_FILES = 200
_WORD = re.compile(r'"([^"]*)"?|(\S+)')
_TIME = re.compile(r"([0-9]{1,4}):([0-9]{1,2}):([0-9]{1,2})")


class CueSheetError(ReadError):
    """This text is no cue sheet; the message says where it goes wrong."""


@dataclass(frozen=True, slots=True)
class CueTrack:
    """One track. Frames are sectors, counted from the start of the file that holds the track.

    `first_frame` is where the track begins in the file, its pregap (INDEX 00) included where the file holds it;
    `start_frame` is its INDEX 01. `pregap_frames` and `postgap_frames` are on the disc, but not in the file.
    """

    number: int
    mode: str  # one of SECTOR_BYTES
    file_name: str
    file_type: str  # "BINARY", "MOTOROLA", "WAVE", ...
    first_frame: int
    start_frame: int
    pregap_frames: int = 0
    postgap_frames: int = 0
    session: int = 1

    @property
    def is_audio(self) -> bool:
        return self.mode in ("AUDIO", "CDG")


def decode_cue(content: bytes) -> str:
    """The text of a cue file: UTF-8 or UTF-16 if it is marked or valid as such, otherwise Latin-1."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def parse_cue(text: str) -> tuple[CueTrack, ...]:
    """The tracks in the order of the sheet, at least one; unknown commands are skipped. CueSheetError for all else."""
    if len(text) > _LONGEST_TEXT:
        raise CueSheetError(f"a cue sheet of {len(text)} characters is none")
    sheet = _Sheet()
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        words = [quoted or plain for quoted, plain in _WORD.findall(line.lstrip("\ufeff"))]
        if words:
            try:
                sheet.take(words[0].upper(), words[1:])
            except CueSheetError as wrong:
                raise CueSheetError(f"line {number} of the cue sheet: {wrong}") from None
    tracks = sheet.result()
    if not tracks:
        raise CueSheetError("the cue sheet names no track")
    return tracks


class _Sheet:
    """What the lines read so far have said."""

    def __init__(self) -> None:
        self._tracks: list[CueTrack] = []
        self._file = ("", "")
        self._files = 0
        self._session = 1

    def take(self, command: str, words: list[str]) -> None:
        match command, words:
            case "FILE", [name, *kinds]:
                self._files += 1
                if self._files > _MOST_FILES:
                    raise CueSheetError(f"more than {_MOST_FILES} files")
                self._file = (name, kinds[-1].upper() if kinds else "BINARY")
            case "TRACK", [number, mode, *_]:
                self._track(number, mode.upper())
            case "INDEX", [number, time, *_]:
                self._index(number, _frames(time))
            case "PREGAP", [time, *_]:
                self._keep(replace(self._last(), pregap_frames=_frames(time)))
            case "POSTGAP", [time, *_]:
                self._keep(replace(self._last(), postgap_frames=_frames(time)))
            case "REM", [kind, number, *_] if kind.upper() == "SESSION" and _is_number(number):
                self._session = int(number)
            case (("FILE" | "TRACK" | "INDEX" | "PREGAP" | "POSTGAP"), _):
                raise CueSheetError(f"{command} says too little")
            case _:
                pass

    def result(self) -> tuple[CueTrack, ...]:
        for track in self._tracks:
            if track.start_frame < 0:
                raise CueSheetError(f"track {track.number} of the cue sheet has no INDEX 01")
        return tuple(self._tracks)

    def _track(self, number: str, mode: str) -> None:
        if mode not in SECTOR_BYTES:
            raise CueSheetError(f"a track of the unknown kind {mode[:20]!r}")
        if not _is_number(number) or not 1 <= int(number) <= _MOST_TRACKS or len(self._tracks) >= _MOST_TRACKS:
            raise CueSheetError(f"no disc has a track {number[:20]!r}")
        if not self._files:
            raise CueSheetError("a track before any FILE")
        self._tracks.append(CueTrack(int(number), mode, *self._file, -1, -1, session=self._session))

    def _index(self, number: str, frames: int) -> None:
        if not _is_number(number):
            raise CueSheetError(f"an INDEX numbered {number[:20]!r}")
        track = self._last()
        if int(number) == 0 or track.first_frame < 0:
            track = replace(track, first_frame=frames)
        if int(number) == 1:
            if (track.file_name, track.file_type) != self._file:  # the pregap ends the file before
                track = replace(track, file_name=self._file[0], file_type=self._file[1], first_frame=frames)
            track = replace(track, start_frame=frames)
        self._keep(track)

    def _last(self) -> CueTrack:
        if not self._tracks:
            raise CueSheetError("it belongs to no track")
        return self._tracks[-1]

    def _keep(self, track: CueTrack) -> None:
        self._tracks[-1] = track


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= 4


def _frames(time: str) -> int:
    found = _TIME.fullmatch(time)
    if found is None:
        raise CueSheetError(f"{time[:20]!r} is no time (minutes:seconds:frames)")
    minutes, seconds, frames = map(int, found.groups())
    if seconds > 59 or frames >= FRAMES_PER_SECOND:
        raise CueSheetError(f"{time[:20]!r} is no time (minutes:seconds:frames)")
    return (minutes * 60 + seconds) * FRAMES_PER_SECOND + frames
