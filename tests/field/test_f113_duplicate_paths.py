"""F113: duplicate paths from a corrupt directory."""

from __future__ import annotations

import os
from pathlib import Path

from catalogue import Catalogue
from media_images import ext4_image, iso_image, noise, written

CONTENTS: dict[str | bytes, bytes] = {
    "folder/first-name": noise(3000, 1),
    "folder/other-name": noise(4000, 2),
    "folder/third": noise(5000, 3),
}


def assert_both_are_kept(catalogue: Catalogue, medium_hash: str, problems: tuple[str, ...]) -> None:
    rows = catalogue.rows("SELECT * FROM path JOIN inode USING (medium_hash, volume, ino) WHERE type = 'file'")
    assert sorted((row["path"], row["size"]) for row in rows) == [
        (b"folder/first-name", 3000),
        (b"folder/first-name", 4000),
        (b"folder/third", 5000),
    ]
    assert {row["copied"] for row in rows} == {True}
    flagged = [row["path"] for row in rows if row["duplicate"]]
    assert flagged in ([b"folder/first-name"], [b"folder/first-name"] * 2)
    assert any("twice" in problem or "more than once" in problem for problem in problems), problems
    (found,) = catalogue.rows("SELECT name FROM finding WHERE kind = 'duplicate_name'")
    assert found["name"] == b"first-name"
    assert len(catalogue.hashes_in_store()) == 3


def test_f113_duplicates_of_an_iso_are_kept_and_flagged(catalogue: Catalogue, tmp_path: Path) -> None:
    image = iso_image(tmp_path / "disc.iso", written(tmp_path / "tree", CONTENTS))
    data = image.read_bytes()
    assert data.count(b"other-name") == 1
    image.write_bytes(data.replace(b"other-name", b"first-name"))
    report = catalogue.one(image)
    assert_both_are_kept(catalogue, report.medium_hash, report.problems)


def test_f113_duplicates_of_an_ext4_are_kept_and_flagged(catalogue: Catalogue, tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", CONTENTS)
    # without checksums, as nearly all old volumes are: a false one would hide the directory
    image = ext4_image(tmp_path / "stick.img", tree, 8, "-O", "^metadata_csum")
    data = image.read_bytes()
    assert data.count(b"other-name") == 1
    image.write_bytes(data.replace(b"other-name", b"first-name"))
    report = catalogue.one(image)
    assert_both_are_kept(catalogue, report.medium_hash, report.problems)


def test_f113_a_duplicate_folder_keeps_the_files_of_both(catalogue: Catalogue, tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", {"folder-a/one": b"1", "folder-a/same": b"a", "folder-b/same": b"b"})
    image = ext4_image(tmp_path / "stick.img", tree, 8, "-O", "^metadata_csum")
    data = image.read_bytes()
    assert data.count(b"folder-b") == 1
    image.write_bytes(data.replace(b"folder-b", b"folder-a"))
    report = catalogue.one(image)
    paths = [path for path in catalogue.paths(report.medium_hash) if path != b"lost+found"]
    assert paths == [b"folder-a", b"folder-a", b"folder-a/one", b"folder-a/same", b"folder-a/same"]
    assert sorted(catalogue.hashes_in_store()) == catalogue.hashes_referenced()
    assert len(catalogue.hashes_in_store()) == 3


def test_f113_the_same_name_for_the_same_inode_is_kept_twice(catalogue: Catalogue, tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", {"first-name": b"1"})
    os.link(tree / "first-name", tree / "other-name")
    image = ext4_image(tmp_path / "stick.img", tree, 8, "-O", "^metadata_csum")
    image.write_bytes(image.read_bytes().replace(b"other-name", b"first-name"))
    report = catalogue.one(image)
    assert catalogue.paths(report.medium_hash) == [b"first-name", b"first-name", b"lost+found"]
    assert (report.files, report.failed) == (1, 0)
    assert catalogue.files(report.medium_hash) == {b"first-name": b"1"}
