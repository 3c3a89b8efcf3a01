"""Failures of one file, one after the other -> whether it is tried again: bounded, and less where little works."""

from __future__ import annotations

import enum
from dataclasses import dataclass

HEALTHY_ATTEMPTS = 50
DEGRADED_ATTEMPTS = 5
IDENTICAL_ATTEMPTS = 3  # the same error so often in a row is the answer
CHECKPOINT = 10  # at this attempt it is looked into
PATIENCE_S = 60.0  # for all attempts at one file, however few they were
DEGRADED_FROM_FILES = 10  # that were given up: then the medium is one where little works


class Step(enum.Enum):
    """What follows a failed attempt. `CHECKPOINT`: it is looked into, and tried again unless that shows it is vain."""

    AGAIN = "again"
    CHECKPOINT = "checkpoint"
    END = "end"


@dataclass(frozen=True, slots=True)
class Fault:
    """An error as far as it can be told from another. `place`: of the file, in bytes, where it was met.

    `number`: its errno; None: what was read was read well and makes no sense, so reading it again does not help.
    """

    kind: str
    number: int | None
    text: str
    place: int


class Tries:
    """The attempts at one file, counted from `first`; at most `limit` in all, however the file was tried before."""

    def __init__(self, first: int, limit: int) -> None:
        self.count = first - 1
        self._limit = limit
        self._last: Fault | None = None
        self._identical = 0

    def failed(self, fault: Fault, elapsed_s: float) -> Step:
        """`elapsed_s`: since the first of them began."""
        self.count += 1
        self._identical = self._identical + 1 if fault == self._last else 1
        self._last = fault
        if fault.number is None or self._identical >= IDENTICAL_ATTEMPTS or elapsed_s >= PATIENCE_S:
            return Step.END
        if self.count >= self._limit:
            return Step.END
        return Step.CHECKPOINT if self.count == CHECKPOINT else Step.AGAIN


class Patience:
    """How many attempts a file of this medium gets; `degraded`: it is known from the start that little works."""

    def __init__(self, *, degraded: bool) -> None:
        self._degraded = degraded
        self._given_up = 0

    def gave_up(self) -> None:
        """On one more file, after attempts that did not help."""
        self._given_up += 1

    @property
    def limit(self) -> int:
        degraded = self._degraded or self._given_up >= DEGRADED_FROM_FILES
        return DEGRADED_ATTEMPTS if degraded else HEALTHY_ATTEMPTS
