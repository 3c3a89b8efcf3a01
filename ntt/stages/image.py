"""Device, or a file that is hard to read -> its image: a new one, one that is gone on with, or two joined."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread

from ntt.errors import UsageError
from ntt.imaging import Hardware, Imaged, Imaging
from ntt.model import AcceptedImage, Effort
from ntt.names import printable
from ntt.ranges import Range, Ranges, normalised
from ntt.rescue.merging import merged
from ntt.rescue.resuming import resumed
from ntt.rescue.running import Limits
from ntt.rescue.source import probe
from ntt.rescue.working import WorkingImages


class ImageStage:
    """Keeps images in `folder`; `limits` say when a pass is stopped, `hardware_of` what a source is read through."""

    def __init__(self, folder: Path, limits: Limits, hardware_of: Hardware) -> None:
        self._images = WorkingImages(folder)
        self._hardware_of = hardware_of
        self._limits = limits

    @asynccontextmanager
    async def opened(self, path: Path, effort: Effort, *, passing: bool = False) -> AsyncIterator[Imaging]:
        """The image that the medium at `path` has already, read in part, or a new one; held for the body.

        `passing`: it is to be deleted once its archive is proven.

        MediumError when there is no medium, or it gives no answer; StoreError when there is no room for an image.
        """
        source = await probe(path)
        if await anyio.to_thread.run_sync(self._images.is_one_of_these, path):
            name = printable(os.fsencode(path))
            raise UsageError(f"{name} is an image of NTT's own: no medium to be imaged", "ingest it without --effort")
        working = await resumed(self._images, source)
        if working is not None and not working.mapfile().unread:
            working.close()  # whether it is the same medium to the last byte is only known when it is read
            working = None
        if working is None:
            working = self._images.new(source)
        working.require_space()
        working.needs_medium(True, passing=passing)
        imaging = Imaging(working, source, effort, self._limits, self._hardware_of)
        try:
            yield imaging
        except BaseException:
            if not working.mapfile().rescued and not working.has_lost_map:
                imaging.discard()
            raise
        finally:
            imaging.leave()

    def is_own(self, path: Path | None) -> bool:
        """Is it one of the images that NTT keeps?"""
        return path is not None and self._images.holds(path)

    def whose(self, path: Path) -> str | None:
        """The medium whose image of NTT's own it is; None when it is none, or not known to be."""
        seen = self._images.look(path)
        return seen.state.medium_hash if seen is not None else None

    def unread(self, path: Path) -> Ranges | None:
        """Of an image of NTT's own, by its map; None when it is none."""
        seen = self._images.look(path)
        return seen.mapfile().unread if seen is not None else None

    @asynccontextmanager
    async def held(self, path: Path) -> AsyncIterator[Imaging]:
        """An image of NTT's own as it is: its source is not read. BusyError when another process has it."""
        working = self._images.take(path)
        imaging = Imaging(working, None, None, self._limits, self._hardware_of)
        imaging.resting = True
        try:
            if working.saved_map() is None:
                working.put_map(working.mapfile())
            yield imaging
        finally:
            imaging.leave()

    def remove_superfluous(self, imaged: Imaged) -> None:
        """NTT's other images of the medium go if all that was read in them is in `imaged`, and its own too."""
        if isinstance(imaged, Imaging):
            self._images.remove_superfluous(imaged.working)

    @asynccontextmanager
    async def joined(
        self,
        former: tuple[Path, Ranges],
        image: AcceptedImage,
        size_bytes: int,
        imaged: Imaging | None,
        telltale: Ranges,
    ) -> AsyncIterator[Imaging]:
        """A new image of what either pass has read; neither of them is changed. Where they differ it is unread.

        `former`: image and what is unread of it. `size_bytes`: of the longer one. `imaged`: the image, if it is NTT's
        own: then the new one goes on with its source. `telltale`: where a medium says what it is. MediumError when
        they differ there, or so much that they are two media.
        """
        seen = self._images.look(former[0])
        working, found = await merged(self._images, *former, image.path, image.unread, size_bytes, telltale)
        imaging = Imaging(working, None, None, self._limits, self._hardware_of)
        try:
            disputed: list[Range] = [*found.disagreements, *(seen.state.disputed if seen is not None else ())]
            if disputed:
                working.disputes(normalised(disputed))
            if imaged is not None:
                imaging.goes_on_with(imaged)
            yield imaging
        finally:
            imaging.leave()
