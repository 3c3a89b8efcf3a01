"""Findings, outcomes and events of a medium -> its bounded `problems` summary."""

from __future__ import annotations

import asyncpg

from ntt.db.connection import Connection, Database
from ntt.db.damage import unread_of
from ntt.db.loading import Problem, insert_problems
from ntt.db.paths import paths_of
from ntt.names import as_text

FIRST = 100
ERROR_RATE_FILES = 100
ERROR_RATE = 0.1


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

    async def refresh(self, medium_id: int) -> None:
        async with self._database.connection() as connection, connection.transaction():
            await summarise(connection, medium_id)


async def summarise(connection: Connection, medium_id: int) -> None:
    """Sets `medium.problems`; NULL when nothing at all was found. The shape is that of docs/queries.md."""
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
    await connection.execute("UPDATE medium SET problems = $2 WHERE id = $1", medium_id, summary or None)


def _finding(row: asyncpg.Record, path: bytes | None) -> dict[str, object]:
    found = {key: value for key, value in row.items() if value not in (None, "")}
    if path is not None:
        found["path"] = as_text(path) or "/"
    if row["name"] is not None:
        found["name"] = as_text(row["name"])
    return found


async def _add_files(connection: Connection, medium_id: int, summary: dict[str, object]) -> None:
    counts = await connection.fetchrow(
        """SELECT count(*) AS processed, count(*) FILTER (WHERE status <> 'c') AS errors,
                  count(*) FILTER (WHERE status = 'f') AS skipped FROM outcome WHERE medium_id = $1""",
        medium_id,
    )
    if counts is None or not counts["errors"]:
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
            "damaged_bytes": sum(r.upper - r.lower for r in row["damaged"] or ()),
        }
        for row in rows
    ]
    summary["error_files_total"] = counts["errors"]
    if counts["processed"] > ERROR_RATE_FILES and counts["errors"] > counts["processed"] * ERROR_RATE:
        summary["high_error_rate"] = True
        summary["error_rate"] = round(counts["errors"] / counts["processed"], 3)
        summary["errors"] = counts["errors"]
        summary["processed"] = counts["processed"]


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
    beyond = await connection.fetchrow(
        """SELECT count(*) AS skipped, min(ino) AS first_ino FROM diagnostic_event
           WHERE medium_id = $1 AND checks && ARRAY['detected_beyond_eof', 'dmesg:beyond_eof']""",
        medium_id,
    )
    if beyond is not None and beyond["skipped"]:
        summary["beyond_eof_detected"] = True
        summary["first_ino"] = beyond["first_ino"]
        summary["skip_count"] = beyond["skipped"]
