"""Surfaces of media as the catalogue knows them, without a catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from ntt.db.media import Medium
from ntt.db.paths import Key
from ntt.db.surface import HitFile, MediumSurface
from ntt.model import LostStructure, Route, Volume, VolumeStatus
from ntt.operations.surface import SurfaceMap, surface_map
from ntt.operations.surface_plot import Plot
from ntt.ranges import Ranges, total

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
CELLS = 4096


def medium_of(
    claimed_bytes: int, unread: Ranges = (), map_text: str | None = None, image_bytes: int | None = None,
    unread_bytes: int | None = None, human: str = "box 12, disc 3", health: str = "incomplete",
) -> Medium:  # fmt: skip
    return Medium(
        id=1,
        medium_hash="9f3a" * 8,
        identity="natural",
        human=human,
        added_at=NOON,
        image_path=None,
        image_hash="0" * 64,
        image_bytes=claimed_bytes if image_bytes is None else image_bytes,
        claimed_bytes=claimed_bytes,
        unread=unread,
        unread_bytes=total(unread) if unread_bytes is None else unread_bytes,
        health=health,
        map_text=map_text,
        enum_done=NOON,
        copy_done=NOON,
        archive_done=None,
        archive_path=None,
        message=None,
        sample_hash=None,
    )


def volume_at(index: int, start: int, end: int) -> Volume:
    return Volume(index, "mbr", start, end - start, "ext4", Route.TSK, VolumeStatus.READ)


def map_text_of(*blocks: tuple[int, int, str]) -> str:
    """A mapfile of blocks (start, end, status), which must join each other."""
    lines = ["# Mapfile. Created by GNU ddrescue version 1.27", "0x00000000     ?               1"]
    lines += [f"0x{start:08X}  0x{end - start:08X}  {status}" for start, end, status in blocks]
    return "\n".join(lines) + "\n"


def surface_with(
    medium: Medium, volumes: Sequence[Volume] = (), used: Mapping[int, Ranges | None] | None = None,
    structures: Sequence[tuple[int, LostStructure]] = (), files: Sequence[HitFile] = (), cells: bytes = b"",
) -> MediumSurface:  # fmt: skip
    return MediumSurface(medium, cells, tuple(volumes), dict(used or {}), tuple(structures), tuple(files))


def drawn(surface: MediumSurface, wanted: int, paths: Mapping[Key, bytes] | None = None) -> SurfaceMap:
    return surface_map(surface, Plot(surface, wanted), paths or {})


def every_look(cells: int = 64) -> SurfaceMap:
    """A medium of `cells` KiB whose first 16 KiB are, one by one, of every state and kind, in the order of both."""
    kib = 1024
    unread = ((4 * kib, 16 * kib),)
    blocks = [(0, 4, "+"), (4, 8, "?"), (8, 12, "/"), (12, 16, "-"), (16, cells, "+")]
    text = map_text_of(*((start * kib, end * kib, status) for start, end, status in blocks))
    structures = [(0, LostStructure("inode table", -1, False, tuple((at * kib, (at + 1) * kib) for at in (4, 8, 12))))]
    files = [HitFile(0, 12, False, 3 * kib, tuple((at * kib, (at + 1) * kib) for at in (5, 9, 13)))]
    known = [(at * kib, (at + 1) * kib) for at in (7, 11, 15)]
    volumes = [volume_at(index, start, end) for index, (start, end) in enumerate(known)]
    flags = {0: 1, 1: 2, 2: 0}
    of_cells = bytes(flags.get(at * cells // CELLS, 4) for at in range(CELLS))
    return drawn(
        surface_with(
            medium_of(cells * kib, unread, text), volumes, {v.index: () for v in volumes}, structures, files, of_cells
        ),
        cells,
        {(0, 12): b"a <file> & more"},
    )
