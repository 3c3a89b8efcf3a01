"""An image -> `ntt ingest` as a user runs it: its wall time, its stages, its memory, its catalogue."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import anyio
import msgspec

from bench.commands import CommandFailed, Finished, run, started
from bench.memory import sampling
from bench.record import CatalogueSize, Memory, TableSize
from ntt.app import open_catalogue
from ntt.config import Settings
from ntt.db.embedded import stop_embedded_server

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
WITH_PROBLEMS = frozenset({0, 1})  # the sample disc has two unread areas on purpose


class Stage(msgspec.Struct, frozen=True):
    seconds: float


class Medium(msgspec.Struct, frozen=True):
    """What of a medium in `ntt ingest --json` is looked at."""

    complete: bool
    files: int
    paths: int
    failed: int
    damaged: int
    image_hash: str
    image_bytes: int
    unread_bytes: int
    stages: dict[str, Stage]


class Event(msgspec.Struct, frozen=True):
    """A line of NTT's log."""

    event: str
    timestamp: datetime
    stage: str = ""
    state: str = ""


class Document(msgspec.Struct, frozen=True):
    media: tuple[Medium, ...]


class Ingest(msgspec.Struct, frozen=True):
    """`seconds`: the whole command, start of Python and of PostgreSQL included. Stages that did not run are 0."""

    seconds: float
    medium: Medium

    def stage(self, name: str) -> float:
        stage = self.medium.stages.get(name)
        return stage.seconds if stage else 0.0


@contextmanager
def home_in(output: Path) -> Iterator[Path]:
    """A home that does not exist yet; its server has ended afterwards."""
    home = output / "home"
    try:
        yield home
    finally:
        if home.exists():
            anyio.run(stop_embedded_server, home, None)


def prepare(home: Path) -> None:
    """Makes `home` one that was used before: it knows the sample disc."""
    argv = _ingest_argv(SAMPLES / "field-notes.iso", home)
    run(*argv, "--map", SAMPLES / "field-notes.map", statuses=WITH_PROBLEMS)


def ingest(image: Path, files: int, home: Path, *options: str) -> Ingest:
    """CommandFailed unless all `files` were copied whole."""
    return _checked(run(*_ingest_argv(image, home), *options), files)


def imaged(source: Path, home: Path, size_bytes: int) -> tuple[float, str]:
    """Seconds of the image stage, from its start until the hash of the image is known and all of it durable; the hash.

    Identifying is part of it: what was hashed on the way is not read again there, and what was not is. CommandFailed
    unless all `size_bytes` were read. What is in the image may be anything.
    """
    argv = _ingest_argv(source, home)
    finished = run(*argv, "--no-archive", "--effort", "normal", statuses=WITH_PROBLEMS)
    (medium,) = msgspec.json.decode(finished.stdout, type=Document).media
    lines = (Settings(home=home).log_dir / "ntt.jsonl").read_bytes().splitlines()
    events = [msgspec.json.decode(line, type=Event) for line in lines]
    began = [event.timestamp for event in events if (event.event, event.stage) == ("stage_started", "image")]
    ended = [event for event in events if (event.event, event.stage) == ("stage_ended", "identify")]
    if len(began) != 1 or ended[-1].state != "ok" or (medium.image_bytes, medium.unread_bytes) != (size_bytes, 0):
        raise CommandFailed(f"ntt ingest did not read {size_bytes:,} bytes in one pass: {medium}")
    return (ended[-1].timestamp - began[0]).total_seconds(), medium.image_hash


def ingest_sampled(image: Path, name: str, files: int, home: Path) -> tuple[Memory, CatalogueSize]:
    """Peak memory of a whole ingest, and what it left in a catalogue that was empty."""
    empty_bytes, _ = anyio.run(_sizes, home)
    with started(*_ingest_argv(image, home)) as running, sampling(running.pid) as sampled:
        finished = running.finish()
    paths = _checked(finished, files).medium.paths
    full_bytes, tables = anyio.run(_sizes, home)
    return sampled.of(name), CatalogueSize(name, paths, empty_bytes, full_bytes, tables)


def _ingest_argv(image: Path, home: Path) -> tuple[str | Path, ...]:
    return sys.executable, "-m", "ntt", "ingest", image, "--home", home, "--json"


def _checked(finished: Finished, files: int) -> Ingest:
    (medium,) = msgspec.json.decode(finished.stdout, type=Document).media
    if not medium.complete or medium.failed or medium.damaged or medium.files != files:
        raise CommandFailed(f"ntt ingest did not copy {files:,} whole files: {medium}")
    return Ingest(finished.seconds, medium)


async def _sizes(home: Path) -> tuple[int, tuple[TableSize, ...]]:
    """Bytes of the home's whole database, and of each table of NTT's, the largest first."""
    async with open_catalogue(Settings(home=home)) as catalogue, catalogue.database.connection() as connection:
        whole = int(await connection.fetchval("SELECT pg_database_size(current_database())"))
        rows = await connection.fetch(
            """SELECT relname AS name, pg_total_relation_size(oid) AS bytes, pg_indexes_size(oid) AS index_bytes
               FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY bytes DESC"""
        )
    return whole, tuple(TableSize(row["name"], row["bytes"], row["index_bytes"]) for row in rows)
