"""Images -> a catalogue -> what it then holds of each, as plain values; also as an ordinary user in another process.

filesystem_catalogue.py HOME <images.json >catalogued.msgpack
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import asyncpg
import msgspec
from catalogue import Catalogue
from database_server import TEMPLATE, running_server

from ntt.model import Route

# an ordinary user who still reaches an interpreter in root's own folder: in a namespace, root under another number
ORDINARY = ("unshare", "--user", "--map-user=65534", "--map-group=65534")
LIMIT_S = 300


class Item(msgspec.Struct, frozen=True, array_like=True):
    """One path. `blob` is the BLAKE3 of what was stored, in hex; empty of what is no file, and where nothing was."""

    ino: int
    mode: int
    mtime_ns: int
    target: bytes
    blob: str
    reason: str


class CataloguedVolume(msgspec.Struct, frozen=True):
    """A volume as NTT recorded it, and its tree: paths in Base64, as JSON has no bytes."""

    index: int
    fstype: str
    route: str
    status: str
    finding: str
    next_step: str
    tried: tuple[str, ...]
    tree: dict[bytes, Item]
    problems: tuple[str, ...] = ()


def catalogued(
    catalogue: Catalogue, images: Sequence[Path], only_route: Route | None = None
) -> list[list[CataloguedVolume]]:
    """Each image ingested in turn; its volumes in their order. Every image must get through."""
    chosen: dict[str, float | str] = {} if only_route is None else {"only_route": only_route.value}
    # starting more than one worker costs more than they copy
    result = catalogue.ingest(*images, archive=False, map_path=None, label=None, replace=False, workers=1, **chosen)
    assert not result.failures, result.failures
    return [_volumes(catalogue, report.medium_hash) for report in result.media]


def _volumes(catalogue: Catalogue, medium_hash: str) -> list[CataloguedVolume]:
    volumes = catalogue.rows(
        "SELECT volume.* FROM volume JOIN medium ON id = medium_id WHERE medium_hash = $1 ORDER BY index", medium_hash
    )
    rows = catalogue.rows(
        """SELECT e.volume, e.ino, e.parent_ino, e.name, e.flags, i.mode, i.mtime_s, i.mtime_ns, i.link_target,
                  i.reason, i.blobid FROM name e JOIN medium m ON m.id = e.medium_id
           JOIN inode i ON i.medium_hash = m.medium_hash AND i.volume = e.volume AND i.ino = e.ino
           WHERE m.medium_hash = $1""",
        medium_hash,
    )
    problems = catalogue.rows(
        "SELECT volume, kind, detail FROM finding JOIN medium ON id = medium_id WHERE medium_hash = $1", medium_hash
    )
    return [
        CataloguedVolume(
            **{name: volume[name] for name in ("index", "fstype", "route", "status", "finding", "next_step")},
            tried=tuple(volume["tried"]),
            tree=_tree([row for row in rows if row["volume"] == volume["index"]]),
            problems=tuple(f"{p['kind']}: {p['detail']}" for p in problems if p["volume"] == volume["index"]),
        )
        for volume in volumes
    ]


def _tree(rows: Sequence[asyncpg.Record]) -> dict[bytes, Item]:
    """By path below the root, which is left out."""
    folders = {row["ino"]: row for row in rows if row["flags"] & 2 or row["ino"] == row["parent_ino"]}
    return {
        _path(row, folders): Item(
            row["ino"],
            row["mode"],
            row["mtime_s"] * 10**9 + row["mtime_ns"],
            row["link_target"],
            row["blobid"] or "",
            row["reason"] or "",
        )
        for row in rows
        if row["ino"] != row["parent_ino"]
    }


def _path(row: asyncpg.Record, folders: Mapping[int, asyncpg.Record]) -> bytes:
    parts = [row["name"]]
    while (above := folders[row["parent_ino"]])["ino"] != above["parent_ino"]:
        parts.append(above["name"])
        row = above
    return b"/".join(reversed(parts))


# ---------------------------------------------------------------- as an ordinary user


def started_by_ordinary_user(home: Path, images: Sequence[Path]) -> subprocess.Popen[bytes]:
    """A process that ingests the images into a catalogue and an embedded server of its own."""
    home.mkdir()
    with (home / "images").open("wb") as file:
        file.write(msgspec.json.encode([str(image) for image in images]))
    clean = {key: value for key, value in os.environ.items() if not key.startswith("NTT_")}
    with (
        (home / "images").open("rb") as given,
        (home / "errors").open("wb") as errors,
        (home / "told").open("wb") as told,
    ):
        argv = [*ORDINARY, sys.executable, __file__, str(home)]
        return subprocess.Popen(argv, stdin=given, stdout=told, stderr=errors, env={**clean, "HOME": str(home)})


def told_by(process: subprocess.Popen[bytes], home: Path) -> list[list[CataloguedVolume]]:
    assert process.wait(LIMIT_S) == 0, (home / "errors").read_text()[-2000:]
    return msgspec.msgpack.decode((home / "told").read_bytes(), type=list[list[CataloguedVolume]])


def main() -> None:
    home = Path(sys.argv[1])
    images = [Path(name) for name in msgspec.json.decode(sys.stdin.buffer.read(), type=list[str])]
    assert os.geteuid() != 0
    with running_server(home / "server") as server, server.database(TEMPLATE) as url:
        found = catalogued(Catalogue(home / "ntt", url), images)
    sys.stdout.buffer.write(msgspec.msgpack.encode(found))


if __name__ == "__main__":
    main()
