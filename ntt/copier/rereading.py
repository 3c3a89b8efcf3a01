"""Image -> the contents of single files, one after the other, each read by a worker into a file of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import msgspec

from ntt.copier.messages import Batch, Begin, FileJob, FromWorker, Hashed, Read, StoreFailed
from ntt.errors import StoreError
from ntt.fence import Worker, WorkerDied, worker
from ntt.model import MountedRoot, Volume
from ntt.ranges import Ranges


@dataclass(frozen=True, slots=True)
class Reread:
    """What to read from: an open image, its volumes, which of its bytes were not read, roots of mounted volumes."""

    image_fd: int
    volumes: tuple[Volume, ...]
    unread: Ranges
    memory_bytes: int
    stall_s: float
    roots: Mapping[int, MountedRoot] = field(default_factory=dict)


class Rereader:
    """One worker at a time; a file that it dies of is a failure of that file, and the next file gets another."""

    def __init__(self, about: Reread) -> None:
        self._about = about

    async def read(self, jobs: Sequence[tuple[FileJob, int]]) -> list[Read | str]:
        """(file, descriptor that its content goes to) -> hash and size of the content, or why there is none.

        Zeros may be left out at the end of a file: `Read.size` is its size. StoreError when it cannot be written.
        """
        found: list[Read | str] = []
        while len(found) < len(jobs):
            try:
                await self._live(jobs, found)
            except* WorkerDied as died:
                found.append(str(died.exceptions[0]))
        return found

    async def _live(self, jobs: Sequence[tuple[FileJob, int]], found: list[Read | str]) -> None:
        about = self._about
        decoder: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)
        roots = tuple(root.fd for root in about.roots.values())
        async with worker(
            "copy", about.image_fd, about.memory_bytes, decoder, pass_fds=roots, reads_mounts=bool(roots)
        ) as link:
            await link.send(Begin(about.volumes, about.unread, "a temporary file", dict(about.roots)))
            async with anyio.create_task_group() as guards:
                guards.start_soon(self._watch, link)
                for number, (job, fd) in enumerate(jobs[len(found) :]):
                    found.append(await _one(link, number, job, fd))
                guards.cancel_scope.cancel()

    async def _watch(self, link: Worker[FromWorker]) -> None:
        seen, since, stall_s = link.pulse.read(), time.monotonic(), self._about.stall_s
        while time.monotonic() - since < stall_s:
            await anyio.sleep(min(1.0, stall_s / 4))
            if (now := link.pulse.read()) != seen:
                seen, since = now, time.monotonic()
        link.kill()


async def _one(link: Worker[FromWorker], number: int, job: FileJob, fd: int) -> Read | str:
    os.ftruncate(fd, 0)
    await link.hand_over(fd)
    await link.send(Batch(number, (job,), with_file=True))
    match await link.receive():
        case Hashed(number=answered, reads=(Read() as read,)) if answered == number:
            return read if read.blob_hash else read.reason
        case StoreFailed(text=text):
            raise StoreError(text)
        case _:
            raise WorkerDied("a worker answered what it was not asked")
