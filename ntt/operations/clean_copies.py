"""A damaged file -> contents elsewhere in the store that agree with every byte that could be read of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ntt.db.verifying import StoredBlob
from ntt.ranges import Ranges, difference, total, within
from ntt.store.layout import BlobLocation, StoreLayout
from ntt.store.reading import BlobDamaged, BlobReader

PROBES = 1_000  # contents of the same size that are looked at; most differ in the first chunk
AGREEING = 20


def agreeing_blobs(
    store: StoreLayout, own: StoredBlob, damaged: Ranges, candidates: Sequence[StoredBlob]
) -> list[StoredBlob]:
    """Those of the first 1,000 candidates that agree outside of `damaged`, at most 20. Their sizes are equal.

    Nothing agrees with a file of which no byte was read. A content that the store has lost agrees with none.
    """
    readable = difference(((0, own.size_bytes),), damaged)
    if not total(readable):
        return []
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
