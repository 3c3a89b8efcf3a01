"""Tracks of raw CD sectors -> their volumes: each data track is looked at as if its blocks were an image."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ntt.model import Route, Volume, VolumeStatus
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.detection.disc_sides import audio, disc_sides
from ntt.readers.detection.optical import optical
from ntt.readers.detection.pieces import Piece, Pieces, Region, finding
from ntt.readers.detection.samples import Recognised, Sample
from ntt.readers.raw.tracks import RawTrack, SectorView

USER_BYTES = 2048
SECTORS_A_SECOND = 75
Examine = Callable[[ImageSource, Region, tuple[int, ...] | None], Pieces]
CUT_OUT = "unpack the track into 2048-byte sectors (`bchunk`), cut the volume out and ingest it"
ISO = ("iso9660", Route.ISO9660)
WITHOUT_SESSIONS = (Route.TSK, Route.HFS)


def raw_layout(source: ImageSource, tracks: tuple[RawTrack, ...], examine: Examine) -> Pieces:
    """One volume or more of each track, in the order of the tracks; `examine` looks at ordinary images.

    OSError if the image file itself cannot be read.
    """
    layout = Pieces("cue")
    for track in tracks:
        found = _track(source, track, examine)
        known = {_place(piece) for piece in layout.pieces}
        layout.pieces.extend(piece for piece in found.pieces if _place(piece) not in known)
        layout.remarks.extend(f"track {track.number}: {remark}" for remark in found.remarks)
        if track.remark and track.mode != "audio":
            layout.remarks.append(f"track {track.number}: {track.remark}")
    return layout


def _place(piece: Piece) -> tuple[int, int, int, str]:
    volume = piece.volume
    return volume.offset_bytes, volume.session_bytes, volume.sector_bytes, volume.fstype


def _track(source: ImageSource, track: RawTrack, examine: Examine) -> Pieces:
    whole = Region(track.start_bytes, track.end_bytes - track.start_bytes, "cue")
    if track.mode == "audio":
        seconds = whole.size_bytes // max(track.sector_bytes, 1) // SECTORS_A_SECOND
        return Pieces("cue", [audio(whole, track.number, seconds)])
    if not track.may_hold_files:
        sentence = f"track {track.number} is video or sound of a video CD: it holds no files of its own"
        return Pieces("cue", [finding(whole, "xa_form2", sentence, "extract it with `vcdxrip` from the disc")])
    if not track.sector_bytes:
        region = Region(track.base_bytes, source.size_bytes - track.base_bytes, "cue")
        return _sides(source, region, track) if track.sessions else examine(source, whole, None)
    try:
        view = SectorView(source, track.sector_bytes, track.data_at, track.base_bytes)
    except (OSError, ReadError) as error:
        sentence = f"track {track.number}: its sectors could not be read: {error}"
        return Pieces("cue", [finding(whole, "raw_cd", sentence, "image the disc again as sectors of 2048 bytes")])
    begin, end = view.offset_of(track.start_bytes), view.offset_of(track.end_bytes)
    if begin and track.sessions:
        found = _sides(view, Region(0, view.size_bytes, "cue"), track)
    else:
        found = examine(view, Region(begin, end - begin, "cue"), track.sessions or None)
    found.pieces = [Piece(_in_image(piece.volume, track, view), piece.remarks) for piece in found.pieces]
    return found


def _sides(source: ImageSource, region: Region, track: RawTrack) -> Pieces:
    sample = Sample(source, region.offset_bytes, region.size_bytes)
    return disc_sides(source, region, optical(sample) or Recognised(*ISO, 0), track.sessions)


def _in_image(volume: Volume, track: RawTrack, view: SectorView) -> Volume:
    """A volume of the view as one of the image, in the way that `open_volume` finds it again.

    Readers without sessions are told by `session_bytes` where it begins in the view; for the others byte 0 of a view
    of its own is the start, which must be that of a sector.
    """
    moved = msgspec.structs.replace(
        volume, offset_bytes=track.base_bytes, sector_bytes=track.sector_bytes, data_at=track.data_at, scheme="cue"
    )
    block, odd = divmod(volume.offset_bytes, USER_BYTES)
    if not volume.offset_bytes:
        return moved
    if volume.route in WITHOUT_SESSIONS:
        return msgspec.structs.replace(moved, session_bytes=volume.offset_bytes)
    moved = msgspec.structs.replace(moved, offset_bytes=view.image_offset(block * USER_BYTES) - track.data_at)
    if not odd or volume.status is not VolumeStatus.READ:
        return moved
    sentence = f"it begins {odd} bytes behind the start of a raw sector, where its reader cannot be set"
    return msgspec.structs.replace(
        moved, route=Route.NONE, status=VolumeStatus.FINDING, finding=sentence, next_step=CUT_OUT
    )
