"""Store and archives -> what is no longer what was stored: every byte is read again and hashed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.to_thread
import msgspec

from ntt.db.connection import Database
from ntt.db.media import Media, Medium
from ntt.db.verifying import StoredBlob, blob_order, holders_of
from ntt.errors import MediumError, UsageError
from ntt.operations.located import Located, located
from ntt.store.archives import read_members
from ntt.store.layout import BlobLocation, StoreLayout
from ntt.store.reading import BlobDamaged, BlobReader

LISTED = 1_000  # damaged blobs in a report; the total counts on
EXAMPLES = 3
ADVANCE_BYTES = 8 << 20
IMAGE_MEMBER = "image.img"


class DamagedBlob(msgspec.Struct, frozen=True):
    """A blob that the store no longer holds as it was. `examples`: files with it; `reason` of each is its medium."""

    blob: str
    size: int
    pack_id: int | None
    reason: str
    examples: tuple[Located, ...]


class DamagedArchive(msgspec.Struct, frozen=True):
    medium_hash: str
    archive: str
    reason: str


class VerifyReport(msgspec.Struct, frozen=True):
    """What was read, whole or not. `damaged` ends after 1,000 blobs, `damaged_total` counts all."""

    blobs: int
    bytes: int
    archives: int
    damaged: tuple[DamagedBlob, ...]
    damaged_total: int
    damaged_archives: tuple[DamagedArchive, ...]

    @property
    def clean(self) -> bool:
        return not (self.damaged_total or self.damaged_archives)


class _Scrub:
    """Reads pages of blobs, in threads, one after the other; keeps what it found damaged."""

    def __init__(self, store: StoreLayout, advance: Callable[[int, int], None]) -> None:
        self.blobs = 0
        self.bytes = 0
        self.damaged: list[tuple[StoredBlob, str]] = []
        self.damaged_total = 0
        self._advance = advance
        self._told = 0
        self._reader = BlobReader(store)

    def read(self, page: list[StoredBlob]) -> None:
        for blob in page:
            try:
                for chunk in self._reader.chunks(
                    BlobLocation(blob.blob_hash, blob.size_bytes, blob.pack_id, blob.pack_offset)
                ):
                    self.bytes += len(chunk)
                    self._tell()
            except BlobDamaged as damage:
                self.damaged_total += 1
                if len(self.damaged) < LISTED:
                    self.damaged.append((blob, str(damage)))
            self.blobs += 1

    def _tell(self) -> None:
        if self.bytes - self._told >= ADVANCE_BYTES:
            self._told = self.bytes
            anyio.from_thread.check_cancelled()
            anyio.from_thread.run_sync(self._advance, self.blobs, self.bytes)

    def close(self) -> None:
        self._reader.close()


async def verify(
    database: Database,
    store: StoreLayout,
    *,
    medium: Medium | None,
    sample: int | None,
    advance: Callable[[int, int], None],
) -> VerifyReport:
    """Blobs and archive of one medium, or of all; with `sample` that many blobs drawn at random, no archives.

    `advance` gets blobs and bytes so far. UsageError for a sample below 1.
    """
    if sample is not None and sample < 1:
        raise UsageError(f"a sample of {sample} blobs proves nothing", "give a number from 1 on")
    scrub = _Scrub(store, advance)
    try:
        async with blob_order(database, None if medium is None else medium.id, sample) as order:
            async for page in order.pages():
                await anyio.to_thread.run_sync(scrub.read, page)
                advance(scrub.blobs, scrub.bytes)
    finally:
        scrub.close()
    archives, damaged_archives = 0, []
    if sample is None:
        for one in await Media(database).all() if medium is None else [medium]:
            if one.archive_done is not None and one.archive_path is not None:
                archives += 1
                if reason := await _archive_damage(one, Path(one.archive_path)):
                    damaged_archives.append(DamagedArchive(one.medium_hash, one.archive_path, reason))
    return VerifyReport(
        blobs=scrub.blobs,
        bytes=scrub.bytes,
        archives=archives,
        damaged=await _with_examples(database, scrub.damaged),
        damaged_total=scrub.damaged_total,
        damaged_archives=tuple(damaged_archives),
    )


async def _archive_damage(medium: Medium, archive: Path) -> str:
    if not await anyio.Path(archive).is_file():
        return "is not there"
    try:
        members = await read_members(archive)
    except MediumError as error:
        return str(error)
    held = {member.name: member.content_hash for member in members}
    image = held.get(f"{medium.medium_hash}/{IMAGE_MEMBER}")
    if image is None:
        return f"holds no {IMAGE_MEMBER} of this medium"
    return "" if image == medium.image_hash else f"holds another image (BLAKE3 {image})"


async def _with_examples(database: Database, damaged: list[tuple[StoredBlob, str]]) -> tuple[DamagedBlob, ...]:
    holders = await holders_of(database, [blob.id for blob, _ in damaged], EXAMPLES)
    return tuple(
        DamagedBlob(
            blob.blob_hash.hex(),
            blob.size_bytes,
            blob.pack_id,
            reason,
            tuple(located(holder.path, holder.medium_hash) for holder in holders if holder.blob_id == blob.id),
        )
        for blob, reason in damaged
    )
