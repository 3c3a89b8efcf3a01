"""Contents that a scrub found rotten, and media that had them -> stored anew from image or archive, row by row.

A new copy goes to a new place, is durable and was read back before the row points to it; the bad bytes are left as they
are. Where many are rotten the disk may be, so nothing is written over.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread
import msgspec

from ntt.copier.messages import FileJob, Read
from ntt.copier.rereading import Reread, Rereader
from ntt.db.connection import Database
from ntt.db.media import Media, Medium
from ntt.db.renewing import RenewalPack, file_paths
from ntt.db.scrubbing import Scrub, Source
from ntt.db.verifying import StoredBlob
from ntt.errors import MediumError
from ntt.model import MountedRoot, Volume, VolumeStatus
from ntt.mounts.session import MountLimits, mount_session
from ntt.operations.images import own_image, unpacked_image
from ntt.progress import Stop
from ntt.routes import next_routes
from ntt.store.layout import PACK_LIMIT_BYTES, BlobLocation, StoreLayout
from ntt.store.packs import PackWriter, member_bytes, open_pack
from ntt.store.plain import PlainBlobFile
from ntt.store.reading import BlobDamaged, BlobReader

LISTED = 1_000
GROUP = 256  # small contents that share one sync, and how much they may be
GROUP_BYTES = 16 << 20
Pair = tuple[Source, FileJob]


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    memory_bytes: int
    stall_s: float


class Renewer:
    """`work` is a folder of this run, for images that are unpacked and for what has to be mounted."""

    def __init__(self, database: Database, store: StoreLayout, limits: WorkerLimits, work: Path) -> None:
        self._database = database
        self._store = store
        self._limits = limits
        self._work = work
        self._numbers = 0
        self.healed: list[tuple[StoredBlob, str]] = []  # and from which medium; the first 1,000
        self.healed_total = 0
        self.failures: dict[str, str] = {}  # why nothing, or not all, could be had from a medium

    async def heal(self, scrub: Scrub, stop: Stop) -> None:
        """Medium by medium, the one with most of it first, until all is whole or nobody has the rest, or on `stop`.

        StoreError when the store cannot be written.
        """
        await scrub.find_sources()
        tried: list[int] = []
        while not stop.requested and (medium_id := await scrub.best_medium(tried)) is not None:
            tried.append(medium_id)
            medium = await Media(self._database).by_id(medium_id)
            for way in _ways(medium, self._work):
                sources = await scrub.sources(medium_id)
                if not sources:
                    break
                try:
                    async with way as image:
                        await self._from_image(scrub, medium, image, sources)
                except MediumError as error:
                    self.failures[medium.medium_hash] = str(error)

    async def _from_image(self, scrub: Scrub, medium: Medium, image: Path, sources: Sequence[Source]) -> None:
        try:
            fd = os.open(image, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise MediumError(f"its image cannot be opened: {error.strerror}") from error
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise MediumError("its image is no regular file any more")
            async with self._reachable(medium, fd, status.st_size, {source.volume for source in sources}) as found:
                volumes, roots = found
                by_path = {(source.volume, source.ino) for source in sources if source.volume in roots}
                paths = await file_paths(self._database, medium.id, by_path)
                limits = self._limits
                about = Reread(fd, volumes, medium.unread_or_beyond, limits.memory_bytes, limits.stall_s, roots)
                jobs = [FileJob(s.volume, s.ino, s.size, 1, paths.get((s.volume, s.ino), b"")) for s in sources]
                rereader, pairs = Rereader(about), list(zip(sources, jobs, strict=True))
                await self._small(scrub, medium, rereader, [pair for pair in pairs if pair[0].blob.pack_id is not None])
                for source, job in (pair for pair in pairs if pair[0].blob.pack_id is None):
                    await self._large(scrub, medium, rereader, source, job)
        finally:
            os.close(fd)

    @asynccontextmanager
    async def _reachable(
        self, medium: Medium, fd: int, size_bytes: int, wanted: set[int]
    ) -> AsyncIterator[tuple[tuple[Volume, ...], dict[int, MountedRoot]]]:
        """The volumes, those that need it mounted or closed with the reason, and their roots."""
        volumes = await Media(self._database).volumes(medium.id)
        mounts = [volume for volume in volumes if volume.route.is_mount and volume.index in wanted]
        if not mounts:
            yield volumes, {}
            return
        routes = {v.index: (v.route, *next_routes(v.fstype, v.route)) for v in mounts}
        folder = self._work / "mounts"
        folder.mkdir(parents=True, exist_ok=True)
        async with mount_session(fd, size_bytes, mounts, routes, folder, MountLimits()) as session:
            opened: list[Volume] = []
            for volume in volumes:
                mounted, refused = session.mounted.get(volume.index), session.refused.get(volume.index)
                if mounted is not None:
                    volume = msgspec.structs.replace(volume, route=mounted.route, status=VolumeStatus.READ)
                elif refused is not None:
                    why = f"its volume cannot be mounted: {'; '.join(refused.tried)}"
                    volume = msgspec.structs.replace(volume, status=VolumeStatus.FINDING, finding=why)
                opened.append(volume)
            yield tuple(opened), {i: MountedRoot(m.root_fd, m.kind) for i, m in session.mounted.items()}

    async def _small(self, scrub: Scrub, medium: Medium, rereader: Rereader, pairs: Sequence[Pair]) -> None:
        """Into packs of their own, never into one that may be rotten."""
        groups = _groups(pairs)
        while groups:
            async with RenewalPack.taken(self._database) as pack:
                fd = await anyio.to_thread.run_sync(open_pack, self._store, pack.id, pack.end)
                writer = PackWriter(fd, str(self._store.root))
                try:
                    while groups and (not pack.end or pack.end + GROUP_BYTES <= PACK_LIMIT_BYTES):
                        contents = await self._contents(rereader, groups.popleft())
                        whole = await self._appended(contents, pack, writer)
                        await self._told(scrub, medium, whole)
                finally:
                    writer.close()

    async def _appended(
        self, contents: Sequence[tuple[StoredBlob, bytes]], pack: RenewalPack, writer: PackWriter
    ) -> list[StoredBlob]:
        """Those that are in the pack and in the catalogue now."""
        moved: list[StoredBlob] = []
        end = pack.end
        for blob, content in contents:
            moved.append(StoredBlob(blob.id, blob.blob_hash, blob.size_bytes, pack.id, end + member_bytes(0)))
            end += member_bytes(len(content))
        if not moved:
            return []
        await anyio.to_thread.run_sync(writer.append, [(blob.blob_hash, content) for blob, content in contents])
        await anyio.to_thread.run_sync(writer.sync)
        whole = await anyio.to_thread.run_sync(self._read_back, moved)
        await pack.move(whole, end)
        return whole

    async def _contents(self, rereader: Rereader, pairs: Sequence[Pair]) -> list[tuple[StoredBlob, bytes]]:
        """Those that the image still has, by the worker's word."""
        files = [os.memfd_create("ntt-renewing", os.MFD_CLOEXEC) for _ in pairs]
        try:
            reads = await rereader.read([(job, fd) for (_, job), fd in zip(pairs, files, strict=True)])
            return [
                (source.blob, os.pread(fd, read.size, 0).ljust(read.size, b"\0"))
                for (source, _), fd, read in zip(pairs, files, reads, strict=True)
                if isinstance(read, Read) and _is_it(read, source.blob)
            ]
        finally:
            for fd in files:
                os.close(fd)

    async def _large(self, scrub: Scrub, medium: Medium, rereader: Rereader, source: Source, job: FileJob) -> None:
        """Takes the place of the file that is rotten, in one step."""
        self._numbers += 1
        file = PlainBlobFile(self._store, f"{self._database.run_id}-renewing-{self._numbers}")
        kept = False
        try:
            (read,) = await rereader.read([(job, file.fd)])
            if isinstance(read, Read) and _is_it(read, source.blob):
                await anyio.to_thread.run_sync(file.keep, source.blob.blob_hash, source.blob.size_bytes)
                kept = True
        finally:
            if not kept:
                file.discard()
        if kept:
            await self._told(scrub, medium, await anyio.to_thread.run_sync(self._read_back, [source.blob]))

    def _read_back(self, blobs: Sequence[StoredBlob]) -> list[StoredBlob]:
        """Those that the disk has now."""
        reader = BlobReader(self._store, from_disk=True)
        try:
            return [blob for blob in blobs if _is_whole(reader, blob)]
        finally:
            reader.close()

    async def _told(self, scrub: Scrub, medium: Medium, blobs: Sequence[StoredBlob]) -> None:
        await scrub.healed(blobs)
        self.healed += [(blob, medium.medium_hash) for blob in blobs][: max(0, LISTED - len(self.healed))]
        self.healed_total += len(blobs)


def _ways(medium: Medium, work: Path) -> list[AbstractAsyncContextManager[Path]]:
    """To an image of it, best first."""
    own, unpacked = own_image(medium), unpacked_image(medium, work)
    return [unpacked] if own is None else [nullcontext(own), unpacked]


def _groups(pairs: Sequence[Pair]) -> deque[list[Pair]]:
    groups: deque[list[Pair]] = deque()
    size_bytes = 0
    for source, job in pairs:
        takes = member_bytes(source.blob.size_bytes)
        if not groups or len(groups[-1]) >= GROUP or size_bytes + takes > GROUP_BYTES:
            groups.append([])
            size_bytes = 0
        groups[-1].append((source, job))
        size_bytes += takes
    return groups


def _is_whole(reader: BlobReader, blob: StoredBlob) -> bool:
    try:
        for _ in reader.chunks(BlobLocation(blob.blob_hash, blob.size_bytes, blob.pack_id, blob.pack_offset)):
            pass
    except BlobDamaged:
        return False
    return True


def _is_it(read: Read, blob: StoredBlob) -> bool:
    """The worker's word: what is kept is read back and hashed here before a row points to it."""
    return read.blob_hash == blob.blob_hash and read.size == blob.size_bytes
