"""Planned bad sectors on the UDF side of a bridge disc, whose files' places its ISO 9660 side tells."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from damage_iso import SECTOR, run, source_tree, truth_of
from damage_plans import Truth
from damage_trial import File, Told, told_of

from ntt.model import Entry, OutcomeStatus, Route, Volume, VolumeStatus
from ntt.ranges import Ranges, intersection, normalised, total
from ntt.readers.base import ImageSource
from ntt.readers.udf.reader import UdfReader

SEED = 167
PLANS = 10


@contextmanager
def udf(image: Path) -> Iterator[UdfReader]:
    fd = os.open(image, os.O_RDONLY)
    try:
        source = ImageSource(fd)
        volume = Volume(0, "none", 0, source.size_bytes, "udf", Route.UDF, VolumeStatus.READ)
        with closing(UdfReader(source, volume)) as reader:
            yield reader
    finally:
        os.close(fd)


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    folder = tmp_path_factory.mktemp("bridge")
    tree = source_tree(folder / "tree")
    image = folder / "disc.iso"
    run("genisoimage", "-quiet", "-udf", "-R", "-J", "-joliet-long", "-o", image, tree)
    return image, truth_of(image, tree)


def udf_side(told: Told) -> tuple[dict[bytes, File], Ranges]:
    """Its files, and what is told lost of its structures."""
    (index,) = (volume.index for volume in told.volumes if volume.fstype == "udf")
    files = {path: file for (volume, path), file in told.files.items() if volume == index}
    lost = [one for one in told.lost.get(index, ()) if not one.spare]
    return files, normalised(piece for one in lost for piece in one.ranges)


def wrong(truth: Truth, told: Told, bad: Ranges) -> list[str]:
    (volume,) = (volume for volume in told.volumes if volume.fstype == "udf")
    if volume.status is VolumeStatus.FINDING:  # without the root directory's entry nothing can be listed
        return [] if "was not read" in volume.finding else [volume.finding]
    files, lost = udf_side(told)
    found: list[str] = []
    for path, file in files.items():
        link, true = truth.links.get(path), truth.files.get(path)
        if link is None and true is None:
            found.append(f"{path!r} does not exist")
        if file.status is OutcomeStatus.FAILED and not (file.unread and intersection(file.unread, bad) == file.unread):
            found.append(f"{path!r} failed without a cause: {file.reason}")
        if true is None or file.status is OutcomeStatus.FAILED:
            continue
        expected = normalised(
            (start - piece.image_offset, end - piece.image_offset)
            for piece in true.pieces
            for start, end in intersection((piece.place,), bad)
        )
        if file.damaged != expected or (not expected and file.content != true.content):
            found.append(f"{path!r}: damaged {file.damaged}, expected {expected}")
    if truth.files.keys() - files.keys() and not intersection(lost, bad):
        found.append(f"{truth.files.keys() - files.keys()} are missing, and nothing is told lost")
    return found


def structures_of(image: Path) -> list[tuple[int, int]]:
    with udf(image) as reader:
        assert len(list(reader.walk())) > 90
        return [(one.start, one.end) for one in reader.structures() if not one.spare]


def test_under_every_plan_no_damaged_file_of_the_udf_side_is_told_clean(bridge: tuple[Path, Truth]) -> None:
    image, truth = bridge
    files, _ = udf_side(told_of(image, ()))
    assert files.keys() >= truth.files.keys()
    chance = random.Random(SEED)
    structures = structures_of(image)
    contents = [piece.place for file in truth.files.values() for piece in file.pieces]
    for _ in range(PLANS):
        places = [*chance.choices(structures, k=3), *chance.choices(contents, k=3)]
        bad = normalised((start // SECTOR * SECTOR, start // SECTOR * SECTOR + SECTOR) for start, _ in places)
        assert wrong(truth, told_of(image, bad), bad) == [], bad


def test_a_file_whose_entry_was_not_read_is_listed_and_fails_with_the_place(bridge: tuple[Path, Truth]) -> None:
    image, truth = bridge
    with udf(image) as reader:
        named = [one for one in reader.walk() if isinstance(one, Entry) and one.name == b"large"]
        entries = [one for one in reader.structures() if one.what == "file entry"]
    ((place, _),) = [
        (start, end)
        for one in entries
        for start, end in (((named[0].ino & 0xFFFFFFFF) * SECTOR + partition_at(image), 0),)
        if one.start <= start < one.end
    ]
    bad = ((place, place + SECTOR),)
    told = told_of(image, bad)
    files, lost = udf_side(told)
    assert files.keys() >= truth.files.keys()
    assert files[b"large"].status is OutcomeStatus.FAILED
    assert files[b"large"].unread == bad
    assert lost == bad
    assert any(problem.name == b"large" for _, problem in told.problems)


def partition_at(image: Path) -> int:
    """Where partition 0 begins: a partition descriptor (tag 5) of the main sequence, which begins at sector 32."""
    content = image.read_bytes()[32 * SECTOR : 48 * SECTOR]
    found = next(content[at : at + SECTOR] for at in range(0, len(content), SECTOR) if content[at] == 5)
    return int.from_bytes(found[188:192], "little") * SECTOR


def test_the_space_bitmap_says_what_is_in_use(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    run("mkudffs", "--media-type=hd", "--blocksize=2048", image)
    with udf(image) as reader:
        assert len(list(reader.walk())) >= 1
        used = reader.used()
        assert used is not None
        found = normalised(used)
        structures = [(one.start, one.end) for one in reader.structures()]
        (bitmap,) = [(one.start, one.end) for one in reader.structures() if one.what == "space bitmap"]
        facts = reader.facts()
    assert intersection(normalised(structures), found) == normalised(structures)
    assert facts.free_bytes is not None
    assert facts.used_bytes is not None
    assert total(found) <= (8 << 20) - facts.free_bytes
    assert total(found) >= facts.used_bytes
    told = told_of(image, ((bitmap[0], bitmap[0] + SECTOR),))
    assert told.unread_used == {1: None}
