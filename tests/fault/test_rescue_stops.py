"""A pass ends when it has to, says why, and what it read stays: gone, hung, hopeless, full, or stopped by a person."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from faulty_source import FaultySource, Plan, faulty_source
from rescuing import LIMITS, SECTOR_BYTES, first, further, ignored, medium, rescued_wrongly, wrong_bytes

from ntt.model import Effort, PassEnd, PassRecord
from ntt.progress import Stop
from ntt.ranges import difference, total
from ntt.rescue.passes import further_passes
from ntt.rescue.running import Limits, run_pass
from ntt.rescue.source import Source, probe
from ntt.rescue.working import WorkingImage, WorkingImages

MIB = 1 << 20
PROBES_BYTES = 64 * SECTOR_BYTES


@pytest.fixture
def original(tmp_path: Path) -> Path:
    return medium(tmp_path / "original", 16 * MIB)


@pytest.fixture
def work(tmp_path: Path) -> WorkingImages:
    return WorkingImages(tmp_path / "work")


@pytest.mark.parametrize("gone", ["EIO", "ENXIO", "ENODEV", "ENOMEDIUM", "removed"])
async def test_a_source_that_goes_away_is_not_blamed_on_the_medium(
    gone: str, original: Path, work: WorkingImages, tmp_path: Path
) -> None:
    """It stops, and when the source is back nothing that was read is read again."""
    bad = ((2 * MIB, 2 * MIB + 4 * SECTOR_BYTES),)
    plan = Plan(bad=bad, vanish_at=9 * MIB, gone=gone)
    with faulty_source(original, plan, tmp_path / "faulty") as faulty:
        source = await probe(faulty.path)
        with work.new(source) as image:
            began = time.monotonic()
            record = await first(source, image)
            assert record.end is PassEnd.SOURCE_GONE
            assert time.monotonic() - began < 20
            assert "not give any" in record.detail or "cannot be opened" in record.detail
            failed = image.mapfile().ranges("*/-")
            assert total(failed) <= 2 * 128 * SECTOR_BYTES * 2  # the clusters that hold what is really bad
            assert all(end <= 3 * MIB for _, end in failed)
            read = image.mapfile().rescued
            asked = len(faulty.reads())
            faulty.command("return")
            again = await first(source, image)
            assert again.end is PassEnd.FINISHED
            await further(source, image)
            assert image.mapfile().unread == bad
            assert wrong_bytes(image, original) == ()
            later = tuple((r.offset, r.offset + r.size) for r in faulty.reads()[asked:] if r.outcome == "read")
            assert sum(total(difference((one,), difference((one,), read))) for one in later) <= PROBES_BYTES


async def test_a_source_that_goes_away_among_bad_sectors_is_found_gone(
    original: Path, work: WorkingImages, tmp_path: Path
) -> None:
    """In a later pass: what is really bad and what was not asked for any more look the same, but for this."""
    bad = ((2 * MIB, 3 * MIB),)
    with faulty_source(original, Plan(bad=bad, vanish_at=2 * MIB + MIB // 2), tmp_path / "faulty") as faulty:
        faulty.command("return")
        source = await probe(faulty.path)
        with work.new(source) as image:
            await first(source, image)
            before = image.mapfile()
            faulty.command("vanish")
            records = await further(source, image)
            assert records[0].end is PassEnd.SOURCE_GONE
            assert image.mapfile().ranges("-") == before.ranges("-")
            assert image.mapfile().rescued == before.rescued


async def test_another_medium_in_the_drive_is_noticed(original: Path, work: WorkingImages, tmp_path: Path) -> None:
    """A pass that met errors asks for a sector again; it must be the one that was read."""
    source_path = tmp_path / "drive"
    with faulty_source(original, Plan(bad=((MIB, 2 * MIB),)), tmp_path / "faulty") as faulty:
        source_path.symlink_to(faulty.path)
        source = await probe(source_path)
        with work.new(source) as image:
            await first(source, image)
            other = medium(tmp_path / "other", 16 * MIB, seed=2)
            with faulty_source(other, Plan(bad=((MIB, 2 * MIB),)), tmp_path / "swapped") as swapped:
                source_path.unlink()
                source_path.symlink_to(swapped.path)
                (record,) = await further(source, image)
                assert record.end is PassEnd.SOURCE_GONE
                assert "another medium" in record.detail
                assert wrong_bytes(image, original) == ()


@pytest.mark.slow
@pytest.mark.parametrize("gone", ["hang", "hang_until_killed"])
async def test_a_drive_that_hangs_is_given_up(gone: str, original: Path, work: WorkingImages, tmp_path: Path) -> None:
    plan = Plan(vanish_at=12 * MIB, gone=gone, bytes_per_s=3 * MIB // 2)
    limits = replace(LIMITS, stall_s=2, grace_s=1, check_s=1)
    with faulty_source(original, plan, tmp_path / "faulty") as faulty:
        source = await probe(faulty.path)
        with work.new(source) as image:
            began = time.monotonic()
            record = await first(source, image, limits)
            assert record.end is PassEnd.NO_PROGRESS
            assert time.monotonic() - began < 30
            assert record.rescued_after >= 4 * MIB  # as the map said when it was last saved
            assert rescued_wrongly(image, original) == ()
            assert image.mapfile().ranges("*/-") == ()
            faulty.command("return")
            again = await first(source, image, limits)
            assert again.end is PassEnd.FINISHED
            assert image.path.read_bytes() == original.read_bytes()


async def test_a_probe_of_a_drive_that_hangs_ends(original: Path, tmp_path: Path) -> None:
    with faulty_source(original, Plan(gone="hang"), tmp_path / "faulty") as faulty:
        faulty.command("vanish")
        with pytest.raises(Exception, match="gives no answer within 1 s"):
            await probe(faulty.path, limit_s=1)


async def test_the_operator_stops_it(original: Path, work: WorkingImages, tmp_path: Path) -> None:
    stop = Stop()
    with faulty_source(original, Plan(bytes_per_s=2 * MIB), tmp_path / "faulty") as faulty:
        source = await probe(faulty.path)
        with work.new(source) as image:
            record = await stopped_after(faulty, source, image, stop, 4 * MIB)
            assert record.end is PassEnd.STOPPED
            assert record.rescued_after >= 3 * MIB
            assert wrong_bytes(image, original) == ()
            assert image.mapfile().ranges("*/-") == ()


async def stopped_after(
    faulty: FaultySource, source: Source, image: WorkingImage, stop: Stop, read_bytes: int
) -> PassRecord:
    records: list[PassRecord] = []

    async def reading() -> None:
        records.append(await first(source, image, stop=stop))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reading)
        await anyio.to_thread.run_sync(faulty.wait_for, "bytes_read", read_bytes)
        stop.requested = True
    return records[0]


async def test_a_cancelled_pass_loses_nothing(original: Path, work: WorkingImages, tmp_path: Path) -> None:
    with faulty_source(original, Plan(bytes_per_s=2 * MIB), tmp_path / "faulty") as faulty:
        source = await probe(faulty.path)
        with work.new(source) as image:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(first, source, image)
                await anyio.to_thread.run_sync(faulty.wait_for, "bytes_read", 4 * MIB)
                tasks.cancel_scope.cancel()
            assert total(image.mapfile().rescued) >= 3 * MIB
            assert wrong_bytes(image, original) == ()


async def test_enough_is_enough(original: Path, work: WorkingImages, tmp_path: Path) -> None:
    limits = replace(LIMITS, enough_bytes=4 * MIB)
    with faulty_source(original, Plan(bytes_per_s=4 * MIB), tmp_path / "faulty") as faulty:
        source = await probe(faulty.path)
        with work.new(source) as image:
            record = await first(source, image, limits)
            assert record.end is PassEnd.ENOUGH
            assert 4 * MIB <= record.rescued_after < 16 * MIB


async def test_a_rate_at_which_it_would_not_end_is_hopeless(
    original: Path, work: WorkingImages, tmp_path: Path
) -> None:
    limits = replace(LIMITS, hopeless_s=20, window_s=4, stall_s=60)
    with faulty_source(original, Plan(bytes_per_s=MIB // 4), tmp_path / "faulty") as faulty:
        source = await probe(faulty.path)
        with work.new(source) as image:
            record = await first(source, image, limits)
            assert record.end is PassEnd.HOPELESS
            assert record.seconds < 25
            assert 0 < record.rescued_after < 8 * MIB


@pytest.fixture(params=["tmpfs", "ext4"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system that an image of 16 MiB only seems to fit on."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    if request.param == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64M", "none", folder], check=True)
    else:
        with (tmp_path / "small.ext4").open("wb") as sparse:
            sparse.truncate(64 * MIB)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-m", "0", tmp_path / "small.ext4"], check=True)
        subprocess.run(["mount", "-o", "loop", tmp_path / "small.ext4", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


async def test_a_disk_that_fills_up_loses_nothing(small_disk: Path, original: Path, tmp_path: Path) -> None:
    images = WorkingImages(small_disk / "work")
    with faulty_source(original, Plan(bad=((MIB, MIB + 512),)), tmp_path / "faulty") as faulty:
        source = await probe(faulty.path)
        with images.new(source) as image:
            script = 'fallocate -l $(( $(stat -f -c "%a * %S" "$1") - 6291456 )) "$1/ballast"'
            await anyio.run_process(["sh", "-c", script, "sh", small_disk])
            record = await first(source, image)
            assert record.end is PassEnd.NO_SPACE
            assert 0 < record.rescued_after < 8 * MIB
            assert rescued_wrongly(image, original) == ()
            with pytest.raises(Exception, match="bytes are free in"):
                image.require_space()
            (small_disk / "ballast").unlink()
            again = await first(source, image)
            assert again.end is PassEnd.FINISHED
            await further(source, image)
            assert image.mapfile().unread == ((MIB, MIB + 512),)
            assert wrong_bytes(image, original) == ()


async def test_a_map_that_finds_no_space_ends_the_pass_too(small_disk: Path, original: Path, tmp_path: Path) -> None:
    """ddrescue then asks what to do, takes no answer from nobody, and hears no signal but one."""
    bad = tuple((at, at + SECTOR_BYTES) for at in range(MIB, 2 * MIB, 2 * SECTOR_BYTES))  # a map of many blocks
    with faulty_source(original, Plan(bad=bad), tmp_path / "faulty") as faulty:
        source = await probe(faulty.path)
        with WorkingImages(small_disk / "work").new(source) as image:
            await first(source, image)
            before = image.mapfile()
            await anyio.to_thread.run_sync(
                image.path.write_bytes, image.path.read_bytes()
            )  # holes take their space now
            script = 'fallocate -l $(( $(stat -f -c "%a * %S" "$1") - 20480 )) "$1/ballast"'
            await anyio.run_process(["sh", "-c", script, "sh", small_disk])
            began = time.monotonic()
            records = await further(source, image)
            assert records[0].end is PassEnd.NO_SPACE
            assert "mapfile" in records[0].detail
            assert time.monotonic() - began < LIMITS.stall_s
            assert total(difference(before.rescued, image.mapfile().rescued)) == 0
            (small_disk / "ballast").unlink()
            await further(source, image)
            assert image.mapfile().unread == bad
            assert wrong_bytes(image, original) == ()


async def test_a_program_that_cannot_run_is_a_failure_not_an_end(work: WorkingImages, original: Path) -> None:
    source = await probe(original)
    with work.new(source) as image:
        flags = replace(further_passes(source, Effort.NORMAL, 1)[0], skip_bytes="1")  # ddrescue refuses that
        record = await run_pass(source, image, "all", flags, None, Limits(), ignored, Stop())
        assert record.end is PassEnd.FAILED
        assert record.detail
        assert record.rescued_after == 0
        assert image.mapfile().unread == ((0, 16 * MIB),)
