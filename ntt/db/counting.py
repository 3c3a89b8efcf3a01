"""How many files, paths and bytes a medium has, and what is wrong with it, for reports."""

from __future__ import annotations

from dataclasses import dataclass

from ntt.db.connection import Database
from ntt.db.media import from_multirange
from ntt.db.paths import paths_of
from ntt.ranges import Ranges

FINDINGS_SHOWN = 100
WORST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Counts:
    """Regular files and their bytes (each inode once), all paths, outcomes, findings as sentences.

    `doubtful`: those of the damaged that may be whole. `worst`: (path, 'damaged' or 'failed', size, reason, unread
    ranges) of the first files.
    """

    files: int
    size_bytes: int
    paths: int
    damaged: int
    doubtful: int
    failed: int
    pending: int
    findings: tuple[str, ...]
    worst: tuple[tuple[bytes, str, int, str, Ranges], ...]


async def count(database: Database, medium_id: int) -> Counts:
    """One medium's counts; two scans of its rows."""
    async with database.connection() as connection:
        row = await connection.fetchrow(
            """SELECT count(*) AS files, least(coalesce(sum(n.size), 0), 9223372036854775807)::bigint AS bytes,
                      count(*) FILTER (WHERE o.status = 'd') AS damaged,
                      count(*) FILTER (WHERE o.status = 'd' AND o.reason IS NOT NULL) AS doubtful,
                      count(*) FILTER (WHERE o.status = 'f') AS failed,
                      count(*) FILTER (WHERE o.ino IS NULL) AS pending
               FROM node n LEFT JOIN outcome o USING (medium_id, volume, ino)
               WHERE n.medium_id = $1 AND (n.mode & 61440) = 32768""",
            medium_id,
        )
        paths = await connection.fetchval("SELECT count(*) FROM name WHERE medium_id = $1", medium_id)
        findings = await connection.fetch(
            """SELECT detail, next_step FROM finding WHERE medium_id = $1 AND kind <> 'joined_by_content'
               ORDER BY ino IS NOT NULL, volume NULLS FIRST, kind LIMIT $2""",
            medium_id,
            FINDINGS_SHOWN,
        )
        bad = await connection.fetch(
            """SELECT o.volume, o.ino, o.status, o.reason, o.damaged, n.size
               FROM outcome o JOIN node n USING (medium_id, volume, ino)
               WHERE o.medium_id = $1 AND o.status <> 'c' ORDER BY o.volume, o.ino LIMIT $2""",
            medium_id,
            WORST_SHOWN,
        )
        named = await paths_of(connection, medium_id, {(r["volume"], r["ino"]) for r in bad})
    assert row is not None
    return Counts(
        files=row["files"],
        size_bytes=row["bytes"],
        paths=paths,
        damaged=row["damaged"],
        doubtful=row["doubtful"],
        failed=row["failed"],
        pending=row["pending"],
        findings=tuple(_sentence(r["detail"], r["next_step"]) for r in findings),
        worst=tuple(
            (
                named.get((r["volume"], r["ino"]), b""),
                "damaged" if r["status"] == b"d" else "failed",
                r["size"],
                r["reason"] or "",
                from_multirange(r["damaged"]),
            )
            for r in bad
        ),
    )


def _sentence(detail: str, next_step: str) -> str:
    return f"{detail}; {next_step}" if next_step else detail
