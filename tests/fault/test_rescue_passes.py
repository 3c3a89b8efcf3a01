"""ddrescue in passes over a source with planned faults: the map is the plan, and nothing is read for nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from blake3 import blake3
from faulty_source import Plan, faulty_source
from rescuing import (
    LIMITS,
    SECTOR_BYTES,
    all_but,
    bad_sectors,
    first,
    further,
    ignored,
    medium,
    rescued,
    wrong_bytes,
)

from ntt.model import Effort, PassEnd
from ntt.progress import Stop
from ntt.ranges import difference, intersection, total
from ntt.rescue.hashing import PrefixHash
from ntt.rescue.passes import first_pass
from ntt.rescue.resuming import resumed
from ntt.rescue.running import Progress, run_pass
from ntt.rescue.source import probe
from ntt.rescue.working import WorkingImages

MIB = 1 << 20


@pytest.mark.parametrize("effort", [Effort.NORMAL, Effort.DEEP])
@pytest.mark.parametrize("seed", range(3))
async def test_the_map_is_the_plan(seed: int, effort: Effort, tmp_path: Path) -> None:
    original = medium(tmp_path / "original", 8 * MIB, seed)
    bad = bad_sectors(8 * MIB, 12, seed)
    with faulty_source(original, Plan(bad=bad), tmp_path / "faulty") as faulty:
        image, _ = await rescued(faulty.path, tmp_path / "work", effort)
        with image:
            mapfile = image.mapfile()
            assert mapfile.ranges("-") == bad
            assert mapfile.rescued == all_but(8 * MIB, bad)
            assert wrong_bytes(image, original) == ()
            assert [record.end for record in image.state.passes] == [PassEnd.FINISHED] * len(image.state.passes)
            assert image.state.passes[-1].rescued_after == 8 * MIB - total(bad)
            assert image.state.passes[-1].bad_bytes == total(bad)


async def test_a_disc_is_read_in_its_own_sectors(tmp_path: Path) -> None:
    original = medium(tmp_path / "original", 8 * MIB)
    with original.open("r+b") as file:
        file.seek(16 * 2048)
        file.write(b"\1CD001")
    bad = bad_sectors(8 * MIB, 10, 5, 2048)[1:]  # the volume descriptor is not among them
    with faulty_source(original, Plan(bad=bad, sector_bytes=2048), tmp_path / "faulty") as faulty:
        image, source = await rescued(faulty.path, tmp_path / "work")
        with image:
            assert source.sector_bytes == 2048
            assert image.mapfile().ranges("-") == bad
            assert all(read.offset % 2048 == 0 for read in faulty.reads() if read.outcome == "bad")


async def test_quick_reads_all_that_reads_and_leaves_the_rest_for_later(tmp_path: Path) -> None:
    original = medium(tmp_path / "original", 8 * MIB)
    bad = ((MIB, MIB + 64 * SECTOR_BYTES), (5 * MIB, 5 * MIB + SECTOR_BYTES))
    with faulty_source(original, Plan(bad=bad), tmp_path / "faulty") as faulty:
        image, _ = await rescued(faulty.path, tmp_path / "work", Effort.QUICK)
        with image:
            assert image.mapfile().unread == bad
            assert wrong_bytes(image, original) == ()
            assert faulty.counters().bad_reads < 40


async def test_the_first_pass_leaves_a_scratch_after_a_few_reads(tmp_path: Path) -> None:
    original = medium(tmp_path / "original", 64 * MIB)
    scratch = ((10 * MIB, 20 * MIB),)
    with faulty_source(original, Plan(bad=scratch), tmp_path / "faulty") as faulty:
        source = await probe(faulty.path)
        with WorkingImages(tmp_path / "work").new(source) as image:
            record = await first(source, image)
            assert record.end is PassEnd.FINISHED
            assert record.rescued_after > 50 * MIB
            assert faulty.counters().bad_reads == record.read_errors < 40


async def test_a_source_that_fails_once_heals_on_the_second_pass(tmp_path: Path) -> None:
    original = medium(tmp_path / "original", 8 * MIB)
    sick = ((2 * MIB, 2 * MIB + 40 * SECTOR_BYTES, 1), (6 * MIB, 6 * MIB + SECTOR_BYTES, 1))
    with faulty_source(original, Plan(heals=sick), tmp_path / "faulty") as faulty:
        source = await probe(faulty.path)
        with WorkingImages(tmp_path / "work").new(source) as image:
            once = await first(source, image)
            assert once.read_errors > 0
            assert image.mapfile().unread
            await further(source, image)
            assert image.mapfile().unread == ()
            assert image.path.read_bytes() == original.read_bytes()


async def test_a_healthy_medium_is_read_once_and_hashed_on_the_way(tmp_path: Path) -> None:
    original = medium(tmp_path / "original", 32 * MIB)
    seen: list[Progress] = []
    with faulty_source(original, Plan(), tmp_path / "faulty") as faulty:
        source = await probe(faulty.path)
        probed = faulty.counters().read_once
        with WorkingImages(tmp_path / "work").new(source) as image, PrefixHash(image.path, 32 * MIB) as hasher:
            flags = first_pass(source, Effort.NORMAL)
            record = await run_pass(source, image, "first", flags, None, LIMITS, seen.append, Stop(), hasher)
            scan = await hasher.finish()
            assert record.end is PassEnd.FINISHED
            assert record.rescued_after == 32 * MIB
            assert scan is not None
            assert scan.image_hash == blake3(original.read_bytes()).hexdigest()
            assert seen[-1].rescued_bytes == pytest.approx(32 * MIB, rel=0.01)
        counters = faulty.counters()
        assert counters.read_once == ((0, 32 * MIB),)
        still_there = source.sector_bytes  # one sector, at the end of the pass
        assert total(difference(counters.read_twice, probed)) <= still_there


async def test_only_the_domain_is_read(tmp_path: Path) -> None:
    original = medium(tmp_path / "original", 16 * MIB)
    bad = ((3 * MIB, 3 * MIB + 5 * SECTOR_BYTES), (9 * MIB, 9 * MIB + 5 * SECTOR_BYTES))
    domain = ((3 * MIB - 100, 3 * MIB + 1000), (12 * MIB, 12 * MIB + 1))
    with faulty_source(original, Plan(bad=bad), tmp_path / "faulty") as faulty:
        source = await probe(faulty.path)
        with WorkingImages(tmp_path / "work").new(source) as image:
            before = len(faulty.reads())
            (record,) = await further(source, image, domain=domain)
            sectors = ((3 * MIB - 512, 3 * MIB + 1024), (12 * MIB, 12 * MIB + 512))
            assert record.wanted_bytes == total(sectors)
            mapfile = image.mapfile()
            assert mapfile.rescued == difference(sectors, bad)
            assert mapfile.ranges("-") == intersection(sectors, bad)
            outside = difference(tuple((r.offset, r.offset + r.size) for r in faulty.reads()[before:]), sectors)
            assert outside == ()
            assert not image.domain_path.exists()


async def test_two_drives_that_fail_elsewhere_give_a_perfect_image(tmp_path: Path) -> None:
    original = medium(tmp_path / "original", 8 * MIB)
    bad = bad_sectors(8 * MIB, 16, 3)
    here, there = bad[::2], bad[1::2]
    images = WorkingImages(tmp_path / "work")
    with faulty_source(original, Plan(bad=here), tmp_path / "first drive") as faulty:
        image, _ = await rescued(faulty.path, tmp_path / "work")
        with image:
            assert image.mapfile().unread == here
    with faulty_source(original, Plan(bad=there), tmp_path / "second drive") as faulty:
        source = await probe(faulty.path)
        image_again = await resumed(images, source)
        assert image_again is not None
        with image_again:
            before = len(faulty.reads())
            await further(source, image_again)
            assert image_again.mapfile().unread == ()
            assert image_again.path.read_bytes() == original.read_bytes()
            read = [(r.offset, r.offset + r.size) for r in faulty.reads()[before:]]
            still_there = 2 * source.sector_bytes  # one before and one after the pass
            assert sum(end - start for start, end in read) == total(here) + still_there
            assert [record.source for record in image_again.state.passes][-1] == str(faulty.path)


async def test_nothing_is_run_for_what_is_read_already(tmp_path: Path) -> None:
    original = medium(tmp_path / "original", MIB)
    with faulty_source(original, Plan(), tmp_path / "faulty") as faulty:
        image, source = await rescued(faulty.path, tmp_path / "work")
        with image:
            before = len(faulty.reads())
            flags = first_pass(source, Effort.NORMAL)
            record = await run_pass(source, image, "again", flags, ((0, 512),), LIMITS, ignored, Stop())
            assert (record.end, record.wanted_bytes) == (PassEnd.FINISHED, 0)
            assert len(faulty.reads()) == before
