"""The database is lost: what the store and the archives say of every medium is what it said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from catalogue import Catalogue
from database_server import TEMPLATE, DatabaseServer
from media_images import ext4_image, found_at, iso_image, map_of, mbr_image, noise, written

MIB = 1 << 20
# what the archive cannot know: when it was proven itself, that stamps were set after the fact, and numbers of rows
QUERIES = {
    "medium": """SELECT medium_hash, to_jsonb(m) - '{id,archive_done,archive_checked,backfilled}'::text[]
                 FROM medium m ORDER BY 1""",
    "volume": """SELECT medium_hash, to_jsonb(t) - 'medium_id' FROM volume t JOIN medium m ON m.id = medium_id
                 ORDER BY 1, index""",
    "node": """SELECT medium_hash, to_jsonb(t) - 'medium_id' FROM node t JOIN medium m ON m.id = medium_id
               ORDER BY 1, volume, ino""",
    "name": """SELECT medium_hash, to_jsonb(t) - 'medium_id' FROM name t JOIN medium m ON m.id = medium_id
               ORDER BY 1, volume, parent_ino, ino, name""",
    "path": "SELECT * FROM path ORDER BY medium_hash, volume, path, ino",
    "outcome": """SELECT medium_hash, to_jsonb(t) - '{medium_id,blob_id}'::text[], b.hash, b.size
                  FROM outcome t JOIN medium m ON m.id = medium_id LEFT JOIN blob b ON b.id = t.blob_id
                  ORDER BY 1, volume, ino""",
    "blob": "SELECT hash, size, pack_id, pack_offset FROM blob ORDER BY hash",
    "pack": "SELECT id, committed_bytes, sealed FROM pack ORDER BY id",
    "sample": "SELECT medium_hash, position, digest FROM medium_sample JOIN medium m ON m.id = medium_id ORDER BY 1, 2",
    "finding": """SELECT medium_hash, to_jsonb(t) - 'medium_id' FROM finding t JOIN medium m ON m.id = medium_id
                  ORDER BY 1, 2""",
    "unread": """SELECT medium_hash, to_jsonb(t) - 'medium_id' FROM unread_structure t JOIN medium m ON m.id = medium_id
                 ORDER BY 1, 2""",
    "sighting": """SELECT medium_hash, seen_at, source, label FROM sighting JOIN medium m ON m.id = medium_id
                   ORDER BY 1, 2""",
    "attempt": """SELECT medium_hash, stage, started_at, ended_at, state, counts FROM stage_run
                  JOIN medium m ON m.id = medium_id WHERE stage <> 'archive' ORDER BY 1, 3""",
    "event": """SELECT medium_hash, to_jsonb(t) - 'medium_id' FROM diagnostic_event t JOIN medium m ON m.id = medium_id
                ORDER BY 1, 2""",
}  # fmt: skip


class Rebuilt(msgspec.Struct):
    media: list[str]


class Told(msgspec.Struct):
    rebuilt: Rebuilt


@pytest.fixture
def second_url(database_server: DatabaseServer) -> Iterator[str]:
    with database_server.database(TEMPLATE) as url:
        # made at another time than the first: that is what tells two catalogues apart
        Catalogue(Path(), url).rows("UPDATE ntt_schema SET applied_at = applied_at + interval '1 day'")
        yield url


def everything(catalogue: Catalogue) -> dict[str, list[tuple[object, ...]]]:
    return {table: [tuple(row) for row in catalogue.rows(query)] for table, query in QUERIES.items()}


def some_media(catalogue: Catalogue, tmp_path: Path) -> None:
    """A disc; a damaged one with a map; a disk of two partitions, with names of any bytes."""
    names: dict[str | bytes, bytes] = {
        "one": noise(3000, 1), "two/deep/er": noise(5000, 2), "large": noise(2 * MIB, 3), "empty": b"",
    }  # fmt: skip
    catalogue.ingest(iso_image(tmp_path / "disc.iso", written(tmp_path / "disc", names)), label="a label")
    odd: dict[str | bytes, bytes] = {b"\xff\xfe bytes": b"x", b"tab\tlf\n": noise(900, 4), "lost": noise(4096, 5),
                                     "hit": noise(9000, 6)}  # fmt: skip
    image = ext4_image(tmp_path / "hit.img", written(tmp_path / "hit", odd))
    hit, lost = found_at(image, noise(9000, 6)), found_at(image, noise(4096, 5))
    bad = sorted([(hit + 512, hit + 1024), (lost, lost + 4096)])
    catalogue.ingest(image, map_path=map_of(tmp_path / "hit.map", image.stat().st_size, bad))
    parts = [
        ext4_image(tmp_path / f"{n}.img", written(tmp_path / f"part {n}", {"same": noise(700, n)}), 8) for n in (8, 9)
    ]
    catalogue.ingest(mbr_image(tmp_path / "disk.img", parts))


@pytest.mark.slow
def test_a_lost_database_is_made_again_from_archives_and_store(
    home: Path, database_url: str, second_url: str, tmp_path: Path
) -> None:
    former = Catalogue(home, database_url)
    some_media(former, tmp_path)
    before = everything(former)
    assert len(before["medium"]) == 3
    assert before["event"], "something was damaged"
    later = Catalogue(home, second_url)
    told = later.command("repair", "--from-archives")
    assert told.status == 1, "a dry run tells of archives whose media are not in the catalogue"
    assert "unknown_archive: 3" in told.stdout
    assert later.value("SELECT count(*) FROM medium") == 0

    ended = later.command("repair", "--from-archives", "--apply", "--json")
    assert ended.status == 0, ended.stdout + ended.stderr
    told_of = msgspec.json.decode(ended.stdout, type=Told)
    assert len(told_of.rebuilt.media) == 3
    after = everything(later)
    for table, rows in before.items():
        assert after[table] == rows, table
    for medium in later.media():
        assert medium["archive_done"] is not None
        assert sorted(medium["backfilled"]) == ["archive_done", "copy_done", "enum_done"]
    assert later.command("audit", "--deep").status == 0
    assert later.command("verify", "--all").status == 0
    assert later.command("repair", "--from-archives", "--apply").status == 0, "a second time changes nothing"
    assert everything(later) == after
    again = later.ingest(tmp_path / "disc.iso")
    assert (again.media[0].recognition, again.media[0].stored) == ("known", 0)


def test_a_medium_whose_contents_the_store_lacks_is_not_called_copied(
    home: Path, database_url: str, second_url: str, tmp_path: Path
) -> None:
    former = Catalogue(home, database_url)
    former.ingest(iso_image(tmp_path / "disc.iso", written(tmp_path / "disc", {"a": noise(900), "b": noise(2 * MIB)})))
    (large,) = (home / "store" / "blobs").glob("*/*/*")
    large.unlink()
    later = Catalogue(home, second_url)
    ended = later.command("repair", "--from-archives", "--apply")
    assert ended.status == 1
    (medium,) = later.media()
    assert medium["enum_done"] is not None
    assert (medium["copy_done"], medium["archive_done"]) == (None, None)
    assert later.value("SELECT count(*) FROM outcome") == 1
    assert later.ingest(tmp_path / "disc.iso").exit_status == 0
    assert later.command("audit", "--deep").status == 0


@pytest.mark.slow
def test_the_blob_index_is_made_again_from_the_store_alone(home: Path, database_url: str, tmp_path: Path) -> None:
    catalogue = Catalogue(home, database_url)
    some_media(catalogue, tmp_path)
    before = everything(catalogue)
    catalogue.rows("DELETE FROM blob")
    catalogue.rows("DELETE FROM pack")
    ended = catalogue.command("repair", "--reindex", "--apply")
    assert ended.status == 0, ended.stdout + ended.stderr
    after = everything(catalogue)
    assert {table: rows for table, rows in after.items() if rows != before[table]} == {}
    assert catalogue.hashes_in_store() == catalogue.hashes_in_catalogue() == catalogue.hashes_referenced()
    shared = catalogue.ingest(iso_image(tmp_path / "more.iso", written(tmp_path / "more", {"x": noise(800, 77)})))
    assert shared.media[0].stored == 1, "numbers of packs go on behind those that were found"
    assert catalogue.command("audit", "--deep").status == 0


def test_another_catalogues_store_is_refused(home: Path, database_url: str, second_url: str, tmp_path: Path) -> None:
    former = Catalogue(home, database_url)
    disc = iso_image(tmp_path / "disc.iso", written(tmp_path / "disc", {"a": noise(900)}))
    former.ingest(disc)
    other = Catalogue(tmp_path / "elsewhere", second_url)
    other.ingest(disc)
    ended = Catalogue(home, second_url).command("repair", "--reindex", "--apply")
    assert ended.status == 3
    assert "belongs to another catalogue" in ended.stderr
