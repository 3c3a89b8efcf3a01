"""Contradictions between what is recorded and what is there: one finding per thing, a bounded list, true totals."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

LISTED = 1_000  # of each kind
REPAIR = "`ntt repair`"


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """`kind` is a stable word for scripts; `where` names the file, row or medium; the rest are sentences.

    What it concerns, as far as it is one of these: `medium_hash`, `blob` (64 hex digits), `pack_id`.
    """

    kind: str
    where: str
    detail: str
    next_step: str
    medium_hash: str = ""
    blob: str = ""
    pack_id: int | None = None


class Findings:
    """Collects findings; of each kind the first thousand are kept, all are counted and told to `listener`."""

    def __init__(self, listener: Callable[[Finding], None] | None = None) -> None:
        self.kept: list[Finding] = []
        self.totals: dict[str, int] = {}
        self._listener = listener

    def add(self, finding: Finding) -> None:
        count = self.totals[finding.kind] = self.totals.get(finding.kind, 0) + 1
        if count <= LISTED:
            self.kept.append(finding)
        if self._listener is not None:
            self._listener(finding)

    def count_more(self, kind: str, number: int) -> None:
        """Things of a kind that are known to be there but are not listed."""
        if number > 0:
            self.totals[kind] = self.totals.get(kind, 0) + number
