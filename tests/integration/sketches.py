"""Sketches of trees -> a catalogue and a store as an ingest leaves them, without an image."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import msgspec
from blake3 import blake3
from store_contents import FilledPack, plain_blob

from ntt.config import Settings
from ntt.db.connection import Database, open_database
from ntt.db.copying import CopyQueue, Registrar
from ntt.db.loading import load
from ntt.db.media import Media, Medium
from ntt.db.outcomes import OutcomeWriter, Written
from ntt.db.summary import Problems
from ntt.model import (
    Entry,
    FileOutcome,
    Identity,
    OutcomeBatch,
    OutcomeStatus,
    PackFull,
    Route,
    Volume,
    VolumeStatus,
)
from ntt.ranges import Ranges
from ntt.store.layout import SMALL_BLOB_LIMIT_BYTES, StoreLayout

ROOT = 2
NOON = 1_000_000_000  # 2001-09-09, what a sketch says when it says nothing


@dataclass(frozen=True, slots=True)
class Content:
    """What became of a file; `data` None: it failed for `reason`, or is pending when that is empty."""

    data: bytes | None
    reason: str
    damaged: Ranges


@dataclass(slots=True)
class Sketch:
    """The tree of one volume, entry by entry."""

    entries: list[Entry] = field(default_factory=list)
    contents: dict[int, Content] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._add(ROOT, ROOT, b"", stat.S_IFDIR | 0o755, 0)

    def _add(
        self, ino: int, parent: int, name: bytes, mode: int, size: int, target: bytes = b"",
        mtime: tuple[int, int] = (NOON, 0), owner: tuple[int, int] = (0, 0), new: bool = True, duplicate: bool = False,
    ) -> int:  # fmt: skip
        self.entries.append(Entry(ino, parent, name, mode, size, *mtime, *owner, target, -1, new, duplicate))
        return ino

    def _next(self) -> int:
        return len(self.entries) + ROOT

    def directory(
        self, parent: int, name: bytes, mode: int = 0o755, mtime: tuple[int, int] = (NOON, 0),
        owner: tuple[int, int] = (0, 0),
    ) -> int:  # fmt: skip
        return self._add(self._next(), parent, name, stat.S_IFDIR | mode, 0, mtime=mtime, owner=owner)

    def file(
        self, parent: int, name: bytes, data: bytes | None, *, reason: str = "", damaged: Ranges = (),
        mode: int = 0o644, mtime: tuple[int, int] = (NOON, 0), owner: tuple[int, int] = (0, 0),
    ) -> int:  # fmt: skip
        size = 100 if data is None else len(data)
        ino = self._add(self._next(), parent, name, stat.S_IFREG | mode, size, mtime=mtime, owner=owner)
        self.contents[ino] = Content(data, reason, damaged)
        return ino

    def special(
        self, parent: int, name: bytes, kind: int, target: bytes = b"", mtime: tuple[int, int] = (NOON, 0)
    ) -> int:
        """A link, FIFO, device or socket."""
        return self._add(self._next(), parent, name, kind | 0o644, len(target), target, mtime=mtime)

    def attribute(self, ino: int, name: str, value: bytes) -> None:
        """Something more that is kept of an inode."""
        at, entry = next((at, entry) for at, entry in enumerate(self.entries) if entry.ino == ino)
        self.entries[at] = msgspec.structs.replace(entry, attributes=(*entry.attributes, (name, value)))

    def name_again(self, parent: int, name: bytes, ino: int) -> None:
        """A further name of an inode."""
        first = next(entry for entry in self.entries if entry.ino == ino)
        self._add(ino, parent, name, first.mode, first.size, first.link_target, new=False)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """An open database and the folders beside it."""

    database: Database
    store: StoreLayout
    archives: Path

    async def medium(self, name: str, volumes: Mapping[int, Sketch], image: Path | None = None) -> Medium:
        """A medium with these volumes, loaded and copied; `copy_done` is set unless a file is pending."""
        medium_id = await self._identified(name, image)
        async with load(self.database, medium_id) as loading:
            await loading.volumes([_volume(index) for index in volumes])
            for index, sketch in volumes.items():
                await loading.entries(index, sketch.entries)
        await self._copy(medium_id, volumes)
        queue = CopyQueue(self.database, medium_id)
        if not (await queue.pending()).files:
            await queue.prove_done()
        await Problems(self.database).refresh(medium_id)
        return await Media(self.database).by_id(medium_id)

    async def _identified(self, name: str, image: Path | None) -> int:
        data = name.encode() if image is None else image.read_bytes()
        identity = Identity(blake3(data).hexdigest(), len(data), len(data), (), None, (), "", True)
        medium_hash = blake3(name.encode()).hexdigest()[:32]
        path = str(self.store.root) if image is None else str(image)
        return await Media(self.database).create(medium_hash, "natural", name, path, identity, None)

    async def _copy(self, medium_id: int, volumes: Mapping[int, Sketch]) -> None:
        send, receive = anyio.create_memory_object_stream[OutcomeBatch | PackFull](4)
        writer = OutcomeWriter(
            self.database, medium_id, lambda _: None, lambda *_: None, lambda _: None, Written(), lambda: None,
            lambda _: None,
        )  # fmt: skip
        async with self.database.connected() as connection, anyio.create_task_group() as tasks:
            tasks.start_soon(writer.run, receive)
            registrar = Registrar(connection)
            pack_id, end = await registrar.take_pack()
            pack = FilledPack(self.store, pack_id, end)
            async with send:
                for index, sketch in volumes.items():
                    known = await registrar.known([blake3(c.data).digest() for c in sketch.contents.values() if c.data])
                    outcomes = [
                        self._outcome(index, ino, content, pack, known)
                        for ino, content in sketch.contents.items()
                        if content.data is not None or content.reason
                    ]
                    pack.sync()
                    await send.send(OutcomeBatch(tuple(outcomes), pack_id, pack.end))
            pack.close()

    def _outcome(self, volume: int, ino: int, content: Content, pack: FilledPack, known: set[bytes]) -> FileOutcome:
        data = content.data
        blob_hash = b"" if data is None else blake3(data).digest()
        is_new = data is not None and blob_hash not in known
        small = data is not None and len(data) < SMALL_BLOB_LIMIT_BYTES
        offset = pack.append([data])[0] if is_new and small and data is not None else None
        if is_new and not small and data is not None:
            self._plain(data)
        known.add(blob_hash)
        status = OutcomeStatus.FAILED if data is None else OutcomeStatus.DAMAGED if content.damaged else None
        return FileOutcome(
            volume=volume,
            ino=ino,
            status=status or OutcomeStatus.COPIED,
            attempts=1,
            blob_hash=blob_hash,
            size_bytes=len(data or b""),
            is_new=is_new,
            pack_id=pack.pack_id if offset is not None else None,
            pack_offset=offset,
            reason=content.reason,
            damaged=content.damaged,
            error_type="ReadError" if data is None else "",
            checks=("unreadable",) if data is None else (),
            worker="w0",
        )

    def _plain(self, data: bytes) -> None:
        plain_blob(self.store, "w0", [data[start : start + (1 << 20)] for start in range(0, len(data), 1 << 20)])

    async def execute(self, statement: str, *arguments: object) -> None:
        """SQL of the test's own, to bring about what NTT itself never does."""
        async with self.database.connection() as connection:
            await connection.execute(statement, *arguments)


def _volume(index: int) -> Volume:
    return Volume(index, "none", 0, 1 << 20, "ext4", Route.TSK, VolumeStatus.READ)


@asynccontextmanager
async def open_catalogue(url: str, home: Path) -> AsyncIterator[Catalogue]:
    """The database at `url` with an empty store and archive folder in `home`."""
    store = StoreLayout(home / "store")
    store.prepare()
    (home / "archives").mkdir()
    async with open_database(Settings(home=home, database_url=url)) as database:
        yield Catalogue(database, store, home / "archives")


def tree_of(folder: Path) -> dict[bytes, bytes | None]:
    """Relative path -> content of a file, target of a link, None for all else."""
    found: dict[bytes, bytes | None] = {}
    waiting: Sequence[bytes] = [b""]
    root = bytes(folder) + b"/"
    while waiting:
        deeper: list[bytes] = []
        for above in waiting:
            for name in sorted(_names(root + above)):
                path = above + b"/" + name if above else name
                found[path] = _what(root + path)
                if stat.S_ISDIR(_mode(root + path)):
                    deeper.append(path)
        waiting = deeper
    return found


def _names(path: bytes) -> list[bytes]:
    return os.listdir(path)


def _mode(path: bytes) -> int:
    return os.lstat(path).st_mode


def _what(path: bytes) -> bytes | None:
    mode = _mode(path)
    if stat.S_ISLNK(mode):
        return os.readlink(path)
    if stat.S_ISREG(mode):
        with open(path, "rb") as file:
            return file.read()
    return None
