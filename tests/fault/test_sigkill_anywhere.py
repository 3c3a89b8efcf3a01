"""SIGKILL at any step of an ingest, then the same command again -> the end state of a run that nobody disturbed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import asyncpg
import pytest
from catalogue_state import MediumState, broken_promises, rows, settle, state_of, unfinished_business
from database_server import TEMPLATE, DatabaseServer
from fault_plan import KillNtt, Step, Strike, bytes_of, steps_of
from ntt_runs import Ended, Machine, until
from rescued_media import RescueMedium

from ntt.db.embedded import embedded_server, embedded_url

SEED = 20261122
POINTS = 64
BYTE_POINTS = {"bytes hashed": 1, "bytes packed": 2, "bytes of large blobs": 1, "bytes archived": 2}
READING = ("sql read", "copy pread", "walk pread", "ntt pread", "file", "ntt ftruncate pulse")
PROBLEMS_RECORDED = 1
KILLED = -9
TRIES = 3  # which of two workers takes a batch is chance: a run may not come to a point


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """What a run comes to that nobody disturbs, and where the others are killed."""

    status: int
    state: MediumState
    points: tuple[Strike, ...]


@pytest.fixture(scope="module")
def undisturbed(
    database_server: DatabaseServer, damaged: RescueMedium, tmp_path_factory: pytest.TempPathFactory
) -> Undisturbed:
    """Two runs that only count; what both of them come by is sure to be met again."""
    folder = tmp_path_factory.mktemp("undisturbed")
    counted: list[list[Step]] = []
    for name in ("first", "second"):
        with database_server.database(TEMPLATE) as url:
            machine = Machine(folder / name, url)
            ended = machine.ingest(damaged.image, map_path=damaged.map_path)
            assert ended.status == PROBLEMS_RECORDED, ended.stderr
            assert unfinished_business(url, machine, damaged) == []
            state = state_of(url, damaged.image_hash)
            counted.append(steps_of(ended.counters))
    sizes = {kind: bytes_of(ended.counters, kind) for kind in BYTE_POINTS}
    return Undisturbed(ended.status, state, tuple(_points(counted[0], counted[1], sizes)))


def _points(first: list[Step], second: list[Step], sizes: dict[str, int]) -> Iterator[Strike]:
    """Each kind of step that changes something, at one of its occurrences; by bytes; the rest spread evenly."""
    rng = random.Random(SEED)
    for kind, number in BYTE_POINTS.items():
        part_bytes = sizes[kind] // number
        for part in range(number):
            yield Strike(kind, KillNtt(), part * part_bytes + rng.randrange(part_bytes))
    again = Counter(second)
    sure: dict[str, list[tuple[int, str]]] = {}
    seen: Counter[Step] = Counter()
    spread: list[Strike] = []
    for step in first:
        seen[step] += 1
        if seen[step] <= again[step]:
            sure.setdefault(step.kind, []).append((seen[step], step.phase))
            spread.append(Strike(step.kind, KillNtt(), seen[step], step.phase))
    changing = sorted(kind for kind in sure if kind not in READING)
    left = POINTS - sum(BYTE_POINTS.values()) - len(changing)
    assert left >= 0, f"{len(changing)} kinds of steps: raise POINTS"
    for kind in changing:
        nth, phase = rng.choice(sure[kind])
        yield Strike(kind, KillNtt(), nth, phase)
    for part in range(left):
        yield spread[(2 * part + 1) * len(spread) // (2 * left)]


def _gone_on_with(machine: Machine, medium: RescueMedium, point: Strike) -> Ended:
    """The run after the killed one; what must be true at every instant is true in between."""
    url = machine.database_url or _still_running(machine)
    settle(machine, url)
    open_attempts: list[int] = []
    if url and _has_schema(url):
        open_attempts = [row["id"] for row in rows(url, "SELECT id FROM stage_run WHERE state = 'running'")]
        assert broken_promises(url, machine) == [], f"right after {point}"
    again = machine.ingest(medium.image, map_path=medium.map_path)
    with _server(machine) as url:
        closed = rows(url, "SELECT state FROM stage_run WHERE id = ANY($1::bigint[])", open_attempts)
    assert [row["state"] for row in closed] == ["interrupted"] * len(open_attempts)
    return again


def _still_running(machine: Machine) -> str | None:
    """The URL of the home's own server, unless the killed run had not started it or had told it to stop."""

    def decided() -> bool:
        url = embedded_url(machine.home)
        try:
            return url is None or bool(rows(url, "SELECT 1"))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False

    until(decided, "the home's server answers or is gone")
    return embedded_url(machine.home)


def _has_schema(url: str) -> bool:
    return bool(rows(url, "SELECT 1 FROM pg_tables WHERE tablename = 'stage_run'"))


@contextmanager
def _server(machine: Machine) -> Iterator[str]:
    """The database of a run that has ended; the home's own is started for it."""
    if machine.database_url:
        yield machine.database_url
        return
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(embedded_server(machine.home, None)) as url,
    ):
        yield url


@pytest.mark.parametrize("number", range(POINTS))
def test_killed_at_any_step_the_next_run_loses_nothing(
    number: int, undisturbed: Undisturbed, damaged: RescueMedium, database_server: DatabaseServer, tmp_path: Path
) -> None:
    point = undisturbed.points[number]
    for tried in range(TRIES):
        with database_server.database(TEMPLATE) as url:
            machine = Machine(tmp_path / f"home{tried}", url)
            if machine.ingest(damaged.image, point, map_path=damaged.map_path).status != KILLED:
                continue
            again = _gone_on_with(machine, damaged, point)
            assert again.status == undisturbed.status, f"{point}: {again.stderr}"
            assert broken_promises(url, machine) == [], str(point)
            assert unfinished_business(url, machine, damaged) == [], str(point)
            assert state_of(url, damaged.image_hash) == undisturbed.state, str(point)
            return
    pytest.fail(f"{point} was never come to")


IN_THE_HOMES_OWN_SERVER = (
    Strike("ntt start initdb", KillNtt(), phase="after"),
    Strike("ntt rename folder", KillNtt()),
    Strike("sql CREATE everything", KillNtt(), phase="during"),
    Strike("sql COMMIT of UPDATE pack SET committed_bytes", KillNtt(), phase="during"),
    Strike("ntt rename archive", KillNtt(), phase="after"),
    Strike("ntt start pg_ctl", KillNtt(), nth=2, phase="after"),
)


@pytest.mark.parametrize("point", IN_THE_HOMES_OWN_SERVER, ids=str)
def test_killed_with_a_server_of_its_own_the_next_run_loses_nothing(
    point: Strike, undisturbed: Undisturbed, damaged: RescueMedium, tmp_path: Path
) -> None:
    machine = Machine(tmp_path / "home")
    assert machine.ingest(damaged.image, point, map_path=damaged.map_path).status == KILLED, "never come to"
    again = _gone_on_with(machine, damaged, point)
    assert again.status == undisturbed.status, f"{point}: {again.stderr}"
    assert machine.processes() == []
    with _server(machine) as url:
        assert broken_promises(url, machine) == []
        assert unfinished_business(url, machine, damaged) == []
        assert state_of(url, damaged.image_hash) == undisturbed.state
    assert machine.processes() == []


def test_the_state_that_runs_are_held_to_is_the_truth(undisturbed: Undisturbed, damaged: RescueMedium) -> None:
    assert undisturbed.state.files == damaged.files
    assert undisturbed.state.health == "incomplete"
    assert undisturbed.state.stamps == (True, True, True)


def test_every_kind_of_step_is_among_those_that_are_killed_at(undisturbed: Undisturbed) -> None:
    kinds = {point.kind for point in undisturbed.points}
    assert {
        "copy pwritev pack", "copy fdatasync pack", "ntt fsync blob", "ntt rename blob", "ntt fsync archive",
        "ntt rename archive", "sql COPY node", "sql COPY incoming", "sql COMMIT of UPDATE medium SET copy_done",
        "sql UPDATE medium SET archive_done", "ntt start tar", "ntt start copy worker", "bytes archived",
    } <= kinds  # fmt: skip
    assert len({(point.kind, point.nth, point.phase) for point in undisturbed.points}) == POINTS
