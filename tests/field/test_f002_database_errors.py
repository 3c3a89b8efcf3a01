"""F002: files were stored, the database update failed, and it was tried again without end."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalogue import Catalogue
from media_images import iso_image, noise, written

CONTENTS: dict[str | bytes, bytes] = {f"{number}.bin": noise(9_000 + number, number) for number in range(60)}
REFUSE = """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'no more' USING ERRCODE = 'disk_full'; END $$"""


@pytest.mark.parametrize("table", ["blob", "outcome"])
def test_f002_a_database_error_ends_the_run_and_the_next_completes(
    catalogue: Catalogue, tmp_path: Path, table: str
) -> None:
    disc = iso_image(tmp_path / "disc.iso", written(tmp_path / "tree", CONTENTS))
    catalogue.one(iso_image(tmp_path / "first.iso", written(tmp_path / "first", {"a": b"first"})))
    catalogue.rows(REFUSE)
    catalogue.rows(f"CREATE TRIGGER refuse BEFORE INSERT ON {table} EXECUTE FUNCTION refuse()")
    ended = catalogue.command("ingest", disc)
    assert ended.status == 3, ended.stderr
    assert "Traceback" not in ended.stderr
    (complaint,) = ended.complaints
    assert "no more" in complaint
    assert catalogue.value("SELECT count(*) FROM stage_run WHERE stage = 'copy' AND state = 'failed'") == 1
    assert catalogue.value("SELECT copy_done FROM medium ORDER BY id DESC LIMIT 1") is None
    catalogue.rows(f"DROP TRIGGER refuse ON {table}")
    (report,) = catalogue.ingest(disc).media
    assert (report.files, report.pending, report.failed) == (len(CONTENTS), 0, 0)
    files = {path.decode(): content for path, content in catalogue.files(report.medium_hash).items()}
    assert {name.lower(): content for name, content in files.items()} == CONTENTS
    assert catalogue.hashes_in_store() == catalogue.hashes_in_catalogue() == catalogue.hashes_referenced()
