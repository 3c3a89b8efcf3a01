"""A blob's location -> its bytes, checked against its hash while they pass."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3

from ntt.store.layout import BlobLocation, StoreLayout

CHUNK_BYTES = 64 << 10  # larger pieces are given back to the kernel and faulted in again, each time


class BlobDamaged(Exception):
    """The store no longer holds the bytes of a blob; the text says what is there instead."""


class BlobReader:
    """Reads blobs; the pack used last stays open, so reading in order of pack and offset is sequential.

    `from_disk`: what the machine has in memory proves nothing, and is given up before a file is read.
    """

    def __init__(self, layout: StoreLayout, *, from_disk: bool = False) -> None:
        self._layout = layout
        self._from_disk = from_disk
        self._pack_id: int | None = None
        self._fd = -1

    def chunks(self, blob: BlobLocation) -> Iterator[bytes]:
        """The content in chunks of at most 64 KiB. BlobDamaged at the latest after the last chunk."""
        hasher = blake3()
        try:
            fd, at = self._open(blob)
        except OSError as error:
            raise BlobDamaged(f"cannot be opened: {error.strerror}") from error
        try:
            missing = blob.size_bytes
            while missing:
                chunk = os.pread(fd, min(CHUNK_BYTES, missing), at)
                if not chunk:
                    raise BlobDamaged(f"ends {missing:,} bytes early")
                hasher.update(chunk)
                yield chunk
                at += len(chunk)
                missing -= len(chunk)
            if blob.pack_id is None and os.fstat(fd).st_size != blob.size_bytes:
                raise BlobDamaged(f"has {os.fstat(fd).st_size:,} bytes instead of {blob.size_bytes:,}")
        except OSError as error:
            raise BlobDamaged(f"cannot be read: {error.strerror}") from error
        finally:
            if blob.pack_id is None:
                os.close(fd)
        if hasher.digest() != blob.blob_hash:
            raise BlobDamaged(f"has other content (BLAKE3 {hasher.hexdigest()})")

    def _open(self, blob: BlobLocation) -> tuple[int, int]:
        if blob.pack_id is None or blob.pack_offset is None:
            return self._opened(self._layout.blob_path(blob.blob_hash)), 0
        if blob.pack_id != self._pack_id:
            self.close()
            self._fd = self._opened(self._layout.pack_path(blob.pack_id))
            self._pack_id = blob.pack_id
        return self._fd, blob.pack_offset

    def _opened(self, path: Path) -> int:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if self._from_disk:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        return fd

    def close(self) -> None:
        if self._pack_id is not None:
            os.close(self._fd)
            self._pack_id = None
