"""Two passes of one medium, each with its map -> one that has what either read, and says where they disagree."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ntt.errors import MediumError, StoreError
from ntt.ranges import Ranges, difference, normalised
from ntt.rescue.merging import Merged, Pass, merge, merged
from ntt.rescue.working import WorkingImages
from ntt.tools.mapfile import mapfile_of, parse_mapfile

SIZE = 3 << 20
CONTENT = random.Random(8).randbytes(SIZE)


def a_pass(path: Path, bad: Ranges, content: bytes = CONTENT, untried: Ranges = ()) -> Pass:
    image = bytearray(content)
    for start, end in (*bad, *untried):
        image[start:end] = bytes(end - start)
    path.write_bytes(image)
    return Pass(path, mapfile_of(difference(((0, SIZE),), normalised((*bad, *untried))), SIZE, bad))


def joined(tmp_path: Path, first: Pass, second: Pass, sector_bytes: int = 512) -> Merged:
    found = merge(first, second, tmp_path / "merged.img", tmp_path / "merged.map", sector_bytes)
    text = (tmp_path / "merged.map").read_text()
    assert parse_mapfile(text, "merged.map").blocks == found.mapfile.blocks
    return found


def test_what_either_read_is_read(tmp_path: Path) -> None:
    first = a_pass(tmp_path / "1.img", ((0, 512), (1 << 20, (1 << 20) + 4096), (SIZE - 512, SIZE)))
    second = a_pass(
        tmp_path / "2.img", ((512, 1024), ((1 << 20) + 2048, (1 << 20) + 8192)), untried=((SIZE - 512, SIZE),)
    )
    before = first.image.read_bytes(), second.image.read_bytes()
    found = joined(tmp_path, first, second)
    hole = (1 << 20) + 2048, (1 << 20) + 4096
    assert found.disagreements == ()
    assert found.mapfile.ranges("-") == (hole, (SIZE - 512, SIZE))
    expected = bytearray(CONTENT)
    for start, end in (hole, (SIZE - 512, SIZE)):
        expected[start:end] = bytes(end - start)
    assert (tmp_path / "merged.img").read_bytes() == expected
    assert (first.image.read_bytes(), second.image.read_bytes()) == before


@pytest.mark.parametrize("sector_bytes", [512, 2048])
def test_a_sector_that_both_read_differently_is_not_trusted(sector_bytes: int, tmp_path: Path) -> None:
    other = bytearray(CONTENT)
    for at in (5000, (2 << 20) - 1, 2 << 20):  # the last two: on both sides of a window
        other[at] ^= 1
    found = joined(tmp_path, a_pass(tmp_path / "1.img", ()), a_pass(tmp_path / "2.img", (), bytes(other)), sector_bytes)
    edge = 2 << 20
    at = 5000 - 5000 % sector_bytes
    assert found.disagreements == ((at, at + sector_bytes), (edge - sector_bytes, edge + sector_bytes))
    assert found.mapfile.ranges("-") == found.disagreements
    assert found.both_bytes == SIZE
    assert (tmp_path / "merged.img").read_bytes() == CONTENT


def test_a_map_that_claims_more_than_its_image_has_is_not_believed(tmp_path: Path) -> None:
    first = a_pass(tmp_path / "1.img", ())
    first.image.write_bytes(CONTENT[: 1 << 20])
    second = a_pass(tmp_path / "2.img", ((2 << 20, SIZE),))
    found = joined(tmp_path, first, second)
    assert found.mapfile.rescued == ((0, 2 << 20),)
    assert (tmp_path / "merged.img").read_bytes() == CONTENT[: 2 << 20] + bytes(1 << 20)


def test_what_cannot_be_merged_leaves_nothing(tmp_path: Path) -> None:
    first = a_pass(tmp_path / "1.img", ())
    gone = Pass(tmp_path / "not there", first.mapfile)
    with pytest.raises(MediumError, match="not there cannot be opened"):
        merge(first, gone, tmp_path / "m.img", tmp_path / "m.map")
    with pytest.raises(StoreError, match="cannot be written"):
        merge(first, first, tmp_path / "no folder" / "m.img", tmp_path / "m.map")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.img"]


async def test_passes_are_merged_into_an_image_in_work(tmp_path: Path) -> None:
    holes = ((512, 1024),), ((4096, 8192),)
    paths = [a_pass(tmp_path / f"{n}.img", bad).image for n, bad in enumerate(holes)]
    images = WorkingImages(tmp_path / "work")
    working, found = await merged(images, paths[0], holes[0], paths[1], holes[1], SIZE)
    with working:
        assert (found.disagreements, found.both_bytes) == ((), SIZE - 512 - 4096)
        assert working.mapfile().unread == ()
        assert working.path.read_bytes() == CONTENT
    with pytest.raises(MediumError):
        await merged(images, paths[0], (), tmp_path / "not there", (), SIZE)
    assert sorted(path.name for path in (tmp_path / "work").glob("*.img")) == [working.path.name]
