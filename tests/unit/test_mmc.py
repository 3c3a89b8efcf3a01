"""What an optical drive answers, written by hand from MMC-6, is understood; what is cut off or mad never fails."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntt.tools import mmc
from ntt.tools.mmc import DiscInformation, Sense, Toc, TocEntry

# data length 802h, current profile 0008h
CONFIGURATION = bytes.fromhex("00000802 0000 0008")
# length 20h; finalized, last session complete; first track 1, 1 session, tracks 1 to 1 in the last; CD-ROM
FINISHED = bytes.fromhex("0020 0e 01 01 01 01 20 00 00 00 00") + bytes(22)
BLANK = bytes.fromhex("0020 00 01 01 01 01 20 ff 00 00 00") + bytes(22)
APPENDABLE = bytes.fromhex("0020 11 01 03 03 03 20 20 00 00 00") + bytes(22)
# tracks 1 (data, LBA 0) and 2 (audio, LBA 1000h), lead-out (LBA 2000h)
TOC = bytes.fromhex("001a 01 02  00 14 01 00 00000000  00 10 02 00 00001000  00 14 aa 00 00002000")


def full(*points: str) -> bytes:
    body = b"".join(map(bytes.fromhex, points))
    return (len(body) + 2).to_bytes(2) + b"\x01\x02" + body


# session, ADR and control, TNO, POINT, MSF, zero, PMSF: a CD-Extra with one song and one data track
CD_EXTRA = full(
    "01 10 00 a0 000000 00 010000",
    "01 10 00 a1 000000 00 010000",
    "01 10 00 a2 000000 00 020200",
    "01 10 00 01 000000 00 000200",
    "01 50 00 b0 040200 02 4f3b4a",
    "02 14 00 a0 000000 00 022000",
    "02 14 00 a2 000000 00 060000",
    "02 14 00 02 000000 00 042200",
)


def test_the_profile_is_told_by_its_name() -> None:
    assert mmc.profile_of(CONFIGURATION) == "CD-ROM"
    assert mmc.profile_of(CONFIGURATION[:-2] + b"\x00\x2b") == "DVD+R DL"
    assert mmc.profile_of(CONFIGURATION[:-2] + b"\x0f\xff") == "profile 0fffh"
    assert mmc.profile_of(CONFIGURATION[:-2] + b"\x00\x00") == ""
    assert mmc.profile_of(CONFIGURATION[:7]) is None


def test_the_state_of_a_disc_is_told() -> None:
    assert mmc.disc_information(FINISHED) == DiscInformation(False, False, False, 1, False)
    assert mmc.disc_information(BLANK) == DiscInformation(True, False, False, 1, True)
    assert mmc.disc_information(APPENDABLE) == DiscInformation(False, True, True, 3, True)
    many = bytearray(FINISHED)
    many[9] = 1
    assert mmc.disc_information(bytes(many)) == DiscInformation(False, False, False, 257, False)


def test_a_formatted_table_of_contents_is_understood() -> None:
    entries = (TocEntry(1, 0, 0, audio=False), TocEntry(2, 0, 0x1000, audio=True))
    assert mmc.formatted_toc(TOC) == Toc(entries, ((0, 0x2000),))


def test_sessions_are_told_by_the_full_table_of_contents() -> None:
    toc = mmc.full_toc(CD_EXTRA)
    assert toc is not None
    assert toc.entries == (TocEntry(1, 1, 0, audio=True), TocEntry(2, 2, (4 * 60 + 34) * 75 - 150, audio=False))
    assert toc.lead_outs == ((1, (2 * 60 + 2) * 75 - 150), (2, 6 * 60 * 75 - 150))
    assert not toc.odd


def test_a_track_that_is_told_twice_is_taken_once_and_odd() -> None:
    twice = b"\x00\x12" + TOC[2:12] + TOC[4:12]
    assert mmc.formatted_toc(twice) == Toc((TocEntry(1, 0, 0, audio=False),), (), odd=True)
    again = mmc.full_toc(CD_EXTRA[:4] + CD_EXTRA[4 + 33 : 4 + 44] * 2)
    assert again == Toc((TocEntry(1, 1, 0, audio=True),), (), odd=True)


def test_a_table_ends_where_it_says_so_and_where_it_is_cut_off() -> None:
    short = b"\x00\x0a" + TOC[2:]
    assert mmc.formatted_toc(short) == Toc((TocEntry(1, 0, 0, audio=False),), ())
    assert mmc.formatted_toc(TOC[:-1]) == Toc((TocEntry(1, 0, 0, False), TocEntry(2, 0, 0x1000, True)), ())
    assert mmc.formatted_toc(b"\x00\x02\x01\x01") is None


def test_capacity_is_the_last_sector_and_one_more() -> None:
    assert mmc.capacity_bytes(bytes.fromhex("00057e3f 00000800")) == 360_000 * 2048
    assert mmc.capacity_bytes(bytes.fromhex("00057e3f 00000000")) == 360_000 * 2048
    assert mmc.capacity_bytes(bytes.fromhex("000003ff 00000200")) == 1024 * 512
    assert mmc.capacity_bytes(bytes.fromhex("00000000 00000800")) is None
    assert mmc.capacity_bytes(bytes.fromhex("ffffffff 00000800")) is None
    assert mmc.capacity_bytes(b"\0" * 7) is None


def test_copy_protection_is_told() -> None:
    assert mmc.protection_of(bytes.fromhex("0006 0000 01 fe 00 00")) == 1
    assert mmc.protection_of(bytes.fromhex("0006 0000 00 00 00 00")) == 0
    assert mmc.protection_of(b"\0\6\0\0") is None


@pytest.mark.parametrize(
    ("data", "sense"),
    [
        ("70 00 02 00000000 0a 00000000 3a 00 00 00", Sense(2, 0x3A, 0)),
        ("f1 00 05 00000000 0a 00000000 53 02 00 00", Sense(5, 0x53, 2)),
        ("72 02 04 01 00000000", Sense(2, 4, 1)),
        ("73 05 64", None),
        ("", None),
    ],
)
def test_the_reason_of_a_refusal_is_understood(data: str, sense: Sense | None) -> None:
    assert mmc.sense_of(bytes.fromhex(data)) == sense


def test_a_refusal_says_what_is_in_the_way() -> None:
    assert Sense(2, 0x3A, 1).no_medium
    assert Sense(2, 4, 1).becoming_ready
    assert Sense(5, 0x53, 2).locked
    assert not any((Sense(3, 0x11, 0).no_medium, Sense(3, 0x11, 0).becoming_ready, Sense(3, 0x11, 0).locked))


@pytest.mark.parametrize("command", [mmc.GET_CONFIGURATION, mmc.READ_DISC_INFORMATION, mmc.READ_TOC, mmc.READ_FULL_TOC])
def test_a_command_asks_for_as_much_as_it_has_room_for(command: mmc.Command) -> None:
    assert len(command.block) == 10
    assert int.from_bytes(command.block[7:9]) == command.answer_bytes


def test_a_dvd_command_asks_for_as_much_as_it_has_room_for() -> None:
    assert len(mmc.READ_COPYRIGHT.block) == 12
    assert int.from_bytes(mmc.READ_COPYRIGHT.block[8:10]) == mmc.READ_COPYRIGHT.answer_bytes


@given(st.binary(max_size=900))
def test_no_answer_makes_a_parser_fail(answer: bytes) -> None:
    for parse in (mmc.profile_of, mmc.disc_information, mmc.capacity_bytes, mmc.protection_of, mmc.sense_of):
        parse(answer)
    for toc in (mmc.formatted_toc(answer), mmc.full_toc(answer)):
        assert toc is None or len(toc.entries) <= 99
