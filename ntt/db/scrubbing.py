"""One run over what is kept: which contents and archives, in which order, what was found of them, and when.

A run is a row of `stage_run` with the stage `verify`. What was read and found whole has the time of that, so a run
over everything that was cut short is gone on with: what was read since it began is left out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg

from ntt.db.connection import Connection, Database, translated
from ntt.db.summary import summarise
from ntt.db.verifying import StoredBlob
from ntt.errors import UsageError

STAGE = "verify"
PAGE_ROWS = 4_000
ROTTEN_KIND = "content_lost"
ARCHIVE_KIND = "archive_damaged"
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Scope:
    """What is to be read: all that is kept, of one medium or of all; or only `sample` contents, drawn at random.

    `since`: not what was found whole from then on. `oldest_first`: what was not read for longest comes first, packs
    whole; else all in the order of the store.
    """

    medium_id: int | None = None
    sample: int | None = None
    oldest_first: bool = False
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class AgedBlob:
    """A content, and when that which it lies with was last read whole."""

    blob: StoredBlob
    checked: datetime


@dataclass(frozen=True, slots=True)
class RecordedArchive:
    """An archive that was proven once."""

    medium_id: int
    medium_hash: str
    path: str
    image_bytes: int
    image_hash: str
    checked: datetime


@dataclass(frozen=True, slots=True)
class Rotten:
    """A content that the store no longer has, and why not."""

    blob: StoredBlob
    reason: str


@dataclass(frozen=True, slots=True)
class Source:
    """A file that had a content which is rotten."""

    blob: StoredBlob
    volume: int
    ino: int
    size: int


class Scrub:
    """The state of one run, in temporary tables of its own connection."""

    def __init__(self, connection: Connection, scope: Scope, began: datetime) -> None:
        """Use `scrubbing`."""
        self._connection = connection
        self._scope = scope
        self.began = began

    async def totals(self) -> tuple[int, int]:
        """How many contents there are to read, and their bytes."""
        with translated():
            row = await self._connection.fetchrow(
                "SELECT count(*), coalesce(sum(size), 0)::bigint FROM scrub_order o JOIN blob b ON b.id = o.blob_id"
            )
        assert row is not None
        return row[0], row[1]

    async def pages(self) -> AsyncIterator[list[AgedBlob]]:
        last = 0
        while True:
            with translated():
                rows = await self._connection.fetch(
                    """SELECT o.position, o.checked, b.* FROM
                           (SELECT * FROM scrub_order WHERE position > $1 ORDER BY position LIMIT $2) o
                       JOIN blob b ON b.id = o.blob_id ORDER BY o.position""",
                    last,
                    PAGE_ROWS,
                )
            if not rows:
                return
            last = rows[-1]["position"]
            yield [AgedBlob(_blob(row), row["checked"]) for row in rows]

    async def archives(self) -> list[RecordedArchive]:
        """Those of the scope, what was not read for longest first; none for a sample."""
        if self._scope.sample is not None:
            return []
        with translated():
            rows = await self._connection.fetch(
                """SELECT id, medium_hash, archive_path, image_bytes, image_hash,
                          coalesce(archive_checked, $3) AS checked
                   FROM medium WHERE archive_done IS NOT NULL AND archive_path IS NOT NULL
                     AND ($1::int IS NULL OR id = $1)
                     AND ($2::timestamptz IS NULL OR archive_checked IS NULL OR archive_checked < $2)
                   ORDER BY checked, id""",
                self._scope.medium_id,
                self._scope.since,
                _NEVER,
            )
        return [RecordedArchive(*row) for row in rows]

    async def whole(self, blobs: Sequence[StoredBlob]) -> None:
        """These were read and are as they were stored; committed on return."""
        if not blobs:
            return
        with translated():
            async with self._connection.transaction():
                await self._connection.copy_records_to_table("scrub_whole", records=[(blob.id,) for blob in blobs])
                await self._connection.execute(
                    """UPDATE blob SET last_checked = clock_timestamp() FROM scrub_whole w WHERE blob.id = w.blob_id"""
                )

    async def archive_whole(self, archive: RecordedArchive) -> None:
        """It was read back and holds what it should, unless the medium has got another archive meanwhile."""
        with translated():
            async with self._connection.transaction():
                await self._connection.execute(
                    "UPDATE medium SET archive_checked = clock_timestamp() WHERE id = $1 AND archive_path = $2",
                    archive.medium_id,
                    archive.path,
                )
                await self._settle(archive, None)

    async def archive_damaged(self, archive: RecordedArchive, reason: str) -> None:
        with translated():
            async with self._connection.transaction():
                await self._settle(archive, reason)

    async def _settle(self, archive: RecordedArchive, reason: str | None) -> None:
        gone = await self._connection.fetchval(
            "WITH gone AS (DELETE FROM finding WHERE medium_id = $1 AND stage = $2 AND kind = $3 RETURNING 1) "
            "SELECT count(*) FROM gone",
            archive.medium_id,
            STAGE,
            ARCHIVE_KIND,
        )
        if reason is not None:
            await self._connection.execute(
                "INSERT INTO finding (medium_id, stage, kind, detail, next_step) VALUES ($1, $2, $3, $4, $5)",
                archive.medium_id,
                STAGE,
                ARCHIVE_KIND,
                f"the archive {archive.path}: {reason}".replace("\0", "\ufffd"),
                "restore it from a backup, or ingest the image again: it is archived anew",
            )
        if gone or reason is not None:
            await summarise(self._connection, archive.medium_id)

    async def rotten(self, found: Sequence[Rotten]) -> None:
        """To be looked at again at the end."""
        if found:
            with translated():
                await self._connection.copy_records_to_table(
                    "scrub_rotten", columns=("blob_id", "reason"), records=[(r.blob.id, r.reason) for r in found]
                )

    async def still_rotten(self, limit: int | None = None) -> list[Rotten]:
        """As their rows are now, in the order of the store."""
        with translated():
            rows = await self._connection.fetch(
                """SELECT b.*, r.reason FROM scrub_rotten r JOIN blob b ON b.id = r.blob_id
                   ORDER BY b.pack_id NULLS LAST, b.pack_offset, b.hash LIMIT $1""",
                limit,
            )
        return [Rotten(_blob(row), row["reason"]) for row in rows]

    async def rotten_total(self) -> int:
        with translated():
            count: int = await self._connection.fetchval("SELECT count(*) FROM scrub_rotten")
        return count

    async def healed(self, blobs: Sequence[StoredBlob]) -> None:
        """They are whole again, and were read back."""
        with translated():
            await self._connection.execute(
                "DELETE FROM scrub_rotten WHERE blob_id = ANY($1::bigint[])", [blob.id for blob in blobs]
            )
        await self.whole(blobs)

    async def find_sources(self) -> None:
        """Looks up once which files have what is rotten."""
        with translated():
            await self._connection.execute("TRUNCATE scrub_source; ANALYZE scrub_rotten")
            await self._connection.execute(
                """INSERT INTO scrub_source SELECT DISTINCT ON (o.blob_id, o.medium_id)
                       o.blob_id, o.medium_id, o.volume, o.ino
                   FROM scrub_rotten r JOIN outcome o ON o.blob_id = r.blob_id
                   ORDER BY o.blob_id, o.medium_id, o.status, o.volume, o.ino"""
            )

    async def best_medium(self, tried: Sequence[int]) -> int | None:
        """The medium that has most of what is still rotten, but those; None: no other has any of it."""
        with translated():
            medium_id: int | None = await self._connection.fetchval(
                """SELECT s.medium_id FROM scrub_source s JOIN scrub_rotten r USING (blob_id)
                   WHERE s.medium_id <> ALL($1::int[])
                   GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1""",
                tried,
            )
        return medium_id

    async def sources(self, medium_id: int) -> list[Source]:
        """What of it is still rotten, one file for each content, in the order of the medium."""
        with translated():
            rows = await self._connection.fetch(
                """SELECT b.*, s.volume, s.ino, n.size AS node_size
                   FROM scrub_source s JOIN scrub_rotten r USING (blob_id) JOIN blob b ON b.id = s.blob_id
                   JOIN node n ON n.medium_id = s.medium_id AND n.volume = s.volume AND n.ino = s.ino
                   WHERE s.medium_id = $1 ORDER BY s.volume, n.first_byte, s.ino""",
                medium_id,
            )
        return [Source(_blob(row), row["volume"], row["ino"], row["node_size"]) for row in rows]

    async def record_findings(self, each: int) -> None:
        """What is still rotten is a finding of the media that need it, at most `each` files of a content and medium.

        What was found before and is whole now is none any more.
        """
        with translated():
            async with self._connection.transaction():
                media = await self._connection.fetch(_DROP_FINDINGS, STAGE, ROTTEN_KIND, self.began)
                media += await self._connection.fetch(_ADD_FINDINGS, STAGE, ROTTEN_KIND, each)
                for medium_id in sorted({row["medium_id"] for row in media}):
                    await summarise(self._connection, medium_id)


# those whose content was read and is whole, or is about to be told anew
_DROP_FINDINGS = """
    DELETE FROM finding f USING outcome o, blob b
    WHERE f.stage = $1 AND f.kind = $2 AND o.medium_id = f.medium_id AND o.volume = f.volume AND o.ino = f.ino
      AND b.id = o.blob_id
      AND (b.last_checked >= $3 OR EXISTS (SELECT FROM scrub_rotten r WHERE r.blob_id = b.id))
    RETURNING f.medium_id"""
_ADD_FINDINGS = """
    INSERT INTO finding (medium_id, stage, kind, volume, ino, detail, next_step)
    SELECT medium_id, $1, $2, volume, ino,
           'its content ' || encode(hash, 'hex') || ' is no longer in the store as it was stored: ' || reason,
           'bring an image of a medium that has it (`ntt ingest IMAGE`), then `ntt verify` heals it from there'
    FROM (SELECT o.medium_id, o.volume, o.ino, b.hash, r.reason,
                 row_number() OVER (PARTITION BY o.blob_id, o.medium_id ORDER BY o.volume, o.ino) AS number
          FROM scrub_rotten r JOIN blob b ON b.id = r.blob_id JOIN outcome o ON o.blob_id = b.id) n
    WHERE number <= $3 RETURNING medium_id"""


@asynccontextmanager
async def scrubbing(database: Database, scope: Scope) -> AsyncIterator[Scrub]:
    """Chooses what is to be read. UsageError for a sample below 1."""
    if scope.sample is not None and scope.sample < 1:
        raise UsageError(f"a sample of {scope.sample} blobs proves nothing", "give a number from 1 on")
    async with database.connected() as connection:
        with translated():
            for statement in _TABLES:
                await connection.execute(statement)
            began: datetime = await connection.fetchval("SELECT clock_timestamp()")
            await connection.execute(*_choice(scope))
            await connection.execute("ANALYZE scrub_order")
        yield Scrub(connection, scope, began)


def _choice(scope: Scope) -> tuple[str, *tuple[object, ...]]:
    arguments: list[object] = [_NEVER]
    chosen = "true"
    if scope.medium_id is not None:
        arguments.append(scope.medium_id)
        chosen = f"b.id IN (SELECT blob_id FROM outcome WHERE medium_id = ${len(arguments)})"
    if scope.since is not None:
        arguments.append(scope.since)
        chosen += f" AND (b.last_checked IS NULL OR b.last_checked < ${len(arguments)})"
    if scope.sample is not None:
        chosen += f" AND b.id IN (SELECT id FROM blob b WHERE {chosen} ORDER BY random() LIMIT {int(scope.sample)})"
    checked = "coalesce(b.last_checked, $1::timestamptz)"
    # a pack is read whole: its parts are as old as the oldest of them
    aged = f"min({checked}) OVER (PARTITION BY b.pack_id, CASE WHEN b.pack_id IS NULL THEN b.id END)"
    order = "checked, pack_id NULLS LAST, pack_offset, hash" if scope.oldest_first else _PLACE
    return (
        f"""INSERT INTO scrub_order (blob_id, checked)
            SELECT id, checked FROM (
                SELECT b.id, b.pack_id, b.pack_offset, b.hash, {aged if scope.oldest_first else checked} AS checked
                FROM blob b WHERE {chosen}) c
            ORDER BY {order}""",
        *arguments,
    )


_PLACE = "pack_id NULLS LAST, pack_offset, hash"
_TABLES = (
    """CREATE TEMP TABLE scrub_order (position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, blob_id bigint,
           checked timestamptz)""",
    "CREATE TEMP TABLE scrub_whole (blob_id bigint) ON COMMIT DELETE ROWS",
    "CREATE TEMP TABLE scrub_rotten (blob_id bigint PRIMARY KEY, reason text)",
    "CREATE TEMP TABLE scrub_source (blob_id bigint, medium_id int, volume smallint, ino bigint)",
)


def _blob(row: asyncpg.Record) -> StoredBlob:
    return StoredBlob(row["id"], row["hash"], row["size"], row["pack_id"], row["pack_offset"])
