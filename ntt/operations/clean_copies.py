"""A damaged file -> contents elsewhere in the store that agree with every byte that could be read of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import anyio.to_thread

from ntt.db.connection import Database
from ntt.db.paths import Key
from ntt.db.reporting import Reporting
from ntt.db.verifying import Holder, StoredBlob, holders_of
from ntt.ranges import Ranges, difference, total, within
from ntt.store.layout import BlobLocation, StoreLayout
from ntt.store.reading import BlobDamaged, BlobReader

PROBES = 1_000  # contents of the same size that are looked at; most differ in the first chunk
AGREEING = 20
CANDIDATES = 20_000  # contents of equal size that are held in memory at a time


@dataclass(frozen=True, slots=True)
class DamagedContent:
    """What is stored of a damaged file, and which byte ranges of it were not read."""

    key: Key
    blob: StoredBlob
    damaged: Ranges


@dataclass(frozen=True, slots=True)
class Copy:
    """A content that agrees, and a file that was copied whole and has it."""

    blob: StoredBlob
    holder: Holder


async def copies_of(
    database: Database, store: StoreLayout, damaged: Sequence[DamagedContent]
) -> dict[Key, tuple[Copy, ...]]:
    """For each damaged file, at most 20 files that were copied whole, of any medium, and may be it.

    Their size is the same, and they agree with every byte that could be read of it.
    """
    sizes = {one.blob.size_bytes for one in damaged}
    each = min(PROBES, max(AGREEING, CANDIDATES // max(1, len(sizes))))
    candidates = await Reporting(database).blobs_of_sizes(sizes, each)
    agreeing: dict[Key, list[StoredBlob]] = {}
    for one in damaged:
        agreeing[one.key] = await anyio.to_thread.run_sync(
            agreeing_blobs, store, one.blob, one.damaged, candidates.get(one.blob.size_bytes, [])
        )
    # only files that were copied whole: an equal content may itself have been read from a damaged medium
    holders: dict[int, list[Holder]] = {}
    wanted = {blob.id for found in agreeing.values() for blob in found}
    for holder in await holders_of(database, sorted(wanted), AGREEING, "c"):
        holders.setdefault(holder.blob_id, []).append(holder)
    return {key: _copies(found, holders) for key, found in agreeing.items()}


def _copies(found: Sequence[StoredBlob], holders: Mapping[int, Sequence[Holder]]) -> tuple[Copy, ...]:
    """A holder of every content comes before the second one of any: whether contents differ is seen at once."""
    every = [(number, Copy(blob, holder)) for blob in found for number, holder in enumerate(holders.get(blob.id, ()))]
    every.sort(key=lambda numbered: numbered[0])
    return tuple(copy for _, copy in every[:AGREEING])


def is_telling(store: StoreLayout, own: StoredBlob, damaged: Ranges) -> bool:
    """Are there two different bytes outside of `damaged`? Else whatever agrees with them agrees by chance."""
    readable = difference(((0, own.size_bytes),), damaged)
    reader = BlobReader(store)
    seen: set[int] = set()
    try:
        at = 0
        for chunk in _chunks(reader, own):
            for start, end in within(readable, at, at + len(chunk)):
                seen.update(chunk[start - at : end - at])
            if len(seen) > 1:
                return True
            at += len(chunk)
    except BlobDamaged:
        return False
    finally:
        reader.close()
    return False


def agreeing_blobs(
    store: StoreLayout, own: StoredBlob, damaged: Ranges, candidates: Sequence[StoredBlob]
) -> list[StoredBlob]:
    """Those of the first 1,000 candidates that agree outside of `damaged`, at most 20. Their sizes are equal.

    A file of which no byte is certain agrees only with its very content. A content that the store has lost agrees
    with none.
    """
    readable = difference(((0, own.size_bytes),), damaged)
    if not total(readable):
        return [candidate for candidate in candidates if candidate.id == own.id]
    found: list[StoredBlob] = []
    left, right = BlobReader(store), BlobReader(store)
    try:
        for candidate in candidates[:PROBES]:
            if len(found) == AGREEING:
                break
            if candidate.id == own.id or _agree(_chunks(left, own), _chunks(right, candidate), readable):
                found.append(candidate)
    finally:
        left.close()
        right.close()
    return found


def _chunks(reader: BlobReader, blob: StoredBlob) -> Iterator[bytes]:
    return reader.chunks(BlobLocation(blob.blob_hash, blob.size_bytes, blob.pack_id, blob.pack_offset))


def _agree(left: Iterator[bytes], right: Iterator[bytes], readable: Ranges) -> bool:
    at = 0
    try:
        for mine, other in zip(left, right, strict=True):
            for start, end in within(readable, at, at + len(mine)):
                if mine[start - at : end - at] != other[start - at : end - at]:
                    return False
            at += len(mine)
    except (BlobDamaged, ValueError):
        return False
    return True
