"""Home -> running private PostgreSQL: started by the first NTT process that needs it, stopped by the last.

Three locks in `<home>/postgres` say who is there: `control.lock` is held while a server is started or stopped,
`users.lock` is shared by the NTT processes that use it, `server.lock` is inherited by the server's own processes.
"""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import asyncpg

from ntt import proc
from ntt.db import flocks, places as layout
from ntt.db.binaries import Binaries, find_binaries
from ntt.db.places import Places
from ntt.db.postmaster import Postmaster, postmaster_of
from ntt.db.server_user import ServerUser, choose_user, command_prefix
from ntt.errors import BusyError, DatabaseError

START_LIMIT_S = 600  # recovery after a crash replays up to max_wal_size
STOP_LIMIT_S = 30
LEFTOVER_LIMIT_S = 30  # backends of a killed server end once their statement does

# fsync and synchronous_commit stay at their default: on
SERVER_SETTINGS = (
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    ("cluster_name", "ntt"),
    ("max_connections", "40"),
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
async def embedded_server(home: Path, server_user: str | None) -> AsyncIterator[str]:
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
            with anyio.move_on_after(2 * STOP_LIMIT_S, shield=True):
                await _leave(server, users)


async def stop_embedded_server(home: Path, server_user: str | None) -> bool:
    """Stops a server that a killed NTT process left; False when none ran. BusyError while NTT processes use it."""
    places = layout.places_in(home)
    if not places.data.exists():
        return False
    server = await _prepare(home, server_user)
    with flocks.lock_file(places.users_lock) as users:
        async with _control(places, STOP_LIMIT_S):
            if not flocks.try_exclusive(users):
                raise BusyError("the embedded database is in use by another NTT process", "end that one first")
            return await server.stopped()


def embedded_url(home: Path) -> str | None:
    """The URL of the home's server (psql takes it as its argument) if it runs now, else None."""
    places = layout.places_in(home)
    postmaster = postmaster_of(places.data)
    if postmaster is None or not postmaster.alive:
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
            postmaster = postmaster_of(self.places.data)
            if postmaster is None or not postmaster.alive:
                return False
            await self._pg_ctl("stop", "-m", "fast", "-w", "-t", str(STOP_LIMIT_S), limit_s=STOP_LIMIT_S + 5)
            return await flocks.became_free(lock, LEFTOVER_LIMIT_S)

    async def _running_url(self, lock: int) -> str | None:
        """The URL of the server that holds `lock`; None, with the lock, once nothing of it is left."""
        with anyio.move_on_after(START_LIMIT_S):
            silent_since = anyio.current_time()
            while not flocks.try_exclusive(lock):
                postmaster = postmaster_of(self.places.data)
                alive = postmaster is not None and postmaster.alive
                if postmaster is not None and alive and await self._answers(postmaster):
                    return layout.url_of(postmaster.socket_folder)
                if not alive and anyio.current_time() - silent_since > LEFTOVER_LIMIT_S:
                    raise DatabaseError(
                        f"processes of a killed PostgreSQL server still use {self.places.data}", "end them, then try again"
                    )
                await anyio.sleep(flocks.POLL_S)
            return None
        raise DatabaseError(f"the embedded database does not answer, see {self.places.log}")

    async def _answers(self, postmaster: Postmaster) -> bool:
        """Whether it takes connections; False while it starts, recovers or stops."""
        try:
            connection = await asyncpg.connect(layout.url_of(postmaster.socket_folder), timeout=5)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        await connection.close(timeout=5)
        return True

    async def _start(self, lock: int) -> str:
        """A server of its own session, holding nothing of ours but `lock`; DatabaseError quotes its log."""
        postmaster = postmaster_of(self.places.data)
        if postmaster is not None and postmaster.alive:
            # started by hand: it is as good as ours, and lets us in or says why not
            return layout.url_of(postmaster.socket_folder)
        try:
            await self._initialise()
            if postmaster is not None:
                postmaster.remove_if_stale()
            socket_folder = layout.socket_folder(self.places)
            layout.make_private_folder(socket_folder, self.user)
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
        if finished.status != 0:
            raise DatabaseError(f"{self.places.data} cannot be made: {program}: {said or finished.complaint}")

    async def _pg_ctl(self, *arguments: str, limit_s: float, pass_fds: tuple[int, ...] = ()) -> proc.Finished:
        return await self._finished("pg_ctl", "-D", str(self.places.data), *arguments, limit_s=limit_s, pass_fds=pass_fds)

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
