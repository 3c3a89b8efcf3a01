"""An archive -> the image in it as a file again, with the cue sheet that lay beside it."""

from __future__ import annotations

import os
from pathlib import Path

from blake3 import blake3

from ntt.errors import MediumError
from ntt.names import printable
from ntt.store.archives import CHUNK_BYTES, pass_members
from ntt.store.layout import store_errors

IMAGE_MEMBER = "image.img"
CUE_MEMBER = "image.cue"
CUE_LIMIT_BYTES = 1 << 20
_ZEROS = bytes(CHUNK_BYTES)


class SparseFile:
    """Takes bytes in order; runs of zeros stay holes. At most `limit_bytes`: MediumError beyond them."""

    def __init__(self, descriptor: int, where: Path, limit_bytes: int) -> None:
        self._descriptor = descriptor
        self._where = where
        self._limit_bytes = limit_bytes
        self._hasher = blake3()
        self.size_bytes = 0

    def take(self, chunk: bytes) -> None:
        """StoreError when there is no room for it."""
        if self.size_bytes + len(chunk) > self._limit_bytes:
            raise MediumError(f"the archive holds more than the {self._limit_bytes:,} bytes that were archived")
        self._hasher.update(chunk)
        if chunk != (_ZEROS if len(chunk) == CHUNK_BYTES else bytes(len(chunk))):
            with store_errors(self._where):
                rest = memoryview(chunk)
                while rest:
                    rest = rest[os.pwrite(self._descriptor, rest, self.size_bytes + len(chunk) - len(rest)) :]
        self.size_bytes += len(chunk)

    def end(self) -> str:
        """The file has its size now; the hash of what was taken."""
        with store_errors(self._where):
            os.ftruncate(self._descriptor, self.size_bytes)
        return self._hasher.hexdigest()


async def unpack_image(archive: Path, medium_hash: str, image_bytes: int, image_hash: str, folder: Path) -> Path:
    """`folder`/image.img, and image.cue if the archive has one; for use in this run, so nothing is synced.

    MediumError when the archive is gone or damaged, or does not hold just this image; StoreError without room for it.
    """
    if not archive.is_file():
        raise MediumError(f"the archive {printable(os.fsencode(archive))} is not there", "is its disk mounted?")
    image, cue = folder / IMAGE_MEMBER, folder / CUE_MEMBER
    descriptors: list[int] = []
    try:
        with store_errors(folder):
            for path in (image, cue):
                descriptors.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        target = SparseFile(descriptors[0], image, image_bytes)
        sheet = SparseFile(descriptors[1], cue, CUE_LIMIT_BYTES)
        found = await pass_members(
            archive, {f"{medium_hash}/{IMAGE_MEMBER}": target.take, f"{medium_hash}/{CUE_MEMBER}": sheet.take}
        )
        if f"{medium_hash}/{IMAGE_MEMBER}" not in found or target.end() != image_hash:
            shown = printable(os.fsencode(archive))
            raise MediumError(f"the archive {shown} does not hold the image of its medium", "run `ntt verify`")
        sheet.end()
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    if f"{medium_hash}/{CUE_MEMBER}" not in found:
        cue.unlink()
    return image
