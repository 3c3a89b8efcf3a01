"""Every entry of a medium with its content and its path, directory by directory, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator

import asyncpg
import msgspec

from ntt.db.connection import Connection, Database
from ntt.db.loading import FLAG_DIRECTORY, FLAG_DUPLICATE
from ntt.db.media import from_multirange
from ntt.ranges import Ranges

PAGE_ENTRIES = 10_000
KEPT_DIRECTORIES = 100_000
LONGEST_PATH_BYTES = 4096  # the kernel's PATH_MAX; what is longer is given by its parents only


class TreeEntry(msgspec.Struct, frozen=True, gc=False):
    """A directory entry with its inode's facts, and where its content is if it has any.

    `path` is None where it is longer than 4,096 bytes. `status` is 'c', 'd', 'f', or '' (pending, or no
    regular file). Hashes are raw BLAKE3; `pack_id` None: a plain file. `unread`: what of the image damaged it.
    """

    volume: int
    ino: int
    parent_ino: int
    name: bytes
    path: bytes | None
    duplicate: bool
    entered: bool
    mode: int
    size: int
    mtime_s: int
    mtime_ns: int
    uid: int
    gid: int
    link_target: bytes
    status: str
    reason: str
    damaged: Ranges
    blob_hash: bytes | None
    blob_size: int
    pack_id: int | None
    pack_offset: int | None
    attributes: tuple[tuple[str, bytes], ...] = ()
    first_byte: int = -1
    attempts: int = 1
    unread: Ranges = ()


class Tree:
    """Reads the tree of one medium."""

    def __init__(self, database: Database, medium_id: int) -> None:
        self._database = database
        self._medium_id = medium_id
        self._paths: OrderedDict[tuple[int, int], bytes | None] = OrderedDict()

    async def entries(self) -> AsyncIterator[TreeEntry]:
        """Ordered by volume and directory inode; the entries of one directory stand together."""
        after: tuple[object, ...] = (-1, -(2**63), -(2**63), b"")
        while True:
            async with self._database.connection() as connection:
                rows = await connection.fetch(_PAGE, self._medium_id, *after, PAGE_ENTRIES)
                await self._find_parents(connection, rows)
            if not rows:
                return
            for row in rows:
                yield self._entry(row)
            last = rows[-1]
            after = (last["volume"], last["parent_ino"], last["ino"], last["name"])

    async def _find_parents(self, connection: Connection, rows: list[asyncpg.Record]) -> None:
        for row in rows:
            if row["flags"] & FLAG_DIRECTORY:
                self._remember(row)
        missing = {(row["volume"], row["parent_ino"]) for row in rows} - self._paths.keys()
        if not missing:
            return
        found = await connection.fetch(
            """SELECT volume, ino, directory_path($1, volume, ino) AS path
               FROM unnest($2::smallint[], $3::bigint[]) AS wanted(volume, ino)""",
            self._medium_id,
            [volume for volume, _ in missing],
            [ino for _, ino in missing],
        )
        for row in found:
            path = row["path"] or b""
            self._keep((row["volume"], row["ino"]), None if path.startswith(b".../") else path)

    def _remember(self, row: asyncpg.Record) -> None:
        key, parent = (row["volume"], row["ino"]), (row["volume"], row["parent_ino"])
        if key == parent:
            self._keep(key, b"")
        elif parent in self._paths:
            self._keep(key, joined(self._paths[parent], row["name"]))

    def _keep(self, key: tuple[int, int], path: bytes | None) -> None:
        self._paths[key] = path
        while len(self._paths) > KEPT_DIRECTORIES:
            self._paths.popitem(last=False)

    def _entry(self, row: asyncpg.Record) -> TreeEntry:
        (volume, ino, parent_ino, name, flags, mode, size, mtime_s, mtime_ns, uid, gid, link_target,
         status, reason, damaged, blob_hash, blob_size, pack_id, pack_offset, names, values,
         first_byte, attempts, unread) = row  # fmt: skip
        root = ino == parent_ino and not name
        return TreeEntry(
            volume, ino, parent_ino, name,
            b"" if root else joined(self._paths.get((volume, parent_ino)), name),
            bool(flags & FLAG_DUPLICATE), bool(flags & FLAG_DIRECTORY),
            mode, size, mtime_s, mtime_ns, uid, gid, link_target,
            status.decode() if status else "", reason or "",
            from_multirange(damaged) if damaged else (),
            blob_hash, blob_size or 0, pack_id, pack_offset,
            tuple(zip(names, values, strict=True)) if names else (),
            first_byte, attempts or 1, from_multirange(unread) if unread else (),
        )  # fmt: skip


def joined(above: bytes | None, name: bytes) -> bytes | None:
    """A directory's path and a name in it -> the path of that; None when it is too long."""
    if above is None or len(above) + len(name) >= LONGEST_PATH_BYTES:
        return None
    return above + b"/" + name if above else name


# LIMIT 1 keeps the planner at looking up keys: any other plan would read the whole catalogue for each page
_PAGE = """
    SELECT e.volume, e.ino, e.parent_ino, e.name, e.flags, n.mode, n.size, n.mtime_s, n.mtime_ns, n.uid, n.gid,
           n.link_target, o.status, o.reason, o.damaged, b.hash, b.size AS blob_size, b.pack_id, b.pack_offset,
           a.names, a.values, n.first_byte, o.attempts, o.unread
    FROM (SELECT * FROM name WHERE medium_id = $1 AND (volume, parent_ino, ino, name) > ($2, $3, $4, $5)
          ORDER BY volume, parent_ino, ino, name LIMIT $6) e
    CROSS JOIN LATERAL (SELECT * FROM node WHERE medium_id = $1 AND volume = e.volume AND ino = e.ino LIMIT 1) n
    LEFT JOIN LATERAL (SELECT * FROM outcome WHERE medium_id = $1 AND volume = e.volume AND ino = e.ino LIMIT 1) o
        ON true
    LEFT JOIN LATERAL (SELECT * FROM blob WHERE id = o.blob_id LIMIT 1) b ON true
    LEFT JOIN LATERAL (SELECT array_agg(name ORDER BY name) AS names, array_agg(value ORDER BY name) AS values
                       FROM node_attribute WHERE medium_id = $1 AND volume = e.volume AND ino = e.ino) a ON true
    ORDER BY e.volume, e.parent_ino, e.ino, e.name"""
