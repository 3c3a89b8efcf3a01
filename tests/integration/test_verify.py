"""What the store and the archives hold is read again: damage is named with the files that it hits."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from blake3 import blake3
from sketches import ROOT, Catalogue, Sketch, open_catalogue

from ntt.db.archiving import ArchiveStamps
from ntt.db.media import Media, Medium
from ntt.errors import UsageError
from ntt.operations.verify import VerifyReport, verify
from ntt.store.archives import written_archive
from ntt.store.packs import BLOCK_BYTES
from ntt.text import verify_lines


async def written(target: Path, work: Path, name: str) -> int:
    async def members() -> AsyncIterator[str]:
        yield name

    async with written_archive(target, work, members(), 1, 60, lambda _: None) as part:
        pass
    return part.size_bytes


@pytest.fixture
async def catalogue(database_url: str, home: Path) -> AsyncIterator[Catalogue]:
    async with open_catalogue(database_url, home) as opened:
        yield opened


async def verified(catalogue: Catalogue, medium: Medium | None = None, sample: int | None = None) -> VerifyReport:
    return await verify(
        catalogue.database, catalogue.store, medium=medium, sample=sample, advance=lambda blobs, size: None
    )


def overwrite(path: Path, offset: int, data: bytes) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
    path.chmod(0o444)


async def two_media(catalogue: Catalogue) -> tuple[Medium, Medium]:
    """Both hold `shared`; one has a small and a large file besides, the other a small one."""
    first, second = Sketch(), Sketch()
    folder = first.directory(ROOT, b"folder")
    first.file(folder, b"shared", b"shared" * 100)
    first.file(folder, b"only first", b"first")
    first.file(folder, b"large", bytes(range(256)) * 5000)
    second.file(ROOT, b"also shared", b"shared" * 100)
    second.file(ROOT, b"only second", b"second")
    return await catalogue.medium("first", {0: first}), await catalogue.medium("second", {0: second})


async def archived(catalogue: Catalogue, tmp_path: Path) -> Medium:
    """A medium whose image is archived."""
    image = tmp_path / "image.img"
    image.write_bytes(os.urandom(300_000))
    sketch = Sketch()
    sketch.file(ROOT, b"file", b"data")
    medium = await catalogue.medium("archived", {0: sketch}, image)
    work = tmp_path / "work"
    (work / medium.medium_hash).mkdir(parents=True)
    (work / medium.medium_hash / "image.img").write_bytes(image.read_bytes())
    target = catalogue.archives / f"{medium.medium_hash}.tar.zst"
    size = await written(target, work, f"{medium.medium_hash}/image.img")
    await ArchiveStamps(catalogue.database).prove_done(medium.id, str(target), size, medium.image_hash)
    return await Media(catalogue.database).by_id(medium.id)


async def test_a_whole_store_is_read_to_the_last_byte(catalogue: Catalogue) -> None:
    await two_media(catalogue)
    told: list[tuple[int, int]] = []
    report = await verify(
        catalogue.database, catalogue.store, medium=None, sample=None, advance=lambda *now: told.append(now)
    )
    size = 600 + 5 + 6 + 256 * 5000
    assert (report.blobs, report.bytes, report.clean) == (4, size, True)
    assert told[-1] == (4, size)


async def test_one_flipped_bit_in_a_pack_is_found_and_the_files_are_named(catalogue: Catalogue) -> None:
    first, second = await two_media(catalogue)
    overwrite(next(catalogue.store.packs.iterdir()), BLOCK_BYTES + 599, b"r")  # "shared" is the first member
    for medium in (None, first, second):
        report = await verified(catalogue, medium)
        (damaged,) = report.damaged
        assert damaged.blob == blake3(b"shared" * 100).hexdigest()
        assert {(e.raw, e.reason) for e in damaged.examples} == {
            (b"folder/shared", first.medium_hash), (b"also shared", second.medium_hash),
        }  # fmt: skip
        assert any("folder/shared" in line for line in verify_lines(report))


async def test_a_plain_file_that_grew_shrank_or_vanished_is_found(catalogue: Catalogue) -> None:
    await two_media(catalogue)
    large = next(catalogue.store.blobs.glob("*/*/*"))
    content = large.read_bytes()
    for now in (content + b"x", content[:-1], None):
        large.unlink()
        if now is not None:
            large.write_bytes(now)
        (damaged,) = (await verified(catalogue)).damaged
        assert damaged.blob == large.name
        assert damaged.pack_id is None
        large.touch()


async def test_a_medium_is_verified_without_the_contents_of_others(catalogue: Catalogue) -> None:
    _, second = await two_media(catalogue)
    next(catalogue.store.blobs.glob("*/*/*")).unlink()
    report = await verified(catalogue, second)
    assert (report.blobs, report.clean) == (2, True)


async def test_a_missing_pack_takes_all_its_contents_with_it(catalogue: Catalogue) -> None:
    await two_media(catalogue)
    next(catalogue.store.packs.iterdir()).unlink()
    report = await verified(catalogue)
    assert report.damaged_total == 3


async def test_a_sample_reads_that_many_contents(catalogue: Catalogue) -> None:
    await two_media(catalogue)
    assert (await verified(catalogue, sample=3)).blobs == 3
    assert (await verified(catalogue, sample=100)).blobs == 4
    with pytest.raises(UsageError):
        await verified(catalogue, sample=0)


async def test_the_archive_is_read_back_and_compared_with_the_image(catalogue: Catalogue, tmp_path: Path) -> None:
    medium = await archived(catalogue, tmp_path)
    report = await verified(catalogue, medium)
    assert (report.archives, report.clean) == (1, True)
    archive = Path(medium.archive_path or "")
    overwrite(archive, archive.stat().st_size // 2, b"damage")
    (damaged,) = (await verified(catalogue)).damaged_archives
    assert damaged.medium_hash == medium.medium_hash
    archive.unlink()
    (damaged,) = (await verified(catalogue)).damaged_archives
    assert damaged.reason == "is not there"


async def test_an_archive_of_another_image_is_found(catalogue: Catalogue, tmp_path: Path) -> None:
    medium = await archived(catalogue, tmp_path)
    work = tmp_path / "work"
    (work / medium.medium_hash / "image.img").write_bytes(b"another image")
    target = Path(medium.archive_path or "")
    await written(target, work, f"{medium.medium_hash}/image.img")
    (damaged,) = (await verified(catalogue, medium)).damaged_archives
    assert "another image" in damaged.reason
