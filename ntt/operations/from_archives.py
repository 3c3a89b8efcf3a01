"""Archives -> the media of a lost catalogue: each archive is read back, its manifest becomes rows again."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import anyio.to_thread

from ntt.db.auditing import Auditing
from ntt.db.connection import Database
from ntt.db.rebuilding import replica_of
from ntt.db.reviving import ReadBack, revive
from ntt.errors import MediumError
from ntt.operations.audit_deep import IMAGE_MEMBER, MANIFEST_MEMBER
from ntt.operations.audit_files import archive_batches, medium_of
from ntt.store.archives import read_members

MAP_MEMBER = "image.map"
_ARCHIVE = re.compile(r"[0-9a-f]{32}\.tar\.zst")


@dataclass(slots=True)
class Revived:
    """Hashes of media that are in the catalogue again; those of `waiting` lack contents of some files."""

    media: list[str] = field(default_factory=list)
    waiting: dict[str, int] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)


async def from_archives(database: Database, archive_dir: Path, work: Path, advance: Callable[[int], None]) -> Revived:
    """Media that the catalogue has are left alone. `advance` gets how many archives were looked at."""
    revived = Revived()
    looked = 0
    for batch in archive_batches(archive_dir):
        known = await Auditing(database).archived([medium_of(path) for path in batch])
        for path in batch:
            looked += 1
            if _ARCHIVE.fullmatch(path.name) and medium_of(path) not in known:
                try:
                    await _revive(database, path, work, revived)
                except MediumError as error:
                    revived.refusals.append(f"{path}: {error}")
            advance(looked)
    return revived


async def _revive(database: Database, archive: Path, work: Path, revived: Revived) -> None:
    medium_hash = medium_of(archive)
    manifest, map_file = work / MANIFEST_MEMBER, work / MAP_MEMBER
    try:
        keep = {f"{medium_hash}/{MANIFEST_MEMBER}": manifest, f"{medium_hash}/{MAP_MEMBER}": map_file}
        held = {member.name: member.content_hash for member in await read_members(archive, keep)}
        image_hash = held.get(f"{medium_hash}/{IMAGE_MEMBER}")
        if image_hash is None or not manifest.is_file():
            raise MediumError("it is no archive of NTT's, or of another medium than its name says")
        map_text = await anyio.to_thread.run_sync(_text, map_file)
        async with replica_of(database, manifest) as replica:
            if replica.header.medium_hash != medium_hash:
                raise MediumError(f"its manifest is of medium {replica.header.medium_hash[:8]}")
            left = await revive(replica, ReadBack(str(archive), archive.stat().st_size, image_hash, map_text))
    finally:
        manifest.unlink(missing_ok=True)
        map_file.unlink(missing_ok=True)
    revived.media.append(medium_hash)
    if left:
        revived.waiting[medium_hash] = left


def _text(path: Path) -> str | None:
    return path.read_bytes().decode("utf-8", "replace") if path.is_file() else None
