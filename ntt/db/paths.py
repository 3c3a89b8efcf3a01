"""Inodes -> one path each, in one scan of the medium's names."""

from __future__ import annotations

from collections.abc import Collection

import asyncpg

from ntt.db.connection import Connection

LONGEST_BYTES = 64 << 10  # of a path that is followed; what is below costs as many steps as it is deep
CUT = b".../"  # what a path begins with of which only the end is told, or a folder of that name
Key = tuple[int, int]  # volume, ino


async def paths_of(connection: Connection, medium_id: int, keys: Collection[Key]) -> dict[Key, bytes]:
    """The first path of each inode that has one, relative to its volume's root; of a long one the end behind `.../`."""
    return {
        (row["volume"], row["ino"]): _joined(row["above"], row["name"])
        for row in await _rows(connection, medium_id, keys)
    }


async def whole_paths_of(connection: Connection, medium_id: int, keys: Collection[Key]) -> dict[Key, bytes]:
    """As `paths_of`, never cut: a path longer than `LONGEST_BYTES` is left out."""
    whole: dict[Key, bytes | None] = {}
    found: dict[Key, bytes] = {}
    for row in await _rows(connection, medium_id, keys):
        above: bytes | None = row["above"]
        if above is not None and above.startswith(CUT):
            directory = (row["volume"], row["parent_ino"])
            if directory not in whole:
                whole[directory] = await _whole(connection, medium_id, directory)
            above = whole[directory]
            if above is None:
                continue
        found[row["volume"], row["ino"]] = _joined(above, row["name"])
    return found


def _joined(above: bytes | None, name: bytes) -> bytes:
    return above + b"/" + name if above else name


async def _whole(connection: Connection, medium_id: int, directory: Key) -> bytes | None:
    path: bytes | None = await connection.fetchval(
        """WITH RECURSIVE up(ino, parent_ino, name, depth, size) AS (
               SELECT * FROM (
                   SELECT ino, parent_ino, name, 1, length(name) FROM name
                   WHERE medium_id = $1 AND volume = $2 AND ino = $3 AND (flags & 2) <> 0 LIMIT 1) start
               UNION ALL
               SELECT above.ino, above.parent_ino, above.name, up.depth + 1, up.size + 1 + length(above.name)
               FROM up CROSS JOIN LATERAL (
                   SELECT ino, parent_ino, name FROM name
                   WHERE medium_id = $1 AND volume = $2 AND ino = up.parent_ino AND (flags & 2) <> 0 LIMIT 1) above
               WHERE up.ino <> up.parent_ino AND up.size <= $4)
           SELECT string_agg(name, '/'::bytea ORDER BY depth DESC) FROM up WHERE ino <> parent_ino
           HAVING max(size) <= $4""",
        medium_id,
        *directory,
        LONGEST_BYTES,
    )
    return path


async def _rows(connection: Connection, medium_id: int, keys: Collection[Key]) -> list[asyncpg.Record]:
    if not keys:
        return []
    return await connection.fetch(
        """WITH e AS MATERIALIZED (
               SELECT DISTINCT ON (n.volume, n.ino) n.volume, n.ino, n.name, n.parent_ino
               FROM name n JOIN unnest($2::smallint[], $3::bigint[]) AS wanted(volume, ino) USING (volume, ino)
               WHERE n.medium_id = $1 ORDER BY n.volume, n.ino, n.parent_ino, n.name),
           d AS MATERIALIZED (
               SELECT volume, parent_ino, directory_path($1, volume, parent_ino) AS above
               FROM (SELECT DISTINCT volume, parent_ino FROM e) parents)
           SELECT e.volume, e.ino, e.name, e.parent_ino, d.above FROM e JOIN d USING (volume, parent_ino)""",
        medium_id,
        [volume for volume, _ in keys],
        [ino for _, ino in keys],
    )
