"""All media by all routes: what each gives, as this machine finds it -> the rows of the page."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from catalogue import Catalogue
from database_server import TEMPLATE, DatabaseServer
from filesystem_catalogue import CataloguedVolume, catalogued, started_by_ordinary_user, told_by
from filesystem_discs import disc_sides, iso_discs, raw_discs, udf_discs
from filesystem_layouts import archives, findings, layouts, real_images
from filesystem_media import Medium, Workshop, file_systems, mounted_file_systems
from filesystem_page import BESIDE as BESIDE_TABLE
from filesystem_page import DEFAULTS, NAMED, NOT_MEASURED, OTHERS, Key
from filesystem_places import Placed, placed_by_mount, placed_by_reader, volumes_of
from filesystem_readers import BESIDE, WITHOUT_TIMES, unpacked
from filesystem_trees import Side
from filesystem_verdicts import NONE, Cell, Verdict, blob_of, tree_as_items, verdict
from source_tree import FileSystem, any_name, tree_below

from ntt.model import Route
from ntt.mounts.drivers import DRIVERS, KERNEL, SEVENZIP_NAMES
from ntt.mounts.machine import Machine, ask_machine
from ntt.mounts.plan import programs
from ntt.routes import order

BUILDERS: tuple[tuple[Callable[[Workshop], Iterator[Medium]], str], ...] = (
    (file_systems, "File systems"),
    (mounted_file_systems, "File systems"),
    (iso_discs, "Optical discs"),
    (disc_sides, "Optical discs"),
    (udf_discs, "Optical discs"),
    (raw_discs, "Optical discs"),
    (archives, "Archives"),
    (layouts, "Layouts"),
    (real_images, "Images that others made"),
    (findings, NAMED.title),
)
MOUNTS = (Route.KERNEL, Route.FUSE, Route.SEVENZIP)
# read by the same reader as others of their kind: an ordinary user is not asked to
ALIKE = ("ext2", "ext3", "FAT12", "FAT16", "UFS1", "UDF 2.01 with sparing", "UDF 1.50 with a virtual allocation table")
Volumes = Sequence[CataloguedVolume]


def ways(fstype: str) -> tuple[Route, ...]:
    """The routes for which there is a reader, a type, a driver or a program."""
    drivers = {kind for driver in DRIVERS for kind in driver.fstypes}
    return tuple(route for route in order(fstype) if route is not Route.FUSE or fstype in drivers)


def label(route: Route, fstype: str) -> str:
    """The first of the route's drivers, by which it is reached here."""
    if route is Route.KERNEL:
        return f"kernel: {KERNEL[fstype][0].name}"
    if route is Route.FUSE:
        return f"fuse: {_drivers(fstype)[0][0]}"
    return route.value


def _drivers(fstype: str) -> list[tuple[str, ...]]:
    return [driver.programs for driver in DRIVERS if fstype in driver.fstypes]


@dataclass(slots=True)
class Matrix:
    """What was found. `ordinary` are the media that an ordinary user ingested, too, with what came of it."""

    media: dict[str, list[Medium]]
    machine: Machine
    by_default: dict[str, Volumes] = field(default_factory=dict)
    ordinary: dict[str, Volumes] = field(default_factory=dict)
    forced: dict[tuple[str, Route], CataloguedVolume] = field(default_factory=dict)
    placed: dict[tuple[str, Route], Placed] = field(default_factory=dict)
    beside: dict[tuple[str, str], Verdict] = field(default_factory=dict)
    disagreeing: dict[tuple[str, str], list[bytes]] = field(default_factory=dict)
    rows: dict[Key, Sequence[Cell]] = field(default_factory=dict)

    @property
    def all_media(self) -> list[Medium]:
        return [medium for media in self.media.values() for medium in media]

    def has(self, route: Route, fstype: str) -> bool:
        """Whether this machine has what the route needs."""
        if route is Route.KERNEL:
            return any(kind.name in self.machine.kernel_types for kind in KERNEL[fstype])
        if route is Route.FUSE:
            return any(name in self.machine.programs for name in _drivers(fstype)[0])
        return route is not Route.SEVENZIP or any(name in self.machine.programs for name in SEVENZIP_NAMES)

    def verdict_of(self, side: Side, volume: CataloguedVolume, extents: Cell) -> Verdict:
        found = verdict(side.expected(), side.streams, volume.tree)
        return Verdict(found.names, found.contents, found.times, found.links, extents)

    # ---- rows

    def made_rows(self) -> dict[Key, Sequence[Cell]]:
        """In the order of the page."""
        found: dict[Key, Sequence[Cell]] = {}
        for table in DEFAULTS:
            for medium in self.media[table.title]:
                for without, with_root, cells in self._defaults(medium):
                    found[table.title, medium.name, without, with_root] = cells
        for medium in self.all_media:
            for route in self._others(medium):
                fstype = medium.sides[0].fstype
                found[OTHERS.title, medium.name, label(route, fstype)] = self._by_route(medium, route)
        for (name, reader), seen in self.beside.items():
            found[BESIDE_TABLE.title, name, reader] = [seen.names, seen.contents, seen.times, seen.links]
        for medium in self.media[NAMED.title]:
            (volume,) = self.by_default[medium.name]
            said = re.sub(r" \(UUID [^)]*\)", "", volume.finding.partition("; tried")[0])
            found[NAMED.title, medium.name] = [Cell(volume.fstype), Cell(said), Cell(volume.next_step)]
        return found

    def _defaults(self, medium: Medium) -> Iterator[tuple[str, str, Sequence[Cell]]]:
        fstypes = [side.fstype for side in medium.sides if order(side.fstype)]
        first = [ways(fstype)[0] for fstype in fstypes]
        if all(route.is_reader for route in first):
            name = " + ".join(dict.fromkeys(route.value for route in first))
            yield name, name, self._by_readers(medium)
            return
        (fstype,) = fstypes
        without = next((route for route in ways(fstype) if route is not Route.KERNEL), None)
        if without is not None:  # else it is a finding for all but root
            yield label(without, fstype), "", self._by_route(medium, without)
        yield "", label(first[0], fstype), self._by_route(medium, first[0])

    def _others(self, medium: Medium) -> list[Route]:
        if not medium.forced:
            return []
        possible = ways(medium.sides[0].fstype)
        without = next((route for route in possible if route is not Route.KERNEL), None)
        return [route for route in possible if route not in (possible[0], without)]

    def _by_readers(self, medium: Medium) -> Sequence[Cell]:
        whole = Verdict()
        volumes = volumes_of(medium.image)
        for side, volume, catalogued_volume in zip(medium.sides, volumes, self.by_default[medium.name], strict=True):
            if order(side.fstype):
                places = placed_by_reader(medium.image, volume)
                whole = whole.with_(self.verdict_of(side, catalogued_volume, places.extents))
        return [whole.names, whole.contents, whole.times, whole.links, whole.extents]

    def _by_route(self, medium: Medium, route: Route) -> Sequence[Cell]:
        volume = self.forced.get((medium.name, route))
        if volume is None:
            return [NOT_MEASURED, NONE, NONE, NONE, NONE]
        if volume.status != "read":
            why = volume.tried[-1].partition(": ")[2] if volume.tried else volume.finding
            return [Cell("not read", why), NONE, NONE, NONE, NONE]
        found = self.verdict_of(medium.sides[0], volume, self.placed[medium.name, route].extents)
        return [found.names, found.contents, found.times, found.links, found.extents]


# ---------------------------------------------------------------- found out


def found_out(server: DatabaseServer, work: Path) -> Matrix:
    """Every medium is made, ingested as root and as an ordinary user, and by each other route that this machine has."""
    shop = Workshop(work / "media")
    shop.root.mkdir()
    media: dict[str, list[Medium]] = {}
    for build, title in BUILDERS:
        media.setdefault(title, []).extend(build(shop))
    matrix = Matrix(media, anyio.run(ask_machine, programs()))
    forced = [medium for medium in matrix.all_media if medium.forced]
    usual = [medium for medium in forced if medium.name not in ALIKE]
    ordinary = work / "ordinary"
    process = started_by_ordinary_user(ordinary, [medium.image for medium in usual])
    try:
        with ThreadPoolExecutor(2) as pool:
            default = pool.submit(_ingested, server, work / "default", matrix.all_media)
            others = pool.submit(_force_all, matrix, server, work, forced)
            matrix.by_default = default.result()
            others.result()
        for medium in forced:
            _read_besides(matrix, medium, work / "beside")
        matrix.ordinary = dict(zip((medium.name for medium in usual), told_by(process, ordinary), strict=True))
    finally:
        process.kill()
        process.wait()
    matrix.rows = matrix.made_rows()
    return matrix


def _force_all(matrix: Matrix, server: DatabaseServer, work: Path, media: Sequence[Medium]) -> None:
    for route in MOUNTS:
        _force(matrix, server, work, route, media)


def _ingested(
    server: DatabaseServer, home: Path, media: Sequence[Medium], route: Route | None = None
) -> dict[str, Volumes]:
    with server.database(TEMPLATE) as url:
        found = catalogued(Catalogue(home, url), [medium.image for medium in media], route)
    return dict(zip((medium.name for medium in media), found, strict=True))


def _force(matrix: Matrix, server: DatabaseServer, work: Path, route: Route, media: Sequence[Medium]) -> None:
    chosen = [m for m in media if route in ways(m.sides[0].fstype) and matrix.has(route, m.sides[0].fstype)]
    for name, (volume,) in _ingested(server, work / f"only {route}", chosen, route).items():
        matrix.forced[name, route] = volume
    for medium in chosen:
        (detected,) = volumes_of(medium.image)
        matrix.placed[medium.name, route] = placed_by_mount(medium.image, detected, route, work / "mounts")


def _read_besides(matrix: Matrix, medium: Medium, work: Path) -> None:
    side = medium.sides[0]
    (mine,) = matrix.by_default[medium.name]
    for reader in BESIDE.get(medium.name, ()):
        kind = FileSystem(any_name, False, False, side.keeps.precision_ns, side.keeps.folder_times)
        theirs = tree_below(unpacked(medium, reader, work), kind)
        found = verdict(side.expected(), {}, tree_as_items(theirs))
        times = NONE if reader in WITHOUT_TIMES else found.times
        matrix.beside[medium.name, reader] = Verdict(found.names, found.contents, times, found.links)
        for path in theirs.keys() & mine.tree.keys():
            content, blob = theirs[path].content, mine.tree[path].blob
            if content is not None and stat.S_ISREG(mine.tree[path].mode) and blob_of(content) != blob:
                matrix.disagreeing.setdefault((medium.name, reader), []).append(path)
