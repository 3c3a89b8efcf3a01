"""Catalogue -> the media of which there is something to tell, one line of facts for each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from ntt.db.connection import Database
from ntt.db.reporting import MediumSummary, Reporting
from ntt.db.troubles import Troubles
from ntt.model import Health


class TroubledMedium(msgspec.Struct, frozen=True):
    """A medium of which there is something to tell; `unended` as in `ProblemsReport`."""

    medium_hash: str
    human: str
    added_at: datetime
    health: str
    image_path: str | None
    image_bytes: int
    unread_bytes: int
    enum_done: datetime | None
    copy_done: datetime | None
    archive_done: datetime | None
    message: str | None
    has_problems: bool
    error_files: int
    findings: int
    events: int
    unended: tuple[str, ...]

    @property
    def is_done(self) -> bool:
        """It is listed and copied."""
        return self.enum_done is not None and self.copy_done is not None

    @property
    def is_clean(self) -> bool:
        wrong = self.has_problems or self.message or self.unended
        return self.is_done and not wrong and self.health == Health.OK


class ProblemsOverview(msgspec.Struct, frozen=True):
    """The media of which there is something to tell, and how many there are in all."""

    media: tuple[TroubledMedium, ...]
    media_total: int


async def problems_overview(database: Database) -> ProblemsOverview:
    """Every medium with problems, a message, unread bytes other than run-out sectors, or work undone; oldest first.

    Those are the media whose own report is not clean.
    """
    everything = await Reporting(database).media()
    unended: dict[str, list[str]] = {}
    for end in await Troubles(database).bad_ends():
        unended.setdefault(end.medium_hash, []).append(end.words)
    media = [_troubled(summary, unended.get(summary.medium_hash, ())) for summary in everything]
    return ProblemsOverview(tuple(medium for medium in media if not medium.is_clean), len(everything))


def _troubled(medium: MediumSummary, unended: Sequence[str]) -> TroubledMedium:
    return TroubledMedium(
        medium_hash=medium.medium_hash,
        human=medium.human,
        added_at=medium.added_at,
        health=medium.health,
        image_path=medium.image_path,
        image_bytes=medium.image_bytes,
        unread_bytes=medium.unread_bytes,
        enum_done=medium.enum_done,
        copy_done=medium.copy_done,
        archive_done=medium.archive_done,
        message=medium.message,
        has_problems=medium.has_problems,
        error_files=medium.error_files,
        findings=medium.findings,
        events=medium.events,
        unended=tuple(unended),
    )
