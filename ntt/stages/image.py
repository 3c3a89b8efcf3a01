"""Device, or a file that is hard to read -> image + map: once over it, then again where somebody says it matters."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ntt.db.loading import Problem
from ntt.errors import Interrupted, MediumError
from ntt.identity import Scan
from ntt.model import AcceptedImage, Effort, Order, PassEnd, PassRecord
from ntt.names import printable
from ntt.progress import Stop, Work
from ntt.ranges import Ranges, difference, total
from ntt.rescue.hashing import PrefixHash
from ntt.rescue.merging import merged
from ntt.rescue.passes import first_pass, further_passes
from ntt.rescue.resuming import resumed
from ntt.rescue.running import Limits, Progress, run_pass
from ntt.rescue.source import Source, probe
from ntt.rescue.working import WorkingImage, WorkingImages
from ntt.tools.ddrescue import Flags

FIRST = "everything"
DIFFERENT = 0.01  # of what two passes both read: more than this that differs, and they are two media
_ON = (PassEnd.FINISHED, PassEnd.ENOUGH)


Hardware = Callable[[Path], Awaitable[dict[str, str]]]


class Imaged(Protocol):
    """An image and its map, of which more may have been read since its medium was loaded; see `Imaging`."""

    effort: Effort | None
    changed: bool
    going: bool

    @property
    def order(self) -> Order: ...

    @property
    def image(self) -> Path: ...

    @property
    def passes(self) -> tuple[PassRecord, ...]: ...

    @property
    def first(self) -> PassRecord | None: ...

    def stopped(self) -> Problem | None: ...


@dataclass(slots=True)
class AsItIs:
    """A user's own image and map: nothing more is read into it."""

    order: Order
    effort: Effort | None = None
    changed: bool = False
    going: bool = False
    passes: tuple[PassRecord, ...] = ()
    first: PassRecord | None = None

    @property
    def image(self) -> Path:
        return self.order.image

    def stopped(self) -> Problem | None:
        return None


class Imaging:
    """An image of NTT's own while this process has it; with a `source` more of it may be read.

    `first`: what this run's pass over the whole medium did, None where that was done before. `scan`: of the image as
    it is, if it was hashed while it was read. `changed`: something was read since. `going`: the source still answers.
    """

    def __init__(
        self,
        working: WorkingImage,
        source: Source | None,
        effort: Effort | None,
        limits: Limits,
        hardware_of: Hardware,
    ) -> None:
        self._working = working
        self._hardware_of = hardware_of
        self._source = source
        self._limits = limits
        self._hardware: dict[str, str] = {}
        self._superfluous = False
        self.effort = effort
        self.first: PassRecord | None = None
        self.scan: Scan | None = None
        self.changed = False
        self.going = source is not None
        self.disagreements: Ranges = ()

    @property
    def name(self) -> str:
        """What people know it by."""
        path = self._source.path if self._source is not None else self._working.path
        return printable(os.fsencode(path.name))

    @property
    def image(self) -> Path:
        return self._working.path

    @property
    def order(self) -> Order:
        """Image and map, as a user would name them."""
        return Order(self._working.path, self._working.map_path)

    @property
    def medium_hash(self) -> str | None:
        """Whose image it is, once that is known."""
        return self._working.state.medium_hash

    @property
    def passes(self) -> tuple[PassRecord, ...]:
        """All that were ever made, in order."""
        return self._working.state.passes

    def belongs_to(self, medium_hash: str) -> None:
        if self.medium_hash != medium_hash:
            self._working.identified(medium_hash)

    def discard(self) -> None:
        """It is removed when it is left."""
        self._superfluous = True

    async def first_pass(self, show: Callable[[Work], None], stop: Stop) -> PassRecord | None:
        """Once over the whole medium, unless an earlier run did that. None then.

        MediumError when not one byte could be read, Interrupted when it was stopped.
        """
        source = self._source
        assert source is not None
        if any(record.name == FIRST and record.end in _ON for record in self.passes):
            return None
        self._hardware = await self._hardware_of(source.path)
        with PrefixHash(self._working.path, source.size_bytes) as hasher:
            flags = first_pass(source, self.effort or Effort.NORMAL)
            self.first = await self._pass(FIRST, flags, None, show, stop, hasher)
            if not self.first.rescued_after:
                raise MediumError(
                    f"not one byte of {self.name} could be read ({_why(self.first)})", "try it in another drive"
                )
            if not self._unread():
                self.scan = await hasher.finish()
        self.changed = False  # it is identified after this
        return self.first

    async def further(
        self, name: str, domain: Ranges, show: Callable[[Work], None], stop: Stop, records: list[PassRecord]
    ) -> None:
        """Passes over `domain`; each is added to `records` when it ended. Interrupted when one was stopped."""
        source = self._source
        assert source is not None
        if not self._hardware:
            self._hardware = await self._hardware_of(source.path)
        attempt = 1 + len({record.began_s for record in self.passes if record.name == name})
        for flags in further_passes(source, self.effort or Effort.NORMAL, attempt):
            wanted = _inside(domain, self._unread())
            if not wanted or not self.going:
                return
            records.append(await self._pass(name, flags, wanted, show, stop, None))

    def stopped(self) -> Problem | None:
        """Why reading ended before all was tried, if it did."""
        if not self.passes or self._source is None:
            return None
        last = self.passes[-1]
        if last.end in _ON:
            return None
        size_bytes = self._working.size_bytes
        percent = 100 * last.rescued_after / max(size_bytes, 1)
        through = _through(last.hardware)
        detail = f"reading stopped at {percent:.1f} % of {size_bytes:,} bytes: {_why(last)}{through}"
        step = "what was read is kept: run the same command again to go on, with this drive or another"
        return Problem(f"imaging_{last.end.value}", detail, step)

    def disagreement(self) -> Problem:
        """For an image of two passes that differ."""
        detail = f"two passes read different contents at {total(self.disagreements):,} bytes: they count as unread"
        return Problem("passes_disagree", detail, "read the medium once more and join that pass too")

    def leave(self) -> None:
        """Others may have it now; removed if it is superfluous."""
        self._working.close()
        if self._superfluous:
            for path in (self._working.path, self._working.map_path, self._working.state_path,
                         self._working.kept_map_path, self._working.domain_path):  # fmt: skip
                path.unlink(missing_ok=True)

    async def _pass(
        self,
        name: str,
        flags: Flags,
        domain: Ranges | None,
        show: Callable[[Work], None],
        stop: Stop,
        hasher: PrefixHash | None,
    ) -> PassRecord:
        def advance(progress: Progress) -> None:
            show(
                Work(
                    bytes_done=progress.rescued_bytes,
                    bytes_total=progress.total_bytes,
                    errors=progress.read_errors,
                )
            )

        assert self._source is not None
        record = await run_pass(
            self._source, self._working, name, flags, domain, self._limits, advance, stop, hasher, self._hardware
        )
        self.changed = self.changed or record.rescued_after != record.rescued_before
        self.going = record.end in _ON
        if record.end is PassEnd.STOPPED:
            raise Interrupted("imaging was stopped", "run the same command again to go on from there")
        return record

    def _unread(self) -> Ranges:
        return self._working.mapfile().unread


class ImageStage:
    """Keeps images in `folder`; `limits` say when a pass is stopped, `hardware_of` what a source is read through."""

    def __init__(self, folder: Path, limits: Limits, hardware_of: Hardware) -> None:
        self._images = WorkingImages(folder)
        self._hardware_of = hardware_of
        self._limits = limits

    @asynccontextmanager
    async def opened(self, path: Path, effort: Effort) -> AsyncIterator[Imaging]:
        """The image that the medium at `path` has already, read in part, or a new one; held for the body.

        MediumError when there is no medium, or it gives no answer; StoreError when there is no room for an image.
        """
        source = await probe(path)
        working = await resumed(self._images, source)
        if working is not None and not working.mapfile().unread:
            working.close()  # whether it is the same medium to the last byte is only known when it is read
            working = None
        if working is None:
            working = self._images.new(source)
        working.require_space()
        imaging = Imaging(working, source, effort, self._limits, self._hardware_of)
        try:
            yield imaging
        except BaseException:
            if not working.mapfile().rescued:
                imaging.discard()
            raise
        finally:
            imaging.leave()

    @asynccontextmanager
    async def joined(
        self, former: Path, former_unread: Ranges, image: AcceptedImage, medium_hash: str
    ) -> AsyncIterator[Imaging]:
        """A new image of what either pass has read; neither of them is changed. Where they differ it is unread.

        MediumError when so much differs that they are two media.
        """
        working, disagreements, both = await merged(
            self._images, former, former_unread, image.path, image.unread, image.claimed_bytes
        )
        imaging = Imaging(working, None, None, self._limits, self._hardware_of)
        imaging.disagreements = disagreements
        try:
            if total(disagreements) > DIFFERENT * both:
                imaging.discard()
                raise MediumError(
                    f"{total(disagreements):,} of the {both:,} bytes that both have read differ: these are two media",
                    "ingest it without --same-as",
                )
            imaging.belongs_to(medium_hash)
            yield imaging
        finally:
            imaging.leave()


def _inside(domain: Ranges, unread: Ranges) -> Ranges:
    return difference(domain, difference(domain, unread))


def _why(record: PassRecord) -> str:
    words = {
        PassEnd.NO_PROGRESS: "nothing was read for too long",
        PassEnd.HOPELESS: "at this rate it would not end",
        PassEnd.SOURCE_GONE: "the medium, drive or bridge does not answer any more",
        PassEnd.NO_SPACE: "the disk with the images is full",
        PassEnd.STOPPED: "it was stopped",
        PassEnd.FAILED: "ddrescue could not go on",
    }
    said = words.get(record.end, "nothing of it can be read")
    return f"{said}: {record.detail}" if record.detail else said


def _through(hardware: dict[str, str]) -> str:
    told = [hardware[key] for key in ("vendor", "model", "serial") if hardware.get(key)]
    if hardware.get("bridge"):
        told.append(f"bridge {hardware['bridge']}")
    return f" ({' '.join(told)})" if told else ""
