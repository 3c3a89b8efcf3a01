"""Entries -> `node` and `name` rows: all of a medium and its `enum_done` in one transaction, or nothing."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ntt.db.connection import Connection, Database, translated
from ntt.db.health import judge
from ntt.db.media import to_multirange
from ntt.db.paths import paths_of
from ntt.db.stamps import stamp_enumerated
from ntt.errors import MediumError
from ntt.model import Entry, LostStructure, Volume
from ntt.names import printable
from ntt.ranges import Ranges

MODE_BITS = 0o177777
FLAG_DUPLICATE = 1
FLAG_DIRECTORY = 2
_NODE = (
    "ino", "size", "mtime_s", "first_byte", "medium_id", "mtime_ns", "mode", "uid", "gid", "volume", "link_target",
)  # fmt: skip
_NAME = ("ino", "parent_ino", "medium_id", "volume", "flags", "name")
TABLES = ("node", "name", "node_attribute", "outcome", "volume", "unread_structure")
LISTING = ("node", "name", "node_attribute")


@dataclass(slots=True)
class Loaded:
    """What a load has put into the database so far."""

    nodes: int = 0
    names: int = 0
    files: int = 0
    bytes: int = 0
    links: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """A row of `finding`: what is wrong with the medium now, and what to do."""

    kind: str
    detail: str
    next_step: str = ""
    volume: int | None = None
    ino: int | None = None
    name: bytes | None = None


class Load:
    """The open load transaction of one medium."""

    def __init__(self, connection: Connection, medium_id: int) -> None:
        self._connection = connection
        self._medium_id = medium_id
        self._of: dict[int, Loaded] = {}

    @property
    def loaded(self) -> Loaded:
        """Of all volumes together."""
        parts = self._of.values()
        return Loaded(
            sum(part.nodes for part in parts),
            sum(part.names for part in parts),
            sum(part.files for part in parts),
            sum(part.bytes for part in parts),
            sum(part.links for part in parts),
        )

    def loaded_of(self, volume: int) -> Loaded:
        return self._of.get(volume, Loaded())

    async def volumes(self, volumes: Sequence[Volume]) -> None:
        """Replaces what was recorded of the medium's volumes."""
        medium_id = self._medium_id
        with translated():
            await self._connection.execute("DELETE FROM volume WHERE medium_id = $1", medium_id)
            await self._connection.executemany(
                f"INSERT INTO volume VALUES ({', '.join(f'${n}' for n in range(1, 16))})",
                [
                    (medium_id, v.index, v.scheme, _fitting(v.offset_bytes), _fitting(v.size_bytes), v.fstype,
                     v.route.value, _storable(v.label), v.status.value, _storable(v.finding), _storable(v.next_step),
                     _fitting(v.session_bytes), v.sector_bytes, v.data_at, [_storable(tried) for tried in v.tried])
                    for v in volumes
                ],
            )  # fmt: skip

    @asynccontextmanager
    async def instead(self, volume: int) -> AsyncIterator[Callable[[], None]]:
        """What the body adds to the volume takes the place of what it had, if the body calls what it is given."""
        before = self._of.pop(volume, None)
        better = False

        def keep() -> None:
            nonlocal better
            better = True

        try:
            async with self._connection.transaction():
                with translated():
                    for table in LISTING:
                        await self._connection.execute(
                            f"DELETE FROM {table} WHERE medium_id = $1 AND volume = $2", self._medium_id, volume
                        )
                    await self._connection.execute(
                        "DELETE FROM finding WHERE medium_id = $1 AND volume = $2 AND stage = 'enumerate'",
                        self._medium_id,
                        volume,
                    )
                yield keep
                if not better:
                    raise _NotBetter
        except _NotBetter:
            self._of.pop(volume, None)
            if before is not None:
                self._of[volume] = before

    async def entries(self, volume: int, entries: Sequence[Entry]) -> None:
        """Adds entries of a volume; an inode's row comes with its first entry."""
        medium_id, loaded = self._medium_id, self._of.setdefault(volume, Loaded())
        new = [e for e in entries if e.new_inode]
        attributes = [(medium_id, volume, e.ino, name, value) for e in new for name, value in e.attributes]
        with translated():  # here, not only around the load: what leaves a task group is no single error any more
            await self._connection.copy_records_to_table(
                "node",
                columns=_NODE,
                records=[
                    (e.ino, _fitting(e.size), _fitting(e.mtime_s), _fitting(e.first_byte), medium_id,
                     e.mtime_ns % 1_000_000_000, e.mode & MODE_BITS, _fitting(e.uid), _fitting(e.gid), volume,
                     e.link_target)
                    for e in new
                ],
            )  # fmt: skip
            await self._connection.copy_records_to_table(
                "name",
                columns=_NAME,
                records=[(e.ino, e.parent_ino, medium_id, volume, _flags(e), e.name) for e in entries],
            )
            if attributes:
                await self._connection.copy_records_to_table("node_attribute", records=attributes)
        regular = [_fitting(e.size) for e in new if e.is_regular]
        loaded.nodes += len(new)
        loaded.names += len(entries)
        loaded.files += len(regular)
        loaded.bytes += sum(regular)
        loaded.links += sum(stat.S_ISLNK(e.mode) for e in new)

    async def lost(self, volume: int, lost: Sequence[LostStructure], unread_used: Ranges | None) -> None:
        """What of a volume lies on unread bytes, once its row is there."""
        with translated():
            await self._connection.executemany(
                """INSERT INTO unread_structure (medium_id, volume, ino, what, spare, ranges)
                   VALUES ($1, $2, $3, $4, $5, $6)""",
                [(self._medium_id, volume, s.ino, s.what, s.spare, to_multirange(s.ranges)) for s in lost],
            )
            await self._connection.execute(
                "UPDATE volume SET unread_used = $3 WHERE medium_id = $1 AND index = $2",
                self._medium_id,
                volume,
                None if unread_used is None else to_multirange(unread_used),
            )

    async def cells(self, cells: bytes) -> None:
        with translated():
            await self._connection.execute("UPDATE medium SET cells = $2 WHERE id = $1", self._medium_id, cells or None)

    async def paths(self, volume: int, inodes: Sequence[int]) -> list[bytes]:
        """Of those that have one by now, cut at the front if long."""
        with translated():
            found = await paths_of(self._connection, self._medium_id, {(volume, ino) for ino in inodes})
        return [found[volume, ino] for ino in inodes if (volume, ino) in found]

    async def problems(self, problems: Sequence[Problem]) -> None:
        with translated():
            await insert_problems(self._connection, self._medium_id, "enumerate", problems)


class NamesLost(MediumError):
    """A listing that was to name no less than the one before does."""


class _NotBetter(Exception):
    """Leaves a nested transaction, so that it is rolled back."""


def _fitting(number: int) -> int:
    # a corrupt inode may claim anything up to 2**64; what it claims must not end the load
    return min(max(number, -(1 << 63)), (1 << 63) - 1)


def _storable(text: str) -> str:
    return text.replace("\0", "\ufffd")  # PostgreSQL's text holds every character but this one


def _flags(entry: Entry) -> int:
    flags = FLAG_DUPLICATE if entry.duplicate else 0
    if entry.is_directory and entry.new_inode:
        flags |= FLAG_DIRECTORY
    return flags


async def insert_problems(connection: Connection, medium_id: int, stage: str, problems: Sequence[Problem]) -> None:
    await connection.copy_records_to_table(
        "finding",
        columns=("medium_id", "stage", "kind", "volume", "ino", "name", "detail", "next_step"),
        records=[
            (medium_id, stage, p.kind, p.volume, p.ino, p.name, _storable(p.detail), _storable(p.next_step))
            for p in problems
        ],
    )


@asynccontextmanager
async def load(database: Database, medium_id: int, *, keep_names: bool = False) -> AsyncIterator[Load]:
    """One transaction: what the medium had is removed, then what is given is added; `enum_done` with it.

    Left by an exception, nothing has changed: `NamesLost` where each name is to be as often in the listing as before
    (`keep_names`) and is not. Statistics are brought up to date after the commit.
    """
    async with database.connection() as connection:
        async with connection.transaction():
            # a load never creates a medium
            if await connection.fetchval("SELECT id FROM medium WHERE id = $1 FOR UPDATE", medium_id) is None:
                raise MediumError(f"there is no medium {medium_id} to load", "identify it first")
            if keep_names:
                await connection.execute(
                    f"CREATE TEMPORARY TABLE name_before ON COMMIT DROP AS {_NAMES.format(medium_id)}"
                )
            for table in TABLES:
                await connection.execute(f"DELETE FROM {table} WHERE medium_id = $1", medium_id)
            # what `identify` found stays true
            await connection.execute("DELETE FROM finding WHERE medium_id = $1 AND stage = 'enumerate'", medium_id)
            await connection.execute(
                """UPDATE medium SET enum_done = NULL, copy_done = NULL, archive_done = NULL, archived_image_hash = NULL
                   WHERE id = $1""",
                medium_id,
            )
            loading = Load(connection, medium_id)
            yield loading
            if keep_names:
                await _require_names(connection, medium_id)
            # the proof is in this very transaction: every row that was read stands before the stamp
            read = loading.loaded
            assert await stamp_enumerated(connection, medium_id, read.nodes, read.names), "rows were lost while loading"
            await judge(connection, medium_id)
        await _analyze(connection)


_NAMES = "SELECT name FROM name WHERE medium_id = {0:d} AND ino <> parent_ino"  # without roots


async def _require_names(connection: Connection, medium_id: int) -> None:
    lost = await connection.fetch(
        f"SELECT name FROM name_before EXCEPT ALL {_NAMES.format(medium_id)} ORDER BY name LIMIT 1"
    )
    if lost:
        name = printable(lost[0]["name"])
        raise NamesLost(f"its listing would name less than the present one: {name} would be gone")


async def _analyze(connection: Connection) -> None:
    # without statistics the first queries after a large load take hours
    for table in ("node", "name"):
        await connection.execute(f"ANALYZE {table}")
