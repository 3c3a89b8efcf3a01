"""F110: an archive of 214 KiB was taken for a tape's."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from catalogue import Catalogue
from media_images import iso_image, noise, run, written

from ntt.app import IngestResult
from ntt.config import Settings
from ntt.db.connection import open_database
from ntt.db.loading import load
from ntt.errors import NttError
from ntt.stages import archive
from ntt.store.archives import ArchivePart

Tamper = Callable[[Path], None]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    tree = written(tmp_path / "tree", {f"file {n}": noise(40_000, n) for n in range(10)})
    return iso_image(tmp_path / "disc.iso", tree)


def with_tampering(
    catalogue: Catalogue, image: Path, monkeypatch: pytest.MonkeyPatch, before: Tamper, after: Tamper
) -> IngestResult:
    """A run in which somebody is at the image just before, and at the archive just after the archive is written."""

    written_archive = archive.written_archive

    @asynccontextmanager
    async def tampered(target: Path, *arguments: object) -> AsyncIterator[ArchivePart]:
        before(image)
        async with written_archive(target, *arguments) as part:
            after(part.path)
            yield part

    monkeypatch.setattr(archive, "written_archive", tampered)
    return catalogue.ingest(image)


def nothing(path: Path) -> None: ...


def flip_a_byte_unnoticed(path: Path) -> None:
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(status.st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def cut_in_half(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size // 2)


def replace_by_a_small_one(path: Path) -> None:
    """A faultless archive under the right name, of something else."""
    name = path.name.removesuffix(".tar.zst.part")
    other = written(path.parent / "other", {f"{name}/image.img": b"x" * 2048, f"{name}/manifest.jsonl.zst": b"y"})
    path.unlink()
    run("tar", "--zstd", "-cf", path, "-C", other, f"{name}/image.img", f"{name}/manifest.jsonl.zst")


def add_a_member(path: Path) -> None:
    name = path.name.removesuffix(".tar.zst.part")
    unpacked = path.parent / "unpacked"
    unpacked.mkdir()
    run("tar", "--zstd", "-xf", path, "-C", unpacked)
    (unpacked / name / "more").write_bytes(b"more")
    path.unlink()
    run("tar", "--zstd", "-cf", path, "-C", unpacked, name)


def assert_not_archived(catalogue: Catalogue, result: IngestResult) -> None:
    assert result.exit_status == 3
    (medium,) = catalogue.media()
    assert medium["copy_done"] is not None
    assert (medium["archive_done"], medium["archived_image_hash"]) == (None, None)
    assert list((catalogue.home / "archives").glob("*.zst*")) == [], "a false archive is not left under its name"
    (run_row,) = catalogue.rows("SELECT state, error FROM stage_run WHERE stage = 'archive'")
    assert run_row["state"] == "failed"
    assert run_row["error"] in result.failures[0].error


@pytest.mark.parametrize("tamper", [flip_a_byte_unnoticed, cut_in_half, replace_by_a_small_one, add_a_member])
def test_f110_an_archive_that_is_not_what_was_archived_is_not_taken_for_it(
    catalogue: Catalogue, image: Path, monkeypatch: pytest.MonkeyPatch, tamper: Tamper
) -> None:
    assert_not_archived(catalogue, with_tampering(catalogue, image, monkeypatch, nothing, tamper))
    monkeypatch.undo()
    assert catalogue.ingest(image).exit_status == 0, "the next run archives it"
    (medium,) = catalogue.media()
    assert medium["archived_image_hash"] == medium["image_hash"]


def test_f110_an_image_that_changed_after_it_was_enumerated_is_not_archived_as_it(
    catalogue: Catalogue, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = with_tampering(catalogue, image, monkeypatch, flip_a_byte_unnoticed, nothing)
    assert_not_archived(catalogue, result)
    assert "the image changed since it was enumerated" in result.failures[0].error


def test_f110_a_whole_archive_holds_the_image_to_the_byte(catalogue: Catalogue, image: Path, tmp_path: Path) -> None:
    (report,) = catalogue.ingest(image).media
    assert report.archive is not None
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    run("tar", "--zstd", "-xf", report.archive, "-C", unpacked)
    assert (unpacked / report.medium_hash / "image.img").read_bytes() == image.read_bytes()


async def test_f110_a_load_never_creates_a_medium(catalogue: Catalogue) -> None:
    with pytest.raises(NttError):
        async with (
            open_database(Settings(home=catalogue.home, database_url=catalogue.url)) as database,
            load(database, 4711),
        ):
            pass
    async with (
        open_database(Settings(home=catalogue.home, database_url=catalogue.url)) as database,
        database.connection() as connection,
    ):
        assert await connection.fetchval("SELECT count(*) FROM medium") == 0


@pytest.mark.slow
def test_f110_a_small_archive_under_the_right_name_is_found_and_loses_its_stamp(
    catalogue: Catalogue, image: Path
) -> None:
    (report,) = catalogue.ingest(image).media
    assert report.archive is not None
    archive_path = Path(report.archive)
    part = archive_path.rename(archive_path.with_name(archive_path.name + ".part"))
    replace_by_a_small_one(part)
    small = part.rename(archive_path)
    small.chmod(0o444)
    run("rm", "-r", small.parent / "other")
    catalogue.rows("UPDATE medium SET archive_bytes = $1", small.stat().st_size)
    assert catalogue.command("audit").status == 0, "the sizes agree: only reading it tells"
    assert catalogue.command("audit", "--deep").status == 1
    ended = catalogue.command("repair", "--apply", "--deep")
    assert ended.status == 1
    assert "archive_unstamped" in ended.stdout
    assert catalogue.value("SELECT archive_done FROM medium") is None
    assert catalogue.ingest(image).exit_status == 0
    assert catalogue.command("audit", "--deep").status == 0
