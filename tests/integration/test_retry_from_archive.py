"""Failed files are copied again from the archive where the image is gone, as it is of media that were watched."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
import zstandard
from catalogue import Catalogue
from media_images import found_at, iso_image, map_of, noise, written

CONTENTS = {"kept": noise(5000, 1), "lost": noise(6000, 2)}


@pytest.fixture
def catalogue(home: Path, database_url: str) -> Catalogue:
    return Catalogue(home, database_url)


def archived(catalogue: Catalogue, folder: Path) -> tuple[str, Path]:
    """A medium with a file of which nothing was read, as its map says; archived."""
    image = iso_image(folder / "disc.iso", written(folder / "tree", CONTENTS))
    at = found_at(image, CONTENTS["lost"])
    map_path = map_of(folder / "disc.map", image.stat().st_size, [(at, at + 3 * 2048)])
    (report,) = catalogue.ingest(image, map_path=map_path).media
    assert (report.failed, report.archive is not None) == (1, True)
    # as if its failure had been one of the machine, not of the medium
    catalogue.rows("UPDATE medium SET unread = '{}', unread_bytes = 0, health = 'ok'")
    return report.medium_hash, image


def members(archive: Path) -> dict[str, bytes]:
    with (
        archive.open("rb") as file,
        zstandard.ZstdDecompressor().stream_reader(file) as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        found = {}
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            found[member.name.split("/")[1]] = content.read()
        return found


@pytest.mark.parametrize("released", [True, False])
def test_the_files_come_from_the_archive_which_then_knows_of_them(
    catalogue: Catalogue, tmp_path: Path, released: bool
) -> None:
    medium, image = archived(catalogue, tmp_path)
    archive = catalogue.home / "archives" / f"{medium}.tar.zst"
    before = members(archive)
    image.unlink()
    if released:
        catalogue.rows("UPDATE medium SET image_path = NULL")
    (row,) = catalogue.media()
    applied = catalogue.command("retry", medium[:8], "--apply")
    assert applied.status in (0, 1), applied.stderr  # what else was found of it stays so
    assert catalogue.files(medium)[b"lost"] == CONTENTS["lost"]
    (after,) = catalogue.media()
    assert after["image_path"] == row["image_path"]
    assert after["archive_done"] > row["archive_done"]
    now = members(archive)
    assert now.keys() == before.keys()
    assert now["image.img"] == before["image.img"]
    assert now["manifest.jsonl.zst"] != before["manifest.jsonl.zst"]
    assert not list((catalogue.home / "work").iterdir())


def test_without_image_and_archive_nothing_is_changed_and_that_is_said(catalogue: Catalogue, tmp_path: Path) -> None:
    medium, image = archived(catalogue, tmp_path)
    image.unlink()
    (catalogue.home / "archives" / f"{medium}.tar.zst").unlink()
    before = catalogue.rows("SELECT xmin::text, * FROM outcome ORDER BY ino")
    applied = catalogue.command("retry", medium[:8], "--apply")
    assert (applied.status, "is not there" in applied.stderr) == (3, True)
    assert catalogue.rows("SELECT xmin::text, * FROM outcome ORDER BY ino") == before


def test_an_archive_that_holds_another_image_is_not_read_from(catalogue: Catalogue, tmp_path: Path) -> None:
    medium, image = archived(catalogue, tmp_path)
    image.unlink()
    catalogue.rows("UPDATE medium SET archived_image_hash = $1, image_hash = $1", "0" * 64)
    before = catalogue.rows("SELECT xmin::text, * FROM outcome ORDER BY ino")
    applied = catalogue.command("retry", medium[:8], "--apply")
    assert (applied.status, "does not hold the image" in applied.stderr) == (3, True)
    assert catalogue.rows("SELECT xmin::text, * FROM outcome ORDER BY ino") == before
