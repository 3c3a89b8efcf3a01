"""What a drive told of its disc -> what kind of disc it is, its tracks and sessions, and what is odd about it.

Sources: MMC-6, 4.2 (CD tracks, sessions) and 6.25; Blue Book (Enhanced Music CD) for CD-Extra; <linux/cdrom.h> for
CDROM_DISC_STATUS. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from ntt.devices.optical import Told
from ntt.drives import Disc, DiscKind, Track
from ntt.tools.mmc import SECTOR_BYTES, Toc, TocEntry

SESSION_GAP = 11_400  # between the tracks of the first session and those of the second: lead-out, lead-in, pregap
HIDDEN = 150  # sectors; many discs begin with less than two seconds of silence
RUN_OUT = 2  # sectors after the data of a track written by itself, which no drive reads as data
_CSS, _AACS = (0x01,), (0x03, 0x10)
_KINDS_OF_STATUS = {100: DiscKind.AUDIO, 105: DiscKind.MIXED} | dict.fromkeys(range(101, 105), DiscKind.DATA)
_MOST_SECTORS = 1 << 31


def disc_of(told: Told) -> Disc:
    """For a disc that is in the drive. What contradicts itself is left out and remarked on, never believed."""
    remarks = [] if told.complete else ["the drive did not answer all questions in time"]
    if told.information is not None and told.information.blank:
        return Disc(DiscKind.BLANK, told.profile or "", remarks=tuple(remarks))
    is_cd = told.profile is None or told.profile.startswith("CD")
    toc = (told.full_toc if is_cd else None) or told.toc  # others have no lead-in: what drives make up is too small
    if toc is None:
        kind = _KINDS_OF_STATUS.get(told.status or 0, DiscKind.UNKNOWN)
        kind = DiscKind.DATA if kind is DiscKind.UNKNOWN and told.capacity_bytes else kind
        remarks.append("the drive tells no table of contents")
        return Disc(kind, told.profile or "", (), _sessions(told, ()), told.capacity_bytes, remarks=tuple(remarks))
    tracks, odd = _tracks(toc, told, SESSION_GAP if is_cd else 0)
    if odd or toc.odd:
        remarks.append("its table of contents contradicts itself")
    lead_out = max((start for _, start in toc.lead_outs), default=0)
    data_end = max((track.start + track.sectors for track in tracks if not track.audio), default=0)
    remarks += (
        _about_beginning(tracks) + _about_sessions(told) + _about_capacity(told.capacity_bytes, data_end, lead_out)
    )
    kind, encrypted = _kind(tracks, told)
    sessions, toc_bytes = _sessions(told, tracks), data_end * SECTOR_BYTES or None
    capacity = told.capacity_bytes
    return Disc(kind, told.profile or "", tracks, sessions, capacity, toc_bytes, encrypted, tuple(remarks))


def _tracks(toc: Toc, told: Told, gap: int) -> tuple[tuple[Track, ...], bool]:
    """In the order of the disc, each up to the next one of its session or that session's end; was anything odd?"""
    entries = sorted(_with_sessions(toc.entries, told), key=lambda entry: (entry.start, entry.number))
    lead_outs = dict(toc.lead_outs)
    tracks: list[Track] = []
    odd = False
    for at, entry in enumerate(entries):
        after = entries[at + 1] if at + 1 < len(entries) else None
        end = lead_outs.get(entry.session)
        if after is not None and after.session == entry.session:
            end = after.start
        elif end is None:  # a table without sessions
            end = lead_outs.get(0, entry.start) if after is None else after.start - gap
        start = max(entry.start, 0)  # audio may begin before 0
        if not start <= end < _MOST_SECTORS or (after is not None and end > after.start):
            odd, end = True, start
        odd |= after is not None and after.number <= entry.number
        tracks.append(Track(entry.number, max(entry.session, 1), start, end - start, entry.audio))
    return tuple(tracks), odd


def _with_sessions(entries: Sequence[TocEntry], told: Told) -> list[TocEntry]:
    """A table without sessions: what lies from the beginning of the last session on belongs to it."""
    if any(entry.session for entry in entries):
        return list(entries)
    last = told.last_session or 0
    if last <= 0 or not any(entry.start == last for entry in entries):
        return [TocEntry(entry.number, 1, entry.start, entry.audio) for entry in entries]
    number = max(_sessions(told, ()), 2)
    return [TocEntry(entry.number, number if entry.start >= last else 1, entry.start, entry.audio) for entry in entries]


def _sessions(told: Told, tracks: Sequence[Track]) -> int:
    """Complete ones, or those that are told of tracks."""
    if told.information is not None:
        return max(
            told.information.sessions - (told.information.last_session_empty and told.information.sessions > 1), 1
        )
    return max((track.session for track in tracks), default=2 if told.last_session else 1)


def _kind(tracks: Sequence[Track], told: Told) -> tuple[DiscKind, bool | None]:
    audio = {track.session for track in tracks if track.audio}
    data = {track.session for track in tracks if not track.audio}
    if audio and not data:
        return DiscKind.AUDIO, None
    if audio:
        # audio first and data in a later session, which players of music never see
        return (DiscKind.CD_EXTRA if max(audio) < min(data) else DiscKind.MIXED), None
    if not data:
        return DiscKind.UNKNOWN, None
    if (told.profile or "").startswith(("DVD", "HD DVD")) and told.protection is not None:
        if told.protection in _CSS + _AACS:
            return DiscKind.VIDEO_DVD, True
        return DiscKind.DATA, False if told.protection == 0 else None
    return DiscKind.DATA, None


def _about_beginning(tracks: Sequence[Track]) -> list[str]:
    if not tracks or tracks[0].start < HIDDEN:
        return []
    return [f"{tracks[0].start / 75:.0f} s lie before its first track, and are not read: there may be hidden music"]


def _about_sessions(told: Told) -> list[str]:
    if told.information is not None and told.information.appendable:
        return ["it is not finished: more could have been written to it, and some drives read only a part"]
    return []


def _about_capacity(capacity_bytes: int | None, data_end: int, lead_out: int) -> list[str]:
    """Drives, and bridges between, sometimes tell too little; an image of that size looks whole."""
    if capacity_bytes is None:
        return []
    told, end = capacity_bytes // SECTOR_BYTES, max(data_end, lead_out)
    if told + RUN_OUT >= end:
        return []
    return [f"the drive offers {told:,} sectors, its table of contents goes up to {end:,}: try another drive"]
