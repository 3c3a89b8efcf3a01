"""A medium -> an image file of it for this run: its own, or else one unpacked from its archive."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ntt.db.media import Medium
from ntt.errors import MediumError, StoreError
from ntt.store.unpacking import unpack_image


def own_image(medium: Medium) -> Path | None:
    """The file that the medium was read from last, if it is there; what is in it may have changed."""
    if medium.image_path is None or not Path(medium.image_path).is_file():
        return None
    return Path(medium.image_path)


@asynccontextmanager
async def unpacked_image(medium: Medium, work: Path) -> AsyncIterator[Path]:
    """The image out of the archive, below `work`, for the body; gone afterwards.

    MediumError when there is no archive, it does not hold just that image, or there is no room to unpack it.
    """
    if medium.archive_path is None or medium.archive_done is None:
        what = f"the image of medium {medium.medium_hash[:8]} is gone, and it has no archive"
        raise MediumError(what, "ingest its image again, or the medium itself")
    folder = work / f"unpacked-{medium.medium_hash}"
    try:
        folder.mkdir(parents=True)
        _require_room(medium.image_bytes, folder)
        archive = Path(medium.archive_path)
        try:
            image = await unpack_image(archive, medium.medium_hash, medium.image_bytes, medium.image_hash, folder)
        except StoreError as error:
            raise MediumError(str(error)) from error
        yield image
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _require_room(size_bytes: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < size_bytes:
        text = f"{folder} has room for {free:,} bytes, to unpack the image of the medium takes {size_bytes:,}"
        raise MediumError(text, "free some; the folder `work` in the home may be a link to a larger disk")
