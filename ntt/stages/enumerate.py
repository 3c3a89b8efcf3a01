"""Image -> layout and entries -> rows: walked by fenced workers, by readers first, then by mounts; one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ntt.db.connection import Database
from ntt.db.health import NO_VOLUME
from ntt.db.loading import Load, Loaded, Problem, load
from ntt.errors import MediumError
from ntt.listing_problems import (
    incomplete_listing,
    lost_tables,
    no_files,
    restricted,
    short_listing,
    table_problem,
    unread_run_out,
    unrecognised,
    unreplayed,
    volume_problem,
    walk_problem,
)
from ntt.model import Layout, MountedRoot, Route, Volume, VolumeStatus
from ntt.mounts.session import MountLimits, MountSession, mount_session
from ntt.ranges import Ranges
from ntt.readers.detection.pieces import AGAIN
from ntt.readers.lister import Lister, Listing, Walked
from ntt.readers.messages import Found, Survey
from ntt.readers.surface import merged_cells
from ntt.routes import disagreement, next_routes

PROBLEM_LIMIT = 10_000  # rows per medium; a directory of garbage must not fill the catalogue


@dataclass(frozen=True, slots=True)
class ListedImage:
    """What is to be listed. `unread` holds all beyond the end of the file too, `cue` the cue sheet beside it."""

    medium_id: int
    fd: int
    size_bytes: int
    claimed_bytes: int
    unread: Ranges
    cue: str = ""
    file_name: str = ""


@dataclass(frozen=True, slots=True)
class ListingLimits:
    """`memory_bytes` limits a worker, `stall_s` without a sign of life ends it.

    A walk that took longer than `slow_s` at fewer than `slow_per_s` entries a second is a problem of the medium.
    `only_route`: volumes are read by this route or not at all.
    """

    memory_bytes: int
    stall_s: float
    slow_s: float = 60.0
    slow_per_s: float = 500.0
    only_route: Route | None = None


class EnumerateStage:
    """`work` is a folder of this run for what has to be unpacked before it can be listed."""

    def __init__(self, database: Database, limits: ListingLimits, mounts: MountLimits, work: Path) -> None:
        self._database = database
        self._limits = limits
        self._mount_limits = mounts
        self._work = work

    async def run(
        self,
        image: ListedImage,
        advance: Callable[[Loaded], None],
        require_unchanged: Callable[[], None],
        *,
        keep_names: bool = False,
    ) -> tuple[tuple[Volume, ...], Loaded]:
        """Everything is in the database with `enum_done` when it returns; nothing when it raises.

        A volume whose reader dies, hangs, or finds less than the file system counts is tried by the next route,
        and what came of it is recorded. MediumError when not even the layout could be found out, NamesLost when less is
        named than before where that is to be kept (`keep_names`).
        """
        async with load(self._database, image.medium_id, keep_names=keep_names) as loading:
            walker = _Walker(image, Lister(image.fd, self._limits.memory_bytes, self._limits.stall_s), loading, advance)
            layout, walks = await self._by_readers(image, walker)
            volumes, problems = await self._by_mounts(image, walker, layout.volumes, walks)
            await loading.volumes(volumes)
            problems = [
                *map(table_problem, layout.remarks),
                *(volume_problem(volume) for volume in volumes if volume.finding),
                *problems,
                *walker.left_out(),
            ]
            problems += filter(None, (self._slow(index, walk, loading) for index, walk in walks.items()))
            problems += [unreplayed(index) for index, walk in walks.items() if walk.journal_pending]
            problems += await self._surface(image, layout, walks, loading)
            if not loading.loaded.files:
                problems.append(no_files(volumes, loading.loaded))
            await loading.problems(problems)
            require_unchanged()
        return volumes, loading.loaded

    async def _surface(
        self, image: ListedImage, layout: Layout, walks: Mapping[int, Walked], loading: Load
    ) -> list[Problem]:
        """Records what the unread bytes hit of the file systems themselves, and where everything lies."""
        tables = lost_tables(layout, image.claimed_bytes, image.unread)
        accounts = {index: walk.account for index, walk in walks.items()}
        run_out = unread_run_out(layout.volumes, accounts, image.claimed_bytes, image.unread)
        await loading.lost(NO_VOLUME, (*tables, *run_out), None)
        problems = [incomplete_listing(NO_VOLUME, tables, ())]
        for index, walk in walks.items():
            lost = walk.account.lost
            await loading.lost(index, lost, walk.account.unread_used)
            inodes = [structure.ino for structure in lost if structure.what == "directory" and structure.ino >= 0]
            problems.append(incomplete_listing(index, lost, await loading.paths(index, inodes)))
        await loading.cells(merged_cells([account.cells for account in accounts.values()]))
        return list(filter(None, problems))

    def _slow(self, index: int, walk: Walked, loading: Load) -> Problem | None:
        rate = loading.loaded_of(index).names / max(walk.seconds, 1e-3)
        if walk.seconds <= self._limits.slow_s or rate >= self._limits.slow_per_s:
            return None
        detail = (
            f"volume {index} was listed at {rate:,.0f} entries/s: its structures may be damaged, some may be missing"
        )
        step = "compare the number of files with what is expected; image the medium again if it still can be read"
        return Problem("slow_enumeration", detail, step, index)

    async def _by_readers(self, image: ListedImage, walker: _Walker) -> tuple[Layout, dict[int, Walked]]:
        """The layout, and how the walk of each readable volume went. A worker that dies costs one volume at most.

        MediumError when no layout was found, and not the image is at fault.
        """
        only = self._limits.only_route
        request = Survey(image.unread, image.claimed_bytes, image.cue, image.file_name, only=only)
        listing = await walker.walk(request)
        if listing.layout is None and not listing.stalled:
            listing = await walker.walk(request)
        layout = listing.layout
        if layout is None:
            if not listing.by_image:
                raise MediumError(f"listing the files failed: {listing.death}", "run the same command again")
            layout = unrecognised(image.claimed_bytes, listing.death)
        layout = restricted(layout, only)
        walks = dict(listing.walked)
        waiting = [v for v in layout.volumes if v.status is VolumeStatus.READ and v.index not in walks]
        while waiting:
            victim, *waiting = waiting
            walks[victim.index] = await _again(walker, victim, listing)
            listing = await walker.walk(walker.of(waiting)) if waiting else Listing()
            walks.update(listing.walked)
            waiting = [volume for volume in waiting if volume.index not in walks]
        return layout, walks

    async def _by_mounts(
        self,
        image: ListedImage,
        walker: _Walker,
        volumes: Sequence[Volume],
        walks: dict[int, Walked],
    ) -> tuple[tuple[Volume, ...], list[Problem]]:
        """Volumes that no reader lists, or whose listing is not to be trusted alone, by the routes that are left."""
        doubts = {
            volume.index: disagreement(
                walker.loading.loaded_of(volume.index).nodes - 1,
                walks[volume.index].counted,
                walks[volume.index].failure,
            )
            for volume in volumes
            # what is missing for want of bytes that were not read, no other route has: it would read what stands there
            if volume.index in walks and all(lost.spare for lost in walks[volume.index].account.lost)
        }
        routes = {
            volume.index: found
            for volume in volumes
            if (volume.status is VolumeStatus.FINDING or doubts.get(volume.index))
            and (found := _mount_routes(volume, self._limits.only_route))
        }
        final: list[Volume] = []
        problems: list[Problem] = []
        if not routes:
            problems += [short_listing(v, doubts[v.index], v.tried) for v in volumes if doubts.get(v.index)]
            return tuple(volumes), problems
        wanted = [volume for volume in volumes if volume.index in routes]
        self._work.mkdir(parents=True, exist_ok=True)
        async with mount_session(image.fd, image.size_bytes, wanted, routes, self._work, self._mount_limits) as session:
            for volume in volumes:
                doubt = doubts.get(volume.index, "")
                if volume.index in routes:
                    volume = await self._mounted(walker, session, volume, doubt, problems)
                elif doubt:
                    problems.append(short_listing(volume, doubt, volume.tried))
                final.append(volume)
        return tuple(final), problems

    async def _mounted(
        self,
        walker: _Walker,
        session: MountSession,
        volume: Volume,
        doubt: str,
        problems: list[Problem],
    ) -> Volume:
        """The volume as the mount lists it, or as it was, with the routes that were tried."""
        refused = session.refused.get(volume.index)
        if refused is not None:
            tried = (*volume.tried, *refused.tried)
            if volume.status is VolumeStatus.READ:
                problems.append(short_listing(volume, doubt, tried))
                return msgspec.structs.replace(volume, tried=tried)
            step = refused.next_step or volume.next_step
            return msgspec.structs.replace(volume, tried=tried, next_step=step)
        mounted = session.mounted[volume.index]
        as_mounted = msgspec.structs.replace(
            volume, route=mounted.route, status=VolumeStatus.READ, **_cut(volume, walker.image_bytes)
        )
        root = {volume.index: MountedRoot(mounted.root_fd, mounted.kind)}
        found = await walker.instead(as_mounted, root)
        problems += [Problem("mount", remark, "", volume.index) for remark in mounted.remarks]
        if found is None:
            tried = (*volume.tried, f"{mounted.how}: it lists no more")
            if doubt:
                problems.append(short_listing(volume, doubt, tried))
            return msgspec.structs.replace(volume, tried=tried)
        first = f"{volume.route.value}: {doubt}" if doubt else ""
        if doubt:
            detail = f"{doubt}; it was read through {mounted.how} instead"
            problems.append(Problem("second_opinion", detail, "", volume.index))
        if found.failure:
            problems.append(short_listing(as_mounted, f"the listing ended early: {found.failure}", ()))
        return msgspec.structs.replace(as_mounted, tried=(*volume.tried, *filter(None, (first,))))


def _cut(volume: Volume, image_bytes: int) -> dict[str, str]:
    """What stays to be said of a volume once it is mounted; a driver is shown zeros where the image has ended."""
    missing = volume.offset_bytes + volume.size_bytes - image_bytes
    if missing <= 0:
        return {"finding": "", "next_step": ""}
    finding = f"the volume reaches {missing} bytes beyond the end of the image: what lies inside is read"
    return {"finding": finding, "next_step": AGAIN}


def _mount_routes(volume: Volume, only: Route | None) -> tuple[Route, ...]:
    if volume.sector_bytes:  # the kernel knows nothing of raw sectors
        return ()
    routes = (route for route in next_routes(volume.fstype, volume.route) if route.is_mount)
    return tuple(route for route in routes if only in (None, route))


class _Walker:
    """Walks of one image into one load."""

    def __init__(self, image: ListedImage, lister: Lister, loading: Load, advance: Callable[[Loaded], None]) -> None:
        self._image = image
        self._lister = lister
        self._advance = advance
        self._problems = 0
        self.loading = loading

    @property
    def image_bytes(self) -> int:
        return self._image.size_bytes

    def of(self, volumes: Sequence[Volume], roots: dict[int, MountedRoot] | None = None) -> Survey:
        """To walk these volumes only."""
        image = self._image
        return Survey(image.unread, image.claimed_bytes, volumes=tuple(volumes), roots=roots or {})

    async def walk(self, request: Survey) -> Listing:
        return await self._lister.walk(request, self)

    async def instead(self, volume: Volume, roots: dict[int, MountedRoot] | None = None) -> Walked | None:
        """The volume walked anew; what it had is replaced if now there is more, or all. None: it stays as it was."""
        before = self.loading.loaded_of(volume.index).names
        async with self.loading.instead(volume.index) as keep:
            listing = await self.walk(self.of([volume], roots))
            walked = listing.walked.get(volume.index) or Walked(listing.death or "it was not listed")
            names = self.loading.loaded_of(volume.index).names
            if names > before or (not walked.failure and names == before):
                keep()
                return walked
        return None

    async def take(self, found: Found) -> None:
        await self.loading.entries(found.volume, found.entries)
        kept = found.problems[: max(0, PROBLEM_LIMIT - self._problems)]
        await self.loading.problems([walk_problem(found.volume, problem) for problem in kept])
        self._problems += len(found.problems)
        self._advance(self.loading.loaded)

    def left_out(self) -> list[Problem]:
        if self._problems <= PROBLEM_LIMIT:
            return []
        detail = f"{self._problems:,} problems of the listing in all; the first {PROBLEM_LIMIT:,} are kept"
        return [Problem("many_problems", detail)]


async def _again(walker: _Walker, volume: Volume, listing: Listing) -> Walked:
    """After a worker died in the volume: once more from its beginning, unless it had hung."""
    failed = Walked(listing.death or "it was not listed")
    if listing.stalled:
        return failed
    return await walker.instead(volume) or failed
