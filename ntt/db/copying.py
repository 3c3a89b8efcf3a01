"""What is left to copy, which contents are known, which pack is free, and the proof that copying is done."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass

import anyio

from ntt.db.connection import Connection, Database, translated
from ntt.db.locks import LockSpace, release_advisory, try_advisory
from ntt.db.paths import paths_of, whole_paths_of
from ntt.db.stamps import stamp_copied

PAGE_FILES = 20_000
_REGULAR = "(n.mode & 61440) = 32768"  # S_IFMT, S_IFREG


@dataclass(frozen=True, slots=True)
class PendingFile:
    """`path` is given for volumes that are read by path only."""

    volume: int
    ino: int
    size: int
    first_byte: int
    path: bytes = b""


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file that was given up, by its first path, and why."""

    volume: int
    ino: int
    path: bytes
    size: int
    reason: str


@dataclass(frozen=True, slots=True)
class Pending:
    files: int
    bytes: int


class CopyQueue:
    """The regular files of a medium that have no outcome yet; derived from the rows, never from flags."""

    def __init__(self, database: Database, medium_id: int) -> None:
        self._database = database
        self._medium_id = medium_id

    async def pending(self) -> Pending:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                f"""SELECT count(*) AS files, least(coalesce(sum(n.size), 0), 9223372036854775807)::bigint AS bytes
                    FROM node n LEFT JOIN outcome o USING (medium_id, volume, ino)
                    WHERE n.medium_id = $1 AND {_REGULAR} AND o.ino IS NULL""",
                self._medium_id,
            )
        assert row is not None
        return Pending(row["files"], row["bytes"])

    async def files(self, by_path: Collection[int] = ()) -> AsyncIterator[PendingFile]:
        """All that are pending now, page by page in the order of the inodes, each page as it lies on the medium.

        Those of the volumes `by_path` come with a path, unless it is longer than any that is followed.
        """
        volume, ino = -1, -1
        while True:
            async with self._database.connection() as connection:
                rows = await connection.fetch(
                    f"""SELECT n.volume, n.ino, n.size, n.first_byte
                        FROM node n LEFT JOIN LATERAL (
                            SELECT 1 AS there FROM outcome o
                            WHERE o.medium_id = $1 AND o.volume = n.volume AND o.ino = n.ino LIMIT 1) o ON true
                        WHERE n.medium_id = $1 AND (n.volume, n.ino) > ($2, $3) AND {_REGULAR} AND o.there IS NULL
                        ORDER BY n.volume, n.ino LIMIT $4""",
                    self._medium_id,
                    volume,
                    ino,
                    PAGE_FILES,
                )
                keys = {(row["volume"], row["ino"]) for row in rows if row["volume"] in by_path}
                paths = await whole_paths_of(connection, self._medium_id, keys)
            if not rows:
                return
            volume, ino = rows[-1]["volume"], rows[-1]["ino"]
            for row in sorted(rows, key=lambda r: (r["volume"], r["first_byte"])):
                path = paths.get((row["volume"], row["ino"]), b"")
                yield PendingFile(row["volume"], row["ino"], row["size"], row["first_byte"], path)

    async def failed(self, reason: str | None) -> list[FailedFile]:
        """Files that were given up, or those of them whose reason contains the text."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """SELECT o.volume, o.ino, o.reason, n.size FROM outcome o JOIN node n USING (medium_id, volume, ino)
                   WHERE o.medium_id = $1 AND o.status = 'f' AND ($2::text IS NULL OR strpos(o.reason, $2) > 0)
                   ORDER BY o.volume, o.ino""",
                self._medium_id,
                reason,
            )
            paths = await paths_of(connection, self._medium_id, {(r["volume"], r["ino"]) for r in rows})
        return [
            FailedFile(r["volume"], r["ino"], paths.get((r["volume"], r["ino"]), b""), r["size"], r["reason"])
            for r in rows
        ]

    async def found_by_path(self, files: Sequence[FailedFile]) -> list[FailedFile]:
        """Those of them whose paths lead to no other file: no name on the way is there twice in its directory."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """WITH RECURSIVE twice AS MATERIALIZED (
                       SELECT DISTINCT volume, parent_ino, name FROM name WHERE medium_id = $1 AND (flags & 1) <> 0),
                   up(volume, file, ino, parent_ino, name) AS (
                       SELECT n.volume, n.ino, n.ino, n.parent_ino, n.name
                       FROM name n JOIN unnest($2::smallint[], $3::bigint[]) AS wanted(volume, ino) USING (volume, ino)
                       WHERE n.medium_id = $1 AND EXISTS (SELECT FROM twice)
                       UNION
                       SELECT d.volume, up.file, d.ino, d.parent_ino, d.name FROM up JOIN name d
                       ON d.medium_id = $1 AND d.volume = up.volume AND d.ino = up.parent_ino AND (d.flags & 2) <> 0
                       WHERE up.ino <> up.parent_ino)
                   SELECT DISTINCT volume, file FROM up JOIN twice USING (volume, parent_ino, name)""",
                self._medium_id,
                [file.volume for file in files],
                [file.ino for file in files],
            )
        ambiguous = {(row["volume"], row["file"]) for row in rows}
        return [file for file in files if (file.volume, file.ino) not in ambiguous]

    async def give_back(self, files: Sequence[FailedFile]) -> int:
        """Makes failed files pending again; the medium is neither copied nor archived then. How many there were."""
        async with self._database.connection() as connection, connection.transaction():
            gone = await connection.fetch(
                """DELETE FROM outcome o USING unnest($2::smallint[], $3::bigint[]) AS wanted(volume, ino)
                   WHERE o.medium_id = $1 AND o.volume = wanted.volume AND o.ino = wanted.ino AND o.status = 'f'
                   RETURNING 1""",
                self._medium_id,
                [file.volume for file in files],
                [file.ino for file in files],
            )
            if gone:
                await connection.execute(
                    "UPDATE medium SET copy_done = NULL, archive_done = NULL WHERE id = $1", self._medium_id
                )
        return len(gone)

    async def add_reasons(self, reasons: Sequence[tuple[int, int, str]]) -> int:
        """Adds (volume, inode, text) to the reasons of those files that failed; how many of them did."""
        async with self._database.connection() as connection:
            changed = await connection.fetch(
                """UPDATE outcome o SET reason = o.reason || '; ' || added.text
                   FROM unnest($2::smallint[], $3::bigint[], $4::text[]) AS added(volume, ino, text)
                   WHERE o.medium_id = $1 AND o.volume = added.volume AND o.ino = added.ino AND o.status = 'f'
                   RETURNING 1""",
                self._medium_id,
                *map(list, zip(*reasons, strict=True)),
            )
        return len(changed)

    async def prove_done(self) -> int:
        """How many regular files have no outcome; with none, `copy_done` is set in the transaction that saw it."""
        async with self._database.connection() as connection, connection.transaction():
            return await stamp_copied(connection, self._medium_id)


class Registrar:
    """Answers the crew's questions on one connection, and holds the packs it gave out until that closes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._turn = anyio.Lock()  # a connection takes one statement at a time, the workers ask at once
        self._taken: set[int] = set()

    async def known(self, hashes: Sequence[bytes]) -> set[bytes]:
        async with self._turn:
            with translated():
                rows = await self._connection.fetch("SELECT hash FROM blob WHERE hash = ANY($1::bytea[])", hashes)
        return {row["hash"] for row in rows}

    async def hold_unsealed(self) -> list[tuple[int, int]]:
        """(id, committed bytes) of every unsealed pack that no one writes; held until the connection closes."""
        async with self._turn:
            with translated():
                rows = await self._connection.fetch("SELECT id FROM pack WHERE NOT sealed ORDER BY id")
                ids = [row["id"] for row in rows]
                free = [pack_id for pack_id in ids if await try_advisory(self._connection, LockSpace.PACK, pack_id)]
                held = await self._connection.fetch(
                    "SELECT id, committed_bytes FROM pack WHERE NOT sealed AND id = ANY($1::int[])", free
                )
        return [(row["id"], row["committed_bytes"]) for row in held]

    async def take_pack(self) -> tuple[int, int]:
        """An unsealed pack that nobody writes, else a new one."""
        async with self._turn:
            with translated():
                return await self._take_pack()

    async def _take_pack(self) -> tuple[int, int]:
        rows = await self._connection.fetch("SELECT id FROM pack WHERE NOT sealed ORDER BY id")
        for pack_id in (row["id"] for row in rows):
            if pack_id in self._taken:
                continue
            if await try_advisory(self._connection, LockSpace.PACK, pack_id):
                # asked again under the lock: its last writer may have filled it since
                row = await self._connection.fetchrow("SELECT committed_bytes, sealed FROM pack WHERE id = $1", pack_id)
                if row is not None and not row["sealed"]:
                    self._taken.add(pack_id)
                    return pack_id, row["committed_bytes"]
                await release_advisory(self._connection, LockSpace.PACK, pack_id)
        pack_id = await self._connection.fetchval("INSERT INTO pack DEFAULT VALUES RETURNING id")
        if not await try_advisory(self._connection, LockSpace.PACK, pack_id):
            return await self._take_pack()  # another process was faster between the two statements
        self._taken.add(pack_id)
        return pack_id, 0
