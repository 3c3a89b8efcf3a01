"""What tests share: one real PostgreSQL for the whole run, a fresh database for each test, a home."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from database_server import TEMPLATE, DatabaseServer, running_server


@pytest.fixture(scope="session")
def database_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """The one server of this test run; it has ended when the run ends, failed or not."""
    with running_server(tmp_path_factory.mktemp("server") / "home") as server:
        yield server


@pytest.fixture
def database_url(database_server: DatabaseServer) -> Iterator[str]:
    """The URL of a database of this test's own that holds the schema and no rows."""
    with database_server.database(TEMPLATE) as url:
        yield url


@pytest.fixture
def bare_database_url(database_server: DatabaseServer) -> Iterator[str]:
    """The URL of a database of this test's own with nothing in it."""
    with database_server.database("template0") as url:
        yield url


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that does not exist yet."""
    return tmp_path / "home"
