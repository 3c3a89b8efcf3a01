"""An empty database -> NTT's catalogue; one of another version -> a clear refusal, or an upgrade in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from ntt.db.connection import Connection
from ntt.db.locks import LockSpace, lock_key
from ntt.errors import DatabaseError

SCHEMA_VERSION = 5

CATALOGUE_EXISTS = "SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'ntt_schema' AND pg_table_is_visible(oid))"

FOREIGN_RELATIONS = """
SELECT count(*), min(n.nspname || '.' || c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%'
  AND NOT EXISTS (SELECT FROM pg_depend d  -- what belongs to an extension is nobody's data
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """The SQL that turns version `from_version` into the next one."""

    from_version: int
    sql: str


TO_2 = """
ALTER TABLE volume ADD COLUMN session_bytes bigint NOT NULL DEFAULT 0,
    ADD COLUMN sector_bytes int NOT NULL DEFAULT 0, ADD COLUMN data_at int NOT NULL DEFAULT 0,
    ADD COLUMN tried text[] NOT NULL DEFAULT '{}';
CREATE TABLE node_attribute (medium_id int NOT NULL, volume smallint NOT NULL, ino bigint NOT NULL,
    name text NOT NULL, value bytea NOT NULL, PRIMARY KEY (medium_id, volume, ino, name));
"""
TO_3 = """
ALTER TABLE medium ADD COLUMN cells bytea;
ALTER TABLE volume ADD COLUMN unread_used int8multirange;
ALTER TABLE outcome ADD COLUMN unread int8multirange;
CREATE TABLE image_pass (medium_id int NOT NULL REFERENCES medium ON DELETE CASCADE, began_at timestamptz NOT NULL,
    seconds double precision NOT NULL, name text NOT NULL, source text NOT NULL, hardware jsonb NOT NULL DEFAULT '{}',
    wanted_bytes bigint NOT NULL, rescued_before bigint NOT NULL, rescued_after bigint NOT NULL,
    bad_bytes bigint NOT NULL, read_errors bigint NOT NULL, reason text NOT NULL, detail text NOT NULL DEFAULT '',
    PRIMARY KEY (medium_id, began_at));
CREATE TABLE unread_structure (medium_id int NOT NULL, volume smallint NOT NULL, ino bigint NOT NULL,
    what text NOT NULL, spare boolean NOT NULL, ranges int8multirange NOT NULL);
CREATE INDEX unread_structure_medium ON unread_structure (medium_id);
"""
TO_4 = """
CREATE TABLE insertion (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, session text NOT NULL, sequence int NOT NULL,
    inserted_at timestamptz NOT NULL DEFAULT clock_timestamp(), drive text NOT NULL, disc text NOT NULL DEFAULT '',
    label text, box text, medium_id int REFERENCES medium ON DELETE SET NULL,
    verdict text CHECK (verdict IN ('complete', 'problems', 'known', 'failed')), summary text NOT NULL DEFAULT '',
    ended_at timestamptz, ejected_at timestamptz, UNIQUE (session, sequence));
CREATE INDEX insertion_medium ON insertion (medium_id);
"""
TO_5 = """
ALTER TABLE medium ADD COLUMN archive_checked timestamptz, ADD COLUMN backfilled text[] NOT NULL DEFAULT '{}';
ALTER TABLE blob ADD COLUMN last_checked timestamptz;
CREATE INDEX name_text ON name ((substr(name, 1, 13) || substr(sha256(name), 1, 2)));
CREATE INDEX outcome_blob ON outcome (blob_id) WHERE blob_id IS NOT NULL;
"""
MIGRATIONS: tuple[Migration, ...] = (Migration(1, TO_2), Migration(2, TO_3), Migration(3, TO_4), Migration(4, TO_5))


def schema_sql() -> str:
    """The whole schema: inside the installed package, or at the root of a source checkout."""
    installed = files("ntt") / "schema.sql"
    if installed.is_file():
        return installed.read_text("utf-8")
    return (Path(__file__).parents[2] / "schema.sql").read_text("utf-8")


async def schema_version(connection: Connection) -> int | None:
    """The version of the catalogue in this database; None when it holds none."""
    # not to_regclass: it answers from a cache that another process's commit does not reach in mid-transaction
    if not await connection.fetchval(CATALOGUE_EXISTS):
        return None
    version = await connection.fetchval("SELECT max(version) FROM ntt_schema")
    if not isinstance(version, int):
        raise DatabaseError("the table ntt_schema is empty: this catalogue is damaged", "restore it from a backup")
    return version


async def catalogue_mark(connection: Connection) -> tuple[str, bool]:
    """What tells this catalogue from any other, also after a dump and restore; does it have contents?"""
    made_at = await connection.fetchval("SELECT min(applied_at) FROM ntt_schema")
    return f"{made_at:%Y%m%dT%H%M%S.%f}Z", await connection.fetchval("SELECT EXISTS (SELECT FROM blob)")


async def ensure_schema(connection: Connection, *, create: bool) -> None:
    """Returns when the database holds a catalogue of this program's version, and raises DatabaseError otherwise.

    With `create` an empty database gets one, in one transaction; of several processes that try at once one
    creates and the others wait. A database with tables of somebody else's is never written to.
    """
    version = await schema_version(connection)
    if version is None:
        if not create:
            raise DatabaseError("this database holds no catalogue yet", "`ntt ingest` or `ntt watch` makes one")
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", lock_key(LockSpace.SCHEMA, 0))
            version = await schema_version(connection)
            if version is None:
                await _create(connection)
                version = SCHEMA_VERSION
    if version < SCHEMA_VERSION:
        raise DatabaseError(
            f"the database has schema version {version}, this program needs {SCHEMA_VERSION}", "run `ntt db upgrade`"
        )
    if version > SCHEMA_VERSION:
        raise _newer(version, SCHEMA_VERSION)


async def _create(connection: Connection) -> None:
    count, example = await connection.fetchrow(FOREIGN_RELATIONS) or (0, "")
    if count:
        raise DatabaseError(
            f"the database holds {count} tables that are not NTT's ({example}, ...), and no catalogue",
            "name an empty database with --database",
        )
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        raise DatabaseError(
            f"the database has the encoding {encoding}, the catalogue needs UTF8",
            "create one with `CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0`",
        )
    await connection.execute(schema_sql())


async def upgrade(
    connection: Connection, migrations: Sequence[Migration] = MIGRATIONS, target: int = SCHEMA_VERSION
) -> tuple[int, int]:
    """Takes the catalogue to version `target` and returns (version before, version after).

    The whole chain is one transaction: all of it is there afterwards, or nothing. A catalogue that is at
    `target` already is left alone. DatabaseError when it is newer, missing, or the chain has a gap.
    """
    steps = {step.from_version: step for step in migrations}
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", lock_key(LockSpace.SCHEMA, 0))
        before = await schema_version(connection)
        if before is None:
            raise DatabaseError("this database holds no catalogue yet", "there is nothing to upgrade")
        if before > target:
            raise _newer(before, target)
        for version in range(before, target):
            step = steps.get(version)
            if step is None:
                raise DatabaseError(f"this program cannot upgrade schema version {version}", "use an older NTT first")
            await connection.execute(step.sql)
            await connection.execute("INSERT INTO ntt_schema (version) VALUES ($1)", version + 1)
    return before, target


def _newer(found: int, known: int) -> DatabaseError:
    return DatabaseError(
        f"this program is older than the database: it knows schema version {known}, the database has {found}",
        f"install an NTT whose schema version is {found} or newer",
    )
