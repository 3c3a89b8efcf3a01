"""F007: "gave up" was stored as copied; 2,657 files were stuck."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest
from catalogue import Catalogue
from media_images import found_at, iso_image, map_of, noise, written


def with_lost_file(catalogue: Catalogue, folder: Path) -> tuple[Path, Path]:
    """An image and a map that says that not one byte of `lost` was read."""
    contents = {"kept": noise(5000, 1), "lost": noise(6000, 2), "also kept": noise(7000, 3)}
    image = iso_image(folder / "disc.iso", written(folder / "tree", contents))
    at = found_at(image, contents["lost"])
    return image, map_of(folder / "disc.map", image.stat().st_size, [(at, at + 3 * 2048)])


def test_f007_a_file_that_was_given_up_is_failed_with_its_reason_and_counted(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    image, map_path = with_lost_file(catalogue, tmp_path)
    report = catalogue.one(image, map_path)
    assert (report.files, report.failed, report.damaged, report.pending) == (3, 1, 0, 0)
    assert "1 files could not be stored" in report.problems
    assert report.complete
    (row,) = catalogue.rows("SELECT * FROM inode WHERE type = 'file' AND NOT copied")
    assert (row["status"], row["blobid"]) == ("failed", None)
    assert row["reason"] == "unread: none of its bytes could be read from the medium"
    assert catalogue.tree(report.medium_hash)[1, b"lost"].status == "failed"


def test_f007_a_failed_file_stays_failed_when_the_medium_comes_again(catalogue: Catalogue, tmp_path: Path) -> None:
    image, map_path = with_lost_file(catalogue, tmp_path)
    catalogue.one(image, map_path)
    before = catalogue.rows("SELECT xmin::text, * FROM outcome ORDER BY ino")
    again = catalogue.one(image, map_path)
    assert catalogue.rows("SELECT xmin::text, * FROM outcome ORDER BY ino") == before
    assert (again.changed, again.failed, again.pending) == (False, 1, 0)
    assert catalogue.value("SELECT count(*) FROM diagnostic_event") == 1


def test_f007_retry_copies_exactly_the_failed_files_and_only_when_told_to(catalogue: Catalogue, tmp_path: Path) -> None:
    image, map_path = with_lost_file(catalogue, tmp_path)
    report = catalogue.one(image, map_path)
    before = catalogue.rows("SELECT xmin::text, * FROM outcome ORDER BY ino")
    dry = catalogue.command("retry", report.medium_hash[:8])
    assert "lost" in dry.stdout
    assert catalogue.rows("SELECT xmin::text, * FROM outcome ORDER BY ino") == before
    other = catalogue.command("retry", report.medium_hash[:8], "--reason", "no such reason", "--apply")
    assert other.status == 0, other.stderr
    assert catalogue.rows("SELECT xmin::text, * FROM outcome ORDER BY ino") == before
    # as if its failure had been one of the machine, not of the medium
    catalogue.rows("UPDATE medium SET unread = '{}', unread_bytes = 0, health = 'ok'")
    applied = catalogue.command("retry", report.medium_hash[:8], "--reason", "unread", "--apply")
    assert applied.status == 1, applied.stderr
    assert "got an assigned id" in applied.stdout, "what is left is that a sample was not read at first"
    after = catalogue.rows("SELECT xmin::text, * FROM outcome ORDER BY ino")
    assert [row for row in after if row in before] == [row for row in before if row["status"] == b"c"]
    assert catalogue.files(report.medium_hash)[b"lost"] == noise(6000, 2)


@pytest.mark.parametrize("claim", ["status = 'c'", "status = 'c', reason = NULL", "status = 'd'", "reason = NULL"])
def test_f007_the_database_refuses_to_call_a_failed_file_anything_else(
    catalogue: Catalogue, tmp_path: Path, claim: str
) -> None:
    image, map_path = with_lost_file(catalogue, tmp_path)
    catalogue.one(image, map_path)
    with pytest.raises(asyncpg.CheckViolationError):
        catalogue.rows(f"UPDATE outcome SET {claim} WHERE status = 'f'")
