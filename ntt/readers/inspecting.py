"""Image -> its layout and what each file system says of itself, as a few bounded messages; runs in a worker process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from ntt.model import Layout, Volume, VolumeFacts, VolumeStatus
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.detection.volumes import detect
from ntt.readers.messages import LayoutFound, Survey
from ntt.readers.opening import open_volume
from ntt.readers.survey import Beat

VOLUMES_LIMIT = 1_000
SENTENCES_LIMIT = 100  # remarks of a table, oddities of a volume
SENTENCE_LIMIT = 2_000  # characters


class VolumeInspected(msgspec.Struct, frozen=True, tag=True):
    """What the file system of one volume says of itself."""

    volume: int
    facts: VolumeFacts


class Inspected(msgspec.Struct, frozen=True, tag=True):
    """Always the last answer of an inspection that went through to its end."""


FromInspection = LayoutFound | VolumeInspected | Inspected


def inspection(source: ImageSource, request: Survey, beat: Beat) -> Iterator[FromInspection]:
    """The layout first, then the facts of each volume that a reader opens. OSError if the image cannot be read.

    No list of files is made, whatever the image holds: what is sent stays below a few MiB.
    """
    layout = _bounded(detect(source, request.claimed_bytes, request.cue, request.file_name))
    yield LayoutFound(layout)
    for volume in layout.volumes:
        if volume.status is VolumeStatus.READ and volume.route.is_reader:
            beat.at(volume.index, 0)  # so that it is known on which volume a worker died
            yield VolumeInspected(volume.index, _facts(source, volume))
            beat.add(1)
    yield Inspected()


def _facts(source: ImageSource, volume: Volume) -> VolumeFacts:
    try:
        reader = open_volume(source, volume)
        try:
            facts = reader.facts()
        finally:
            reader.close()
    except (ReadError, OSError) as error:
        facts = VolumeFacts(volume.fstype, volume.label, oddities=(f"what it says of itself is not readable: {error}",))
    return msgspec.structs.replace(
        facts,
        label=facts.label[:SENTENCE_LIMIT],
        serial=facts.serial[:SENTENCE_LIMIT],
        oddities=_sentences(facts.oddities),
    )


def _bounded(layout: Layout) -> Layout:
    remarks = list(_sentences(layout.remarks))
    if len(layout.volumes) > VOLUMES_LIMIT:
        remarks.append(f"{len(layout.volumes):,} volumes in all; the first {VOLUMES_LIMIT:,} were looked at")
    volumes = (
        msgspec.structs.replace(
            volume,
            label=volume.label[:SENTENCE_LIMIT],
            finding=volume.finding[:SENTENCE_LIMIT],
            next_step=volume.next_step[:SENTENCE_LIMIT],
            tried=_sentences(volume.tried),
        )
        for volume in layout.volumes[:VOLUMES_LIMIT]
    )
    return Layout(layout.scheme, tuple(volumes), tuple(remarks))


def _sentences(found: Iterable[str]) -> tuple[str, ...]:
    kept = [sentence[:SENTENCE_LIMIT] for sentence in found]
    if len(kept) > SENTENCES_LIMIT:
        kept = [*kept[:SENTENCES_LIMIT], f"... and {len(kept) - SENTENCES_LIMIT:,} more"]
    return tuple(kept)
