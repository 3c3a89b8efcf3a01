"""Records of ISO 9660 on unread sectors: what they would have said is never guessed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from iso_bytes import ROCK_RIDGE_ROOT, ROOT_BLOCK, HandMade, ce, entries, nm, problems, px, record, susp

from ntt.ranges import Ranges
from ntt.readers.base import ReadError

FILE, LINK = 0o100644, 0o120777
AREA = 40


def sector(block: int) -> Ranges:
    return ((block * 2048, block * 2048 + 2048),)


def with_area(folder: Path, size: int, own: bytes, area: bytes) -> HandMade:
    """One file whose system use area goes on in block `AREA`."""
    image = HandMade(folder)
    image.root(record(b"A.;1", 30, size, use=own + ce(AREA, 0, len(area))), use=ROCK_RIDGE_ROOT)
    image.put(AREA, area)
    return image


def test_a_name_that_goes_on_in_an_unread_area_is_told_and_its_content_is_read(tmp_path: Path) -> None:
    image = with_area(tmp_path, 5, px(FILE) + nm(b"begin", 1), nm(b" and end"))
    assert [one.name for one in entries(image.open().walk())] == [b"begin and end"]
    reader = image.open(sector(AREA))
    found = list(reader.walk())
    (entry,) = entries(found)
    assert entry.size == 5
    assert reader.read(entry.ino, 0, 5) == bytes(5)
    assert any("may be incomplete" in problem.detail for problem in problems(found))
    lost = [one for one in reader.structures() if one.what == "continuation area" and one.ino == entry.ino]
    assert [(one.start, one.end, one.spare) for one in lost] == [(AREA * 2048, AREA * 2048 + 13, False)]


def test_a_target_that_goes_on_in_an_unread_area_is_not_given_in_part(tmp_path: Path) -> None:
    begin, end = susp(b"SL", b"\1\0\4some"), susp(b"SL", b"\0\0\5where")
    image = with_area(tmp_path, 0, px(LINK) + nm(b"link") + begin, end)
    (whole,) = entries(image.open().walk())
    assert (whole.link_target, stat.S_ISLNK(whole.mode)) == (b"some/where", True)
    (cut,) = entries(image.open(sector(AREA)).walk())
    assert (cut.link_target, stat.S_ISLNK(cut.mode)) == (b"", True)


def test_a_target_that_ends_before_an_unread_area_is_whole(tmp_path: Path) -> None:
    image = with_area(tmp_path, 0, px(LINK) + susp(b"SL", b"\0\0\4some"), nm(b"link"))
    (entry,) = entries(image.open(sector(AREA)).walk())
    assert entry.link_target == b"some"


def test_an_empty_file_that_may_be_a_link_is_not_clean(tmp_path: Path) -> None:
    image = with_area(tmp_path, 0, nm(b"link"), px(LINK) + susp(b"SL", b"\0\0\4some"))
    (whole,) = entries(image.open().walk())
    assert stat.S_ISLNK(whole.mode)
    reader = image.open(sector(AREA))
    (entry,) = entries(reader.walk())
    assert (entry.name, entry.size) == (b"link", 0)
    for ask in (lambda: reader.read(entry.ino, 0, 0), lambda: reader.extents(entry.ino)):
        with pytest.raises(ReadError) as failed:
            ask()
        assert failed.value.unread[0][0] == AREA * 2048


def test_the_later_part_of_a_file_is_not_taken_for_all_of_it(tmp_path: Path) -> None:
    """The first record stands in the root's first sector, the second one begins the next: the Joliet tree tells."""
    image = HandMade(tmp_path, root_size=4096)
    image.root(record(b"P.;1", 31, 2048, 0x80, use=px(FILE)), use=ROCK_RIDGE_ROOT)
    image.put(ROOT_BLOCK + 1, record(b"P.;1", 32, 7, use=px(FILE)), record(b"Q.;1", 33, 9, use=px(FILE)))
    image.joliet(50, b"")
    image.put(50, record(b"\0", 50, 2048, 2), record(b"\1", 50, 2048, 2),
              record(b"\0P", 31, 2048, 0x80), record(b"\0P", 32, 7), record(b"\0Q", 33, 9))  # fmt: skip
    assert {one.name: one.size for one in entries(image.open().walk())}[b"P"] == 2055
    gap = sector(ROOT_BLOCK)
    reader = image.open(gap)
    assert reader.names == "rock-ridge"
    found = {one.name: one for one in entries(reader.walk())}
    assert found[b"Q"].size == 9
    assert reader.read(found[b"Q"].ino, 0, 9) == bytes(9)
    assert found[b"P"].size == 0
    with pytest.raises(ReadError) as failed:
        reader.extents(found[b"P"].ino)
    assert failed.value.unread == gap


def test_a_record_that_reaches_into_unread_bytes_is_left_out(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(record(b"A.;1", 30, 5), record(b"B.;1", 31, 6))
    at = ROOT_BLOCK * 2048
    cut = at + image.path.read_bytes()[at : at + 2048].index(b"B.;1")  # its name is lost, its size is not
    reader = image.open(((cut, at + 2048),))
    found = list(reader.walk())
    assert [one.name for one in entries(found)] == [b"A"]
    assert any("not read" in problem.detail for problem in problems(found))


def test_what_no_record_names_is_free_only_if_every_record_was_read(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(record(b"A.;1", 30, 5000))
    for unread, is_known in (((), True), (sector(30), True), (sector(ROOT_BLOCK), False)):
        reader = image.open(unread)
        list(reader.walk())
        used = reader.used()
        assert used is not None
        ranges = list(used)
        assert any(start <= 31 * 2048 < end for start, end in ranges)
        assert all(not start <= 45 * 2048 < end for start, end in ranges) is is_known


def test_blocks_of_an_extended_attribute_record_are_in_use(tmp_path: Path) -> None:
    image = HandMade(tmp_path)
    image.root(record(b"A.;1", 30, 5, attribute_blocks=2))
    reader = image.open()
    list(reader.walk())
    used = reader.used()
    assert used is not None
    assert (30 * 2048, 33 * 2048) in list(used)
