"""An image -> its volumes: each one is opened once, and what cannot be read is named with a next step."""

from __future__ import annotations

import msgspec

from ntt.model import Layout, Route, VolumeStatus
from ntt.ranges import normalised
from ntt.readers.base import ImageSource
from ntt.readers.detection.disc_sides import disc_sides, is_same_disc
from ntt.readers.detection.disk_containers import CONTAINERS, trailer_remark
from ntt.readers.detection.expected_size import SHORT, medium_short
from ntt.readers.detection.lost_partitions import LOST_FIRST, is_table_lost, lost_partitions, unread_first
from ntt.readers.detection.odd_offsets import tables
from ntt.readers.detection.partition_tables import Partition, Table, read_table
from ntt.readers.detection.pieces import Pieces, Region, finding, numbered, opened
from ntt.readers.detection.raw_layout import raw_layout
from ntt.readers.detection.samples import Recognised, Sample
from ntt.readers.detection.signatures import recognise
from ntt.readers.detection.tables import BEYOND_END, LOST_TABLE
from ntt.readers.detection.unrecognised import unrecognised
from ntt.readers.raw.tracks import raw_tracks

MOST_DEPTH = 3  # partition, array, partition
MOST_VOLUMES = 2048  # that tables inside tables may come to
EMPTY = "named by a second table only, and nothing that is known stands there"
DISC = ("iso9660", "udf")
DISC_HEADER_BYTES = 32 << 10
WRAPPED = frozenset(known.fstype for known in CONTAINERS)
NO_PARTITIONS = "a partition table without partitions"
LOST_PARTITIONS = "if files are expected, search the image for lost partitions (`testdisk`)"


def detect(source: ImageSource, claimed_bytes: int, cue: str = "", file_name: str = "") -> Layout:
    """The image's volumes: those of its table in the table's order, sessions newest first, sides of a disc in turn.

    A file system, or another signature, at byte 0 comes before a partition table there: FAT boot sectors and
    hybrid ISO images look like an MBR; partitions in which something stands follow it. `claimed_bytes` is the
    medium's size, which the image may fall short of. `cue` is the text of a cue sheet, `file_name` the image's name
    in it. Opens and closes each volume. OSError if the image file itself cannot be read.
    """
    tracks = raw_tracks(source, cue, file_name)
    if tracks:
        return numbered(raw_layout(source, tracks, examine))
    medium_bytes = max(claimed_bytes, source.size_bytes)
    found = examine(source, Region(0, medium_bytes))
    trailer = trailer_remark(Sample(source, 0, source.size_bytes))
    if trailer and found.holds_something and not any(piece.volume.fstype in WRAPPED for piece in found.pieces):
        found.remarks.append(trailer)
    layout = numbered(found)
    short = "" if any(SHORT in remark for remark in layout.remarks) else medium_short(layout.volumes, medium_bytes)
    return msgspec.structs.replace(layout, remarks=(*layout.remarks, short)) if short else layout


def examine(source: ImageSource, region: Region, sessions: tuple[int, ...] | None = None) -> Pieces:
    """What a region of an image holds: at least one volume. OSError if the image file itself cannot be read.

    `sessions` are the starts of a disc's sessions in the region if they are known.
    """
    if region.is_partition and region.offset_bytes >= source.size_bytes:
        sentence = f"the partition ({region.kind}) lies wholly beyond the end of the image"
        step = "image the medium again: what was read ends before this partition"
        return Pieces(region.scheme, [finding(region, "unknown", sentence, step)])
    found = recognise(source, region.offset_bytes, region.size_bytes)
    if found is not None and found.inner is not None:
        return _member(source, region, found, *found.inner)
    table = read_table(source, region.offset_bytes, region.size_bytes) if _may_hold_table(region, found) else None
    if table is not None and not _is_believed(region, found, table):
        table = None
    if table is not None and (found is None or found.at_end):
        layout = _partitioned(source, region, table)
        layout.remarks.extend([found.finding] if found is not None else [])
        return layout
    if found is None:
        return _without_table(source, region) or _moved_table(source, region) or unrecognised(source, region)
    layout = _recognised(source, region, found, sessions)
    if table is not None:
        _beside(source, region, found, table, layout)
    return layout


def _may_hold_table(region: Region, found: Recognised | None) -> bool:
    """A partition with a file system has no table; one with nothing known may be a disk of a virtual machine."""
    if found is None or found.at_end:
        return region.depth < MOST_DEPTH
    return region.depth == 0 and found.route is not Route.ARCHIVE


def _is_believed(region: Region, found: Recognised | None, table: Table) -> bool:
    """An empty table says something only where nothing else does; tables inside tables must not multiply."""
    if not table.partitions:
        return found is None and region.depth == 0
    return region.depth == 0 or region.volumes * len(table.partitions) <= MOST_VOLUMES


def _recognised(source: ImageSource, region: Region, found: Recognised, sessions: tuple[int, ...] | None) -> Pieces:
    if found.fstype == "iso9660":
        return disc_sides(source, region, found, sessions)
    scheme = "archive" if found.route is Route.ARCHIVE and region.depth == 0 else region.scheme
    return Pieces(scheme, [opened(source, region._replace(scheme=scheme), found)])


def _member(source: ImageSource, region: Region, member: Recognised, start: int, size: int) -> Pieces:
    """A mirror's half, or the only disk of an array, read without the array where it holds something."""
    size = min(size, region.size_bytes - start)
    inside = region._replace(offset_bytes=region.offset_bytes + start, size_bytes=size, depth=region.depth + 1)
    if size > 0 and region.depth < MOST_DEPTH:
        layout = examine(source, inside)
        if layout.holds_something:
            layout.remarks.append(f"read without its array: {member.finding}")
            return layout
    return Pieces(region.scheme, [opened(source, region, member)])


def _partitioned(source: ImageSource, region: Region, table: Table) -> Pieces:
    scheme = table.scheme if region.scheme == "none" else region.scheme
    layout = Pieces(scheme, [], list(table.remarks), table.lost)
    for partition in table.partitions:
        inside = _region_of(region, partition, scheme, len(table.partitions))
        if partition.is_doubtful and not _holds_something(source, inside):
            layout.remarks.append(f"the partition ({partition.kind}) at byte {partition.offset_bytes} is {EMPTY}")
            continue
        layout.add(examine(source, inside))
    if table.is_partial:
        known = normalised((one.offset_bytes, one.offset_bytes + one.size_bytes) for one in table.partitions)
        layout.add(lost_partitions(source, region._replace(scheme=scheme), known, examine))
    if not layout.pieces:
        layout.pieces.append(finding(region._replace(scheme=scheme), "unknown", NO_PARTITIONS, LOST_PARTITIONS))
    return layout


def _region_of(region: Region, partition: Partition, scheme: str, count: int) -> Region:
    return Region(
        partition.offset_bytes,
        partition.size_bytes,
        scheme,
        partition.kind or "partition",
        count * region.volumes,
        region.depth + 1,
    )


def _holds_something(source: ImageSource, region: Region) -> bool:
    """A file system, a member or an encrypted volume; not what any file may begin with."""
    found = recognise(source, region.offset_bytes, region.size_bytes)
    return found is not None and found.fstype not in ("text", "archive", *WRAPPED)


def _beside(source: ImageSource, region: Region, found: Recognised, table: Table, layout: Pieces) -> None:
    """Partitions that a table names beside the file system at the start; most are parts of it and hold nothing."""
    known = {piece.volume.offset_bytes for piece in layout.pieces}
    beside = Pieces("hybrid")
    for partition in table.partitions:
        if partition.offset_bytes in known:
            continue
        inside = _region_of(region, partition, "hybrid", len(table.partitions))
        if _holds_something(source, inside):
            _another(source, region, inside, beside)
        elif found.fstype in DISC:
            _part_of_disc(source, region, found, partition, inside, beside)
    if beside.pieces:
        layout.become_hybrid()
        name = table.scheme.upper()
        layout.remarks.append(f"a hybrid image: its {name} names partitions beside the {found.fstype} at its start")
        if found.fstype not in DISC:
            layout.remarks.append(
                f"either the {found.fstype} at its start or its {name} may be left from an earlier use"
            )
        layout.remarks.extend(table.remarks)
    elif table.lost:
        layout.remarks.extend(remark for remark in table.remarks if LOST_TABLE in remark or BEYOND_END in remark)
    layout.lost = normalised((*layout.lost, *table.lost))
    if beside.pieces or found.fstype in DISC:
        layout.add(beside)


def _another(source: ImageSource, region: Region, inside: Region, beside: Pieces) -> None:
    whole = Sample(source, region.offset_bytes, region.size_bytes)
    if is_same_disc(whole, Sample(source, inside.offset_bytes, inside.size_bytes)):
        beside.remarks.append(f"the partition ({inside.kind}) at byte {inside.offset_bytes} shows the same disc again")
    else:
        beside.add(examine(source, inside))


def _part_of_disc(
    source: ImageSource, region: Region, found: Recognised, partition: Partition, inside: Region, beside: Pieces
) -> None:
    """A partition of a disc that begins with nothing known: behind the disc's end it is a volume if it is not blank."""
    where = f"the partition ({inside.kind}) at byte {inside.offset_bytes}"
    if partition.offset_bytes >= region.offset_bytes + (found.size_bytes or region.size_bytes):
        other = examine(source, inside)
        is_blank = all(piece.volume.fstype == "blank" for piece in other.pieces)
        if not is_blank and not partition.is_doubtful:
            beside.add(other)
            return
        beside.remarks.append(f"{where} is {'blank' if is_blank else EMPTY}")
    elif partition.offset_bytes > region.offset_bytes + DISC_HEADER_BYTES:
        beside.remarks.append(f"{where} is a part of the disc: no file system of its own begins there")


def _without_table(source: ImageSource, region: Region) -> Pieces | None:
    """A disk whose first sector was not read: its partitions by their signatures, and a remark if there are any."""
    if not is_table_lost(source, region):
        return None
    layout = lost_partitions(source, region, (), examine)
    if not layout.pieces:
        layout = _moved_table(source, region) or unrecognised(source, region)
    count = sum(piece.volume.status is VolumeStatus.READ for piece in layout.pieces)
    layout.remarks.append(f"{LOST_FIRST}; {count} volumes were found by their signatures")
    layout.lost = normalised((*layout.lost, *unread_first(source, region)))
    return layout


def _moved_table(source: ImageSource, region: Region) -> Pieces | None:
    """A disk that begins a little further on, behind the header of some other program."""
    if region.depth:
        return None
    end = min(region.end_bytes, source.size_bytes)
    for place in tables(source, region.offset_bytes, end):
        start = region.offset_bytes + place
        table = read_table(source, start, end - start)
        if table is None:
            continue
        layout = _partitioned(source, region, table)
        if any(piece.volume.status is VolumeStatus.READ for piece in layout.pieces):
            layout.remarks.append(f"the disk begins at byte {start} of the image: its partition table stands there")
            return layout
    return None
