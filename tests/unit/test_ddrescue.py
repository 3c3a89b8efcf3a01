"""ddrescue's arguments are taken by the real program; what it shows is understood in whatever pieces it comes."""

from __future__ import annotations

import os
import random
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from faulty_source import Plan, faulty_source
from hypothesis import given
from hypothesis import strategies as st

from ntt.tools.ddrescue import MINIMUM_VERSION, Flags, Status, StatusScreen, rescue_argv, version_of
from ntt.tools.mapfile import domain_text, parse_mapfile

UP = b"\r" + b"\x1b[A" * 6
MANUAL = b"""GNU ddrescue 1.27
Press Ctrl-C to interrupt
Initial status (read from mapfile)
rescued: 1665 MB, tried: 0 B, bad-sector: 0 B, bad areas: 0

Current status
     ipos:    2874 MB, non-trimmed:      512 B,  current rate:  21479 kB/s
     opos:    2874 MB, non-scraped:     1024 B,  average rate:  21023 kB/s
non-tried:   13603 MB,  bad-sector:     2048 B,    error rate:       0 B/s
  rescued:    2401 MB,   bad areas:        3,        run time:         35s
pct rescued:   15.00%, read errors:        7,  remaining time:     1h 10m
 slow reads:        5,        time since last successful read:          0s
Copying non-tried blocks... Pass 1 (forwards)"""
FROM_MANUAL = Status(
    position=2_874_000_000,
    rescued_bytes=2_401_000_000,
    bad_bytes=2048,
    non_trimmed_bytes=512,
    read_errors=7,
    bad_areas=3,
    rate_per_s=21_479_000,
    average_per_s=21_023_000,
    remaining_s=4200,
    since_success_s=0,
    phase="Copying non-tried blocks... Pass 1 (forwards)",
    non_tried_bytes=13_603_000_000,
    non_scraped_bytes=1024,
)


def all_of(pieces: list[bytes]) -> list[Status]:
    screen = StatusScreen()
    return [status for piece in pieces if (status := screen.feed(piece)) is not None]


def test_the_screen_of_the_manual_is_understood() -> None:
    assert all_of([MANUAL]) == [FROM_MANUAL]


@pytest.mark.parametrize("version", ["1.22", "1.23", "1.24", "1.25", "1.26", "1.27", "1.28", "1.29"])
def test_the_screens_of_other_versions_are_those_of_the_manual(version: str) -> None:
    # before 1.25 there was no "Current status" line for fresh maps; the six lines are the same from 1.22 on
    fresh = MANUAL.replace(b"1.27", version.encode()).replace(b"Current status\n", b"")
    assert all_of([fresh]) == [FROM_MANUAL]


def test_binary_prefixes_and_long_times_are_understood() -> None:
    text = MANUAL.replace(b"2874 MB", b" 2874 MiB").replace(b"21479 kB/s", b"3 GiB/s").replace(b"1h 10m", b"2d  3h")
    (status,) = all_of([text.replace(b"         0s", b"     1m  5s")])
    assert (status.position, status.rate_per_s) == (2874 << 20, 3 << 30)
    assert (status.remaining_s, status.since_success_s) == (51 * 3600, 65)


def test_what_ddrescue_cannot_say_is_none() -> None:
    (status,) = all_of([MANUAL.replace(b"         0s", b"        n/a").replace(b"    1h 10m", b"       n/a")])
    assert (status.remaining_s, status.since_success_s) == (None, None)


@pytest.mark.parametrize("end", [b"Finished", b"Interrupted by user", b"Timeout expired", b"Too many bad areas"])
def test_the_last_screen_says_how_it_ended(end: bytes) -> None:
    told = all_of([MANUAL, UP + MANUAL.split(b"Current status\n")[1], b"\r\n" + end + b"        \n"])
    assert [status.phase for status in told] == [FROM_MANUAL.phase] * 2 + [end.decode()]


@given(st.lists(st.integers(0, len(MANUAL) * 3), max_size=40), st.data())
def test_it_does_not_matter_where_the_pieces_are_cut(cuts: list[int], data: st.DataObject) -> None:
    lines = MANUAL.split(b"Current status\n")[1]
    whole = MANUAL + UP + lines.replace(b"2401 MB", b"2402 MB") + UP + lines.replace(b"Pass 1", b"Pass 2")
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    told = all_of([whole[start:end] for start, end in pairwise(edges)])
    assert told[-1].phase == "Copying non-tried blocks... Pass 2 (forwards)"
    assert {status.rescued_bytes for status in told} <= {2_401_000_000, 2_402_000_000}
    assert all(status.average_per_s == FROM_MANUAL.average_per_s for status in told)


@given(st.lists(st.one_of(st.binary(), st.sampled_from([MANUAL[:900], UP, b"rescued: ", b"ipos: 9_9 ZB,", b"\x1b["]))))
def test_no_output_makes_it_fail(pieces: list[bytes]) -> None:
    all_of(pieces)


def test_what_this_machines_ddrescue_shows_is_what_its_map_says(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(random.Random(1).randbytes(1_500_000))
    plan = Plan(bad=((4096, 8192), (1_000_448, 1_000_960)), bytes_per_s=1_000_000)
    screen, told = StatusScreen(), []
    with faulty_source(image, plan, tmp_path / "source") as source:
        argv = rescue_argv(source.path, tmp_path / "out", tmp_path / "map", Flags(retries=1), None)
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            while piece := os.read(child.stdout.fileno(), 4096):
                told += [status] if (status := screen.feed(piece)) is not None else []
        bad_reads = source.counters().bad_reads
    found = parse_mapfile((tmp_path / "map").read_text(), "map")
    assert len(told) >= 2
    assert told[-1].phase == "Finished"
    assert any(status.phase == "Copying non-tried blocks... Pass 1 (forwards)" for status in told[:-1])
    assert [status.rescued_bytes for status in told] == sorted(status.rescued_bytes for status in told)
    assert told[-1].rescued_bytes == 1_495_000, "rounded down to kB by ddrescue"
    assert (told[-1].bad_bytes, told[-1].bad_areas, told[-1].read_errors) == (4608, 2, bad_reads)
    assert found.ranges("-") == plan.bad
    assert 0 < told[-1].average_per_s < 1_500_000


FLAGS = [
    Flags(),
    Flags(sector_bytes=2048, cluster_sectors=1, copy_passes="1", trim=False, scrape=False),
    Flags(copy_passes="1-5", retries=3, reverse=True, direct=True, retrim=True, try_again=True),
    Flags(size_bytes=65536, skip_bytes="65536,131072", map_interval_s=0, sync_interval_s=1),
    Flags(map_interval_s=60, sync_interval_s=30),
]


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("with_domain", [False, True])
def test_the_real_program_takes_the_arguments(tmp_path: Path, flags: Flags, with_domain: bool) -> None:
    source, domain = tmp_path / "-source", tmp_path / "domain"
    source.write_bytes(b"s" * 65536)
    domain.write_text(domain_text(((0, 4096),), 65536))
    argv = rescue_argv(source, tmp_path / "out", tmp_path / "map", flags, domain if with_domain else None)
    ended = subprocess.run(argv, capture_output=True)
    assert (ended.returncode, ended.stderr) == (0, b"")
    found = parse_mapfile((tmp_path / "map").read_text(), "map")
    assert found.rescued == ((0, 4096 if with_domain else 65536),)


def test_each_flag_has_its_argument() -> None:
    def argv(flags: Flags, domain: Path | None = None, version: tuple[int, int] = (1, 27)) -> list[str]:
        return rescue_argv(Path("s"), Path("i"), Path("m"), flags, domain, version)

    plain = ["ddrescue", "-b512", "-r0", "--mapfile-interval=5,30", "--", "s", "i", "m"]
    assert argv(Flags()) == plain
    assert set(argv(FLAGS[1])) - set(plain) == {"-b2048", "-c1", "--cpass=1", "--no-trim", "-n"}
    assert set(argv(FLAGS[2], Path("d"))) - set(plain) == {"--cpass=1-5", "-r3", "-R", "-d", "-M", "-A", "-md"}
    assert set(argv(FLAGS[3])) - set(plain) == {"-s65536", "-K65536,131072", "--mapfile-interval=0,5"}
    assert "--mapfile-interval=60,60" in argv(FLAGS[4])


@pytest.mark.parametrize(
    ("passes", "options"),
    [
        ("1", ["--cpass=1", "--no-sweep"]),
        ("1-5", ["--cpass=1,2,3,4"]),
        ("2,4-5", ["--cpass=2,4"]),
        ("0", ["--cpass=0", "--no-sweep"]),
    ],
)
def test_from_1_30_on_the_fifth_pass_is_the_sweeping_phase(passes: str, options: list[str]) -> None:
    argv = rescue_argv(Path("s"), Path("i"), Path("m"), Flags(copy_passes=passes, trim=False), None, (1, 30))
    assert argv[2 : 2 + len(options)] == options
    assert "--no-trim" in argv
    assert "-N" not in argv, "which would mean something else"


@pytest.mark.parametrize("passes", ["6", "", "1-", "x", "0-9"])
def test_a_pass_that_does_not_exist_is_refused(passes: str) -> None:
    with pytest.raises(ValueError, match=r"pass|int"):
        rescue_argv(Path("s"), Path("i"), Path("m"), Flags(copy_passes=passes), None)


def test_the_version_of_this_machines_program_is_new_enough() -> None:
    told = subprocess.run(["ddrescue", "--version"], capture_output=True, text=True, check=True).stdout
    version = version_of(told)
    assert version is not None
    assert version >= MINIMUM_VERSION
    assert version_of("dd_rescue 1.99") is None
