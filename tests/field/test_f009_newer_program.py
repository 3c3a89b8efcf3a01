"""F009: the program was newer than the database, and the worker said "no work"."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalogue import Catalogue
from media_images import iso_image, noise, written

from ntt.errors import EXIT_FAILED


@pytest.mark.parametrize(
    ("version", "words"),
    [(0, "run `ntt db upgrade`"), (99, "older than the database")],
    ids=["the program is newer", "the database is newer"],
)
def test_f009_another_schema_version_refuses_to_start(
    catalogue: Catalogue, tmp_path: Path, version: int, words: str
) -> None:
    image = iso_image(tmp_path / "disc.iso", written(tmp_path / "tree", {"a": noise(5000)}))
    report = catalogue.one(image)
    before = catalogue.rows("SELECT * FROM stage_run")
    catalogue.rows("UPDATE ntt_schema SET version = $1", version)
    commands: tuple[tuple[str | Path, ...], ...] = (
        ("ingest", image),
        ("retry", report.medium_hash, "--apply"),
        ("problems",),
        ("status", report.medium_hash),
    )
    for arguments in commands:
        ended = catalogue.command(*arguments)
        assert ended.status == EXIT_FAILED, arguments
        assert ended.stdout == "", arguments
        (line,) = ended.complaints
        assert words in line
    assert catalogue.rows("SELECT * FROM stage_run") == before
