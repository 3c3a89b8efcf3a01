"""Store and archives -> what is no longer what was stored: every byte is read again and hashed; then it is healed.

What is whole has the time of that in its row. What is rotten is read anew from an image, or from the image in an
archive, of a medium that had it; what nobody has any more is a finding of every medium that needs it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import anyio.to_thread
import msgspec

from ntt.db.connection import Database
from ntt.db.media import Medium
from ntt.db.scrub_runs import ALL, ScrubRun, ScrubRuns
from ntt.db.scrubbing import AgedBlob, RecordedArchive, Rotten, Scope, Scrub, scrubbing
from ntt.db.verifying import StoredBlob, holders_of
from ntt.errors import MediumError, UsageError
from ntt.operations.located import Located, located
from ntt.operations.pace import Pace
from ntt.operations.renewing import Renewer
from ntt.progress import Stop
from ntt.store.archives import read_members
from ntt.store.layout import BlobLocation, StoreLayout
from ntt.store.reading import BlobDamaged, BlobReader
from ntt.store.unpacking import IMAGE_MEMBER

LISTED = 1_000  # blobs in a report; the totals count on
FILES = 20  # of a blob in a report, and of a blob and medium as findings
SETTLE_S = 10.0  # the most reading that is done again after a crash
FINISHED, INTERRUPTED, TIME_IS_UP = "finished", "interrupted", "time_is_up"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be read: one medium, everything (also `oldest_first`), or a `sample`; how fast, and how long.

    A run over one medium or everything goes on where it was cut short the last time, unless it is asked for `anew`.
    """

    medium: Medium | None = None
    sample: int | None = None
    oldest_first: bool = False
    anew: bool = False
    bytes_per_s: float | None = None
    limit_s: float | None = None

    @property
    def name(self) -> str:
        if self.medium is not None:
            return "medium"
        return "sample" if self.sample is not None else "oldest" if self.oldest_first else ALL

    @property
    def can_go_on(self) -> bool:
        return self.sample is None and not self.oldest_first


@dataclass(slots=True)
class Seen:
    """How far it is; of archives the bytes of the images in them count."""

    blobs: int = 0
    bytes: int = 0
    archives: int = 0
    damaged: int = 0
    blobs_total: int = 0
    bytes_total: int = 0


class DamagedBlob(msgspec.Struct, frozen=True):
    """A blob that the store no longer holds as it was, and that nobody else had.

    `examples`: the first 20 files that need it, `reason` of each is its medium; `not_healed`: what was tried.
    """

    blob: str
    size: int
    pack_id: int | None
    reason: str
    examples: tuple[Located, ...]
    not_healed: str


class HealedBlob(msgspec.Struct, frozen=True):
    """A blob that was damaged and is whole again, read from this medium's image."""

    blob: str
    size: int
    medium_hash: str


class DamagedArchive(msgspec.Struct, frozen=True):
    medium_hash: str
    archive: str
    reason: str


class VerifyReport(msgspec.Struct, frozen=True):
    """What was read, whole or not. Lists end after 1,000 blobs, totals count all.

    `scope`: "medium", "all", "oldest" or "sample". `ended`: "finished", "interrupted" or "time_is_up"; then
    `blobs_left` were not read. `since`: when the run began that this one goes on with; None: it is a run of its own.
    """

    scope: str
    blobs: int
    bytes: int
    archives: int
    damaged: tuple[DamagedBlob, ...]
    damaged_total: int
    healed: tuple[HealedBlob, ...]
    healed_total: int
    damaged_archives: tuple[DamagedArchive, ...]
    ended: str
    blobs_left: int
    since: datetime | None

    @property
    def clean(self) -> bool:
        """Nothing is missing now; something may have been."""
        return not (self.damaged_total or self.damaged_archives)


class _Reading:
    """Reads blobs in a thread, one after the other."""

    def __init__(self, store: StoreLayout, pace: Pace, ends: Callable[[], bool]) -> None:
        self._store = store
        self._pace = pace
        self._ends = ends
        self._reader = BlobReader(store, from_disk=True)

    def read(self, page: list[AgedBlob]) -> tuple[list[StoredBlob], list[Rotten]]:
        """Whole and rotten ones; it stops early when it is time to settle them, or to end."""
        whole: list[StoredBlob] = []
        rotten: list[Rotten] = []
        started = time.monotonic()
        for aged in page:
            if (whole or rotten) and (self._ends() or time.monotonic() - started >= SETTLE_S):
                break
            if reason := self._damage(aged.blob) and self._damage(aged.blob, again=True):
                rotten.append(Rotten(aged.blob, reason))
            else:
                whole.append(aged.blob)
        return whole, rotten

    def _damage(self, blob: StoredBlob, *, again: bool = False) -> str:
        """What is wrong with it; empty when it is whole. A disk may have failed just once."""
        if again:
            self._reader.close()
        try:
            for chunk in self._reader.chunks(
                BlobLocation(blob.blob_hash, blob.size_bytes, blob.pack_id, blob.pack_offset)
            ):
                self._pace.passed(0 if again else len(chunk))
        except BlobDamaged as damage:
            return str(damage)
        return ""

    def close(self) -> None:
        self._reader.close()


@dataclass(slots=True)
class _Round:
    """A run under way."""

    scrub: Scrub
    seen: Seen
    ends: Callable[[], bool]
    pace: Pace
    advance: Callable[[Seen], None]
    archives: list[RecordedArchive]
    damaged_archives: list[DamagedArchive] = field(default_factory=list)

    def moved(self, bytes_read: int) -> None:
        self.seen.bytes = bytes_read
        self.advance(self.seen)


async def verify(
    database: Database,
    store: StoreLayout,
    asked: Asked,
    *,
    renewer: Renewer | None,
    advance: Callable[[Seen], None],
    stop: Stop,
) -> VerifyReport:
    """Reads it all, in the order of the store. Without a `renewer` what is rotten stays so.

    Whatever ends it, what was read until then is settled: an end asked for by `stop`, or by the limit of time, ends it
    between two contents, and a report tells what was found. UsageError for a sample below 1 and a rate or time of 0;
    BusyError when everything is being read by another process; StoreError when the store cannot be written.
    """
    if any(value is not None and value <= 0 for value in (asked.bytes_per_s, asked.limit_s)):
        raise UsageError("nothing can be read at that rate or in that time", "give more than 0")
    runs = ScrubRuns(database)
    medium_id = None if asked.medium is None else asked.medium.id
    resumed = asked.can_go_on and not asked.anew
    since = await runs.unfinished_since(medium_id, asked.name) if resumed else None
    deadline = None if asked.limit_s is None else time.monotonic() + asked.limit_s

    def ends() -> bool:
        return stop.requested or (deadline is not None and time.monotonic() >= deadline)

    scope = Scope(medium_id, asked.sample, asked.oldest_first, since)
    async with runs.run(medium_id, asked.name, since) as run, scrubbing(database, scope) as scrub:
        blobs, size_bytes = await scrub.totals()
        archives = await scrub.archives()
        seen = Seen(blobs_total=blobs, bytes_total=size_bytes + sum(one.image_bytes for one in archives))
        this = _Round(scrub, seen, ends, Pace(asked.bytes_per_s, lambda size: this.moved(size)), advance, archives)
        try:
            await _read_all(store, this, oldest_first=asked.oldest_first)
        finally:
            _count(run, seen)
        run.cut_short = seen.blobs < blobs or bool(this.archives)
        if renewer is not None and seen.damaged and not stop.requested:
            try:
                await renewer.heal(scrub, stop)
            finally:
                run.counts["healed"] = renewer.healed_total
                run.cut_short = run.cut_short or stop.requested
                await scrub.record_findings(FILES)
        else:
            await scrub.record_findings(FILES)
        ended = FINISHED if not run.cut_short else INTERRUPTED if stop.requested else TIME_IS_UP
        return await _report(database, this, renewer, asked.name, ended, since)


def _count(run: ScrubRun, seen: Seen) -> None:
    run.counts |= {"blobs": seen.blobs, "bytes": seen.bytes, "archives": seen.archives, "damaged": seen.damaged}


async def _read_all(store: StoreLayout, this: _Round, *, oldest_first: bool) -> None:
    reading = _Reading(store, this.pace, this.ends)
    try:
        async for page in this.scrub.pages():
            while page and not this.ends():
                if oldest_first and this.archives and this.archives[0].checked < page[0].checked:
                    await _read_archive(this, this.archives.pop(0))
                    continue
                whole, rotten = await anyio.to_thread.run_sync(reading.read, page)
                await this.scrub.whole(whole)
                await this.scrub.rotten(rotten)
                del page[: len(whole) + len(rotten)]
                this.seen.blobs += len(whole) + len(rotten)
                this.seen.damaged += len(rotten)
                this.moved(this.pace.bytes)
            if this.ends():
                return
        while this.archives and not this.ends():
            await _read_archive(this, this.archives.pop(0))
            this.moved(this.pace.bytes)
    finally:
        reading.close()


async def _read_archive(this: _Round, archive: RecordedArchive) -> None:
    reason = await _archive_damage(archive, this.pace.passed)
    this.seen.archives += 1
    if reason:
        this.damaged_archives.append(DamagedArchive(archive.medium_hash, archive.path, reason))
        await this.scrub.archive_damaged(archive, reason)
    else:
        await this.scrub.archive_whole(archive)


async def _archive_damage(archive: RecordedArchive, passed: Callable[[int], None]) -> str:
    if not Path(archive.path).is_file():
        return "is not there"
    try:
        members = await read_members(Path(archive.path), advance=passed)
    except MediumError as error:
        return str(error)
    held = {member.name: member.content_hash for member in members}
    image = held.get(f"{archive.medium_hash}/{IMAGE_MEMBER}")
    if image is None:
        return f"holds no {IMAGE_MEMBER} of this medium"
    return "" if image == archive.image_hash else f"holds another image (BLAKE3 {image})"


async def _report(
    database: Database, this: _Round, renewer: Renewer | None, scope: str, ended: str, since: datetime | None
) -> VerifyReport:
    seen = this.seen
    return VerifyReport(
        scope=scope,
        blobs=seen.blobs,
        bytes=seen.bytes,
        archives=seen.archives,
        damaged=await _with_files(database, await this.scrub.still_rotten(LISTED), renewer),
        damaged_total=await this.scrub.rotten_total(),
        healed=tuple(
            HealedBlob(blob.blob_hash.hex(), blob.size_bytes, medium_hash)
            for blob, medium_hash in (renewer.healed if renewer is not None else [])
        ),
        healed_total=renewer.healed_total if renewer is not None else 0,
        damaged_archives=tuple(this.damaged_archives),
        ended=ended,
        blobs_left=seen.blobs_total - seen.blobs,
        since=since,
    )


async def _with_files(database: Database, rotten: list[Rotten], renewer: Renewer | None) -> tuple[DamagedBlob, ...]:
    holders = await holders_of(database, [one.blob.id for one in rotten], FILES)
    failures = renewer.failures if renewer is not None else {}
    found: list[DamagedBlob] = []
    for one in rotten:
        mine = [holder for holder in holders if holder.blob_id == one.blob.id]
        why = dict.fromkeys(failures.get(holder.medium_hash, "") for holder in mine)
        found.append(
            DamagedBlob(
                one.blob.blob_hash.hex(),
                one.blob.size_bytes,
                one.blob.pack_id,
                one.reason,
                tuple(located(holder.path, holder.medium_hash) for holder in mine),
                "; ".join(filter(None, why)),
            )
        )
    return tuple(found)
