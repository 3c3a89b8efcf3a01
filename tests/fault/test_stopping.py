"""One signal asks, two cancel, and an image that changes is not trusted: nothing is lost, left or stamped too early."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import msgspec
import pytest
from catalogue_state import broken_promises, leftovers, number, pending, rows, state_of, unfinished_business, value
from fault_plan import Run, Send, Strike, steps_of
from ntt_runs import Machine
from rescued_media import ExpectedFile, RescueMedium

INTERRUPTED = 130
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture
def machine(tmp_path: Path, database_url: str) -> Machine:
    return Machine(tmp_path / "home", database_url, {"NTT_WORKERS": "1"})


def nothing_is_left(machine: Machine, url: str) -> None:
    assert machine.processes() == []
    assert leftovers(machine) == []
    assert broken_promises(url, machine) == []
    assert number(url, "SELECT count(*) FROM stage_run WHERE state = 'running'") == 0


def the_rest_is_done(machine: Machine, url: str, medium: RescueMedium) -> None:
    """The next run takes exactly what is pending in hand, and completes."""
    left = pending(url)
    again = machine.ingest(medium.image)
    assert again.status == 0, again.stderr
    assert sum(step.kind == "file" for step in steps_of(again.counters)) == left
    (report,) = msgspec.json.decode(again.stdout)["media"]
    assert report["stored"] + report["known"] == left
    assert state_of(url, medium.image_hash).files == medium.files
    assert unfinished_business(url, machine, medium) == []


@pytest.mark.parametrize("asked_by", SIGNALS, ids=str)
def test_asked_once_the_files_in_hand_are_finished(
    asked_by: signal.Signals, machine: Machine, database_url: str, long: RescueMedium
) -> None:
    ended = machine.ingest(long.image, Strike("file", Send(asked_by), nth=10))
    assert "run the same command again" in ended.failed_in_one_line(INTERRUPTED)
    assert 10 <= number(database_url, "SELECT count(*) FROM outcome") < len(long.files)
    assert value(database_url, "SELECT state FROM stage_run WHERE stage = 'copy'") == "interrupted"
    assert value(database_url, "SELECT copy_done FROM medium") is None
    taken = sum(step.kind == "file" for step in steps_of(ended.counters))
    assert number(database_url, "SELECT count(*) FROM outcome") == taken, "a file in hand was not finished"
    nothing_is_left(machine, database_url)
    the_rest_is_done(machine, database_url, long)


@pytest.mark.parametrize("asked_by", SIGNALS, ids=str)
def test_asked_twice_it_ends_at_once_though_a_worker_hangs(
    asked_by: signal.Signals, machine: Machine, database_url: str, long: RescueMedium
) -> None:
    with machine.started(long.image, Strike("file", Send(asked_by, hang=True), nth=1_500)) as run:
        run.wait_for_line("finishing the files in hand")
        run.send(asked_by)
        ended = run.ended()
    assert "run the same command again" in ended.failed_in_one_line(INTERRUPTED)
    assert value(database_url, "SELECT state FROM stage_run WHERE stage = 'copy'") == "cancelled"
    assert pending(database_url) > 0
    nothing_is_left(machine, database_url)
    the_rest_is_done(machine, database_url, long)


def test_asked_twice_in_a_large_file_it_leaves_no_half_file(
    machine: Machine, database_url: str, damaged: RescueMedium
) -> None:
    strike = Strike("bytes of large blobs", Send(signal.SIGINT, hang=True), nth=1_500_000)
    with machine.started(damaged.image, strike, map_path=damaged.map_path) as run:
        run.wait_for_line("finishing the files in hand")
        run.send(signal.SIGINT)
        ended = run.ended()
    assert "run the same command again" in ended.failed_in_one_line(INTERRUPTED)
    nothing_is_left(machine, database_url)
    again = machine.ingest(damaged.image, map_path=damaged.map_path)
    assert again.status == 1, again.stderr
    assert state_of(database_url, damaged.image_hash).files == damaged.files
    assert unfinished_business(database_url, machine, damaged) == []


ELSEWHERE = (
    Strike("bytes hashed", Send(signal.SIGINT), nth=5_000_000),
    Strike("walk pread", Send(signal.SIGINT), nth=5),
    Strike("sql COPY node", Send(signal.SIGINT), phase="during"),
)


@pytest.mark.parametrize("strike", ELSEWHERE, ids=str)
def test_asked_outside_of_copying_it_ends_as_soon(
    strike: Strike, machine: Machine, database_url: str, long: RescueMedium
) -> None:
    ended = machine.ingest(long.image, strike)
    assert "run the same command again" in ended.failed_in_one_line(INTERRUPTED)
    nothing_is_left(machine, database_url)
    the_rest_is_done_from_anywhere(machine, database_url, long)


def test_asked_while_it_archives_it_leaves_no_half_archive(
    machine: Machine, database_url: str, long: RescueMedium
) -> None:
    ended = machine.ingest(long.image, Strike("bytes archived", Send(signal.SIGINT, hang=True), nth=5_000_000))
    assert "run the same command again" in ended.failed_in_one_line(INTERRUPTED)
    assert list(machine.archives.iterdir()) == []
    assert value(database_url, "SELECT state FROM stage_run WHERE stage = 'archive'") == "interrupted"
    nothing_is_left(machine, database_url)
    the_rest_is_done_from_anywhere(machine, database_url, long)


def test_asked_while_the_archive_is_read_back_it_is_proven_or_not_stamped(
    machine: Machine, database_url: str, long: RescueMedium
) -> None:
    ended = machine.ingest(long.image, Strike("ntt start zstd --decompress", Send(signal.SIGINT), phase="after"))
    assert ended.status in (0, INTERRUPTED), ended.stderr
    stamped = value(database_url, "SELECT archive_done FROM medium") is not None
    assert stamped == (ended.status == 0)
    nothing_is_left(machine, database_url)
    the_rest_is_done_from_anywhere(machine, database_url, long)


def the_rest_is_done_from_anywhere(machine: Machine, url: str, medium: RescueMedium) -> None:
    again = machine.ingest(medium.image)
    assert again.status == 0, again.stderr
    assert state_of(url, medium.image_hash).files == medium.files
    assert state_of(url, medium.image_hash).stamps == (True, True, True)
    assert unfinished_business(url, machine, medium) == []


# ---------------------------------------------------------------- the image changes meanwhile

INSTANTS = {
    "hashed": ("bytes hashed", 5_000_000),
    "listed": ("walk pread", 5),
    "copied": ("file", 50),
    "archived": ("bytes archived", 5_000_000),
}
CHANGES = {
    "longer": ("truncate", "-s", "+4096"),
    "shorter": ("truncate", "-s", "2M"),
    "other": ("dd", "if=/dev/zero", "bs=1M", "seek=2", "count=4", "conv=notrunc", "status=none"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("instant", INSTANTS)
def test_an_image_that_changes_while_it_is_read_is_not_trusted(
    instant: str, change: str, machine: Machine, database_url: str, whole: RescueMedium, tmp_path: Path
) -> None:
    image = tmp_path / "growing.img"
    shutil.copyfile(whole.image, image)
    argv = CHANGES[change]
    kind, nth = INSTANTS[instant]
    strike = Strike(kind, Run((*argv, f"of={image}") if argv[0] == "dd" else (*argv, str(image))), nth)
    complaint = machine.ingest(image, strike).failed_in_one_line()
    assert any(word in complaint for word in ("changed", "became shorter", "shrank")), complaint
    clean = {path: file for path, file in _recorded(database_url, whole).items() if file.status == "c"}
    wrong = len(clean.items() - whole.files.items())
    assert wrong == 0, f"{wrong} contents of a changed image are recorded as clean copies"
    given = [
        row[0] for row in rows(database_url, "SELECT num_nonnulls(enum_done, copy_done, archive_done) FROM medium")
    ]
    stamps_before = list(INSTANTS).index(instant) - 1
    assert given == ([] if instant == "hashed" else [stamps_before]), "a stage was stamped on a changed image"
    assert not list(machine.archives.rglob("*"))
    nothing_is_left(machine, database_url)
    shutil.copyfile(whole.image, image)
    again = machine.ingest(image)
    assert again.status == 0, again.stderr
    assert state_of(database_url, whole.image_hash).files == whole.files


def _recorded(url: str, medium: RescueMedium) -> dict[bytes, ExpectedFile]:
    return dict(state_of(url, medium.image_hash).files) if rows(url, "SELECT 1 FROM medium") else {}
