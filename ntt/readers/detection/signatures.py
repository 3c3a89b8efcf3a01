"""The first and last bytes of a volume -> what it is: its name, its own size, and what a person can do with it."""

from __future__ import annotations

from collections.abc import Callable

from ntt.model import Route
from ntt.readers.base import ImageSource
from ntt.readers.boot_sectors import exfat_size, fat_variant, ntfs_size
from ntt.readers.detection.apple_volumes import apple_volume
from ntt.readers.detection.archive_formats import archive
from ntt.readers.detection.blank import short_pattern
from ntt.readers.detection.disk_containers import container, container_by_trailer
from ntt.readers.detection.encrypted import encrypted
from ntt.readers.detection.lvm_member import lvm_member
from ntt.readers.detection.magic_numbers import by_magic
from ntt.readers.detection.optical import optical
from ntt.readers.detection.raid_member import linux_raid
from ntt.readers.detection.samples import Prefix, Recognised, Sample
from ntt.readers.ext.by_copy import superblock_by_copy
from ntt.readers.ext.superblock import ExtSuperblock
from ntt.readers.fat.boot import by_backup
from ntt.readers.ntfs.spares import boot_by_copy

__all__ = ["Recognised", "recognise"]
RAW_SYNC = b"\0" + b"\xff" * 10 + b"\0"  # ECMA-130, section 14: what each raw sector of a CD begins with


def recognise(source: ImageSource, offset_bytes: int, size_bytes: int) -> Recognised | None:
    """What the volume `[offset, offset+size)` is, by its signatures; None if it has none that is known.

    Where two signatures stand in one volume, the one that a format of the other would have erased wins.
    A member of a RAID is named even if what it holds alone can be read: `inner` says where that is.
    OSError if the image file itself cannot be read.
    """
    sample = Sample(source, offset_bytes, size_bytes)
    member = linux_raid(sample)
    return member if member is not None else _first(PROBES, sample)


def recognise_at(source: ImageSource, offset_bytes: int, size_bytes: int) -> Recognised | None:
    """As `recognise`, only by what file systems with a reader write at their own start: for places that are guessed."""
    sample = Sample(source, offset_bytes, size_bytes)
    return _first((_boot_sector, _fat, _ext, apple_volume), sample)


def _first(probes: tuple[Callable[[Sample], Recognised | None], ...], sample: Sample) -> Recognised | None:
    return next(filter(None, (probe(sample) for probe in probes)), None)


def _boot_sector(sample: Sample) -> Recognised | None:
    """NTFS and exFAT write their name behind the jump instruction of sector 0."""
    boot = sample.at(0, 512)
    if boot[3:11] == b"NTFS    ":
        return Recognised("ntfs", Route.TSK, ntfs_size(boot))
    if boot[3:11] == b"EXFAT   ":
        return Recognised("exfat", Route.TSK, exfat_size(boot))
    return None


def _fat(sample: Sample) -> Recognised | None:
    variant = fat_variant(sample.at)
    return None if variant is None else Recognised(variant.fstype, Route.TSK, variant.size_bytes)


def _fat_by_backup(sample: Sample) -> Recognised | None:
    found = by_backup(sample.source, sample.offset_bytes, sample.size_bytes)
    if found is None:
        return None
    remark = f"its boot sector was not read: it is opened by the backup at byte {sample.offset_bytes + found.boot_at}"
    return Recognised(found.fstype, Route.TSK, found.size_bytes, remarks=(remark,))


def _ntfs_by_copy(sample: Sample) -> Recognised | None:
    found = boot_by_copy(sample.source, sample.offset_bytes, sample.size_bytes)
    if found is None:
        return None
    place = sample.offset_bytes + ntfs_size(found)
    remark = f"its boot sector was not read: it is opened by the copy at byte {place}"
    return Recognised("ntfs", Route.TSK, ntfs_size(found), remarks=(remark,))


def _ext(sample: Sample) -> Recognised | None:
    superblock = ExtSuperblock.parse(sample.at(1024, 1024))
    if superblock is None:
        end_bytes = sample.offset_bytes + sample.size_bytes
        superblock = superblock_by_copy(sample.source, sample.offset_bytes, end_bytes)
    if superblock is None:
        return None
    return Recognised(superblock.fstype, Route.TSK, superblock.block_count * superblock.block_size)


def _raw_sectors(sample: Sample) -> Recognised | None:
    if sample.at(0, 12) != RAW_SYNC:
        return None
    finding = "raw sectors of a CD whose layout could not be made out"
    return Recognised("raw_cd", Route.NONE, 0, finding, "give its cue sheet too, or image the disc again as 2048 bytes")


def _archive(sample: Sample) -> Recognised | None:
    packed_twice = isinstance(sample.source, Prefix)  # what may go on without end is not looked into
    return archive(sample, (lambda _: None) if packed_twice else _inside)


def _inside(content: Prefix) -> Recognised | None:
    """What unpacked bytes begin with: a file system or a partitioned disk, for the remark."""
    found = recognise(content, 0, content.size_bytes)
    if found is not None:
        return found
    boot = content.read(0, 512)
    is_disk = boot[510:] == b"\x55\xaa" or content.read(512, 8) == b"EFI PART"
    return Recognised("partitioned disk", Route.NONE, 0) if is_disk else None


def _text(sample: Sample) -> Recognised | None:
    """Only letters, digits, punctuation and line ends in the first 4 KiB: someone gave a document."""
    head = sample.head(4096)
    if len(head) < 16 or any(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head):
        return None
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as wrong:
        if wrong.start < len(head) - 4:  # a character cut by the end of the sample is no objection
            return None
        text = head[: wrong.start].decode("utf-8")
    if len(set(text)) < 4 or ("\n" not in text and short_pattern(head)):
        return None  # one byte or a short pattern repeated is a blank or wiped medium
    if "TRACK 01" in text and 'FILE "' in text:
        return Recognised("text", Route.NONE, 0, "this is a cue sheet, not an image", "name the .bin file beside it")
    return Recognised("text", Route.NONE, 0, "this is a text file, not an image", "name the image itself")


PROBES: tuple[Callable[[Sample], Recognised | None], ...] = (
    encrypted,
    container,
    _boot_sector,
    _fat,
    _fat_by_backup,
    _ntfs_by_copy,
    _ext,
    optical,
    lvm_member,
    apple_volume,
    by_magic,
    _raw_sectors,
    container_by_trailer,
    _archive,
    _text,
)
