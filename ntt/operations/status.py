"""Catalogue -> how far each medium is, and what to do next."""

from __future__ import annotations

import shlex
from datetime import datetime

import msgspec

from ntt.db.connection import Database
from ntt.db.media import Media, Medium
from ntt.db.reporting import (
    EVERYTHING,
    STATES,
    Choice,
    Counts,
    Inserted,
    MediumSummary,
    Reporting,
    Sighting,
    StageAttempt,
)
from ntt.errors import UsageError
from ntt.model import Volume
from ntt.names import printable


class MediumLine(msgspec.Struct, frozen=True):
    """A medium in the list; times are ISO 8601 in JSON, None: not done."""

    medium_hash: str
    human: str
    added_at: datetime
    health: str
    image_bytes: int
    unread_bytes: int
    enum_done: datetime | None
    copy_done: datetime | None
    archive_done: datetime | None
    error_files: int
    has_problems: bool
    next_action: str


class MediaList(msgspec.Struct, frozen=True):
    media: tuple[MediumLine, ...]


class MediumStatus(msgspec.Struct, frozen=True):
    """All there is to know of a medium's way through the stages; `pending` files have no outcome yet."""

    medium_hash: str
    human: str
    identity: str
    health: str
    added_at: datetime
    image_path: str | None
    image_hash: str
    image_bytes: int
    claimed_bytes: int
    unread_bytes: int
    archive_path: str | None
    enum_done: datetime | None
    copy_done: datetime | None
    archive_done: datetime | None
    message: str | None
    counts: Counts
    pending: int
    volumes: tuple[Volume, ...]
    stages: tuple[StageAttempt, ...]
    insertions: tuple[Inserted, ...]
    sightings: tuple[Sighting, ...]
    worked_on_by: str | None
    next_action: str


async def media_list(database: Database, choice: Choice = EVERYTHING) -> MediaList:
    """Those that are meant, oldest first. UsageError for a state that there is not."""
    if choice.state is not None and choice.state not in STATES:
        raise UsageError(f"{printable(choice.state)} is no state", f"there are {', '.join(STATES)}")
    return MediaList(tuple(_line(summary) for summary in await Reporting(database).media(choice)))


async def medium_status(database: Database, medium: Medium) -> MediumStatus:
    reporting = Reporting(database)
    counts = await reporting.counts(medium.id)
    holder = await reporting.worked_on_by(medium.id)
    stages = tuple(await reporting.attempts(medium.id))
    action = next_action(
        medium.image_path, medium.enum_done, medium.copy_done, medium.archive_done, counts.damaged + counts.failed
    )
    return MediumStatus(
        medium_hash=medium.medium_hash,
        human=medium.human,
        identity=medium.identity,
        health=medium.health,
        added_at=medium.added_at,
        image_path=medium.image_path,
        image_hash=medium.image_hash,
        image_bytes=medium.image_bytes,
        claimed_bytes=medium.claimed_bytes,
        unread_bytes=medium.unread_bytes,
        archive_path=medium.archive_path,
        enum_done=medium.enum_done,
        copy_done=medium.copy_done,
        archive_done=medium.archive_done,
        message=medium.message,
        counts=counts,
        pending=counts.pending,
        volumes=await Media(database).volumes(medium.id),
        stages=stages,
        insertions=tuple(await reporting.insertions(medium.id)),
        sightings=tuple(await reporting.sightings(medium.id)),
        worked_on_by=holder,
        next_action=f"wait: {holder} works on it" if holder else action,
    )


def next_action(
    image_path: str | None,
    enum_done: datetime | None,
    copy_done: datetime | None,
    archive_done: datetime | None,
    error_files: int,
) -> str:
    """What an operator does next with a medium, or that it is complete."""
    again = f"run `ntt ingest {shlex.quote(image_path)}` again" if image_path else "ingest its image again"
    if enum_done is None:
        return f"{again} to list its files"
    if copy_done is None:
        return f"{again} to go on with copying"
    if archive_done is None:
        return f"{again} to archive it"
    if error_files:
        return "complete, with files that could not be read whole: see `ntt problems`"
    return "complete"


def _line(summary: MediumSummary) -> MediumLine:
    return MediumLine(
        medium_hash=summary.medium_hash,
        human=summary.human,
        added_at=summary.added_at,
        health=summary.health,
        image_bytes=summary.image_bytes,
        unread_bytes=summary.unread_bytes,
        enum_done=summary.enum_done,
        copy_done=summary.copy_done,
        archive_done=summary.archive_done,
        error_files=summary.error_files,
        has_problems=summary.has_problems,
        next_action=next_action(
            summary.image_path, summary.enum_done, summary.copy_done, summary.archive_done, summary.error_files
        ),
    )
