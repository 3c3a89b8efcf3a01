"""Files of an image -> their contents again, one after the other, read by the fenced worker that copies read with."""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import msgspec

from ntt.copier.messages import Batch, Begin, FileJob, FromWorker, Hashed, Read, StoreFailed
from ntt.errors import MediumError, StoreError
from ntt.fence import Worker, WorkerDied, worker
from ntt.model import MountedRoot, OutcomeStatus, Volume, VolumeStatus
from ntt.mounts.session import MountLimits, mount_session
from ntt.ranges import Ranges
from ntt.routes import next_routes

BYTES_PER_S = 1 << 20  # at the least, or a file is given up


@dataclass(frozen=True, slots=True)
class Readable:
    """An image that is open for reading, and what is known of it."""

    fd: int
    size_bytes: int
    volumes: tuple[Volume, ...]
    unread: Ranges


@dataclass(frozen=True, slots=True)
class Wanted:
    """A regular file; `path` where its volume is read by path only."""

    volume: int
    ino: int
    size: int
    path: bytes = b""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a worker may take, and how long it may take for the first byte of a file."""

    memory_bytes: int
    stall_s: float


async def reread(
    image: Readable, files: Sequence[Wanted], temp: Path, work: Path, effort: Effort
) -> AsyncGenerator[tuple[Wanted, bytes, Path], None]:
    """(file, hash of its content, a file in `temp` with it) of those that can be read; the file is gone at the next.

    A file that fails, and one at which the worker dies or stands still, is left out. MediumError when no volume can
    be mounted, or the worker does not even begin.
    """
    waiting = list(files)
    async with _roots(image, {wanted.volume for wanted in files}, work) as (volumes, roots):
        begin = Begin(volumes, image.unread, str(work), dict(roots))
        while waiting:
            before = len(waiting)
            decoder: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)
            fds = tuple(root.fd for root in roots.values())
            async with worker(
                "copy", image.fd, effort.memory_bytes, decoder, pass_fds=fds, reads_mounts=bool(fds)
            ) as link:
                try:
                    await link.send(begin)
                    while waiting:
                        wanted = waiting.pop(0)
                        with _temporary(temp / f"repair-{os.getpid()}-{len(waiting)}.part") as (target, fd):
                            read = await _read(link, len(files) - len(waiting), wanted, fd, effort)
                            if read.status is not OutcomeStatus.FAILED:
                                yield wanted, read.blob_hash, target
                except WorkerDied as died:
                    if len(waiting) == before:
                        raise MediumError(f"the image cannot be read again: {died}") from died


@contextmanager
def _temporary(path: Path) -> Iterator[tuple[Path, int]]:
    """Locked while it is here, as whatever lies in the store's folder for temp files."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield path, fd
    finally:
        path.unlink(missing_ok=True)
        os.close(fd)


async def _read(link: Worker[FromWorker], number: int, wanted: Wanted, fd: int, effort: Effort) -> Read:
    """WorkerDied also when it stands still."""
    with anyio.move_on_after(effort.stall_s + wanted.size / BYTES_PER_S):
        await link.hand_over(fd)
        job = FileJob(wanted.volume, wanted.ino, wanted.size, 1, wanted.path)
        await link.send(Batch(number, (job,), with_file=True))
        match await link.receive():
            case Hashed(number=answered, reads=(read,)) if answered == number:
                os.ftruncate(fd, read.size)  # a hole at its end is not there yet
                return read
            case StoreFailed(text=text):
                raise StoreError(text)
            case _:
                raise WorkerDied("a worker answered what it was not asked")
    link.kill()
    raise WorkerDied("a worker stood still")


@asynccontextmanager
async def _roots(
    image: Readable, wanted: set[int], work: Path
) -> AsyncIterator[tuple[tuple[Volume, ...], dict[int, MountedRoot]]]:
    """The volumes of the files, those that are read below a mount mounted; what cannot be mounted is left out."""
    volumes = [v for v in image.volumes if v.index in wanted and v.status is VolumeStatus.READ]
    mounted = [volume for volume in volumes if volume.route.is_mount]
    if not mounted:
        yield tuple(volumes), {}
        return
    routes = {v.index: (v.route, *next_routes(v.fstype, v.route)) for v in mounted}
    async with mount_session(image.fd, image.size_bytes, mounted, routes, work, MountLimits()) as session:
        roots = {index: MountedRoot(found.root_fd, found.kind) for index, found in session.mounted.items()}
        yield (
            tuple(
                msgspec.structs.replace(v, route=session.mounted[v.index].route) if v.index in roots else v
                for v in volumes
                if v.index in roots or not v.route.is_mount
            ),
            roots,
        )
