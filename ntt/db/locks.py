"""Advisory locks: one process at a time works on a medium, a pack or the schema; the others learn which."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from blake3 import blake3

from ntt.db.connection import Connection, Database, translated
from ntt.errors import BusyError, DatabaseError

# a bigint key is shown in two halves (PostgreSQL manual, "pg_locks")
HOLDER = """
SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid::bigint << 32 | l.objid::bigint) = $1
"""


class LockSpace(enum.StrEnum):
    """What a lock's key counts; equal keys of different spaces never meet."""

    SCHEMA = "schema"
    MEDIUM = "medium"  # medium.id
    IMAGE = "image"  # the image hash of a medium that has no row yet
    PACK = "pack"  # pack.id
    VERIFY = "verify"  # what is read: everything


def lock_key(space: LockSpace, key: int | str) -> int:
    """The 64-bit key of PostgreSQL's advisory locks: the head of BLAKE3 over space and key, signed."""
    return int.from_bytes(blake3(f"ntt {space} {key}".encode()).digest(8), "big", signed=True)


async def try_advisory(connection: Connection, space: LockSpace, key: int | str) -> bool:
    """Whether the lock is now this connection's, until `release_advisory` or its end. Never waits."""
    with translated():
        return bool(await connection.fetchval("SELECT pg_try_advisory_lock($1)", lock_key(space, key)))


async def release_advisory(connection: Connection, space: LockSpace, key: int | str) -> None:
    with translated():
        await connection.execute("SELECT pg_advisory_unlock($1)", lock_key(space, key))


@asynccontextmanager
async def advisory_lock(database: Database, space: LockSpace, key: int | str, what: str) -> AsyncIterator[None]:
    """Holds the lock for the body, on a connection of its own; the server gives it up when this process dies.

    BusyError names `what` is worked on and by whom (run, pid and host) when another connection holds it.
    """
    async with database.connected() as connection:
        if not await try_advisory(connection, space, key):
            with translated():
                holder = await connection.fetchval(HOLDER, lock_key(space, key))
            raise BusyError(f"{what} is worked on by {holder or 'another process'}", "wait for it, or end it")
        yield
        if connection.is_closed():  # the lock went with it, and others may have come in since
            raise DatabaseError("the connection to the database was lost", "run again to go on")


@asynccontextmanager
async def medium_lock(database: Database, key: int | str, what: str) -> AsyncIterator[None]:
    """One process per medium: `key` is the medium's id, or its image hash while it has no row."""
    space = LockSpace.MEDIUM if isinstance(key, int) else LockSpace.IMAGE
    async with advisory_lock(database, space, key, what):
        yield
