"""A medium's rows -> its manifest: one JSON line per path, zstd-compressed; from it the catalogue can be rebuilt."""

from __future__ import annotations

from pathlib import Path

import msgspec
import zstandard

from ntt.db.connection import Database
from ntt.db.media import Medium
from ntt.db.tree import Tree, TreeEntry
from ntt.model import Volume
from ntt.names import as_text, exact
from ntt.ranges import Ranges

MANIFEST_VERSION = 2
LINES_AT_ONCE = 1000


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first line. `rows`: what else the catalogue has of the medium, by table, as `to_jsonb` says it."""

    ntt_manifest: int
    medium_hash: str
    identity: str
    human: str
    added_at: str
    image_hash: str
    image_bytes: int
    claimed_bytes: int
    health: str
    enum_done: str
    volumes: tuple[Volume, ...]
    copy_done: str | None = None
    unread: Ranges = ()
    rows: dict[str, list[dict[str, object]]] = {}


class Line(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Every other line. `*_b64` stands beside a text that could not be given exactly.

    Since version 2: `first`, the image offset of the first byte; `attempts`; `unread`, what of the image damaged it.
    """

    volume: int
    ino: int
    parent: int
    name: str
    mode: int
    size: int
    mtime: tuple[int, int]
    uid: int
    gid: int
    path: str | None = None
    name_b64: str | None = None
    path_b64: str | None = None
    link: str | None = None
    link_b64: str | None = None
    blob: str | None = None
    blob_size: int | None = None
    status: str = ""
    reason: str = ""
    damaged: Ranges = ()
    duplicate: bool = False
    entered: bool = False
    attributes: dict[str, bytes] = {}
    first: int = -1
    attempts: int = 1
    unread: Ranges = ()


async def write_manifest(database: Database, medium: Medium, volumes: tuple[Volume, ...], target: Path) -> int:
    """Writes the manifest, closed but not synced on return; how many paths it holds."""
    encoder = msgspec.json.Encoder()
    header = Header(
        ntt_manifest=MANIFEST_VERSION,
        medium_hash=medium.medium_hash,
        identity=medium.identity,
        human=medium.human,
        added_at=medium.added_at.isoformat(),
        image_hash=medium.image_hash,
        image_bytes=medium.image_bytes,
        claimed_bytes=medium.claimed_bytes,
        health=medium.health,
        enum_done=medium.enum_done.isoformat() if medium.enum_done else "",
        volumes=volumes,
        copy_done=medium.copy_done.isoformat() if medium.copy_done else None,
        unread=medium.unread,
        rows=await _rows(database, medium.id),
    )
    paths = 0
    with (
        target.open("wb") as raw,
        zstandard.ZstdCompressor(level=3, write_checksum=True).stream_writer(raw) as out,
    ):
        out.write(encoder.encode(header) + b"\n")
        lines: list[Line] = []
        async for entry in Tree(database, medium.id).entries():
            lines.append(_line(entry))
            paths += 1
            if len(lines) == LINES_AT_ONCE:
                out.write(encoder.encode_lines(lines))
                lines.clear()
        out.write(encoder.encode_lines(lines))
    return paths


def _line(entry: TreeEntry) -> Line:
    path, link = entry.path, entry.link_target
    name, name_b64 = as_text(entry.name), exact(entry.name)
    return Line(
        volume=entry.volume,
        ino=entry.ino,
        parent=entry.parent_ino,
        name=name,
        mode=entry.mode,
        size=entry.size,
        mtime=(entry.mtime_s, entry.mtime_ns),
        uid=entry.uid,
        gid=entry.gid,
        path=None if path is None else as_text(path),
        name_b64=name_b64,
        path_b64=None if path is None else exact(path),
        link=as_text(link) if link else None,
        link_b64=exact(link) if link else None,
        blob=entry.blob_hash.hex() if entry.blob_hash else None,
        blob_size=entry.blob_size if entry.blob_hash else None,
        status=entry.status,
        reason=entry.reason,
        damaged=entry.damaged,
        duplicate=entry.duplicate,
        entered=entry.entered,
        attributes=dict(entry.attributes),
        first=entry.first_byte,
        attempts=entry.attempts,
        unread=entry.unread,
    )


# what the lines do not hold; events are history, of which the beginning is kept
_BESIDE = (
    ("medium", "SELECT * FROM medium WHERE id = $1", ("id", "map_text", "problems")),
    ("volume", "SELECT * FROM volume WHERE medium_id = $1 ORDER BY index", ()),
    ("medium_sample", "SELECT * FROM medium_sample WHERE medium_id = $1 ORDER BY position", ()),
    ("unread_structure", "SELECT * FROM unread_structure WHERE medium_id = $1", ()),
    ("finding", "SELECT * FROM finding WHERE medium_id = $1", ()),
    ("image_pass", "SELECT * FROM image_pass WHERE medium_id = $1 ORDER BY began_at", ()),
    ("sighting", "SELECT * FROM sighting WHERE medium_id = $1 ORDER BY seen_at", ()),
    ("stage_run", "SELECT * FROM stage_run WHERE medium_id = $1 AND state <> 'running' ORDER BY id", ("id",)),
    ("diagnostic_event", "SELECT * FROM diagnostic_event WHERE medium_id = $1 ORDER BY at LIMIT 10000", ()),
)


async def _rows(database: Database, medium_id: int) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = {}
    async with database.connection() as connection:
        for table, query, without in _BESIDE:
            left_out = ["medium_id", *without]
            rows = await connection.fetch(
                f"SELECT to_jsonb(t) - $2::text[] AS row FROM ({query}) t", medium_id, left_out
            )
            if rows:
                found[table] = [row["row"] for row in rows]
    return found
