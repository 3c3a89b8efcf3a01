"""The catalogue -> all it knows of a medium's surface: what was read, what is where, what the unread bytes hit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass

from ntt.db.connection import Connection, Database
from ntt.db.health import NO_VOLUME, RUN_OUT
from ntt.db.media import Medium, from_multirange, volume_of
from ntt.db.paths import Key, paths_of
from ntt.model import LostStructure, Volume
from ntt.ranges import Ranges

PAGE_FILES = 20_000


@dataclass(frozen=True, slots=True)
class HitFile:
    """A file that is not whole. `lost_bytes` of it were not read; `unread` is where on the medium, empty: not known.

    Of one that may be whole, for all that is known, no byte is known to be lost.
    """

    volume: int
    ino: int
    failed: bool
    lost_bytes: int
    unread: Ranges


@dataclass(frozen=True, slots=True)
class MediumSurface:
    """`unread_used`: by volume, the unread bytes in use by the file system's own account, None where it keeps none.

    `cells` is empty or a byte for each equal part of the medium, as `medium.cells`. `structures` come with the index
    of their volume.
    """

    medium: Medium
    cells: bytes
    volumes: tuple[Volume, ...]
    unread_used: dict[int, Ranges | None]
    structures: tuple[tuple[int, LostStructure], ...]
    files: tuple[HitFile, ...]


async def surface_of(database: Database, medium: Medium) -> MediumSurface:
    """All of it as one snapshot of the catalogue; of a medium that is not listed only its unread bytes."""
    async with (
        database.connection() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        if medium.enum_done is None:
            return MediumSurface(medium, b"", (), {}, (), ())
        cells: bytes | None = await connection.fetchval("SELECT cells FROM medium WHERE id = $1", medium.id)
        volumes = await connection.fetch("SELECT * FROM volume WHERE medium_id = $1 ORDER BY index", medium.id)
        structures = await connection.fetch(
            """SELECT volume, ino, what, spare, ranges FROM unread_structure
               WHERE medium_id = $1 AND NOT (volume = $2 AND what = $3) ORDER BY volume, what, ino""",
            medium.id,
            NO_VOLUME,
            RUN_OUT,
        )
        return MediumSurface(
            medium=medium,
            cells=cells or b"",
            volumes=tuple(volume_of(row) for row in volumes),
            unread_used={
                row["index"]: None if row["unread_used"] is None else from_multirange(row["unread_used"])
                for row in volumes
            },
            structures=tuple(
                (row["volume"], LostStructure(row["what"], row["ino"], row["spare"], from_multirange(row["ranges"])))
                for row in structures
            ),
            files=tuple([file async for file in _files(connection, medium.id)]),
        )


async def surface_paths(database: Database, medium_id: int, keys: Collection[Key]) -> dict[Key, bytes]:
    """One path of each of these inodes that has one; one scan of the medium's names."""
    async with database.connection() as connection:
        return await paths_of(connection, medium_id, keys)


async def _files(connection: Connection, medium_id: int) -> AsyncIterator[HitFile]:
    """Damaged files, and those that failed because something of the medium was not read."""
    async for row in connection.cursor(_HIT, medium_id, prefetch=PAGE_FILES):
        yield HitFile(
            row["volume"], row["ino"], row["status"] == b"f", row["lost_bytes"], from_multirange(row["unread"])
        )


_HIT = """
    SELECT o.volume, o.ino, o.status,
           CASE WHEN o.status = 'f' OR o.reason IS NULL THEN o.unread END AS unread,  -- else in doubt
           (CASE WHEN o.status = 'f' THEN coalesce(n.size, 0) WHEN o.reason IS NOT NULL THEN 0
            ELSE (SELECT coalesce(sum(upper(r) - lower(r)), 0) FROM unnest(o.damaged) r) END)::bigint AS lost_bytes
    FROM outcome o LEFT JOIN node n USING (medium_id, volume, ino)
    WHERE o.medium_id = $1 AND (o.status = 'd' OR (o.status = 'f' AND NOT isempty(o.unread)))
    ORDER BY o.volume, o.ino"""
