"""Hand-made ISO 9660 bytes, right and wrong -> entries, content, extents and problems."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest
from iso_bytes import (
    DATE,
    DATE_S,
    ROCK_RIDGE_ROOT,
    ROOT_BLOCK,
    HandMade,
    both,
    ce,
    directory,
    dots,
    entries,
    nm,
    problems,
    px,
    record,
    source_of,
    sp,
    susp,
)

from ntt.model import Entry
from ntt.ranges import Ranges
from ntt.readers.base import ReadError
from ntt.readers.iso.reader import Iso9660Reader, open_iso9660
from ntt.readers.iso.records import digits_time, recorded_time
from ntt.readers.iso.rockridge import RockRidge, parse_system_use

FILE = 0o100644


def no_continuation(block: int, offset: int, length: int) -> tuple[bytes, str, Ranges]:
    raise AssertionError("no continuation area was expected")


def parsed(*parts: bytes) -> RockRidge:
    return parse_system_use(b"".join(parts), no_continuation)


def names(reader: Iso9660Reader) -> list[bytes]:
    return [entry.name for entry in entries(reader.walk())]


# ---- dates


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        (bytes((70, 1, 1, 0, 0, 0, 0)), 0),
        (bytes((120, 6, 15, 12, 30, 0, 0)), DATE_S),
        (bytes((120, 6, 15, 12, 30, 0, 8)), DATE_S - 7200),  # two hours east of Greenwich
        (bytes((120, 6, 15, 12, 30, 0, 256 - 20)), DATE_S + 18000),
        (bytes((120, 6, 15, 12, 30, 0, 100)), DATE_S),  # no such zone: taken as UTC
        (bytes((0, 1, 1, 0, 0, 0, 0)), -2208988800),
        (bytes(7), 0),
        (bytes((120, 2, 30, 0, 0, 0, 0)), 0),
        (bytes((120, 6, 15, 24, 0, 0, 0)), 0),
        (b"\xff" * 7, 0),
    ],
)
def test_a_recorded_date_counts_from_1970_and_an_impossible_one_is_zero(stamp: bytes, seconds: int) -> None:
    assert recorded_time(stamp) == seconds


@pytest.mark.parametrize(
    ("stamp", "moment"),
    [
        (b"2020061512300025\0", (DATE_S, 250_000_000)),
        (b"2020061512300099\x04", (DATE_S - 3600, 990_000_000)),
        (b"0000000000000000\0", (0, 0)),
        (b"20200615123000 1\0", (0, 0)),
        (b"2020131512300001\0", (0, 0)),
    ],
)
def test_a_long_date_keeps_its_hundredths(stamp: bytes, moment: tuple[int, int]) -> None:
    assert digits_time(stamp if len(stamp) == 17 else stamp + b"\0") == moment


# ---- system use entries


def test_every_byte_survives_in_a_rock_ridge_name() -> None:
    for value in range(256):
        assert parsed(nm(b"a" + bytes((value,)))).name == b"a" + bytes((value,))


def test_a_name_in_several_entries_is_joined() -> None:
    assert parsed(nm(b"one-", 1), px(FILE), nm(b"two-", 1), nm(b"three")).name == b"one-two-three"


@pytest.mark.parametrize(
    ("components", "target"),
    [
        ((b"\x08\0", b"\0\x03usr", b"\0\x03lib"), b"/usr/lib"),
        ((b"\x04\0", b"\x04\0", b"\0\x01x"), b"../../x"),
        ((b"\x02\0", b"\0\x01x"), b"./x"),
        ((b"\x01\x03abc", b"\0\x03def", b"\0\x01x"), b"abcdef/x"),
        ((b"\x08\0",), b"/"),
        ((b"\0\x02\xff\n",), b"\xff\n"),
    ],
)
def test_link_targets_are_joined_from_their_components(components: tuple[bytes, ...], target: bytes) -> None:
    assert parsed(susp(b"SL", b"\0" + b"".join(components))).target == target
    apart = [susp(b"SL", b"\x01" + component) for component in components]
    assert parsed(*apart).target == target


def test_the_modify_time_is_found_behind_the_creation_time() -> None:
    created, modified = bytes((100, 1, 1, 0, 0, 0, 0)), bytes((120, 6, 15, 12, 30, 0, 0))
    assert parsed(susp(b"TF", b"\x03" + created + modified)).mtime_s == DATE_S
    assert parsed(susp(b"TF", b"\x0e" + modified + created + created)).mtime_s == DATE_S
    assert parsed(susp(b"TF", b"\x01" + created)).mtime_s is None
    long_form = parsed(susp(b"TF", b"\x82" + b"2020061512300042\0"))
    assert (long_form.mtime_s, long_form.mtime_ns) == (DATE_S, 420_000_000)


@pytest.mark.parametrize(
    ("high", "low", "device"),
    [(0, os.makedev(8, 1), b"8:1"), (0, os.makedev(259, 300), b"259:300"), (0, 7, b"0:7"), (8, 17, b"8:17")],
)
def test_device_numbers_of_linux_and_of_others_are_understood(high: int, low: int, device: bytes) -> None:
    assert parsed(susp(b"PN", both(high) + both(low))).device == device


def test_a_continuation_that_loops_ends_with_a_remark() -> None:
    found = parse_system_use(ce(5, 0, 28), lambda block, offset, length: (ce(5, 0, 28), "", ()))
    assert any("do not end" in remark for remark in found.remarks)
    counter = iter(range(10_000))
    found = parse_system_use(ce(0, 0, 28), lambda block, offset, length: (ce(next(counter), 1, 28), "", ()))
    assert any("do not end" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    "area", [b"PX\x05\x01\0", b"NM\xff\x01abc", b"SL\x09\x01\0\0\xffab", b"TF\x05\x01\x02", b"\xff"]
)
def test_broken_entries_do_no_harm(area: bytes) -> None:
    found = parse_system_use(area, no_continuation)
    assert (found.mode, found.name) == (0, b"")


# ---- names of the three kinds of tree


def test_plain_names_lose_their_version_and_nothing_else(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    stored = [b"A.TXT;1", b"B.;1", b"C;1", b"D.TXT;2", b"e.Txt", b"F.", b";1", b"G;1;1"]
    image.root(*(record(name, 30, 5) for name in stored))
    reader = image.open()
    assert reader.names == "plain"
    assert names(reader) == [b"A.TXT", b"B", b"C", b"D.TXT;2", b"e.Txt", b"F.", b";1", b"G;1"]


def test_every_byte_survives_in_a_plain_name(tmp_path: Path) -> None:
    image = HandMade(tmp_path, root_size=16384)
    stored = [b"%c%c" % (value, value) for value in range(256)]
    for sector in range(6):
        part = [record(name, 40, 5) for name in stored[sector * 50 : sector * 50 + 50]]
        opening = dots(ROOT_BLOCK, ROOT_BLOCK) if not sector else b""
        image.put(ROOT_BLOCK + sector, opening, *part)
    reader = image.open()
    assert names(reader) == stored
    refused = {problem.name for problem in problems(reader.walk()) if problem.kind == "name_not_storable"}
    assert refused == {b"\0\0", b"//", b".."}


def test_joliet_names_become_utf8_and_lose_nothing(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(record(b"PLAIN.;1", 30, 5))
    image.joliet(25, "Übung".encode("utf-16-be").ljust(32, b"\0"))
    lone_high, lone_low = b"\xd8\x00\x00a", b"\x00b\xdc\x00"
    stored = [
        "naïve.txt;1".encode("utf-16-be"),
        "😀".encode("utf-16-be"),
        lone_high,
        lone_low,
        b"\0c\xd8\x00",
        b"\0d\0e\xe9",
    ]
    image.put(25, dots(25, 25), *(record(name, 30, 5) for name in stored))
    reader = image.open()
    assert (reader.names, reader.label) == ("joliet", "Übung")
    assert names(reader) == [
        "naïve.txt".encode(),
        "😀".encode(),
        b"\xed\xa0\x80a",
        b"b\xed\xb0\x80",
        b"c\xed\xa0\x80",
        b"de\xe9",
    ]


def test_rock_ridge_wins_over_joliet_and_its_skip_length_is_honoured(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(record(b"A.;1", 30, 5, use=b"XAxaXAxa" + px(FILE) + nm(b"right")), use=sp(8) + px(0o40755))
    image.joliet(25, b"")
    image.put(25, dots(25, 25))
    reader = image.open()
    assert reader.names == "rock-ridge"
    assert names(reader) == [b"right"]


def test_susp_without_rock_ridge_is_not_rock_ridge(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(record(b"A.;1", 30, 5), use=sp())
    assert image.open().names == "plain"


def test_rock_ridge_is_known_though_the_first_sector_of_the_root_is_unread(tmp_path: Path) -> None:
    image = HandMade(tmp_path, root_size=4096)
    image.put(ROOT_BLOCK + 1, record(b"B.;1", 30, 5, use=px(FILE) + nm(b"second")))
    reader = image.open(((ROOT_BLOCK * 2048, ROOT_BLOCK * 2048 + 2048),))
    assert (reader.names, names(reader)) == ("rock-ridge", [b"second"])
    assert [problem.kind for problem in problems(reader.walk())] == ["directory_damaged"]


def test_a_name_continues_in_a_continuation_area(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    rest = nm(b"y" * 200)
    image.root(record(b"A.;1", 30, 5, use=px(FILE) + nm(b"x" * 100, 1) + ce(28, 100, len(rest))), use=ROCK_RIDGE_ROOT)
    image.put(28, bytes(100), rest)
    assert names(image.open()) == [b"x" * 100 + b"y" * 200]
    lost = problems(image.open(((28 * 2048, 29 * 2048),)).walk())
    assert [problem.kind for problem in lost] == ["bad_record"]
    assert "may be incomplete" in lost[0].detail


# ---- attributes and content


def test_without_rock_ridge_everything_is_readable_by_all(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(record(b"A.;1", 30, 5), directory(b"D", 26))
    image.put(26, dots(26, ROOT_BLOCK))
    found = entries(image.open().walk())
    assert [(one.mode, one.uid, one.gid, one.mtime_s) for one in found] == [
        (0o100444, 0, 0, DATE_S),
        (0o040555, 0, 0, DATE_S),
    ]


def test_content_is_behind_the_extended_attribute_record(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(record(b"A.;1", 30, 5, attribute_blocks=2))
    image.put(32, b"hello")
    reader = image.open()
    (entry,) = entries(reader.walk())
    assert reader.read(entry.ino, 0, 100) == b"hello"
    assert reader.read(entry.ino, 1, 3) == b"ell"
    assert reader.read(entry.ino, 5, 3) == b""
    assert entry.first_byte == 32 * 2048


def test_an_interleaved_file_is_listed_and_never_read(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(record(b"A.;1", 30, 5000, unit=1, gap=1))
    reader = image.open()
    (entry,) = entries(reader.walk())
    with pytest.raises(ReadError, match="interleaved"):
        reader.read(entry.ino, 0, 10)
    with pytest.raises(ReadError, match="interleaved"):
        reader.extents(entry.ino)


def test_a_sparse_file_is_a_problem_and_never_read(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(record(b"A.;1", 30, 5000, use=px(FILE) + susp(b"SF", bytes(17))), use=ROCK_RIDGE_ROOT)
    reader = image.open()
    (entry,) = entries(reader.walk())
    assert any("sparse" in problem.detail for problem in problems(reader.walk()))
    with pytest.raises(ReadError, match="sparse"):
        reader.read(entry.ino, 0, 10)


def test_the_parts_of_a_multi_extent_file_are_one_file(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(
        record(b"A.;1", 30, 2048, 0x80), record(b"A.;1", 40, 2048, 0x80), record(b"A.;1", 35, 3), record(b"B.;1", 50, 1)
    )
    image.put(30, b"1" * 2048)
    image.put(40, b"2" * 2048)
    image.put(35, b"333")
    reader = image.open()
    big, small = entries(reader.walk())
    assert (big.name, big.size, small.name) == (b"A", 4099, b"B")
    content = b"1" * 2048 + b"2" * 2048 + b"333"
    assert reader.read(big.ino, 0, 9999) == content
    assert reader.read(big.ino, 2000, 2100) == content[2000:4100]
    assert [(one.file_offset, one.image_offset, one.image_length) for one in reader.extents(big.ino)] == [
        (0, 30 * 2048, 2048),
        (2048, 40 * 2048, 2048),
        (4096, 35 * 2048, 3),
    ]


def test_a_multi_extent_file_goes_on_in_the_next_sector(tmp_path: Path) -> None:
    image = HandMade(tmp_path, root_size=4096)
    image.root(record(b"A.;1", 30, 2048, 0x80))
    image.put(ROOT_BLOCK + 1, record(b"A.;1", 40, 7), record(b"B.;1", 50, 1))
    reader = image.open()
    assert [(one.name, one.size) for one in entries(reader.walk())] == [(b"A", 2055), (b"B", 1)]
    first = entries(reader.walk())[0]
    assert len(reader.read(first.ino, 0, 5000)) == 2055


def test_a_multi_extent_file_without_its_end_is_not_read(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(record(b"A.;1", 30, 2048, 0x80), record(b"B.;1", 50, 1))
    reader = image.open()
    assert [one.name for one in entries(reader.walk())] == [b"A", b"B"]
    assert any("missing" in problem.detail for problem in problems(reader.walk()))
    with pytest.raises(ReadError, match="missing"):
        reader.read(entries(reader.walk())[0].ino, 0, 10)


def test_parts_behind_unread_records_are_not_taken_for_the_next_ones(tmp_path: Path) -> None:
    image = HandMade(tmp_path, root_size=6144)
    image.root(record(b"A.;1", 30, 2048, 0x80))
    image.put(ROOT_BLOCK + 2, record(b"A.;1", 40, 7))
    gap = (((ROOT_BLOCK + 1) * 2048, (ROOT_BLOCK + 2) * 2048),)
    reader = image.open(gap)
    first = entries(reader.walk())[0]
    with pytest.raises(ReadError, match="missing"):
        reader.read(first.ino, 0, 10)


def test_an_associated_file_is_an_entry_of_its_own(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(record(b"A.;1", 30, 4), record(b"A.;1", 31, 4, 0x04), record(b"C.;1", 32, 4, 0x04))
    reader = image.open()
    found = entries(reader.walk())
    assert [(one.name, one.duplicate) for one in found] == [(b"A", False), (b"A:rsrc", False), (b"C:rsrc", False)]
    assert len({one.ino for one in found}) == 3
    assert problems(reader.walk()) == []


def test_a_duplicate_name_is_kept_and_flagged(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(record(b"A.;1", 30, 4), record(b"A.;1", 31, 4))
    found = list(image.open().walk())
    assert [one.duplicate for one in entries(found)] == [False, True]
    assert [problem.kind for problem in problems(found)] == ["duplicate_name"]


def test_an_empty_file_has_no_first_byte_wherever_it_points(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(record(b"A.;1", 0xFFFFFFFF, 0))
    reader = image.open()
    (entry,) = entries(reader.walk())
    assert (entry.first_byte, reader.read(entry.ino, 0, 10), list(reader.extents(entry.ino))) == (-1, b"", [])
    assert problems(reader.walk()) == []


# ---- hard links


def linked(image: HandMade, *files: tuple[int, int, int | None, int]) -> list[Entry]:
    records = [
        record(b"F%d.;1" % number, block, size, use=px(FILE, links, serial=serial) + nm(b"f%d" % number))
        for number, (block, size, serial, links) in enumerate(files)
    ]
    image.root(*records, use=ROCK_RIDGE_ROOT)
    return entries(image.open().walk())


def test_hard_links_share_a_number_by_extent_or_by_serial(tmp_path: Path) -> None:
    found = linked(
        HandMade(tmp_path),
        (30, 9, None, 2),
        (30, 9, None, 2),
        (0, 0, 77, 2),
        (0, 0, 77, 2),
        (0, 0, None, 2),
        (0, 0, None, 2),
    )
    numbers = [one.ino for one in found]
    assert numbers[0] == numbers[1] and numbers[2] == numbers[3]
    assert len(set(numbers)) == 4
    assert [one.new_inode for one in found] == [True, False, True, False, True, True]


def test_equal_content_or_an_equal_serial_alone_is_no_hard_link(tmp_path: Path) -> None:
    found = linked(HandMade(tmp_path), (30, 9, None, 1), (30, 9, None, 1), (31, 9, 5, 2), (32, 9, 5, 2), (31, 9, 6, 2))
    assert len({one.ino for one in found}) == 5


# ---- relocated directories


def relocated(image: HandMade, child_block: int, *more_in_moved: bytes) -> None:
    """/placeholder -> block 26, which lies in /rr_moved (block 25)."""
    image.root(
        record(b"P", 30, 2048, use=px(0o40700) + nm(b"placeholder") + susp(b"CL", both(child_block))),
        directory(b"RR_MOVED", 25, use=px(0o40755) + nm(b"rr_moved")),
        use=ROCK_RIDGE_ROOT,
    )
    moved = directory(b"M", 26, use=px(0o40700) + nm(b"moved") + susp(b"RE", b""))
    image.put(25, dots(25, ROOT_BLOCK), moved, *more_in_moved)
    own = directory(b"\0", 26, 2048, px(0o40711, uid=7))
    image.put(26, own, directory(b"\1", 25), record(b"IN.;1", 30, 3, use=px(FILE) + nm(b"inside")))


def test_a_relocated_directory_is_shown_at_its_place_only(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    relocated(image, 26)
    found = list(image.open().walk())
    placeholder, inside = entries(found)
    assert (placeholder.name, placeholder.mode, placeholder.uid) == (b"placeholder", 0o40711, 7)
    assert (inside.name, inside.parent_ino) == (b"inside", placeholder.ino)
    assert problems(found) == []


def test_a_relocation_directory_with_content_of_its_own_is_shown(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    relocated(image, 26, record(b"OWN.;1", 31, 4, use=px(FILE) + nm(b"own")))
    assert {one.name for one in entries(image.open().walk())} == {b"placeholder", b"inside", b"rr_moved", b"own"}


def test_a_relocated_directory_that_nothing_names_is_not_lost(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    relocated(image, 50)  # nothing is there
    found = list(image.open().walk())
    assert [one.name for one in entries(found)] == [b"rr_moved", b"moved", b"inside"]
    by_name = {one.name: one for one in entries(found)}
    assert by_name[b"moved"].parent_ino == by_name[b"rr_moved"].ino
    assert {problem.name for problem in problems(found)} == {b"placeholder", b"moved"}


# ---- broken trees


@pytest.mark.parametrize(
    "broken",
    [
        b"\x10" + bytes(15),  # too short
        record(b"X", 30, 4)[:32] + b"\x40X",  # a name longer than the record
        record(b"X", 30, 4)[:32] + b"\x00X",  # no name
        record(b"X", 0x7FFFFFF0, 4)[:6] + record(b"X", 0x7FFFFFF1, 4)[6:],  # two positions, neither on the medium
    ],
)
def test_behind_a_broken_record_the_next_sector_is_listed(tmp_path: Path, broken: bytes) -> None:
    image = HandMade(tmp_path, root_size=4096)
    image.root(record(b"A.;1", 30, 5), broken)
    image.put(ROOT_BLOCK + 1, record(b"B.;1", 30, 5))
    found = list(image.open().walk())
    assert [one.name for one in entries(found)] == [b"A", b"B"]
    assert [problem.kind for problem in problems(found)] == ["bad_record"]


def test_behind_a_record_that_crosses_its_sector_the_next_sector_is_listed(tmp_path: Path) -> None:
    image = HandMade(tmp_path, root_size=4096)
    full = [record(b"F%03d.;1" % number, 30, 5) for number in range(46)]
    crossing = b"\xf0" + record(b"X.;1", 30, 5)[1:]
    image.root(*full, crossing)
    image.put(ROOT_BLOCK + 1, record(b"B.;1", 30, 5))
    found = list(image.open().walk())
    assert [one.name for one in entries(found)] == [b"F%03d" % number for number in range(46)] + [b"B"]
    (problem,) = problems(found)
    assert "crosses the end of its sector" in problem.detail


def test_a_record_that_points_outside_is_listed_with_a_problem_and_not_read(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(record(b"A.;1", 70_000, 5), directory(b"D", 70_000), record(b"B.;1", 30, 5))
    reader = image.open()
    found = list(reader.walk())
    assert [one.name for one in entries(found)] == [b"A", b"B"]
    assert [(problem.kind, problem.name) for problem in problems(found)] == [("bad_record", b"A"), ("bad_record", b"D")]
    with pytest.raises(ReadError, match="not on the medium"):
        reader.read(entries(found)[0].ino, 0, 5)


def test_the_other_byte_order_helps_where_one_is_damaged(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    damaged = bytearray(record(b"A.;1", 30, 5))
    damaged[4] = 0x7F
    image.root(bytes(damaged))
    image.put(30, b"hello")
    reader = image.open()
    found = list(reader.walk())
    assert reader.read(entries(found)[0].ino, 0, 5) == b"hello"
    assert ["differ" in problem.detail for problem in problems(found)] == [True]


def test_a_directory_is_entered_once(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(directory(b"D", 26), directory(b"E", 26), directory(b"R", ROOT_BLOCK))
    image.put(26, dots(26, ROOT_BLOCK), directory(b"UP", ROOT_BLOCK), directory(b"SELF", 26), record(b"F.;1", 30, 1))
    found = list(image.open().walk())
    assert [one.name for one in entries(found)] == [b"D", b"F"]
    assert sorted((problem.kind, problem.name) for problem in problems(found)) == [
        ("directory_cycle", name) for name in (b"E", b"R", b"SELF", b"UP")
    ]


def test_a_directory_that_claims_too_much_ends_where_the_next_begins(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(directory(b"D", 26, 3 << 30), directory(b"E", 27))
    image.put(26, dots(26, ROOT_BLOCK), record(b"F.;1", 30, 1))
    image.put(27, dots(27, ROOT_BLOCK), record(b"G.;1", 30, 1))
    found = list(image.open().walk())
    parents = {one.name: one.parent_ino for one in entries(found)}
    assert parents[b"F"] == 26 * 64 and parents[b"G"] == 27 * 64
    assert {problem.kind for problem in problems(found)} == {"directory_damaged", "bad_record"}


def test_a_file_in_the_place_of_its_directorys_own_record_has_its_own_number(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(directory(b"D", 26))
    image.put(26, record(b"F.;1", 30, 5), record(b"G.;1", 31, 5))
    image.put(30, b"first")
    reader = image.open()
    found = entries(reader.walk())
    assert len({one.ino for one in found}) == 3
    assert [reader.read(one.ino, 0, 5) for one in found[1:]] == [b"first", bytes(5)]


def test_unread_sectors_of_a_directory_are_told_with_their_bytes(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(directory(b"D", 26, 4096), record(b"A.;1", 30, 5))
    image.put(26, dots(26, ROOT_BLOCK), record(b"F.;1", 30, 1))
    reader = image.open(((27 * 2048, 28 * 2048), (30 * 2048, 31 * 2048)))
    (problem,) = problems(reader.walk())
    assert (problem.kind, problem.ino, problem.name) == ("directory_damaged", 26 * 64, b"D")
    assert "2048 of its 4096 bytes" in problem.detail


def test_a_truncated_image_lists_what_is_there_and_reads_zeros_beyond(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(record(b"A.;1", 30, 4096), directory(b"D", 40))
    image.put(30, b"x" * 2048)
    os.truncate(image.path, 31 * 2048)
    reader = image.open(((31 * 2048, 1 << 63),))
    found = list(reader.walk())
    assert [one.name for one in entries(found)] == [b"A", b"D"]
    assert [problem.kind for problem in problems(found)] == ["directory_damaged"]
    assert reader.read(entries(found)[0].ino, 0, 4096) == b"x" * 2048 + bytes(2048)


def test_many_broken_records_make_a_bounded_number_of_problems(tmp_path: Path) -> None:
    image = HandMade(tmp_path, root_size=40 * 2048)
    image.root()
    for sector in range(1, 40):
        image.put(ROOT_BLOCK + sector, b"\x01garbage")
    found = problems(image.open().walk())
    assert len(found) == 21
    assert found[-1].detail.startswith("19 more")


# ---- volumes


@pytest.mark.parametrize("content", [b"", bytes(64 * 2048), b"\xff" * 64 * 2048])
def test_no_primary_descriptor_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "no.iso"
    path.write_bytes(content)
    with pytest.raises(ReadError, match="no readable ISO 9660 primary volume descriptor"):
        open_iso9660(source_of(path))


def test_a_high_sierra_volume_is_named(tmp_path: Path) -> None:
    path = tmp_path / "high-sierra.iso"
    path.write_bytes(bytes(16 * 2048 + 8) + b"\x01CDROM\x01" + bytes(4096))
    with pytest.raises(ReadError, match="High Sierra"):
        open_iso9660(source_of(path))


def test_label_and_size_come_from_the_descriptor(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root()
    reader = image.open()
    assert (reader.label, reader.size_bytes, reader.fstype) == ("HANDMADE", 64 * 2048, "iso9660")


@pytest.mark.parametrize("block_bytes", [512, 1024])
def test_small_blocks_and_directories_that_begin_within_a_sector(tmp_path: Path, block_bytes: int) -> None:
    image = HandMade(tmp_path, block_bytes=block_bytes, blocks=64 * 2048 // block_bytes, root_size=block_bytes)
    inner = image.root_block + 1
    image.root(directory(b"D", inner, 3 * 2048))
    files = [record(b"F%03d.;1" % number, 120, number + 1) for number in range(100)]
    sectors = [
        dots(inner, image.root_block, 3 * 2048) + b"".join(files[:40]),
        b"".join(files[40:80]),
        b"".join(files[80:]),
    ]
    for number, content in enumerate(sectors):
        image.at(inner * block_bytes + number * 2048, content)
    image.put(120, bytes(range(101)))
    found = entries(image.open().walk())
    assert [one.name for one in found] == [b"D"] + [b"F%03d" % number for number in range(100)]
    fresh = image.open()
    for number, one in enumerate(found[1:]):
        assert fresh.read(one.ino, 0, 1000) == bytes(range(number + 1))
    assert [(one.image_offset, one.image_length) for one in fresh.extents(found[0].ino)] == [
        (inner * block_bytes, 6144)
    ]


def test_a_volume_inside_an_image_keeps_its_numbers_and_moves_its_extents(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(record(b"A.;1", 30, 5), directory(b"D", 26))
    image.put(26, dots(26, ROOT_BLOCK))
    image.put(30, b"hello")
    plain = list(image.open().walk())
    shifted_path = tmp_path / "shifted"
    shifted_path.write_bytes(b"\xaa" * 12345 + image.path.read_bytes())
    reader = open_iso9660(source_of(shifted_path), 12345)
    shifted = list(reader.walk())
    assert [(one.ino, one.name) for one in entries(shifted)] == [(one.ino, one.name) for one in entries(plain)]
    assert [one.first_byte - 12345 for one in entries(shifted)] == [one.first_byte for one in entries(plain)]
    assert reader.read(entries(shifted)[0].ino, 0, 9) == b"hello"


@pytest.mark.parametrize("ino", [-1, 0, 5, 1 << 40, 1 << 60, (1 << 60) + ROOT_BLOCK * 64, ROOT_BLOCK * 64 + 1, 1 << 70])
def test_a_number_that_names_nothing_is_an_error(tmp_path: Path, ino: int) -> None:
    image = HandMade(tmp_path)
    image.root(record(b"A.;1", 30, 5))
    with pytest.raises(ReadError):
        image.open().read(ino, 0, 10)


def test_a_tree_100_000_levels_deep_is_walked_without_recursion(tmp_path: Path) -> None:
    levels, first = 100_000, 100
    image = HandMade(tmp_path, block_bytes=512, blocks=first + levels + 1, root_block=first, root_size=512)
    with image.path.open("r+b") as out:
        out.seek(first * 512)
        for block in range(first, first + levels):
            content = dots(block, max(first, block - 1), 512) + directory(b"D", block + 1, 512)
            out.write(content.ljust(512, b"\0"))
        out.write(dots(first + levels, first + levels - 1, 512) + record(b"F.;1", 90, 3))
    started = time.monotonic()
    found = list(image.open().walk())
    assert time.monotonic() - started < 30
    assert len(found) == levels + 2
    last = found[-1]
    assert isinstance(last, Entry) and last.name == b"F" and stat.S_ISREG(last.mode)


def test_20_000_files_are_walked_in_a_moment(tmp_path: Path) -> None:
    sectors, folders = 80, 20
    image = HandMade(tmp_path, blocks=100 + folders * sectors)
    folder_use = px(0o40755)
    blocks = [100 + number * sectors for number in range(folders)]
    image.root(
        *(directory(b"D%d" % block, block, sectors * 2048, folder_use + nm(b"folder %d" % block)) for block in blocks),
        use=ROCK_RIDGE_ROOT,
    )
    stamps = susp(b"TF", b"\x0e" + DATE * 3)
    for block in blocks:
        files = [
            record(
                b"F%04d.TXT;1" % number,
                30,
                5,
                use=susp(b"RR", b"\x89") + nm(b"file %d.txt" % number) + px(FILE) + stamps,
            )
            for number in range(1000)
        ]
        image.put(block, dots(block, ROOT_BLOCK, sectors * 2048))
        for sector in range(1, sectors):
            image.put(block + sector, *files[(sector - 1) * 14 : sector * 14])
    reader = image.open()
    started = time.process_time()
    found = list(reader.walk())
    seconds = time.process_time() - started
    assert len(found) == 20_021
    assert seconds < 2  # 0.25 s on an idle machine


def test_parts_of_a_resource_fork_and_of_its_file_are_kept_apart(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(
        record(b"A.;1", 30, 2048, 0x84),
        record(b"A.;1", 31, 5, 0x04),
        record(b"A.;1", 33, 2048, 0x80),
        record(b"A.;1", 34, 7),
        record(b"B.;1", 36, 2048, 0x84),  # its last part is missing
        record(b"B.;1", 37, 9),
    )
    for block, letter in ((30, b"r"), (31, b"R"), (33, b"d"), (34, b"D"), (36, b"x"), (37, b"B")):
        image.put(block, letter * 2048)
    reader = image.open()
    found = {one.name: one for one in entries(reader.walk())}
    assert list(found) == [b"A:rsrc", b"A", b"B:rsrc", b"B"]
    assert len({one.ino for one in found.values()}) == 4
    assert reader.read(found[b"A:rsrc"].ino, 0, 9999) == b"r" * 2048 + b"R" * 5
    assert reader.read(found[b"A"].ino, 0, 9999) == b"d" * 2048 + b"D" * 7
    assert reader.read(found[b"B"].ino, 0, 9999) == b"B" * 9
    with pytest.raises(ReadError, match="a part of this multi-extent file is missing"):
        reader.read(found[b"B:rsrc"].ino, 0, 1)


def test_an_associated_file_is_no_hard_link_of_another(tmp_path: Path) -> None:
    use = px(0o100644, links=2, serial=5) + nm(b"name")
    image = HandMade(tmp_path)
    image.root(
        record(b"A.;1", 30, 0, 0x04, use), record(b"A.;1", 30, 0, 0, use), record(b"B.;1", 30, 0, 0, use),
        use=ROCK_RIDGE_ROOT,
    )  # fmt: skip
    found = entries(image.open().walk())
    assert [(one.name, one.new_inode, one.duplicate) for one in found] == [
        (b"name:rsrc", True, False),
        (b"name", True, False),
        (b"name", False, True),
    ]
    assert found[1].ino == found[2].ino != found[0].ino


def xa(attributes: int) -> bytes:
    return bytes(4) + attributes.to_bytes(2, "big") + b"XA" + bytes(6)


@pytest.mark.parametrize(
    ("attributes", "why"), [(0x0D55, ""), (0x1555, "form 2"), (0x2555, "form 2"), (0x4555, "CD audio")]
)
def test_files_of_other_sectors_than_data_are_told(attributes: int, why: str, tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(record(b"A.;1", 30, 4, use=xa(attributes)))
    found = [problem.detail for problem in problems(image.open().walk())]
    assert len(found) == bool(why)
    assert all(why in detail for detail in found)


@pytest.mark.parametrize("before", [b"", xa(0x0D55)])
def test_type_and_creator_come_from_apples_extension(before: bytes, tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    broken = susp(b"AA", b"\x02TEXT")
    image.root(
        record(b"A.;1", 30, 4, use=before + b"AA\x0e\x02TEXTttxt\x01\x02"),
        record(b"B.;1", 30, 4, use=before + broken),
        record(b"C.;1", 30, 4, use=before + b"AA\x00\x02TEXTttxt\x01\x02"),
    )
    found = [one.attributes for one in entries(image.open().walk())]
    assert found == [(("com.apple.FinderInfo", b"TEXTttxt\x01\x02" + bytes(22)),), (), ()]
