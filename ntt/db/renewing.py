"""Contents that were stored anew -> their rows point to the new place, once that is durable."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from ntt.db.connection import Connection, Database, translated
from ntt.db.locks import LockSpace, try_advisory
from ntt.db.paths import Key, whole_paths_of
from ntt.db.verifying import StoredBlob
from ntt.errors import BusyError


class RenewalPack:
    """A new pack that no one else writes."""

    def __init__(self, connection: Connection, pack_id: int) -> None:
        """Use `taken`."""
        self._connection = connection
        self.id = pack_id
        self.end = 0

    @staticmethod
    @asynccontextmanager
    async def taken(database: Database) -> AsyncIterator[RenewalPack]:
        """For the body; what the body leaves uncommitted in it is cut off at the next start."""
        async with database.connected() as connection:
            with translated():
                async with connection.transaction():
                    # locked before anybody can see it
                    pack_id: int = await connection.fetchval("INSERT INTO pack DEFAULT VALUES RETURNING id")
                    if not await try_advisory(connection, LockSpace.PACK, pack_id):
                        raise BusyError(f"pack {pack_id} is written by another process", "run again")
            yield RenewalPack(connection, pack_id)

    async def move(self, blobs: Sequence[StoredBlob], end: int) -> None:
        """The rows of these contents point to this pack, which is durable up to `end`; one transaction."""
        with translated():
            async with self._connection.transaction():
                await self._connection.execute(
                    """UPDATE blob SET pack_id = $1, pack_offset = n.pack_offset
                       FROM unnest($2::bigint[], $3::int[]) AS n(id, pack_offset) WHERE blob.id = n.id""",
                    self.id,
                    [blob.id for blob in blobs],
                    [blob.pack_offset for blob in blobs],
                )
                await self._connection.execute("UPDATE pack SET committed_bytes = $2 WHERE id = $1", self.id, end)
        self.end = end


async def file_paths(database: Database, medium_id: int, keys: Collection[Key]) -> dict[Key, bytes]:
    """One path of each of these files, for volumes that are read by path only."""
    async with database.connection() as connection:
        return await whole_paths_of(connection, medium_id, keys)
