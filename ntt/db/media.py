"""The `medium` rows: found by what is on the medium, made once, stamped only where a stage was proven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from ntt.db.connection import Database
from ntt.db.health import judge
from ntt.errors import UsageError
from ntt.model import Identity, Route, Volume, VolumeStatus
from ntt.ranges import Ranges, normalised

BEYOND = 1 << 62  # no image reaches that far

_COLUMNS = """id, medium_hash, identity, medium_human, added_at, image_path, image_hash, image_bytes, claimed_bytes,
    unread, unread_bytes, health, map_text, enum_done, copy_done, archive_done, archive_path, message,
    sample_hash"""


@dataclass(frozen=True, slots=True)
class Medium:
    """A row of `medium`; times are aware, hashes lower-case hex, ranges bytes of the medium."""

    id: int
    medium_hash: str
    identity: str
    human: str
    added_at: datetime
    image_path: str | None
    image_hash: str
    image_bytes: int
    claimed_bytes: int
    unread: Ranges
    unread_bytes: int
    health: str
    map_text: str | None
    enum_done: datetime | None
    copy_done: datetime | None
    archive_done: datetime | None
    archive_path: str | None
    message: str | None
    sample_hash: str | None

    @property
    def unread_or_beyond(self) -> Ranges:
        """The unread bytes, and everything behind the end of the image."""
        return normalised((*self.unread, (self.image_bytes, BEYOND)))


def to_multirange(ranges: Ranges) -> list[asyncpg.Range[int]]:
    return [asyncpg.Range(start, end) for start, end in ranges]


def from_multirange(value: Sequence[asyncpg.Range[int]] | None) -> Ranges:
    return normalised((r.lower, r.upper) for r in value or () if r.lower is not None and r.upper is not None)


def _medium(row: asyncpg.Record) -> Medium:
    return Medium(
        id=row["id"],
        medium_hash=row["medium_hash"],
        identity=row["identity"],
        human=row["medium_human"] or row["medium_hash"][:8],
        added_at=row["added_at"],
        image_path=row["image_path"],
        image_hash=row["image_hash"],
        image_bytes=row["image_bytes"],
        claimed_bytes=row["claimed_bytes"],
        unread=from_multirange(row["unread"]),
        unread_bytes=row["unread_bytes"],
        health=row["health"],
        map_text=row["map_text"],
        enum_done=row["enum_done"],
        copy_done=row["copy_done"],
        archive_done=row["archive_done"],
        archive_path=row["archive_path"],
        message=row["message"],
        sample_hash=row["sample_hash"],
    )


class Media:
    """Reads and writes `medium`, `medium_sample`, `sighting` and `volume`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_id(self, medium_id: int) -> Medium:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM medium WHERE id = $1", medium_id)
        if row is None:
            raise UsageError(f"medium {medium_id} is no longer in the catalogue", "run `ntt list`")
        return _medium(row)

    async def all(self) -> list[Medium]:
        """Every medium, oldest first."""
        async with self._database.connection() as connection:
            return [_medium(row) for row in await connection.fetch(f"SELECT {_COLUMNS} FROM medium ORDER BY id")]

    async def by_prefix(self, prefix: str) -> Medium:
        """The one medium whose hash begins so. UsageError when there is none, or with the candidates."""
        wanted = prefix.lower()
        if not wanted or wanted.strip("0123456789abcdef"):
            raise UsageError(f"{prefix!r} is not the beginning of a medium hash", "`ntt list` shows the hashes")
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                f"SELECT {_COLUMNS} FROM medium WHERE medium_hash ^@ $1 ORDER BY medium_hash LIMIT 21", wanted
            )
        if not rows:
            raise UsageError(f"no medium begins with {wanted}", "`ntt list` shows those there are")
        if len(rows) > 1:
            listed = ", ".join(f"{row['medium_hash']} ({row['medium_human']})" for row in rows[:20])
            more = ", ..." if len(rows) > 20 else ""
            raise UsageError(f"{wanted} is ambiguous: {listed}{more}", "give more digits")
        return _medium(rows[0])

    async def with_image(self, image_hash: str) -> list[Medium]:
        """Media whose image is the same to the byte."""
        return await self._select("WHERE image_hash = $1 ORDER BY id", image_hash)

    async def sharing_samples(self, samples: Sequence[tuple[int, bytes]]) -> list[Medium]:
        """Media that agree with every sample, (position, digest), read on both sides, and in at least one."""
        return await self._select(
            """JOIN (SELECT s.medium_id FROM medium_sample s
                     JOIN unnest($1::bigint[], $2::bytea[]) AS mine(position, digest) USING (position)
                     WHERE s.medium_id IN (SELECT medium_id FROM medium_sample WHERE digest = ANY($2))
                     GROUP BY s.medium_id HAVING bool_and(s.digest = mine.digest)) AS alike ON alike.medium_id = id
               ORDER BY id""",
            [position for position, _ in samples],
            [digest for _, digest in samples],
        )

    async def _select(self, tail: str, *arguments: object) -> list[Medium]:
        async with self._database.connection() as connection:
            return [_medium(row) for row in await connection.fetch(f"SELECT {_COLUMNS} FROM medium {tail}", *arguments)]

    async def exists(self, medium_hash: str) -> bool:
        async with self._database.connection() as connection:
            return await connection.fetchval("SELECT true FROM medium WHERE medium_hash = $1", medium_hash) or False

    async def create(
        self, medium_hash: str, kind: str, human: str, image_path: str, identity: Identity, map_text: str | None
    ) -> int:
        """A new row with its samples; `kind` is natural, look-alike or assigned."""
        async with self._database.connection() as connection, connection.transaction():
            medium_id: int = await connection.fetchval(
                """INSERT INTO medium (medium_hash, identity, sample_hash, medium_human, image_path, image_hash,
                       image_bytes, claimed_bytes, unread, unread_bytes, health, map_text, message)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING id""",
                medium_hash,
                kind,
                identity.sample_hash,
                human,
                image_path,
                identity.image_hash,
                identity.image_bytes,
                identity.claimed_bytes,
                to_multirange(identity.unread),
                identity.unread_bytes,
                identity.health.value,
                map_text,
                identity.why_assigned or None,
            )
            await connection.executemany(
                "INSERT INTO medium_sample (medium_id, position, digest) VALUES ($1, $2, $3)",
                [(medium_id, position, digest) for position, digest in identity.samples],
            )
        return medium_id

    async def take_image(self, medium_id: int, image_path: str, identity: Identity, map_text: str | None) -> None:
        """The medium's image is this one from now on (it was moved, or another pass, of which nothing is done yet)."""
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute(
                """UPDATE medium SET image_path = $2, image_hash = $3, image_bytes = $4, claimed_bytes = $5,
                       unread = $6, unread_bytes = $7, map_text = $8,
                       enum_done = CASE WHEN image_hash = $3 AND unread = $6 THEN enum_done END,
                       copy_done = CASE WHEN image_hash = $3 AND unread = $6 THEN copy_done END,
                       archive_done = CASE WHEN image_hash = $3 AND unread = $6 THEN archive_done END
                   WHERE id = $1""",
                medium_id,
                image_path,
                identity.image_hash,
                identity.image_bytes,
                identity.claimed_bytes,
                to_multirange(identity.unread),
                identity.unread_bytes,
                map_text,
            )
            await judge(connection, medium_id)

    async def sight(self, medium_id: int, source: str, label: str | None, run_id: str) -> None:
        async with self._database.connection() as connection:
            await connection.execute(
                "INSERT INTO sighting (medium_id, source, label, run_id) VALUES ($1, $2, $3, $4)",
                medium_id,
                source,
                label,
                run_id,
            )
            if label is not None:
                await connection.execute("UPDATE medium SET medium_human = $2 WHERE id = $1", medium_id, label)

    async def labels(self, medium_id: int) -> tuple[str, ...]:
        """What people said that it is called, the last first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                "SELECT label FROM sighting WHERE medium_id = $1 AND label IS NOT NULL ORDER BY seen_at DESC", medium_id
            )
        return tuple(row["label"] for row in rows)

    async def volumes(self, medium_id: int) -> tuple[Volume, ...]:
        async with self._database.connection() as connection:
            rows = await connection.fetch("SELECT * FROM volume WHERE medium_id = $1 ORDER BY index", medium_id)
        return tuple(volume_of(row) for row in rows)


def volume_of(row: asyncpg.Record) -> Volume:
    return Volume(
        index=row["index"],
        scheme=row["scheme"],
        offset_bytes=row["offset_bytes"],
        size_bytes=row["size_bytes"],
        fstype=row["fstype"],
        route=Route(row["route"]),
        status=VolumeStatus(row["status"]),
        label=row["label"],
        finding=row["finding"],
        next_step=row["next_step"],
        session_bytes=row["session_bytes"],
        sector_bytes=row["sector_bytes"],
        data_at=row["data_at"],
        tried=tuple(row["tried"]),
    )
