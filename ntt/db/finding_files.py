"""Names and contents -> every medium and path that has them."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from ntt.db.connection import Connection, Database
from ntt.db.name_globs import NameGlob
from ntt.db.verifying import StoredBlob

HASH_DIGITS = 64
CANDIDATES = 21  # one more than are listed
_KEY = "(substr(e.name, 1, 13) || substr(sha256(e.name), 1, 2))"  # as `name_text` has it


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A name on a medium, and what it stands for; `status` is 'c', 'd', 'f', or '' (pending, or no regular file).

    `human` and `box`: what people call the medium, and the box in which it came last, as far as they were told.
    `path` is relative to the volume's root. `mode` None: the inode is not recorded.
    """

    medium_hash: str
    human: str
    box: str | None
    volume: int
    ino: int
    path: bytes
    mode: int | None
    size: int
    status: str
    blob_hash: bytes | None


class Finding:
    """Questions about all media at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def named(self, glob: NameGlob, limit: int) -> list[FoundFile]:
        """At most `limit` names that match, no matter which, by medium and path.

        What `glob` begins with is found by an index; without such a beginning all names are looked at.
        """
        conditions, arguments = _condition(glob)
        limited = f"SELECT e.* FROM name e WHERE {' AND '.join(conditions)} LIMIT {int(limit)}"
        async with self._database.connection() as connection:
            return await _found(connection, limited, *arguments)

    async def blobs(self, prefix: str) -> list[StoredBlob]:
        """Those whose hash begins with these hex digits, at most 21."""
        low, high = (bytes.fromhex(prefix.ljust(HASH_DIGITS, digit)) for digit in "0f")
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                f"SELECT * FROM blob WHERE hash BETWEEN $1 AND $2 ORDER BY hash LIMIT {CANDIDATES}", low, high
            )
        return [StoredBlob(r["id"], r["hash"], r["size"], r["pack_id"], r["pack_offset"]) for r in rows]

    async def holding(self, blob: StoredBlob, limit: int) -> list[FoundFile]:
        """Every name of the files with this content, also of damaged ones, at most `limit`, by medium and path.

        Costs a look at all names of each medium concerned.
        """
        found: list[FoundFile] = []
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """SELECT medium_id, array_agg(volume) AS volumes, array_agg(ino) AS inodes
                   FROM (SELECT medium_id, volume, ino FROM outcome WHERE blob_id = $1
                         ORDER BY medium_id, volume, ino LIMIT $2) o GROUP BY medium_id ORDER BY medium_id""",
                blob.id,
                limit,
            )
            for row in rows:
                if len(found) >= limit:
                    break
                found += await _found(
                    connection, _OF_INODES, row["medium_id"], row["volumes"], row["inodes"], limit - len(found)
                )
        return found


# without a join: the planner may then not begin with an index over all media
_OF_INODES = """SELECT n.* FROM name n
    WHERE n.medium_id = $1 AND n.volume = ANY($2::smallint[]) AND n.ino = ANY($3::bigint[])
      AND (n.volume, n.ino) IN (SELECT * FROM unnest($2::smallint[], $3::bigint[])) LIMIT $4"""


async def _found(connection: Connection, names: str, *arguments: object) -> list[FoundFile]:
    rows = await connection.fetch(_DESCRIBED.format(names=names), *arguments)
    return sorted(map(_file, rows), key=lambda file: (file.medium_hash, file.volume, file.path))


_DESCRIBED = """
    WITH found AS MATERIALIZED ({names}),
    above AS MATERIALIZED (
        SELECT medium_id, volume, parent_ino, directory_path(medium_id, volume, parent_ino) AS path
        FROM (SELECT DISTINCT medium_id, volume, parent_ino FROM found) parents)
    SELECT m.medium_hash, coalesce(m.medium_human, left(m.medium_hash, 8)) AS human, b.box, f.volume, f.ino, f.name,
           a.path AS above, n.mode, n.size, o.status, blob.hash
    FROM found f JOIN medium m ON m.id = f.medium_id
    JOIN above a ON a.medium_id = f.medium_id AND a.volume = f.volume AND a.parent_ino = f.parent_ino
    LEFT JOIN LATERAL (SELECT box FROM insertion i WHERE i.medium_id = f.medium_id AND box IS NOT NULL
                       ORDER BY id DESC LIMIT 1) b ON true
    LEFT JOIN node n ON n.medium_id = f.medium_id AND n.volume = f.volume AND n.ino = f.ino
    LEFT JOIN outcome o ON o.medium_id = f.medium_id AND o.volume = f.volume AND o.ino = f.ino
    LEFT JOIN blob ON blob.id = o.blob_id"""


def _file(row: asyncpg.Record) -> FoundFile:
    return FoundFile(
        medium_hash=row["medium_hash"],
        human=row["human"],
        box=row["box"],
        volume=row["volume"],
        ino=row["ino"],
        path=row["above"] + b"/" + row["name"] if row["above"] else row["name"],
        mode=row["mode"],
        size=row["size"] or 0,
        status=(row["status"] or b"").decode(),
        blob_hash=row["hash"],
    )


def _condition(glob: NameGlob) -> tuple[list[str], list[object]]:
    """What holds of the row `e` of a name that matches, and the arguments of that."""
    if glob.exact is not None:
        key = "substr($1::bytea, 1, 13) || substr(sha256($1::bytea), 1, 2)"
        return [f"{_KEY} = {key}", "e.name = $1::bytea"], [glob.exact]
    conditions, arguments = ["e.name LIKE $1::bytea", "e.name <> ''"], [glob.like]
    asked: list[tuple[str, object]] = [
        (f"{_KEY} >= ${{}}::bytea", glob.first or None),
        (f"{_KEY} < ${{}}::bytea", glob.behind),
        ("encode(e.name, 'escape') ~ ${}::text", glob.regex),
    ]
    given: list[object] = [*arguments]
    for condition, value in asked:
        if value is not None:
            given.append(value)
            conditions.append(condition.format(len(given)))
    return conditions, given
