"""A manifest -> a medium that the catalogue does not have: its row, what belongs to it, its tree, its stamps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec

from ntt.db.connection import Connection, translated
from ntt.db.manifest import Header
from ntt.db.media import to_multirange
from ntt.db.rebuilding import Replica
from ntt.db.stamps import Backfill, stamp_archived, stamp_copied, stamp_enumerated
from ntt.db.summary import summarise
from ntt.db.undo import Recorder, Row
from ntt.errors import MediumError
from ntt.ranges import total

# of the row of the medium itself: what only proof may set, and what has its own place
_NOT_TAKEN = {
    "enum_done", "copy_done", "archive_done", "archive_path", "archive_bytes", "archived_image_hash", "backfilled",
    "archive_checked",
}  # fmt: skip
_BESIDE = ("volume", "medium_sample", "unread_structure", "finding", "image_pass", "sighting", "stage_run",
           "diagnostic_event")  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReadBack:
    """An archive that was read back: where it is, and the hash of the image in it. `map_text`: of the map in it."""

    path: str
    size_bytes: int
    image_hash: str
    map_text: str | None


async def revive(replica: Replica, archive: ReadBack) -> int:
    """In one transaction. How many of its files lack their content: with none it has all its stamps.

    The stamps bear the times of which the manifest tells, and are marked as set after the fact. MediumError where
    the manifest is of another image than the archive holds.
    """
    connection, header = replica.connection, replica.header
    if header.image_hash != archive.image_hash:
        raise MediumError(f"the archive of medium {header.medium_hash[:8]} holds another image than its manifest says")
    with translated():
        async with connection.transaction():
            medium_id = await _medium(connection, header, archive.map_text)
            rows = dict(header.rows) or {"volume": _volumes(header)}
            for table in _BESIDE:
                await _insert(connection, table, medium_id, rows.get(table, []))
            await replica.restore(Recorder(connection, None), medium_id)
            listed, copied = _time(header.enum_done), _time(header.copy_done)
            if not await stamp_enumerated(connection, medium_id, *await replica.counts(), Backfill(listed)):
                raise MediumError(f"the manifest of medium {header.medium_hash[:8]} contradicts itself")
            left = await stamp_copied(connection, medium_id, Backfill(copied))
            if not left:
                await stamp_archived(
                    connection, medium_id, archive.path, archive.size_bytes, archive.image_hash, Backfill()
                )
            await summarise(connection, medium_id)
        await connection.execute("ANALYZE node; ANALYZE name; ANALYZE outcome")
    return left


async def _medium(connection: Connection, header: Header, map_text: str | None) -> int:
    recorded = header.rows.get("medium", [{}])[0]
    row: Row = {key: value for key, value in recorded.items() if key not in _NOT_TAKEN} or {
        "medium_hash": header.medium_hash, "identity": header.identity, "medium_human": header.human,
        "added_at": header.added_at, "image_hash": header.image_hash, "image_bytes": header.image_bytes,
        "claimed_bytes": header.claimed_bytes, "health": header.health, "unread_bytes": total(header.unread),
    }  # fmt: skip
    row["map_text"] = map_text
    columns = ", ".join(f'"{column}"' for column in row)
    medium_id: int = await connection.fetchval(
        f"INSERT INTO medium ({columns}) SELECT {columns} FROM jsonb_populate_record(NULL::medium, $1) RETURNING id",
        row,
    )
    if not recorded:
        await connection.execute("UPDATE medium SET unread = $2 WHERE id = $1", medium_id, to_multirange(header.unread))
    return medium_id


def _volumes(header: Header) -> list[Row]:
    """Of a manifest of version 1."""
    return [msgspec.convert(msgspec.to_builtins(volume), type=Row) for volume in header.volumes]


async def _insert(connection: Connection, table: str, medium_id: int, rows: list[Row]) -> None:
    if not rows:
        return
    of_medium = [{**row, "medium_id": medium_id} for row in rows]
    columns = ", ".join(f'"{column}"' for column in of_medium[0])
    await connection.execute(
        f"INSERT INTO {table} ({columns}) SELECT {columns} FROM jsonb_populate_recordset(NULL::{table}, $1)", of_medium
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
