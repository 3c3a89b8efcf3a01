"""A store or archive folder that fills up meanwhile -> one clear line, nothing lost; with space again it goes on."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from catalogue_state import broken_promises, number, pending, rows, state_of, unfinished_business, value
from fault_plan import Run, Strike
from ntt_runs import Machine
from rescued_media import RescueMedium

DISK_MIB = 128
LEFT_BYTES = 1 << 20
PROBLEMS_RECORDED = 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An ext4 file system of 128 MiB, mounted."""
    file, folder = tmp_path / "small disk.ext4", tmp_path / "small disk"
    with file.open("wb") as sparse:
        sparse.truncate(DISK_MIB << 20)
    folder.mkdir()
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-m", "0", file], check=True)
    subprocess.run(["mount", "-o", "loop", file, folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def filled(disk: Path) -> Run:
    """Takes all the space of a disk but 1 MiB."""
    script = 'fallocate -l $(( $(stat -f -c "%a * %S" "$1") - $2 )) "$1/ballast"'
    return Run(("sh", "-c", script, "sh", str(disk), str(LEFT_BYTES)))


def made_room(disk: Path) -> None:
    (disk / "ballast").unlink()


@pytest.mark.parametrize("moved", [False, True], ids=["space is freed", "store is moved to a larger disk"])
@pytest.mark.parametrize("kind", ["copy pwritev pack", "copy pwrite blob"])
def test_a_store_that_fills_up_loses_nothing(
    kind: str, moved: bool, small_disk: Path, tmp_path: Path, database_url: str, damaged: RescueMedium
) -> None:
    machine = Machine(tmp_path / "home", database_url, {"NTT_STORE": str(small_disk / "store")})
    ended = machine.ingest(damaged.image, Strike(kind, filled(small_disk)), map_path=damaged.map_path)
    assert "no space left on" in ended.failed_in_one_line()
    assert pending(database_url) > 0
    assert value(database_url, "SELECT copy_done FROM medium") is None
    assert value(database_url, "SELECT state FROM stage_run WHERE stage = 'copy'") == "failed"
    assert broken_promises(database_url, machine) == []
    assert machine.processes() == []
    if moved:
        larger = tmp_path / "larger disk"
        shutil.copytree(small_disk / "store", larger)
        machine = replace(machine, settings={"NTT_STORE": str(larger)})
    else:
        made_room(small_disk)
    again = machine.ingest(damaged.image, map_path=damaged.map_path)
    assert again.status == PROBLEMS_RECORDED, again.stderr
    assert state_of(database_url, damaged.image_hash).files == damaged.files
    assert broken_promises(database_url, machine) == []
    assert unfinished_business(database_url, machine, damaged) == []


def test_a_full_store_is_told_each_time_and_stays_whole(
    small_disk: Path, tmp_path: Path, database_url: str, damaged: RescueMedium
) -> None:
    machine = Machine(tmp_path / "home", database_url, {"NTT_STORE": str(small_disk / "store")})
    strike = Strike("copy pwritev pack", filled(small_disk), nth=2)
    assert machine.ingest(damaged.image, strike, map_path=damaged.map_path).status == 3
    again = machine.ingest(damaged.image, map_path=damaged.map_path)
    assert "bytes are free on" in again.failed_in_one_line()
    assert broken_promises(database_url, machine) == []


def test_an_archive_folder_that_fills_up_loses_nothing(
    small_disk: Path, tmp_path: Path, database_url: str, damaged: RescueMedium
) -> None:
    machine = Machine(tmp_path / "home", database_url, {"NTT_ARCHIVES": str(small_disk / "archives")})
    strike = Strike("bytes archived", filled(small_disk), nth=100_000)
    ended = machine.ingest(damaged.image, strike, map_path=damaged.map_path)
    assert "no space left" in ended.failed_in_one_line().lower()
    assert pending(database_url) == 0
    assert [tuple(row) for row in rows(database_url, "SELECT copy_done IS NULL, archive_done FROM medium")] == [
        (False, None)
    ]

    assert list(machine.archives.iterdir()) == []
    assert broken_promises(database_url, machine) == []
    made_room(small_disk)
    again = machine.ingest(damaged.image, map_path=damaged.map_path)
    assert again.status == PROBLEMS_RECORDED, again.stderr
    assert state_of(database_url, damaged.image_hash).stamps == (True, True, True)
    assert number(database_url, "SELECT count(*) FROM stage_run WHERE stage = 'copy'") == 1, "it was copied twice"
    assert broken_promises(database_url, machine) == []
