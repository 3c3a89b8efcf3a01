"""Home -> running private PostgreSQL: started by the first NTT process that needs it, stopped by the last.

Three locks in `<home>/postgres` say who is there: `control.lock` is held while a server is started or stopped,
`users.lock` is shared by the NTT processes that use it, `server.lock` is inherited by the server's own processes.
"""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import asyncpg

from ntt import proc
from ntt.db import flocks
from ntt.db import places as layout
from ntt.db.binaries import Binaries, data_version, find_binaries
from ntt.db.places import Places
from ntt.db.postmaster import postmaster_of, remove_stale_file
from ntt.db.server_user import ServerUser, choose_user, command_prefix
from ntt.errors import BusyError, DatabaseError

START_LIMIT_S = 600  # recovery after a crash replays up to max_wal_size
STOP_LIMIT_S = 30
STARTING_LIMIT_S = 5
LEFTOVER_LIMIT_S = 30  # backends of a killed server end once their statement does

# fsync and synchronous_commit stay at their default: on
SERVER_SETTINGS = (
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    ("cluster_name", "ntt"),
    ("max_connections", "200"),
    ("shared_buffers", "64MB"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("max_wal_size", "2GB"),
    ("checkpoint_completion_target", "0.9"),
    ("autovacuum", "on"),
    ("jit", "off"),
    ("log_checkpoints", "off"),
    # a statement may carry thousands of file names
    ("log_min_error_statement", "panic"),
)


@asynccontextmanager
async def embedded_server(home: Path, server_user: str | None, *, leave_running: bool = False) -> AsyncIterator[str]:
    """The URL of the home's own server, for asyncpg and psql; the server runs for as long as this is entered.

    Creates what is missing, recovers what a crash left, and may be entered by any number of processes and
    tasks at once. `server_user` is the unprivileged user to run it as when NTT is root. DatabaseError says
    in one line why there is no server. On leaving, by whatever way, the last user's server has ended.
    """
    server = await _prepare(home, server_user)
    with flocks.lock_file(server.places.users_lock) as users:
        try:
            async with _control(server.places, START_LIMIT_S):
                flocks.take_shared(users)
                url = await server.started()
            yield url
        finally:
            # a server that does not stop now is found and stopped by the next process: finished work stays good
            if not leave_running:
                with anyio.move_on_after(2 * STOP_LIMIT_S, shield=True), suppress(DatabaseError):
                    await _leave(server, users)


async def stop_embedded_server(home: Path, server_user: str | None) -> bool:
    """Stops a server that a killed NTT process left; False when none ran. BusyError while NTT processes use it."""
    places = layout.places_in(home)
    if data_version(places.data) is None:
        return False
    server = await _prepare(home, server_user)
    with flocks.lock_file(places.users_lock) as users:
        async with _control(places, STOP_LIMIT_S):
            if not flocks.try_exclusive(users):
                raise BusyError("the embedded database is in use by another NTT process", "end that one first")
            return await server.stopped()


def has_server(home: Path) -> bool:
    """Was a server ever made in this home?"""
    return data_version(layout.places_in(home).data) is not None


def embedded_url(home: Path) -> str | None:
    """The URL of the home's server (psql takes it as its argument) if it runs now, else None."""
    places = layout.places_in(home)
    postmaster = postmaster_of(places.data)
    if postmaster is None or postmaster.socket_folder is None or not postmaster.alive:
        return None
    return layout.url_of(postmaster.socket_folder)


@asynccontextmanager
async def _control(places: Places, wait_s: float) -> AsyncIterator[None]:
    complaint = f"another process is starting or stopping the embedded database, see {places.log}"
    async with flocks.held(places.control_lock, wait_s, complaint):
        yield


async def _leave(server: Server, users: int) -> None:
    flocks.release(users)
    async with _control(server.places, STOP_LIMIT_S):
        # whoever enters waits for the control lock, so nobody comes in between
        if flocks.try_exclusive(users):
            await server.stopped()


async def _prepare(home: Path, server_user: str | None) -> Server:
    places = layout.places_in(home)
    user = choose_user(server_user, places.data)
    binaries = await find_binaries(places.data)
    layout.make_home(places, user)
    prefix = command_prefix(user, (places.postgres, binaries.folder))
    return Server(places, user, binaries, prefix)


@dataclass(frozen=True, slots=True)
class Server:
    """One home's server; its methods are only called while the control lock is held."""

    places: Places
    user: ServerUser
    binaries: Binaries
    prefix: tuple[str, ...]

    async def started(self) -> str:
        """The URL of a server that answers: the one that runs, or a new one."""
        with flocks.lock_file(self.places.server_lock) as lock:
            if not flocks.try_exclusive(lock):
                url = await self._running_url(lock)
                if url is not None:
                    return url
            return await self._start(lock)

    async def stopped(self) -> bool:
        """Whether a server ran that now does not; DatabaseError when it does not end."""
        with flocks.lock_file(self.places.server_lock) as lock:
            ran = not flocks.try_exclusive(lock)
            if ran:
                # one whose start was cancelled has not told its number yet
                await flocks.became(lambda: self._alive() or flocks.try_exclusive(lock), STARTING_LIMIT_S)
            if self._alive():
                await self._pg_ctl("stop", "-m", "fast", "-w", "-t", str(STOP_LIMIT_S), limit_s=STOP_LIMIT_S + 5)
                ran = True
            if self._alive() or not await flocks.became_free(lock, LEFTOVER_LIMIT_S):
                raise DatabaseError("the embedded database did not stop", f"see {self.places.log}")
            layout.remove_distant_socket_folder(self.places)
            return ran

    def _alive(self) -> bool:
        postmaster = postmaster_of(self.places.data)
        return postmaster is not None and postmaster.alive

    async def _running_url(self, lock: int) -> str | None:
        """The URL of the server that holds `lock`; None, with the lock, once nothing of it is left."""
        with anyio.move_on_after(START_LIMIT_S):
            since = anyio.current_time()
            while not flocks.try_exclusive(lock):
                url = embedded_url(self.places.postgres.parent)
                if url is not None and await _answers(url):
                    return url
                waited_s = anyio.current_time() - since
                if url is not None and waited_s > STARTING_LIMIT_S and not layout.has_socket(url):
                    raise DatabaseError(
                        f"the socket of the embedded database in {self.places.postgres} is gone",
                        "try again once no other NTT process uses it",
                    )
                if not self._alive() and waited_s > LEFTOVER_LIMIT_S:
                    raise DatabaseError(
                        f"processes of a killed PostgreSQL server still use {self.places.data}",
                        "end them, then try again",
                    )
                await anyio.sleep(flocks.POLL_S)
            return None
        raise DatabaseError("the embedded database does not answer", f"see {self.places.log}")

    async def _start(self, lock: int) -> str:
        """A server of its own session, holding nothing of ours but `lock`; DatabaseError quotes its log."""
        by_hand = embedded_url(self.places.postgres.parent)
        if by_hand is not None:
            return by_hand
        try:
            await self._initialise()
            remove_stale_file(self.places.data)
            socket_folder = layout.socket_folder(self.places)
            layout.make_private_folder(socket_folder, self.user)
            layout.remove_socket(socket_folder)
            log_offset = layout.open_log(self.places, self.user)
        except OSError as wrong:
            raise DatabaseError(f"{self.places.postgres} cannot be written: {wrong.strerror}") from None
        settings = (*SERVER_SETTINGS, ("unix_socket_directories", str(socket_folder)), ("port", str(layout.PORT)))
        options = " ".join(shlex.quote(f"--{name}={value}") for name, value in settings)
        finished = await self._pg_ctl(
            *("start", "-w", "-t", str(START_LIMIT_S), "-l", str(self.places.log), "-o", options),
            limit_s=START_LIMIT_S + 5,
            pass_fds=(lock,),
        )
        if finished.status != 0:
            said = layout.log_since(self.places, log_offset) or finished.stderr.decode(errors="replace")
            raise DatabaseError(
                f"the embedded database did not start: {layout.first_complaint(said)}", f"see {self.places.log}"
            )
        return layout.url_of(socket_folder)

    async def _initialise(self) -> None:
        """Makes the data directory aside and renames it into place: a crash leaves none or a whole one."""
        for left in self.places.postgres.glob("data.new-*"):
            shutil.rmtree(left, ignore_errors=True)
        if self.places.data.exists():
            return
        aside = Path(tempfile.mkdtemp(prefix="data.new-", dir=self.places.postgres))
        layout.make_private_folder(aside, self.user)
        try:
            await self._run(
                *("initdb", "-D", str(aside), f"--username={layout.SUPERUSER}", "--encoding=UTF8", "--locale=C"),
                *("--auth=trust", "--no-instructions"),
            )
            create = f"CREATE DATABASE {layout.DATABASE}\n".encode()
            await self._run("postgres", "--single", "-D", str(aside), "postgres", input_bytes=create)
            layout.rename_durably(aside, self.places.data)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    async def _run(self, program: str, *arguments: str, input_bytes: bytes | None = None) -> None:
        finished = await self._finished(program, *arguments, limit_s=START_LIMIT_S, input_bytes=input_bytes)
        said = layout.first_complaint(finished.stderr.decode(errors="replace"))
        # a single-user server goes on after an error and ends with 0
        if finished.status != 0 or b"ERROR:" in finished.stderr:
            raise DatabaseError(f"{self.places.data} cannot be made: {program}: {said or finished.complaint}")

    async def _pg_ctl(self, *arguments: str, limit_s: float, pass_fds: tuple[int, ...] = ()) -> proc.Finished:
        return await self._finished(
            "pg_ctl", "-D", str(self.places.data), *arguments, limit_s=limit_s, pass_fds=pass_fds
        )

    async def _finished(
        self,
        program: str,
        *arguments: str,
        limit_s: float,
        pass_fds: tuple[int, ...] = (),
        input_bytes: bytes | None = None,
    ) -> proc.Finished:
        try:
            return await proc.run(
                [*self.prefix, self.binaries.program(program), *arguments],
                timeout_s=limit_s,
                input_bytes=input_bytes,
                # messages in English; the server keeps time in UTC; none of the user's PG* variables
                env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "TZ": "UTC"},
                cwd="/",
                pass_fds=pass_fds,
            )
        except TimeoutError:
            raise DatabaseError(f"{program} did not end within {limit_s:.0f} s", f"see {self.places.log}") from None


async def _answers(url: str) -> bool:
    """Whether the server takes connections; False while it starts, recovers or stops."""
    try:
        connection = await asyncpg.connect(url, timeout=5)
    except (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError):
        return False
    except asyncpg.PostgresError:  # it has no room for us now: whoever connects next is told
        return True
    await connection.close(timeout=5)
    return True
