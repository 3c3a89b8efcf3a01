"""F022: a second load wiped 2.35 million rows."""

from __future__ import annotations

import io
from pathlib import Path

import asyncpg
import msgspec
import zstandard
from catalogue import Catalogue
from media_images import iso_image, noise, written

TABLES = ("medium", "volume", "node", "name", "outcome", "blob", "finding", "stage_run", "diagnostic_event")


def all_rows(catalogue: Catalogue) -> dict[str, list[asyncpg.Record]]:
    """Every row with the transaction that wrote it; `sighting` grows with every insertion, and is left out."""
    return {
        table: sorted(catalogue.rows(f"SELECT xmin::text, ctid::text, * FROM {table}"), key=lambda r: str(r["ctid"]))
        for table in TABLES
        if table != "medium"
    } | {
        "medium": catalogue.rows("SELECT id, medium_hash, enum_done, copy_done, archive_done, archive_path FROM medium")
    }


def disc(folder: Path) -> Path:
    return iso_image(folder / "disc.iso", written(folder / "tree", {f"file {n}": noise(2000, n) for n in range(30)}))


def test_f022_a_second_load_changes_nothing_and_says_so(catalogue: Catalogue, tmp_path: Path) -> None:
    image = disc(tmp_path)
    catalogue.ingest(image)
    before = all_rows(catalogue)
    files = {path: path.stat() for path in catalogue.home.rglob("*") if path.is_file() and "log" not in path.parts}
    ended = catalogue.command("ingest", image)
    assert ended.status == 0
    assert "changed   nothing: this medium is in the catalogue already" in ended.stdout
    assert "the listing stays as it is" in ended.stderr
    assert all_rows(catalogue) == before
    assert {p: p.stat() for p in catalogue.home.rglob("*") if p.is_file() and "log" not in p.parts} == files
    assert catalogue.value("SELECT count(*) FROM sighting") == 2, "that it was here again is not lost"


def test_f022_replace_loads_anew_and_keeps_what_was_there(catalogue: Catalogue, tmp_path: Path) -> None:
    image = disc(tmp_path)
    first = catalogue.one(image)
    before = catalogue.tree(first.medium_hash)
    (enum_done,) = catalogue.rows("SELECT enum_done, copy_done FROM medium")
    again = catalogue.one(image, replace=True)
    assert (again.medium_hash, again.changed, again.stored, again.known) == (first.medium_hash, True, 0, 30)
    (now,) = catalogue.rows("SELECT enum_done, copy_done FROM medium")
    assert now["enum_done"] > enum_done["copy_done"]
    assert catalogue.tree(first.medium_hash) == before
    (export,) = (catalogue.home / "undo").iterdir()
    assert export.name.startswith(first.medium_hash)
    assert any(str(export) in text for text, _ in catalogue.heard.notes)
    with zstandard.ZstdDecompressor().stream_reader(export.read_bytes()) as stream:
        header, *lines = (msgspec.json.decode(line) for line in io.BytesIO(stream.read()))
    assert header["medium_hash"] == first.medium_hash
    assert {line["path"].encode() for line in lines} == {path for _, path in before} | {b""}
    blobs = {line["path"]: line["blob"] for line in lines if "blob" in line}
    assert len(blobs) == 30
    assert set(blobs.values()) == set(catalogue.hashes_in_store())


def test_f022_a_replacing_load_that_fails_leaves_the_old_rows(catalogue: Catalogue, tmp_path: Path) -> None:
    image = disc(tmp_path)
    catalogue.ingest(image)
    before = all_rows(catalogue)
    catalogue.rows("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE disk_full; END'")
    catalogue.rows("CREATE TRIGGER refuse BEFORE INSERT ON name EXECUTE FUNCTION refuse()")
    result = catalogue.ingest(image, replace=True)
    assert [failure.exit_status for failure in result.failures] == [3]
    after = all_rows(catalogue)
    for table in ("node", "name", "outcome", "volume", "medium"):
        assert after[table] == before[table], table
