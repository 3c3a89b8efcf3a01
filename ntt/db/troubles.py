"""The catalogue's history -> what went wrong: diagnostic events, singly and counted, and stages that ended badly."""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from ntt.db.connection import Database
from ntt.db.media import from_multirange
from ntt.db.paths import Key, paths_of
from ntt.db.verifying import StoredBlob
from ntt.ranges import Ranges


class Grouping(enum.StrEnum):
    """By what events are counted."""

    CHECK = "check"
    ACTION = "action"
    EXCEPTION = "exception"
    MEDIUM = "medium"


@dataclass(frozen=True, slots=True)
class Event:
    """A row of `diagnostic_event`; `path` is empty where the inode has no name any more."""

    at: datetime
    volume: int
    ino: int
    path: bytes
    retry_count: int
    checks: tuple[str, ...]
    action: str
    worker_id: str
    exception_type: str
    exception_msg: str


@dataclass(frozen=True, slots=True)
class EventGroup:
    """Events that agree in one thing. `files`: inodes that they are of; an event with two checks counts for both."""

    name: str
    events: int
    files: int
    media: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class BadEnd:
    """The last attempt at a stage that is still to be done; `error` may be empty where it was stopped."""

    medium_hash: str
    stage: str
    state: str
    ended_at: datetime
    error: str

    @property
    def words(self) -> str:
        """`archive failed: no space left`."""
        return f"{self.stage} {self.state}" + (f": {self.error}" if self.error else "")


class Troubles:
    """Read-only questions about what went wrong; `medium_id` None: on all media."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def events(self, medium_id: int, limit: int) -> list[Event]:
        """The newest, newest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """SELECT * FROM diagnostic_event WHERE medium_id = $1 ORDER BY at DESC, volume, ino LIMIT $2""",
                medium_id,
                limit,
            )
            paths = await paths_of(connection, medium_id, {(row["volume"], row["ino"]) for row in rows})
        return [
            Event(
                at=row["at"],
                volume=row["volume"],
                ino=row["ino"],
                path=paths.get((row["volume"], row["ino"]), b""),
                retry_count=row["retry_count"],
                checks=tuple(row["checks"]),
                action=row["action"],
                worker_id=row["worker_id"],
                exception_type=row["exception_type"] or "",
                exception_msg=row["exception_msg"] or "",
            )
            for row in rows
        ]

    async def grouped(self, by: Grouping, medium_id: int | None = None) -> list[EventGroup]:
        """Most events first; one scan of the events. A medium's name is its hash."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_GROUPED.format(name=_NAMES[by], source=_SOURCES[by]), medium_id)
        return [EventGroup(**row) for row in rows]

    async def damaged_contents(self, medium_id: int, keys: Collection[Key]) -> dict[Key, tuple[StoredBlob, Ranges]]:
        """Of the inodes that are damaged: what is stored of each, and its byte ranges that were not read."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """SELECT o.volume, o.ino, o.damaged, b.* FROM unnest($2::smallint[], $3::bigint[]) w(volume, ino)
                   JOIN outcome o ON o.medium_id = $1 AND o.volume = w.volume AND o.ino = w.ino
                   JOIN blob b ON b.id = o.blob_id WHERE o.status = 'd'""",
                medium_id,
                [volume for volume, _ in keys],
                [ino for _, ino in keys],
            )
        return {
            (row["volume"], row["ino"]): (
                StoredBlob(row["id"], row["hash"], row["size"], row["pack_id"], row["pack_offset"]),
                from_multirange(row["damaged"]),
            )
            for row in rows
        }

    async def bad_ends(self, medium_id: int | None = None) -> Sequence[BadEnd]:
        """Of stages without their stamp, the last attempt, unless it goes on now; by medium and time.

        Stamps are set from proof, attempts tell only what happened: a stage that is stamped is done however it ended.
        """
        async with self._database.connection() as connection:
            rows = await connection.fetch(_BAD_ENDS, medium_id)
        return [BadEnd(**row) for row in rows]


_NAMES = {
    Grouping.CHECK: "c.name",
    Grouping.ACTION: "e.action",
    Grouping.EXCEPTION: "coalesce(e.exception_type, '')",
    Grouping.MEDIUM: "m.medium_hash",
}
_SOURCES = {
    Grouping.CHECK: "diagnostic_event e CROSS JOIN LATERAL (SELECT DISTINCT unnest(e.checks) AS name) c",
    Grouping.ACTION: "diagnostic_event e",
    Grouping.EXCEPTION: "diagnostic_event e",
    Grouping.MEDIUM: "diagnostic_event e JOIN medium m ON m.id = e.medium_id",
}
_GROUPED = """
    SELECT name, sum(events)::bigint AS events, count(*) AS files, count(DISTINCT medium_id) AS media,
           min(first_at) AS first_at, max(last_at) AS last_at
    FROM (SELECT {name} AS name, e.medium_id, e.volume, e.ino, count(*) AS events, min(e.at) AS first_at,
                 max(e.at) AS last_at
          FROM {source} WHERE $1::int IS NULL OR e.medium_id = $1 GROUP BY 1, 2, 3, 4) f
    GROUP BY name ORDER BY events DESC, name"""
_BAD_ENDS = """
    SELECT m.medium_hash, r.stage, r.state, r.ended_at, coalesce(r.error, '') AS error
    FROM (SELECT DISTINCT ON (medium_id, stage) * FROM stage_run
          WHERE $1::int IS NULL OR medium_id = $1 ORDER BY medium_id, stage, id DESC) r
    JOIN medium m ON m.id = r.medium_id
    WHERE r.state IN ('failed', 'cancelled', 'interrupted')
      AND CASE r.stage WHEN 'enumerate' THEN m.enum_done IS NULL WHEN 'copy' THEN m.copy_done IS NULL
          WHEN 'archive' THEN m.archive_done IS NULL ELSE false END
    ORDER BY m.id, r.id"""
