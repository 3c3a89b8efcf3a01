"""Findings, outcomes and events of a medium -> its bounded `problems` summary."""

from __future__ import annotations

from ntt.db.connection import Connection, Database
from ntt.db.loading import Problem, insert_problems

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

    async def refresh(self, medium_id: int) -> None:
        async with self._database.connection() as connection, connection.transaction():
            await summarise(connection, medium_id)


async def summarise(connection: Connection, medium_id: int) -> None:
    """Sets `medium.problems`; NULL when nothing at all was found. The shape is that of docs/queries.md."""
    summary: dict[str, object] = {}
    findings = await connection.fetch(
        """SELECT stage, kind, volume, ino, encode(name, 'escape') AS name, detail, next_step
           FROM finding WHERE medium_id = $1 ORDER BY volume NULLS FIRST, kind LIMIT $2""",
        medium_id,
        FIRST,
    )
    if findings:
        summary["findings"] = [{key: value for key, value in row.items() if value is not None} for row in findings]
        summary["findings_total"] = await connection.fetchval(
            "SELECT count(*) FROM finding WHERE medium_id = $1", medium_id
        )
    await _add_files(connection, medium_id, summary)
    await _add_events(connection, medium_id, summary)
    await connection.execute("UPDATE medium SET problems = $2 WHERE id = $1", medium_id, summary or None)


async def _add_files(connection: Connection, medium_id: int, summary: dict[str, object]) -> None:
    counts = await connection.fetchrow(
        """SELECT count(*) AS processed, count(*) FILTER (WHERE status <> 'c') AS errors,
                  count(*) FILTER (WHERE status = 'f') AS skipped FROM outcome WHERE medium_id = $1""",
        medium_id,
    )
    if counts is None or not counts["errors"]:
        return
    rows = await connection.fetch(
        f"""SELECT o.ino, o.volume, o.status, o.reason, o.damaged, {PATH_TEXT} AS path
            FROM outcome o LEFT JOIN LATERAL ({ANY_NAME}) e ON true
            WHERE o.medium_id = $1 AND o.status <> 'c' ORDER BY o.volume, o.ino LIMIT $2""",
        medium_id,
        FIRST,
    )
    summary["error_files"] = [
        {
            "path": row["path"],
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
        f"""SELECT o.*, {PATH_TEXT} AS path FROM diagnostic_event o LEFT JOIN LATERAL ({ANY_NAME}) e ON true
            WHERE o.medium_id = $1 ORDER BY o.at, o.volume, o.ino LIMIT $2""",
        medium_id,
        FIRST,
    )
    summary["diagnostic_events"] = [
        {
            "ino": row["ino"],
            "volume": row["volume"],
            "path": row["path"],
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


# one name of the inode in hand, and its path for people: bytes that are no UTF-8 stand as \\ooo
ANY_NAME = """SELECT e.name, e.parent_ino FROM name e
    WHERE e.medium_id = o.medium_id AND e.volume = o.volume AND e.ino = o.ino LIMIT 1"""
PATH_TEXT = """encode(CASE directory_path(o.medium_id, o.volume, e.parent_ino)
    WHEN '' THEN e.name ELSE directory_path(o.medium_id, o.volume, e.parent_ino) || '/'::bytea || e.name END, 'escape')"""
