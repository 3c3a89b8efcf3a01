"""A medium that is listed -> its unread bytes read again, in the order of what they are worth, until nothing matters.

First what the file systems themselves lie on, so that the listing is whole; then files whose content is nowhere in
the store, then those that another medium seems to hold; what no file system gives account of; free space only if it
was asked for, and the run-out sectors at the end of a disc only with every trick. Every unread byte is in one domain of
one pass at most: how hard it is tried is a matter of effort.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from ntt.db.connection import Database
from ntt.db.damage import Damage, Unread
from ntt.db.media import Media, Medium
from ntt.model import Effort, VolumeStatus
from ntt.operations.problems import problems_report
from ntt.ranges import Ranges, difference, intersection, normalised
from ntt.store.layout import StoreLayout

ROUNDS = 8  # what is read may show more that is unread: an index block names others, a directory its files
HEAD_BYTES = 1 << 20  # where file systems describe themselves
TAIL_BYTES = 64 << 10


class Source(Protocol):
    """Where the medium is read again."""

    async def read(self, name: str, domain: Ranges) -> bool:
        """Reads what can be read of the unread bytes `domain`. False when nothing more is to be had of it now."""
        ...


@dataclass(frozen=True, slots=True)
class Steps:
    """What is done with the medium in between.

    `follow`: the rows follow what was read since: listed anew where that may show more, files on it pending again.
    `copy`: all that is pending is copied.
    """

    follow: Callable[[], Awaitable[None]]
    copy: Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _Tried:
    """What was in a domain already."""

    ranges: Ranges = ()
    names: list[str] = field(default_factory=list)

    def new(self, name: str, wanted: Ranges) -> Ranges:
        """Of `wanted`, what was not asked for before; it is from now on."""
        fresh = difference(wanted, self.ranges)
        if fresh:
            self.ranges = normalised((*self.ranges, *fresh))
            self.names.append(name)
        return fresh


class Refiner:
    """One medium at a time. `store` is looked at for contents that damaged files may have elsewhere."""

    def __init__(self, database: Database, store: StoreLayout) -> None:
        self._database = database
        self._store = store
        self._damage = Damage(database)
        self._media = Media(database)

    async def run(
        self, medium_id: int, source: Source | None, effort: Effort, steps: Steps, *, free_space: bool
    ) -> None:
        """Everything that is listed is copied as far as it could be read when this returns.

        Without a `source` nothing is read again. What a pass or a step raises ends it.
        """
        tried = _Tried()
        source = await self._structures(medium_id, source, steps, tried)
        await steps.copy()
        for _ in range(ROUNDS):
            if source is None:
                return
            unread = await self._damage.unread(medium_id)
            asked = False
            for name, wanted in [
                *await self._files(medium_id, unread),
                *_others(unread, effort, free_space=free_space),
            ]:
                domain = tried.new(name, wanted)
                if not domain or source is None:
                    continue
                asked = True
                going = await source.read(name, domain)
                await steps.follow()
                await steps.copy()
                if not going:
                    source = None
            if not asked:
                return

    async def _structures(self, medium_id: int, source: Source | None, steps: Steps, tried: _Tried) -> Source | None:
        for _ in range(ROUNDS):
            if source is None:
                break
            unread = await self._damage.unread(medium_id)
            # the maps of free space too: what they do not tell counts as in use
            domain = tried.new("structures", normalised((*unread.structures, *unread.accounts)))
            if not domain:
                medium = await self._media.by_id(medium_id)
                domain = tried.new("beginnings", await self._beginnings(medium, unread))
            if not domain:
                break
            going = await source.read(tried.names[-1], domain)
            await steps.follow()
            if not going:
                source = None
        return source

    async def _beginnings(self, medium: Medium, unread: Unread) -> Ranges:
        """Where volumes that were not recognised would say what they are, and all of them if that is read."""
        wanted: list[tuple[int, int]] = []
        for volume in await self._media.volumes(medium.id):
            if volume.status is VolumeStatus.FINDING:
                start, end = volume.offset_bytes, volume.offset_bytes + volume.size_bytes
                wanted += [(start, start + HEAD_BYTES), (end - TAIL_BYTES, end)]
        return intersection(normalised(wanted), unread.unknown)

    async def _files(self, medium_id: int, unread: Unread) -> list[tuple[str, Ranges]]:
        """Unread bytes of files whose content is not in the store, then of those that may have a clean copy there."""
        if not unread.files:
            return []
        medium = await self._media.by_id(medium_id)
        report = await problems_report(self._database, medium, self._store)
        copied = {(file.volume, file.ino) for file in report.files if file.clean_copies}
        groups: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
        for volume, ino, ranges in await self._damage.files(medium_id):
            groups[(volume, ino) in copied].extend(ranges)
        still = unread.files
        return [
            ("files", intersection(normalised(groups[0]), still)),
            ("files with a clean copy elsewhere", intersection(normalised(groups[1]), still)),
        ]


def _others(unread: Unread, effort: Effort, *, free_space: bool) -> Iterator[tuple[str, Ranges]]:
    yield "what nobody accounts for", unread.unknown
    if unread.structures or effort is Effort.DEEP:  # files that are not listed may lie there
        yield "in use by no listed file", unread.unclaimed
    if effort is Effort.DEEP:
        yield "second copies and journals", unread.spare
        yield "run-out sectors", unread.run_out
    if free_space:
        yield "free space", normalised((*unread.free, *unread.spare, *unread.unclaimed))
