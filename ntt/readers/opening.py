"""A volume -> the reader that lists and reads its files, by the route that detection found."""

from __future__ import annotations

from typing import assert_never

from ntt.model import Route, Volume
from ntt.readers.base import ImageSource, ReadError, VolumeReader
from ntt.readers.iso9660 import open_iso9660
from ntt.readers.tsk import TskReader


def open_volume(source: ImageSource, volume: Volume) -> VolumeReader:
    """ReadError, with the cause in a few words, if no reader takes the volume. Close what is returned."""
    match volume.route:
        case Route.TSK:
            return TskReader(source, volume)
        case Route.ISO9660:
            return open_iso9660(source, volume.offset_bytes)
        case Route.HFS | Route.UDF | Route.ARCHIVE | Route.KERNEL | Route.FUSE | Route.SEVENZIP | Route.NONE:
            raise ReadError(volume.finding or "no reader here opens this volume")
        case _:
            assert_never(volume.route)
