"""The benchmark on tiny images: every figure is there and nothing is left behind, whatever the figures are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from bench.record import Imaging, Report, What, quartiles
from bench.table import page
from bench.targets import verdicts

ROOT = Path(__file__).resolve().parents[2]
NTT = {What.COPY_STAGE, What.IDENTIFY_STAGE, What.ENUMERATE_STAGE, What.ARCHIVE_STAGE, What.INGEST, What.FIRST_INGEST}
SMALL_FILES = {What.LIST_AND_COPY, What.MOUNT_CP, What.MOUNT_CP_SYNC}
FILE_SYSTEMS = {"ext4", "fat32", "ntfs", "iso9660"}
SOURCES = ("cd", "usb2", "unlimited")
PID_FILE = "home/postgres/data/postmaster.pid"
NEEDS = {"restic": "restic", "borg": "borg create"}


def bench(cache: Path, *options: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "bench", "--quick", "--results", str(cache / "results"), *options]
    env = {**os.environ, "NTT_BENCH_CACHE": str(cache)}
    return subprocess.Popen(argv, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def attached_below(folder: Path) -> list[str]:
    """The files in a folder that some loop device has open."""
    found: list[str] = []
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            found.append(backing.read_text().strip())
        except OSError:
            continue  # detached meanwhile
    return [name for name in found if name.startswith(str(folder))]


def mount_namespace(pid: int | str) -> str:
    """Empty when there is no such process any more, or none that we may look at."""
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return ""


def processes_left(folder: Path, namespace: str) -> list[str]:
    """Command lines of the processes that work in a folder, or see mounts that we do not see."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            inside = (process / "cwd").readlink().is_relative_to(folder)
            if inside or mount_namespace(process.name) == namespace != mount_namespace("self"):
                found.append((process / "cmdline").read_text())
        except OSError:
            continue  # ended meanwhile
    return found


def wait_for_a_server(process: subprocess.Popen[str], cache: Path) -> None:
    """Until an embedded PostgreSQL runs below one of the benchmark's mounts or folders."""
    mounts = Path(f"/proc/{process.pid}/root{tempfile.gettempdir()}")
    while not any(mounts.glob(f"ntt-bench-*/*/{PID_FILE}")) and not any(cache.glob(f"work/*/{PID_FILE}")):
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            raise AssertionError("it has ended by itself")


def expected_figures(report: Report) -> set[What]:
    """All of them as root; what needs a program that is not installed is named as left out."""
    if os.geteuid() != 0:
        assert any("mounting needs root" in sentence for sentence in report.left_out)
        return NTT
    missing = {name for name in NEEDS if any(name in sentence for sentence in report.left_out)}
    return {what for what in What if not any(NEEDS[name] in what for name in missing)} - SMALL_FILES


@pytest.mark.slow
def test_a_quick_run_fills_every_figure_of_the_table(tmp_path: Path) -> None:
    process = bench(tmp_path, *(word for name in ("A", "C", *FILE_SYSTEMS) for word in ("--image", name)))
    printed, said = process.communicate()
    assert process.returncode == 0, said
    (figures,) = (tmp_path / "results").glob("*.json")
    report = msgspec.json.decode(figures.read_bytes(), type=Report)
    assert printed == page(report)
    measured = {series.what for series in report.series if series.image == "A" and min(series.seconds) > 0}
    assert measured == expected_figures(report)
    assert all(memory.rss_bytes > 20_000_000 and memory.samples > 5 for memory in report.memory)
    assert {size.image for size in report.catalogue} == {memory.image for memory in report.memory} == {"A", "C"}
    assert all(size.full_bytes > size.empty_bytes for size in report.catalogue)
    left_open = [verdict.target for verdict in verdicts(report) if verdict.reached is None]
    mounted = FILE_SYSTEMS if os.geteuid() == 0 else set()
    for fstype in mounted - {sentence.split(":")[0] for sentence in report.left_out}:
        assert {series.what for series in report.series if series.image == fstype} == SMALL_FILES, fstype
    if not report.left_out:
        assert all(target.startswith("B: ") for target in left_open), left_open


@pytest.mark.slow
def test_imaging_is_measured_in_pairs_over_slow_sources_and_an_unlimited_one(tmp_path: Path) -> None:
    process = bench(tmp_path, "--part", "imaging", "--repeat", "2", *(w for name in SOURCES for w in ("--image", name)))
    printed, said = process.communicate()
    assert process.returncode == 0, said
    (figures,) = (tmp_path / "results").glob("*.json")
    report = msgspec.json.decode(figures.read_bytes(), type=Report)
    assert (printed, report.left_out) == (page(report), ())
    assert tuple(one.source for one in report.imaging) == SOURCES
    for one in report.imaging:
        assert len(one.ntt) == len(one.ddrescue) == len(one.ddrescue_b3sum) == len(one.load) == 2
        assert all(0 < plain < hashed for plain, hashed in zip(one.ddrescue, one.ddrescue_b3sum, strict=True))
        if one.bytes_per_s:  # a third is slack: what the source is asked beforehand stays in memory
            assert min(one.ntt + one.ddrescue) > 2 / 3 * one.size_bytes / one.bytes_per_s
        assert any(verdict.target.startswith(f"{one.source}: ") for verdict in verdicts(report))
    assert all(target.reached is not None for target in verdicts(report) if "ddrescue" in target.target)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ["", "", ".img"]  # figures, the lock and the bytes


@pytest.mark.slow
def test_names_and_contents_are_looked_for_in_a_generated_catalogue(tmp_path: Path) -> None:
    process = bench(tmp_path, "--part", "where", "--image", "catalogue")
    printed, said = process.communicate()
    assert process.returncode == 0, said
    (figures,) = (tmp_path / "results").glob("*.json")
    report = msgspec.json.decode(figures.read_bytes(), type=Report)
    (one,) = report.finding
    assert printed == page(report)
    assert (one.media, one.paths) == (20, 20 * (1_000 + 101))
    assert {index.name for index in one.indexes} == {"name_text", "outcome_blob"}
    assert all(min(lookup.seconds) > 0 for lookup in one.lookups)
    nowhere = [lookup.what for lookup in one.lookups if "nowhere" in lookup.what]
    assert [lookup.what for lookup in one.lookups if not lookup.found] == nowhere
    judged = [verdict for verdict in verdicts(report) if "`ntt where`" in verdict.target]
    assert len(judged) == sum(lookup.indexed for lookup in one.lookups) > 3
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ["", ""]  # figures and the lock


def test_what_counts_is_the_median_of_the_pairs_and_not_the_pair_of_the_medians() -> None:
    one = Imaging(
        source="cd", size_bytes=1, bytes_per_s=1, ntt=(1.0, 2.2, 3.0), ddrescue=(1.0, 2.0, 4.0),
        ddrescue_b3sum=(2.0, 4.4, 6.0), load=(0.0, 0.0, 0.0),
    )  # fmt: skip
    assert (one.overheads, one.overheads_hashed) == ((1.0, 1.1, 0.75), (0.5, 0.5, 0.5))
    assert quartiles(one.overheads) == (0.875, 1.0, 1.05)
    assert quartiles((3.0,)) == (3.0, 3.0, 3.0)


@pytest.mark.slow
def test_an_interrupted_run_leaves_no_mount_no_loop_device_and_no_process(tmp_path: Path) -> None:
    process = bench(tmp_path, "--image", "A", "--part", "ntt", "--part", "pipeline")
    assert process.stderr is not None
    for line in process.stderr:
        if What.INGEST in line:  # the next run is under way
            break
    wait_for_a_server(process, tmp_path)
    namespace = mount_namespace(process.pid)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert (process.returncode, "nothing is left" in said) == (130, True), said
    assert attached_below(tmp_path) == []
    assert processes_left(tmp_path, namespace) == []
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ["", ".img"]  # the lock and the image
