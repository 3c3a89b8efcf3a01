"""A test's own catalogue: images in by the program's entry points, rows and stored bytes out by plain SQL and reads."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import asyncpg
import msgspec
from blake3 import blake3

from ntt.app import IngestResult, ingest, open_catalogue
from ntt.config import Settings
from ntt.model import Effort, Order, Stage
from ntt.operations.ingest_report import MediumReport
from ntt.operations.restore import RestoreReport, restore
from ntt.progress import Stop, Work

COMMAND_LIMIT_S = 120


@dataclass(slots=True)
class Heard:
    """A reporter that keeps what it is told: notes as (text, is a problem), ends as (stage, state)."""

    notes: list[tuple[str, bool]] = field(default_factory=list)
    ends: list[tuple[Stage, str]] = field(default_factory=list)

    def stage_started(self, medium: str, stage: Stage) -> None: ...

    def stage_progress(self, medium: str, stage: Stage, work: Work) -> None: ...

    def stage_ended(self, medium: str, stage: Stage, state: str, seconds: float, work: Work) -> None:
        self.ends.append((stage, state))

    def note(self, medium: str, text: str, *, problem: bool = False) -> None:
        self.notes.append((text, problem))

    @property
    def warnings(self) -> str:
        return "\n".join(text for text, problem in self.notes if problem)


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that ended; `complaints` are the lines on standard error that report no progress."""

    status: int
    stdout: str
    stderr: str

    @property
    def complaints(self) -> list[str]:
        return [line for line in self.stderr.splitlines() if line.startswith("ntt: ")]

    @property
    def json(self) -> object:
        return msgspec.json.decode(self.stdout)


@dataclass(frozen=True, slots=True)
class Stored:
    """An inode as the catalogue holds it, with the bytes that the store holds for it."""

    volume: int
    ino: int
    type: str
    mode: int
    size: int
    link_target: bytes
    status: str | None
    reason: str | None
    damaged: tuple[tuple[int, int], ...]
    content: bytes | None


Place = tuple[int, bytes]  # volume, path


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A home and the database that belongs to it."""

    home: Path
    url: str
    heard: Heard = field(default_factory=Heard)

    @property
    def store(self) -> Path:
        return self.home / "store"

    def ingest(
        self,
        *images: Path,
        map_path: Path | None = None,
        label: str | None = None,
        archive: bool = True,
        replace: bool = False,
        effort: Effort | None = None,
        free_space: bool = False,
        same_as: str | None = None,
        **settings: float | str,
    ) -> IngestResult:
        """As `ntt ingest` does it, without the second or so that a new process takes."""
        chosen = Settings.model_validate({"home": self.home, "database_url": self.url, **settings})
        orders = [Order(image, map_path, label, archive, replace, effort, free_space, same_as) for image in images]
        return anyio.run(ingest, chosen, orders, self.heard, Stop())

    def one(
        self, image: Path, map_path: Path | None = None, label: str | None = None, *, replace: bool = False
    ) -> MediumReport:
        """The report of an image that must get through; it is not archived."""
        result = self.ingest(image, map_path=map_path, label=label, archive=False, replace=replace)
        assert not result.failures, result.failures
        (report,) = result.media
        return report

    # ---- the command line

    def command(self, *arguments: str | Path, umask: int = -1, env: Mapping[str, str] | None = None) -> Ended:
        """`ntt ARGUMENTS --home ... --database ...` in a process of its own."""
        return command(*arguments, "--home", self.home, "--database", self.url, umask=umask, env=env)

    def restored(self, medium_hash: str, *, devices: bool = True) -> Path:
        """The tree that `ntt restore` makes of a medium, with everything that root can make."""
        target = self.home.parent / f"restored-{medium_hash[:8]}"
        report = anyio.run(self._restore, medium_hash, target, devices)
        assert report.complete, report
        return target

    async def _restore(self, medium_hash: str, target: Path, devices: bool) -> RestoreReport:
        async with open_catalogue(Settings(home=self.home, database_url=self.url)) as opened:
            return await restore(
                opened.database,
                opened.store,
                await opened.media.by_prefix(medium_hash),
                target,
                pattern=None,
                devices=devices,
                setuid=True,
                advance=lambda files, bytes_done: None,
            )

    # ---- rows

    def rows(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        return anyio.run(_fetch, self.url, sql, arguments)

    def value(self, sql: str, *arguments: object) -> object:
        (row,) = self.rows(sql, *arguments)
        return row[0]

    def media(self) -> list[asyncpg.Record]:
        return self.rows("SELECT * FROM medium ORDER BY id")

    def paths(self, medium_hash: str) -> list[bytes]:
        """All paths of all volumes but the roots', as often as they were listed."""
        rows = self.rows("SELECT path FROM path WHERE medium_hash = $1 AND path <> ''", medium_hash)
        return sorted(row["path"] for row in rows)

    def tree(self, medium_hash: str) -> dict[Place, Stored]:
        """(volume, path) -> what the catalogue and the store hold there; of duplicates the last."""
        rows = self.rows(
            """SELECT p.volume, p.path, i.ino, i.type, i.mode, i.size, i.link_target, i.status, i.reason, i.damaged,
                      b.hash, b.size AS blob_size, b.pack_id, b.pack_offset
               FROM path p JOIN inode i USING (medium_hash, volume, ino) LEFT JOIN blob b ON b.id = i.blob_id
               WHERE p.medium_hash = $1 AND p.path <> ''""",
            medium_hash,
        )
        return {(row["volume"], row["path"]): self._stored(row) for row in rows}

    def files(self, medium_hash: str) -> dict[bytes, bytes | None]:
        """path -> stored bytes of every regular file of a medium with one volume."""
        return {path: s.content for (_, path), s in self.tree(medium_hash).items() if s.type == "file"}

    def _stored(self, row: asyncpg.Record) -> Stored:
        return Stored(
            volume=row["volume"],
            ino=row["ino"],
            type=row["type"],
            mode=row["mode"],
            size=row["size"],
            link_target=row["link_target"],
            status=row["status"],
            reason=row["reason"],
            damaged=tuple((piece.lower, piece.upper) for piece in row["damaged"] or ()),
            content=None if row["hash"] is None else self._content(row),
        )

    def _content(self, row: asyncpg.Record) -> bytes:
        if row["pack_id"] is None:
            name = row["hash"].hex()
            return (self.store / "blobs" / name[:2] / name[2:4] / name).read_bytes()
        with (self.store / "packs" / f"{row['pack_id']:08d}.tar").open("rb") as pack:
            pack.seek(row["pack_offset"])
            return pack.read(row["blob_size"])

    # ---- the three sets that must be one

    def hashes_in_store(self) -> list[str]:
        """Names of all contents in packs and plain files; each is what its content hashes to."""
        found: list[str] = []
        for pack in sorted((self.store / "packs").iterdir()):
            with tarfile.open(pack) as tar:
                for member in tar:
                    content = tar.extractfile(member)
                    assert content is not None
                    assert blake3(content.read()).hexdigest() == member.name
                    found.append(member.name)
        for folder, _, names in os.walk(self.store / "blobs"):
            for name in names:
                assert blake3(Path(folder, name).read_bytes()).hexdigest() == name
                found.append(name)
        return sorted(found)

    def hashes_in_catalogue(self) -> list[str]:
        return [row["hash"] for row in self.rows("SELECT encode(hash, 'hex') AS hash FROM blob ORDER BY 1")]

    def hashes_referenced(self) -> list[str]:
        sql = "SELECT DISTINCT encode(hash, 'hex') AS hash FROM outcome JOIN blob ON blob.id = blob_id ORDER BY 1"
        return [row["hash"] for row in self.rows(sql)]


async def _fetch(url: str, sql: str, arguments: tuple[object, ...]) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(sql, *arguments)
    finally:
        await connection.close()


def command(*arguments: str | bytes | Path, umask: int = -1, env: Mapping[str, str] | None = None) -> Ended:
    """`ntt ARGUMENTS` in a process of its own."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("NTT_")}
    argv = [sys.executable, "-m", "ntt", *arguments]
    done = subprocess.run(
        argv, capture_output=True, umask=umask, env={**clean, **(env or {})}, timeout=COMMAND_LIMIT_S, check=False
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode(errors="surrogateescape"))
