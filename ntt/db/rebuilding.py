"""A medium's manifest beside its rows -> what differs, the rows as they were, a whole medium of a lost catalogue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from ntt.db.connection import Connection, Database, translated
from ntt.db.loading import FLAG_DIRECTORY, FLAG_DUPLICATE
from ntt.db.manifest import Header, Line
from ntt.db.manifest_reading import bytes_of, open_manifest
from ntt.db.media import to_multirange
from ntt.db.undo import Recorder

_ENTRY = (
    "ino", "parent_ino", "volume", "flags", "name", "size", "mtime_s", "mtime_ns", "first_byte", "mode", "uid", "gid",
    "link_target", "attempts", "status", "reason", "damaged", "unread", "hash",
)  # fmt: skip
_TEMPORARY = """
CREATE TEMP TABLE m_entry (ino bigint, parent_ino bigint, volume smallint, flags smallint, name bytea, size bigint,
    mtime_s bigint, mtime_ns int, first_byte bigint, mode int, uid bigint, gid bigint, link_target bytea,
    attempts smallint, status "char", reason text, damaged int8multirange, unread int8multirange, hash bytea);
CREATE TEMP TABLE m_attribute (volume smallint, ino bigint, name text, value bytea)
"""
_DERIVED = """
CREATE TEMP TABLE m_node AS SELECT DISTINCT ON (volume, ino) * FROM m_entry ORDER BY volume, ino;
CREATE UNIQUE INDEX ON m_node (volume, ino);
CREATE TEMP TABLE m_value AS SELECT DISTINCT ON (volume, ino, name) * FROM m_attribute ORDER BY volume, ino, name;
ANALYZE m_entry; ANALYZE m_node; ANALYZE m_value
"""
_NODE = "volume, ino, size, mtime_s, mtime_ns, mode, uid, gid, link_target"
_NAME = "volume, parent_ino, ino, flags, name"
_VALUE = "volume, ino, name, value"
_OUTCOME = "volume, ino, status, reason, damaged, hash"
_OURS = """(SELECT o.volume, o.ino, o.status, o.reason, o.damaged, b.hash
            FROM outcome o LEFT JOIN blob b ON b.id = o.blob_id WHERE o.medium_id = $1) mine"""
_THEIRS = "(SELECT * FROM m_node WHERE status IS NOT NULL) theirs"
_WANTED = "(m.status = 'f' OR EXISTS (SELECT FROM blob b WHERE b.hash = m.hash))"  # an outcome that can be had


@dataclass(frozen=True, slots=True)
class Differences:
    """Rows that are not as the manifest says, or not there, by table; `lost` outcomes have no content to refer to."""

    nodes: int
    names: int
    attributes: int
    outcomes: int
    lost: int

    @property
    def none(self) -> bool:
        return not (self.nodes or self.names or self.attributes or self.outcomes)


class Replica:
    """The rows of one medium by its manifest, in temporary tables of `connection`."""

    def __init__(self, connection: Connection, header: Header) -> None:
        self.connection = connection
        self.header = header

    async def counts(self) -> tuple[int, int]:
        """(inodes, names)."""
        row = await self.connection.fetchrow(
            "SELECT (SELECT count(*) FROM m_node) AS nodes, (SELECT count(*) FROM m_entry) AS names"
        )
        assert row is not None
        return row["nodes"], row["names"]

    async def differences(self, medium_id: int) -> Differences:
        row = await self.connection.fetchrow(
            f"""SELECT {_either(_NODE, "node WHERE medium_id = $1", "m_node")} AS nodes,
                       {_either(_NAME, "name WHERE medium_id = $1", "m_entry", "ALL")} AS names,
                       {_either(_VALUE, "node_attribute WHERE medium_id = $1", "m_value")} AS attributes,
                       {_either(_OUTCOME, _OURS, _THEIRS)} AS outcomes,
                       (SELECT count(*) FROM m_node m WHERE status IS NOT NULL AND NOT {_WANTED}) AS lost""",
            medium_id,
        )
        assert row is not None
        return Differences(row["nodes"], row["names"], row["attributes"], row["outcomes"], row["lost"])

    async def restore(self, recorder: Recorder, medium_id: int) -> int:
        """Makes the rows what the manifest says; how many were changed. An outcome without its content is left."""
        changed = 0
        for table, columns, source in (("node", _NODE, "m_node"), ("node_attribute", _VALUE, "m_value")):
            keys = "volume, ino" if table == "node" else "volume, ino, name"
            wrong = f"SELECT {columns} FROM {table} WHERE medium_id = $1 EXCEPT SELECT {columns} FROM {source}"
            changed += await recorder.delete(
                table, f"t.medium_id = $1 AND ({keys}) IN (SELECT {keys} FROM ({wrong}) w)", medium_id
            )
            more = ", first_byte" if table == "node" else ""
            missing = f"NOT EXISTS (SELECT FROM {table} n WHERE n.medium_id = $1 AND {_equal('n', 'm', keys)})"
            changed += await recorder.insert(
                table,
                f"{columns}{more}, medium_id",
                f"SELECT {columns}{more}, $1::int FROM {source} m WHERE {missing}",
                medium_id,
            )
        wrong = f"SELECT {_NAME} FROM name WHERE medium_id = $1 EXCEPT ALL SELECT {_NAME} FROM m_entry"
        changed += await recorder.delete("name", f"t.medium_id = $1 AND ({_NAME}) IN ({wrong})", medium_id)
        missing = f"SELECT {_NAME} FROM m_entry EXCEPT ALL SELECT {_NAME} FROM name WHERE medium_id = $1"
        changed += await recorder.insert(
            "name", f"{_NAME}, medium_id", f"SELECT {_NAME}, $1::int FROM ({missing}) x", medium_id
        )
        return changed + await self._outcomes(recorder, medium_id)

    async def _outcomes(self, recorder: Recorder, medium_id: int) -> int:
        wrong = f"SELECT volume, ino FROM (SELECT {_OUTCOME} FROM {_OURS} EXCEPT SELECT {_OUTCOME} FROM {_THEIRS}) w"
        better = f"""NOT EXISTS (SELECT FROM m_node m WHERE {_equal("m", "t", "volume, ino")} AND m.status IS NOT NULL
                                 AND NOT {_WANTED})"""
        changed = await recorder.delete(
            "outcome", f"t.medium_id = $1 AND (volume, ino) IN ({wrong}) AND {better}", medium_id
        )
        missing = f"NOT EXISTS (SELECT FROM outcome o WHERE o.medium_id = $1 AND {_equal('o', 'm', 'volume, ino')})"
        return changed + await recorder.insert(
            "outcome",
            "ino, blob_id, medium_id, volume, attempts, status, reason, damaged, unread",
            f"""SELECT m.ino, b.id, $1::int, m.volume, m.attempts, m.status, m.reason, m.damaged, m.unread
                FROM m_node m LEFT JOIN blob b ON b.hash = m.hash
                WHERE m.status IS NOT NULL AND {_WANTED} AND {missing}""",
            medium_id,
        )


def _either(columns: str, ours: str, theirs: str, every: str = "") -> str:
    """How many rows only one of the two has."""
    mine, others = f"SELECT {columns} FROM {ours}", f"SELECT {columns} FROM {theirs}"
    return f"""((SELECT count(*) FROM ({mine} EXCEPT {every} {others}) x)
              + (SELECT count(*) FROM ({others} EXCEPT {every} {mine}) x))"""


def _equal(left: str, right: str, keys: str) -> str:
    return " AND ".join(f"{left}.{key} = {right}.{key}" for key in keys.split(", "))


@asynccontextmanager
async def replica_of(database: Database, manifest: Path) -> AsyncIterator[Replica]:
    """MediumError where the manifest is damaged."""
    async with database.connected() as connection:
        with open_manifest(manifest) as reader:
            with translated():
                await connection.execute(_TEMPORARY)
            pieces = reader.pieces()
            while (piece := await anyio.to_thread.run_sync(lambda: next(pieces, None))) is not None:
                values = [
                    (line.volume, line.ino, name, value) for line in piece for name, value in line.attributes.items()
                ]
                with translated():
                    await connection.copy_records_to_table("m_entry", columns=_ENTRY, records=map(_record, piece))
                    if values:
                        await connection.copy_records_to_table("m_attribute", records=values)
            with translated():
                await connection.execute(_DERIVED)
            yield Replica(connection, reader.header)


def _record(line: Line) -> tuple[object, ...]:
    flags = FLAG_DUPLICATE * line.duplicate | FLAG_DIRECTORY * line.entered
    return (
        line.ino, line.parent, line.volume, flags, bytes_of(line.name, line.name_b64), line.size, *line.mtime,
        line.first, line.mode, line.uid, line.gid, bytes_of(line.link, line.link_b64), line.attempts,
        line.status.encode() or None, line.reason or None, to_multirange(line.damaged) if line.damaged else None,
        to_multirange(line.unread) if line.unread else None, bytes.fromhex(line.blob) if line.blob else None,
    )  # fmt: skip
