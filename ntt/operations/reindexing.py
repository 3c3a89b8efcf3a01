"""The store alone -> rows of `blob` and `pack`: every content that is what its name says is in the catalogue then.

Packs are ustar files whose members are named by their BLAKE3, larger contents are files named by theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import anyio.to_thread

from ntt.db.auditing import Auditing
from ntt.db.connection import Database
from ntt.db.locks import LockSpace, advisory_lock
from ntt.db.repairing import Repairing
from ntt.errors import BusyError
from ntt.operations.audit_files import strangers
from ntt.store.layout import BlobLocation, StoreLayout
from ntt.store.mending import is_whole, plain_blobs, walk_pack

AT_ONCE = 1_000


@dataclass(slots=True)
class Reindexed:
    """Hashes: `taken` have a row now, `rotten` are in the store but are not what their names say."""

    taken: list[str] = field(default_factory=list)
    rotten: list[str] = field(default_factory=list)
    packs: list[int] = field(default_factory=list)


class Reindexer:
    """Without `only` everything that the catalogue does not know is looked at, else just these."""

    def __init__(self, database: Database, store: StoreLayout, repairing: Repairing) -> None:
        self._database = database
        self._auditing = Auditing(database)
        self._store = store
        self._repairing = repairing
        self.done = Reindexed()

    async def everything(self, advance: Callable[[int], None]) -> None:
        """`advance` gets how many contents were looked at."""
        _, packs = await anyio.to_thread.run_sync(strangers, self._store)
        looked = 0
        for pack_id in packs:
            looked += await self.pack(pack_id)
            advance(looked)
        files = plain_blobs(self._store)
        while batch := await anyio.to_thread.run_sync(_some, files):
            await self._take(batch)
            looked += len(batch)
            advance(looked)

    async def pack(self, pack_id: int, only: Collection[bytes] | None = None) -> int:
        """How many members it has. A pack that is being written is left alone."""
        try:
            async with advisory_lock(self._database, LockSpace.PACK, pack_id, f"pack {pack_id}"):
                return await self._pack(pack_id, only)
        except BusyError:
            return 0

    async def _pack(self, pack_id: int, only: Collection[bytes] | None) -> int:
        try:
            walk = await anyio.to_thread.run_sync(walk_pack, self._store, pack_id)
        except OSError:
            return 0  # it cannot be opened: the audit says so
        recorded = {pack.id: pack for pack in await self._auditing.packs()}.get(pack_id)
        if recorded is None:
            await self._repairing.record_pack(pack_id, walk.end, sealed=walk.sealed)
            self.done.packs.append(pack_id)
        # behind what is committed lies what a killed run appended: it belongs to nobody, and is cut off
        end = walk.end if recorded is None else recorded.committed_bytes
        members = [m for m in walk.members if (m.pack_offset or 0) < end and (only is None or m.blob_hash in only)]
        for first in range(0, len(members), AT_ONCE):
            await self._take(members[first : first + AT_ONCE])
        return len(walk.members)

    async def plain(self, hashes: Collection[bytes]) -> None:
        found = [
            BlobLocation(blob_hash, path.stat().st_size, None, None)
            for blob_hash in hashes
            if (path := self._store.blob_path(blob_hash)).is_file()
        ]
        await self._take(found)

    async def _take(self, blobs: Sequence[BlobLocation]) -> None:
        unknown = set(await self._auditing.unknown([blob.blob_hash for blob in blobs]))
        whole: list[BlobLocation] = []
        for blob in blobs:
            if blob.blob_hash not in unknown:
                continue
            if await anyio.to_thread.run_sync(is_whole, self._store, blob):
                whole.append(blob)
                unknown.discard(blob.blob_hash)  # a second copy of it is only waste
            else:
                self.done.rotten.append(blob.blob_hash.hex())
        if whole:
            await self._repairing.take_in(whole)
            self.done.taken += [blob.blob_hash.hex() for blob in whole]


def _some(files: Iterator[BlobLocation]) -> list[BlobLocation]:
    return list(islice(files, AT_ONCE))
