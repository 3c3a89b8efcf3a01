"""What the store and the archives hold is read again: damage is named with the files that it hits."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path

import pytest
from blake3 import blake3
from sketches import ROOT, Catalogue, Sketch, open_catalogue

from ntt.contents_text import verify_lines
from ntt.db.archiving import ArchiveStamps
from ntt.db.media import Media, Medium
from ntt.db.scrub_runs import ScrubRuns
from ntt.errors import BusyError, UsageError
from ntt.operations.verify import INTERRUPTED, TIME_IS_UP, Asked, Seen, VerifyReport, verify
from ntt.progress import Stop
from ntt.store.archives import written_archive
from ntt.store.packs import BLOCK_BYTES


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


async def verified(
    catalogue: Catalogue,
    medium: Medium | None = None,
    sample: int | None = None,
    *,
    stop: Stop | None = None,
    told: Callable[[Seen], object] = lambda seen: None,
    **asked: float,
) -> VerifyReport:
    """Without healing."""
    what = Asked(medium, sample, **asked)
    return await verify(catalogue.database, catalogue.store, what, renewer=None, advance=told, stop=stop or Stop())


async def checked(catalogue: Catalogue) -> dict[bytes, datetime | None]:
    async with catalogue.database.connection() as connection:
        return dict(await connection.fetch("SELECT hash, last_checked FROM blob"))


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
    told: list[tuple[int, int, int, int]] = []
    report = await verified(
        catalogue, told=lambda seen: told.append((seen.blobs, seen.blobs_total, seen.bytes, seen.bytes_total))
    )
    size = 600 + 5 + 6 + 256 * 5000
    assert (report.blobs, report.bytes, report.clean) == (4, size, True)
    assert told[-1] == (4, 4, size, size)


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


async def test_what_was_read_whole_has_the_time_of_that_and_what_is_rotten_has_not(catalogue: Catalogue) -> None:
    await two_media(catalogue)
    overwrite(next(catalogue.store.packs.iterdir()), BLOCK_BYTES + 599, b"r")
    assert set((await checked(catalogue)).values()) == {None}
    await verified(catalogue)
    after = await checked(catalogue)
    assert [blob for blob, time in after.items() if time is None] == [blake3(b"shared" * 100).digest()]


async def test_a_run_over_everything_that_was_stopped_is_gone_on_with(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ntt.db.scrubbing.PAGE_ROWS", 3)
    await two_media(catalogue)
    stop = Stop()
    large = next(catalogue.store.blobs.glob("*/*/*"))  # read last, behind the pack

    def after_the_pack(seen: Seen) -> None:
        if seen.blobs == 3:
            stop.request()

    first = await verified(catalogue, stop=stop, told=after_the_pack)
    assert (first.blobs, first.blobs_left, first.ended) == (3, 1, INTERRUPTED)
    assert [blob.hex() for blob, time in (await checked(catalogue)).items() if time is None] == [large.name]
    second = await verified(catalogue)
    assert (second.blobs, second.ended, second.since is not None) == (1, "finished", True)
    third = await verified(catalogue)
    assert (third.blobs, third.since) == (4, None)
    async with catalogue.database.connection() as connection:
        states = await connection.fetch("SELECT state FROM stage_run WHERE stage = 'verify' ORDER BY id")
    assert [row["state"] for row in states] == ["interrupted", "ok", "ok"]


async def test_a_run_over_one_medium_goes_on_too_and_only_over_that(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await two_media(catalogue)
    monkeypatch.setattr("ntt.db.scrubbing.PAGE_ROWS", 1)
    stop = Stop()
    cut_short = await verified(catalogue, first, stop=stop, told=lambda seen: seen.blobs and stop.request())
    assert (cut_short.blobs, cut_short.blobs_left) == (1, 2)
    assert (await verified(catalogue, second)).blobs == 2
    assert (await verified(catalogue, first)).blobs == 2, "the one that was read before is left out"


async def test_a_run_that_was_cut_short_can_be_begun_anew(catalogue: Catalogue) -> None:
    await two_media(catalogue)
    stop = Stop()
    stop.request()
    assert (await verified(catalogue, stop=stop)).blobs == 0
    await verified(catalogue, sample=4)
    assert (await verified(catalogue, anew=True)).blobs == 4


async def test_what_a_killed_run_had_read_is_not_read_again(catalogue: Catalogue) -> None:
    first, _ = await two_media(catalogue)
    await catalogue.execute(
        """INSERT INTO stage_run (stage, run_id, host, pid, counts)
           VALUES ('verify', 'dead', 'here', 1, jsonb_build_object('scope', 'all', 'since', clock_timestamp()))"""
    )
    await verified(catalogue, first)
    assert (await verified(catalogue)).blobs == 1
    async with catalogue.database.connection() as connection:
        assert await connection.fetchval("SELECT state FROM stage_run WHERE run_id = 'dead'") == "interrupted"


async def test_two_processes_do_not_both_read_everything(catalogue: Catalogue) -> None:
    await two_media(catalogue)
    async with ScrubRuns(catalogue.database).run(None, "all", None):
        with pytest.raises(BusyError):
            await verified(catalogue)
        assert (await verified(catalogue, sample=2)).blobs == 2


async def test_when_the_time_is_up_it_ends_between_two_contents(catalogue: Catalogue) -> None:
    await two_media(catalogue)
    report = await verified(catalogue, limit_s=1e-9)
    assert (report.blobs, report.blobs_left, report.ended, report.clean) == (0, 4, TIME_IS_UP, True)
    assert any("goes on" in line for line in verify_lines(report))


async def test_what_was_not_read_for_longest_comes_first_and_packs_are_read_whole(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_media(catalogue)
    monkeypatch.setattr("ntt.db.scrubbing.PAGE_ROWS", 1)
    for pack_first in (True, False):
        await catalogue.execute(
            """UPDATE blob SET last_checked = CASE WHEN (pack_id IS NOT NULL) = $1 AND size <> 5 THEN '2001-01-01'
                   WHEN (pack_id IS NOT NULL) = $1 THEN '2020-01-01' ELSE '2010-01-01' END::timestamptz""",
            pack_first,
        )
        stop = Stop()

        def after_the_first(seen: Seen, stop: Stop = stop) -> None:
            if seen.blobs:
                stop.request()

        await verified(catalogue, stop=stop, told=after_the_first, oldest_first=True)
        async with catalogue.database.connection() as connection:
            read = await connection.fetchval("SELECT pack_id IS NOT NULL FROM blob WHERE last_checked > '2021-01-01'")
        assert read is pack_first


async def test_an_old_archive_has_its_turn_before_younger_contents(catalogue: Catalogue, tmp_path: Path) -> None:
    medium = await archived(catalogue, tmp_path)
    await catalogue.execute("UPDATE blob SET last_checked = '2020-01-01'")
    order: list[tuple[int, int]] = []
    await verified(catalogue, told=lambda seen: order.append((seen.archives, seen.blobs)), oldest_first=True)
    assert (1, 1) in order
    assert (0, 1) not in order
    async with catalogue.database.connection() as connection:
        assert await connection.fetchval("SELECT archive_checked FROM medium WHERE id = $1", medium.id) is not None


async def test_no_more_is_read_in_a_second_than_was_allowed(catalogue: Catalogue) -> None:
    await two_media(catalogue)
    started = time.monotonic()
    report = await verified(catalogue, bytes_per_s=2e6)
    assert (report.blobs, report.clean) == (4, True)
    assert 0.6 <= time.monotonic() - started < 20


@pytest.mark.parametrize("asked", [{"bytes_per_s": 0}, {"limit_s": 0}, {"sample": 0}])
async def test_what_can_never_end_is_refused(catalogue: Catalogue, asked: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        await verified(catalogue, **asked)


async def test_what_is_lost_is_a_finding_of_each_medium_until_it_is_whole_again(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    first, second = await two_media(catalogue)
    pack = next(catalogue.store.packs.iterdir())
    overwrite(pack, BLOCK_BYTES + 599, b"r")
    for _ in range(2):
        await verified(catalogue)
        for medium, name in ((first, "folder/shared"), (second, "also shared")):
            (finding,) = await findings(catalogue, medium)
            assert (finding["kind"], finding["path"]) == ("content_lost", name)
            assert blake3(b"shared" * 100).hexdigest() in str(finding["detail"])
    overwrite(pack, BLOCK_BYTES + 599, b"d")
    await verified(catalogue)
    assert await findings(catalogue, first) == await findings(catalogue, second) == []


async def test_a_damaged_archive_is_a_finding_until_it_is_there_again(catalogue: Catalogue, tmp_path: Path) -> None:
    medium = await archived(catalogue, tmp_path)
    archive = Path(medium.archive_path or "")
    archive.rename(tmp_path / "elsewhere")
    await verified(catalogue)
    (finding,) = await findings(catalogue, medium)
    assert (finding["kind"], "is not there" in str(finding["detail"])) == ("archive_damaged", True)
    (tmp_path / "elsewhere").rename(archive)
    await verified(catalogue)
    assert await findings(catalogue, medium) == []


async def findings(catalogue: Catalogue, medium: Medium) -> list[dict[str, object]]:
    async with catalogue.database.connection() as connection:
        problems = await connection.fetchval("SELECT problems FROM medium WHERE id = $1", medium.id)
    return (problems or {}).get("findings", [])
