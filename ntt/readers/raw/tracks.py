"""An image, and perhaps its cue sheet -> its tracks of raw CD sectors, and how to read files out of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import PureWindowsPath

from ntt.ranges import within
from ntt.readers.base import ImageSource
from ntt.readers.raw.cue_sheet import SECTOR_BYTES, CueSheetError, CueTrack, parse_cue
from ntt.readers.raw.headers import DATA_AT, SYNC, USER_BYTES, WITH_HEADER, stretches
from ntt.readers.raw.track import PLAIN, RawTrack, Span, data_track
from ntt.readers.raw.view import SectorView

__all__ = ["RawTrack", "SectorView", "raw_tracks"]

_LARGEST_CD_BYTES = 100 * 60 * 75 * 2448
_FIRST_SECTORS = 16
_SPREAD = 64
_IMAGE_TYPES = ("BINARY", "MOTOROLA", "IMAGE")


def raw_tracks(source: ImageSource, cue_text: str = "", file_name: str = "") -> tuple[RawTrack, ...]:
    """The tracks in the order of the image; empty if it is an ordinary image, whose blocks begin with its first byte.

    `file_name` says which file of the cue sheet this image is, where it names several. A sheet that is none, or does
    not fit the image, is not believed: sync patterns and addresses in the sectors then tell. A single session that
    was imaged without those before it is a track of plain sectors with a negative base.
    Reads some hundred sectors, and each data track once. OSError if the image file itself cannot be read.
    """
    doubt = ""
    if cue_text.strip():
        try:
            return _from_cue(source, _tracks_of(parse_cue(cue_text), file_name))
        except CueSheetError as wrong:
            doubt = f"the cue sheet was not used: {wrong}"
    found = _from_headers(source) or _lone_session(source)
    if doubt and found:
        found = (replace(found[0], remark="; ".join(filter(None, (doubt, found[0].remark)))), *found[1:])
    return found


# ---- with a cue sheet


def _tracks_of(tracks: tuple[CueTrack, ...], file_name: str) -> list[CueTrack]:
    """Those of one file."""
    names = {_base_name(track.file_name) for track in tracks}
    name = _base_name(file_name) if len(names) > 1 else next(iter(names))
    kept = [track for track in tracks if _base_name(track.file_name) == name]
    if not kept:
        raise CueSheetError(f"it names {len(names)} files, and this image is not known to be one of them")
    if any(track.file_type not in _IMAGE_TYPES for track in kept):
        raise CueSheetError(f"it says that the image is a sound file ({kept[0].file_type[:20]})")
    return kept


def _base_name(name: str) -> str:
    return PureWindowsPath(name).name.casefold()  # takes both kinds of slashes


def _from_cue(source: ImageSource, tracks: list[CueTrack]) -> tuple[RawTrack, ...]:
    spans = list(_spans(source, tracks))
    for span, _ in spans:
        if span.mode == "audio" and _holds_data(source, span):
            raise CueSheetError(f"track {span.number}, sound by the sheet, holds data")
        if span.mode != "audio" and not _fits(source, span):
            raise CueSheetError(f"no sector of track {span.number} begins as one of {span.sector_bytes} bytes does")
    found = tuple(data_track(source, span) if span.mode != "audio" else _audio(span) for span, _ in spans)
    lost = [str(track.number) for track in tracks[len(spans) :]]
    if lost and found:
        remark = f"the image ends before track {', '.join(lost)} of the cue sheet"
        found = (*found[:-1], replace(found[-1], remark="; ".join(filter(None, (found[-1].remark, remark)))))
    if all(track.sector_bytes == 0 and track.base_bytes == 0 for track in found):
        return ()
    return found


def _spans(source: ImageSource, tracks: list[CueTrack]) -> Iterator[tuple[Span, CueTrack]]:
    """Where the tracks lie in the file; sector sizes may change from track to track. Ends at the end of the image."""
    at = tracks[0].first_frame * SECTOR_BYTES[tracks[0].mode]
    for track, following in (*pairwise(tracks), (tracks[-1], None)):
        size = SECTOR_BYTES[track.mode]
        end = source.size_bytes
        if following is not None:
            if not track.first_frame <= track.start_frame <= following.first_frame:
                raise CueSheetError(f"track {following.number} begins before track {track.number} ends")
            end = min(at + (following.first_frame - track.first_frame) * size, end)
        if at >= source.size_bytes:
            return
        start = at + (track.start_frame - track.first_frame) * size
        mode = "audio" if track.is_audio else track.mode.split("/")[0].lower().replace("cdi", "mode2")
        yield Span(track.number, mode, size, at, start, end), track
        at = end


def _fits(source: ImageSource, span: Span) -> bool:
    """Whether sectors begin where the cue sheet says, as far as that can be told; unread ones are believed."""
    if span.sector_bytes == PLAIN:
        return source.read(span.start, 12) != SYNC
    if span.sector_bytes not in WITH_HEADER:
        return True
    places = range(span.start, max(span.end - 15, span.start + 1), span.sector_bytes)[:_FIRST_SECTORS]
    ends = range(span.end, span.end + span.sector_bytes)
    for place in places:
        if source.read(place, 12) == SYNC:
            following = place + span.sector_bytes
            if following in ends or source.read(following, 12) == SYNC:
                return True
    return all(within(source.unread, place, place + 12) or place + 12 > source.size_bytes for place in places)


def _holds_data(source: ImageSource, span: Span) -> bool:
    places = range(span.start, span.end, span.sector_bytes)
    sampled = (*places[:_FIRST_SECTORS], *places[:: max(len(places) // _SPREAD, 1)])
    return any(source.read(at, 12) == SYNC and source.read(at + span.sector_bytes, 12) == SYNC for at in sampled)


# ---- without one


def _from_headers(source: ImageSource) -> tuple[RawTrack, ...]:
    size = next((size for size in WITH_HEADER if _has_sectors_of(source, size)), 0)
    if not size:
        return ()
    count = -(-source.size_bytes // size)
    kinds = stretches(count, lambda index: _kind(source, index, size))
    ends = [index for index, _ in kinds[1:]] + [count]
    tracks: list[RawTrack] = []
    for number, ((index, kind), end) in enumerate(zip(kinds, ends, strict=True), 1):
        span = Span(number, kind, size, index * size, index * size, min(end * size, source.size_bytes))
        tracks.append(_audio(span) if kind == "audio" else data_track(source, span))
    return tuple(tracks)


def _has_sectors_of(source: ImageSource, size: int) -> bool:
    """Two sync patterns, one sector apart: among the first sectors, or anywhere if the image has the size of a CD's."""
    count = source.size_bytes // size
    places = list(range(min(_FIRST_SECTORS, count)))
    if source.size_bytes % size == 0 and source.size_bytes <= _LARGEST_CD_BYTES:
        places.extend(range(0, count, max(count // _SPREAD, 1)))
    return any(
        source.read(index * size, 12) == SYNC and source.read((index + 1) * size, 12) == SYNC for index in places
    )


def _kind(source: ImageSource, index: int, size: int) -> str | None:
    """What the sector is; None: it does not say."""
    header = source.read(index * size, 16)
    if header[:12] == SYNC:
        return f"mode{header[15]}" if header[15] in DATA_AT else None
    if within(source.unread, index * size, index * size + 16):
        return None
    beside = (source.read(max(index + step, 0) * size, 12) for step in (-2, -1, 1, 2))
    return None if SYNC in beside else "audio"


def _audio(span: Span) -> RawTrack:
    remark = f"sound: {(span.end - span.begin) // span.sector_bytes} sectors without a file system"
    return RawTrack(span.number, "audio", span.sector_bytes, 0, span.begin, span.begin, span.end, (), remark)


def _lone_session(source: ImageSource) -> tuple[RawTrack, ...]:
    if source.size_bytes < 17 * USER_BYTES or source.read(16 * USER_BYTES, 6) != b"\x01CD001":
        return ()
    track = data_track(source, Span(1, "mode1", PLAIN, 0, 0, source.size_bytes))
    return (track,) if track.base_bytes < 0 else ()
