"""Looks at one drive, in whatever number and order they come -> one Insertion per insertion, one Removal per removal.

Pure: time comes in as numbers. Two facts shape it. The kernel often tells one insertion two to four times, the last of
them with its next polling: so a medium counts only once it has been left alone for `settle_s`, which is longer than
that. And a drive that is reset, as happens on damaged discs, says that its medium may have changed: where its tray is
locked (`held`) that alone is not believed.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import assert_never

from ntt.drives import Drive, DriveEvent, EjectRequest, Insertion, Refusal, Removal, Slot


@dataclass(frozen=True, slots=True)
class Timing:
    """`settle_s`: see above. `retry_s`: between looks at a drive that gets ready; `patience_s`: until that is given up.
    `refused_s`: between looks at a medium that is not touched for now. A silent drive is asked ever more rarely, at
    most every `rarest_s`."""

    settle_s: float = 3.0
    retry_s: float = 1.0
    patience_s: float = 120.0
    refused_s: float = 3.0
    rarest_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Look:
    """What was found. `generation` differs from before when the medium may have been changed. `refusal`: reason and
    next step."""

    slot: Slot
    generation: tuple[int, ...] = ()
    size_bytes: int = 0
    refusal: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What to tell, and the time of the next look that must not be missed (None: when there is an event)."""

    events: tuple[DriveEvent, ...] = ()
    again_s: float | None = None


class _Told(enum.Enum):
    NOTHING = enum.auto()
    INSERTED = enum.auto()
    REFUSED = enum.auto()


class Debouncer:
    """Of one drive, from its arrival to its removal. `number`: that of the last insertion."""

    def __init__(self, drive: Drive, timing: Timing, number: int = 0) -> None:
        self.number = number
        self._drive = drive
        self._timing = timing
        self._told = _Told.NOTHING
        self._said: tuple[str, str] | None = None
        self._seen: Look | None = None  # the last one that said something of a medium
        self._changed_s = 0.0
        self._waiting_since_s: float | None = None
        self._silences = 0

    @property
    def is_open(self) -> bool:
        """A medium that comes now would be told: nothing is inserted as far as was told."""
        return self._told is not _Told.INSERTED

    def looked(self, look: Look, now_s: float, *, held: bool = False) -> Step:
        self._silences = self._silences + 1 if look.slot is Slot.SILENT else 0
        match look.slot:
            case Slot.SILENT:
                wait_s = min(self._timing.rarest_s, self._timing.retry_s * 2 ** min(self._silences, 10))
                return Step((), now_s + wait_s)
            case Slot.EMPTY | Slot.OPEN:
                return Step(self._empty(look))
            case Slot.NOT_READY:
                return self._not_ready(look, now_s)
            case Slot.LOADED:
                return self._loaded(look, now_s, held)
        assert_never(look.slot)

    def pressed(self) -> Step:
        return Step((EjectRequest(self._drive),))

    def gone(self) -> Step:
        """The drive is not there any more; this is the last that is said of it."""
        was = self._told
        self._told = _Told.NOTHING
        return Step((Removal(self._drive, pulled=True),) if was is _Told.INSERTED else ())

    def _empty(self, look: Look) -> tuple[DriveEvent, ...]:
        was = self._told
        self._told, self._said, self._seen, self._waiting_since_s = _Told.NOTHING, None, look, None
        return (Removal(self._drive, pulled=False),) if was is _Told.INSERTED else ()

    def _not_ready(self, look: Look, now_s: float) -> Step:
        """While a medium is being read, a drive that spins up again says this too: it proves nothing then."""
        if self._told is not _Told.NOTHING:
            return Step((), now_s + self._timing.refused_s)
        if self._waiting_since_s is None:
            self._waiting_since_s = now_s
        if self._seen is None or look.generation != self._seen.generation:
            self._seen, self._changed_s = look, now_s
        if now_s - self._waiting_since_s < self._timing.patience_s:
            return Step((), now_s + self._timing.retry_s)
        waited = f"the drive has not got ready in {self._timing.patience_s:.0f} s"
        return self._refused((waited, "take the medium out, clean it, try it again or in another drive"), now_s)

    def _loaded(self, look: Look, now_s: float, held: bool) -> Step:
        before, self._seen = self._seen, look
        self._waiting_since_s = None
        events: tuple[DriveEvent, ...] = ()
        if before is None or before.slot in (Slot.EMPTY, Slot.OPEN) or look.generation != before.generation:
            self._changed_s = now_s
            if self._told is _Told.INSERTED and before is not None and _is_swap(before, look, held):
                self._told, events = _Told.NOTHING, (Removal(self._drive, pulled=False),)
            elif self._told is _Told.REFUSED:
                self._told, self._said = _Told.NOTHING, None
        if self._told is _Told.INSERTED:
            return Step(events)
        settled_s = self._changed_s + self._timing.settle_s
        if now_s < settled_s:
            return Step(events, settled_s)
        if look.refusal is not None:
            return self._refused(look.refusal, now_s)
        self.number += 1
        self._told, self._said = _Told.INSERTED, None
        return Step((*events, Insertion(self._drive, self.number)))

    def _refused(self, refusal: tuple[str, str], now_s: float) -> Step:
        said, self._told, self._said = self._said, _Told.REFUSED, refusal
        again_s = now_s + self._timing.refused_s
        return Step((Refusal(self._drive, *refusal),) if refusal != said else (), again_s)


def _is_swap(before: Look, now: Look, held: bool) -> bool:
    return not held or (before.size_bytes != now.size_bytes and before.size_bytes > 0 and now.size_bytes > 0)
