"""Partition tables -> where partitions lie: GPT, Apple map and MBR, each partition once, whoever names it."""

from __future__ import annotations

from dataclasses import replace

from ntt.ranges import Ranges, normalised, within
from ntt.readers.base import ImageSource
from ntt.readers.detection.apple_partitions import read_apple_map
from ntt.readers.detection.gpt import TABLE_BYTES, read_gpt
from ntt.readers.detection.mbr import LOGICAL_LIMIT, PROTECTIVE, SECTOR_BYTES, mbr_entries, read_mbr
from ntt.readers.detection.samples import Sample
from ntt.readers.detection.tables import LOST_TABLE, Partition, Table

__all__ = ["LOGICAL_LIMIT", "WITHOUT_FILES", "Partition", "Table", "read_table"]
WITHOUT_FILES = ("Microsoft reserved", "BIOS boot")  # by definition


def read_table(source: ImageSource, offset_bytes: int = 0, size_bytes: int | None = None) -> Table | None:
    """The table of the disk `[offset, offset+size)`: GPT if either copy of it stands, else an Apple map, else MBR.

    Partitions that only a lesser table names follow, marked doubtful. None without a table.
    OSError if the image cannot be read.
    """
    size_bytes = source.size_bytes if size_bytes is None else size_bytes
    disk = Sample(source, offset_bytes, size_bytes)
    entries = mbr_entries(disk.at(0, SECTOR_BYTES))
    plain = [entry for entry in entries or () if entry.kind != PROTECTIVE]
    is_protective = len(plain) < len(entries or ())
    medium_bytes = max(size_bytes, source.size_bytes) if not offset_bytes else None
    gpt = read_gpt(disk, medium_bytes, backup_wanted=is_protective or not entries)
    apple = read_apple_map(disk)
    mbr = None
    if entries is not None and (plain or (gpt is None and (apple is None or is_protective))):
        lost = is_protective and gpt is None
        unread = _unread_gpt(disk) if lost else ()
        remarks = [f"the GPT that this disk's MBR announces {_how_lost(unread)}"] if lost else []
        mbr = read_mbr(disk, plain, remarks, medium_bytes)
        mbr = replace(mbr, is_partial=mbr.is_partial or lost, lost=normalised((*mbr.lost, *unread)))
    tables = [table for table in (gpt, apple, mbr) if table is not None]
    return _merged(tables) if tables else None


def _unread_gpt(disk: Sample) -> Ranges:
    first, last = disk.offset_bytes, disk.offset_bytes + disk.size_bytes
    return within(disk.source.unread, first, min(first + TABLE_BYTES, last))


def _how_lost(unread: Ranges) -> str:
    return "is damaged in both places" + (f": it {LOST_TABLE}" if unread else "")


def _merged(tables: list[Table]) -> Table:
    """The first table with partitions; what others name besides is doubtful."""
    tables.sort(key=lambda table: not table.partitions)
    first, *others = tables
    partitions = {partition.offset_bytes: partition for partition in first.partitions[::-1]}
    kept = list(first.partitions)
    remarks = list(first.remarks)
    for table in others:
        more = [partition for partition in table.partitions if partition.offset_bytes not in partitions]
        kept.extend(replace(partition, is_doubtful=True) for partition in more)
        partitions.update((partition.offset_bytes, partition) for partition in more)
        remarks.extend(table.remarks)
        if table.partitions:
            remarks.append(
                f"a hybrid disk: its {table.scheme.upper()} names partitions beside the {first.scheme.upper()}, "
                f"{_count(len(more))} of them not in it"
            )
    is_partial = any(table.is_partial for table in tables)
    lost = normalised(piece for table in tables for piece in table.lost)
    return Table(first.scheme, tuple(kept), tuple(dict.fromkeys(remarks)), is_partial, lost)


def _count(number: int) -> str:
    return str(number) if number else "none"
