"""Diagnostic events of one medium or all -> how many there are of each kind, beside how many media have problems."""

from __future__ import annotations

import msgspec

from ntt.db.connection import Database
from ntt.db.media import Medium
from ntt.db.troubles import EventGroup, Grouping, Troubles
from ntt.operations.problems import problems_report
from ntt.operations.problems_overview import problems_overview


class ProblemGroups(msgspec.Struct, frozen=True):
    """The document of `ntt problems --by check|action|exception --json`; most events first.

    An event with two checks counts for both. `media_troubled` of `media_total` have problems, with events or without.
    """

    by: str
    groups: tuple[EventGroup, ...]
    media_troubled: int
    media_total: int


async def problem_groups(database: Database, by: Grouping, medium: Medium | None = None) -> ProblemGroups:
    """Of all media, or of one."""
    groups = await Troubles(database).grouped(by, None if medium is None else medium.id)
    if medium is None:
        overview = await problems_overview(database)
        return ProblemGroups(by.value, tuple(groups), len(overview.media), overview.media_total)
    report = await problems_report(database, medium)
    return ProblemGroups(by.value, tuple(groups), int(not report.is_clean), 1)
