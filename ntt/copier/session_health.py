"""Sessions that break off -> opened again, so many times; then the file in hand, or the volume, is given up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from ntt.copier.diagnosis import Check
from ntt.copier.diagnosis_policy import Patience
from ntt.copier.examining import SessionBroken
from ntt.copier.health_gate import NOT_TRIED, OVERRIDE, Known, Way, decided
from ntt.errors import MediumError
from ntt.model import DiagnosticEvent, FileOutcome, OutcomeBatch, OutcomeStatus, Volume, VolumeStatus
from ntt.ranges import Ranges

REOPENINGS = 5  # of what one volume is mounted by
IMAGE_REOPENINGS = 2  # of an image that cannot be read at all any more
UNSTABLE_FROM = 2
BLAMED_FROM = 2  # times that the same file was in hand
Key = tuple[int, int]  # volume, inode


class SessionHealth:
    """Of one medium while it is copied: what may be tried, how often, and what of it is to be recorded.

    `warn` is told, once each, what the medium's known problems mean for reading it.
    """

    def __init__(
        self,
        volumes: Sequence[Volume],
        unread: Ranges,
        known: Known,
        warn: Callable[[str], None],
        *,
        despite_problems: bool,
    ) -> None:
        self.refused: dict[int, str] = {}
        self.breaks: Counter[int] = Counter()
        self.blamed: set[Key] = set()
        self._in_hand: Counter[Key] = Counter()
        self._events: list[DiagnosticEvent] = []
        degraded = known.many_errors
        for volume in volumes:
            if volume.status is not VolumeStatus.READ:
                continue
            decision = decided(volume, unread, known, despite_problems=despite_problems)
            degraded = degraded or decision.degraded
            if decision.way in (Way.WARN, Way.REFUSE):  # of the rest, the report of the run speaks anyway
                warn(decision.reason)
            if decision.way is Way.REFUSE:
                self.refused[volume.index] = f"{NOT_TRIED}{decision.reason}; {OVERRIDE}"
        self.patience = Patience(degraded=degraded)

    @property
    def unstable(self) -> list[int]:
        """Volumes that had to be opened again more than once."""
        return sorted(volume for volume, breaks in self.breaks.items() if breaks >= UNSTABLE_FROM)

    def gated(self, volumes: Sequence[Volume]) -> tuple[Volume, ...]:
        """Those that are refused are closed, with the reason."""
        return tuple(
            msgspec.structs.replace(volume, status=VolumeStatus.FINDING, finding=self.refused[volume.index])
            if volume.index in self.refused and volume.status is VolumeStatus.READ
            else volume
            for volume in volumes
        )

    def broke(self, broken: SessionBroken, mounted: Collection[int]) -> None:
        """What follows is to open another session. MediumError when it is the image that is gone."""
        volume, event = broken.volume, broken.event
        self.breaks[volume] += 1
        self._in_hand[event.volume, event.ino] += 1
        if volume not in mounted:
            if self.breaks[volume] > IMAGE_REOPENINGS:
                text = f"the image cannot be read any more: {event.message}"
                raise MediumError(text, "see to the disk it lies on, then run the same command again")
        elif self.breaks[volume] > REOPENINGS:
            why = f"volume {volume}: its mount broke off {self.breaks[volume]} times: {event.message}"
            self.refused[volume] = f"{NOT_TRIED}{why}; {OVERRIDE}"
        self._events.append(event)

    def told(self, volumes: Sequence[Volume], mounted: Mapping[int, object]) -> OutcomeBatch | None:
        """Once another session is open: what happened, and the outcome of files that broke it again and again."""
        is_open = {volume.index for volume in volumes if volume.status is VolumeStatus.READ}
        events, self._events = [event for event in self._events if event.volume in is_open], []
        guilty = [e for e in events if e.volume in mounted and self._in_hand[e.volume, e.ino] >= BLAMED_FROM]
        guilty = [event for event in guilty if (event.volume, event.ino) not in self.blamed]
        self.blamed.update((event.volume, event.ino) for event in guilty)
        if not events:
            return None
        return OutcomeBatch(tuple(map(_given_up, guilty)), None, 0, tuple(events))


def _given_up(event: DiagnosticEvent) -> FileOutcome:
    return FileOutcome(
        volume=event.volume,
        ino=event.ino,
        status=OutcomeStatus.FAILED,
        attempts=BLAMED_FROM,
        blob_hash=b"",
        size_bytes=0,
        is_new=False,
        pack_id=None,
        pack_offset=None,
        reason=f"what it is read through broke off {BLAMED_FROM} times at it: {event.message}",
        damaged=(),
        error_type=event.error_type,
        checks=(*event.checks, Check.MAX_RETRIES_EXCEEDED),
        worker=event.worker,
    )


def broken_session(error: BaseException) -> SessionBroken | None:
    """Within groups of groups, if that and nothing else happened."""
    if isinstance(error, SessionBroken):
        return error
    if isinstance(error, BaseExceptionGroup):
        found = [broken_session(one) for one in error.exceptions]
        return found[0] if found and all(one is not None for one in found) else None
    return None
