"""Proof -> stamp: `enum_done`, `copy_done` and `archive_done` are set here and nowhere else.

Each is set in the transaction that sees the proof. Elsewhere stamps are only taken away: a test reads all sources
for it. `ntt repair --undo` puts back what was there before a repair, whatever that was.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ntt.db.connection import Connection

_MARKED = """backfilled = CASE WHEN {backfilled} THEN array_append(array_remove(backfilled, '{stamp}'), '{stamp}')
                                  ELSE array_remove(backfilled, '{stamp}') END"""


@dataclass(frozen=True, slots=True)
class Backfill:
    """A stamp that is set after the fact, and marked so. `at`: when it was done by a record of it; None: now."""

    at: datetime | None = None


async def stamp_enumerated(
    connection: Connection, medium_id: int, nodes: int, names: int, backfill: Backfill | None = None
) -> bool:
    """True: the medium has just as many inodes and names as were read from it, and `enum_done` says so."""
    return bool(
        await connection.fetchval(
            f"""UPDATE medium SET enum_done = coalesce($4, clock_timestamp()), {_marked("enum_done", "$5")}
                WHERE id = $1 AND (SELECT count(*) FROM node WHERE medium_id = $1) = $2
                  AND (SELECT count(*) FROM name WHERE medium_id = $1) = $3 RETURNING true""",
            medium_id,
            nodes,
            names,
            backfill.at if backfill else None,
            backfill is not None,
        )
    )


async def stamp_copied(connection: Connection, medium_id: int, backfill: Backfill | None = None) -> int:
    """How many regular files have no outcome; with none, `copy_done` is set if it was not.

    After the fact, files whose content is not in the catalogue count as well.
    """
    await connection.fetchval("SELECT id FROM medium WHERE id = $1 FOR UPDATE", medium_id)
    left: int = await connection.fetchval(
        """SELECT count(*) FROM node n LEFT JOIN outcome o USING (medium_id, volume, ino)
           WHERE n.medium_id = $1 AND (n.mode & 61440) = 32768 AND o.ino IS NULL""",
        medium_id,
    )
    if backfill is not None:
        left += await connection.fetchval(
            """SELECT count(*) FROM outcome o WHERE o.medium_id = $1 AND o.blob_id IS NOT NULL
                   AND NOT EXISTS (SELECT FROM blob b WHERE b.id = o.blob_id)""",
            medium_id,
        )
    if not left:
        await connection.execute(
            f"""UPDATE medium SET copy_done = greatest(coalesce($2, clock_timestamp()), enum_done),
                    {_marked("copy_done", "$3")}
                WHERE id = $1 AND copy_done IS NULL AND (enum_done IS NOT NULL OR NOT $3)""",
            medium_id,
            backfill.at if backfill else None,
            backfill is not None,
        )
    return left


async def stamp_archived(
    connection: Connection,
    medium_id: int,
    path: str,
    size_bytes: int,
    read_back_image_hash: str,
    backfill: Backfill | None = None,
) -> bool:
    """True: copying is done, what was read back is the image that was enumerated, and `archive_done` says so."""
    return bool(
        await connection.fetchval(
            f"""UPDATE medium SET archive_done = greatest(coalesce($5, clock_timestamp()), enum_done),
                    archive_path = $2, archive_bytes = $3, archived_image_hash = $4, {_marked("archive_done", "$6")}
                WHERE id = $1 AND copy_done IS NOT NULL AND image_hash = $4 RETURNING true""",
            medium_id,
            path,
            size_bytes,
            read_back_image_hash,
            backfill.at if backfill else None,
            backfill is not None,
        )
    )


def _marked(stamp: str, backfilled: str) -> str:
    return _MARKED.format(stamp=stamp, backfilled=f"{backfilled}::boolean")
