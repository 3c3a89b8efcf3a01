"""The sources with which damage is tested do what their plan says, to the byte."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faulty_reads import shim_environment
from faulty_source import Plan, faulty_source

from ntt.ranges import Ranges, difference, normalised, total
from ntt.tools.mapfile import domain_text, parse_mapfile

SECTOR = 2048
SIZE = 600 * SECTOR
CLUSTER = 65536  # what ddrescue reads at a time


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(random.Random(4).randbytes(SIZE))
    return path


def bad_sectors(seed: int) -> Ranges:
    random_source = random.Random(seed)
    starts = [0, SIZE - SECTOR, *(random_source.randrange(600) * SECTOR for _ in range(seed * 4))]
    return normalised((at, min(at + random_source.randint(1, 20) * SECTOR, SIZE)) for at in starts)


def rescued(source: Path, *options: str | Path, environment: dict[str, str] | None = None) -> None:
    folder = source.parent.parent.parent if source.name == "medium" else source.parent
    argv = ["ddrescue", "-q", f"-b{SECTOR}", *options, source, folder / "out", folder / "map"]
    subprocess.run(argv, check=True, env=os.environ | (environment or {}))


def content(image: Path, bad: Ranges) -> bytes:
    expected = bytearray(image.read_bytes())
    for start, end in bad:
        expected[start:end] = bytes(end - start)
    return bytes(expected)


@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("options", [("-r1",), ("-r1", "-d"), ("-r2", "-R")])
def test_the_map_of_a_faulty_source_equals_its_plan(
    image: Path, tmp_path: Path, seed: int, options: tuple[str, ...]
) -> None:
    bad = bad_sectors(seed)
    with faulty_source(image, Plan(bad=bad), tmp_path / "source") as source:
        rescued(source.path, *options)
        counters = source.counters()
    found = parse_mapfile((tmp_path / "map").read_text(), "map")
    assert found.ranges("-") == bad == difference(((0, SIZE),), found.rescued)
    assert (tmp_path / "out").read_bytes().ljust(SIZE, b"\0") == content(image, bad)
    assert (counters.read_once, counters.read_twice) == (found.rescued, ())
    assert counters.bad_reads >= total(bad) // SECTOR


@pytest.mark.parametrize("seed", range(1, 6))
def test_the_map_of_a_shimmed_program_equals_its_plan(image: Path, tmp_path: Path, seed: int) -> None:
    bad = bad_sectors(seed)
    rescued(image, "-r1", environment=shim_environment(Plan(bad=bad), image, tmp_path))
    found = parse_mapfile((tmp_path / "map").read_text(), "map")
    assert found.ranges("-") == bad == difference(((0, SIZE),), found.rescued)
    assert (tmp_path / "out").read_bytes().ljust(SIZE, b"\0") == content(image, bad)


def test_a_shimmed_program_meets_the_bytes_by_every_way_of_reading(image: Path, tmp_path: Path) -> None:
    environment = os.environ | shim_environment(Plan(bad=((4096, 4097),)), image, tmp_path)
    (tmp_path / "link").symlink_to(image)
    program = (
        "import os, sys\nfd = os.open(sys.argv[1], os.O_RDONLY)\nother = os.open(sys.executable, os.O_RDONLY)\n"
        "def tried(read):\n try: return len(read())\n except OSError as error: return error.errno\n"
        "print([tried(lambda: os.pread(fd, *where)) for where in ((4096, 0), (1, 4096), (4097, 0), (9, 4097))],"
        " tried(lambda: os.pread(other, 1, 4096)), tried(lambda: os.read(fd, 4096)), tried(lambda: os.read(fd, 1)))"
    )
    argv = [sys.executable, "-c", program, tmp_path / "link"]
    told = subprocess.run(argv, env=environment, check=True, capture_output=True, text=True).stdout
    assert told == f"[4096, {errno.EIO}, {errno.EIO}, 9] 1 4096 {errno.EIO}\n"


def test_without_fuse_a_plan_of_more_than_bad_bytes_is_refused(image: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="only bad bytes"):
        shim_environment(Plan(bad=((0, 1),), bad_read_s=1), image, tmp_path)


def test_a_shim_without_its_file_ends_the_program(image: Path, tmp_path: Path) -> None:
    environment = shim_environment(Plan(bad=((0, 1),)), image, tmp_path)
    image.unlink()
    assert subprocess.run(["true"], env=os.environ | environment).returncode == 99


def test_a_sector_that_fails_twice_is_read_at_the_third_time(image: Path, tmp_path: Path) -> None:
    plan = Plan(heals=((10 * SECTOR, 14 * SECTOR, 2), (SIZE - SECTOR, SIZE, 1)), sector_bytes=SECTOR)
    with faulty_source(image, plan, tmp_path / "source") as source:
        rescued(source.path)
        assert parse_mapfile((tmp_path / "map").read_text(), "map").unread == ((10 * SECTOR, 14 * SECTOR),)
        rescued(source.path, "-r1")
        counters = source.counters()
    assert (tmp_path / "out").read_bytes() == image.read_bytes()
    assert (counters.read_once, counters.read_twice, counters.bad_reads) == (((0, SIZE),), (), 2 + 4)


def test_bad_reads_take_time_on_the_plans_own_clock_only(image: Path, tmp_path: Path) -> None:
    started = time.monotonic()
    with faulty_source(image, Plan(bad=((0, 50 * SECTOR),), bad_read_s=10), tmp_path / "source") as source:
        rescued(source.path)
        counters = source.counters()
    assert counters.clock_s == 10 * counters.bad_reads >= 500
    assert time.monotonic() - started < 100


def test_a_medium_that_goes_after_so_many_bytes_comes_back_and_is_read_on(image: Path, tmp_path: Path) -> None:
    with faulty_source(image, Plan(vanish_after_bytes=5 * CLUSTER), tmp_path / "source") as source:
        argv = ["ddrescue", "-q", "-X0", source.path, tmp_path / "out", tmp_path / "map"]
        assert subprocess.run(argv, check=False).returncode == 1
        counters = source.counters()
        assert (counters.is_gone, counters.bytes_read, counters.bad_reads) == (True, 5 * CLUSTER, 0)
        assert counters.gone_reads >= 1
        with pytest.raises(OSError, match="Input/output error"):
            source.path.open("rb")
        source.command("return")
        rescued(source.path, "-A")
        counters = source.counters()
    assert (tmp_path / "out").read_bytes() == image.read_bytes()
    assert (counters.is_gone, counters.read_once, counters.read_twice) == (False, ((0, SIZE),), ())


@pytest.mark.parametrize("gone", ["EIO", "ENXIO", "ENODEV", "ENOMEDIUM", "removed"])
def test_a_medium_that_went_gives_the_planned_error(image: Path, tmp_path: Path, gone: str) -> None:
    with faulty_source(image, Plan(vanish_at=9000, gone=gone), tmp_path / "source") as source:
        fd = os.open(source.path, os.O_RDONLY)
        assert os.pread(fd, 9000, 0) == image.read_bytes()[:9000]
        for at in (9000, 0):
            with pytest.raises(OSError) as failed:
                os.pread(fd, 1, at)
            assert failed.value.errno == getattr(errno, "ENODEV" if gone == "removed" else gone)
        with pytest.raises(OSError) as failed:
            os.open(source.path, os.O_RDONLY)
        assert failed.value.errno == getattr(errno, "ENOENT" if gone == "removed" else gone)
        assert source.path.exists() == (gone != "removed")
        source.command("return")
        assert os.pread(fd, 10, 8995) == image.read_bytes()[8995:9005], "it goes only once"
        os.close(fd)


def test_a_medium_can_hang_until_it_is_commanded_to_return(image: Path, tmp_path: Path) -> None:
    plan = Plan(gone="hang")
    with ThreadPoolExecutor(2) as readers, faulty_source(image, plan, tmp_path / "source") as source:
        fd = os.open(source.path, os.O_RDONLY)
        source.command("vanish")
        hanging = readers.submit(os.pread, fd, 10, 0), readers.submit(os.open, source.path, os.O_RDONLY)
        source.wait_for("waiting", 2)
        assert not any(future.done() for future in hanging)
        source.command("return")
        assert [getattr(future.exception(), "errno", None) for future in hanging] == [errno.EIO, errno.EIO]
        assert os.pread(fd, 10, 0) == image.read_bytes()[:10]
        os.close(fd)


def test_nothing_hangs_when_a_test_ends_on_a_hanging_medium(image: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as readers:
        with faulty_source(image, Plan(vanish_at=0, gone="hang"), tmp_path / "source") as source:
            hanging = readers.submit(source.path.read_bytes)
            source.wait_for("waiting", 1)
        assert isinstance(hanging.exception(), OSError)
    assert not (tmp_path / "source" / "mount").is_mount()


def test_a_reader_that_is_killed_can_leave_a_hanging_medium(image: Path, tmp_path: Path) -> None:
    plan = Plan(vanish_at=0, gone="hang_until_killed")
    with faulty_source(image, plan, tmp_path / "source") as source, subprocess.Popen(["cat", source.path]) as reader:
        source.wait_for("waiting", 1)
        reader.kill()
        assert reader.wait(30) == -9


def test_a_read_that_is_read_again_is_counted(image: Path, tmp_path: Path) -> None:
    with faulty_source(image, Plan(), tmp_path / "source") as source, source.path.open("rb", buffering=0) as opened:
        for at, size in ((0, 4096), (2048, 1024), (8192, 4096), (12000, 500), (SIZE - 10, 100)):
            os.pread(opened.fileno(), size, at)
        counters = source.counters()
        assert [read.outcome for read in source.reads()] == ["read"] * 5
    assert counters.read_twice == ((2048, 3072), (12000, 12288))
    assert counters.read_once == ((0, 4096), (8192, 12500), (SIZE - 10, SIZE))
    assert (counters.opens, counters.reads) == (1, 5)


def test_bandwidth_is_limited_in_real_time(image: Path, tmp_path: Path) -> None:
    with faulty_source(image, Plan(bytes_per_s=1_000_000), tmp_path / "source") as source:
        started = time.monotonic()
        rescued(source.path, "-s500000")
        assert time.monotonic() - started >= 0.5


def test_waiting_for_what_does_not_come_ends(image: Path, tmp_path: Path) -> None:
    with faulty_source(image, Plan(), tmp_path / "source") as source, pytest.raises(TimeoutError, match="bytes_read"):
        source.wait_for("bytes_read", 1, timeout_s=0.05)


def test_ddrescue_reads_nothing_outside_of_its_domain(image: Path, tmp_path: Path) -> None:
    wanted = ((0, SECTOR), (100 * SECTOR, 103 * SECTOR), (599 * SECTOR, SIZE))
    (tmp_path / "domain").write_text(domain_text(wanted, SIZE))
    with faulty_source(image, Plan(bad=((101 * SECTOR, 102 * SECTOR),)), tmp_path / "source") as source:
        rescued(source.path, "-r1", "-m", tmp_path / "domain")
        counters, reads = source.counters(), source.reads()
    assert counters.read_once == difference(wanted, ((101 * SECTOR, 102 * SECTOR),))
    assert difference(normalised((read.offset, read.offset + read.size) for read in reads), wanted) == ()
