"""A generated catalogue of millions of paths -> how long `ntt where` takes in it, and what its indexes cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import asyncpg

from bench.commands import CommandFailed
from bench.ntt_runs import home_in
from bench.record import Finding, Lookup, TableSize
from bench.workspace import Workspace
from ntt.app import open_catalogue
from ntt.config import Settings
from ntt.db.connection import Connection, Database
from ntt.operations.where import where

DIRECTORIES = 100  # of a medium, all below its root
LIMIT = 100
PATH_BYTES = 600
_INDEXES = ("name_text", "outcome_blob")

# of 100 names, 20 are a camera's, 12 are on every disc, 13 are numbered, 55 are of their own; a third of the contents
# are copies. `i` is the inode, $1 the medium.
_HASH = "abs(hashint8extended(i + $1::bigint * 1000000, 7))"
_NAME = """CASE
    WHEN i % 100 < 20 THEN 'IMG_' || lpad((h % 9000)::text, 4, '0') || '.JPG'
    WHEN i % 100 < 32 THEN (ARRAY['index.html', 'Thumbs.db', '.DS_Store', 'desktop.ini', 'README.TXT', 'autorun.inf',
        'logo.gif', 'style.css', 'Makefile', 'setup.exe', 'data1.cab', 'license.txt'])[h % 12 + 1]
    WHEN i % 100 < 45 THEN (ARRAY['chapter', 'photo', 'scan', 'letter', 'page', 'track'])[h % 6 + 1] || (h / 7 % 300)
        || (ARRAY['.doc', '.pdf', '.wav', '.tif'])[h / 11 % 4 + 1]
    ELSE (ARRAY['report', 'Annual', 'minutes', 'foto', 'draft', 'invoice', 'Interview', 'backup', 'notes', 'Brief']
        )[h % 10 + 1] || ' ' || (ARRAY['final', 'of meeting', '2003', 'Berlin', 'budget', 'copy', 'old', 'neu',
        'transcript', 'A'])[h / 13 % 10 + 1] || ' ' || (h / 101 % 2000000)
        || (ARRAY['.doc', '.txt', '.pdf', '.xls', '.jpg', '.html', '.wpd'])[h / 17 % 7 + 1] END"""
_FILES = f"(SELECT i, {_HASH} AS h FROM generate_series({DIRECTORIES + 3}, {DIRECTORIES + 2} + $2::int) i)"
_MEDIUM = (
    """INSERT INTO medium (medium_hash, identity, image_hash, image_bytes, claimed_bytes, health)
       SELECT left(h, 32), 'natural', h, 0, 0, 'ok' FROM (SELECT encode(sha256(int8send($1::bigint)), 'hex') AS h) x""",
    f"""INSERT INTO node (ino, size, mtime_s, first_byte, medium_id, mtime_ns, mode, uid, gid, volume, link_target)
        SELECT i, 0, 1e9, -1, $1, 0, 16877, 0, 0, 0, '' FROM generate_series(2, {DIRECTORIES + 2}) i""",
    f"""INSERT INTO name (ino, parent_ino, medium_id, volume, flags, name)
        SELECT i, 2, $1, 0, 2, CASE WHEN i > 2 THEN convert_to('folder ' || i, 'UTF8') ELSE '' END
        FROM generate_series(2, {DIRECTORIES + 2}) i""",
)
_CONTENTS = (
    f"""INSERT INTO node (ino, size, mtime_s, first_byte, medium_id, mtime_ns, mode, uid, gid, volume, link_target)
        SELECT i, h % 100000, 1e9, i * 4096, $1, 0, 33188, 0, 0, 0, '' FROM {_FILES} f""",
    f"""INSERT INTO name (ino, parent_ino, medium_id, volume, flags, name)
        SELECT i, 3 + i % {DIRECTORIES}, $1, 0, 0, convert_to({_NAME}, 'UTF8') FROM {_FILES} f""",
    f"""INSERT INTO blob (size, pack_id, pack_offset, hash)
        SELECT h % 100000, $1, i * 512, sha256(int8send(i + $1::bigint * 1000000)) FROM {_FILES} f WHERE i % 3 > 0""",
    f"""INSERT INTO outcome (ino, blob_id, medium_id, volume, status)
        SELECT i, b.id, $1, 0, 'c' FROM {_FILES} f JOIN blob b
        ON b.hash = sha256(int8send((i + (i % 3 = 0)::int)
                                    + (CASE WHEN i % 3 = 0 THEN 1 + h % $1 ELSE $1 END)::bigint * 1000000))""",
)


@dataclass(frozen=True, slots=True)
class CatalogPlan:
    """A catalogue of so many media with so many files each."""

    name: str
    media: int
    files: int


CATALOGUE = CatalogPlan("catalogue", 1_000, 10_000)
QUICK_CATALOGUE = CatalogPlan("catalogue", 20, 1_000)


def measure(plan: CatalogPlan, repeat: int, workspace: Workspace, say: Callable[[str], None]) -> Finding:
    """In a server of its own with PostgreSQL's own settings; each repetition asks for something else."""
    disk_bytes = 2 * PATH_BYTES * plan.media * plan.files  # the write-ahead log, too
    with workspace.output(disk_bytes) as output, home_in(output) as home:
        return anyio.run(_measure, plan, repeat, home, say)


async def _measure(plan: CatalogPlan, repeat: int, home: Path, say: Callable[[str], None]) -> Finding:
    async with open_catalogue(Settings(home=home)) as catalogue:
        database = catalogue.database
        async with database.connection() as connection:
            empty_bytes = int(await connection.fetchval("SELECT pg_database_size(current_database())"))
            started = time.monotonic()
            await _fill(connection, plan, say)
            seconds = time.monotonic() - started
        lookups = [await _lookup(database, what, asked, say) for what, asked in await _questions(database, repeat)]
        async with database.connection() as connection:
            return await _finding(connection, plan, empty_bytes, seconds, lookups)


async def _fill(connection: Connection, plan: CatalogPlan, say: Callable[[str], None]) -> None:
    await connection.execute("SET synchronous_commit = off")
    for medium in range(1, plan.media + 1):
        for statement in _MEDIUM:
            await connection.execute(statement, medium)
        for statement in _CONTENTS:
            await connection.execute(statement, medium, plan.files)
        if medium % 50 == 0:
            say(f"{plan.name}: {medium:,} of {plan.media:,} media")
    await connection.execute("VACUUM ANALYZE node")  # as autovacuum leaves it
    await connection.execute("VACUUM ANALYZE name")
    await connection.execute("VACUUM ANALYZE outcome")
    await connection.execute("VACUUM ANALYZE blob")
    await connection.execute("CHECKPOINT")


async def _questions(database: Database, repeat: int) -> list[tuple[str, list[str]]]:
    """What is asked for: names and contents that are there, others in each repetition."""
    async with database.connection() as connection:
        own = await _asked(connection, "name LIKE '%2003 %'", repeat + 1)
        blobs = await connection.fetch("SELECT hash FROM blob ORDER BY hash OFFSET 5 LIMIT $1", repeat + 1)
    return [
        ("a name of which there is one or few", own),
        ("a name that is on every medium", ["Thumbs.db", "README.TXT", "setup.exe"] * (repeat // 3 + 1)),
        ("how a long name begins", [f"{name[:-6]}*" for name in own]),
        ("how a short name begins", [f"IMG_{number:03}*" for number in range(100, 101 + repeat)]),
        ("how a name begins that is nowhere", [f"zebra{number}*" for number in range(repeat + 1)]),
        ("a content, by its hash", [row["hash"].hex() for row in blobs]),
        ("how a name ends (all names are looked at)", [f"*{number}7.wpd" for number in range(100, 101 + repeat)]),
        ("a part of a name that is nowhere (as above)", [f"*zeb?ra{number}*" for number in range(repeat + 1)]),
    ]


async def _asked(connection: Connection, condition: str, count: int) -> list[str]:
    rows: Sequence[asyncpg.Record] = await connection.fetch(
        f"SELECT name FROM name TABLESAMPLE SYSTEM (10) WHERE {condition} LIMIT $1", count
    )
    if len(rows) < count:
        raise CommandFailed("the generated catalogue lacks the names that are asked for")
    return [row["name"].decode() for row in rows]


async def _lookup(database: Database, what: str, asked: list[str], say: Callable[[str], None]) -> Lookup:
    """The first question of each kind is not timed: it loads code and makes connections."""
    seconds: list[float] = []
    found = 0
    for number, one in enumerate(asked):
        started = time.monotonic()
        report = await where(database, one, "blob" if "hash" in what else "name", LIMIT)
        if number:
            seconds.append(time.monotonic() - started)
            found = max(found, len(report.searches[0].places))
    say(f"{what}: {1e3 * min(seconds):.1f} to {1e3 * max(seconds):.1f} ms")
    return Lookup(what, asked[1], found, tuple(seconds), indexed="all names are" not in what and "as above" not in what)


async def _finding(
    connection: Connection, plan: CatalogPlan, empty_bytes: int, seconds: float, lookups: list[Lookup]
) -> Finding:
    paths = int(await connection.fetchval("SELECT count(*) FROM name"))
    rows = await connection.fetch(
        """SELECT relname AS name, pg_total_relation_size(oid) AS bytes, pg_indexes_size(oid) AS index_bytes
           FROM pg_class WHERE relname IN ('node', 'name', 'outcome', 'blob') ORDER BY bytes DESC"""
    )
    indexes = await connection.fetch(
        "SELECT relname AS name, pg_relation_size(oid) AS bytes FROM pg_class WHERE relname = ANY($1) ORDER BY 1",
        list(_INDEXES),
    )
    return Finding(
        name=plan.name,
        media=plan.media,
        paths=paths,
        names=int(await connection.fetchval("SELECT count(*) FROM (SELECT DISTINCT name FROM name) d")),
        database_bytes=int(await connection.fetchval("SELECT pg_database_size(current_database())")) - empty_bytes,
        fill_seconds=seconds,
        tables=tuple(TableSize(row["name"], row["bytes"], row["index_bytes"]) for row in rows),
        indexes=tuple(TableSize(row["name"], row["bytes"], row["bytes"]) for row in indexes),
        lookups=tuple(lookups),
    )
