"""What an audit finds is put right from proof alone, noted before it is changed, and told where there is none."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from filed_media import Filed, digest, filed, flip, location, repaired, rows
from sketches import Catalogue, open_catalogue

from ntt.db.undo import undo
from ntt.operations.audit import audit
from ntt.store.mending import is_whole


@pytest.fixture
async def catalogue(database_url: str, home: Path) -> AsyncIterator[Catalogue]:
    async with open_catalogue(database_url, home) as opened:
        yield opened


async def kinds(catalogue: Catalogue, *, deep: bool = False) -> dict[str, int]:
    work = catalogue.archives.parent / "work"
    report = await audit(catalogue.database, catalogue.store, catalogue.archives, medium=None, work_dir=work, deep=deep)
    return report.totals


async def undone(catalogue: Catalogue, path: str | None, before: dict[str, list[object]]) -> None:
    assert path is not None
    done = await undo(catalogue.database, Path(path))
    assert done.skipped == 0, done.examples
    assert await rows(catalogue) == before


async def a_medium(catalogue: Catalogue, tmp_path: Path, *, archived: bool = True) -> Filed:
    return await filed(catalogue, tmp_path, 1, archived=archived)


async def test_a_catalogue_as_it_should_be_is_not_touched(catalogue: Catalogue, tmp_path: Path) -> None:
    await a_medium(catalogue, tmp_path)
    before = await rows(catalogue)
    assert await kinds(catalogue, deep=True) == {}
    report = await repaired(catalogue, deep=True)
    assert (report.found, report.fixed, report.undo) == ({}, 0, None)
    assert await rows(catalogue) == before


async def test_without_apply_nothing_is_changed(catalogue: Catalogue, tmp_path: Path) -> None:
    await a_medium(catalogue, tmp_path)
    await catalogue.execute("UPDATE medium SET copy_done = NULL, archive_done = NULL")
    before = await rows(catalogue)
    report = await repaired(catalogue, apply=False)
    assert not report.applied
    assert report.found == {"complete_unstamped": 1, "archive_unstamped": 1} == report.left_totals
    assert set(report.tries) == set(report.found)
    assert await rows(catalogue) == before
    assert not (catalogue.archives.parent / "undo").exists()


async def test_stamps_are_set_from_the_archive_with_their_times_and_marked(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    one = await a_medium(catalogue, tmp_path)
    await catalogue.execute("UPDATE medium SET enum_done = NULL, copy_done = NULL, archive_done = NULL")
    before = await rows(catalogue)
    report = await repaired(catalogue)
    assert report.clean, report.left
    async with catalogue.database.connection() as connection:
        now = await connection.fetchrow("SELECT * FROM medium")
    assert now is not None
    assert (now["enum_done"], now["copy_done"]) == (one.medium.enum_done, one.medium.copy_done)
    assert now["archive_done"] is not None
    assert sorted(now["backfilled"]) == ["archive_done", "copy_done", "enum_done"]
    await undone(catalogue, report.undo, before)


async def test_stamps_are_set_from_rows_and_the_record_of_their_listing(catalogue: Catalogue, tmp_path: Path) -> None:
    await a_medium(catalogue, tmp_path, archived=False)
    await catalogue.execute("UPDATE medium SET enum_done = NULL, copy_done = NULL")
    report = await repaired(catalogue)
    assert report.clean, report.left
    async with catalogue.database.connection() as connection:
        assert await connection.fetchval("SELECT backfilled FROM medium") == ["enum_done", "copy_done"]


@pytest.mark.parametrize(
    "doubt",
    [
        "DELETE FROM stage_run WHERE stage = 'enumerate'",
        "UPDATE stage_run SET state = 'failed' WHERE stage = 'enumerate'",
        "UPDATE stage_run SET counts = counts || '{\"nodes\": 6}' WHERE stage = 'enumerate'",
        "INSERT INTO sighting (medium_id, source, run_id) SELECT id, 'disc', 'x' FROM medium",
    ],
)
async def test_rows_that_may_be_another_images_are_not_stamped(
    catalogue: Catalogue, tmp_path: Path, doubt: str
) -> None:
    await a_medium(catalogue, tmp_path, archived=False)
    await catalogue.execute("UPDATE medium SET enum_done = NULL, copy_done = NULL")
    await catalogue.execute(doubt)
    report = await repaired(catalogue)
    assert report.left_totals == {"unstamped_rows": 1}


@pytest.mark.parametrize(
    "loss",
    [
        "DELETE FROM node WHERE ino = 4",
        "DELETE FROM name WHERE ino = 4",
        "DELETE FROM name WHERE ino = 2",
        "DELETE FROM outcome WHERE ino = 4",
        "DELETE FROM node; DELETE FROM name; DELETE FROM outcome",
        "UPDATE node SET size = size + 1, mtime_s = 0 WHERE ino = 4",
        "UPDATE name SET name = 'other' WHERE ino = 4",
        "INSERT INTO name (ino, parent_ino, medium_id, volume, flags, name) SELECT 99, 2, id, 0, 0, 'x' FROM medium",
        "UPDATE outcome SET blob_id = 99 WHERE ino = 4",
        "UPDATE outcome SET status = 'f', blob_id = NULL, reason = 'x' WHERE ino = 4",
    ],
)
async def test_rows_are_what_the_archive_says_again(catalogue: Catalogue, tmp_path: Path, loss: str) -> None:
    await a_medium(catalogue, tmp_path)
    whole = await rows(catalogue)
    await catalogue.execute(loss)
    broken = await rows(catalogue)
    assert await kinds(catalogue, deep=True)
    report = await repaired(catalogue, deep=True)
    assert report.clean, report.left
    assert await rows(catalogue) == whole
    await undone(catalogue, report.undo, broken)


async def test_without_an_archive_lost_rows_take_the_stamps_with_them(catalogue: Catalogue, tmp_path: Path) -> None:
    await a_medium(catalogue, tmp_path, archived=False)
    await catalogue.execute("DELETE FROM node WHERE ino = 4")
    before = await rows(catalogue)
    report = await repaired(catalogue)
    assert report.left_totals == {"unstamped_rows": 1, "name_without_node": 1, "outcome_without_file": 1}
    assert all("ingest" in finding.next_step for finding in report.left)
    await undone(catalogue, report.undo, before)


async def test_files_without_an_outcome_wait_again_where_nothing_tells_it(catalogue: Catalogue, tmp_path: Path) -> None:
    await a_medium(catalogue, tmp_path, archived=False)
    await catalogue.execute("DELETE FROM outcome WHERE ino = 4")
    report = await repaired(catalogue)
    assert report.left_totals == {"blob_unreferenced": 1}, "the content of the file is still there"
    async with catalogue.database.connection() as connection:
        assert await connection.fetchval("SELECT copy_done FROM medium") is None


@pytest.mark.parametrize("at", [100, -400, -512], ids=["content", "header", "name"])
async def test_flipped_bytes_are_written_back_from_the_image(catalogue: Catalogue, tmp_path: Path, at: int) -> None:
    one = await a_medium(catalogue, tmp_path, archived=False)
    data = one.files[2][1]
    place = await location(catalogue, data)
    assert place.pack_id is not None
    pack = catalogue.store.pack_path(place.pack_id)
    whole, before = pack.read_bytes(), await rows(catalogue)
    flip(catalogue, place, at)
    assert await kinds(catalogue) == ({} if at > 0 else {"member_differs": 1})
    assert await kinds(catalogue, deep=True) == {"blob_damaged" if at > 0 else "member_differs": 1}
    report = await repaired(catalogue, deep=True)
    assert report.clean, (report.left, report.refusals)
    assert pack.read_bytes() == whole
    assert await rows(catalogue) == before
    assert pack.stat().st_mode & 0o777 == 0o444


async def test_a_lost_pack_comes_back_from_the_archive(catalogue: Catalogue, tmp_path: Path) -> None:
    one = await a_medium(catalogue, tmp_path)
    place = await location(catalogue, one.files[0][1])
    assert place.pack_id is not None
    catalogue.store.pack_path(place.pack_id).unlink()
    Path(one.medium.image_path or "").unlink()
    before = await rows(catalogue)
    report = await repaired(catalogue)
    assert report.clean, (report.left, report.refusals)
    assert len([fix for fix in report.fixes if fix.kind == "healed"]) == len(one.files)
    for _, data in one.files:
        assert is_whole(catalogue.store, await location(catalogue, data))
    await undone(catalogue, report.undo, before)


async def test_a_pack_that_was_cut_off_ends_with_its_last_member(catalogue: Catalogue, tmp_path: Path) -> None:
    one = await a_medium(catalogue, tmp_path)
    place = await location(catalogue, one.files[3][1])
    assert place.pack_id is not None and place.pack_offset is not None
    pack = catalogue.store.pack_path(place.pack_id)
    os.truncate(pack, place.pack_offset + 100)
    assert await kinds(catalogue) == {"pack_short": 1, "blob_missing": 1}
    report = await repaired(catalogue)
    assert report.clean, (report.left, report.refusals)
    assert is_whole(catalogue.store, await location(catalogue, one.files[3][1]))


async def test_what_cannot_be_had_is_never_left_as_copied(catalogue: Catalogue, tmp_path: Path) -> None:
    one = await a_medium(catalogue, tmp_path, archived=False)
    other = await filed(catalogue, tmp_path, 2, archived=False, shared=one.files[1][1])
    for medium in (one.medium, other.medium):
        Path(medium.image_path or "").unlink()
    place = await location(catalogue, one.files[1][1])
    flip(catalogue, place)
    before = await rows(catalogue)
    report = await repaired(catalogue, deep=True)
    assert report.left_totals == {"image_missing": 2, "unknown_blob": 1}
    async with catalogue.database.connection() as connection:
        failed = await connection.fetch("SELECT * FROM outcome WHERE status = 'f'")
        assert await connection.fetchval("SELECT count(*) FROM blob WHERE hash = $1", digest(one.files[1][1])) == 0
    assert {row["medium_id"] for row in failed} == {one.medium.id, other.medium.id}
    assert all("no image or archive" in row["reason"] for row in failed)
    assert [fix.kind for fix in report.fixes].count("given_up") == 1
    await undone(catalogue, report.undo, before)


async def test_an_image_that_is_another_one_now_heals_nothing(catalogue: Catalogue, tmp_path: Path) -> None:
    one = await a_medium(catalogue, tmp_path, archived=False)
    image = Path(one.medium.image_path or "")
    image.write_bytes(image.read_bytes().replace(one.files[1][1][:40], b"x" * 40))
    flip(catalogue, await location(catalogue, one.files[1][1]))
    report = await repaired(catalogue, deep=True)
    assert [fix.kind for fix in report.fixes if fix.kind in ("healed", "given_up")] == ["given_up"]


async def test_a_content_without_its_row_is_taken_in_and_its_files_refer_to_it(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    one = await a_medium(catalogue, tmp_path, archived=False)
    await catalogue.execute("DELETE FROM blob WHERE hash = $1", digest(one.files[2][1]))
    before = await rows(catalogue)
    assert await kinds(catalogue) == {"unknown_blob": 1, "blob_row_missing": 1}
    report = await repaired(catalogue)
    assert report.clean, (report.left, report.refusals)
    await undone(catalogue, report.undo, before)


async def test_a_row_that_points_elsewhere_is_corrected_and_nothing_is_written_over(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    one = await a_medium(catalogue, tmp_path, archived=False)
    place = await location(catalogue, one.files[1][1])
    assert place.pack_id is not None
    pack = catalogue.store.pack_path(place.pack_id)
    whole = pack.read_bytes()
    await catalogue.execute("UPDATE blob SET pack_offset = pack_offset + 512 WHERE hash = $1", place.blob_hash)
    report = await repaired(catalogue)
    assert report.clean, report.left
    assert await location(catalogue, one.files[1][1]) == place
    assert pack.read_bytes() == whole


async def test_an_archive_that_is_gone_takes_its_stamp_with_it(catalogue: Catalogue, tmp_path: Path) -> None:
    one = await a_medium(catalogue, tmp_path)
    await filed(catalogue, tmp_path, 2, archived=True)
    Path(one.medium.archive_path or "").unlink()
    before = await rows(catalogue)
    report = await repaired(catalogue)
    assert report.clean, report.left
    async with catalogue.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM medium WHERE archive_done IS NOT NULL") == 1
    await undone(catalogue, report.undo, before)


async def test_where_all_archives_are_missing_their_disk_may_be_and_no_stamp_is_touched(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    one = await a_medium(catalogue, tmp_path)
    before = await rows(catalogue)
    Path(one.medium.archive_path or "").unlink()
    report = await repaired(catalogue)
    assert report.left_totals == {"archive_missing": 1}
    assert await rows(catalogue) == before


async def test_an_archive_of_something_else_is_found_and_not_believed(catalogue: Catalogue, tmp_path: Path) -> None:
    one = await a_medium(catalogue, tmp_path)
    other = await filed(catalogue, tmp_path, 2, archived=True)
    path = Path(one.medium.archive_path or "")
    path.chmod(0o644)
    path.write_bytes(Path(other.medium.archive_path or "").read_bytes())
    path.chmod(0o444)
    await catalogue.execute("UPDATE medium SET archive_bytes = $2 WHERE id = $1", one.medium.id, path.stat().st_size)
    assert await kinds(catalogue, deep=True) == {"archive_wrong": 1}
    report = await repaired(catalogue, deep=True)
    assert report.left_totals == {"archive_unstamped": 1}
    assert (await repaired(catalogue, deep=True)).left_totals == {"archive_unstamped": 1}, "it is not stamped again"


async def test_attempts_that_nobody_will_close_are_closed(catalogue: Catalogue, tmp_path: Path) -> None:
    await a_medium(catalogue, tmp_path)
    await catalogue.execute("UPDATE stage_run SET state = 'running', ended_at = NULL, run_id = 'dead' WHERE id = 1")
    before = await rows(catalogue)
    report = await repaired(catalogue)
    assert report.clean
    async with catalogue.database.connection() as connection:
        row = await connection.fetchrow("SELECT state, ended_at, error FROM stage_run WHERE id = 1")
    assert row is not None and row["state"] == "interrupted" and row["ended_at"] is not None and row["error"]
    await undone(catalogue, report.undo, before)


async def test_leftovers_tails_modes_and_summaries_are_put_right(catalogue: Catalogue, tmp_path: Path) -> None:
    one = await a_medium(catalogue, tmp_path)
    place = await location(catalogue, one.files[0][1])
    assert place.pack_id is not None
    pack = catalogue.store.pack_path(place.pack_id)
    pack.chmod(0o644)
    with pack.open("ab") as file:
        file.write(b"x" * 700)
    (catalogue.store.tmp / "w1.part").write_bytes(b"")
    (catalogue.archives / f"{'1' * 32}.tar.zst.part").write_bytes(b"")
    await catalogue.execute("UPDATE medium SET problems = '{\"findings_total\": 7}'")
    assert await kinds(catalogue) == {"pack_tail": 1, "mode": 1, "temp_file": 2, "summary_stale": 1}
    report = await repaired(catalogue)
    assert report.clean, report.left


async def test_an_undo_leaves_alone_what_was_changed_since(catalogue: Catalogue, tmp_path: Path) -> None:
    await a_medium(catalogue, tmp_path, archived=False)
    await catalogue.execute("UPDATE medium SET copy_done = NULL")
    report = await repaired(catalogue)
    assert report.undo is not None
    await catalogue.execute("UPDATE medium SET copy_done = now() + interval '1 day'")
    before = await rows(catalogue)
    done = await undo(catalogue.database, Path(report.undo))
    assert (done.restored, done.skipped) == (0, 1)
    assert await rows(catalogue) == before
