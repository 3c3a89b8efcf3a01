"""What is recorded against what is there: a clean store has no finding, and each break has exactly its own."""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from blake3 import blake3
from sketches import ROOT, Catalogue, Sketch, open_catalogue
from store_contents import FilledPack, plain_blob

from ntt.db.locks import LockSpace, advisory_lock
from ntt.db.media import Medium
from ntt.db.runs import StageRuns
from ntt.db.summary import Problems
from ntt.model import Stage
from ntt.operations.audit import AuditReport, audit
from ntt.store.packs import member_bytes, seal
from ntt.store.scratch import LOCK_NAME, scratch_folder
from ntt.text import audit_lines

LARGE = bytes(range(256)) * 5000


@pytest.fixture
async def catalogue(database_url: str, home: Path) -> AsyncIterator[Catalogue]:
    async with open_catalogue(database_url, home) as opened:
        yield opened


async def audited(catalogue: Catalogue, medium: Medium | None = None) -> AuditReport:
    work = catalogue.archives.parent / "work"
    return await audit(catalogue.database, catalogue.store, catalogue.archives, medium=medium, work_dir=work)


async def kinds(catalogue: Catalogue, medium: Medium | None = None) -> dict[str, int]:
    report = await audited(catalogue, medium)
    assert len(report.findings) == sum(report.totals.values())
    assert report.clean == (not report.totals)
    return report.totals


async def a_medium(catalogue: Catalogue) -> Medium:
    sketch = Sketch()
    folder = sketch.directory(ROOT, b"folder")
    for number in range(5):
        sketch.file(folder, b"small %d" % number, b"%d" % number * 700)
    sketch.file(folder, b"large", LARGE)
    sketch.file(folder, b"damaged", b"ab\0\0", damaged=((2, 4),))
    sketch.file(folder, b"failed", None, reason="unreadable")
    return await catalogue.medium("audited", {0: sketch})


def the_pack(catalogue: Catalogue) -> Path:
    (pack,) = catalogue.store.packs.iterdir()
    return pack


async def test_a_store_as_it_should_be_has_no_finding(catalogue: Catalogue) -> None:
    medium = await a_medium(catalogue)
    report = await audited(catalogue)
    assert report.findings == ()
    assert (report.media, report.packs, report.blobs, report.plain_files) == (1, 1, 7, 1)
    assert await kinds(catalogue, medium) == {}
    assert list(audit_lines(report))[-1] == "what is recorded and what is there agree"


async def test_an_empty_catalogue_has_no_finding(catalogue: Catalogue) -> None:
    assert await kinds(catalogue) == {}


async def test_files_that_nobody_knows_are_found(catalogue: Catalogue) -> None:
    await a_medium(catalogue)
    plain_blob(catalogue.store, "w9", [b"nobody's" * 1000])
    (catalogue.store.packs / "readme.txt").write_text("x")
    (catalogue.store.blobs / "zz").mkdir()
    assert await kinds(catalogue) == {"unknown_blob": 1, "unknown_file": 2}


async def test_a_pack_that_nobody_recorded_is_found_with_its_contents(catalogue: Catalogue) -> None:
    await a_medium(catalogue)
    writer = FilledPack(catalogue.store, 77, 0)
    writer.append([b"new"])
    writer.close()
    assert await kinds(catalogue) == {"pack_unknown": 1, "unknown_blob": 1}


async def test_what_lies_behind_the_committed_end_is_found_unless_it_is_being_written(catalogue: Catalogue) -> None:
    await a_medium(catalogue)
    pack = the_pack(catalogue)
    pack.chmod(0o644)
    with pack.open("ab") as file:
        file.write(b"x" * 100)
    pack.chmod(0o444)
    assert await kinds(catalogue) == {"pack_tail": 1}
    async with advisory_lock(catalogue.database, LockSpace.PACK, int(pack.stem), "the pack"):
        assert await kinds(catalogue) == {}


async def test_a_sealed_pack_is_as_long_as_it_should_be(catalogue: Catalogue) -> None:
    await a_medium(catalogue)
    pack = the_pack(catalogue)
    seal(catalogue.store, int(pack.stem), pack.stat().st_size)
    assert await kinds(catalogue) == {"pack_tail": 1}
    await catalogue.execute("UPDATE pack SET sealed = true")
    assert await kinds(catalogue) == {}


async def test_a_second_copy_of_a_content_in_a_pack_is_waste_and_no_finding(catalogue: Catalogue) -> None:
    await a_medium(catalogue)
    pack = the_pack(catalogue)
    writer = FilledPack(catalogue.store, int(pack.stem), pack.stat().st_size)
    writer.append([LARGE])
    writer.close()
    await catalogue.execute("UPDATE pack SET committed_bytes = $1", writer.end)
    assert await kinds(catalogue) == {}


async def test_contents_without_bytes_are_found(catalogue: Catalogue) -> None:
    medium = await a_medium(catalogue)
    pack = the_pack(catalogue)
    size = pack.stat().st_size
    os.truncate(pack, size - member_bytes(4))  # the last member is the damaged file's
    assert await kinds(catalogue) == {"pack_short": 1, "blob_missing": 1}
    assert await kinds(catalogue, medium) == {"blob_missing": 1}
    pack.unlink()
    next(catalogue.store.blobs.glob("*/*/*")).unlink()
    assert await kinds(catalogue) == {"pack_missing": 1, "blob_missing": 1}
    assert await kinds(catalogue, medium) == {"pack_missing": 1, "blob_missing": 1}


async def test_a_member_with_another_header_is_found(catalogue: Catalogue) -> None:
    medium = await a_medium(catalogue)
    pack = the_pack(catalogue)
    with pack.open("r+b") as file:
        file.seek(member_bytes(700))
        file.write(b"f" * 64)
    assert await kinds(catalogue) == {"member_differs": 1}
    assert await kinds(catalogue, medium) == {"member_differs": 1}


async def test_rows_and_members_are_compared_in_both_directions(catalogue: Catalogue) -> None:
    await a_medium(catalogue)
    third = blake3(b"2" * 700).digest()
    await catalogue.execute("DELETE FROM blob WHERE hash = $1", third)
    assert await kinds(catalogue) == {"unknown_blob": 1, "blob_row_missing": 1}
    await catalogue.execute(
        "UPDATE blob SET pack_offset = pack_offset + 512 WHERE hash = $1", blake3(b"1" * 700).digest()
    )
    found = await kinds(catalogue)
    assert found["member_differs"] == 1


async def test_a_plain_file_of_another_size_or_mode_is_found(catalogue: Catalogue) -> None:
    medium = await a_medium(catalogue)
    large = next(catalogue.store.blobs.glob("*/*/*"))
    large.chmod(0o755)
    the_pack(catalogue).chmod(0o600)
    assert await kinds(catalogue) == {"mode": 2}
    os.truncate(large, 5)
    assert await kinds(catalogue, medium) == {"blob_size": 1, "mode": 1}


async def test_contents_that_no_file_refers_to_are_found(catalogue: Catalogue) -> None:
    medium = await a_medium(catalogue)
    await catalogue.execute("DELETE FROM outcome WHERE ino = 4")
    assert await kinds(catalogue) == {"blob_unreferenced": 1, "stamped_incomplete": 1}
    assert await kinds(catalogue, medium) == {"stamped_incomplete": 1}


async def test_stamps_that_are_missing_or_too_many_are_found(catalogue: Catalogue) -> None:
    medium = await a_medium(catalogue)
    await catalogue.execute("UPDATE medium SET copy_done = NULL")
    assert await kinds(catalogue) == {"complete_unstamped": 1}
    await catalogue.execute("UPDATE medium SET enum_done = NULL")
    assert await kinds(catalogue) == {"unstamped_rows": 1}
    for table in ("name", "node", "outcome"):
        await catalogue.execute(f"DELETE FROM {table}")
    assert await kinds(catalogue, medium) == {"never_loaded": 1, "summary_stale": 1}
    await Problems(catalogue.database).refresh(medium.id)
    assert await kinds(catalogue, medium) == {"never_loaded": 1}
    await catalogue.execute("UPDATE medium SET enum_done = now()")
    assert (await kinds(catalogue, medium))["stamped_empty"] == 1
    await catalogue.execute(
        "INSERT INTO finding VALUES ($1, 'enumerate', 'no_files', NULL, NULL, NULL, 'x')", medium.id
    )
    await Problems(catalogue.database).refresh(medium.id)
    assert await kinds(catalogue, medium) == {"complete_unstamped": 1}


async def test_a_medium_that_is_worked_on_is_not_called_unfinished(catalogue: Catalogue) -> None:
    medium = await a_medium(catalogue)
    await catalogue.execute("DELETE FROM outcome WHERE ino = 11")
    assert await kinds(catalogue) == {"stamped_incomplete": 1, "summary_stale": 1}
    async with advisory_lock(catalogue.database, LockSpace.MEDIUM, medium.id, "the medium"):
        report = await audited(catalogue)
    assert (report.findings, report.busy) == ((), (medium.medium_hash,))


async def test_an_archive_that_is_missing_or_of_another_size_is_found(catalogue: Catalogue, tmp_path: Path) -> None:
    medium = await a_medium(catalogue)
    archive = catalogue.archives / f"{medium.medium_hash}.tar.zst"
    archive.write_bytes(b"12345")
    archive.chmod(0o444)
    assert await kinds(catalogue) == {"archive_unstamped": 1}
    await catalogue.execute(
        """UPDATE medium SET archive_done = now(), archive_path = $1, archive_bytes = 5,
               archived_image_hash = image_hash""",
        str(archive),
    )
    assert await kinds(catalogue) == {}
    await catalogue.execute("UPDATE medium SET archive_bytes = 6")
    assert await kinds(catalogue, medium) == {"archive_size": 1}
    archive.rename(catalogue.archives / f"{'0' * 32}.tar.zst")
    assert await kinds(catalogue) == {"archive_missing": 1, "unknown_archive": 1}


async def test_an_image_that_is_gone_before_it_was_archived_is_found(catalogue: Catalogue, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"image")
    sketch = Sketch()
    sketch.file(ROOT, b"file", b"data")
    await catalogue.medium("image", {0: sketch}, image)
    assert await kinds(catalogue) == {}
    image.unlink()
    assert await kinds(catalogue) == {"image_missing": 1}


async def test_temp_files_are_found_once_their_writer_is_gone(catalogue: Catalogue) -> None:
    await a_medium(catalogue)
    part = catalogue.store.tmp / "w1.part"
    with part.open("wb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        assert await kinds(catalogue) == {}
    (catalogue.archives / f"{'1' * 32}.tar.zst.part").write_bytes(b"")
    work = catalogue.archives.parent / "work"
    with scratch_folder(work, "alive"):
        (work / "dead0000").mkdir()
        (work / "dead0000" / LOCK_NAME).touch()
        assert await kinds(catalogue) == {"temp_file": 2, "work_folder": 1}


async def test_an_attempt_is_open_only_while_its_run_lives(catalogue: Catalogue) -> None:
    medium = await a_medium(catalogue)
    async with StageRuns(catalogue.database).attempt(medium.id, Stage.COPY):
        assert await kinds(catalogue) == {}
        await catalogue.execute("UPDATE stage_run SET run_id = 'deadbeef'")
        assert await kinds(catalogue) == {"attempt_open": 1}
        async with advisory_lock(catalogue.database, LockSpace.MEDIUM, medium.id, "the medium"):
            assert await kinds(catalogue, medium) == {}
    assert await kinds(catalogue) == {}


async def test_rows_that_contradict_each_other_are_found(catalogue: Catalogue) -> None:
    medium = await a_medium(catalogue)
    await catalogue.execute("UPDATE node SET size = size + 1 WHERE ino = 4")
    await catalogue.execute(
        "INSERT INTO outcome (ino, medium_id, volume, status, reason) VALUES (3, $1, 0, 'f', 'x')", medium.id
    )
    await catalogue.execute("DELETE FROM name WHERE ino = 5")
    await catalogue.execute("INSERT INTO name VALUES (99, 98, $1, 0, 0, 'lost')", medium.id)
    await catalogue.execute("INSERT INTO name VALUES (1, 1, 4711, 0, 2, 'of no medium')")
    assert await kinds(catalogue, medium) == {
        "size_differs": 1, "outcome_without_file": 1, "node_without_name": 1, "name_without_node": 1,
        "name_without_directory": 1, "summary_stale": 1,
    }  # fmt: skip
    assert (await kinds(catalogue))["orphan_rows"] == 1
