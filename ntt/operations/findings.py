"""Contradictions between what is recorded and what is there: one finding per thing, a bounded list, true totals."""

from __future__ import annotations

import msgspec

LISTED = 1_000  # of each kind


class Finding(msgspec.Struct, frozen=True):
    """`kind` is a stable word for scripts; `where` names the file, row or medium; the rest are sentences."""

    kind: str
    where: str
    detail: str
    next_step: str


class Findings:
    """Collects findings; of each kind the first thousand are kept, all are counted."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.totals: dict[str, int] = {}

    def add(self, finding: Finding) -> None:
        count = self.totals[finding.kind] = self.totals.get(finding.kind, 0) + 1
        if count <= LISTED:
            self.kept.append(finding)

    def count_more(self, kind: str, number: int) -> None:
        """Things of a kind that are known to be there but are not listed."""
        if number > 0:
            self.totals[kind] = self.totals.get(kind, 0) + number
