"""A worker that dies or hangs -> the outcome of the file in its hand; all others are copied."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalogue_state import broken_promises, leftovers, number, rows, state_of, unfinished_business, value
from fault_plan import Die, Hang, Strike, steps_of
from ntt_runs import Ended, Machine
from rescued_media import RescueMedium, ino_of

VICTIM = b"folder 0/00123.bin"
STALL_S = 2
ATTEMPTS = 2  # the default
READER_ALONE = {"NTT_ONLY_ROUTE": "tsk"}  # a mount would have its own attempts after it


@pytest.fixture
def machine(tmp_path: Path, database_url: str) -> Machine:
    return Machine(tmp_path / "home", database_url)


def all_but_the_victim_are_copied(url: str, medium: RescueMedium) -> None:
    found = state_of(url, medium.image_hash).files
    assert found.pop(VICTIM).status == "f"
    assert found == {path: file for path, file in medium.files.items() if path != VICTIM}


def times_taken_in_hand(ended: Ended, ino: int) -> int:
    return sum(step.kind == f"file {ino}" for step in steps_of(ended.counters))


def test_a_worker_killed_in_the_middle_of_a_batch_costs_nothing_but_a_second_try(
    machine: Machine, database_url: str, whole: RescueMedium
) -> None:
    ended = machine.ingest(whole.image, Strike("file", Die(), nth=100))
    assert ended.status == 0, ended.stderr
    assert state_of(database_url, whole.image_hash).files == whole.files
    tries = rows(database_url, "SELECT attempts, count(*) AS files FROM outcome GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in tries] == [(1, len(whole.files) - 1), (2, 1)]
    assert unfinished_business(database_url, machine, whole) == []


@pytest.mark.parametrize(
    "strike",
    [
        Strike("copy pwritev pack", Die(), phase="after"),
        Strike("copy fdatasync pack", Die(), phase="after"),
        Strike("bytes packed", Die(), nth=1_000_000),
    ],
    ids=str,
)
def test_a_worker_killed_while_it_stores_blames_no_file(
    strike: Strike, machine: Machine, database_url: str, damaged: RescueMedium
) -> None:
    ended = machine.ingest(damaged.image, strike, map_path=damaged.map_path)
    assert ended.status == 1, ended.stderr
    assert state_of(database_url, damaged.image_hash).files == damaged.files
    assert number(database_url, "SELECT max(attempts)::int FROM outcome") == 1
    assert broken_promises(database_url, machine) == []
    assert leftovers(machine) == []
    machine.ingest(damaged.image, map_path=damaged.map_path)  # cuts off what the dead worker had appended
    assert unfinished_business(database_url, machine, damaged) == []


@pytest.mark.parametrize("phase", ["before", "after"])
def test_a_worker_killed_in_the_middle_of_a_large_file_leaves_nothing_of_it(
    phase: str, machine: Machine, database_url: str, damaged: RescueMedium
) -> None:
    ended = machine.ingest(damaged.image, Strike("copy pwrite blob", Die(), 2, phase), map_path=damaged.map_path)
    assert ended.status == 1, ended.stderr
    assert state_of(database_url, damaged.image_hash).files == damaged.files
    assert number(database_url, "SELECT count(*) FROM outcome WHERE attempts > 1") == 1
    assert broken_promises(database_url, machine) == []
    assert unfinished_business(database_url, machine, damaged) == []


@pytest.mark.parametrize("attempts", [1, ATTEMPTS, 4])
def test_a_file_that_always_kills_its_worker_fails_by_name(
    attempts: int, tmp_path: Path, database_url: str, whole: RescueMedium
) -> None:
    machine = Machine(tmp_path / "home", database_url, {"NTT_ATTEMPTS": str(attempts), **READER_ALONE})
    ino = ino_of(whole.image, VICTIM)
    ended = machine.ingest(whole.image, Strike(f"file {ino}", Die(), nth=0))
    assert ended.status == 1, ended.stderr
    all_but_the_victim_are_copied(database_url, whole)
    assert times_taken_in_hand(ended, ino) == attempts
    ((tried, reason),) = rows(database_url, "SELECT attempts, reason FROM outcome WHERE ino = $1", ino)
    assert tried == attempts
    assert reason.startswith("worker_crashed")
    assert "signal 9" in reason
    ((checks, action),) = rows(database_url, "SELECT checks, action FROM diagnostic_event WHERE ino = $1", ino)
    assert "worker_crashed" in checks
    assert action == "max_retries"
    assert number(database_url, "SELECT count(*) FROM diagnostic_event") == 1
    assert unfinished_business(database_url, machine, whole) == []


def test_a_file_that_hangs_its_worker_is_given_up_by_name(
    tmp_path: Path, database_url: str, whole: RescueMedium
) -> None:
    machine = Machine(tmp_path / "home", database_url, {"NTT_STALL_S": str(STALL_S), **READER_ALONE})
    ino = ino_of(whole.image, VICTIM)
    ended = machine.ingest(whole.image, Strike(f"file {ino}", Hang(), nth=0))
    assert ended.status == 1, ended.stderr
    all_but_the_victim_are_copied(database_url, whole)
    assert times_taken_in_hand(ended, ino) == ATTEMPTS
    ((tried, reason),) = rows(database_url, "SELECT attempts, reason FROM outcome WHERE ino = $1", ino)
    assert tried == ATTEMPTS
    assert reason.startswith("worker_timeout")
    assert "worker_timeout" in str(value(database_url, "SELECT checks FROM diagnostic_event WHERE ino = $1", ino))
    assert unfinished_business(database_url, machine, whole) == []


def test_a_failed_file_is_not_tried_again_by_itself(machine: Machine, database_url: str, whole: RescueMedium) -> None:
    ino = ino_of(whole.image, VICTIM)
    strike = Strike(f"file {ino}", Die(), nth=0)
    assert machine.ingest(whole.image, strike).status == 1
    again = machine.ingest(whole.image, strike)
    assert again.status == 1, again.stderr
    assert times_taken_in_hand(again, ino) == 0
    all_but_the_victim_are_copied(database_url, whole)


def test_workers_that_all_die_end_the_medium_in_one_line(
    machine: Machine, database_url: str, whole: RescueMedium
) -> None:
    ended = machine.ingest(whole.image, Strike("file", Die(), nth=0))
    assert "in a row died" in ended.failed_in_one_line()
    assert value(database_url, "SELECT copy_done FROM medium") is None
    assert broken_promises(database_url, machine) == []
    again = machine.ingest(whole.image)
    assert again.status in (0, 1), again.stderr
    assert unfinished_business(database_url, machine, whole) == []
    found = state_of(database_url, whole.image_hash).files
    assert {path: file for path, file in found.items() if file.status == "c"}.items() <= whole.files.items()


@pytest.mark.parametrize("strike", [Strike("walk pread", Die(), nth=n) for n in (1, 10, 25)], ids=str)
def test_a_walk_whose_worker_is_killed_once_is_done_again_from_its_beginning(
    strike: Strike, machine: Machine, database_url: str, whole: RescueMedium
) -> None:
    ended = machine.ingest(whole.image, strike)
    assert ended.status == 0, ended.stderr
    assert state_of(database_url, whole.image_hash).files == whole.files
    assert unfinished_business(database_url, machine, whole) == []


def test_an_image_that_no_walk_survives_ends_in_a_finding_and_is_archived(
    machine: Machine, database_url: str, whole: RescueMedium
) -> None:
    ended = machine.ingest(whole.image, Strike("walk pread", Die(), nth=0))
    assert ended.status == 1, ended.stderr
    finding = str(value(database_url, "SELECT finding FROM volume"))
    assert "looking at the image ended the process that did it: a worker ended with signal" in finding
    assert number(database_url, "SELECT count(*) FROM node") == 0
    assert value(database_url, "SELECT archive_done FROM medium") is not None
    again = machine.ingest(whole.image, options=("--replace",))
    assert again.status == 0, again.stderr
    assert state_of(database_url, whole.image_hash).files == whole.files


def test_a_walk_that_hangs_is_ended_recorded_and_not_tried_again(
    tmp_path: Path, database_url: str, whole: RescueMedium
) -> None:
    machine = Machine(tmp_path / "home", database_url, {"NTT_STALL_S": str(STALL_S)})
    ended = machine.ingest(whole.image, Strike("walk pread", Hang(), nth=20))
    assert ended.status == 1, ended.stderr
    assert f"no progress for {STALL_S} s" in str(value(database_url, "SELECT string_agg(detail, ' ') FROM finding"))
    assert number(database_url, "SELECT count(*) FROM stage_run WHERE stage = 'enumerate'") == 1
    assert machine.processes() == []
