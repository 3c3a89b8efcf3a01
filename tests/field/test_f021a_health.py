"""F021a: 99.99 % rescued was called "failed" from stale data."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalogue import Catalogue
from media_images import ext4_image, map_of, noise, written

SECTOR = 512
SIZE_MIB = 4
SIZE = SIZE_MIB << 20


@pytest.fixture
def image(tmp_path: Path) -> Path:
    tree = written(tmp_path / "tree", {f"{n}.bin": noise(9_000, n) for n in range(20)})
    return ext4_image(tmp_path / "disk.img", tree, SIZE_MIB)


@pytest.mark.parametrize(
    ("unread_bytes", "health"),
    [
        (0, "ok"),
        (SECTOR, "incomplete"),
        (SIZE // 20, "incomplete"),
        (SIZE // 20 + SECTOR, "corrupt"),
        (SIZE // 2, "corrupt"),
        (SIZE // 2 + SECTOR, "failed"),
    ],
)
def test_f021a_health_is_what_the_map_says(
    catalogue: Catalogue, image: Path, tmp_path: Path, unread_bytes: int, health: str
) -> None:
    unread_bytes -= unread_bytes % SECTOR
    bad = [(SIZE - unread_bytes, SIZE)] if unread_bytes else []
    report = catalogue.one(image, map_of(tmp_path / "disk.map", SIZE, bad))
    assert (report.health, report.unread_bytes) == (health, unread_bytes)
    assert catalogue.value("SELECT health FROM medium") == health


def test_f021a_one_bad_sector_is_never_ok_and_the_medium_is_read(
    catalogue: Catalogue, image: Path, tmp_path: Path
) -> None:
    report = catalogue.one(image, map_of(tmp_path / "disk.map", SIZE, [(SIZE - SECTOR, SIZE)]))
    assert report.health == "incomplete"
    assert (report.files, report.damaged, report.failed) == (20, 0, 0)


def test_f021a_a_new_map_updates_it_and_nothing_else_does(catalogue: Catalogue, image: Path, tmp_path: Path) -> None:
    half = map_of(tmp_path / "half.map", SIZE, [(SIZE // 2 - SECTOR, SIZE)])
    better = map_of(tmp_path / "better.map", SIZE, [(SIZE - SECTOR, SIZE)])
    first = catalogue.one(image, half)
    assert first.health == "failed"
    again = catalogue.one(image, half)
    assert (again.medium_hash, again.health) == (first.medium_hash, "failed")
    now = catalogue.one(image, better)
    assert (now.medium_hash, now.health, now.unread_bytes) == (first.medium_hash, "incomplete", SECTOR)
    assert catalogue.value("SELECT health FROM medium") == "incomplete"
    assert (now.files, now.damaged, now.failed, now.pending) == (20, 0, 0, 0)
    worse = catalogue.one(image, half)
    assert worse.health == "incomplete", "a map that knows less changes nothing"
