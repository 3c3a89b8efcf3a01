"""Parts of the HFS reader that need no volume: forks, compressed units, names, times."""

from __future__ import annotations

import os
import struct
import tempfile
import zlib

import pytest

from ntt.model import Extent
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.hfs.compressed import Attribute, open_packed, unpacked
from ntt.readers.hfs.forks import ForkBytes, Geometry, fork_extents
from ntt.readers.hfs.records import HfsFormat, HfsPlusFormat, unix_time

GEOMETRY = Geometry(10_000, 512, 100)


def test_pieces_cover_a_fork_exactly_and_neighbours_become_one() -> None:
    assert fork_extents(GEOMETRY, 1300, [(3, 1), (4, 1), (9, 5)]) == [
        Extent(0, 1024, 10_000 + 3 * 512, 1024),
        Extent(1024, 276, 10_000 + 9 * 512, 276),
    ]
    assert fork_extents(GEOMETRY, 0, [(3, 1)]) == []


@pytest.mark.parametrize("pieces", [[(3, 2)], [], [(99, 3)]])
def test_pieces_that_are_too_few_or_lie_outside_are_errors(pieces: list[tuple[int, int]]) -> None:
    with pytest.raises(ReadError):
        fork_extents(GEOMETRY, 1300, pieces)


def test_no_more_pieces_are_asked_for_than_a_fork_needs() -> None:
    asked = iter([(3, 1), (7, 1), (9, 1)])
    fork_extents(GEOMETRY, 1000, asked)
    assert next(asked) == (9, 1)


def test_unread_bytes_of_a_fork_are_given_in_its_own_numbers() -> None:
    with tempfile.TemporaryFile() as file:
        os.truncate(file.fileno(), 100_000)
        source = ImageSource(file.fileno(), ((10_000 + 9 * 512 + 10, 10_000 + 9 * 512 + 20),))
        fork = ForkBytes(source, 1300, fork_extents(GEOMETRY, 1300, [(3, 2), (9, 1)]))
        assert fork.lost(0, 1300) == ((1034, 1044),)
        assert fork.lost(1030, 8) == ((4, 8),)
        assert fork.lost(0, 1024) == ()
        with pytest.raises(ReadError):
            fork.read(1290, 11)


def test_a_unit_is_unpacked_to_exactly_its_size_or_not_at_all() -> None:
    content = bytes(range(256)) * 10
    assert unpacked(zlib.compress(content), 2560) == content
    assert unpacked(b"\xff" + content, 2560) == content
    for wrong in (zlib.compress(content)[:-5], zlib.compress(content + b"x"), b"\xff" + content[1:], b"", b"\x78\x00"):
        with pytest.raises(ReadError):
            unpacked(wrong, 2560)
    with pytest.raises(ReadError, match="cannot hold"):
        unpacked(zlib.compress(content), 1 << 50)


def test_the_header_of_a_compressed_file_is_checked() -> None:
    with tempfile.TemporaryFile() as file:
        nothing = ForkBytes(ImageSource(file.fileno()), 0, [])
        for value in (b"", b"fpmc", struct.pack("<4sIQ", b"cmpf", 3, 5)):
            with pytest.raises(ReadError):
                open_packed(Attribute(value, 0, len(value)), nothing)
        unknown = open_packed(Attribute(struct.pack("<4sIQ", b"fpmc", 12, 0), 0, 16), nothing)
        with pytest.raises(ReadError, match="LZFSE"):
            unknown.read(0, 0)


def test_names_keep_their_bytes_but_for_the_separator() -> None:
    assert HfsFormat().shown(b"a/b\x8a\r\x80") == b"a:b\x8a\r\x80"
    form = HfsPlusFormat()
    assert form.shown("a/e\u0301\0".encode("utf-16-be")) == "a:e\u0301\0".encode()
    assert form.shown(b"\xd8\x3d\0a") == b"\xed\xa0\xbda"


def test_a_time_that_was_never_set_stays_unset() -> None:
    assert (unix_time(0), unix_time(1), unix_time(2_082_844_800)) == (0, 1 - 2_082_844_800, 0)


@pytest.mark.parametrize("form", [HfsFormat(), HfsPlusFormat()])
def test_records_that_are_cut_short_are_errors(form: HfsFormat | HfsPlusFormat) -> None:
    for length in range(300):
        for fill in (b"\0", b"\1", b"\2", b"\xff"):
            try:
                parent, name, data = form.split(fill * length)
                form.shown(name)
                form.thread(data)
                form.entry(parent, name, data)
            except ReadError:
                continue
