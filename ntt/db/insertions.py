"""`insertion`: every medium that was put into a drive, in order, and what became of it."""

from __future__ import annotations

from ntt.board import Verdict
from ntt.db.connection import Connection, Database
from ntt.db.media import Medium


class Insertion:
    """One medium from its insertion to its end; durable at each call's return."""

    def __init__(self, database: Database, insertion_id: int, sequence: int) -> None:
        """Use `Insertions.begun`."""
        self._database = database
        self._id = insertion_id
        self.sequence = sequence

    async def disc(self, disc: str) -> None:
        """What the drive says of it."""
        await self._set("disc = $2", disc)

    async def of_medium(self, medium_id: int) -> None:
        await self._set("medium_id = $2", medium_id)

    async def label(self, label: str) -> None:
        """What the operator calls it; the medium is called so too, if it is known by now."""
        async with self._database.connection() as connection, connection.transaction():
            medium_id = await connection.fetchval(
                "UPDATE insertion SET label = $2 WHERE id = $1 RETURNING medium_id", self._id, label
            )
            if medium_id is not None:
                await _name(connection, medium_id, label)

    async def ended(self, verdict: Verdict, summary: str) -> None:
        await self._set("verdict = $2, summary = $3, ended_at = clock_timestamp()", verdict.value, summary)

    async def ejected(self) -> None:
        """The operator can take it."""
        await self._set("ejected_at = clock_timestamp()")

    async def _set(self, what: str, *values: object) -> None:
        async with self._database.connection() as connection:
            await connection.execute(f"UPDATE insertion SET {what} WHERE id = $1", self._id, *values)


class Insertions:
    """Those of one session, numbered from 1."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begun(self, drive: str, label: str | None, box: str | None) -> Insertion:
        session = self._database.run_id
        async with self._database.connection() as connection, connection.transaction():
            of = f"ntt insertion {session}"
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", of)
            row = await connection.fetchrow(
                """INSERT INTO insertion (session, sequence, drive, label, box)
                   SELECT $1, coalesce(max(sequence), 0) + 1, $2, $3, $4 FROM insertion WHERE session = $1
                   RETURNING id, sequence""",
                session,
                drive,
                label,
                box,
            )
        assert row is not None
        return Insertion(self._database, row["id"], row["sequence"])


async def release_image(database: Database, medium: Medium) -> bool:
    """The row no longer names an image: True, once that is committed, and only where nothing needs the image.

    Its archive was read back, and every regular file is stored or has a reason why not (the copy stamp's proof is
    asked again here). Then the caller may delete the file.
    """
    async with database.connection() as connection:
        released = await connection.fetchval(
            """UPDATE medium m SET image_path = NULL
               WHERE m.id = $1 AND m.image_path = $2 AND m.archive_done IS NOT NULL AND m.copy_done IS NOT NULL
                 AND m.archived_image_hash = m.image_hash AND NOT EXISTS (
                     SELECT FROM node n WHERE n.medium_id = m.id AND n.mode & 61440 = 32768 AND NOT EXISTS (
                         SELECT FROM outcome o
                         WHERE o.medium_id = n.medium_id AND o.volume = n.volume AND o.ino = n.ino))
               RETURNING true""",
            medium.id,
            medium.image_path,
        )
    return bool(released)


async def _name(connection: Connection, medium_id: int, label: str) -> None:
    await connection.execute("UPDATE medium SET medium_human = $2 WHERE id = $1", medium_id, label)
    await connection.execute(
        """UPDATE sighting SET label = $2 WHERE medium_id = $1 AND seen_at =
               (SELECT max(seen_at) FROM sighting WHERE medium_id = $1)""",
        medium_id,
        label,
    )
