"""What the catalogue claims, in the form in which it can be compared with itself and with the disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from ntt.db.connection import Database
from ntt.db.locks import LockSpace, lock_key
from ntt.db.paths import paths_of
from ntt.db.summary import summary_of

ROWS_LISTED = 1_000  # of each check and medium
MEDIA_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class RecordedPack:
    id: int
    committed_bytes: int
    sealed: bool


@dataclass(frozen=True, slots=True)
class RecordedMedium:
    """What the row of a medium claims: its image, its stamps, its archive."""

    id: int
    medium_hash: str
    image_path: str | None
    image_hash: str
    enum_done: datetime | None
    copy_done: datetime | None
    archive_done: datetime | None
    archive_path: str | None
    archive_bytes: int | None


@dataclass(frozen=True, slots=True)
class Proof:
    """What the rows of a medium say, whatever its stamps say.

    `listed`: (inodes, names) that its last listing counted, if that ended well; None: there is no record of one.
    """

    nodes: int
    names: int
    pending: int
    knows_why_empty: bool
    listed: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that contradicts another one."""

    kind: str
    volume: int
    ino: int
    path: bytes


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """A `stage_run` that claims to be running."""

    medium_id: int | None
    medium_hash: str | None
    stage: str
    run_id: str
    host: str
    pid: int
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Held:
    """The advisory locks of this database at one moment, and the names of the sessions connected to it."""

    keys: frozenset[int]
    sessions: tuple[str, ...]

    def medium(self, medium_id: int) -> bool:
        return lock_key(LockSpace.MEDIUM, medium_id) in self.keys

    def pack(self, pack_id: int) -> bool:
        return lock_key(LockSpace.PACK, pack_id) in self.keys

    def run(self, run_id: str) -> bool:
        return any(f"ntt {run_id} " in name for name in self.sessions)


class Auditing:
    """Read-only questions; every one is a statement of its own, none holds a lock."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def held(self) -> Held:
        async with self._database.connection() as connection:
            keys = await connection.fetch(
                """SELECT (classid::bigint << 32 | objid::bigint) AS key FROM pg_locks
                   WHERE locktype = 'advisory' AND granted AND objsubid = 1
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
            )
            names = await connection.fetch(
                "SELECT DISTINCT application_name FROM pg_stat_activity WHERE datname = current_database()"
            )
        return Held(frozenset(row["key"] for row in keys), tuple(row["application_name"] for row in names))

    async def packs(self) -> list[RecordedPack]:
        async with self._database.connection() as connection:
            rows = await connection.fetch("SELECT id, committed_bytes, sealed FROM pack ORDER BY id")
        return [RecordedPack(row["id"], row["committed_bytes"], row["sealed"]) for row in rows]

    async def unknown(self, hashes: Sequence[bytes]) -> list[bytes]:
        """Those that are no blob's."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """SELECT DISTINCT hash FROM unnest($1::bytea[]) AS asked(hash)
                   WHERE NOT EXISTS (SELECT FROM blob b WHERE b.hash = asked.hash) ORDER BY hash""",
                hashes,
            )
        return [row["hash"] for row in rows]

    async def unreferenced(self) -> tuple[list[bytes], int]:
        """Blobs that no file refers to: the first thousand, and how many."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                f"""SELECT hash, count(*) OVER () AS total FROM blob b
                    WHERE NOT EXISTS (SELECT FROM outcome o WHERE o.blob_id = b.id) ORDER BY hash LIMIT {ROWS_LISTED}"""
            )
        return [row["hash"] for row in rows], rows[0]["total"] if rows else 0

    async def orphan_media(self) -> list[tuple[str, int]]:
        """(table, medium_id) of rows whose medium is not in the catalogue; steps over the indexes, reads no table."""
        found: list[tuple[str, int]] = []
        async with self._database.connection() as connection:
            for table in ("node", "name", "outcome"):
                rows = await connection.fetch(
                    f"""WITH RECURSIVE each(id) AS (
                            SELECT min(medium_id) FROM {table}
                            UNION ALL
                            SELECT (SELECT min(medium_id) FROM {table} WHERE medium_id > each.id)
                            FROM each WHERE each.id IS NOT NULL)
                        SELECT id FROM each WHERE id IS NOT NULL AND id NOT IN (SELECT id FROM medium) ORDER BY id"""
                )
                found += [(table, row["id"]) for row in rows]
        return found

    async def media(self, medium_id: int | None) -> AsyncIterator[list[RecordedMedium]]:
        """All media or this one, oldest first, a thousand at a time."""
        last = 0
        while True:
            async with self._database.connection() as connection:
                rows = await connection.fetch(_MEDIA, last, medium_id, MEDIA_AT_ONCE)
            if not rows:
                return
            last = rows[-1]["id"]
            yield [RecordedMedium(**row) for row in rows]

    async def archived(self, hashes: Sequence[str]) -> dict[str, RecordedMedium]:
        """Those of the hashes that are media."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                f"SELECT {_CLAIMS} FROM medium WHERE medium_hash = ANY($1::text[])", list(hashes)
            )
        return {row["medium_hash"]: RecordedMedium(**row) for row in rows}

    async def summary_is_stale(self, medium_id: int) -> bool:
        """Does `medium.problems` say something else than the rows do?"""
        async with self._database.connection() as connection:
            recorded = await connection.fetchval("SELECT problems FROM medium WHERE id = $1", medium_id)
            actual = await summary_of(connection, medium_id)
        return bool((recorded or {}) != msgspec.json.decode(msgspec.json.encode(actual)))

    async def proof(self, medium_id: int) -> Proof:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_PROOF, medium_id)
        assert row is not None
        listed = (row["listed_nodes"], row["listed_names"])
        whole = None if listed[0] is None or listed[1] is None else listed
        return Proof(row["nodes"], row["names"], row["pending"], row["knows_why_empty"], whole)

    async def bad_rows(self, medium_id: int) -> list[BadRow]:
        """Rows of a medium that contradict others, at most a thousand of each kind."""
        found: list[BadRow] = []
        async with self._database.connection() as connection:
            for kind, query in _ROW_CHECKS:
                rows = await connection.fetch(f"{query} LIMIT {ROWS_LISTED}", medium_id)
                paths = await paths_of(connection, medium_id, {(row["volume"], row["ino"]) for row in rows})
                found += [
                    BadRow(kind, row["volume"], row["ino"], paths.get((row["volume"], row["ino"]), b"")) for row in rows
                ]
        return found

    async def open_attempts(self, medium_id: int | None) -> list[OpenAttempt]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """SELECT r.medium_id, m.medium_hash, r.stage, r.run_id, r.host, r.pid, r.started_at
                   FROM stage_run r LEFT JOIN medium m ON m.id = r.medium_id
                   WHERE r.state = 'running' AND ($1::int IS NULL OR r.medium_id = $1) ORDER BY r.id""",
                medium_id,
            )
        return [OpenAttempt(**row) for row in rows]


_CLAIMS = """id, medium_hash, image_path, image_hash, enum_done, copy_done, archive_done, archive_path,
    archive_bytes"""
_MEDIA = f"""SELECT {_CLAIMS} FROM medium WHERE id > $1 AND ($2::int IS NULL OR id = $2) ORDER BY id LIMIT $3"""
_PROOF = """
    SELECT (SELECT count(*) FROM node WHERE medium_id = $1) AS nodes,
           (SELECT count(*) FROM name WHERE medium_id = $1) AS names,
           (SELECT count(*) FROM node n LEFT JOIN outcome o USING (medium_id, volume, ino)
            WHERE n.medium_id = $1 AND n.mode & 61440 = 32768 AND o.ino IS NULL) AS pending,
           EXISTS (SELECT FROM finding WHERE medium_id = $1 AND kind = 'no_files') AS knows_why_empty,
           (last.counts->>'nodes')::bigint AS listed_nodes, (last.counts->>'paths')::bigint AS listed_names
    FROM (SELECT) one LEFT JOIN LATERAL (
        SELECT counts FROM stage_run WHERE medium_id = $1 AND stage = 'enumerate' AND state = 'ok'
        ORDER BY id DESC LIMIT 1) last ON true"""
_ROW_CHECKS = (
    (
        "blob_row_missing",
        """SELECT o.volume, o.ino FROM outcome o
           WHERE o.medium_id = $1 AND o.blob_id IS NOT NULL
             AND NOT EXISTS (SELECT FROM blob b WHERE b.id = o.blob_id) ORDER BY 1, 2""",
    ),
    (
        "size_differs",
        """SELECT o.volume, o.ino
           FROM outcome o JOIN node n USING (medium_id, volume, ino) JOIN blob b ON b.id = o.blob_id
           WHERE o.medium_id = $1 AND o.status = 'c' AND b.size <> n.size ORDER BY 1, 2""",
    ),
    (
        "outcome_without_file",
        """SELECT o.volume, o.ino FROM outcome o LEFT JOIN node n USING (medium_id, volume, ino)
           WHERE o.medium_id = $1 AND (n.ino IS NULL OR n.mode & 61440 <> 32768) ORDER BY 1, 2""",
    ),
    (
        "node_without_name",
        """SELECT n.volume, n.ino FROM node n WHERE n.medium_id = $1 AND NOT EXISTS
               (SELECT FROM name e WHERE e.medium_id = $1 AND e.volume = n.volume AND e.ino = n.ino) ORDER BY 1, 2""",
    ),
    (
        "name_without_node",
        """SELECT e.volume, e.ino FROM name e LEFT JOIN node n USING (medium_id, volume, ino)
           WHERE e.medium_id = $1 AND n.ino IS NULL ORDER BY 1, 2""",
    ),
    (
        "name_without_directory",
        """SELECT e.volume, e.ino FROM name e WHERE e.medium_id = $1 AND NOT EXISTS
               (SELECT FROM name d WHERE d.medium_id = $1 AND d.volume = e.volume AND d.ino = e.parent_ino
                AND d.flags & 2 <> 0) ORDER BY 1, 2""",
    ),
)
