"""A medium's tree -> the order in which it is restored: directories by depth, contents by pack and offset."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from ntt.db.connection import Connection, Database, translated
from ntt.db.tree import Tree

PAGE_ROWS = 1_000
COPY_ROWS = 5_000
Key = tuple[int, int]  # volume, ino


@dataclass(frozen=True, slots=True)
class Attributes:
    """What stat(2) says of an inode; `mtime_ns` counts from 1970 UTC and may be negative.

    `extended` are the (name, value) pairs that were kept besides.
    """

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    extended: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedDirectory:
    """A directory; a higher `id` never holds a lower one. `parent_id` None: the root of its volume."""

    id: int
    parent_id: int | None
    volume: int
    ino: int
    parent_ino: int
    name: bytes
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class PlannedEntry:
    """Anything else. `directory_id` None: its directory is not restored. `attributes` None: it has no inode.

    `status` is 'c', 'd', 'f' or '' (no outcome). `pack_id` None: the content is a plain file. `taken_from` says whose
    content it is where that is not the one that was read from this medium.
    """

    volume: int
    ino: int
    parent_ino: int
    name: bytes
    directory_id: int | None
    attributes: Attributes | None
    link_target: bytes
    status: str
    reason: str
    blob_hash: bytes | None
    blob_size: int
    pack_id: int | None
    pack_offset: int | None
    taken_from: str = ""


class RestorePlan:
    """The plan of one restore; it lives in temporary tables of its own connection, whatever its size."""

    def __init__(self, connection: Connection, medium_id: int) -> None:
        self._connection = connection
        self._medium_id = medium_id

    async def roots(self) -> int:
        """How many volumes there is something to restore of, or of which at least a root is listed."""
        with translated():
            count: int = await self._connection.fetchval(
                """SELECT greatest((SELECT count(*) FROM volume WHERE medium_id = $1 AND status = 'read'),
                                   (SELECT count(DISTINCT volume) FROM listed_directory))""",
                self._medium_id,
            )
        return count

    async def directory_ids(self) -> AsyncIterator[list[int]]:
        """Every directory, a page at a time."""
        last = 0
        while True:
            with translated():
                rows = await self._connection.fetch(
                    "SELECT id FROM restore_directory WHERE id > $1 ORDER BY id LIMIT $2", last, PAGE_ROWS
                )
            if not rows:
                return
            last = rows[-1]["id"]
            yield [row["id"] for row in rows]

    async def entries(self) -> AsyncIterator[list[PlannedEntry]]:
        """All that is no directory, by pack and offset of its content; the names of one inode stand together."""
        last = 0
        while True:
            with translated():
                rows = await self._connection.fetch(_ENTRY_PAGE, self._medium_id, last, PAGE_ROWS)
            if not rows:
                return
            last = rows[-1]["position"]
            yield [_entry(row) for row in rows]

    async def directories(self) -> AsyncIterator[list[PlannedDirectory]]:
        """Every directory, the deepest first."""
        last = 2**31 - 1
        while True:
            with translated():
                rows = await self._connection.fetch(_DIRECTORY_PAGE, self._medium_id, last, PAGE_ROWS)
            if not rows:
                return
            last = rows[-1]["id"]
            yield [_directory(row) for row in rows]

    async def directory_paths(self, keys: Collection[Key]) -> dict[Key, bytes]:
        """Directory -> its path from the volume's root; of a very long one only the end, behind `.../`."""
        if not keys:
            return {}
        with translated():
            rows = await self._connection.fetch(
                """SELECT volume, ino, coalesce(directory_path($1, volume, ino), '') AS path
                   FROM unnest($2::smallint[], $3::bigint[]) AS wanted(volume, ino)""",
                self._medium_id,
                [volume for volume, _ in keys],
                [ino for _, ino in keys],
            )
        return {(row["volume"], row["ino"]): row["path"] for row in rows}


@asynccontextmanager
async def restore_plan(
    database: Database, medium_id: int, matches: Callable[[bytes], bool] | None
) -> AsyncIterator[RestorePlan]:
    """Plans the whole tree, or what `matches` says yes to by its path, with the directories above that.

    A path longer than 4,096 bytes is asked for as `.../` and its name.
    """
    async with database.connected() as connection:
        with translated():
            for statement in _TABLES:
                await connection.execute(statement)
            await connection.execute(_LISTED, medium_id)
            await connection.execute(_LISTED_INDEX)
            await connection.execute(_DIRECTORIES)
            await connection.execute(_DIRECTORIES_INDEX)
        if matches is not None:
            await _choose(database, connection, medium_id, matches)
        with translated():
            source = _ALL_NAMES if matches is None else "wanted"
            await connection.execute(_ENTRIES.format(source=source), medium_id)
            await connection.execute("ANALYZE restore_entry")
        yield RestorePlan(connection, medium_id)


async def _choose(database: Database, connection: Connection, medium_id: int, matches: Callable[[bytes], bool]) -> None:
    waiting: list[tuple[int, int, int, bytes, bool]] = []
    async for entry in Tree(database, medium_id).entries():
        path = b".../" + entry.name if entry.path is None else entry.path
        if path and matches(path):
            waiting.append((entry.volume, entry.parent_ino, entry.ino, entry.name, entry.entered))
        if len(waiting) >= COPY_ROWS:
            await _copy_wanted(connection, waiting)
            waiting.clear()
    await _copy_wanted(connection, waiting)
    with translated():
        await connection.execute("ANALYZE wanted")
        await connection.execute(_DROP_UNNEEDED)
        await connection.execute("ANALYZE restore_directory")


async def _copy_wanted(connection: Connection, records: Iterable[tuple[int, int, int, bytes, bool]]) -> None:
    with translated():
        await connection.copy_records_to_table(
            "wanted", columns=("volume", "parent_ino", "ino", "name", "entered"), records=records
        )


def _attributes(row: asyncpg.Record) -> Attributes:
    extended = tuple(zip(row["attribute_names"] or (), row["attribute_values"] or (), strict=True))
    mtime_ns = row["mtime_s"] * 1_000_000_000 + row["mtime_ns"]
    return Attributes(row["mode"], row["uid"], row["gid"], mtime_ns, extended)


def _directory(row: asyncpg.Record) -> PlannedDirectory:
    return PlannedDirectory(
        id=row["id"],
        parent_id=row["parent_id"],
        volume=row["volume"],
        ino=row["ino"],
        parent_ino=row["parent_ino"],
        name=row["name"],
        attributes=_attributes(row),
    )


def _entry(row: asyncpg.Record) -> PlannedEntry:
    return PlannedEntry(
        volume=row["volume"],
        ino=row["ino"],
        parent_ino=row["parent_ino"],
        name=row["name"],
        directory_id=row["directory_id"],
        attributes=None if row["mode"] is None else _attributes(row),
        link_target=row["link_target"] or b"",
        status=(row["status"] or b"").decode(),
        reason=row["reason"] or "",
        blob_hash=row["hash"],
        blob_size=row["blob_size"] or 0,
        pack_id=row["pack_id"],
        pack_offset=row["pack_offset"],
    )


_TABLES = (
    "CREATE TEMP TABLE listed_directory (volume smallint, ino bigint, parent_ino bigint, name bytea)",
    """CREATE TEMP TABLE restore_directory (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, volume smallint,
           ino bigint, parent_ino bigint, name bytea)""",
    "CREATE TEMP TABLE wanted (volume smallint, parent_ino bigint, ino bigint, name bytea, entered boolean)",
    """CREATE TEMP TABLE restore_entry (position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, volume smallint,
           ino bigint, parent_ino bigint, directory_id int, name bytea)""",
)
_LISTED = """INSERT INTO listed_directory SELECT volume, ino, parent_ino, name FROM name
    WHERE medium_id = $1 AND (flags & 2) <> 0"""
_LISTED_INDEX = "CREATE INDEX ON listed_directory (volume, parent_ino); ANALYZE listed_directory"
# a directory with a name that could lead out of the destination is left out, and all below it
_DIRECTORIES = """
    WITH RECURSIVE down(volume, ino, parent_ino, name, depth) AS (
        SELECT volume, ino, parent_ino, name, 0 FROM listed_directory WHERE ino = parent_ino AND name = ''
        UNION ALL
        SELECT d.volume, d.ino, d.parent_ino, d.name, down.depth + 1
        FROM down JOIN listed_directory d ON d.volume = down.volume AND d.parent_ino = down.ino
        WHERE d.ino <> d.parent_ino AND d.name NOT IN ('', '.', '..')
          AND position('/'::bytea IN d.name) = 0 AND position('\\x00'::bytea IN d.name) = 0)
    INSERT INTO restore_directory (volume, ino, parent_ino, name)
    SELECT volume, ino, parent_ino, name FROM down ORDER BY depth, volume, ino"""
_DIRECTORIES_INDEX = "CREATE UNIQUE INDEX ON restore_directory (volume, ino); ANALYZE restore_directory"
_DROP_UNNEEDED = """
    WITH RECURSIVE up(volume, ino) AS (
        SELECT volume, CASE WHEN entered THEN ino ELSE parent_ino END FROM wanted
        UNION
        SELECT d.volume, d.parent_ino FROM up JOIN restore_directory d USING (volume, ino))
    DELETE FROM restore_directory d
    WHERE NOT EXISTS (SELECT FROM up WHERE up.volume = d.volume AND up.ino = d.ino)"""
_ALL_NAMES = """(SELECT volume, parent_ino, ino, name, (flags & 2) <> 0 AS entered FROM name WHERE medium_id = $1)"""
_ENTRIES = """
    INSERT INTO restore_entry (volume, ino, parent_ino, directory_id, name)
    SELECT e.volume, e.ino, e.parent_ino, d.id, e.name
    FROM {source} e
    LEFT JOIN restore_directory d ON d.volume = e.volume AND d.ino = e.parent_ino
    LEFT JOIN restore_directory itself ON e.entered AND itself.volume = e.volume AND itself.ino = e.ino
    LEFT JOIN outcome o ON o.medium_id = $1 AND o.volume = e.volume AND o.ino = e.ino
    LEFT JOIN blob b ON b.id = o.blob_id
    WHERE itself.id IS NULL
    ORDER BY b.pack_id NULLS LAST, b.pack_offset, b.id, e.volume, e.ino, e.parent_ino, e.name"""
_EXTENDED = """SELECT array_agg(name ORDER BY name) AS attribute_names,
    array_agg(value ORDER BY name) AS attribute_values FROM node_attribute WHERE medium_id = $1"""
_ENTRY_PAGE = f"""
    SELECT e.*, n.mode, n.uid, n.gid, n.mtime_s, n.mtime_ns, n.link_target, o.status, o.reason,
           b.hash, b.size AS blob_size, b.pack_id, b.pack_offset, a.attribute_names, a.attribute_values
    FROM (SELECT * FROM restore_entry WHERE position > $2 ORDER BY position LIMIT $3) e
    LEFT JOIN node n ON n.medium_id = $1 AND n.volume = e.volume AND n.ino = e.ino
    LEFT JOIN outcome o ON o.medium_id = $1 AND o.volume = e.volume AND o.ino = e.ino
    LEFT JOIN blob b ON b.id = o.blob_id
    LEFT JOIN LATERAL ({_EXTENDED} AND volume = e.volume AND ino = e.ino) a ON true
    ORDER BY e.position"""
_DIRECTORY_PAGE = f"""
    SELECT d.*, p.id AS parent_id, coalesce(n.mode, 16877) AS mode, coalesce(n.uid, 0) AS uid,
           coalesce(n.gid, 0) AS gid, coalesce(n.mtime_s, 0) AS mtime_s, coalesce(n.mtime_ns, 0) AS mtime_ns,
           a.attribute_names, a.attribute_values
    FROM (SELECT * FROM restore_directory WHERE id < $2 ORDER BY id DESC LIMIT $3) d
    LEFT JOIN restore_directory p ON p.volume = d.volume AND p.ino = d.parent_ino AND d.ino <> d.parent_ino
    LEFT JOIN node n ON n.medium_id = $1 AND n.volume = d.volume AND n.ino = d.ino
    LEFT JOIN LATERAL ({_EXTENDED} AND volume = d.volume AND ino = d.ino) a ON true
    ORDER BY d.id DESC"""
