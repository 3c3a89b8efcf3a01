"""What an image is -> lines of at most 80 columns; whatever comes from the medium passes `printable` first."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import assert_never

from ntt.model import Health, Route, VolumeFacts, VolumeStatus
from ntt.names import printable
from ntt.operations.inspect import InspectedVolume, Inspection
from ntt.text import size_words

COLUMNS = 80
TITLE_COLUMNS = 14
_BESIDE = {  # what The Sleuth Kit has a part in
    **dict.fromkeys(("ext2", "ext3", "ext4"), " beside The Sleuth Kit, which has to take the file system too"),
    "ntfs": " beside The Sleuth Kit, which unpacks compressed files",
}


def inspect_lines(report: Inspection) -> Iterator[str]:
    """The image, then each volume with what its file system says of itself, then what could not be told."""
    yield printable(report.image)
    yield from _row("size", _bytes(report.image_bytes))
    if report.claimed_bytes > report.image_bytes:
        missing = report.claimed_bytes - report.image_bytes
        yield from _row("medium", f"{_bytes(report.claimed_bytes)}: the image falls {missing:,} bytes short of it")
    yield from _row("health", _health(report))
    if report.cue_sheet:
        yield from _row("cue sheet", "one lies beside it and was taken into account")
    count = "one volume" if len(report.volumes) == 1 else f"{len(report.volumes):,} volumes"
    yield from _row("table", count if report.scheme == "none" else f"{report.scheme}, {count}")
    for remark in report.remarks:
        yield from _row("remark", remark)
    for volume in report.volumes:
        yield ""
        yield from _volume(volume)
    yield ""
    yield from _verdict(report)


def _health(report: Inspection) -> str:
    if report.health is Health.OK:
        return "ok, nothing is known to be unread"
    return f"{report.health}: {report.unread_bytes:,} of {report.claimed_bytes:,} bytes were not read"


def _verdict(report: Inspection) -> Iterator[str]:
    troubled = [volume for volume in report.volumes if volume.status == VolumeStatus.FINDING]
    mountable = [volume.index for volume in troubled if volume.mounts is not None and volume.mounts.possible]
    lost = [volume.index for volume in troubled if volume.index not in mountable]
    if mountable:
        yield from _wrapped(f"{_numbers(mountable)} can only be mounted: `ntt ingest` tries that, see above")
    if lost:
        yield from _wrapped(f"no files can be read from {_numbers(lost)} here: see `finding` and `next` above")
    if troubled:
        return
    if not report.is_known:
        yield "every volume can be read, but not all is as it should be: see `finding` above"
    elif not report.ended_early:
        yield "every volume can be read: `ntt ingest` takes its files"


def _numbers(indexes: list[int]) -> str:
    return ("volume " if len(indexes) == 1 else "volumes ") + ", ".join(map(str, indexes))


def _volume(volume: InspectedVolume) -> Iterator[str]:
    label = f" “{printable(volume.label)}”" if volume.label else ""
    yield from _wrapped(f"volume {volume.index}: {printable(volume.fstype)}{label}")
    yield from _row("place", f"{_bytes(volume.size_bytes)} from byte {volume.offset_bytes:,} on")
    if volume.session_bytes:
        yield from _row("session", f"begins {volume.session_bytes:,} bytes further on")
    if volume.sector_bytes:
        yield from _row("sectors", f"raw, {volume.sector_bytes:,} bytes each, files' bytes at {volume.data_at:,}")
    yield from _row("read by", _route(Route(volume.route), volume.fstype))
    for sentence in volume.tried:
        yield from _row("tried", sentence)
    if volume.facts is not None:
        yield from _facts(volume.facts)
    if volume.finding:
        yield from _row("finding", volume.finding)
    if volume.next_step:
        yield from _row("next", volume.next_step)
    if volume.mounts is not None:
        for title, sentences in (
            ("mountable", volume.mounts.possible),
            ("not by", volume.mounts.impossible),
            ("to mount it", volume.mounts.steps),
        ):
            for sentence in sentences:
                yield from _row(title, sentence)


def _route(route: Route, fstype: str) -> str:
    match route:
        case Route.TSK:
            return f"NTT's own reader{_BESIDE.get(fstype, '')}, without mounting"
        case Route.ISO9660 | Route.HFS | Route.UDF | Route.ARCHIVE:
            return f"NTT's own reader ({route}), without mounting"
        case Route.KERNEL:
            return "a read-only mount by the kernel"
        case Route.FUSE:
            return "a read-only FUSE mount"
        case Route.SEVENZIP:
            return "unpacking with 7z"
        case Route.NONE:
            return "nothing"
        case _:
            assert_never(route)


def _facts(facts: VolumeFacts) -> Iterator[str]:
    if facts.serial:
        yield from _row("serial", facts.serial)
    if facts.created_s is not None:
        yield from _row("created", _when(facts.created_s))
    if facts.modified_s is not None:
        yield from _row("modified", _when(facts.modified_s))
    if facts.size_bytes is not None:
        block = "" if facts.block_bytes is None else f", in blocks of {facts.block_bytes:,}"
        yield from _row("file system", f"{_bytes(facts.size_bytes)}{block}")
    if facts.used_bytes is not None:
        free = "" if facts.free_bytes is None else f", {size_words(facts.free_bytes)} free"
        yield from _row("used", f"{_bytes(facts.used_bytes)}{free}")
    if facts.entries is not None:
        yield from _row("entries", f"{facts.entries:,} files, folders and links, as it counts them itself")
    if facts.state:
        yield from _row("state", facts.state)
    for oddity in facts.oddities:
        yield from _row("note", oddity)


def _bytes(count: int) -> str:
    return size_words(count) if count < 1024 else f"{size_words(count)} ({count:,} bytes)"


def _when(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):  # a medium may say any year
        return f"{seconds:,} seconds from 1970"


def _row(title: str, text: str) -> Iterator[str]:
    return _wrapped(printable(text), f"  {title:<{TITLE_COLUMNS - 2}}", " " * TITLE_COLUMNS)


def _wrapped(text: str, first: str = "", others: str = "  ") -> Iterator[str]:
    lines = textwrap.wrap(text, COLUMNS, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)
    yield from lines or [first.rstrip()]
