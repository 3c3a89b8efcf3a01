"""Inodes -> one path each, in one scan of the medium's names."""

from __future__ import annotations

from collections.abc import Collection

from ntt.db.connection import Connection

Key = tuple[int, int]  # volume, ino


async def paths_of(connection: Connection, medium_id: int, keys: Collection[Key]) -> dict[Key, bytes]:
    """The first path of each inode that has one, relative to its volume's root."""
    if not keys:
        return {}
    rows = await connection.fetch(
        """WITH e AS MATERIALIZED (
               SELECT DISTINCT ON (n.volume, n.ino) n.volume, n.ino, n.name, n.parent_ino
               FROM name n JOIN unnest($2::smallint[], $3::bigint[]) AS wanted(volume, ino) USING (volume, ino)
               WHERE n.medium_id = $1 ORDER BY n.volume, n.ino, n.parent_ino, n.name),
           d AS MATERIALIZED (
               SELECT volume, parent_ino, directory_path($1, volume, parent_ino) AS above
               FROM (SELECT DISTINCT volume, parent_ino FROM e) parents)
           SELECT e.volume, e.ino, e.name, d.above FROM e JOIN d USING (volume, parent_ino)""",
        medium_id,
        [volume for volume, _ in keys],
        [ino for _, ino in keys],
    )
    return {
        (row["volume"], row["ino"]): row["above"] + b"/" + row["name"] if row["above"] else row["name"] for row in rows
    }
