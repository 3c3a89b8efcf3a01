"""Free space where images, archives, contents and rows go -> whether the next medium may be begun."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ntt.board import Room
from ntt.config import Settings
from ntt.errors import UsageError

SPARE_BYTES = 256 << 20  # for everyone else, and for what runs already
DATABASE_SHARE = 50  # of a medium's bytes, at most one part in so many becomes rows
DATABASE_LEAST_BYTES = 128 << 20
USUAL_BYTES = 700 << 20  # a CD: what is to be expected while nothing is inserted


class Rooms:
    """Asks the file systems each time; needs of media that are begun and not ended are counted in."""

    def __init__(self, settings: Settings) -> None:
        self._folders = {"images": settings.images_dir, "archives": settings.archive_dir, "store": settings.store_dir}
        if settings.database_url is None:
            self._folders["database"] = settings.home
        self._begun: dict[int, int] = {}

    def begin(self, sequence: int, size_bytes: int) -> None:
        """From now on this medium needs its place, until `end`."""
        self._begun[sequence] = size_bytes

    def end(self, sequence: int) -> None:
        self._begun.pop(sequence, None)

    def all(self, next_bytes: int = USUAL_BYTES) -> tuple[Room, ...]:
        """Every place, with what a medium of `next_bytes` needs there besides those that are begun."""
        return tuple(self._rooms(next_bytes))

    def missing(self, size_bytes: int) -> str:
        """Why a medium of this size must wait; "" when there is room for it."""
        short = [room for room in self._rooms(size_bytes) if not room.enough]
        return "; ".join(
            f"{room.free_bytes:,} bytes are free for the {room.what}, this medium may need {room.needed_bytes:,}"
            for room in short
        )

    def _rooms(self, size_bytes: int) -> Iterator[Room]:
        """Places on one file system share what is free there: each of them shows it, and needs all of it together."""
        needs: dict[int, int] = {}
        wanted: dict[str, tuple[int, int]] = {}
        every = [size_bytes, *self._begun.values()]
        for what, folder in self._folders.items():
            device, free = _free(folder)
            needs[device] = needs.get(device, 0) + sum(_need(what, size) for size in every)
            wanted[what] = device, free
        for what, (device, free) in wanted.items():
            yield Room(what, free, needs[device] + SPARE_BYTES)


def _need(what: str, size_bytes: int) -> int:
    if what == "database":
        return max(DATABASE_LEAST_BYTES, size_bytes // DATABASE_SHARE)
    return size_bytes


def _free(folder: Path) -> tuple[int, int]:
    """(device number, bytes that may be written) of the file system that the folder is or will be on."""
    for existing in (folder, *folder.parents):
        try:
            space, status = os.statvfs(existing), os.stat(existing)  # noqa: PTH116  # two answers of one moment
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UsageError(f"{existing} cannot be looked at: {error.strerror}", "check the settings") from error
        return status.st_dev, space.f_bavail * space.f_frsize
    raise UsageError(f"{folder} lies nowhere", "check the settings")
