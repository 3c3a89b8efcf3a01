"""Image -> layout and every entry, as a stream of bounded messages; runs in a worker process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from ntt.model import Entry, LostStructure, Volume, VolumeFacts, VolumeStatus, WalkProblem
from ntt.ranges import Ranges, normalised
from ntt.readers.base import ImageSource, ReadError, VolumeReader
from ntt.readers.detection.volumes import detect
from ntt.readers.messages import Found, FromSurvey, LayoutFound, Survey, SurveyDone, VolumeEnded
from ntt.readers.surface import account_of

CHUNK_ENTRIES = 5_000
CHUNK_BYTES = 1 << 20  # of names, link targets and attributes, so that long ones do not swell a message
UNCOUNTED = ("fat12", "fat16", "fat32", "exfat")  # these keep no count, and their facts cost reading all of a table
FAILURES = (ReadError, OSError)  # the latter of a file system that is read by path


class Beat(Protocol):
    def at(self, batch: int, index: int) -> None: ...

    def add(self, size_bytes: int) -> None: ...


def survey(
    source: ImageSource, request: Survey, beat: Beat, open_volume: Callable[[Volume], VolumeReader]
) -> Iterator[FromSurvey]:
    """The layout, then the entries of each volume that can be read; or those of the volumes that are asked for."""
    volumes = request.volumes
    if volumes is None:
        layout = detect(source, request.claimed_bytes, request.cue, request.file_name)
        yield LayoutFound(layout)
        volumes = layout.volumes
    for volume in volumes:
        if volume.status is VolumeStatus.READ and request.only in (None, volume.route):
            unread = normalised((*source.unread, (source.size_bytes, request.claimed_bytes)))
            yield from _walk(volume, beat, open_volume, unread, request.claimed_bytes)
    yield SurveyDone()


def _walk(
    volume: Volume,
    beat: Beat,
    open_volume: Callable[[Volume], VolumeReader],
    unread: Ranges,
    claimed_bytes: int,
) -> Iterator[FromSurvey]:
    try:
        reader = open_volume(volume)
    except FAILURES as error:
        unread_cause = error.unread if isinstance(error, ReadError) else ()
        lost = (LostStructure("beginning of the volume", -1, False, unread_cause),) if unread_cause else ()
        yield VolumeEnded(volume.index, _cause(error), lost=lost)
        return
    entries: list[Entry] = []
    problems: list[WalkProblem] = []
    size_bytes = 0
    failure = ""
    try:
        for found in reader.walk():
            beat.add(1)
            if isinstance(found, WalkProblem):
                problems.append(found)
            else:
                entries.append(found)
                size_bytes += len(found.name) + len(found.link_target)
                if found.attributes:
                    size_bytes += sum(len(value) for _, value in found.attributes)
            if len(entries) + len(problems) >= CHUNK_ENTRIES or size_bytes >= CHUNK_BYTES:
                yield Found(volume.index, tuple(entries), tuple(problems))
                entries, problems, size_bytes = [], [], 0
    except FAILURES as error:
        failure = _cause(error)
    if entries or problems:
        yield Found(volume.index, tuple(entries), tuple(problems))
    facts = _facts(reader)
    counted, pending = (None, False) if facts is None else (facts.entries, facts.journal_pending)
    span = (volume.offset_bytes, volume.offset_bytes + volume.size_bytes)
    told = account_of(reader, span, unread, claimed_bytes, beat)
    yield VolumeEnded(volume.index, failure, counted, pending, told.lost, told.unread_used, told.cells)
    reader.close()


def _cause(error: Exception) -> str:
    """Without the number and the name that an OSError puts around it."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _facts(reader: VolumeReader) -> VolumeFacts | None:
    if reader.fstype in UNCOUNTED:
        return None
    try:
        return reader.facts()
    except FAILURES:
        return None
