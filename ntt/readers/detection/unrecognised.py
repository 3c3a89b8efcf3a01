"""A region that begins with nothing known -> what can be said of it still: blank, wiped, foreign, encrypted, lost."""

from __future__ import annotations

from ntt.model import VolumeStatus
from ntt.ranges import total, within
from ntt.readers.base import ImageSource
from ntt.readers.detection.archive_formats import FORMATS
from ntt.readers.detection.blank import Blank, blank_fill, is_judged_whole
from ntt.readers.detection.blkid import second_voice
from ntt.readers.detection.disk_containers import CONTAINERS
from ntt.readers.detection.encrypted import looks_random
from ntt.readers.detection.magic_numbers import LAST_NUMBERS, MAGIC_NUMBERS, WEAK_NUMBERS
from ntt.readers.detection.odd_offsets import SEARCHED, file_systems, surviving_copy
from ntt.readers.detection.partition_tables import WITHOUT_FILES
from ntt.readers.detection.pieces import Pieces, Region, finding, opened
from ntt.readers.detection.samples import Recognised, Sample

TRIED = ", ".join(
    dict.fromkeys(
        (
            *("GPT", "MBR", "Apple partition map", "ISO 9660", "UDF", "ext2/3/4", "FAT12/16/32", "exFAT", "NTFS"),
            *("HFS", "HFS+", "BitLocker", "LUKS", "CoreStorage", "LVM", "Linux RAID"),
            *(magic.fstype for magic in (*MAGIC_NUMBERS, *WEAK_NUMBERS, *LAST_NUMBERS)),
            *(known.fstype for known in CONTAINERS),
            "tar",
            *(known.name for known in FORMATS if " " not in known.name),
            "libblkid",
            f"file systems at odd offsets ({SEARCHED})",
        )
    )
)
LOOK_CLOSER = "look at it with `file -s` and a hex viewer; if it should hold files, image the medium again"
AGAIN = "image the medium again, in another drive: with its first sector its files may be read"
SECTOR_BYTES = 512
OPENINGS_LIMIT = 16
SEARCHES_LIMIT = 32  # volumes of one image that are searched for file systems at odd offsets


def unrecognised(source: ImageSource, region: Region) -> Pieces:
    """At least one volume. OSError if the image file itself cannot be read."""
    end = min(region.end_bytes, source.size_bytes)
    unread = total(within(source.unread, region.offset_bytes, end))
    kind = f" ({region.kind})" if region.kind else ""
    if unread and unread >= end - region.offset_bytes:
        sentence = f"no byte of this volume{kind} could be read"
        return _only(region, "unknown", sentence, "image the medium again, in another drive")
    if region.kind.endswith(WITHOUT_FILES):
        return _only(region, "unknown", f"{region.kind}: it holds no files", "nothing to do")
    # Samples of a large blank may miss a file system that begins a little further on: it is searched for first.
    if is_judged_whole(end - region.offset_bytes, region.volumes):
        return _blank(source, region, end, kind) or _searched(source, region, end) or _named(source, region, end, kind)
    return _searched(source, region, end) or _blank(source, region, end, kind) or _named(source, region, end, kind)


def _only(region: Region, fstype: str, sentence: str, next_step: str) -> Pieces:
    return Pieces(region.scheme, [finding(region, fstype, sentence, next_step)])


def _blank(source: ImageSource, region: Region, end: int, kind: str) -> Pieces | None:
    blank = blank_fill(source, region.offset_bytes, end, region.volumes)
    if blank is None:
        return None
    if blank.is_fresh:
        sentence = f"blank{kind}: nothing but 0x{blank.pattern.hex().upper()} ({_judged(blank)}); tried {TRIED}"
        return _only(region, "blank", sentence, "nothing to do if it is new")
    shown = blank.pattern[:16].hex(" ").upper() + (" ..." if len(blank.pattern) > 16 else "")
    what = "the byte" if len(blank.pattern) == 1 else f"a pattern of {len(blank.pattern)} bytes,"
    sentence = f"wiped{kind}: nothing but {what} {shown} ({_judged(blank)}); tried {TRIED}"
    return _only(region, "wiped", sentence, "nothing to do: what was there was overwritten")


def _judged(blank: Blank) -> str:
    return "every byte was looked at" if blank.is_whole else f"{blank.sampled_bytes} bytes in samples were looked at"


def _searched(source: ImageSource, region: Region, end: int) -> Pieces | None:
    """File systems that begin elsewhere, each proved by opening it."""
    if region.volumes > SEARCHES_LIMIT:
        return None
    found = Pieces(region.scheme)
    behind = openings = 0
    for place, candidate in file_systems(source, region.offset_bytes, end):
        if place < behind or openings >= OPENINGS_LIMIT:
            continue
        openings += 1
        start = region.offset_bytes + place
        piece = opened(source, Region(start, candidate.size_bytes, region.scheme), candidate)
        if piece.volume.status is VolumeStatus.READ:
            behind = place + candidate.size_bytes
            remark = (
                f"its file system begins at byte {start}; nothing that is known stands at byte {region.offset_bytes}"
            )
            found.pieces.append(piece._replace(remarks=(*piece.remarks, remark)))
    return found if found.pieces else None


def _named(source: ImageSource, region: Region, end: int, kind: str) -> Pieces:
    """What others call it, what it looks like, or that it is unknown."""
    size = end - region.offset_bytes
    named: Recognised | None = surviving_copy(source, region.offset_bytes, end)
    named = named or second_voice(source, region.offset_bytes, size)
    named = named or looks_random(Sample(source, region.offset_bytes, size))
    if named is not None:
        return Pieces(region.scheme, [opened(source, region, named)])
    sentence = f"none of what is known{kind}: tried {TRIED}"
    unread = total(within(source.unread, region.offset_bytes, end))
    if unread:
        sentence += f"; {unread} of its bytes could not be read"
    if within(source.unread, region.offset_bytes, region.offset_bytes + SECTOR_BYTES):
        sentence = f"its first sector, which would tell what it is, could not be read; {sentence}"
        return _only(region, "unknown", sentence, AGAIN)
    return _only(region, "unknown", sentence, LOOK_CLOSER)
