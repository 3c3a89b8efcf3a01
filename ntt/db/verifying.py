"""Blobs in the order in which they lie in the store, and the files that hold one that is damaged."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ntt.db.connection import Connection, Database, translated
from ntt.db.paths import paths_of

PAGE_ROWS = 500


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A row of `blob`; the hash is raw BLAKE3, `pack_id` None: a plain file."""

    id: int
    blob_hash: bytes
    size_bytes: int
    pack_id: int | None
    pack_offset: int | None


@dataclass(frozen=True, slots=True)
class Holder:
    """A file that refers to a blob."""

    blob_id: int
    medium_hash: str
    path: bytes


class BlobOrder:
    """Some blobs, numbered as they lie in the store, in a temporary table of its own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def pages(self) -> AsyncIterator[list[StoredBlob]]:
        """Pack by pack and by offset; plain files after them."""
        last = 0
        while True:
            with translated():
                rows = await self._connection.fetch(
                    """SELECT o.position, b.* FROM (SELECT * FROM ordered_blob WHERE position > $1
                           ORDER BY position LIMIT $2) o JOIN blob b ON b.id = o.blob_id ORDER BY o.position""",
                    last,
                    PAGE_ROWS,
                )
            if not rows:
                return
            last = rows[-1]["position"]
            yield [StoredBlob(r["id"], r["hash"], r["size"], r["pack_id"], r["pack_offset"]) for r in rows]


@asynccontextmanager
async def blob_order(database: Database, medium_id: int | None, sample: int | None) -> AsyncIterator[BlobOrder]:
    """The blobs of one medium or of all; with `sample` that many of them, drawn at random each time."""
    chosen = "SELECT id FROM blob" if medium_id is None else _OF_MEDIUM
    if sample is not None:
        chosen = f"SELECT id FROM ({chosen}) every ORDER BY random() LIMIT {int(sample)}"
    arguments = () if medium_id is None else (medium_id,)
    async with database.connected() as connection:
        with translated():
            await connection.execute(
                """CREATE TEMP TABLE ordered_blob (
                       position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, blob_id bigint)"""
            )
            await connection.execute(
                f"""INSERT INTO ordered_blob (blob_id)
                    SELECT b.id FROM blob b WHERE b.id IN ({chosen})
                    ORDER BY b.pack_id NULLS LAST, b.pack_offset, b.hash""",
                *arguments,
            )
            await connection.execute("ANALYZE ordered_blob")
        yield BlobOrder(connection)


_OF_MEDIUM = "SELECT DISTINCT blob_id AS id FROM outcome WHERE medium_id = $1 AND blob_id IS NOT NULL"


async def holders_of(database: Database, blob_ids: Sequence[int], each: int, status: str | None = None) -> list[Holder]:
    """At most `each` files per blob, of all media; with `status` ('c', 'd') only those with that outcome."""
    if not blob_ids:
        return []
    async with database.connection() as connection:
        rows = await connection.fetch(
            """SELECT blob_id, medium_id, medium_hash, volume, ino
               FROM (SELECT o.*, row_number() OVER (PARTITION BY blob_id ORDER BY medium_id, volume, ino) AS number
                     FROM outcome o WHERE blob_id = ANY($1::bigint[]) AND ($3::text IS NULL OR status::text = $3)) n
               JOIN medium m ON m.id = n.medium_id WHERE number <= $2 ORDER BY blob_id, medium_id, volume, ino""",
            blob_ids,
            each,
            status,
        )
        found: list[Holder] = []
        for medium_id in sorted({row["medium_id"] for row in rows}):
            mine = [row for row in rows if row["medium_id"] == medium_id]
            paths = await paths_of(connection, medium_id, {(row["volume"], row["ino"]) for row in mine})
            found += [
                Holder(row["blob_id"], row["medium_hash"], paths.get((row["volume"], row["ino"]), b"")) for row in mine
            ]
    return found
