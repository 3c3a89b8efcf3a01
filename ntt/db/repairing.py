"""Rows that `ntt repair` changes: places of contents, files given up, false stamps, attempts that nobody will close."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ntt.db.auditing import Auditing
from ntt.db.connection import Connection, Database
from ntt.db.locks import LockSpace, release_advisory, try_advisory
from ntt.db.paths import whole_paths_of
from ntt.db.stamps import Backfill, stamp_archived, stamp_copied, stamp_enumerated
from ntt.db.summary import summarise
from ntt.db.undo import UndoFile, noted
from ntt.db.verifying import StoredBlob

UNSTAMPED = {
    "enum_done": "enum_done = NULL, copy_done = NULL, archive_done = NULL, archived_image_hash = NULL",
    "copy_done": "copy_done = NULL, archive_done = NULL, archived_image_hash = NULL",
    "archive_done": "archive_done = NULL, archived_image_hash = NULL",
}


@dataclass(frozen=True, slots=True)
class Holder:
    """A file whose content is `blob_id`; `size` is what its inode says."""

    blob_id: int
    medium_id: int
    volume: int
    ino: int
    size: int


@dataclass(frozen=True, slots=True)
class Witness:
    """The last listing of a medium, if it ended well and nothing can have replaced the image since."""

    nodes: int
    names: int
    listed_at: datetime
    copied_at: datetime | None


class Place(Protocol):
    """Where a content lies: in a pack at an offset, or (both None) in a plain file."""

    @property
    def blob_hash(self) -> bytes: ...

    @property
    def size_bytes(self) -> int: ...

    @property
    def pack_id(self) -> int | None: ...

    @property
    def pack_offset(self) -> int | None: ...


class Repairing:
    """Every change is noted in the undo file first, durably."""

    def __init__(self, database: Database, undo: UndoFile | None) -> None:
        self._database = database
        self._undo = undo

    # ---- contents

    async def blobs(self, hashes: Sequence[bytes]) -> list[StoredBlob]:
        return await self._blobs("hash = ANY($1::bytea[])", list(hashes))

    async def blobs_of_pack(self, pack_id: int) -> list[StoredBlob]:
        return await self._blobs("pack_id = $1", pack_id)

    async def _blobs(self, where: str, argument: object) -> list[StoredBlob]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                f"SELECT id, hash, size, pack_id, pack_offset FROM blob WHERE {where} ORDER BY pack_offset", argument
            )
        return [StoredBlob(r["id"], r["hash"], r["size"], r["pack_id"], r["pack_offset"]) for r in rows]

    async def holders(self, blob_ids: Sequence[int]) -> list[Holder]:
        """One file of each medium for each of them."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """SELECT DISTINCT ON (o.blob_id, medium_id) o.blob_id, medium_id, volume, o.ino, n.size
                   FROM outcome o JOIN node n USING (medium_id, volume, ino) WHERE o.blob_id = ANY($1::bigint[])
                   ORDER BY o.blob_id, medium_id, volume, o.ino""",
                list(blob_ids),
            )
        return [Holder(**row) for row in rows]

    async def dangling(self, medium_id: int) -> list[int]:
        """What files of the medium refer to and is not in the catalogue."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """SELECT DISTINCT blob_id FROM outcome o WHERE medium_id = $1 AND blob_id IS NOT NULL
                       AND NOT EXISTS (SELECT FROM blob b WHERE b.id = o.blob_id)""",
                medium_id,
            )
        return [row["blob_id"] for row in rows]

    async def paths(self, medium_id: int, keys: set[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        async with self._database.connection() as connection:
            return await whole_paths_of(connection, medium_id, keys)

    async def take_in(self, blobs: Sequence[Place]) -> int:
        """New rows for contents that are in the store; those that are known keep their place."""
        count = 0
        async with self._database.connection() as connection, noted(connection, self._undo) as recorder:
            for blob in blobs:
                count += await recorder.insert(
                    "blob",
                    "size, pack_id, pack_offset, hash, id",
                    """SELECT $1::bigint, $2::int, $3::int, $4::bytea, nextval(pg_get_serial_sequence('blob', 'id'))
                       WHERE NOT EXISTS (SELECT FROM blob WHERE hash = $4)""",
                    blob.size_bytes,
                    blob.pack_id,
                    blob.pack_offset,
                    blob.blob_hash,
                )
        return count

    async def move(self, blob: Place, pack_end: int | None = None) -> int:
        """The content lies here from now on; a row is made where there is none. Its id."""
        async with self._database.connection() as connection, noted(connection, self._undo) as recorder:
            changed = await recorder.update(
                "blob",
                "pack_id = $1, pack_offset = $2, size = $3, last_checked = NULL",
                "t.hash = $4",
                blob.pack_id,
                blob.pack_offset,
                blob.size_bytes,
                blob.blob_hash,
            )
            if not changed:
                await recorder.insert(
                    "blob",
                    "size, pack_id, pack_offset, hash, id",
                    "SELECT $1::bigint, $2::int, $3::int, $4::bytea, nextval(pg_get_serial_sequence('blob', 'id'))",
                    blob.size_bytes,
                    blob.pack_id,
                    blob.pack_offset,
                    blob.blob_hash,
                )
            if pack_end is not None:  # what is behind it would be cut off at the next start
                await connection.execute(
                    "UPDATE pack SET committed_bytes = greatest(committed_bytes, $2) WHERE id = $1",
                    blob.pack_id,
                    pack_end,
                )
            found: int = await connection.fetchval("SELECT id FROM blob WHERE hash = $1", blob.blob_hash)
        return found

    async def refer(self, from_id: int, to_id: int) -> int:
        """Files whose content is no longer in the catalogue under this number: it is there under the other."""
        async with self._database.connection() as connection, noted(connection, self._undo) as recorder:
            return await recorder.update("outcome", "blob_id = $2", "t.blob_id = $1", from_id, to_id)

    async def give_up(self, blob_ids: Sequence[int], reason: str) -> tuple[int, list[int]]:
        """Files with these contents have failed; the rows of the contents go. (files, media concerned)."""
        async with self._database.connection() as connection, noted(connection, self._undo) as recorder:
            media = await connection.fetch(
                "SELECT DISTINCT medium_id FROM outcome WHERE blob_id = ANY($1::bigint[])", list(blob_ids)
            )
            files = await recorder.update(
                "outcome",
                "status = 'f', blob_id = NULL, damaged = NULL, reason = $2",
                "t.blob_id = ANY($1::bigint[])",
                list(blob_ids),
                reason,
            )
            await recorder.delete("blob", "t.id = ANY($1::bigint[])", list(blob_ids))
        return files, [row["medium_id"] for row in media]

    async def record_pack(self, pack_id: int, end: int, *, sealed: bool) -> None:
        """How far the pack reaches; a row is made where there is none."""
        async with self._database.connection() as connection, noted(connection, self._undo) as recorder:
            changed = await recorder.update(
                "pack", "committed_bytes = $2, sealed = $3", "t.id = $1", pack_id, end, sealed
            )
            if not changed:
                await recorder.insert(
                    "pack", "id, committed_bytes, sealed", "SELECT $1::int, $2::bigint, $3::bool", pack_id, end, sealed
                )
                await connection.execute(
                    """SELECT setval(pg_get_serial_sequence('pack', 'id'),
                           greatest($1::bigint, nextval(pg_get_serial_sequence('pack', 'id'))))""",
                    pack_id,
                )

    # ---- media

    async def witness(self, medium_id: int) -> Witness | None:
        """An image that came later may have replaced the one that was listed: then the listing witnesses nothing."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_WITNESS, medium_id)
        if row is None or row["nodes"] is None or row["names"] is None:
            return None
        return Witness(row["nodes"], row["names"], row["listed_at"], row["copied_at"])

    async def stamp(
        self, medium_id: int, listed: tuple[int, int], listed_at: datetime | None, copied_at: datetime | None
    ) -> None:
        """`enum_done` if the rows are as many as were listed, and `copy_done` if every file has its outcome.

        `listed`: (inodes, names). Stamps that are there stay as they are.
        """
        bad = await Auditing(self._database).bad_rows(medium_id)
        async with self._of(medium_id) as connection:
            stamped = await connection.fetchval("SELECT enum_done FROM medium WHERE id = $1", medium_id)
            if stamped is None and not bad:
                stamped = await stamp_enumerated(connection, medium_id, *listed, Backfill(listed_at))
            if stamped and not bad:
                await stamp_copied(connection, medium_id, Backfill(copied_at))

    async def stamp_copied(self, medium_id: int, copied_at: datetime | None) -> None:
        async with self._of(medium_id) as connection:
            await stamp_copied(connection, medium_id, Backfill(copied_at))

    async def stamp_archived(self, medium_id: int, path: str, size_bytes: int, image_hash: str) -> None:
        async with self._of(medium_id) as connection:
            await stamp_archived(connection, medium_id, path, size_bytes, image_hash, Backfill())

    async def unstamp(self, medium_id: int, stamp: str) -> None:
        """Takes away a stamp that has no proof, and those that rest on it."""
        async with self._of(medium_id) as connection:
            await connection.execute(
                f"UPDATE medium SET {UNSTAMPED[stamp]} WHERE id = $1 AND {stamp} IS NOT NULL", medium_id
            )

    async def refresh(self, medium_id: int) -> None:
        async with self._of(medium_id) as connection:
            await summarise(connection, medium_id)

    @asynccontextmanager
    async def _of(self, medium_id: int) -> AsyncIterator[Connection]:
        """A transaction in which the row of a medium may change."""
        async with (
            self._database.connection() as connection,
            noted(connection, self._undo) as recorder,
            recorder.medium(medium_id),
        ):
            yield connection

    async def close_attempts(self, medium_id: int | None, run_ids: Sequence[str]) -> int:
        """Of the medium, or of none; only those of runs that have ended."""
        async with self._database.connection() as connection, noted(connection, self._undo) as recorder:
            return await recorder.update(
                "stage_run",
                """state = 'interrupted', ended_at = clock_timestamp(),
                   error = 'the process ended without closing it'""",
                "t.medium_id IS NOT DISTINCT FROM $1 AND t.state = 'running' AND t.run_id = ANY($2::text[])",
                medium_id,
                list(run_ids),
            )


class Room:
    """Packs of at most `limit_bytes` that this repair may append to; held until the connection closes.

    `reaches` says whether a pack's file is as long as its row says: else it is none to append to.
    """

    def __init__(self, connection: Connection, limit_bytes: int, reaches: Callable[[int, int], bool]) -> None:
        self._connection = connection
        self._reaches = reaches
        self._limit_bytes = limit_bytes
        self._pack: tuple[int, int] | None = None

    async def take(self, size_bytes: int) -> tuple[int, int]:
        """(pack, where it ends) of one with room for a member of that size."""
        if self._pack is not None and self._pack[1] + size_bytes <= self._limit_bytes:
            return self._pack
        rows = await self._connection.fetch(
            "SELECT id, committed_bytes FROM pack WHERE NOT sealed AND committed_bytes + $1 <= $2 ORDER BY id",
            size_bytes,
            self._limit_bytes,
        )
        for row in rows:
            if self._pack is not None and row["id"] == self._pack[0]:
                continue
            if await try_advisory(self._connection, LockSpace.PACK, row["id"]):
                self._pack = await self._as_it_is(row["id"])
                if self._pack is not None:
                    return self._pack
                await release_advisory(self._connection, LockSpace.PACK, row["id"])
        pack_id: int = await self._connection.fetchval("INSERT INTO pack DEFAULT VALUES RETURNING id")
        if not await try_advisory(self._connection, LockSpace.PACK, pack_id):
            return await self.take(size_bytes)  # another process was faster between the two statements
        self._pack = pack_id, 0
        return self._pack

    async def _as_it_is(self, pack_id: int) -> tuple[int, int] | None:
        """Asked again under the lock."""
        row = await self._connection.fetchrow("SELECT committed_bytes, sealed FROM pack WHERE id = $1", pack_id)
        if row is None or row["sealed"] or not self._reaches(pack_id, row["committed_bytes"]):
            return None
        return pack_id, row["committed_bytes"]

    def filled(self, end: int) -> None:
        assert self._pack is not None, "nothing was taken"
        self._pack = self._pack[0], end


_WITNESS = """
    SELECT (l.counts->>'nodes')::bigint AS nodes, (l.counts->>'paths')::bigint AS names, l.ended_at AS listed_at,
           (SELECT max(ended_at) FROM stage_run c WHERE c.medium_id = $1 AND c.stage = 'copy' AND c.state = 'ok'
              AND c.id > l.id) AS copied_at
    FROM (SELECT * FROM stage_run WHERE medium_id = $1 AND stage = 'enumerate' ORDER BY id DESC LIMIT 1) l
    WHERE l.state = 'ok'
      AND NOT EXISTS (SELECT FROM sighting s WHERE s.medium_id = $1 AND s.seen_at > l.started_at)
      AND NOT EXISTS (SELECT FROM stage_run i
                      WHERE i.medium_id = $1 AND i.id > l.id AND i.stage IN ('identify', 'image'))
"""
