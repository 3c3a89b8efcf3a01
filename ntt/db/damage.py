"""Unread bytes of a medium -> what they concern: structures, files, free space, nobody knows; and its passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg

from ntt.db.connection import Connection, Database
from ntt.db.health import NO_VOLUME, RUN_OUT, judge
from ntt.db.media import from_multirange, to_multirange
from ntt.db.paths import paths_of
from ntt.model import Identity, PassEnd, PassRecord
from ntt.ranges import Range, Ranges, difference, intersection, normalised, total, within


@dataclass(frozen=True, slots=True)
class Unread:
    """Unread bytes of a medium, each in one of the sets.

    `structures`: of a file system, so that its listing may be incomplete. `files`: of listed files. `spare`: second
    copies, journals, maps of free space, of which the last are `accounts` too. `free`: in use by nobody, or outside of
    all volumes. `unclaimed`: in use by the file system's own account, but not by anything that it lists. `unknown`: on
    a volume that keeps no account, or that is not read. `run_out`: at the end of a disc, behind all that lies on it.
    """

    structures: Ranges = ()
    files: Ranges = ()
    spare: Ranges = ()
    free: Ranges = ()
    unclaimed: Ranges = ()
    unknown: Ranges = ()
    accounts: Ranges = ()
    run_out: Ranges = ()

    @property
    def harmless(self) -> bool:
        """All files and all names were read.

        While no structure is missing, what is in use and not listed is no file: the end of a file's last block, ...
        """
        return not (self.structures or self.files or self.unknown)

    def bytes_by_kind(self) -> dict[str, int]:
        """Only of the sets that are not empty."""
        sets = (
            ("structures", self.structures), ("files", self.files), ("spare", self.spare), ("free", self.free),
            ("unclaimed", self.unclaimed), ("unknown", self.unknown), ("run_out", self.run_out),
        )  # fmt: skip
        return {name: total(ranges) for name, ranges in sets if ranges}


@dataclass(frozen=True, slots=True)
class LostPart:
    """A piece of a file system that was not read. `path`: of the directory or file it belongs to, None: of none."""

    volume: int
    ino: int
    what: str
    unread_bytes: int
    path: bytes | None


class Damage:
    """Reads what enumerate and copy recorded; writes the passes over a medium."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def unread(self, medium_id: int) -> Unread:
        async with self._database.connection() as connection:
            return await unread_of(connection, medium_id)

    async def structures(self, medium_id: int) -> list[LostPart]:
        """Every piece of a file system, its second copies left out, that lies on bytes that are still unread."""
        async with self._database.connection() as connection:
            unread = from_multirange(await connection.fetchval("SELECT unread FROM medium WHERE id = $1", medium_id))
            rows = await connection.fetch(
                """SELECT volume, ino, what, ranges FROM unread_structure
                   WHERE medium_id = $1 AND NOT spare ORDER BY volume, what, ino""",
                medium_id,
            )
            parts = [
                (row["volume"], row["ino"], row["what"], total(intersection(from_multirange(row["ranges"]), unread)))
                for row in rows
            ]
            keys = {(volume, ino) for volume, ino, _, size_bytes in parts if ino >= 0 and size_bytes}
            paths = await paths_of(connection, medium_id, keys)
        return [
            LostPart(volume, ino, what, size_bytes, paths.get((volume, ino)))
            for volume, ino, what, size_bytes in parts
            if size_bytes
        ]

    async def files(self, medium_id: int) -> list[tuple[int, int, Ranges]]:
        """(volume, inode, unread bytes of the image) of every file that is damaged or failed for want of them."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """SELECT volume, ino, unread FROM outcome
                   WHERE medium_id = $1 AND status <> 'c' AND unread IS NOT NULL ORDER BY volume, ino""",
                medium_id,
            )
        return [(row["volume"], row["ino"], from_multirange(row["unread"])) for row in rows]

    async def listing_hangs_on(self, medium_id: int) -> Ranges:
        """Unread bytes of which the listing may be another one once they are read.

        Names and inodes; what nobody accounts for, or only the account of free space: where a link leads to lies there.
        What could not be stored at all may be no file.
        """
        async with self._database.connection() as connection:
            unread = await unread_of(connection, medium_id)
            rows = await connection.fetch(
                "SELECT unread FROM outcome WHERE medium_id = $1 AND status = 'f' AND unread IS NOT NULL", medium_id
            )
        failed = [piece for row in rows for piece in from_multirange(row["unread"])]
        return normalised((*unread.structures, *unread.unknown, *unread.accounts, *unread.unclaimed, *failed))

    async def refine(
        self,
        medium_id: int,
        image_path: str,
        image_bytes: int,
        claimed_bytes: int,
        unread: Ranges,
        map_text: str,
        image_hash: str | None,
    ) -> int:
        """The medium's image is this file from now on, of which these bytes are unread: some that were are read now.

        In one transaction the files that lay on bytes read since become pending again; how many is returned. The
        listing stays: to be called when nothing that it was read from has changed, or after it was made anew.
        `image_hash` None: it is being read into, and its hash that of before until `rehash`; until then nothing of the
        medium is archived.
        """
        async with self._database.connection() as connection, connection.transaction():
            before = await connection.fetchrow(
                "SELECT unread, image_bytes FROM medium WHERE id = $1 FOR UPDATE", medium_id
            )
            assert before is not None, "a medium that is being worked on stays"
            grown = before["image_bytes"], max(image_bytes, before["image_bytes"])  # behind its end nothing was read
            gained = difference(normalised((*from_multirange(before["unread"]), grown)), unread)
            given_back = await connection.fetch(
                "DELETE FROM outcome WHERE medium_id = $1 AND status <> 'c' AND unread && $2 RETURNING 1",
                medium_id,
                to_multirange(gained),
            )
            await connection.execute(
                """UPDATE medium SET image_path = $2, image_bytes = $3, claimed_bytes = $4, unread = $5,
                       unread_bytes = $6, map_text = $7, archive_done = NULL, archived_image_hash = NULL,
                       copy_done = CASE WHEN $8 THEN NULL ELSE copy_done END,
                       image_hash = coalesce($9, image_hash)
                   WHERE id = $1""",
                medium_id,
                image_path,
                image_bytes,
                claimed_bytes,
                to_multirange(unread),
                total(unread),
                map_text,
                bool(given_back),
                image_hash,
            )
            await judge(connection, medium_id)
        return len(given_back)

    async def rehash(self, medium_id: int, identity: Identity) -> None:
        """After the last pass: the hash of the image as it is now, and the samples that could be read meanwhile.

        The medium keeps its id, also one that was assigned because they were missing.
        """
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute(
                """UPDATE medium SET image_hash = $2, image_bytes = $3,
                       message = CASE WHEN identity = 'assigned' THEN $4 ELSE message END
                   WHERE id = $1""",
                medium_id,
                identity.image_hash,
                identity.image_bytes,
                identity.why_assigned or None,
            )
            await connection.executemany(
                """INSERT INTO medium_sample (medium_id, position, digest) VALUES ($1, $2, $3)
                   ON CONFLICT (medium_id, position) DO UPDATE SET digest = excluded.digest""",
                [(medium_id, position, digest) for position, digest in identity.samples],
            )

    async def record(self, medium_id: int, passes: Sequence[PassRecord]) -> None:
        """Those that are recorded already stay as they are."""
        async with self._database.connection() as connection:
            await connection.executemany(
                """INSERT INTO image_pass (medium_id, began_at, seconds, name, source, hardware, wanted_bytes,
                       rescued_before, rescued_after, bad_bytes, read_errors, reason, detail)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING""",
                [
                    (medium_id, datetime.fromtimestamp(p.began_s, UTC), p.seconds, p.name, p.source, p.hardware,
                     p.wanted_bytes, p.rescued_before, p.rescued_after, p.bad_bytes, p.read_errors, p.end.value,
                     p.detail)
                    for p in passes
                ],
            )  # fmt: skip

    async def passes(self, medium_id: int) -> tuple[PassRecord, ...]:
        """Every pass over the medium, in the order in which they began."""
        async with self._database.connection() as connection:
            rows = await connection.fetch("SELECT * FROM image_pass WHERE medium_id = $1 ORDER BY began_at", medium_id)
        return tuple(_pass(row) for row in rows)


def _pass(row: asyncpg.Record) -> PassRecord:
    return PassRecord(
        name=row["name"],
        source=row["source"],
        began_s=row["began_at"].timestamp(),
        seconds=row["seconds"],
        wanted_bytes=row["wanted_bytes"],
        rescued_before=row["rescued_before"],
        rescued_after=row["rescued_after"],
        bad_bytes=row["bad_bytes"],
        read_errors=row["read_errors"],
        end=PassEnd(row["reason"]),
        detail=row["detail"],
        hardware={str(key): str(value) for key, value in row["hardware"].items()},
    )


async def unread_of(connection: Connection, medium_id: int) -> Unread:
    """What the unread bytes of a medium concern, by the rows as they are now: before it is listed, nobody knows."""
    medium = await connection.fetchrow("SELECT unread, enum_done FROM medium WHERE id = $1", medium_id)
    unread = from_multirange(medium["unread"]) if medium is not None else ()
    if medium is None or medium["enum_done"] is None or not unread:
        return Unread(unknown=unread)
    found = await connection.fetch(
        "SELECT spare, what, ranges, volume = $2 AND what = $3 AS run_out FROM unread_structure WHERE medium_id = $1",
        medium_id,
        NO_VOLUME,
        RUN_OUT,
    )
    lost = [row for row in found if not row["run_out"]]
    run_out = normalised(piece for row in found if row["run_out"] for piece in from_multirange(row["ranges"]))
    structures = normalised(piece for row in lost if not row["spare"] for piece in from_multirange(row["ranges"]))
    spare = normalised(piece for row in lost if row["spare"] for piece in from_multirange(row["ranges"]))
    hit = await connection.fetch(  # what leaves a file in doubt may be its, or nobody's
        "SELECT unread FROM outcome WHERE medium_id = $1 AND (status = 'f' OR (status = 'd' AND reason IS NULL))",
        medium_id,
    )
    files = normalised(piece for row in hit for piece in from_multirange(row["unread"]))
    volumes = await connection.fetch(
        "SELECT offset_bytes, size_bytes, status, sector_bytes, unread_used FROM volume WHERE medium_id = $1", medium_id
    )
    used, unknown = _accounts(volumes, unread)
    rest = unread
    sets: list[Ranges] = []
    for ranges in (structures, files, spare, used, unknown, run_out):
        sets.append(intersection(rest, ranges))
        rest = difference(rest, ranges)
    maps = normalised(piece for row in lost if "bitmap" in row["what"] for piece in from_multirange(row["ranges"]))
    return Unread(sets[0], sets[1], sets[2], rest, sets[3], sets[4], intersection(maps, sets[2]), sets[5])


def _accounts(volumes: Sequence[asyncpg.Record], unread: Ranges) -> tuple[Ranges, Ranges]:
    """(in use by an account, in volumes without an account and in none that has one)."""
    used: list[Range] = []
    known: list[Range] = []
    unknown: list[Range] = []
    for row in volumes:
        start, end = row["offset_bytes"], row["offset_bytes"] + row["size_bytes"]
        if row["sector_bytes"]:  # its numbers are not places in the image
            start, end = 0, 1 << 62
        inside = within(unread, max(start, 0), end)
        if row["status"] == "read" and row["unread_used"] is not None:
            used += from_multirange(row["unread_used"])
            known += inside
        else:
            unknown += inside
    return normalised(used), difference(normalised(unknown), normalised(known))
