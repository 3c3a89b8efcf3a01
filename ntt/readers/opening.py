"""A volume -> the reader that lists and reads its files, by the route that detection found.

Readers are loaded when they are first asked for, because a worker needs one or two of them; a worker that is about to
confine itself, after which it can open no file any more, calls `load_for` or `load_all` first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Protocol, cast

from ntt.model import Route, Volume
from ntt.readers.base import ImageSource, ReadError, VolumeReader
from ntt.readers.tsk_trees import TREES, load_trees

SECTOR_VIEWS = "ntt.readers.raw.reader"
OPENERS = {
    Route.TSK: "ntt.readers.tsk",
    Route.ISO9660: "ntt.readers.iso.reader",
    Route.HFS: "ntt.readers.hfs.reader",
    Route.UDF: "ntt.readers.udf.reader",
    Route.ARCHIVE: "ntt.readers.archives.reader",
}


class Opener(Protocol):
    """What the module of a reader has under the name `open_volume`."""

    def __call__(self, source: ImageSource, volume: Volume, advance: Callable[[int], None], /) -> VolumeReader: ...


class ViewOpener(Protocol):
    """What `SECTOR_VIEWS` has under the name `open_in_view`: `opener` opens the volume inside of the view."""

    def __call__(
        self, source: ImageSource, volume: Volume, opener: Callable[[ImageSource, Volume], VolumeReader], /
    ) -> VolumeReader: ...


def load_for(volumes: Iterable[Volume]) -> None:
    """Everything that opening these volumes needs is loaded when it returns."""
    for volume in volumes:
        if volume.route in OPENERS:
            import_module(OPENERS[volume.route])
        if volume.route is Route.TSK:
            load_trees((volume.fstype,))
        if volume.sector_bytes:
            import_module(SECTOR_VIEWS)


def load_all() -> None:
    """Every reader."""
    for name in (*OPENERS.values(), SECTOR_VIEWS):
        import_module(name)
    load_trees(TREES)


def _nothing(_: int) -> None:
    pass


def open_volume(source: ImageSource, volume: Volume, advance: Callable[[int], None] = _nothing) -> VolumeReader:
    """ReadError, with the cause in a few words, if no reader takes the volume. Close what is returned.

    `advance` is told of bytes taken from the image where getting to one file's first byte may take long.
    Places that the reader tells are places in the image, also where it reads raw sectors.
    """
    if volume.route not in OPENERS:
        raise ReadError(volume.finding or "no reader here opens this volume")
    opener = cast(Opener, import_module(OPENERS[volume.route]).open_volume)
    if not volume.sector_bytes:
        return opener(source, volume, advance)
    in_view = cast(ViewOpener, import_module(SECTOR_VIEWS).open_in_view)
    return in_view(source, volume, lambda view, inside: opener(view, inside, advance))
