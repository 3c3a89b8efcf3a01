"""The catalogue's schema: made once, refused when it is another version's, upgraded whole or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import asyncpg
import pytest
from database_server import DatabaseServer

from ntt.db.connection import Connection
from ntt.db.locks import LockSpace, lock_key
from ntt.db.schema import SCHEMA_VERSION, Migration, ensure_schema, schema_sql, schema_version, upgrade
from ntt.errors import DatabaseError


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


# ---------------------------------------------------------------- creation


async def test_an_empty_database_gets_the_whole_schema(bare_database_url: str) -> None:
    async with connected(bare_database_url) as connection:
        assert await schema_version(connection) is None
        await ensure_schema(connection, create=True)
        assert await schema_version(connection) == SCHEMA_VERSION
        tables = await connection.fetch("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        assert {"medium", "node", "name", "blob", "outcome", "inode", "path"} <= {row["relname"] for row in tables}


async def test_a_second_start_finds_the_schema_and_changes_nothing(database_url: str) -> None:
    async with connected(database_url) as connection:
        await connection.execute("INSERT INTO pack DEFAULT VALUES")
        await ensure_schema(connection, create=True)
        assert await connection.fetchval("SELECT count(*) FROM pack") == 1


async def test_two_processes_at_once_make_one_schema(bare_database_url: str) -> None:
    async with connected(bare_database_url) as first, connected(bare_database_url) as second:
        await first.execute("SELECT pg_advisory_lock($1)", lock_key(LockSpace.SCHEMA, 0))
        async with anyio.create_task_group() as starts:
            starts.start_soon(_ensure, second)
            # the second waits for the first: seen in the server, not guessed from the clock
            while not await first.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
                pass
            await first.execute("SELECT pg_advisory_unlock($1)", lock_key(LockSpace.SCHEMA, 0))
            await ensure_schema(first, create=True)
        assert await first.fetchval("SELECT count(*) FROM ntt_schema") == 1


async def _ensure(connection: Connection) -> None:
    await ensure_schema(connection, create=True)


async def test_an_empty_database_is_left_empty_when_nothing_may_be_created(bare_database_url: str) -> None:
    async with connected(bare_database_url) as connection:
        with pytest.raises(DatabaseError, match="holds no catalogue yet; `ntt ingest`"):
            await ensure_schema(connection, create=False)
        assert await schema_version(connection) is None


async def test_a_database_of_somebody_else_is_refused_untouched(bare_database_url: str) -> None:
    async with connected(bare_database_url) as connection:
        await connection.execute("CREATE SCHEMA shop; CREATE TABLE shop.customer (name text)")
        with pytest.raises(DatabaseError, match=r"1 tables that are not NTT's \(shop\.customer"):
            await ensure_schema(connection, create=True)
        assert await connection.fetchval("SELECT to_regclass('medium')") is None


async def test_a_database_that_is_not_utf8_is_refused(database_server: DatabaseServer) -> None:
    database_server.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    try:
        async with connected(database_server.url_of("latin")) as connection:
            with pytest.raises(DatabaseError, match="encoding LATIN1"):
                await ensure_schema(connection, create=True)
    finally:
        database_server.execute("DROP DATABASE latin")


def test_the_schema_is_that_of_the_repository() -> None:
    assert schema_sql() == (Path(__file__).parents[2] / "schema.sql").read_text()


# ---------------------------------------------------------------- other versions


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (0, f"schema version 0, this program needs {SCHEMA_VERSION}; run `ntt db upgrade`"),
        (9, f"older than the database: it knows schema version {SCHEMA_VERSION}, the database has 9"),
    ],
)
async def test_another_schema_version_is_refused_by_name(database_url: str, found: int, text: str) -> None:
    async with connected(database_url) as connection:
        await connection.execute("UPDATE ntt_schema SET version = $1", found)
        with pytest.raises(DatabaseError, match=text):
            await ensure_schema(connection, create=True)


MIGRATION_CHAIN = (
    Migration(SCHEMA_VERSION, "ALTER TABLE pack ADD COLUMN colour text"),
    Migration(SCHEMA_VERSION + 1, "ALTER TABLE pack RENAME COLUMN colour TO shade"),
)


async def test_an_upgrade_applies_the_chain_and_keeps_the_rows(database_url: str) -> None:
    async with connected(database_url) as connection:
        await connection.execute("INSERT INTO pack (committed_bytes) VALUES (7)")
        assert await upgrade(connection, MIGRATION_CHAIN, target=SCHEMA_VERSION + 2) == (
            SCHEMA_VERSION,
            SCHEMA_VERSION + 2,
        )
        assert await schema_version(connection) == SCHEMA_VERSION + 2
        assert dict(await connection.fetchrow("SELECT committed_bytes, shade FROM pack") or {}) == {
            "committed_bytes": 7,
            "shade": None,
        }


async def test_an_upgrade_that_fails_halfway_leaves_the_old_version(database_url: str) -> None:
    async with connected(database_url) as connection:
        with pytest.raises(asyncpg.UndefinedTableError):
            await upgrade(
                connection,
                (MIGRATION_CHAIN[0], Migration(SCHEMA_VERSION + 1, "DROP TABLE nowhere")),
                target=SCHEMA_VERSION + 2,
            )
        assert await schema_version(connection) == SCHEMA_VERSION
        with pytest.raises(asyncpg.UndefinedColumnError):
            await connection.execute("SELECT colour FROM pack")


async def test_an_upgrade_with_a_gap_in_its_chain_is_refused_whole(database_url: str) -> None:
    async with connected(database_url) as connection:
        with pytest.raises(DatabaseError, match=f"cannot upgrade schema version {SCHEMA_VERSION + 1}"):
            await upgrade(connection, MIGRATION_CHAIN[:1], target=SCHEMA_VERSION + 2)
        assert await schema_version(connection) == SCHEMA_VERSION


async def test_an_upgrade_of_the_present_version_does_nothing(database_url: str) -> None:
    async with connected(database_url) as connection:
        assert await upgrade(connection) == (SCHEMA_VERSION, SCHEMA_VERSION)
        assert await connection.fetchval("SELECT count(*) FROM ntt_schema") == 1


async def test_an_upgrade_of_a_newer_or_missing_catalogue_is_refused(bare_database_url: str) -> None:
    async with connected(bare_database_url) as connection:
        with pytest.raises(DatabaseError, match="no catalogue yet"):
            await upgrade(connection)
        await ensure_schema(connection, create=True)
        await connection.execute("UPDATE ntt_schema SET version = 99")
        with pytest.raises(DatabaseError, match="older than the database"):
            await upgrade(connection)


SHAPE = """
SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '')
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT viewname || ' ' || definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1"""


async def test_an_upgraded_catalogue_has_the_shape_of_a_new_one(bare_database_url: str, database_url: str) -> None:
    async with connected(bare_database_url) as old, connected(database_url) as new:
        await old.execute((Path(__file__).parent / "schema_version_1.sql").read_text())
        await old.execute("INSERT INTO pack (committed_bytes) VALUES (7)")
        assert await upgrade(old) == (1, SCHEMA_VERSION)
        assert await old.fetchval("SELECT committed_bytes FROM pack") == 7
        assert await old.fetch(SHAPE) == await new.fetch(SHAPE)
