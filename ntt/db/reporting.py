"""The catalogue -> what people are told of media: how far they are, what failed, what to read about it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ntt.db.connection import Connection, Database
from ntt.db.locks import HOLDER, LockSpace, lock_key
from ntt.db.media import from_multirange
from ntt.db.paths import paths_of
from ntt.db.verifying import StoredBlob
from ntt.ranges import Ranges

PAGE_FILES = 20_000  # finding their names costs one scan of the medium's names per page


@dataclass(frozen=True, slots=True)
class TroubledFile:
    """A file with status 'd' or 'f'; `blob` is what is stored of a damaged one."""

    volume: int
    ino: int
    path: bytes
    size: int
    status: str
    reason: str
    damaged: Ranges
    blob: StoredBlob | None


@dataclass(frozen=True, slots=True)
class MediumSummary:
    """One line of a list of media. The totals come from `medium.problems`."""

    medium_hash: str
    human: str
    added_at: datetime
    health: str
    image_path: str | None
    image_bytes: int
    unread_bytes: int
    enum_done: datetime | None
    copy_done: datetime | None
    archive_done: datetime | None
    message: str | None
    has_problems: bool
    error_files: int
    findings: int
    events: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What a medium holds, and what became of its regular files."""

    paths: int
    directories: int
    files: int
    file_bytes: int
    copied: int
    damaged: int
    failed: int

    @property
    def pending(self) -> int:
        return self.files - self.copied - self.damaged - self.failed


@dataclass(frozen=True, slots=True)
class StageAttempt:
    stage: str
    state: str
    started_at: datetime
    ended_at: datetime | None
    seconds: float | None
    counts: Mapping[str, object]
    error: str | None
    run_id: str
    host: str
    pid: int


@dataclass(frozen=True, slots=True)
class Inserted:
    """A time that `ntt watch` was given a medium; `sequence` counts those of the run `session`."""

    inserted_at: datetime
    session: str
    sequence: int
    drive: str
    disc: str
    label: str | None
    box: str | None
    verdict: str | None
    summary: str
    ended_at: datetime | None
    ejected_at: datetime | None


@dataclass(frozen=True, slots=True)
class Choice:
    """Which media are meant: those that came in this box, whose name or label holds this text, that are in this state.

    `state`: "new", "listed", "copied" or "archived" (the last stage that is done), or "problems".
    """

    box: str | None = None
    label: str | None = None
    state: str | None = None


STATES = ("new", "listed", "copied", "archived", "problems")


@dataclass(frozen=True, slots=True)
class Sighting:
    seen_at: datetime
    source: str
    label: str | None


EVERYTHING = Choice()


class Reporting:
    """Read-only questions about media."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def media(self, choice: Choice = EVERYTHING) -> list[MediumSummary]:
        """Those that are meant, oldest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """SELECT medium_hash, coalesce(medium_human, left(medium_hash, 8)) AS human, added_at, health,
                          image_path, image_bytes, unread_bytes, enum_done, copy_done, archive_done, message,
                          problems IS NOT NULL AS has_problems,
                          coalesce((problems->>'error_files_total')::bigint, 0) AS error_files,
                          coalesce((problems->>'findings_total')::bigint, 0) AS findings,
                          coalesce((problems->>'diagnostic_events_total')::bigint, 0) AS events
                   FROM medium m
                   WHERE ($1::text IS NULL OR EXISTS (SELECT FROM insertion i WHERE i.medium_id = m.id AND i.box = $1))
                     AND ($2::text IS NULL OR strpos(lower(medium_human), lower($2)) > 0
                          OR EXISTS (SELECT FROM insertion i
                                     WHERE i.medium_id = m.id AND strpos(lower(i.label), lower($2)) > 0)
                          OR EXISTS (SELECT FROM sighting s
                                     WHERE s.medium_id = m.id AND strpos(lower(s.label), lower($2)) > 0))
                     AND ($3::text IS NULL OR CASE WHEN $3 = 'problems' THEN problems IS NOT NULL
                          ELSE $3 = CASE WHEN archive_done IS NOT NULL THEN 'archived'
                                         WHEN copy_done IS NOT NULL THEN 'copied'
                                         WHEN enum_done IS NOT NULL THEN 'listed' ELSE 'new' END END)
                   ORDER BY id""",
                choice.box,
                choice.label,
                choice.state,
            )
        return [MediumSummary(**row) for row in rows]

    async def problems(self, medium_id: int) -> tuple[object, int]:
        """`medium.problems` as it stands (None: nothing was found), and the number of events."""
        async with self._database.connection() as connection:
            problems = await connection.fetchval("SELECT problems FROM medium WHERE id = $1", medium_id)
            events: int = await connection.fetchval(
                "SELECT count(*) FROM diagnostic_event WHERE medium_id = $1", medium_id
            )
        return problems, events

    async def troubled_files(self, medium_id: int) -> AsyncIterator[list[TroubledFile]]:
        """Every damaged and failed file by volume and inode, a page at a time."""
        volume, ino = -1, -(2**63)
        while True:
            async with self._database.connection() as connection:
                rows = await connection.fetch(_TROUBLED, medium_id, volume, ino, PAGE_FILES)
                keys = {(row["volume"], row["ino"]) for row in rows}
                paths = await paths_of(connection, medium_id, keys)
            if not rows:
                return
            volume, ino = rows[-1]["volume"], rows[-1]["ino"]
            yield [
                TroubledFile(
                    volume=row["volume"],
                    ino=row["ino"],
                    path=paths.get((row["volume"], row["ino"]), b""),
                    size=row["size"],
                    status=row["status"].decode(),
                    reason=row["reason"] or "",
                    damaged=from_multirange(row["damaged"]),
                    blob=None
                    if row["hash"] is None
                    else StoredBlob(row["blob_id"], row["hash"], row["blob_size"], row["pack_id"], row["pack_offset"]),
                )
                for row in rows
            ]

    async def blobs_of_sizes(self, sizes: Collection[int], each: int) -> dict[int, list[StoredBlob]]:
        """At most `each` blobs of every size asked for, in the order of the store."""
        if not sizes:
            return {}
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """SELECT * FROM (SELECT b.*, row_number() OVER
                       (PARTITION BY size ORDER BY pack_id NULLS LAST, pack_offset, hash) AS number
                       FROM blob b WHERE size = ANY($1::bigint[])) n
                   WHERE number <= $2 ORDER BY size, number""",
                list(sizes),
                each,
            )
        found: dict[int, list[StoredBlob]] = {}
        for row in rows:
            blob = StoredBlob(row["id"], row["hash"], row["size"], row["pack_id"], row["pack_offset"])
            found.setdefault(blob.size_bytes, []).append(blob)
        return found

    async def counts(self, medium_id: int) -> Counts:
        async with self._database.connection() as connection:
            return await _counts(connection, medium_id)

    async def attempts(self, medium_id: int) -> Sequence[StageAttempt]:
        """Every attempt at a stage, in the order in which they were started."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """SELECT stage, state, started_at, ended_at, seconds, counts, error, run_id, host, pid
                   FROM stage_run WHERE medium_id = $1 ORDER BY id""",
                medium_id,
            )
        return [StageAttempt(**row) for row in rows]

    async def insertions(self, medium_id: int) -> Sequence[Inserted]:
        """In the order in which they were put in."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """SELECT inserted_at, session, sequence, drive, disc, label, box, verdict, summary, ended_at,
                          ejected_at
                   FROM insertion WHERE medium_id = $1 ORDER BY id""",
                medium_id,
            )
        return [Inserted(**row) for row in rows]

    async def sightings(self, medium_id: int) -> Sequence[Sighting]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                "SELECT seen_at, source, label FROM sighting WHERE medium_id = $1 ORDER BY seen_at", medium_id
            )
        return [Sighting(**row) for row in rows]

    async def worked_on_by(self, medium_id: int) -> str | None:
        """Who holds the medium now: run, pid and host."""
        async with self._database.connection() as connection:
            holder: str | None = await connection.fetchval(HOLDER, lock_key(LockSpace.MEDIUM, medium_id))
        return holder


async def _counts(connection: Connection, medium_id: int) -> Counts:
    nodes = await connection.fetchrow(
        """SELECT count(*) FILTER (WHERE mode & 61440 = 16384) AS directories,
                  count(*) FILTER (WHERE mode & 61440 = 32768) AS files,
                  coalesce(sum(size) FILTER (WHERE mode & 61440 = 32768), 0)::bigint AS file_bytes
           FROM node WHERE medium_id = $1""",
        medium_id,
    )
    outcomes = await connection.fetchrow(
        """SELECT count(*) FILTER (WHERE status = 'c') AS copied, count(*) FILTER (WHERE status = 'd') AS damaged,
                  count(*) FILTER (WHERE status = 'f') AS failed FROM outcome WHERE medium_id = $1""",
        medium_id,
    )
    paths = await connection.fetchval("SELECT count(*) FROM name WHERE medium_id = $1", medium_id)
    assert nodes is not None
    assert outcomes is not None
    return Counts(paths=paths, **nodes, **outcomes)


_TROUBLED = """
    SELECT o.volume, o.ino, o.status, o.reason, o.damaged, o.blob_id, coalesce(n.size, 0) AS size,
           b.hash, b.size AS blob_size, b.pack_id, b.pack_offset
    FROM outcome o LEFT JOIN node n USING (medium_id, volume, ino) LEFT JOIN blob b ON b.id = o.blob_id
    WHERE o.medium_id = $1 AND (o.volume, o.ino) > ($2, $3) AND o.status <> 'c'
    ORDER BY o.volume, o.ino LIMIT $4"""
