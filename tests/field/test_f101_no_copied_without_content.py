"""F101: 2,015,453 files were marked copied without content, and their images were deleted."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest
from catalogue import Catalogue
from media_images import iso_image, written

NEW_OUTCOME = """INSERT INTO outcome (ino, blob_id, medium_id, volume, status, reason, damaged)
    SELECT 999, CASE WHEN {blob} THEN blob.id END, medium.id, 1, '{status}', {reason}, {damaged} FROM medium, blob"""


@pytest.fixture
def loaded(catalogue: Catalogue, tmp_path: Path) -> Catalogue:
    catalogue.one(iso_image(tmp_path / "disc.iso", written(tmp_path / "tree", {"one": b"1"})))
    return catalogue


@pytest.mark.parametrize(
    "lie",
    [
        {"status": "c", "blob": "false"},
        {"status": "c", "reason": "'gave up'"},
        {"status": "c", "damaged": "'{[0,1)}'"},
        {"status": "d", "blob": "false", "damaged": "'{[0,1)}'"},
        {"status": "d"},
        {"status": "d", "damaged": "'{}'"},
        {"status": "f"},
        {"status": "f", "blob": "false"},
        {"status": "f", "reason": "'gave up'"},
        {"status": "x"},
    ],
)
def test_f101_the_database_refuses_an_outcome_that_is_not_true(loaded: Catalogue, lie: dict[str, str]) -> None:
    sql = NEW_OUTCOME.format(**{"blob": "true", "reason": "NULL", "damaged": "NULL", **lie})
    with pytest.raises(asyncpg.CheckViolationError):
        loaded.rows(sql)
    assert loaded.value("SELECT count(*) FROM outcome") == 1


def test_f101_the_same_statements_with_the_truth_are_taken(loaded: Catalogue) -> None:
    for truth in (
        {"status": "c", "blob": "true", "reason": "NULL", "damaged": "NULL"},
        {"status": "f", "blob": "false", "reason": "'unread'", "damaged": "NULL"},
        {"status": "d", "blob": "true", "reason": "NULL", "damaged": "'{[0,1)}'"},
    ):
        loaded.rows(NEW_OUTCOME.format(**truth))
        loaded.rows("DELETE FROM outcome WHERE ino = 999")


@pytest.mark.parametrize(
    "stamp",
    [
        "enum_done = NULL",
        "copy_done = enum_done - interval '1 second'",
        "copy_done = NULL, archive_done = now(), archived_image_hash = image_hash",
        "archive_done = now()",
        "archive_done = now(), archived_image_hash = repeat('0', 64)",
        "archive_done = enum_done - interval '1 second', archived_image_hash = image_hash",
    ],
)
def test_f101_the_database_refuses_a_stamp_without_what_it_rests_on(loaded: Catalogue, stamp: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        loaded.rows(f"UPDATE medium SET {stamp}")


def test_f101_an_outcome_cannot_be_taken_back_to_copied_without_its_content(loaded: Catalogue) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        loaded.rows("UPDATE outcome SET blob_id = NULL")


def test_f101_a_file_whose_content_is_gone_for_good_is_not_left_as_copied(loaded: Catalogue, tmp_path: Path) -> None:
    (pack,) = (loaded.store / "packs").iterdir()
    pack.unlink()
    (tmp_path / "disc.iso").unlink()
    assert loaded.command("repair", "--apply").status == 1
    (outcome,) = loaded.rows("SELECT status, blob_id, reason FROM outcome")
    assert (outcome["status"], outcome["blob_id"]) == (b"f", None)
    assert "lost" in outcome["reason"]
    assert loaded.rows("SELECT * FROM blob") == []
