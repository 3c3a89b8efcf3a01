"""Contents that the store no longer has as they were -> the same bytes again, from an image or archive that has them.

A content goes back to its place where its pack still reaches that far, else to the end of another one; its row, and the
files that refer to it, stay what they are. What comes out of an image is taken only if it hashes to the content's name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import anyio.to_thread

from ntt.config import Settings
from ntt.db.connection import Database
from ntt.db.locks import LockSpace, advisory_lock
from ntt.db.media import Media, Medium
from ntt.db.repairing import Holder, Repairing, Room
from ntt.db.verifying import StoredBlob
from ntt.errors import BusyError, MediumError, StoreError
from ntt.operations.images import unpacked_image
from ntt.operations.rereading import Effort, Readable, Wanted, reread
from ntt.store.layout import PACK_LIMIT_BYTES, SMALL_BLOB_LIMIT_BYTES, BlobLocation, StoreLayout
from ntt.store.mending import (
    PackWalk,
    append_member,
    hash_of,
    is_whole,
    walk_pack,
    write_header,
    write_member,
    write_plain,
)
from ntt.store.packs import BLOCK_BYTES, member_bytes


@dataclass(slots=True)
class Healed:
    """Hashes of contents that are whole again, ids that got another number, and why media did not help."""

    contents: list[str] = field(default_factory=list)
    found: list[int] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    waits: bool = False  # some medium was busy: nothing is to be given up yet


class Healer:
    """`work` is a folder of this run, on a disk with room for an image; `tmp` of the store takes single contents."""

    def __init__(
        self, database: Database, store: StoreLayout, settings: Settings, work: Path, repairing: Repairing
    ) -> None:
        self._database = database
        self._store = store
        self._effort = Effort(settings.worker_memory_bytes, settings.stall_s)
        self._work = work
        self._repairing = repairing
        self.healed = Healed()

    async def heal(self, lost: Sequence[StoredBlob], dangling: Sequence[int]) -> tuple[list[StoredBlob], list[int]]:
        """What could not be had anywhere: contents, and numbers that files refer to and that are no content's."""
        left = {blob.id: blob for blob in lost if not await self._without_a_medium(blob)}
        numbers = set(dangling) - left.keys()
        holders = await self._repairing.holders([*left, *numbers])
        async with self._database.connected() as connection:
            room = Room(connection, PACK_LIMIT_BYTES, self._reaches)
            for medium_id in dict.fromkeys(holder.medium_id for holder in holders):
                wanted = [
                    h for h in holders if h.medium_id == medium_id and (h.blob_id in left or h.blob_id in numbers)
                ]
                if wanted:
                    await self._from_medium(medium_id, wanted, left, numbers, room)
        return list(left.values()), sorted(numbers)

    async def _without_a_medium(self, blob: StoredBlob) -> bool:
        """Where only its header is wrong, or only what its row says of its place."""
        if blob.pack_id is None:
            return False
        place, walk = _place(blob), await self._walk(blob.pack_id)
        if walk is None:
            return False
        if walk.has_place_for(place) and await anyio.to_thread.run_sync(is_whole, self._store, place):
            await anyio.to_thread.run_sync(write_header, self._store, place)
        else:
            for member in walk.members:
                if member.blob_hash == blob.blob_hash and await anyio.to_thread.run_sync(is_whole, self._store, member):
                    await self._repairing.move(member)
                    break
            else:
                return False
        self.healed.contents.append(blob.blob_hash.hex())
        return True

    def _reaches(self, pack_id: int, end: int) -> bool:
        path = self._store.pack_path(pack_id)
        return path.stat().st_size >= end if path.is_file() else end == 0

    async def _walk(self, pack_id: int) -> PackWalk | None:
        rows = await self._repairing.blobs_of_pack(pack_id)
        known = {(row.pack_offset or 0) - BLOCK_BYTES: member_bytes(row.size_bytes) for row in rows}
        try:
            return await anyio.to_thread.run_sync(walk_pack, self._store, pack_id, known)
        except OSError:
            return None

    async def _from_medium(
        self, medium_id: int, holders: list[Holder], left: dict[int, StoredBlob], numbers: set[int], room: Room
    ) -> None:
        medium = await Media(self._database).by_id(medium_id)
        try:
            async with advisory_lock(self._database, LockSpace.MEDIUM, medium_id, f"medium {medium.medium_hash[:8]}"):
                if await anyio.to_thread.run_sync(_is_image, medium) and medium.image_path is not None:
                    await self._from_image(medium, Path(medium.image_path), holders, left, numbers, room)
                else:
                    async with unpacked_image(medium, self._work) as image:
                        await self._from_image(medium, image, holders, left, numbers, room)
        except BusyError as busy:
            self.healed.refusals.append(str(busy))
            self.healed.waits = True
        except MediumError as error:
            self.healed.refusals.append(f"medium {medium.medium_hash[:8]}: {error}")

    async def _from_image(
        self,
        medium: Medium,
        image: Path,
        holders: list[Holder],
        left: dict[int, StoredBlob],
        numbers: set[int],
        room: Room,
    ) -> None:
        volumes = await Media(self._database).volumes(medium.id)
        by_path = {volume.index for volume in volumes if volume.route.is_mount}
        keys = {(h.volume, h.ino) for h in holders if h.volume in by_path}
        paths = await self._repairing.paths(medium.id, keys)
        of = {(h.volume, h.ino): h.blob_id for h in holders}
        files = [Wanted(h.volume, h.ino, h.size, paths.get((h.volume, h.ino), b"")) for h in holders]
        self._store.prepare()
        fd = os.open(image, os.O_RDONLY | os.O_CLOEXEC)
        try:
            readable = Readable(fd, medium.image_bytes, volumes, medium.unread_or_beyond)
            found = reread(readable, files, self._store.tmp, self._work, self._effort)
            async with aclosing(found):  # whatever is raised here, the worker ends in this task
                async for wanted, blob_hash, content in found:
                    blob_id = of[wanted.volume, wanted.ino]
                    blob = left.get(blob_id)
                    if blob is not None and blob.blob_hash == blob_hash:
                        await self._put_back(blob, content, room)
                        del left[blob_id]
                        self.healed.contents.append(blob_hash.hex())
                    elif blob_id in numbers:
                        await self._name(blob_id, blob_hash, content, room)
                        numbers.discard(blob_id)
                        self.healed.found.append(blob_id)
        finally:
            os.close(fd)

    async def _put_back(self, blob: StoredBlob, content: Path, room: Room) -> None:
        await self._require(blob.blob_hash, content)
        place = _place(blob)
        if blob.pack_id is None:
            await anyio.to_thread.run_sync(write_plain, self._store, blob.blob_hash, content)
            return
        walk = await self._walk(blob.pack_id)
        if walk is None or not walk.has_place_for(place):  # never over what is another's
            await self._append(blob.blob_hash, content, room)
        else:
            await anyio.to_thread.run_sync(write_member, self._store, place, content)

    async def _name(self, number: int, blob_hash: bytes, content: Path, room: Room) -> None:
        """Files refer to `number`, which is no content's any more; it was this one's."""
        await self._require(blob_hash, content)
        known = await self._repairing.blobs([blob_hash])
        new_id = known[0].id if known else await self._append(blob_hash, content, room)
        await self._repairing.refer(number, new_id)

    async def _append(self, blob_hash: bytes, content: Path, room: Room) -> int:
        size_bytes = content.stat().st_size
        if size_bytes >= SMALL_BLOB_LIMIT_BYTES:
            await anyio.to_thread.run_sync(write_plain, self._store, blob_hash, content)
            return await self._repairing.move(BlobLocation(blob_hash, size_bytes, None, None))
        pack_id, at = await room.take(member_bytes(size_bytes))
        end = await anyio.to_thread.run_sync(append_member, self._store, pack_id, at, blob_hash, content)
        room.filled(end)
        return await self._repairing.move(BlobLocation(blob_hash, size_bytes, pack_id, at + BLOCK_BYTES), end)

    async def _require(self, blob_hash: bytes, content: Path) -> None:
        # the worker may have been taken over by the image, and what it says of a content is only what it says
        if await anyio.to_thread.run_sync(hash_of, content) != blob_hash:
            raise StoreError("a worker gave other bytes than it hashed", "the image may be hostile: look at it")


def _place(blob: StoredBlob) -> BlobLocation:
    return BlobLocation(blob.blob_hash, blob.size_bytes, blob.pack_id, blob.pack_offset)


def _is_image(medium: Medium) -> bool:
    """Is the file still the image that was listed?"""
    path = Path(medium.image_path or "")
    try:
        if not path.is_file() or path.stat().st_size != medium.image_bytes:
            return False
        return hash_of(path).hex() == medium.image_hash
    except OSError:
        return False
