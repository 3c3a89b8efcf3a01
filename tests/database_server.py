"""One real PostgreSQL in a thread of its own, and databases on it that live as long as a test."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from anyio.from_thread import BlockingPortal, start_blocking_portal

from ntt.db.embedded import embedded_server
from ntt.db.schema import ensure_schema

TEMPLATE = "ntt_template"


@dataclass(frozen=True, slots=True)
class DatabaseServer:
    """A running server; its event loop is not the tests', so that synchronous tests may use it too."""

    url: str
    portal: BlockingPortal
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def url_of(self, name: str) -> str:
        return f"postgresql:///{name}?{urlsplit(self.url).query}&user=ntt"

    def execute(self, *statements: str) -> None:
        """Runs statements in the server's own database, each by itself."""
        self.portal.call(_execute, self.url, *statements)

    @contextmanager
    def database(self, template: str) -> Iterator[str]:
        """The URL of a new copy of `template`, dropped afterwards whoever is still connected."""
        name = f"test_{next(self.numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url_of(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def running_server(home: Path) -> Iterator[DatabaseServer]:
    """A server with the template `TEMPLATE`, which holds the schema; it has ended on leaving."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_tuned_server(home)) as url:
        server = DatabaseServer(url, portal)
        portal.call(_lay_schema, server.url_of(TEMPLATE))
        yield server


@asynccontextmanager
async def _tuned_server(home: Path) -> AsyncIterator[str]:
    async with embedded_server(home, None) as url:
        # these databases die with their tests: waiting for the disk would prove nothing
        await _execute(
            url,
            "ALTER SYSTEM SET fsync = off",
            "SELECT pg_reload_conf()",
            f"CREATE DATABASE {TEMPLATE} TEMPLATE template0",
        )
        yield url


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def _lay_schema(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await ensure_schema(connection, create=True)
    finally:
        await connection.close()
