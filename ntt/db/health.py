"""The map of a medium, and what the listing says of its unread bytes -> its health."""

from __future__ import annotations

from ntt.db.connection import Connection
from ntt.model import health_of

NO_VOLUME = 0  # in `unread_structure`: what belongs to none, but to the medium
RUN_OUT = "run-out sectors"  # at the end of a disc, behind everything that lies on it: no drive needs to read them


async def judge(connection: Connection, medium_id: int) -> None:
    """Sets `medium.health`: unread run-out sectors are no damage, once the listing has told which they are.

    To be called in the transaction that changes the map or the listing, after it did.
    """
    row = await connection.fetchrow(
        """SELECT claimed_bytes, unread_bytes,
                  CASE WHEN enum_done IS NULL THEN 0 ELSE coalesce(
                      (SELECT sum(upper(r) - lower(r)) FROM unread_structure s, unnest(s.ranges * m.unread) r
                       WHERE s.medium_id = m.id AND s.volume = $2 AND s.what = $3), 0) END::bigint AS run_out_bytes
           FROM medium m WHERE id = $1""",
        medium_id,
        NO_VOLUME,
        RUN_OUT,
    )
    assert row is not None, "a medium that is being worked on stays"
    read_bytes = row["claimed_bytes"] - row["unread_bytes"] + row["run_out_bytes"]
    await connection.execute(
        "UPDATE medium SET health = $2 WHERE id = $1", medium_id, health_of(read_bytes, row["claimed_bytes"]).value
    )
