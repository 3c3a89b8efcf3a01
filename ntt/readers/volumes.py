"""An image -> its volumes: each one is opened once, and what cannot be read is named with a next step."""

from __future__ import annotations

from ntt.model import Layout, Route, Volume, VolumeStatus
from ntt.ranges import total, within
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.blank import Blank, blank_fill
from ntt.readers.magic_numbers import MAGIC_NUMBERS
from ntt.readers.opening import open_volume
from ntt.readers.partition_tables import WITHOUT_FILES, Partition, Table, read_table
from ntt.readers.signatures import Recognised, recognise

TRIED = ", ".join(
    (
        "GPT",
        "MBR",
        "ISO 9660",
        "UDF",
        "ext2/3/4",
        "FAT12/16/32",
        "exFAT",
        "NTFS",
        "BitLocker",
        *dict.fromkeys(magic.fstype for magic in MAGIC_NUMBERS),
    )
)
LOOK_CLOSER = "look at it with `file -s` and a hex viewer; if it should hold files, image the medium again"
CHECK_A_COPY = "image the medium again, or repair a copy of the image with the file system's own checker"


def detect(source: ImageSource, claimed_bytes: int, cue: str = "") -> Layout:  # noqa: ARG001
    """The image's volumes, in the order of its table; one for the whole image if it has no table.

    A file system, or another signature, at byte 0 wins over a partition table there: FAT boot sectors and
    hybrid ISO images look like an MBR. `claimed_bytes` is the medium's size, which the image may fall short of.
    Opens and closes each volume. OSError if the image file itself cannot be read.
    """
    whole_bytes = max(claimed_bytes, source.size_bytes)
    found = recognise(source, 0, whole_bytes)
    table = read_table(source) if found is None or found.at_end else None
    if table is not None and (table.partitions or found is None):
        return _partitioned(source, table)
    volume = _whole(source, whole_bytes, found)
    return Layout("none", (volume,), found.remarks if found is not None else ())


def _whole(source: ImageSource, whole_bytes: int, found: Recognised | None) -> Volume:
    if found is None:
        return _unknown(source, 1, "none", Partition(0, whole_bytes, ""))
    size = found.size_bytes or whole_bytes
    return _recognised(source, Volume(1, "none", 0, size, found.fstype, found.route, VolumeStatus.READ), found)


def _partitioned(source: ImageSource, table: Table) -> Layout:
    remarks = list(table.remarks)
    volumes: list[Volume] = []
    for index, partition in enumerate(table.partitions, 1):
        volume, noted = _partition_volume(source, index, table.scheme, partition)
        volumes.append(volume)
        remarks.extend(f"volume {index}: {remark}" for remark in noted)
    if not volumes:
        empty = Volume(
            1,
            table.scheme,
            0,
            source.size_bytes,
            "unknown",
            Route.NONE,
            VolumeStatus.FINDING,
            finding="a partition table without partitions",
            next_step="if files are expected, search the image for lost partitions (`testdisk`)",
        )
        volumes.append(empty)
    return Layout(table.scheme, tuple(volumes), tuple(remarks))


def _partition_volume(
    source: ImageSource, index: int, scheme: str, partition: Partition
) -> tuple[Volume, tuple[str, ...]]:
    if partition.offset_bytes >= source.size_bytes:
        finding = f"the partition ({partition.kind}) lies wholly beyond the end of the image"
        step = "image the medium again: what was read ends before this partition"
        return _finding(index, scheme, partition, "unknown", finding, step), ()
    found = recognise(source, partition.offset_bytes, partition.size_bytes)
    if found is None:
        return _unknown(source, index, scheme, partition), ()
    volume = Volume(
        index,
        scheme,
        partition.offset_bytes,
        partition.size_bytes,
        found.fstype,
        found.route,
        VolumeStatus.READ,
    )
    return _recognised(source, volume, found), found.remarks


def _recognised(source: ImageSource, volume: Volume, found: Recognised) -> Volume:
    """The volume as its reader sees it, or as a finding where none does."""
    cut = _truncation(source, volume, found.size_bytes)
    if found.route is Route.NONE:
        return _changed(volume, Route.NONE, VolumeStatus.FINDING, "", _joined(found.finding, cut), found.next_step)
    try:
        reader = open_volume(source, volume)
    except ReadError as error:
        finding = _joined(f"a file system ({found.fstype}) that could not be opened: {error}", cut)
        return _changed(volume, Route.NONE, VolumeStatus.FINDING, "", finding, CHECK_A_COPY)
    try:
        step = "image the medium again if it still can be read" if cut else ""
        return _changed(volume, volume.route, VolumeStatus.READ, reader.label, cut, step, reader.fstype)
    finally:
        reader.close()


def _truncation(source: ImageSource, volume: Volume, own_bytes: int) -> str:
    """A sentence if the table, or else the file system itself, claims more than there is."""
    missing = volume.offset_bytes + volume.size_bytes - source.size_bytes
    if missing > 0:
        what = "partition" if volume.scheme != "none" else "volume"
        return f"the {what} reaches {missing} bytes beyond the end of the image: what lies inside is read"
    if own_bytes > volume.size_bytes:
        more = own_bytes - volume.size_bytes
        return f"the file system reaches {more} bytes beyond the end of its partition: what lies inside is read"
    return ""


def _unknown(source: ImageSource, index: int, scheme: str, partition: Partition) -> Volume:
    """Nothing that is known: blank, unread, or simply foreign."""
    end = min(partition.offset_bytes + partition.size_bytes, source.size_bytes)
    unread = total(within(source.unread, partition.offset_bytes, end))
    kind = f" ({partition.kind})" if partition.kind else ""
    if unread and unread >= end - partition.offset_bytes:
        finding = f"no byte of this volume{kind} could be read"
        return _finding(index, scheme, partition, "unknown", finding, "image the medium again, in another drive")
    if partition.kind.endswith(WITHOUT_FILES):
        return _finding(index, scheme, partition, "unknown", f"{partition.kind}: it holds no files", "nothing to do")
    blank = blank_fill(source, partition.offset_bytes, end)
    if blank is not None:
        return _finding(index, scheme, partition, "blank", _blank_sentence(blank, kind), "nothing to do if it is new")
    finding = f"none of what is known{kind}: tried {TRIED}"
    if unread:
        finding += f"; {unread} of its bytes could not be read"
    return _finding(index, scheme, partition, "unknown", finding, LOOK_CLOSER)


def _blank_sentence(blank: Blank, kind: str) -> str:
    judged = "every byte was looked at" if blank.is_whole else f"{blank.sampled_bytes} bytes in samples were looked at"
    return f"blank{kind}: nothing but 0x{blank.fill:02X} ({judged}); tried {TRIED}"


def _finding(index: int, scheme: str, partition: Partition, fstype: str, finding: str, next_step: str) -> Volume:
    return Volume(
        index,
        scheme,
        partition.offset_bytes,
        partition.size_bytes,
        fstype,
        Route.NONE,
        VolumeStatus.FINDING,
        "",
        finding,
        next_step,
    )


def _changed(
    volume: Volume, route: Route, status: VolumeStatus, label: str, finding: str, next_step: str, fstype: str = ""
) -> Volume:
    return Volume(
        volume.index,
        volume.scheme,
        volume.offset_bytes,
        volume.size_bytes,
        fstype or volume.fstype,
        route,
        status,
        label,
        finding,
        next_step,
    )


def _joined(*sentences: str) -> str:
    return "; ".join(filter(None, sentences))
