"""F112: a damaged catalogue listed 7 of 20 million files at 191 a second, and nothing told of it."""

from __future__ import annotations

from pathlib import Path

from catalogue import Catalogue
from media_images import ext4_image, noise, written


def test_f112_a_listing_that_is_slow_for_long_is_a_problem_of_the_medium(catalogue: Catalogue, tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", {f"{number}": noise(100, number) for number in range(50)})
    image = ext4_image(tmp_path / "disc.img", tree)
    # what counts as long and slow is a setting: here anything is
    (report,) = catalogue.ingest(image, archive=False, slow_s=1e-6, slow_per_s=1e9).media
    assert any("was listed at" in problem and "entries/s" in problem for problem in report.problems)
    assert report.files == 50
    assert catalogue.value("SELECT next_step <> '' FROM finding WHERE kind = 'slow_enumeration'") is True


def test_f112_a_listing_at_its_usual_speed_is_none(catalogue: Catalogue, tmp_path: Path) -> None:
    image = ext4_image(tmp_path / "disc.img", written(tmp_path / "tree", {"a": b"1"}))
    report = catalogue.one(image)
    assert report.problems == ()


def test_f112_fewer_entries_than_the_file_system_counts_are_a_problem(catalogue: Catalogue, tmp_path: Path) -> None:
    folders: dict[str | bytes, bytes] = {f"box {n // 20}/{n}": noise(100, n) for n in range(200)}
    image = ext4_image(tmp_path / "disc.img", written(tmp_path / "tree", folders))
    content = bytearray(image.read_bytes())
    name = b"box 7"
    at = content.index(name) - 8  # the entry in the root's directory block
    content[at : at + 4] = bytes(4)  # its inode number: the entry counts as deleted, its 20 files hang nowhere
    image.write_bytes(bytes(content))
    report = catalogue.one(image)
    assert report.files == 180
    assert any("were listed where the file system counts" in problem for problem in report.problems)
