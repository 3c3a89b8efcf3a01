"""Rows before and after a change -> an undo file, durable before the change is; and back again.

One JSON object per line: first `{"ntt_undo": 1, ...}`, then `{"table", "before", "after"}`, each a row as PostgreSQL's
`to_jsonb` gives it or null. Of `medium` only the columns that differ, and its id.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio.to_thread
import msgspec

from ntt.db.connection import Connection, Database
from ntt.errors import DatabaseError, UsageError

UNDO_VERSION = 1
Row = dict[str, object]
# what tells a row of a table from the others; names have no key, but equal ones are equal
_KEYS: dict[str, tuple[str, ...]] = {
    "medium": ("id",),
    "node": ("medium_id", "volume", "ino"),
    "name": ("medium_id", "volume", "parent_ino", "ino", "flags", "name"),
    "node_attribute": ("medium_id", "volume", "ino", "name"),
    "outcome": ("medium_id", "volume", "ino"),
    "blob": ("id",),
    "pack": ("id",),
    "stage_run": ("id",),
}


class Change(msgspec.Struct, frozen=True):
    """A row of a table before and after; None: it was not there."""

    table: str
    before: Row | None
    after: Row | None


class _Head(msgspec.Struct, frozen=True):
    ntt_undo: int
    made_at: str


class UndoFile:
    """Made at the first change, in `folder`. `changes` counts what is in it."""

    def __init__(self, folder: Path, name: str = "repair") -> None:
        self.path = folder / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}Z.jsonl"
        self.changes = 0
        self._fd = -1
        self._waiting = bytearray()

    def add(self, change: Change) -> None:
        self._waiting += msgspec.json.encode(change) + b"\n"
        self.changes += 1
        if len(self._waiting) > 1 << 20:
            self._write()

    def sync(self) -> None:
        """Everything that was added is durable on return."""
        if self._waiting:
            self._write()
            os.fsync(self._fd)

    def _write(self) -> None:
        if self._fd < 0:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            head = msgspec.json.encode(_Head(UNDO_VERSION, datetime.now(UTC).isoformat())) + b"\n"
            self._waiting[:0] = head
        rest = memoryview(bytes(self._waiting))
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        self._waiting.clear()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Recorder:
    """Changes rows of one transaction and notes each, before and after. Without a file nothing is noted."""

    def __init__(self, connection: Connection, file: UndoFile | None) -> None:
        self.connection = connection
        self._file = file

    async def update(self, table: str, assignments: str, where: str, *arguments: object) -> int:
        """`where` speaks of the row as `t`."""
        statement = f"""WITH b AS (SELECT t.ctid AS at, to_jsonb(t) AS was FROM {table} t WHERE {where} FOR UPDATE)
            UPDATE {table} t SET {assignments} FROM b WHERE t.ctid = b.at RETURNING b.was, to_jsonb(t) AS now"""
        return await self._note(table, statement, arguments)

    async def delete(self, table: str, where: str, *arguments: object) -> int:
        statement = f"DELETE FROM {table} t WHERE {where} RETURNING to_jsonb(t) AS was, NULL::jsonb AS now"
        return await self._note(table, statement, arguments)

    async def insert(self, table: str, columns: str, select: str, *arguments: object) -> int:
        statement = f"""INSERT INTO {table} AS t ({columns}) OVERRIDING SYSTEM VALUE {select}
            RETURNING NULL::jsonb AS was, to_jsonb(t) AS now"""
        return await self._note(table, statement, arguments)

    async def _note(self, table: str, statement: str, arguments: tuple[object, ...]) -> int:
        count = 0
        async for row in self.connection.cursor(statement, *arguments):
            count += 1
            if self._file is not None:
                self._file.add(_lean(Change(table, row["was"], row["now"])))
        return count

    @asynccontextmanager
    async def medium(self, medium_id: int) -> AsyncIterator[None]:
        """What the body changes in the row of the medium is noted."""
        query = "SELECT to_jsonb(t) AS row FROM medium t WHERE id = $1 FOR UPDATE"
        before = await self.connection.fetchval(query, medium_id)
        yield
        after = await self.connection.fetchval(query, medium_id)
        if before != after and self._file is not None:
            self._file.add(_lean(Change("medium", before, after)))


def _lean(change: Change) -> Change:
    if change.table != "medium" or change.before is None or change.after is None:
        return change
    kept = {key for key in change.after if key == "id" or change.before.get(key) != change.after[key]}
    return Change("medium", {key: change.before[key] for key in kept}, {key: change.after[key] for key in kept})


@asynccontextmanager
async def noted(connection: Connection, file: UndoFile | None) -> AsyncIterator[Recorder]:
    """One transaction; what it changes is durable in the undo file before it is in the database."""
    async with connection.transaction():
        yield Recorder(connection, file)
        if file is not None:
            await anyio.to_thread.run_sync(file.sync)


class Undone(msgspec.Struct, frozen=True):
    """`skipped`: rows that are not any more what the repair made of them; they were left alone."""

    restored: int
    skipped: int
    examples: tuple[str, ...]


async def undo(database: Database, path: Path) -> Undone:
    """Puts every row back that is still as the repair left it, stamps included, in one transaction."""
    changes = _read(path)
    restored, skipped = 0, 0
    examples: list[str] = []
    async with database.connection() as connection, connection.transaction():
        schema: str = await connection.fetchval(_SCHEMA)
        for change in reversed(changes):
            if await _put_back(connection, schema, change):
                restored += 1
                continue
            skipped += 1
            if len(examples) < 10:
                row = change.after or change.before or {}
                examples.append(f"{change.table} {', '.join(f'{k} {row.get(k)}' for k in _KEYS[change.table][:3])}")
    return Undone(restored, skipped, tuple(examples))


def _read(path: Path) -> list[Change]:
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "name an undo file of `ntt repair`") from None
    if lines and not lines[-1].endswith(b"\n"):
        del lines[-1]  # it was being written when the power went: its change was not made
    try:
        head = msgspec.json.decode(lines[0] if lines else b"", type=_Head)
        decoder = msgspec.json.Decoder(Change)
        changes = [decoder.decode(line) for line in lines[1:]]
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path} is no undo file of `ntt repair`: {error}", "see <home>/undo") from None
    if head.ntt_undo != UNDO_VERSION or any(change.table not in _KEYS for change in changes):
        raise UsageError(f"{path} was written by another version of NTT", "use that one")
    return changes


# `name` alone would be PostgreSQL's own type of that name
_SCHEMA = """SELECT quote_ident(n.nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relname = 'ntt_schema' AND pg_table_is_visible(c.oid)"""


async def _put_back(connection: Connection, schema: str, change: Change) -> bool:
    table, keys = change.table, _KEYS[change.table]
    row = change.after or change.before
    if row is None:
        raise DatabaseError("an undo file names a change of nothing")
    same = " AND ".join(f"t.{key} = k.{key}" for key in keys)
    found = await connection.fetch(
        f"""SELECT t.ctid::text AS at, to_jsonb(t) AS row
            FROM {table} t, jsonb_populate_record(NULL::{schema}.{table}, $1) k WHERE {same} LIMIT 1""",
        row,
    )
    if not _is_as_left(found[0]["row"] if found else None, change):
        return False
    if change.table == "medium" and change.before is not None:
        columns = [key for key in change.before if key != "id"]
        pairs = ", ".join(f'"{column}" = k."{column}"' for column in columns)
        statement = (
            f"UPDATE medium t SET {pairs} FROM jsonb_populate_record(NULL::{schema}.medium, $1) k WHERE t.id = k.id"
        )
        await connection.execute(statement, change.before)
        return True
    if found and change.after is not None:
        await connection.execute(f"DELETE FROM {table} WHERE ctid = $1::text::tid", found[0]["at"])
    if change.before is not None:
        former = f"SELECT * FROM jsonb_populate_record(NULL::{schema}.{table}, $1)"
        await connection.execute(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE {former}", change.before)
    return True


def _is_as_left(row: Row | None, change: Change) -> bool:
    if change.table == "name":  # equal names may be there several times
        return change.after is None or row is not None
    if row is None or change.after is None:
        return row is None and change.after is None
    return all(row.get(key) == value for key, value in change.after.items())
