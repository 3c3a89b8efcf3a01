"""F014: 21,801 files were not found, because the mount point was part of the stored path."""

from __future__ import annotations

from pathlib import Path

from catalogue import Catalogue
from media_images import contents_below, ext4_image, noise, written

CONTENTS: dict[str | bytes, bytes] = {f"folder {n % 3}/deeper/file {n}": noise(900, n) for n in range(20)}


def test_f014_stored_paths_are_relative_to_the_volume(catalogue: Catalogue, tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", CONTENTS)
    report = catalogue.one(ext4_image(tmp_path / "stick.img", tree))
    assert set(catalogue.paths(report.medium_hash)) == {*contents_below(tree), b"lost+found"}


def test_f014_an_image_that_was_moved_is_known_and_copying_goes_on_from_there(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    tree = written(tmp_path / "tree", CONTENTS)
    first = catalogue.one(ext4_image(tmp_path / "stick.img", tree))
    rows = catalogue.rows("SELECT xmin::text, * FROM name ORDER BY ino")
    moved = tmp_path / "elsewhere" / "renamed image"
    moved.parent.mkdir()
    (tmp_path / "stick.img").rename(moved)
    again = catalogue.one(moved)
    assert (again.medium_hash, again.changed, again.recognition) == (first.medium_hash, False, "known")
    assert catalogue.rows("SELECT xmin::text, * FROM name ORDER BY ino") == rows
    assert catalogue.value("SELECT image_path FROM medium") == str(moved)
    # half of the files lose their outcome, as if the first run had been killed
    catalogue.rows("DELETE FROM outcome WHERE ino % 2 = 0")
    assert catalogue.one(moved).pending == 0
    assert catalogue.files(first.medium_hash) == {str(name).encode(): content for name, content in CONTENTS.items()}
    restored = contents_below(catalogue.restored(first.medium_hash))
    assert {path: c for path, c in restored.items() if path != b"lost+found"} == contents_below(tree)
