"""What a drive tells of a disc -> its kind and tracks, for every kind of disc, with and without SCSI commands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntt.devices.discs import disc_of
from ntt.devices.optical import Told
from ntt.drives import Disc, DiscKind, Track
from ntt.tools.mmc import DiscInformation, Toc, TocEntry

DONE = DiscInformation(False, False, False, 1, False)
TWO_SESSIONS = DiscInformation(False, False, False, 2, False)
S = 2048


def toc(*tracks: tuple[int, int, int, bool], ends: tuple[tuple[int, int], ...]) -> Toc:
    return Toc(tuple(TocEntry(*track) for track in tracks), ends)


DATA = toc((1, 1, 0, False), ends=((1, 1000),))
AUDIO = toc((1, 1, 0, True), (2, 1, 500, True), ends=((1, 900),))
MIXED = toc((1, 1, 0, False), (2, 1, 500, True), (3, 1, 700, True), ends=((1, 900),))
EXTRA = toc((1, 1, 0, True), (2, 1, 500, True), (3, 2, 12300, False), ends=((1, 900), (2, 13000)))
EXTRA_TRACKS = (Track(1, 1, 0, 500, True), Track(2, 1, 500, 400, True), Track(3, 2, 12300, 700, False))
SESSIONS = toc((1, 1, 0, False), (2, 2, 11900, False), ends=((1, 500), (2, 12500)))
SESSION_TRACKS = (Track(1, 1, 0, 500, False), Track(2, 2, 11900, 600, False))
ONE_DVD = toc((1, 0, 0, False), ends=((0, 2000),))
DVD_TRACKS = (Track(1, 1, 0, 2000, False),)


def plain(toc: Toc) -> Toc:
    """The same without sessions, as the kernel and the formatted table tell it."""
    last = max(toc.lead_outs)[1]
    return Toc(tuple(TocEntry(one.number, 0, one.start, one.audio) for one in toc.entries), ((0, last),))


CASES = {
    "data CD": (
        Told("CD-ROM", DONE, DATA, capacity_bytes=1000 * S),
        Disc(DiscKind.DATA, "CD-ROM", (Track(1, 1, 0, 1000, False),), 1, 1000 * S, 1000 * S),
    ),
    "data CD by the kernel alone": (
        Told(toc=plain(DATA), status=101, last_session=0),
        Disc(DiscKind.DATA, "", (Track(1, 1, 0, 1000, False),), 1, None, 1000 * S),
    ),
    "audio CD": (
        Told("CD-ROM", DONE, AUDIO, capacity_bytes=900 * S),
        Disc(DiscKind.AUDIO, "CD-ROM", (Track(1, 1, 0, 500, True), Track(2, 1, 500, 400, True)), 1, 900 * S, None),
    ),
    "audio CD by the kernel alone": (
        Told(toc=plain(AUDIO), status=100, last_session=0),
        Disc(DiscKind.AUDIO, "", (Track(1, 1, 0, 500, True), Track(2, 1, 500, 400, True)), 1),
    ),
    "mixed mode CD": (
        Told("CD-R", DONE, MIXED, capacity_bytes=900 * S),
        Disc(
            DiscKind.MIXED,
            "CD-R",
            (Track(1, 1, 0, 500, False), Track(2, 1, 500, 200, True), Track(3, 1, 700, 200, True)),
            1,
            900 * S,
            500 * S,
        ),
    ),
    "CD-Extra": (
        Told("CD-ROM", TWO_SESSIONS, EXTRA, capacity_bytes=13000 * S),
        Disc(DiscKind.CD_EXTRA, "CD-ROM", EXTRA_TRACKS, 2, 13000 * S, 13000 * S),
    ),
    "CD-Extra by the kernel alone": (
        Told(toc=plain(EXTRA), status=105, last_session=12300),
        Disc(DiscKind.CD_EXTRA, "", EXTRA_TRACKS, 2, None, 13000 * S),
    ),
    "multi-session CD": (
        Told("CD-R", TWO_SESSIONS, SESSIONS, capacity_bytes=12500 * S),
        Disc(DiscKind.DATA, "CD-R", SESSION_TRACKS, 2, 12500 * S, 12500 * S),
    ),
    "multi-session CD by the kernel alone": (
        Told(toc=plain(SESSIONS), status=103, last_session=11900),
        Disc(DiscKind.DATA, "", SESSION_TRACKS, 2, None, 12500 * S),
    ),
    "multi-session CD that is not finished": (
        Told("CD-R", DiscInformation(False, True, False, 3, True), SESSIONS, capacity_bytes=12500 * S),
        Disc(
            DiscKind.DATA,
            "CD-R",
            SESSION_TRACKS,
            2,
            12500 * S,
            12500 * S,
            remarks=("it is not finished: more could have been written to it, and some drives read only a part",),
        ),
    ),
    "data after audio in one session": (
        Told("CD-R", DONE, toc((1, 1, 0, True), (2, 1, 500, False), ends=((1, 900),))),
        Disc(DiscKind.MIXED, "CD-R", (Track(1, 1, 0, 500, True), Track(2, 1, 500, 400, False)), 1, None, 900 * S),
    ),
    "audio before sector 0": (
        Told("CD-ROM", DONE, toc((1, 1, -150, True), ends=((1, 900),))),
        Disc(DiscKind.AUDIO, "CD-ROM", (Track(1, 1, 0, 900, True),), 1),
    ),
    "hidden music": (
        Told("CD-ROM", DONE, toc((1, 1, 7500, True), ends=((1, 9000),))),
        Disc(
            DiscKind.AUDIO,
            "CD-ROM",
            (Track(1, 1, 7500, 1500, True),),
            1,
            remarks=("100 s lie before its first track, and are not read: there may be hidden music",),
        ),
    ),
    "blank CD-R": (
        Told("CD-R", DiscInformation(True, False, False, 1, True)),
        Disc(DiscKind.BLANK, "CD-R"),
    ),
    "blank disc by the kernel alone": (
        Told(status=0),
        Disc(DiscKind.UNKNOWN, sessions=1, remarks=("the drive tells no table of contents",)),
    ),
    "encrypted video DVD": (
        Told("DVD-ROM", DONE, None, ONE_DVD, 2000 * S, 1),
        Disc(DiscKind.VIDEO_DVD, "DVD-ROM", DVD_TRACKS, 1, 2000 * S, 2000 * S, encrypted=True),
    ),
    "DVD without protection": (
        Told("DVD-R", DONE, None, ONE_DVD, 2000 * S, 0),
        Disc(DiscKind.DATA, "DVD-R", DVD_TRACKS, 1, 2000 * S, 2000 * S, encrypted=False),
    ),
    "DVD of which protection is not told": (
        Told("DVD-ROM", DONE, None, ONE_DVD, 2000 * S),
        Disc(DiscKind.DATA, "DVD-ROM", DVD_TRACKS, 1, 2000 * S, 2000 * S),
    ),
    "DVD with a full table that the drive made up": (
        Told("DVD-ROM", DONE, DATA, ONE_DVD, 2000 * S, 0),
        Disc(DiscKind.DATA, "DVD-ROM", DVD_TRACKS, 1, 2000 * S, 2000 * S, encrypted=False),
    ),
    "DVD+RW without a table of contents": (
        Told("DVD+RW", DONE, capacity_bytes=2000 * S),
        Disc(DiscKind.DATA, "DVD+RW", (), 1, 2000 * S, remarks=("the drive tells no table of contents",)),
    ),
    "capacity that is too short": (
        Told("CD-ROM", DONE, DATA, capacity_bytes=900 * S),
        Disc(
            DiscKind.DATA,
            "CD-ROM",
            (Track(1, 1, 0, 1000, False),),
            1,
            900 * S,
            1000 * S,
            remarks=("the drive offers 900 sectors, its table of contents goes up to 1,000: try another drive",),
        ),
    ),
    "capacity without the run-out of a track": (
        Told("CD-R", DONE, DATA, capacity_bytes=998 * S),
        Disc(DiscKind.DATA, "CD-R", (Track(1, 1, 0, 1000, False),), 1, 998 * S, 1000 * S),
    ),
    "tracks that contradict each other": (
        Told("CD-ROM", DONE, toc((2, 1, 0, False), (1, 1, 500, False), ends=((1, 100),))),
        Disc(
            DiscKind.DATA,
            "CD-ROM",
            (Track(2, 1, 0, 500, False), Track(1, 1, 500, 0, False)),
            1,
            None,
            500 * S,
            remarks=("its table of contents contradicts itself",),
        ),
    ),
    "a drive that fell silent": (
        Told(toc=plain(DATA), complete=False),
        Disc(
            DiscKind.DATA,
            "",
            (Track(1, 1, 0, 1000, False),),
            1,
            None,
            1000 * S,
            remarks=("the drive did not answer all questions in time",),
        ),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_disc_is_told_apart(case: str) -> None:
    told, disc = CASES[case]
    assert disc_of(told) == disc


_entries = st.builds(TocEntry, st.integers(1, 99), st.integers(0, 9), st.integers(-(1 << 31), 1 << 31), st.booleans())
_tocs = st.builds(
    Toc,
    st.lists(_entries, min_size=1, max_size=20).map(tuple),
    st.lists(st.tuples(st.integers(0, 9), st.integers(-(1 << 31), 1 << 31)), max_size=9).map(tuple),
)
_informations = st.builds(
    DiscInformation, st.just(False), st.booleans(), st.booleans(), st.integers(0, 65535), st.booleans()
)


@given(
    st.builds(
        Told,
        st.sampled_from([None, "", "CD-ROM", "DVD-ROM"]),
        st.none() | _informations,
        st.none() | _tocs,
        st.none() | _tocs,
        st.none() | st.integers(1, 1 << 50),
        st.none() | st.integers(0, 255),
        st.none() | st.integers(0, 200),
        st.none() | st.integers(-(1 << 31), 1 << 31),
    )
)
def test_no_table_of_contents_makes_tracks_that_cannot_be(told: Told) -> None:
    disc = disc_of(told)
    assert all(track.start >= 0 and track.sectors >= 0 and track.session >= 1 for track in disc.tracks)
    assert sum(track.sectors for track in disc.tracks) < 1 << 33
    assert disc.sessions >= 1
