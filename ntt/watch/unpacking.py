"""The archive of a damaged medium -> its image and map in work again, for a drive to go on with."""

from __future__ import annotations

import os
from pathlib import Path

import anyio.to_thread
from blake3 import blake3

from ntt.db.media import Medium
from ntt.errors import MediumError
from ntt.names import printable
from ntt.rescue.source import Source
from ntt.rescue.working import WorkingImages
from ntt.store.archives import pass_member
from ntt.tools.mapfile import parse_mapfile

_ZERO = bytes(64 << 10)


class _Image:
    """Takes the image's bytes in order; runs of zeros stay holes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._at = 0
        self.hasher = blake3()

    def take(self, chunk: bytes) -> None:
        self.hasher.update(chunk)
        if chunk != _ZERO[: len(chunk)]:
            os.pwrite(self._descriptor, chunk, self._at)
        self._at += len(chunk)


async def unpacked(images: WorkingImages, source: Source, medium: Medium, member: str) -> Path:
    """The image that lies in the folder of images from now on, durable, as the medium's own.

    MediumError when the archive is gone or does not hold the image that was recorded; StoreError without room for it.
    Nothing is left of what did not get whole.
    """
    if medium.archive_path is None or medium.map_text is None or medium.image_bytes != source.size_bytes:
        raise MediumError(f"medium {medium.medium_hash[:8]} has no archive to go on from", "it is read from its start")
    with images.new(source) as working:
        try:
            image = _Image(working.descriptor)
            await pass_member(Path(medium.archive_path), member, image.take)
            if image.hasher.hexdigest() != medium.image_hash:
                name = printable(medium.archive_path)
                raise MediumError(f"the archive {name} does not hold the image of its medium", "run `ntt verify`")
            await anyio.to_thread.run_sync(os.fsync, working.descriptor)
            working.put_map(parse_mapfile(medium.map_text, "the archived map"))
            working.identified(medium.medium_hash)
        except BaseException:
            working.remove()
            raise
        return working.path
