"""Catalogue -> a picture of a medium's surface: equal parts, each with what was read of it and what is lost in it."""

from __future__ import annotations

import enum
import heapq
from collections.abc import Iterable, Mapping, Sequence

import anyio.to_thread
import msgspec

from ntt.db.connection import Database
from ntt.db.media import Medium
from ntt.db.paths import Key
from ntt.db.surface import HitFile, MediumSurface, surface_of, surface_paths
from ntt.model import LostStructure
from ntt.names import as_text, exact, printable
from ntt.operations.located import raw_path
from ntt.operations.surface_plot import BAD, FILES, FREE, RESCUED, STRUCTURES, UNFINISHED, UNKNOWN, UNTRIED, Plot
from ntt.ranges import total

NAMED = 20  # of the worst files, and of the lost structures, of the whole medium


class State(enum.StrEnum):
    """What was made of bytes, the worst last. `unfinished`: a read over them failed, not yet each sector alone."""

    RESCUED = "rescued"
    UNTRIED = "untried"
    UNFINISHED = "unfinished"
    BAD = "bad"


class Kind(enum.StrEnum):
    """What bytes are for, what matters most first. `files`: in use, and no known part of the file system itself."""

    STRUCTURES = "structures"
    FILES = "files"
    UNKNOWN = "unknown"
    FREE = "free"


_STATES = {RESCUED: State.RESCUED, UNTRIED: State.UNTRIED, UNFINISHED: State.UNFINISHED, BAD: State.BAD}
_KINDS = {STRUCTURES: Kind.STRUCTURES, FILES: Kind.FILES, UNKNOWN: Kind.UNKNOWN, FREE: Kind.FREE}


class ByState(msgspec.Struct, frozen=True):
    """Bytes."""

    rescued: int
    bad: int
    unfinished: int
    untried: int

    @property
    def unread(self) -> int:
        return self.bad + self.unfinished + self.untried


class ByKind(msgspec.Struct, frozen=True):
    """Unread bytes. Kinds do not overlap: a byte is of the first that it belongs to."""

    structures: int
    files: int
    unknown: int
    free: int


class LostFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file that is not whole; `lost_bytes` are those of the whole file, or of one part of the surface.

    None of one that is in doubt: it may be whole, but nothing tells whether it is.
    """

    path: str
    volume: int
    ino: int
    lost_bytes: int
    failed: bool = False  # nothing of it is kept
    path_b64: str | None = None

    @property
    def raw(self) -> bytes:
        return raw_path(self.path, self.path_b64)


class LostPiece(msgspec.Struct, frozen=True, omit_defaults=True):
    """A structure of a file system on unread bytes. `path`: of the directory or file it belongs to, empty of none."""

    what: str
    volume: int
    lost_bytes: int
    spare: bool = False
    path: str = ""
    path_b64: str | None = None

    @property
    def words(self) -> str:
        """For people, escaped: `directory “photos/1999”, volume 0`."""
        of = f" “{printable(raw_path(self.path, self.path_b64))}”" if self.path else ""
        spare = " (only a spare)" if self.spare else ""
        return f"{printable(self.what)}{of}, volume {self.volume}{spare}"


class SurfaceCell(msgspec.Struct, frozen=True, omit_defaults=True):
    """The bytes `[start, end)`. `state` is the worst in it; `kind` what matters most of its unread bytes, or prevails.

    `holds`: the kinds that lie there by the file systems' own account, read or not; empty: not known.
    `files` and `structures`: those that lose most here, worst first; `more_files` are further ones.
    """

    start: int
    end: int
    state: State
    kind: Kind
    bytes: ByState
    unread: ByKind | None = None  # nothing is unread
    holds: tuple[Kind, ...] = ()
    volume: int | None = None
    files: tuple[LostFile, ...] = ()
    more_files: int = 0
    structures: tuple[LostPiece, ...] = ()
    more_structures: int = 0


class SurfaceMap(msgspec.Struct, frozen=True):
    """The document of `ntt map HASH --json`. `unplaced_files`: of so many it is not known where they are hit."""

    medium_hash: str
    human: str
    health: str
    claimed_bytes: int
    image_bytes: int
    has_map: bool
    is_copied: bool  # until it is, not every file that misses something is known
    bytes: ByState
    unread: ByKind
    files_total: int
    unplaced_files: int
    files: tuple[LostFile, ...]
    structures_total: int
    structures: tuple[LostPiece, ...]
    cells: tuple[SurfaceCell, ...]
    is_listed: bool = True  # until it is, nobody knows what the unread bytes are of

    @property
    def rescued_percent(self) -> str:
        """Rounded down: 100.00 is all of it."""
        hundredths = self.bytes.rescued * 10_000 // max(self.claimed_bytes, 1)
        return f"{hundredths // 100}.{hundredths % 100:02}"

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the picture may not show all there is to know, in sentences for people."""
        unplaced = "1 file is" if self.unplaced_files == 1 else f"{self.unplaced_files:,} files are"
        told = (
            (not self.has_map, "no map came with the image: all that it holds counts as read"),
            (
                not self.is_listed and self.bytes.unread > 0,
                "it is not listed yet: which of its files are hit is not known; run `ntt ingest` again",
            ),
            (
                self.is_listed and not self.is_copied and self.bytes.unread > 0,
                "its files are not all copied yet: which of them are hit is not fully known",
            ),
            (self.unplaced_files > 0, f"where {unplaced} hit is not known: not in the picture"),
        )
        return tuple(sentence for applies, sentence in told if applies)


async def surface_maps(database: Database, medium: Medium, wanted: Sequence[int]) -> list[SurfaceMap]:
    """One picture for each number of cells that is wanted; of a small medium with fewer: no cell is below 512 bytes."""
    surface = await surface_of(database, medium)
    plots = [await anyio.to_thread.run_sync(Plot, surface, count) for count in wanted]
    paths = await surface_paths(database, medium.id, keys_of(surface, plots))
    return [await anyio.to_thread.run_sync(surface_map, surface, plot, paths) for plot in plots]


def keys_of(surface: MediumSurface, plots: Iterable[Plot]) -> set[Key]:
    """The inodes that pictures name."""
    files, structures = set(_worst_files(surface)), set(_worst_structures(surface))
    for plot in plots:
        files |= {owner for worst in plot.files.of for _, owner in worst}
        structures |= {owner for worst in plot.structures.of for _, owner in worst}
    keys = {(surface.files[at].volume, surface.files[at].ino) for at in files}
    lost = (surface.structures[at] for at in structures)
    return keys | {(volume, one.ino) for volume, one in lost if one.ino >= 0}


def surface_map(surface: MediumSurface, plot: Plot, paths: Mapping[Key, bytes]) -> SurfaceMap:
    """The picture of `plot`, with the names of what it names; an inode without a name is told by its number."""
    names = _Names(surface, paths)
    medium = surface.medium
    files, structures = _worst_files(surface), _worst_structures(surface)
    return SurfaceMap(
        medium_hash=medium.medium_hash,
        human=medium.human,
        health=medium.health,
        claimed_bytes=medium.claimed_bytes,
        image_bytes=medium.image_bytes,
        has_map=medium.map_text is not None,
        is_copied=medium.copy_done is not None,
        bytes=_by_state(medium.claimed_bytes, [sum(counts) for counts in plot.states]),
        unread=_by_kind([sum(counts) for counts in plot.kinds]),
        files_total=len(surface.files),
        unplaced_files=sum(not file.unread for file in surface.files),
        files=tuple(names.file(at, surface.files[at].lost_bytes) for at in files),
        structures_total=len(surface.structures),
        structures=tuple(names.piece(at, total(surface.structures[at][1].ranges)) for at in structures),
        cells=tuple(_cell(plot, part, names) for part in range(plot.parts.count)),
        is_listed=medium.enum_done is not None,
    )


def _worst_files(surface: MediumSurface) -> list[int]:
    files = surface.files
    return heapq.nsmallest(NAMED, range(len(files)), key=lambda at: (-files[at].lost_bytes, at))


def _worst_structures(surface: MediumSurface) -> list[int]:
    """What nothing is missed without comes last."""

    def order(at: int) -> tuple[bool, int, int]:
        lost = surface.structures[at][1]
        return lost.spare, -total(lost.ranges), at

    return heapq.nsmallest(NAMED, range(len(surface.structures)), key=order)


class _Names:
    """Owners of ranges as they are told; each name is made once."""

    def __init__(self, surface: MediumSurface, paths: Mapping[Key, bytes]) -> None:
        self._files: Sequence[HitFile] = surface.files
        self._structures: Sequence[tuple[int, LostStructure]] = surface.structures
        self._paths = paths
        self._texts: dict[Key, tuple[str, str | None]] = {}

    def file(self, at: int, lost_bytes: int) -> LostFile:
        file = self._files[at]
        path, path_b64 = self._named(file.volume, file.ino)
        return LostFile(path, file.volume, file.ino, lost_bytes, file.failed, path_b64)

    def piece(self, at: int, lost_bytes: int) -> LostPiece:
        volume, lost = self._structures[at]
        path, path_b64 = ("", None) if lost.ino < 0 else self._named(volume, lost.ino)
        return LostPiece(lost.what, volume, lost_bytes, lost.spare, path, path_b64)

    def _named(self, volume: int, ino: int) -> tuple[str, str | None]:
        key = (volume, ino)
        if key not in self._texts:
            path = self._paths.get(key)
            if path is None:
                self._texts[key] = f"inode {ino}", None
            else:
                self._texts[key] = as_text(path) or "/", exact(path)
        return self._texts[key]


def _cell(plot: Plot, part: int, names: _Names) -> SurfaceCell:
    start, end = plot.parts.begins(part), plot.parts.begins(part + 1)
    states = [counts[part] for counts in plot.states]
    kinds = [counts[part] for counts in plot.kinds]
    held = plot.kinds_of_read[part]
    unread = any(kinds)
    kind = next(k for k in _KINDS if kinds[k]) if unread else held[0] if held else UNKNOWN
    files, structures = plot.files.of[part], plot.structures.of[part]
    return SurfaceCell(
        start=start,
        end=end,
        state=next((_STATES[s] for s in (BAD, UNFINISHED, UNTRIED) if states[s]), State.RESCUED),
        kind=_KINDS[kind],
        bytes=_by_state(end - start, states),
        unread=_by_kind(kinds) if unread else None,
        holds=tuple(_KINDS[k] for k in held),
        volume=plot.volumes[part],
        files=tuple(names.file(owner, lost) for lost, owner in files),
        more_files=plot.files.counts[part] - len(files),
        structures=tuple(names.piece(owner, lost) for lost, owner in structures),
        more_structures=plot.structures.counts[part] - len(structures),
    )


def _by_state(size_bytes: int, states: Sequence[int]) -> ByState:
    return ByState(size_bytes - sum(states), states[BAD], states[UNFINISHED], states[UNTRIED])


def _by_kind(kinds: Sequence[int]) -> ByKind:
    return ByKind(kinds[STRUCTURES], kinds[FILES], kinds[UNKNOWN], kinds[FREE])
