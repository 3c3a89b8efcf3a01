"""Findings, outcomes and events of a medium -> its bounded `problems` summary."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from ntt.db.connection import Connection, Database
from ntt.db.damage import unread_of
from ntt.db.loading import Problem, insert_problems
from ntt.db.paths import paths_of
from ntt.names import as_text

COPYING = "copying"  # the stage of findings on how copying went, not on what it copied
FIRST = 100
ERROR_RATE_FILES = 100
ERROR_RATE = 0.1
_REFUSED, _UNSTABLE = "volume_refused", "mount_unstable"


@dataclass(frozen=True, slots=True)
class Earlier:
    """What earlier attempts at copying left: volumes by their problem; `many_errors` among the outcomes so far."""

    found: bool
    refused: frozenset[int]
    unstable: frozenset[int]
    many_errors: bool


class Problems:
    """Writes findings and keeps `medium.problems` true to them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def replace(self, medium_id: int, stage: str, problems: list[Problem]) -> None:
        """What a stage found is what it found this time."""
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute("DELETE FROM finding WHERE medium_id = $1 AND stage = $2", medium_id, stage)
            await insert_problems(connection, medium_id, stage, problems)
            await summarise(connection, medium_id)

    async def drop(self, medium_id: int, kind: str) -> None:
        """Findings of this kind are none: whoever made the image knows better."""
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute("DELETE FROM finding WHERE medium_id = $1 AND kind = $2", medium_id, kind)
            await summarise(connection, medium_id)

    async def known_to_copying(self, medium_id: int) -> Earlier:
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                "SELECT kind, volume FROM finding WHERE medium_id = $1 AND stage = $2", medium_id, COPYING
            )
            counts = await _counts(connection, medium_id)
        by_kind = {
            kind: frozenset(row["volume"] for row in rows if row["kind"] == kind) for kind in (_REFUSED, _UNSTABLE)
        }
        return Earlier(
            bool(rows), by_kind[_REFUSED], by_kind[_UNSTABLE], _are_many(counts["errors"], counts["processed"])
        )

    async def refresh(self, medium_id: int) -> None:
        async with self._database.connection() as connection, connection.transaction():
            await summarise(connection, medium_id)


async def summarise(connection: Connection, medium_id: int) -> None:
    """Sets `medium.problems`; NULL when nothing at all was found. The shape is that of docs/queries.md."""
    summary = await summary_of(connection, medium_id)
    await connection.execute("UPDATE medium SET problems = $2 WHERE id = $1", medium_id, summary or None)


async def summary_of(connection: Connection, medium_id: int) -> dict[str, object]:
    """What `medium.problems` ought to be by the rows as they are now; empty: NULL."""
    summary: dict[str, object] = {}
    findings = await connection.fetch(
        """SELECT stage, kind, volume, ino, name, detail, next_step
           FROM finding WHERE medium_id = $1 ORDER BY ino IS NOT NULL, volume NULLS FIRST, kind LIMIT $2""",
        medium_id,
        FIRST,
    )
    if findings:
        keys = {(row["volume"], row["ino"]) for row in findings if row["ino"] is not None and row["volume"] is not None}
        paths = await paths_of(connection, medium_id, keys)
        summary["findings"] = [_finding(row, paths.get((row["volume"], row["ino"]))) for row in findings]
        summary["findings_total"] = await connection.fetchval(
            "SELECT count(*) FROM finding WHERE medium_id = $1", medium_id
        )
    unread = await unread_of(connection, medium_id)
    kinds = unread.bytes_by_kind()
    if kinds.keys() - {"run_out"}:  # which alone are no problem
        summary["unread"] = {**kinds, "harmless": unread.harmless}
    await _add_files(connection, medium_id, summary)
    await _add_events(connection, medium_id, summary)
    await _add_instability(connection, medium_id, summary)
    return summary


def _finding(row: asyncpg.Record, path: bytes | None) -> dict[str, object]:
    found = {key: value for key, value in row.items() if value not in (None, "")}
    if path is not None:
        found["path"] = as_text(path) or "/"
    if row["name"] is not None:
        found["name"] = as_text(row["name"])
    return found


async def _add_files(connection: Connection, medium_id: int, summary: dict[str, object]) -> None:
    counts = await _counts(connection, medium_id)
    if not counts["errors"]:
        return
    rows = await connection.fetch(
        """SELECT ino, volume, reason, damaged FROM outcome
           WHERE medium_id = $1 AND status <> 'c' ORDER BY volume, ino LIMIT $2""",
        medium_id,
        FIRST,
    )
    paths = await paths_of(connection, medium_id, {(row["volume"], row["ino"]) for row in rows})
    summary["error_files"] = [
        {
            "path": as_text(paths.get((row["volume"], row["ino"]), b"")),
            "ino": row["ino"],
            "volume": row["volume"],
            "error": row["reason"] or "damaged: parts of it could not be read from the medium",
            # with a reason it is in doubt: nobody knows how many
            "damaged_bytes": 0 if row["reason"] else sum(r.upper - r.lower for r in row["damaged"] or ()),
        }
        for row in rows
    ]
    summary["error_files_total"] = counts["errors"]
    if _are_many(counts["errors"], counts["processed"]):
        summary["high_error_rate"] = True
        summary["error_rate"] = round(counts["errors"] / counts["processed"], 3)
        summary["errors"] = counts["errors"]
        summary["processed"] = counts["processed"]


async def _counts(connection: Connection, medium_id: int) -> asyncpg.Record:
    counts = await connection.fetchrow(
        """SELECT count(*) AS processed, count(*) FILTER (WHERE status <> 'c') AS errors
           FROM outcome WHERE medium_id = $1""",
        medium_id,
    )
    assert counts is not None
    return counts


def _are_many(errors: int, processed: int) -> bool:
    return processed > ERROR_RATE_FILES and errors > processed * ERROR_RATE


async def _add_events(connection: Connection, medium_id: int, summary: dict[str, object]) -> None:
    total = await connection.fetchval("SELECT count(*) FROM diagnostic_event WHERE medium_id = $1", medium_id)
    if not total:
        return
    rows = await connection.fetch(
        "SELECT * FROM diagnostic_event WHERE medium_id = $1 ORDER BY at, volume, ino LIMIT $2",
        medium_id,
        FIRST,
    )
    paths = await paths_of(connection, medium_id, {(row["volume"], row["ino"]) for row in rows})
    summary["diagnostic_events"] = [
        {
            "ino": row["ino"],
            "volume": row["volume"],
            "path": as_text(paths.get((row["volume"], row["ino"]), b"")),
            "retry_count": row["retry_count"],
            "checks": row["checks"],
            "action": row["action"],
            "timestamp": row["at"].isoformat(),
            "worker_id": row["worker_id"],
            "exception_type": row["exception_type"],
            "exception_msg": row["exception_msg"],
        }
        for row in rows
    ]
    summary["diagnostic_events_total"] = total
    # a file that was read whole since is history; so is what an earlier attempt at it met
    beyond = await connection.fetchrow(
        """SELECT count(*) AS skipped, min(ino) AS first_ino
           FROM (SELECT DISTINCT ON (volume, ino) volume, ino, checks FROM diagnostic_event
                 WHERE medium_id = $1 ORDER BY volume, ino, at DESC) last
           JOIN outcome o USING (volume, ino)
           WHERE o.medium_id = $1 AND o.status <> 'c'
             AND last.checks && ARRAY['detected_beyond_eof', 'dmesg:beyond_eof']""",
        medium_id,
    )
    if beyond is not None and beyond["skipped"]:
        summary["beyond_eof_detected"] = True
        summary["first_ino"] = beyond["first_ino"]
        summary["skip_count"] = beyond["skipped"]


async def _add_instability(connection: Connection, medium_id: int, summary: dict[str, object]) -> None:
    """Whether what it is read through broke off more than once the last time it was copied; since when, and whose."""
    if not await connection.fetchval(
        "SELECT EXISTS (SELECT FROM finding WHERE medium_id = $1 AND stage = $2 AND kind = 'mount_unstable')",
        medium_id,
        COPYING,
    ):
        return
    summary["mount_unstable"] = True
    last = await connection.fetchrow(
        """SELECT at, worker_id FROM diagnostic_event WHERE medium_id = $1 AND action = 'remounted'
           ORDER BY at DESC LIMIT 1""",
        medium_id,
    )
    if last is not None:
        summary["detected_at"], summary["worker_id"] = last["at"].isoformat(), last["worker_id"]
