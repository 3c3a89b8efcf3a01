"""A volume -> the reader that lists and reads its files, by the route that detection found."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

import msgspec

from ntt.model import Route, Volume
from ntt.readers.archive_reader import open_archive
from ntt.readers.base import ImageSource, ReadError, VolumeReader
from ntt.readers.hfs_reader import HfsReader
from ntt.readers.iso9660 import open_iso9660
from ntt.readers.sector_view import SectorView
from ntt.readers.tsk import TskReader
from ntt.readers.udf_reader import UdfReader
from ntt.readers.view_reader import ViewReader


def _nothing(_: int) -> None:
    pass


def open_volume(source: ImageSource, volume: Volume, advance: Callable[[int], None] = _nothing) -> VolumeReader:
    """ReadError, with the cause in a few words, if no reader takes the volume. Close what is returned.

    `advance` is told of bytes taken from the image where getting to one file's first byte may take long.
    Places that the reader tells are places in the image, also where it reads raw sectors.
    """
    if not volume.sector_bytes:
        return _opened(source, volume, advance)
    try:
        view = SectorView(source, volume.sector_bytes, volume.data_at, volume.offset_bytes)
    except OSError as failed:
        raise ReadError(f"the image cannot be read: {failed}") from failed
    inside = msgspec.structs.replace(volume, offset_bytes=0, sector_bytes=0, data_at=0)
    if volume.route in (Route.TSK, Route.HFS):  # these know no sessions: a volume that begins inside of a sector
        inside = msgspec.structs.replace(inside, offset_bytes=volume.session_bytes, session_bytes=0)
    reader = ViewReader(_opened(view, inside, advance), view)
    view.strict = True  # a descriptor proves itself, what a file holds does not
    return reader


def _opened(source: ImageSource, volume: Volume, advance: Callable[[int], None]) -> VolumeReader:
    match volume.route:
        case Route.TSK:
            return TskReader(source, volume)
        case Route.ISO9660:
            return open_iso9660(source, volume.offset_bytes, volume.session_bytes)
        case Route.HFS:
            return HfsReader(source, volume)
        case Route.UDF:
            return UdfReader(source, volume)
        case Route.ARCHIVE:
            return open_archive(source, volume, advance)
        case Route.KERNEL | Route.FUSE | Route.SEVENZIP | Route.NONE:
            raise ReadError(volume.finding or "no reader here opens this volume")
        case _:
            assert_never(volume.route)
