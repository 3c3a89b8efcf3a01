"""`ntt watch`, in one process: every medium that is put into a drive goes through, and the drive is given back."""

from __future__ import annotations

from pathlib import Path

import anyio.to_thread
import asyncpg
import msgspec
import pytest
from catalogue import Catalogue
from faulty_source import Plan, faulty_source
from media_images import found_at, iso_image, noise, written
from watch_bench import watching

from ntt.board import Phase, Verdict, Wish
from ntt.config import Settings
from ntt.drives import Disc, DiscKind, Track
from ntt.errors import EXIT_INTERRUPTED
from ntt.ranges import total
from ntt.store.depot import Depot
from ntt.store.plain import PlainBlobFile
from ntt.watch.options import EjectAfter, WatchOptions

STORED = "SELECT (SELECT count(*) FROM blob) AS blobs, (SELECT sum(committed_bytes) FROM pack) AS bytes"


async def rows(catalogue: Catalogue, sql: str) -> list[asyncpg.Record]:
    return await anyio.to_thread.run_sync(catalogue.rows, sql)


def disc(folder: Path, name: str, seed: int, extra: bytes = b"") -> Path:
    tree = written(folder / f"{name}.tree", {b"a.txt": b"letter " + extra, b"b/noise.bin": noise(300_000, seed)})
    return iso_image(folder / f"{name}.iso", tree, "-r")


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return disc(tmp_path, "first", 1)


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return disc(tmp_path, "second", 2)


async def test_a_disc_goes_through_every_stage_and_comes_out(
    home: Path, database_url: str, tmp_path: Path, first: Path
) -> None:
    async with watching(home, database_url, tmp_path / "drives", WatchOptions(label="Box 3 disc 1", box="3")) as (
        bench,
        catalogue,
    ):
        await bench.insert("sr0", first)
        done = await bench.finished(1)
        await bench.phase("sr0", Phase.EMPTY)
        assert (done.verdict, done.sequence) == (Verdict.COMPLETE, 1)
        assert bench.ejected == ["sr0"]
        (row,) = await rows(catalogue, "SELECT m.*, i.* FROM insertion i JOIN medium m ON m.id = i.medium_id")
        assert row["enum_done"] <= row["copy_done"] <= row["archive_done"] <= row["ejected_at"]
        assert (row["verdict"], row["label"], row["box"], row["medium_human"]) == (
            "complete", "Box 3 disc 1", "3", "Box 3 disc 1",
        )  # fmt: skip
        assert row["image_path"] is None
        assert list((home / "images").iterdir()) == []
        assert Path(row["archive_path"]).is_file()
    assert bench.status == 0


async def test_the_same_disc_again_is_known_and_nothing_is_stored(
    home: Path, database_url: str, tmp_path: Path, first: Path, second: Path
) -> None:
    async with watching(home, database_url, tmp_path / "drives") as (bench, catalogue):
        await bench.insert("sr0", first)
        await bench.finished(1)
        await bench.phase("sr0", Phase.EMPTY)
        before = await rows(catalogue, STORED)
        await bench.insert("sr1", first)
        done = await bench.finished(2)
        assert done.verdict is Verdict.KNOWN
        assert await rows(catalogue, STORED) == before
        await bench.insert("sr0", second)
        other = await bench.finished(3)
        assert other.verdict is Verdict.COMPLETE
        await bench.phase("sr0", Phase.EMPTY)
        await bench.phase("sr1", Phase.EMPTY)
        assert bench.ejected == ["sr0", "sr1", "sr0"]
        (count,) = await rows(catalogue, "SELECT count(*) AS media FROM medium")
        assert count["media"] == 2
        assert list((home / "images").iterdir()) == []


async def test_where_a_look_is_trusted_a_finished_medium_comes_out_unread(
    home: Path, database_url: str, tmp_path: Path, first: Path, second: Path
) -> None:
    damaged = found_at(first, noise(300_000, 1)) // 2048 * 2048
    bad = ((damaged, damaged + 2048),)
    async with watching(home, database_url, tmp_path / "drives", WatchOptions(trust_look=True)) as (bench, catalogue):
        with faulty_source(second, Plan(bad=bad), tmp_path / "hurt") as hurt:
            await bench.insert("sr1", hurt.path)
            assert (await bench.finished(1)).verdict is Verdict.PROBLEMS
        await bench.phase("sr1", Phase.EMPTY)
        with faulty_source(first, Plan(), tmp_path / "again") as source:
            await bench.insert("sr0", source.path)
            assert (await bench.finished(2)).verdict is Verdict.COMPLETE
            await bench.phase("sr0", Phase.EMPTY)
            before = source.counters().bytes_read
            await bench.insert("sr0", source.path)
            known = await bench.finished(3)
            assert known.verdict is Verdict.KNOWN
            assert "told by a look" in known.summary
            assert source.counters().bytes_read - before < first.stat().st_size // 3
        await bench.phase("sr0", Phase.EMPTY)
        await bench.insert("sr1", second)  # not whole yet: it is read
        healed = await bench.finished(4)
        assert healed.verdict is not Verdict.KNOWN, healed
        assert "damaged" not in healed.summary
        linked = await rows(catalogue, "SELECT count(*) FILTER (WHERE medium_id IS NOT NULL) AS n FROM insertion")
        assert linked[0]["n"] == 4


async def test_two_drives_work_at_once_and_a_failure_stays_in_its_drive(
    home: Path, database_url: str, tmp_path: Path, first: Path
) -> None:
    zeros = tmp_path / "nothing.img"
    zeros.write_bytes(b"")
    async with watching(home, database_url, tmp_path / "drives") as (bench, _):
        await bench.insert("sr0", zeros)
        await bench.insert("sr1", first)
        await bench.finished(2)
        parked = await bench.phase("sr0", Phase.PARKED)
        await bench.phase("sr1", Phase.EMPTY)
        assert "empty" in parked.message
        assert bench.ejected == ["sr1"]
        verdicts = {done.verdict for done in bench.board.finished}
        assert verdicts == {Verdict.COMPLETE, Verdict.FAILED}


async def test_media_that_are_copied_at_once_share_no_temp_files(
    home: Path, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    new_file = Depot.new_file

    def recorded(depot: Depot, name: str) -> PlainBlobFile:
        names.append(name)
        return new_file(depot, name)

    monkeypatch.setattr(Depot, "new_file", recorded)
    async with watching(home, database_url, tmp_path / "drives") as (bench, _):
        for seed, name in enumerate(("sr0", "sr1")):
            tree = written(tmp_path / f"{name}.tree", {"large.bin": noise(3_000_000, seed)})
            await bench.insert(name, iso_image(tmp_path / f"{name}.iso", tree, "-r"))
        await bench.finished(2)
        assert {done.verdict for done in bench.board.finished} == {Verdict.COMPLETE}
    assert len(names) == len(set(names)) == 2


async def test_with_eject_after_image_the_drive_is_free_while_the_rest_is_done(
    home: Path, database_url: str, tmp_path: Path, first: Path, second: Path
) -> None:
    options = WatchOptions(eject_after=EjectAfter.IMAGE)
    async with watching(home, database_url, tmp_path / "drives", options) as (bench, catalogue):
        await bench.insert("sr0", first)
        await bench.until(lambda: len(bench.ejected) == 1)
        await bench.phase("sr0", Phase.EMPTY)
        await bench.insert("sr0", second)
        await bench.finished(2)
        found = await rows(
            catalogue, "SELECT archive_done, ejected_at FROM insertion i JOIN medium m ON m.id = medium_id"
        )
        assert all(row["archive_done"] is not None for row in found)
        assert any(row["ejected_at"] < row["archive_done"] for row in found)
        await bench.until(lambda: not bench.board.queue)


async def test_a_blank_disc_is_told_recorded_and_comes_out(home: Path, database_url: str, tmp_path: Path) -> None:
    async with watching(home, database_url, tmp_path / "drives") as (bench, catalogue):
        bench.discs["sr0"] = Disc(DiscKind.BLANK)
        blank = tmp_path / "blank.img"
        blank.write_bytes(b"")
        await bench.insert("sr0", blank)
        done = await bench.finished(1)
        assert done.verdict is Verdict.PROBLEMS
        assert "blank" in done.summary
        (row,) = await rows(catalogue, "SELECT verdict, disc, medium_id FROM insertion")
        assert tuple(row) == ("problems", "blank", None)
        await bench.until(lambda: bench.ejected == ["sr0"])
    assert bench.status == 1


async def test_without_room_a_medium_waits_and_goes_on_when_there_is_some(
    home: Path, database_url: str, tmp_path: Path, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ntt.watch.rooms.SPARE_BYTES", 1 << 60)
    monkeypatch.setattr("ntt.watch.hall.ROOM_EVERY_S", 0.05)
    async with watching(home, database_url, tmp_path / "drives") as (bench, _):
        await bench.insert("sr0", first)
        waits = await bench.phase("sr0", Phase.WAITING)
        assert "no room" in waits.message
        monkeypatch.setattr("ntt.watch.rooms.SPARE_BYTES", 0)
        assert (await bench.finished(1)).verdict is Verdict.COMPLETE


async def test_every_event_is_handed_to_the_operators_program_as_json(
    home: Path, database_url: str, tmp_path: Path, first: Path
) -> None:
    told = tmp_path / "told.jsonl"
    hook = f"sh -c 'cat >> {told}'"
    async with watching(home, database_url, tmp_path / "drives", WatchOptions(on_event=hook)) as (bench, _):
        await bench.insert("sr0", first)
        await bench.finished(1)
        await bench.phase("sr0", Phase.EMPTY)

    events = [msgspec.json.decode(line) for line in told.read_bytes().splitlines()]
    assert [event["event"] for event in events] == ["inserted", "done", "ejected"]
    assert events[1]["medium_hash"]


async def test_a_label_typed_while_it_is_read_becomes_the_mediums_name(
    home: Path, database_url: str, tmp_path: Path, first: Path
) -> None:
    async with watching(home, database_url, tmp_path / "drives") as (bench, catalogue):
        await bench.insert("sr0", first)
        await bench.until(lambda: "sr0" in bench.board.panels and bench.panel("sr0").phase is Phase.READING)
        await bench.wish(Wish.LABEL, "sr0", "Letters 1994")
        await bench.finished(1)
        (row,) = await rows(catalogue, "SELECT medium_human, label FROM medium JOIN insertion ON medium_id = medium.id")
        assert tuple(row) == ("Letters 1994", "Letters 1994")


async def test_once_ends_when_what_is_inserted_is_done(
    home: Path, database_url: str, tmp_path: Path, first: Path
) -> None:
    async with watching(home, database_url, tmp_path / "drives", WatchOptions(once=True)) as (bench, _):
        await bench.insert("sr0", first)
        await bench.until(lambda: bench.status is not None)
        assert bench.status == 0
        assert bench.ejected == ["sr0"]


async def test_kept_images_stay(home: Path, database_url: str, tmp_path: Path, first: Path) -> None:
    settings = Settings(home=home, database_url=database_url, keep_images=True)
    async with watching(home, database_url, tmp_path / "drives", settings=settings) as (bench, catalogue):
        await bench.insert("sr0", first)
        await bench.finished(1)
        (row,) = await rows(catalogue, "SELECT image_path FROM medium")
        assert Path(row["image_path"]).read_bytes() == first.read_bytes()


async def test_a_vanished_medium_is_parked_and_gone_on_with_in_another_drive(
    home: Path, database_url: str, tmp_path: Path
) -> None:
    tree = written(tmp_path / "tree", {b"big.bin": noise(6_000_000, 7)})
    image = iso_image(tmp_path / "big.iso", tree, "-r")
    plan = Plan(vanish_after_bytes=2_000_000, gone="ENXIO", bytes_per_s=4_000_000)
    async with watching(home, database_url, tmp_path / "drives") as (bench, catalogue):
        with faulty_source(image, plan, tmp_path / "served") as faulty:
            await bench.insert("sr0", faulty.path)
            failed = await bench.finished(1)
            assert failed.verdict is Verdict.FAILED
            assert (await bench.phase("sr0", Phase.PARKED)).message
            assert bench.ejected == []
            await bench.remove("sr0")
            await bench.phase("sr0", Phase.EMPTY)
            before = total(faulty.counters().read_once)
        with faulty_source(image, Plan(), tmp_path / "again") as whole:
            await bench.insert("sr1", whole.path)
            done = await bench.finished(2)
            assert done.verdict is Verdict.COMPLETE
            assert before > 1_000_000
            assert total(whole.counters().read_once) < image.stat().st_size - before // 2
            await bench.phase("sr1", Phase.EMPTY)
        (row,) = await rows(catalogue, "SELECT unread_bytes, archive_done FROM medium")
        assert row["unread_bytes"] == 0
        assert row["archive_done"] is not None


async def test_a_damaged_medium_that_was_archived_is_gone_on_with_from_its_archive(
    home: Path, database_url: str, tmp_path: Path
) -> None:
    tree = written(tmp_path / "tree", {b"big.bin": noise(3_000_000, 8), b"other.bin": noise(200_000, 9)})
    image = iso_image(tmp_path / "big.iso", tree, "-r")
    at = found_at(image, noise(3_000_000, 8)) + 1_000_000
    at -= at % 2048
    async with watching(home, database_url, tmp_path / "drives") as (bench, catalogue):
        with faulty_source(image, Plan(bad=((at, at + 2048),)), tmp_path / "scratched") as faulty:
            await bench.insert("sr0", faulty.path)
            first = await bench.finished(1)
            assert first.verdict is Verdict.PROBLEMS
            assert "1 damaged" in first.summary
            await bench.phase("sr0", Phase.EMPTY)
        assert list((home / "images").iterdir()) == []
        with faulty_source(image, Plan(), tmp_path / "cleaned") as cleaned:
            await bench.insert("sr1", cleaned.path)
            second = await bench.finished(2)
            assert second.verdict is Verdict.COMPLETE, second.summary
            assert second.medium_hash == first.medium_hash
            assert total(cleaned.counters().read_once) < 1_500_000
            await bench.phase("sr1", Phase.EMPTY)
        (row,) = await rows(catalogue, "SELECT unread_bytes, health FROM medium")
        assert tuple(row) == (0, "ok")
        assert list((home / "images").iterdir()) == []


async def test_reading_rests_and_ends_at_the_operators_wish(home: Path, database_url: str, tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", {b"big.bin": noise(8_000_000, 5)})
    image = iso_image(tmp_path / "big.iso", tree, "-r")
    async with watching(home, database_url, tmp_path / "drives") as (bench, catalogue):
        with faulty_source(image, Plan(bytes_per_s=2_000_000), tmp_path / "slow") as slow:
            await bench.insert("sr0", slow.path)
            await bench.until(lambda: slow.counters().bytes_read > 1_000_000)
            await bench.wish(Wish.PAUSE, "sr0")
            await bench.phase("sr0", Phase.PAUSED)
            await bench.wish(Wish.PAUSE, "sr0")
            await bench.phase("sr0", Phase.READING)
            await bench.until(lambda: slow.counters().bytes_read > 3_000_000)
            await bench.wish(Wish.ENOUGH, "sr0")
            done = await bench.finished(1)
            assert done.verdict is Verdict.PROBLEMS
        found = await rows(catalogue, "SELECT reason FROM image_pass ORDER BY began_at")
        assert [row["reason"] for row in found][-1] == "enough"
        (row,) = await rows(catalogue, "SELECT unread_bytes, archive_done FROM medium")
        assert row["unread_bytes"] > 0
        assert row["archive_done"] is not None


async def test_what_was_imaged_is_gone_on_with_at_the_next_start(
    home: Path, database_url: str, tmp_path: Path, first: Path
) -> None:
    options = WatchOptions(eject_after=EjectAfter.IMAGE)
    async with watching(home, database_url, tmp_path / "drives", options) as (bench, catalogue):
        await bench.insert("sr0", first)
        await bench.until(lambda: len(bench.ejected) == 1)
        await bench.wish(Wish.QUIT)  # it stops at the next stage
        await bench.until(lambda: bench.status is not None)
    (row,) = await rows(catalogue, "SELECT archive_done FROM medium")
    if row["archive_done"] is None:
        assert list((home / "images").glob("*.img"))
    async with watching(home, database_url, tmp_path / "drives", options) as (bench, catalogue):

        def finished() -> bool:
            return not bench.board.queue and not list((home / "images").glob("*.img"))

        await bench.until(lambda: bench.board.session != "" and finished())
    (row,) = await rows(catalogue, "SELECT archive_done, image_path FROM medium")
    assert row["archive_done"] is not None
    assert row["image_path"] is None


def track(number: int, audio: bool, sectors: int = 150, start: int = 0) -> Track:
    return Track(number, 1, start, sectors, audio)


async def test_the_tracks_of_an_audio_disc_are_kept_as_files(home: Path, database_url: str, tmp_path: Path) -> None:
    async with watching(home, database_url, tmp_path / "drives") as (bench, catalogue):
        bench.discs["sr0"] = Disc(DiscKind.AUDIO, tracks=(track(1, audio=True), track(2, audio=True, start=150)))
        await bench.insert("sr0", tmp_path / "nothing can be read of it")
        done = await bench.finished(1)
        assert done.verdict is Verdict.COMPLETE, done.summary
        files = await anyio.to_thread.run_sync(catalogue.files, done.medium_hash)
        assert files[b"track02.wav"] == b"RIFF" + noise(150 * 2352, 2)
        assert b"track 1: 150 sectors" in (files[b"tracks.txt"] or b"")
        assert list((home / "images").glob("*.img")) == []
        await bench.phase("sr0", Phase.EMPTY)


async def test_an_audio_track_that_cannot_be_read_is_a_recorded_problem(
    home: Path, database_url: str, tmp_path: Path
) -> None:
    async with watching(home, database_url, tmp_path / "drives") as (bench, catalogue):
        bench.discs["sr0"] = Disc(DiscKind.AUDIO, tracks=(track(1, audio=True), track(2, audio=True, start=150)))
        bench.unreadable = {2}
        await bench.insert("sr0", tmp_path / "nothing can be read of it")
        done = await bench.finished(1)
        assert done.verdict is Verdict.PROBLEMS
        (row,) = await rows(catalogue, "SELECT detail FROM finding")
        assert row["detail"].startswith("audio track 2: not a sector could be read")
        bench.unreadable = {1, 2}
        bench.discs["sr1"] = bench.discs["sr0"]
        await bench.insert("sr1", tmp_path / "nothing can be read of it")
        failed = await bench.finished(2)
        assert failed.verdict is Verdict.FAILED
        assert "1 0:02, 2 0:02" in failed.summary
        await bench.phase("sr1", Phase.PARKED)


async def test_of_a_mixed_disc_both_kinds_of_tracks_are_kept(
    home: Path, database_url: str, tmp_path: Path, first: Path
) -> None:
    sectors = first.stat().st_size // 2048
    whole = tmp_path / "mixed.img"
    whole.write_bytes(first.read_bytes() + noise(100 * 2048, 77))  # what the drive would say is data there, and is not
    async with watching(home, database_url, tmp_path / "drives") as (bench, catalogue):
        tracks = (track(1, audio=False, sectors=sectors), track(2, audio=True, sectors=100, start=sectors))
        bench.discs["sr0"] = Disc(DiscKind.MIXED, tracks=tracks)
        await bench.insert("sr0", whole)
        done = await bench.finished(1)
        assert "data: " in done.summary
        assert "audio: 2 files" in done.summary
        found = await rows(catalogue, "SELECT fstype FROM volume ORDER BY fstype")
        assert [row["fstype"] for row in found] == ["archive", "iso9660"]
        read = await rows(catalogue, "SELECT max(rescued_after) AS most FROM image_pass WHERE source LIKE '%/sr0'")
        assert read[0]["most"] == first.stat().st_size


async def test_the_same_medium_in_two_drives_at_once_is_stored_once(
    home: Path, database_url: str, tmp_path: Path, first: Path
) -> None:
    async with watching(home, database_url, tmp_path / "drives") as (bench, catalogue):
        await bench.insert("sr0", first)
        await bench.insert("sr1", first)
        await bench.finished(2)
        assert sorted(done.verdict for done in bench.board.finished) == [Verdict.COMPLETE, Verdict.KNOWN]
        assert [row["n"] for row in await rows(catalogue, "SELECT count(*) AS n FROM medium")] == [1]
        await bench.until(lambda: sorted(bench.ejected) == ["sr0", "sr1"])


async def test_a_disc_that_was_swapped_while_it_was_read_is_not_ejected_for_the_other(
    home: Path, database_url: str, tmp_path: Path, second: Path
) -> None:
    tree = written(tmp_path / "tree", {b"big.bin": noise(6_000_000, 7)})
    image = iso_image(tmp_path / "big.iso", tree, "-r")
    plan = Plan(vanish_after_bytes=2_000_000, gone="ENXIO", bytes_per_s=4_000_000)
    async with watching(home, database_url, tmp_path / "drives", WatchOptions(eject_failed=True)) as (bench, catalogue):
        with faulty_source(image, plan, tmp_path / "served") as faulty:
            await bench.insert("sr0", faulty.path)
            await bench.until(lambda: faulty.counters().is_gone)
            await bench.remove("sr0")
            await bench.insert("sr0", second)
            await bench.finished(2)
        assert [done.verdict for done in bench.board.finished] == [Verdict.FAILED, Verdict.COMPLETE]
        await bench.until(lambda: bench.ejected == ["sr0"])  # once: the second
        found = await rows(catalogue, "SELECT sequence, ejected_at FROM insertion ORDER BY sequence")
        assert [row["ejected_at"] is not None for row in found] == [False, True]


async def test_a_stopped_watch_says_so_and_the_next_one_goes_on(home: Path, database_url: str, tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", {b"big.bin": noise(8_000_000, 5)})
    image = iso_image(tmp_path / "big.iso", tree, "-r")
    with faulty_source(image, Plan(bytes_per_s=2_000_000), tmp_path / "slow") as slow:
        async with watching(home, database_url, tmp_path / "drives") as (bench, _):
            await bench.insert("sr0", slow.path)
            await bench.until(lambda: slow.counters().bytes_read > 2_000_000)
            await bench.wish(Wish.QUIT)
            await bench.until(lambda: bench.status is not None)
            assert bench.status == EXIT_INTERRUPTED
            assert bench.ejected == []
        read = total(slow.counters().read_once)
    with faulty_source(image, Plan(), tmp_path / "fast") as fast:
        async with watching(home, database_url, tmp_path / "drives") as (bench, _):
            await bench.insert("sr0", fast.path)
            assert (await bench.finished(1)).verdict is Verdict.COMPLETE
            assert total(fast.counters().read_once) < image.stat().st_size - read // 2
