"""An optical disc -> a volume for each of its sessions and for each side: ISO 9660, UDF, Apple's."""

from __future__ import annotations

from ntt.model import Route, Volume, VolumeStatus
from ntt.readers.base import ImageSource
from ntt.readers.detection.apple_volumes import apple_volume
from ntt.readers.detection.optical import iso_size, udf_side
from ntt.readers.detection.pieces import Piece, Pieces, Region, opened
from ntt.readers.detection.samples import Recognised, Sample
from ntt.readers.iso.sessions import find_sessions

SESSIONS_KEPT = 200
PARTITIONS_SEARCHED = 4  # of a disk; the search reads a whole CD


def disc_sides(
    source: ImageSource, region: Region, found: Recognised, sessions: tuple[int, ...] | None = None
) -> Pieces:
    """The newest session first, then older ones, then the UDF and the Apple side of the same bytes.

    `sessions` are the starts of the sessions if they are known. OSError if the image file itself cannot be read.
    """
    sample = Sample(source, region.offset_bytes, region.size_bytes)
    if sessions is None:
        many = region.volumes > PARTITIONS_SEARCHED
        sessions = (0,) if many else find_sessions(source, region.offset_bytes, sample.size_bytes)
    layout = _sessions(source, region, found, sample, sessions)
    sides = [side for side in (udf_side(sample), apple_volume(sample)) if side is not None]
    for side in sides:
        name = "UDF" if side.fstype == "udf" else "Apple (HFS)"
        layout.pieces.append(opened(source, region._replace(scheme="hybrid"), side))
        layout.remarks.append(f"a hybrid disc: its {name} side is a volume of its own, equal files are stored once")
    if sides:
        layout.become_hybrid()
    return layout


def _sessions(
    source: ImageSource, region: Region, found: Recognised, sample: Sample, sessions: tuple[int, ...]
) -> Pieces:
    if len(sessions) <= 1:
        start = sessions[0] if sessions else 0
        return Pieces(region.scheme, [opened(source, region, _sized(found, sample, start), start)])
    scheme = "sessions"
    layout = Pieces(scheme)
    newest_first = sessions[::-1][:SESSIONS_KEPT]
    for start in newest_first:
        piece = opened(source, region._replace(scheme=scheme), _sized(found, sample, start), start)
        number = sessions.index(start) + 1
        layout.pieces.append(piece._replace(remarks=(*piece.remarks, f"session {number} of {len(sessions)}")))
    if len(newest_first) < len(sessions):
        lost = len(sessions) - len(newest_first)
        layout.remarks.append(f"the disc has {len(sessions)} sessions: the {lost} oldest are not read")
    return layout


def _sized(found: Recognised, sample: Sample, session: int) -> Recognised:
    """How far a session claims to reach: writers count from the disc's start or from its own, the lesser holds."""
    size = iso_size(sample, session)
    if session and size <= session:
        size += session
    return Recognised(found.fstype, found.route, size, found.finding, found.next_step, found.remarks)


def is_same_disc(sample: Sample, other: Sample) -> bool:
    """Whether two ISO 9660 volumes say the same of themselves: name, size, times (ECMA-119, 8.4, from byte 813 on)."""
    ours, theirs = (one.at(16 * 2048, 2048) for one in (sample, other))
    return bool(ours) and ours[40:72] == theirs[40:72] and ours[813:881] == theirs[813:881]


def audio(region: Region, number: int, seconds: int) -> Piece:
    """A track of sound, which holds no files."""
    return Piece(
        Volume(
            0,
            region.scheme,
            region.offset_bytes,
            region.size_bytes,
            "audio",
            Route.NONE,
            VolumeStatus.FINDING,
            finding=f"track {number} is sound ({seconds // 60:02d}:{seconds % 60:02d}): it holds no files",
            next_step="rip it with cdparanoia from the disc",
        )
    )
