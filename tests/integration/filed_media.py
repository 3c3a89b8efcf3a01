"""Media as an ingest leaves them, made without its processes: floppies whose rows, contents and archives agree."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3
from floppies import FIRST_INODE, fat12_floppy
from sketches import ROOT, Catalogue, Sketch

from ntt.config import Settings
from ntt.db.media import Media, Medium
from ntt.db.runs import StageRuns
from ntt.db.schema import catalogue_mark
from ntt.model import AcceptedImage, Stage
from ntt.operations.repair import RepairReport, Workshop, repair
from ntt.stages.archive import ArchiveStage
from ntt.store.layout import BlobLocation

SECTORS = 400
LARGE_SECTORS = 2600
LARGE_BYTES = 1_100_000
TABLES = {
    "medium": "id", "volume": "medium_id, index", "node": "medium_id, volume, ino",
    "node_attribute": "medium_id, volume, ino, name", "name": "medium_id, volume, parent_ino, ino, name",
    "outcome": "medium_id, volume, ino", "blob": "id", "stage_run": "id", "finding": "medium_id, kind",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filed:
    """A medium with its files: (name, content), in the order of their inodes."""

    medium: Medium
    files: tuple[tuple[str, bytes], ...]

    def ino(self, index: int) -> int:
        return FIRST_INODE + index


async def filed(
    catalogue: Catalogue,
    images: Path,
    number: int,
    *,
    archived: bool,
    files: int = 4,
    shared: bytes = b"",
    large: bool = False,
) -> Filed:
    """Listed, copied, and archived if it is to be; with the attempts that an ingest records."""
    noise = random.Random(number)
    contents = [(f"FILE{index}", noise.randbytes(200 + 700 * index)) for index in range(files)]
    if shared:
        contents.append(("SHARED", shared))
    if large:
        contents.append(("LARGE", noise.randbytes(LARGE_BYTES)))
    image, sectors = images / f"{number}.img", LARGE_SECTORS if large else SECTORS
    image.write_bytes(fat12_floppy(contents, sectors, number))
    sketch = Sketch()
    for name, data in contents:
        sketch.file(ROOT, name.encode(), data)
    medium = await catalogue.medium(f"medium {number}", {0: sketch}, image)
    await catalogue.execute("UPDATE volume SET fstype = 'fat12', size_bytes = $2 WHERE medium_id = $1", medium.id,
                            sectors * 512)  # fmt: skip
    runs = StageRuns(catalogue.database)
    async with runs.attempt(medium.id, Stage.ENUMERATE) as attempt:
        attempt.counts.update(nodes=len(sketch.entries), paths=len(sketch.entries))
    async with runs.attempt(medium.id, Stage.COPY) as attempt:
        attempt.counts.update(files=len(contents))
    if archived:
        await archive(catalogue, medium, image)
    return Filed(await Media(catalogue.database).by_id(medium.id), tuple(contents))


async def archive(catalogue: Catalogue, medium: Medium, image: Path) -> None:
    stage = ArchiveStage(catalogue.database, catalogue.archives, 1, 60)
    work = catalogue.archives.parent / "archiving"
    work.mkdir(exist_ok=True)
    with image.open("rb") as file:
        accepted = AcceptedImage(image, file.fileno(), medium.image_bytes, (), None)
        volumes = await Media(catalogue.database).volumes(medium.id)
        await stage.run(medium, volumes, accepted, work, lambda _: None)


def workshop(catalogue: Catalogue) -> Workshop:
    home = catalogue.archives.parent
    work = home / "repairing"
    work.mkdir(exist_ok=True)
    return Workshop(catalogue.database, catalogue.store, Settings(home=home), work)


async def repaired(
    catalogue: Catalogue, medium: Medium | None = None, *, apply: bool = True, deep: bool = False
) -> RepairReport:
    return await repair(workshop(catalogue), medium=medium, apply=apply, deep=deep)


async def rows(catalogue: Catalogue) -> dict[str, list[object]]:
    """Every row of the catalogue but the packs', which only grow."""
    async with catalogue.database.connection() as connection:
        return {
            table: [row[0] for row in await connection.fetch(f"SELECT to_jsonb(t) FROM {table} t ORDER BY {order}")]
            for table, order in TABLES.items()
        }


async def location(catalogue: Catalogue, data: bytes) -> BlobLocation:
    async with catalogue.database.connection() as connection:
        row = await connection.fetchrow("SELECT * FROM blob WHERE hash = $1", digest(data))
    assert row is not None
    return BlobLocation(row["hash"], row["size"], row["pack_id"], row["pack_offset"])


def flip(catalogue: Catalogue, place: BlobLocation, at: int = 0) -> None:
    assert place.pack_id is not None and place.pack_offset is not None
    path = catalogue.store.pack_path(place.pack_id)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(place.pack_offset + at)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0x55]))
    path.chmod(0o444)


async def own_the_store(catalogue: Catalogue) -> None:
    """As the first run of an ingest does."""
    async with catalogue.database.connection() as connection:
        mark, _ = await catalogue_mark(connection)
    catalogue.store.belong_to(mark, has_contents=False)


def digest(data: bytes) -> bytes:
    return blake3(data).digest()
