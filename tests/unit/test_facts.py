"""Parts of `ntt inspect`: bits of a cluster map, entries of a FAT, what is sent, its text."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from ntt.inspect_text import inspect_lines
from ntt.model import Extent, Health, Layout, Route, Volume, VolumeFacts, VolumeStatus
from ntt.operations.inspect import InspectedVolume, Inspection, MountOffer
from ntt.ranges import Ranges
from ntt.readers import inspecting
from ntt.readers.allocation import bits_set, unread_bytes
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.fat.facts import table_entries
from ntt.readers.inspecting import Inspected, VolumeInspected, inspection
from ntt.readers.messages import LayoutFound, Survey


@contextmanager
def source_of(path: Path, content: bytes, unread: Ranges = ()) -> Iterator[ImageSource]:
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        yield ImageSource(fd, unread)
    finally:
        os.close(fd)


# ---------------------------------------------------------------- maps of clusters


def test_bits_are_counted_up_to_the_last_one_asked_for(tmp_path: Path) -> None:
    with source_of(tmp_path / "image", b"\xaa" * 100 + b"\xff" * 10 + b"\x0f\xff") as source:
        linear = [Extent(0, 2, 109, 2), Extent(2, 10, 100, 10)]
        assert bits_set(source, linear, 0, 8) == 8
        assert bits_set(source, linear, 0, 13) == 8 + 4
        assert bits_set(source, linear, 8, 8) == 4
        assert bits_set(source, linear, 0, 96) == 8 + 4 + 80
        assert bits_set(source, linear, 0, 0) == 0


def test_a_map_with_a_hole_or_with_unread_bytes_is_not_counted(tmp_path: Path) -> None:
    with source_of(tmp_path / "image", bytes(100), ((10, 12),)) as source:
        assert bits_set(source, [Extent(0, 10, 0, 10)], 0, 80) == 0
        for extents, words in (
            ([Extent(0, 11, 0, 11)], "1 of its bytes were not read"),
            ([Extent(0, 11, 95, 11)], "6 of its bytes were not read"),
            ([Extent(0, 5, 0, 5), Extent(5, 6, -1, 6)], "6 of its bytes have no place"),
            ([Extent(0, 5, 0, 5)], "6 of its bytes have no place"),
        ):
            with pytest.raises(ReadError, match=words):
                bits_set(source, extents, 0, 88)
        with pytest.raises(ReadError, match="larger than 64 MiB"):
            bits_set(source, [Extent(0, 1 << 40, 0, 1 << 40)], 0, 1 << 40)


@pytest.mark.parametrize(
    ("start", "length", "lost"), [(0, 10, 0), (0, 30, 10), (15, 2, 2), (90, 10, 0), (90, 20, 10), (200, 5, 5)]
)
def test_unread_bytes_are_those_of_the_map_and_those_beyond_the_end(
    start: int, length: int, lost: int, tmp_path: Path
) -> None:
    with source_of(tmp_path / "image", bytes(100), ((10, 20),)) as source:
        assert unread_bytes(source, start, length) == lost
    with source_of(tmp_path / "image", bytes(100), ((10, 20), (100, 2**63 - 1))) as source:
        assert unread_bytes(source, start, length) == lost


@pytest.mark.parametrize(
    ("bits", "raw", "expected"),
    [
        (12, b"\xf0\xff\xff\x03\x40\x00\x05", [0xFF0, 0xFFF, 0x003, 0x004]),
        (12, b"\x34\x12", [0x234]),
        (16, b"\xf8\xff\x00\x00\x34\x12\x56", [0xFFF8, 0, 0x1234]),
        (32, b"\xf8\xff\xff\xff\x00\x00\x00\xf0\x01\x00\x00\x10\x00", [0x0FFFFFF8, 0, 1]),
    ],
)
def test_fat_entries_of_every_width(bits: int, raw: bytes, expected: list[int]) -> None:
    assert table_entries(raw, bits).tolist() == expected


# ---------------------------------------------------------------- what is sent


class Beats(list[tuple[int, int]]):
    def at(self, batch: int, index: int) -> None:
        self.append((batch, index))

    def add(self, size_bytes: int) -> None: ...


def test_what_is_sent_stays_small_whatever_the_image_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = Volume(1, "gpt", 0, 512, "ext4", Route.TSK, VolumeStatus.READ, "l" * 10**6, "f" * 10**6, "n" * 10**6)
    layout = Layout("gpt", (volume,) * 5000, ("r" * 10**5,) * 500)
    monkeypatch.setattr(inspecting, "detect", lambda *_: layout)
    with source_of(tmp_path / "image", bytes(512)) as source:
        beats = Beats()
        first, *rest = inspection(source, Survey((), 512), beats)
    assert isinstance(first, LayoutFound)
    assert len(first.layout.volumes) == 1000
    assert len(msgspec.msgpack.encode(first)) < 8 << 20
    assert any("5,000 volumes in all" in remark for remark in first.layout.remarks)
    assert isinstance(rest[-1], Inspected)
    assert all(isinstance(message, VolumeInspected) for message in rest[:-1])
    assert len(beats) == len(rest) - 1 == 1000
    assert sum(len(msgspec.msgpack.encode(message)) for message in rest) < 8 << 20


# ---------------------------------------------------------------- text

VOLUME = InspectedVolume(
    1, "none", 0, 4096, "ext4", "tsk", "", "read", "", "", (), 0, 0, 0, VolumeFacts("ext4"), None
)  # fmt: skip
REPORT = Inspection("disc.img", 4096, 4096, 0, Health.OK, False, "none", (), (VOLUME,))


def test_the_last_line_says_what_can_be_done() -> None:
    def last(**changes: object) -> str:
        return list(inspect_lines(msgspec.structs.replace(REPORT, **changes)))[-1]

    assert last().startswith("every volume can be read: `ntt ingest`")
    odd = msgspec.structs.replace(VOLUME, finding="cut short")
    assert "not all is as it should be" in last(volumes=(odd,))
    mount = msgspec.structs.replace(VOLUME, status="finding", route="none", finding="xfs", facts=None)
    assert last(volumes=(mount,)).startswith("no files can be read from volume 1 here")
    offered = msgspec.structs.replace(mount, mounts=MountOffer(("kernel xfs",), ("fuse xfuse: \x1b[2J",)))
    assert last(volumes=(offered,)).startswith("volume 1 can only be mounted: `ntt ingest` tries that")
    shown = list(inspect_lines(msgspec.structs.replace(REPORT, volumes=(offered,))))
    assert "  mountable   kernel xfs" in shown
    assert "  not by      fuse xfuse: \\x1b[2J" in shown
    assert last(volumes=(msgspec.structs.replace(mount, mounts=MountOffer(steps=("install it",))),)).startswith(
        "no files"
    )
    assert last(ended_early="it died") == ""


def test_every_route_and_raw_sectors_and_sessions_have_words() -> None:
    for route in Route:
        volume = msgspec.structs.replace(VOLUME, route=route, session_bytes=2048, sector_bytes=2352, data_at=24)
        text = "\n".join(inspect_lines(msgspec.structs.replace(REPORT, volumes=(volume,))))
        assert "  read by" in text
        assert "raw, 2,352 bytes each, files' bytes at 24" in text
        assert "begins 2,048 bytes further on" in text


def test_long_and_hostile_sentences_are_wrapped_and_escaped() -> None:
    facts = VolumeFacts("ext4", oddities=("word " * 100, "\x1b[2J" * 60, ""), created_s=10**18, modified_s=-(10**18))
    volume = msgspec.structs.replace(VOLUME, facts=facts, label="\x9b31m\n", finding="x" * 500)
    lines = list(inspect_lines(msgspec.structs.replace(REPORT, volumes=(volume,), remarks=("\r\x07",))))
    assert all(len(line) <= 80 for line in lines)
    assert all(line.isprintable() for line in lines)
    text = "\n".join(lines)
    assert "volume 1: ext4 “\\x9b31m\\n”" in text
    assert "1,000,000,000,000,000,000 seconds from 1970" in text
    assert "remark      \\r\\x07" in text
