"""A medium whose bad sectors lie in free space for the most part: its files are complete after few bad reads."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import pytest
from catalogue import Catalogue
from faulty_source import Plan, faulty_source
from media_images import ext4_image, found_at, noise, run, written

from ntt.model import Effort
from ntt.ranges import Ranges, normalised, total

BLOCK = 4096
SECTOR = 512
SIZE_MIB = 48
RUN_SECTORS = 200
RUNS = 40
BAD_READ_S = 10.0
FAILS = 2  # times that a sector of a file fails before it is read
CONTENTS = {f"{n:02}.bin": noise(40_000, n) for n in range(40)}


@pytest.fixture
def catalogue(home: Path, database_url: str) -> Catalogue:
    return Catalogue(home, database_url)


def free_runs(image: Path, dice: random.Random) -> Ranges:
    """Runs of sectors in blocks that dumpe2fs calls free, far apart from one another."""
    free = [
        (int(first) * BLOCK, (int(last or first) + 1) * BLOCK)
        for line in run("dumpe2fs", image).splitlines()
        if line.startswith("  Free blocks: ")
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", line)
    ]
    start, end = max(free, key=lambda piece: piece[1] - piece[0])
    step = (end - start) // RUNS // SECTOR * SECTOR
    assert step > 2 * RUN_SECTORS * SECTOR
    places = [start + n * step + dice.randrange((step - RUN_SECTORS * SECTOR) // SECTOR) * SECTOR for n in range(RUNS)]
    return normalised((at, at + RUN_SECTORS * SECTOR) for at in places)


def file_sectors(image: Path, dice: random.Random, count: int) -> list[int]:
    """Sectors in the middle of as many files."""
    names = dice.sample(sorted(CONTENTS), count)
    return sorted(found_at(image, CONTENTS[name]) + 16 * SECTOR * dice.randrange(4) for name in names)


@pytest.mark.slow
def test_files_are_complete_after_a_twentieth_of_the_bad_reads_of_plain_ddrescue(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    dice = random.Random(4)
    image = ext4_image(tmp_path / "disk.img", written(tmp_path / "tree", CONTENTS), SIZE_MIB, "-b", str(BLOCK))
    in_free_space = free_runs(image, dice)
    in_files = file_sectors(image, dice, 20)
    extra = RUNS * RUN_SECTORS // 99 - len(in_files)
    heals = [(at, at + SECTOR, FAILS) for at in in_files]
    heals += [(at + SECTOR * n, at + SECTOR * (n + 1), FAILS) for at in in_files for n in range(1, 1 + extra // 20)]
    assert 0.009 < len(heals) / (len(heals) + total(in_free_space) / SECTOR) < 0.011
    plan = Plan(bad=in_free_space, heals=tuple(heals), bad_read_s=BAD_READ_S)

    with faulty_source(image, plan, tmp_path / "plain") as source:
        argv = ["ddrescue", "-q", "-r3", source.path, tmp_path / "plain.img", tmp_path / "plain.map"]
        subprocess.run(argv, check=True)
        plain = source.counters()
    with faulty_source(image, plan, tmp_path / "aware") as source:
        result = catalogue.ingest(source.path, effort=Effort.NORMAL)
        aware = source.counters()
    assert not result.failures
    (report,) = result.media
    assert (report.files, report.damaged, report.failed) == (len(CONTENTS), 0, 0)
    assert catalogue.files(report.medium_hash) == {name.encode(): content for name, content in CONTENTS.items()}
    assert report.files_whole
    assert set(report.unread) <= {"free", "spare", "unclaimed"}, "the last is what lies behind the ends of files"
    assert report.health != "ok", "what was not read is not called read"
    assert plain.clock_s > 0
    assert aware.clock_s <= 0.05 * plain.clock_s, f"{aware.bad_reads} bad reads instead of {plain.bad_reads}"
