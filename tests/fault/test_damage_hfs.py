"""Bad sectors on HFS and HFS+: what is told of each file equals where its content was found in the image."""

from __future__ import annotations

import os
import random
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from media_images import MIB, found_at, noise, run, written

from ntt.model import OutcomeStatus
from ntt.ranges import Range, Ranges, normalised, total, within
from ntt.readers.base import ImageSource
from ntt.readers.opening import open_volume
from tests.damage_trial import Told, told_of

SECTOR = 512
PLANS = 10
CONTENTS = {b"file %03d" % number: noise(3000 + number * 517, number + 1) for number in range(70)}


@dataclass(frozen=True, slots=True)
class Medium:
    """`volume`: bytes of the image that the file system takes; `places`: where each content lies."""

    image: Path
    fstype: str
    volume: Range
    places: dict[bytes, int]
    catalog: Ranges


def hfs(folder: Path, *argv: str | Path) -> str:
    """One of the hfsutils, with its own record of what is mounted."""
    done = subprocess.run(argv, env={**os.environ, "HOME": str(folder)}, capture_output=True, check=True)
    return done.stdout.decode("latin-1")


def classic(folder: Path) -> Medium:
    image = folder / "image"
    with image.open("wb") as file:
        file.truncate(4 * MIB)
    hfs(folder, "hformat", "-l", "ntt", image)
    tree = written(folder / "tree", CONTENTS)
    hfs(folder, "hmount", image)
    for name in CONTENTS:
        hfs(folder, "hcopy", "-r", tree / name.decode(), f":{name.decode()}")
    hfs(folder, "humount")
    return medium(image, "hfs", (0, 4 * MIB), b"file %03d")


def plus(folder: Path) -> Medium:
    """On a disc that has an ISO 9660 side, too: both name the same content."""
    image, tree = folder / "image", written(folder / "tree", CONTENTS)
    run("xorriso", "-as", "mkisofs", "-quiet", "-R", "-hfsplus", "-o", image, tree)
    (volume,) = (one for one in told_of(image, ()).volumes if one.fstype == "hfsplus")
    region = (volume.offset_bytes, volume.offset_bytes + volume.size_bytes)
    return medium(image, "hfsplus", region, "file %03d")


def medium(image: Path, fstype: str, volume: Range, name: str | bytes) -> Medium:
    """The catalog is where the names stand, each in the volume's own way of writing it."""
    data = image.read_bytes()
    found: list[Range] = []
    for number in range(len(CONTENTS)):
        written_as = name % number if isinstance(name, bytes) else (name % number).encode("utf-16-be")
        found += [(at.start(), at.end()) for at in re.finditer(re.escape(written_as), data[: volume[1]])]
    assert len(found) >= len(CONTENTS)
    catalog = normalised((start // SECTOR * SECTOR, -(-end // SECTOR) * SECTOR) for start, end in found)
    places = {name: found_at(image, content) for name, content in CONTENTS.items()}
    return Medium(image, fstype, volume, places, catalog)


@pytest.fixture(scope="module", params=[classic, plus], ids=["hfs", "hfsplus"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Medium:
    found: Medium = request.param(tmp_path_factory.mktemp("hfs"))
    return found


def index_of(medium: Medium, told: Told) -> int:
    (index,) = (volume.index for volume in told.volumes if volume.fstype == medium.fstype)
    return index


def check(medium: Medium, told: Told, bad: Ranges) -> set[bytes]:
    """Every file is told as it is; the names of those that are not listed."""
    index = index_of(medium, told)
    listed = {path: file for (volume, path), file in told.files.items() if volume == index}
    for name, file in listed.items():
        at, content = medium.places[name], CONTENTS[name]
        damaged = tuple((start - at, end - at) for start, end in within(bad, at, at + len(content)))
        if file.status is OutcomeStatus.FAILED:
            assert file.unread, name
            continue
        assert (file.status, file.damaged) == (
            OutcomeStatus.DAMAGED if damaged else OutcomeStatus.COPIED,
            damaged,
        ), name
        expected = bytearray(content)
        for start, end in damaged:
            expected[start:end] = bytes(end - start)
        assert file.content == bytes(expected), name
    return CONTENTS.keys() - listed.keys()


def test_a_whole_volume_is_told_whole(made: Medium) -> None:
    told = told_of(made.image, ())
    assert check(made, told, ()) == set()
    assert told.problems == []
    assert told.lost[index_of(made, told)] == ()


def test_damage_in_contents_is_exact(made: Medium) -> None:
    chance = random.Random(11)
    for _ in range(PLANS):
        at = chance.choice(list(made.places.values())) // SECTOR * SECTOR + chance.randrange(4) * SECTOR
        bad = ((at, at + SECTOR * chance.choice((1, 2, 9))),)
        told = told_of(made.image, bad)
        assert check(made, told, bad) == set()
        assert told.lost[index_of(made, told)] == ()
        assert told.unread_used[index_of(made, told)] == bad


def test_names_are_never_lost_silently_with_a_part_of_the_catalog(made: Medium) -> None:
    chance = random.Random(12)
    for _ in range(PLANS):
        start, end = chance.choice(made.catalog)
        at = chance.randrange(start, end, SECTOR)
        bad = ((at, at + SECTOR),)
        told = told_of(made.image, bad)
        index = index_of(made, told)
        missing = check(made, told, bad)
        kinds = {problem.kind for volume, problem in told.problems if volume == index}
        assert {lost.ranges for lost in told.lost[index] if lost.what == "catalog" and not lost.spare} == {bad}
        assert not missing or kinds & {"bad_record", "directory_damaged"}


def test_without_its_header_a_volume_is_read_by_the_copy(made: Medium) -> None:
    at = made.volume[0] + 1024
    bad = ((at, at + SECTOR),)
    told = told_of(made.image, bad)
    assert check(made, told, bad) == set()
    assert {lost.spare for lost in told.lost[index_of(made, told)]} == {True}


def test_what_is_in_use_is_what_the_volume_itself_counts(made: Medium) -> None:
    fd = os.open(made.image, os.O_RDONLY)
    try:
        source = ImageSource(fd, ((made.image.stat().st_size, 1 << 62),))
        told = told_of(made.image, ())
        volume = next(one for one in told.volumes if one.fstype == made.fstype)
        reader = open_volume(source, volume)
        used = reader.used()
        assert used is not None
        ranges = list(used)
        facts = reader.facts()
        reader.close()
    finally:
        os.close(fd)
    assert normalised(ranges) == tuple(ranges)
    assert facts.free_bytes is not None
    assert facts.block_bytes is not None
    outside = ranges[-1][1] - made.volume[0] - total(ranges)
    assert outside == facts.free_bytes
