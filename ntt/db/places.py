"""Where the embedded server lives below the home, and where its socket goes when that path is too long."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from ntt.db.server_user import ServerUser
from ntt.errors import DatabaseError

PORT = 5432
SOCKET_NAME = f".s.PGSQL.{PORT}"
SOCKET_PATH_LIMIT_BYTES = 107  # unix(7): sun_path holds 108 bytes with the terminating zero
SUPERUSER = "ntt"
DATABASE = "ntt"
LOG_LIMIT_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Places:
    """The files of one embedded server; `postgres` holds them all and is made by NTT."""

    postgres: Path

    @property
    def data(self) -> Path:
        return self.postgres / "data"

    @property
    def log(self) -> Path:
        return self.postgres / "server.log"

    @property
    def control_lock(self) -> Path:
        """Held by whoever starts or stops the server."""
        return self.postgres / "control.lock"

    @property
    def users_lock(self) -> Path:
        """Held, shared, by every NTT process that uses the server."""
        return self.postgres / "users.lock"

    @property
    def server_lock(self) -> Path:
        """Inherited by every process of the server: free means that none of them is left."""
        return self.postgres / "server.lock"


def places_in(home: Path) -> Places:
    return Places(Path(os.path.abspath(home)) / "postgres")  # noqa: PTH100 - a symbolic link keeps a path short


def url_of(socket_folder: Path) -> str:
    """What asyncpg and psql take; no password: who reaches the socket is who may."""
    return f"postgresql://{SUPERUSER}@/{DATABASE}?host={quote(str(socket_folder))}&port={PORT}"


def has_socket(url: str) -> bool:
    """Whether the socket that a URL of `url_of` names is still there."""
    return (Path(parse_qs(urlsplit(url).query)["host"][0]) / SOCKET_NAME).exists()


def make_home(places: Places, user: ServerUser) -> None:
    """Creates the home and the server's folder where they are missing; the modes of existing ones stay."""
    try:
        places.postgres.parent.mkdir(parents=True, exist_ok=True)
        if not places.postgres.exists():
            places.postgres.mkdir(mode=0o711 if user.switch else 0o700, exist_ok=True)
            places.postgres.chmod(0o711 if user.switch else 0o700)  # whatever the umask
    except OSError as wrong:
        raise DatabaseError(f"{places.postgres} cannot be made: {wrong.strerror}", "choose another --home") from None


def make_private_folder(folder: Path, user: ServerUser) -> None:
    """A 0700 folder of `user`'s; DatabaseError when somebody else was there first."""
    try:
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            status = folder.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (user.uid, os.geteuid()):
                raise DatabaseError(f"{folder} is not a folder of {user.name}'s", "remove it") from None
        folder.chmod(0o700)
        if user.switch:
            os.chown(folder, user.uid, user.gid)
    except OSError as wrong:
        raise DatabaseError(f"{folder} cannot be made: {wrong.strerror}") from None


def socket_folder(places: Places) -> Path:
    """`run` beside the data, or a short folder named after the home where the socket's path would not fit."""
    beside = places.postgres / "run"
    if len(os.fsencode(beside / SOCKET_NAME)) <= SOCKET_PATH_LIMIT_BYTES:
        return beside
    name = "ntt-" + hashlib.blake2b(os.fsencode(places.postgres), digest_size=8).hexdigest()
    if os.geteuid() == 0:
        return Path("/run") / name
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    return (runtime if runtime.is_dir() else Path(tempfile.gettempdir())) / name


def remove_socket(folder: Path) -> None:
    """What a killed server left: its lock file would count as held while its process is an unreaped zombie."""
    for name in (SOCKET_NAME, f"{SOCKET_NAME}.lock"):
        (folder / name).unlink(missing_ok=True)


def remove_distant_socket_folder(places: Places) -> None:
    """Leaves nothing outside of the home once the server has ended; one that is still in use stays."""
    folder = socket_folder(places)
    if folder.parent != places.postgres:
        with suppress(OSError):
            folder.rmdir()


def open_log(places: Places, user: ServerUser) -> int:
    """The size of the server's log, made for `user`; one over 10 MB is put aside as `server.log.1` first."""
    if places.log.exists() and places.log.stat().st_size > LOG_LIMIT_BYTES:
        places.log.replace(places.log.with_suffix(".log.1"))
    fd = os.open(places.log, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if user.switch:
            os.fchown(fd, user.uid, user.gid)
        return os.fstat(fd).st_size
    finally:
        os.close(fd)


def first_complaint(text: str) -> str:
    """The line of a PostgreSQL program's output that says what was wrong; empty when none does."""
    lines = text.strip().splitlines()
    for mark in ("FATAL:", "PANIC:", "ERROR:", "error:", "could not", ""):
        for line in lines:
            if mark in line:
                return line.partition(mark)[2].strip() if mark.endswith(":") else line.strip()
    return ""


def log_since(places: Places, offset: int) -> str:
    """What the server wrote to its log after `offset`, at most 64 KiB of it."""
    try:
        with places.log.open("rb") as log:
            log.seek(offset)
            return log.read(1 << 16).decode(errors="replace")
    except OSError:
        return ""


def rename_durably(source: Path, target: Path) -> None:
    """`target` is there after a power cut too: the folder that holds the new name is synced."""
    source.rename(target)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
