"""A box of hostile media through one real `ntt ingest`: each ends with what is recorded of it, and nothing is left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import msgspec
import pytest
from blake3 import blake3
from catalogue_state import broken_promises, number, rows, settle, unfinished_business
from ntt_runs import Machine
from rescued_media import RescueMedium

TESTS = Path(__file__).parent.parent
BOX_LIMIT_S = 300
ONE_LIMIT_S = 60
CYCLES = {
    "ext2-directory_in_itself": "directory_cycle",
    "ext2-directory_holds_its_grandparent": "directory_cycle",
    "fat12-directory_in_itself": "directory_cycle",
    "fat12-directory_holds_its_grandparent": "directory_cycle",
    "fat12-directory_chain_that_is_a_ring": "directory_damaged",
}


class Result(msgspec.Struct):
    """Of `ntt ingest --json`, what is needed here."""

    media: list[msgspec.Raw]
    failures: list[dict[str, object]]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Images that someone built to do harm, by name; `hostile_all` says which."""
    folder = tmp_path_factory.mktemp("box")
    path = f"{TESTS}:{TESTS / 'integration'}:{TESTS.parent}"
    argv = [sys.executable, "-m", "hostile_all", str(folder), "box"]
    subprocess.run(argv, env={**os.environ, "PYTHONPATH": path}, check=True)
    return {image.stem: image for image in sorted((folder / "cases").glob("*.img"))}


@pytest.fixture
def machine(tmp_path: Path, database_url: str) -> Machine:
    return Machine(tmp_path / "home", database_url)


def ingested(machine: Machine, images: Sequence[Path], limit_s: float) -> tuple[int, Result]:
    """Exit status and report of one command for all of them, not archived."""
    argv = [sys.executable, "-m", "ntt", "ingest", *map(str, images), "--no-archive", "--json"]
    argv += ["--home", str(machine.home), "--database", str(machine.database_url)]
    started = monotonic()
    done = subprocess.run(argv, env=machine.environment(), capture_output=True, text=True, timeout=limit_s, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout, f"exit {done.returncode} after {monotonic() - started:.0f} s: {done.stderr}"
    return done.returncode, msgspec.json.decode(done.stdout, type=Result)


def medium_of(image: Path) -> RescueMedium:
    return RescueMedium(image, None, {}, blake3(image.read_bytes()).hexdigest())


@pytest.mark.slow
def test_every_medium_of_a_hostile_box_ends_with_what_is_recorded_of_it(box: dict[str, Path], machine: Machine) -> None:
    url = machine.database_url
    assert url is not None
    assert len(box) >= 60
    media = [medium_of(image) for image in box.values()]
    status, result = ingested(machine, list(box.values()), BOX_LIMIT_S)
    assert (status, result.failures, len(result.media)) == (1, [], len(box))
    settle(machine, url)
    for medium in media:
        found = rows(url, "SELECT enum_done, copy_done FROM medium WHERE image_hash = $1", medium.image_hash)
        assert len(found) == 1, f"{medium.image.stem} has {len(found)} rows"
        assert None not in found[0].values(), f"{medium.image.stem} is not done"
    runs = rows(url, "SELECT DISTINCT stage, state FROM stage_run ORDER BY 1")
    assert [tuple(run) for run in runs] == [("copy", "ok"), ("enumerate", "ok"), ("identify", "ok")]
    unread = "SELECT count(*) FROM volume v WHERE status = 'finding' AND (finding = '' OR next_step = '')"
    assert number(url, unread) == 0, "a volume that is not read has a reason and a next step"
    assert number(url, "SELECT count(*) FROM outcome WHERE status = 'f'") > 50, "they are hostile"
    promises = broken_promises(url, machine)
    assert [text for text in promises if not text.endswith(" 0 nodes")] == [], "a medium may hold nothing readable ..."
    empty = "SELECT count(*) FROM medium m WHERE NOT EXISTS (SELECT FROM node WHERE medium_id = m.id)"
    told = "EXISTS (SELECT FROM finding WHERE medium_id = m.id AND kind = 'no_files')"
    assert number(url, f"{empty} AND NOT {told}") == 0, "... but then it says so"
    assert unfinished_business(url, machine, media[0]) == []
    assert all(medium.unchanged for medium in media)


@pytest.mark.parametrize(("name", "kind"), CYCLES.items())
def test_the_ingest_of_a_directory_that_holds_itself_ends_and_names_it(
    name: str, kind: str, box: dict[str, Path], machine: Machine
) -> None:
    url = machine.database_url
    assert url is not None
    medium = medium_of(box[name])
    status, result = ingested(machine, [box[name]], ONE_LIMIT_S)
    assert (status, result.failures) == (1, [])
    settle(machine, url)
    assert number(url, "SELECT count(*) FROM finding WHERE kind = $1", kind) >= 1
    assert number(url, "SELECT count(*) FROM node") < 300, "nothing is listed over and over"
    assert broken_promises(url, machine) == []
    assert unfinished_business(url, machine, medium) == []
