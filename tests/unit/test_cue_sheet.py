"""Cue sheets as people and programs write them, and text that is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntt.readers.raw.cue_sheet import SECTOR_BYTES, CueSheetError, CueTrack, decode_cue, parse_cue

SHEET = """\ufeffREM GENRE Data
CATALOG 0000000000000
PERFORMER "A ""quoted"" name"
FILE "My Disc (Ünder).bin" BINARY
  TRACK 01 MODE1/2352
    FLAGS DCP
    INDEX 01 00:00:00
    POSTGAP 00:02:00
  track 02 audio
    TITLE "One \\" two"
    PREGAP 00:02:00
    INDEX 00 10:00:74
    INDEX 01 10:03:00
    INDEX 02 11:00:00
REM SESSION 02
  TRACK 03 MODE2/2336
    INDEX 01 70:00:01
"""


def test_tracks_are_what_the_sheet_says() -> None:
    name = "My Disc (Ünder).bin"
    assert parse_cue(SHEET) == (
        CueTrack(1, "MODE1/2352", name, "BINARY", 0, 0, postgap_frames=150),
        CueTrack(2, "AUDIO", name, "BINARY", 45_074, 45_225, pregap_frames=150),
        CueTrack(3, "MODE2/2336", name, "BINARY", 315_001, 315_001, session=2),
    )
    assert [track.is_audio for track in parse_cue(SHEET)] == [False, True, False]


def test_line_ends_tabs_and_names_without_quotes_are_all_the_same() -> None:
    for end in ("\n", "\r\n", "\r"):
        text = end.join(("FILE x.bin", "\tTRACK 1 MODE1/2048 ", "INDEX 1 0:0:0", ""))
        assert parse_cue(text) == (CueTrack(1, "MODE1/2048", "x.bin", "BINARY", 0, 0),)
    assert parse_cue('FILE "a b.bin\nTRACK 1 AUDIO\nINDEX 1 0:0:0')[0].file_name == "a b.bin"


def test_a_pregap_in_the_file_before_does_not_count_for_the_next_file() -> None:
    text = 'FILE "a" WAVE\nTRACK 1 AUDIO\nINDEX 1 0:0:0\nTRACK 2 AUDIO\nINDEX 0 3:0:0\nFILE "b" WAVE\nINDEX 1 0:0:2'
    assert parse_cue(text)[1] == CueTrack(2, "AUDIO", "b", "WAVE", 2, 2)


def test_bytes_become_text_in_the_encoding_they_are_in() -> None:
    for encoding in ("utf-8", "utf-8-sig", "latin-1", "utf-16"):
        assert decode_cue("FILE “Ü”".replace("“", '"').replace("”", '"').encode(encoding)) == 'FILE "Ü"'
    assert decode_cue(b"\xff\xfe\x00") is not None


TRACK = "FILE x BINARY\nTRACK 01 AUDIO\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "names no track"),
        ("FILE x BINARY", "names no track"),
        ("FILE", "line 1 .* says too little"),
        ("TRACK 01 AUDIO", "before any FILE"),
        ("FILE x BINARY\nINDEX 01 00:00:00", "line 2 .* belongs to no track"),
        ("FILE x BINARY\nPREGAP 00:00:00", "belongs to no track"),
        ("FILE x BINARY\nTRACK 01 MODE9/1", "unknown kind 'MODE9/1'"),
        ("FILE x BINARY\nTRACK 100 AUDIO", "no disc has a track '100'"),
        ("FILE x BINARY\nTRACK ² AUDIO", "no disc has a track"),
        (TRACK, "has no INDEX 01"),
        (TRACK + "INDEX 00 00:00:00", "has no INDEX 01"),
        (TRACK + "INDEX 01 00:60:00", "no time"),
        (TRACK + "INDEX 01 00:00:75", "no time"),
        (TRACK + "INDEX 01 ٠:0:0", "no time"),
        (TRACK + "INDEX one 00:00:00", "INDEX numbered 'one'"),
        ("FILE x\n" * 201, "more than 200 files"),
        (TRACK * 100, "no disc has a track"),
        ("x" * (2 << 20), "2097152 characters"),
    ],
)
def test_what_is_no_cue_sheet_is_refused_with_the_place(text: str, why: str) -> None:
    with pytest.raises(CueSheetError, match=why):
        parse_cue(text)


COMMANDS = ("FILE", "TRACK", "INDEX", "PREGAP", "POSTGAP", "REM", "SESSION", "BINARY", '"', "x", "01", "00", "99", "-1")
TIMES = ("00:00:00", "01:02:03", "99:99:99", "٣", "\n", "\r\n", "\t", "\0")
WORDS = st.sampled_from((*COMMANDS, *TIMES, *SECTOR_BYTES))


@given(st.one_of(st.text(), st.lists(WORDS, max_size=60).map(" ".join)))
def test_any_text_is_tracks_or_the_one_error(text: str) -> None:
    try:
        tracks = parse_cue(text)
    except CueSheetError:
        return
    assert 1 <= len(tracks) <= 99
    assert all(track.mode in SECTOR_BYTES and 0 <= track.start_frame < 1_000_000 for track in tracks)


@given(st.binary())
def test_any_bytes_are_some_text(content: bytes) -> None:
    assert isinstance(decode_cue(content), str)
