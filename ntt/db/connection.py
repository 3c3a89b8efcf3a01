"""Settings -> a pool of connections to the catalogue, the embedded server's or a named one's."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

import anyio
import asyncpg
import msgspec

from ntt.config import Settings
from ntt.db.binaries import MINIMUM_MAJOR
from ntt.db.embedded import embedded_server
from ntt.errors import DatabaseError

# in quotes: only the stubs know that these classes are generic
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

POOL_SIZE = 6
CONNECT_LIMIT_S = 10
CLOSE_LIMIT_S = 5
APPLICATION_NAME_LIMIT_BYTES = 63  # PostgreSQL cuts what is longer


@dataclass(frozen=True, slots=True)
class Database:
    """An open catalogue. `where` names it for people and holds no password; `url` may."""

    pool: Pool
    url: str
    where: str
    run_id: str
    application_name: str

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """One of the pool, for the body; failures that an operator can mend come out as DatabaseError."""
        with translated():
            connection = await self.pool.acquire()
            try:
                yield connection
            except BaseException:
                # a connection that broke in the body cannot be put in order: asyncpg ends it, and what
                # it says of that must not stand in the place of what happened
                with suppress(asyncpg.InterfaceError, asyncpg.PostgresError, OSError):
                    await self.pool.release(connection)
                raise
            await self.pool.release(connection)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Connection]:
        """A connection of its own, outside the pool: for what is held long, such as a lock."""
        with connecting(self.where):
            connection = await asyncpg.connect(
                self.url, timeout=CONNECT_LIMIT_S, server_settings=_server_settings(self.application_name)
            )
        try:
            await _set_codecs(connection)
            yield connection
        finally:
            await _close(connection)


@asynccontextmanager
async def open_database(settings: Settings, run_id: str | None = None) -> AsyncIterator[Database]:
    """The catalogue that the settings name, reachable; whether it holds NTT's schema is for `ensure_schema`.

    `run_id` stands in `application_name`, with pid and host, for whoever looks into pg_stat_activity.
    DatabaseError in one line when the server cannot be reached, refuses, or is too old.
    """
    if settings.database_url is None:
        async with (
            embedded_server(settings.home, settings.postgres_user) as url,
            _opened(url, f"the embedded server in {settings.home}", run_id) as database,
        ):
            yield database
    else:
        async with _opened(settings.database_url, described(settings.database_url), run_id) as database:
            yield database


@asynccontextmanager
async def _opened(url: str, where: str, run_id: str | None) -> AsyncIterator[Database]:
    run = run_id or secrets.token_hex(4)
    name = f"ntt {run} pid {os.getpid()} on {socket.gethostname()}".encode()[:APPLICATION_NAME_LIMIT_BYTES]
    application_name = name.decode("ascii", "replace")
    with connecting(where):
        pool: Pool = await asyncpg.create_pool(
            url,
            min_size=0,  # a floor is restored by asyncpg itself, with a traceback where no server answers
            max_size=POOL_SIZE,
            timeout=CONNECT_LIMIT_S,
            init=_set_codecs,
            server_settings=_server_settings(application_name),
        )
    try:
        with connecting(where):
            async with pool.acquire(timeout=CONNECT_LIMIT_S) as connection:
                _refuse_old_server(connection, where)
        yield Database(pool, url, where, run, application_name)
    finally:
        # close() asks every connection to say goodbye, which a dead server never answers
        with anyio.move_on_after(CLOSE_LIMIT_S, shield=True):
            await pool.close()
        pool.terminate()


def _server_settings(application_name: str) -> dict[str, str]:
    # an idle lock connection must survive routers that forget, and notice a host that is gone
    return {"application_name": application_name, "tcp_keepalives_idle": "60"}


def _refuse_old_server(connection: Connection, where: str) -> None:
    major = connection.get_server_version().major
    if major < MINIMUM_MAJOR:
        raise DatabaseError(f"{where} is PostgreSQL {major}", f"NTT needs version {MINIMUM_MAJOR} or newer")


async def _close(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    with anyio.move_on_after(CLOSE_LIMIT_S, shield=True), translated():
        await connection.close()
    connection.terminate()


async def _set_codecs(connection: Connection) -> None:
    """jsonb values are Python objects, in queries and in COPY (which only takes the binary format)."""
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_jsonb_encoded, decoder=_jsonb_decoded, format="binary"
    )


def _jsonb_encoded(value: object) -> bytes:
    return b"\x01" + msgspec.json.encode(value)  # version 1 of the format, PostgreSQL source, `jsonb_recv`


def _jsonb_decoded(wire: bytes) -> object:
    return msgspec.json.decode(wire[1:], type=object)


def described(url: str) -> str:
    """Host and database of a URL for messages; never its user's password, however the URL is broken."""
    try:
        parts = urlsplit(url)
        # an unescaped character in a password moves the rest of it into another part
        if "@" in parts.path + parts.query + parts.fragment or parts.scheme not in ("postgresql", "postgres"):
            return "the named database"
        host = parts.hostname or parse_qs(parts.query).get("host", ["localhost"])[0]
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "the named database"
    return f"the database {parts.path.lstrip('/') or '(default)'} on {host}{port}"


@contextmanager
def connecting(where: str) -> Iterator[None]:
    """Failures to connect become a DatabaseError that names the server and the cause."""
    try:
        yield
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError) as refused:
        raise DatabaseError(f"{where} refuses us: {refused}", "correct user and password") from None
    except asyncpg.InvalidCatalogNameError as missing:
        raise DatabaseError(f"{where}: {missing}", "create it first (`createdb`)") from None
    except TimeoutError:
        raise DatabaseError(f"{where} does not answer within {CONNECT_LIMIT_S} s", "is the address right?") from None
    except OSError as unreachable:
        cause = unreachable.strerror or str(unreachable)
        raise DatabaseError(f"{where} cannot be reached: {cause}", "is the server running?") from None
    except (asyncpg.ClientConfigurationError, ValueError):
        # its text quotes the URL, password included
        raise DatabaseError(
            f"{where}: the database URL is not understood", "write postgresql://user:password@host:port/name"
        ) from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as refused:
        raise DatabaseError(f"{where} refuses us: {refused}") from None


@contextmanager
def translated() -> Iterator[None]:
    """Failures that an operator can mend become a DatabaseError; all others are bugs and pass unchanged.

    To be entered around database work only: an OSError inside is taken for a lost connection.
    """
    try:
        yield
    except asyncpg.DiskFullError as full:
        raise DatabaseError(f"the database's disk is full ({full})", "free some space, then run again") from full
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as locked:
        raise DatabaseError(f"another process locks the same rows ({locked})", "run again") from locked
    except (asyncpg.InsufficientResourcesError, asyncpg.PostgresSystemError) as short:
        raise DatabaseError(f"the database server is in trouble: {short}", "see its log") from short
    except (asyncpg.ReadOnlySQLTransactionError, asyncpg.InsufficientPrivilegeError) as refused:
        raise DatabaseError(f"the database may not be written to: {refused}") from refused
    except (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, OSError) as lost:
        raise DatabaseError(f"the connection to the database was lost ({lost})", "run again to go on") from lost
    except (asyncpg.InternalClientError, asyncpg.InterfaceError) as confused:
        # asyncpg has no class of its own for a connection that is found closed, is just being closed, or
        # that the pool took back when it was
        text = str(confused)
        if isinstance(confused, asyncpg.InterfaceError) and "closed" not in text and "released back" not in text:
            raise
        raise DatabaseError("the connection to the database was lost", "run again to go on") from confused
