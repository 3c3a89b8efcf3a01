"""Volumes in the making: found one by one, with what is to be said about each, and numbered at the end."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import msgspec

from ntt.model import Layout, Route, Volume, VolumeStatus
from ntt.ranges import Ranges, normalised
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.detection.magic_numbers import MOUNTED
from ntt.readers.detection.samples import Recognised
from ntt.readers.opening import open_volume
from ntt.routes import order

CHECK_A_COPY = "image the medium again, or repair a copy of the image with the file system's own checker"
MOST_BYTES = 1 << 62  # what a boot sector claims beyond is cut: places stay inside of 63 bits
AGAIN = "image the medium again if it still can be read"


class Region(NamedTuple):
    """A stretch of the image that is asked what it holds: bytes in the image as a table or the medium claims them.

    `kind` is what a table calls it, `volumes` how many more there are of it. `depth` counts tables inside tables.
    """

    offset_bytes: int
    size_bytes: int
    scheme: str = "none"
    kind: str = ""
    volumes: int = 1
    depth: int = 0

    @property
    def end_bytes(self) -> int:
        return self.offset_bytes + self.size_bytes

    @property
    def is_partition(self) -> bool:
        return bool(self.kind)


class Piece(NamedTuple):
    """A volume without its number, and the remarks that name it."""

    volume: Volume
    remarks: tuple[str, ...] = ()


@dataclass(slots=True)
class Pieces:
    """What a region holds, in order; `remarks` are about its table or the whole.

    `lost`: the bytes of the image where more of a table would stand, had they been read.
    """

    scheme: str
    pieces: list[Piece] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    lost: Ranges = ()

    def add(self, other: Pieces) -> None:
        self.pieces.extend(other.pieces)
        self.remarks.extend(other.remarks)
        self.lost = normalised((*self.lost, *other.lost))

    def become_hybrid(self) -> None:
        """What stood alone stands beside others now."""
        self.scheme = "hybrid"
        for index, piece in enumerate(self.pieces):
            if piece.volume.scheme == "none":
                self.pieces[index] = piece._replace(volume=msgspec.structs.replace(piece.volume, scheme="hybrid"))

    @property
    def holds_something(self) -> bool:
        """At least one volume was recognised as something."""
        return any(piece.volume.fstype not in ("unknown", "blank", "wiped") for piece in self.pieces)


def numbered(found: Pieces) -> Layout:
    """Volumes from 1 on. A remark names its volume unless there is but one that is the whole image."""
    remarks = list(found.remarks)
    volumes: list[Volume] = []
    is_single = len(found.pieces) == 1 and found.scheme in ("none", "archive")
    for index, piece in enumerate(found.pieces, 1):
        volumes.append(msgspec.structs.replace(piece.volume, index=index))
        remarks.extend(piece.remarks if is_single else (f"volume {index}: {remark}" for remark in piece.remarks))
    return Layout(found.scheme, tuple(volumes), tuple(dict.fromkeys(remarks)), found.lost)


def finding(region: Region, fstype: str, sentence: str, next_step: str, size_bytes: int = 0) -> Piece:
    """A volume whose files are not read, and why."""
    return Piece(
        Volume(
            0,
            region.scheme,
            region.offset_bytes,
            size_bytes or region.size_bytes,
            fstype,
            Route.NONE,
            VolumeStatus.FINDING,
            finding=sentence,
            next_step=next_step,
        )
    )


def opened(source: ImageSource, region: Region, found: Recognised, session_bytes: int = 0) -> Piece:
    """The recognised volume as its reader sees it, or as a finding where none does."""
    start = region.offset_bytes + found.starts_at
    found = replace(found, size_bytes=min(found.size_bytes, MOST_BYTES))
    has_own_size = found.size_bytes > 0 and not (region.is_partition and not found.starts_at)
    size = found.size_bytes if has_own_size else region.end_bytes - start
    volume = Volume(
        0,
        region.scheme,
        start,
        size,
        found.fstype,
        found.route,
        VolumeStatus.READ,
        session_bytes=session_bytes,
    )
    cut = truncation(source, volume, region, found.size_bytes)
    if found.route is Route.NONE:
        return Piece(_as_finding(volume, _joined(found.finding, cut), found.next_step), found.remarks)
    try:
        reader = open_volume(source, volume)
    except ReadError as error:
        said = f"{found.finding}, and" if found.finding else f"a file system ({found.fstype}) that"
        sentence = _joined(f"{said} could not be opened: {error}", cut)
        failed = _as_finding(volume, sentence, _next_step(found))
        return Piece(msgspec.structs.replace(failed, tried=(f"{found.route}: {error}",)), found.remarks)
    try:
        step = AGAIN if cut else ""
        read = msgspec.structs.replace(volume, label=reader.label, fstype=reader.fstype, finding=cut, next_step=step)
        return Piece(read, found.remarks)
    finally:
        reader.close()


def _next_step(found: Recognised) -> str:
    if found.next_step:
        return found.next_step
    return f"{MOUNTED}; {CHECK_A_COPY}" if any(route.is_mount for route in order(found.fstype)) else CHECK_A_COPY


def truncation(source: ImageSource, volume: Volume, region: Region, own_bytes: int) -> str:
    """A sentence if the table, or else the file system itself, claims more than there is; from geometry alone."""
    missing = volume.offset_bytes + volume.size_bytes - source.size_bytes
    own_missing = volume.offset_bytes + own_bytes - source.size_bytes
    if missing > 0 and region.is_partition and own_bytes and own_missing <= 0:
        return (
            f"the partition reaches {missing} bytes beyond the end of the image, "
            "but its file system ends before: nothing of it is missing"
        )
    if missing > 0:
        what = "partition" if region.is_partition else "volume"
        return f"the {what} reaches {missing} bytes beyond the end of the image: what lies inside is read"
    if own_bytes > volume.size_bytes:
        more = own_bytes - volume.size_bytes
        return f"the file system reaches {more} bytes beyond the end of its partition: what lies inside is read"
    return ""


def _as_finding(volume: Volume, sentence: str, next_step: str) -> Volume:
    return msgspec.structs.replace(
        volume, route=Route.NONE, status=VolumeStatus.FINDING, finding=sentence, next_step=next_step
    )


def _joined(*sentences: str) -> str:
    return "; ".join(filter(None, sentences))
