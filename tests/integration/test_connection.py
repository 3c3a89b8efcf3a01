"""Connections and locks: values survive the way, failures are one line without a password, holders have names."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

import asyncpg
import pytest
from database_server import DatabaseServer

from ntt.config import Settings
from ntt.db.connection import Database, described, open_database, translated
from ntt.db.embedded import embedded_server
from ntt.db.locks import LockSpace, advisory_lock, lock_key, medium_lock, release_advisory, try_advisory
from ntt.db.schema import ensure_schema
from ntt.errors import BusyError, DatabaseError


def opened(url: str, run_id: str = "run1") -> AbstractAsyncContextManager[Database]:
    return open_database(Settings(database_url=url), run_id)


async def test_json_goes_in_and_out_as_python_objects_also_by_copy(database_url: str) -> None:
    value = {"list": [1, None, "ä\n"], "deep": {"x": 0.5}}
    async with opened(database_url) as database, database.pool.acquire() as connection:
        await connection.execute("CREATE TABLE thing (value jsonb)")
        await connection.execute("INSERT INTO thing VALUES ($1)", value)
        await connection.copy_records_to_table("thing", records=[(value,), (None,)])
        assert [row[0] for row in await connection.fetch("SELECT value FROM thing")] == [value, value, None]


async def test_a_connection_tells_run_process_and_host(database_url: str) -> None:
    async with opened(database_url, "abc123") as database:
        name = await database.pool.fetchval(
            "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        )
    assert name == f"ntt abc123 pid {os.getpid()} on {socket.gethostname()}"[:63]


async def test_the_embedded_server_is_opened_when_no_database_is_named(home: Path) -> None:
    async with open_database(Settings(home=home)) as database, database.pool.acquire() as connection:
        await ensure_schema(connection, create=True)
        assert await connection.fetchval("SELECT count(*) FROM medium") == 0


# ---------------------------------------------------------------- failures


async def test_an_unreachable_server_is_named_with_its_cause() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(DatabaseError) as caught:
            async with opened(f"postgresql://archivist:secret@127.0.0.1:{port}/catalogue"):
                pass
    text = str(caught.value)
    assert f"the database catalogue on 127.0.0.1:{port} cannot be reached" in text
    assert "secret" not in text
    assert "\n" not in text


async def test_a_missing_socket_folder_is_an_unreachable_server(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"cannot be reached: No such file or directory"):
        async with opened(f"postgresql:///x?host={tmp_path}"):
            pass


async def test_a_missing_database_is_named(database_server: DatabaseServer) -> None:
    with pytest.raises(DatabaseError, match=r'database "absent" does not exist; create it first'):
        async with opened(database_server.url_of("absent")):
            pass


async def test_an_unknown_role_is_refused_in_one_line(database_server: DatabaseServer) -> None:
    url = database_server.url_of("ntt").replace("user=ntt", "user=stranger&password=secret")
    with pytest.raises(DatabaseError, match=r'refuses us: role "stranger" does not exist; correct user') as caught:
        async with opened(url):
            pass
    assert "secret" not in str(caught.value)


async def test_a_wrong_password_is_refused_in_one_line_that_hides_it(home: Path) -> None:
    async with embedded_server(home, None) as url:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE ROLE archivist LOGIN PASSWORD 'right'")
        (home / "postgres/data/pg_hba.conf").write_text("local all archivist scram-sha-256\nlocal all all trust\n")
        await connection.execute("SELECT pg_reload_conf()")
        while await connection.fetchval("SELECT count(*) FROM pg_hba_file_rules") != 2:
            pass
        await connection.close()
        async with opened(url.replace("ntt@", "archivist:right@")):
            pass
        with pytest.raises(DatabaseError, match='password authentication failed for user "archivist"') as caught:
            async with opened(url.replace("ntt@", "archivist:cleartext@")):
                pass
    assert "cleartext" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://archivist:se#cret@host/name",
        "postgresql://archivist:se/cret@host/name",
        "postgresql://archivist:se?cret@host/name",
        "postgresql://archivist:cret@host:port/name",
        "archivist:cret@host",
    ],
)
async def test_a_broken_url_never_shows_the_password(url: str) -> None:
    assert "cret" not in described(url)
    with pytest.raises(DatabaseError) as caught:
        async with opened(url):
            pass
    assert "cret" not in str(caught.value)


async def test_a_connection_lost_in_mid_work_is_a_database_error(database_url: str) -> None:
    async with (
        opened(database_url) as database,
        database.connected() as other,
        database.pool.acquire() as connection,
    ):
        await other.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
        for _ in range(2):  # in the call that meets it, and in the next one
            with pytest.raises(DatabaseError, match="connection to the database was lost"), translated():
                await connection.fetchval("SELECT pg_sleep(60)")


async def test_a_full_disk_and_a_lock_are_told_apart_from_bugs(database_url: str) -> None:
    async with opened(database_url) as database, database.connected() as connection:
        for code, text in (("53100", "disk is full"), ("55P03", "locks the same rows"), ("58030", "in trouble")):
            with pytest.raises(DatabaseError, match=text), translated():
                await connection.execute(f"DO $$ BEGIN RAISE 'x' USING ERRCODE = '{code}'; END $$")
        with pytest.raises(asyncpg.UndefinedTableError), translated():
            await connection.execute("SELECT * FROM nowhere")
        with pytest.raises(asyncpg.InterfaceError), translated():
            await connection.fetchval("SELECT $1::int", 1, 2)


# ---------------------------------------------------------------- locks

HOLDER = """
import anyio, sys
from ntt.config import Settings
from ntt.db.connection import open_database
from ntt.db.embedded import embedded_server
from ntt.db.locks import medium_lock

async def hold() -> None:
    async with open_database(Settings(database_url=sys.argv[1]), "holder") as database, medium_lock(database, 7, "m"):
        print("held", flush=True)
        sys.stdin.read()

anyio.run(hold)
"""


@contextmanager
def holder_of_medium_7(url: str) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-c", HOLDER, url]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield holder
        holder.kill()


async def test_a_medium_that_another_process_works_on_is_busy_and_free_after_its_death(database_url: str) -> None:
    async with opened(database_url) as database, database.connected() as connection:
        with holder_of_medium_7(database_url) as holder:
            with pytest.raises(BusyError, match=f"disc 7 is worked on by ntt holder pid {holder.pid} on "):
                async with medium_lock(database, 7, "disc 7"):
                    pass
            async with medium_lock(database, 8, "disc 8"):
                holder.kill()
        # waits until the server has noticed
        await connection.execute("SELECT pg_advisory_lock($1)", lock_key(LockSpace.MEDIUM, 7))


async def test_a_lock_is_given_up_when_its_body_ends_or_fails(database_url: str) -> None:
    async with opened(database_url) as database, database.connected() as connection:
        with pytest.raises(ZeroDivisionError):
            async with advisory_lock(database, LockSpace.PACK, 3, "pack 3"):
                assert not await try_advisory(connection, LockSpace.PACK, 3)
                raise ZeroDivisionError
        await connection.execute("SELECT pg_advisory_lock($1)", lock_key(LockSpace.PACK, 3))
        await release_advisory(connection, LockSpace.PACK, 3)
        async with advisory_lock(database, LockSpace.PACK, 3, "pack 3"):
            pass


async def test_locks_of_different_kinds_do_not_meet(database_url: str) -> None:
    async with (
        opened(database_url) as database,
        medium_lock(database, 1, "medium"),
        medium_lock(database, "1", "image"),
        advisory_lock(database, LockSpace.PACK, 1, "pack"),
    ):
        with pytest.raises(BusyError, match="medium again is worked on by ntt run1"):
            async with medium_lock(database, 1, "medium again"):
                pass
