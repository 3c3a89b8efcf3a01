"""What ddrescue shows of a pass -> what whoever watches is told, also while a silent drive holds it up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from ntt.progress import Reading, Work
from ntt.rescue.source import Source
from ntt.tools.ddrescue import Status
from ntt.tools.ddrescue_phases import phase_words

_SILENT_S = 1.0  # ddrescue shows something every second, unless a read holds it up


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pass is; bytes of the whole medium, rounded as ddrescue shows them."""

    rescued_bytes: int
    total_bytes: int
    reading: Reading

    @property
    def work(self) -> Work:
        """For whoever watches the stage."""
        return Work(
            bytes_done=self.rescued_bytes,
            bytes_total=self.total_bytes,
            errors=self.reading.read_errors,
            reading=self.reading,
        )


class Teller:
    """Of one pass; `shown_from` is to be added to what ddrescue shows as rescued."""

    def __init__(
        self, task: str, source: Source, rescued_before: int, shown_from: int, advance: Callable[[Progress], None]
    ) -> None:
        self._source = source
        self._shown_from = shown_from
        self._advance = advance
        self._told = Progress(rescued_before, source.size_bytes, Reading(task))
        self._heard_s = self._told_s = time.monotonic()

    def begin(self) -> None:
        """Before ddrescue has said anything."""
        self._tell()

    def saw(self, status: Status) -> None:
        """ddrescue showed this just now."""
        size_bytes = self._source.size_bytes
        reading = Reading(
            task=self._told.reading.task,
            phase=phase_words(status.phase),
            position=status.position,
            rate_per_s=status.rate_per_s,
            remaining_s=status.remaining_s,
            bad_sectors=-(-status.bad_bytes // self._source.sector_bytes),
            bad_bytes=status.bad_bytes,
            postponed_bytes=status.non_trimmed_bytes + status.non_scraped_bytes,
            read_errors=status.read_errors,
            nothing_read_s=status.since_success_s,
        )
        self._told = Progress(min(self._shown_from + status.rescued_bytes, size_bytes), size_bytes, reading)
        self._tell()

    def _tell(self) -> None:
        self._heard_s = self._told_s = time.monotonic()
        self._advance(self._told)

    def tell_if_silent(self, now_s: float) -> None:
        """`now_s`: of `time.monotonic`. To be called every now and then."""
        if now_s - self._told_s < _SILENT_S:
            return
        self._told_s = now_s
        silent_s = now_s - self._heard_s
        reading = self._told.reading
        since_s = None if reading.nothing_read_s is None else reading.nothing_read_s + silent_s
        self._advance(replace(self._told, reading=replace(reading, silent_s=silent_s, nothing_read_s=since_s)))
