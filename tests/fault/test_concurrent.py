"""Two programs at once -> one works on a medium, both may fill one store; nothing is stored or listed twice."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import msgspec
import pytest
from catalogue_state import broken_promises, number, pending, rows, state_of, store_state, unfinished_business
from fault_plan import Run, Strike
from ntt_runs import Machine
from rescued_media import RescueMedium, many_files_medium

FILES = 3_000


@pytest.fixture
def machine(tmp_path: Path, database_url: str) -> Machine:
    return Machine(tmp_path / "home", database_url)


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[RescueMedium, RescueMedium]:
    """Two media that hold the same 3,000 contents, and one file of their own each."""
    folder = tmp_path_factory.mktemp("twins")
    return (
        many_files_medium(folder, FILES, 2_000, seed=11),
        many_files_medium(folder, FILES, 2_000, seed=12, doubles_of=11),
    )


class Other(msgspec.Struct):
    """What a second program came to that ran from beginning to end while the first stood still."""

    status: int
    stdout: str
    stderr: str


def other_run(machine: Machine, image: Path, folder: Path) -> Run:
    """A whole second run, as something that happens at a step of the first."""
    words = " ".join(shlex.quote(word) for word in machine.command(image))
    return Run(("sh", "-c", f'{words} >"$1/out" 2>"$1/err"; echo $? >"$1/status"', "sh", str(folder)))


def other(folder: Path) -> Other:
    return Other(int((folder / "status").read_text()), (folder / "out").read_text(), (folder / "err").read_text())


def test_the_second_is_told_who_works_on_the_medium(
    machine: Machine, database_url: str, whole: RescueMedium, tmp_path: Path
) -> None:
    ended = machine.ingest(whole.image, Strike("file", other_run(machine, whole.image, tmp_path), nth=20))
    assert ended.status == 0, ended.stderr
    second = other(tmp_path)
    assert second.status == 3, second.stderr
    assert "Traceback" not in second.stderr
    assert re.search(rf"is worked on by ntt [0-9a-f]+ pid {ended.pid} on ", second.stderr), second.stderr
    assert state_of(database_url, whole.image_hash).files == whole.files
    assert number(database_url, "SELECT count(*) FROM stage_run WHERE stage = 'copy'") == 1
    assert unfinished_business(database_url, machine, whole) == []


def test_the_slower_of_two_finds_the_medium_known(
    machine: Machine, database_url: str, whole: RescueMedium, tmp_path: Path
) -> None:
    ended = machine.ingest(whole.image, Strike("bytes hashed", other_run(machine, whole.image, tmp_path)))
    assert other(tmp_path).status == 0, other(tmp_path).stderr
    assert ended.status == 0, ended.stderr
    (report,) = msgspec.json.decode(ended.stdout)["media"]
    assert (report["recognition"], report["changed"]) == ("known", False)
    assert number(database_url, "SELECT count(*) FROM medium") == 1
    assert state_of(database_url, whole.image_hash).files == whole.files
    assert unfinished_business(database_url, machine, whole) == []


def test_of_two_started_at_once_one_at_least_completes(
    machine: Machine, database_url: str, damaged: RescueMedium
) -> None:
    with (
        machine.started(damaged.image, map_path=damaged.map_path) as first,
        machine.started(damaged.image, map_path=damaged.map_path) as second,
    ):
        both = [first.ended(), second.ended()]
    assert any(ended.status == 1 for ended in both), [ended.stderr for ended in both]
    for ended in both:
        if ended.status != 1:
            assert "is worked on by" in ended.failed_in_one_line()
    assert number(database_url, "SELECT count(*) FROM medium") == 1
    assert state_of(database_url, damaged.image_hash).files == damaged.files
    assert broken_promises(database_url, machine) == []
    assert unfinished_business(database_url, machine, damaged) == []


def test_two_media_with_the_same_files_at_once_end_with_one_row_each_and_count_their_waste(
    machine: Machine, database_url: str, twins: tuple[RescueMedium, RescueMedium]
) -> None:
    with machine.started(twins[0].image) as first, machine.started(twins[1].image) as second:
        both = [first.ended(), second.ended()]
    assert [ended.status for ended in both] == [0, 0], [ended.stderr for ended in both]
    both_are_whole(machine, database_url, twins)
    counted = rows(database_url, "SELECT sum((counts->>'wasted')::int) FROM stage_run WHERE stage = 'copy'")
    assert counted[0][0] == store_state(database_url, machine.store)[0].wasted


def test_the_workers_of_one_run_store_nothing_twice(
    tmp_path: Path, database_url: str, twins: tuple[RescueMedium, RescueMedium]
) -> None:
    machine = Machine(tmp_path / "home", database_url, {"NTT_WORKERS": "4"})
    for medium in twins:
        ended = machine.ingest(medium.image)
        assert ended.status == 0, ended.stderr
    both_are_whole(machine, database_url, twins)
    assert store_state(database_url, machine.store)[0].wasted == 0


def test_what_is_stored_twice_at_worst_is_counted_as_waste(
    machine: Machine, database_url: str, twins: tuple[RescueMedium, RescueMedium], tmp_path: Path
) -> None:
    strike = Strike("copy pwritev pack", other_run(machine, twins[1].image, tmp_path))
    ended = machine.ingest(twins[0].image, strike)
    assert other(tmp_path).status == 0, other(tmp_path).stderr
    assert ended.status == 0, ended.stderr
    both_are_whole(machine, database_url, twins)
    counted = rows(database_url, "SELECT sum((counts->>'wasted')::int) FROM stage_run WHERE stage = 'copy'")
    assert counted[0][0] == store_state(database_url, machine.store)[0].wasted > 0


def both_are_whole(machine: Machine, url: str, twins: tuple[RescueMedium, RescueMedium]) -> None:
    """Every content is stored under one row, and both media refer to all of theirs."""
    assert pending(url) == 0
    for medium in twins:
        assert state_of(url, medium.image_hash).files == medium.files
        assert unfinished_business(url, machine, medium) == []
    assert broken_promises(url, machine) == []
    assert number(url, "SELECT count(*) FROM blob") == FILES + 2
