"""Directories of FAT and exFAT that are not whole: rings, chains that lead nowhere, sets of records that are broken."""

from __future__ import annotations

import struct

import pytest

from ntt.readers.boot_sectors import FatGeometry
from ntt.readers.detection.samples import Prefix
from ntt.readers.fat.chains import Chain, FatChains, once
from ntt.readers.fat.directories import Broken, FatEntry, Record, exfat_entries, fat_entries
from ntt.readers.fat.table import FatTable
from ntt.readers.tsk_extents import Run

END = {"fat12": 0xFFF, "fat16": 0xFFFF, "fat32": 0x0FFFFFFF, "exfat": 0xFFFFFFFF}
BAD = {"fat12": 0xFF7, "fat16": 0xFFF7, "fat32": 0x0FFFFFF7, "exfat": 0xFFFFFFF7}
CLUSTERS = 300


def chains(fstype: str, links: dict[int, int]) -> FatChains:
    entries = [links.get(cluster, 0) for cluster in range(CLUSTERS + 2)]
    if fstype == "fat12":
        table = b"".join(
            (low | high << 12).to_bytes(3, "little") for low, high in zip(*[iter(entries)] * 2, strict=True)
        )
    else:
        table = struct.pack(f"<{len(entries)}{'H' if fstype == 'fat16' else 'I'}", *entries)
    source = Prefix(bytes(512) + table + bytes(8))
    geometry = FatGeometry(fstype, 512, 512, 0, 0, 1 << 20, 512, CLUSTERS, 0)
    return FatChains(FatTable(source, 0, geometry))


@pytest.mark.parametrize("fstype", END)
def test_a_chain_that_ends_is_whole(fstype: str) -> None:
    found = chains(fstype, {2: 3, 3: 250, 250: 7, 7: END[fstype]})
    assert [found.follow(cluster, 100) for cluster in (2, 7)] == [
        Chain([Run(0, 2, 0), Run(2, 1, 248), Run(3, 1, 5)]),
        Chain([Run(0, 1, 5)]),
    ]


@pytest.mark.parametrize("fstype", END)
@pytest.mark.parametrize(
    ("link", "fault"), [(9, "a ring"), (0, "a free one"), (1, "does not exist"), (CLUSTERS + 2, "does not exist")]
)
def test_a_chain_that_does_not_end_is_said_to_be_none(fstype: str, link: int, fault: str) -> None:
    assert fault in chains(fstype, {8: 9, 9: 10, 10: link}).follow(8, 100).fault


@pytest.mark.parametrize("fstype", END)
def test_a_ring_ends_whatever_is_wanted_of_it_and_has_each_cluster_once(fstype: str) -> None:
    around = chains(fstype, {8: 9, 9: 20, 20: 21, 21: 9}).follow(8, 1 << 40)
    assert around.fault == "its chain of clusters is a ring"
    assert once(around.runs) == [Run(0, 2, 6), Run(2, 2, 18)]
    twice = chains(fstype, {8: 9, 9: 20, 20: 8}).follow(8, 4)
    assert twice.fault, "what is needed of it holds a cluster twice"


@pytest.mark.parametrize("fstype", END)
def test_bad_clusters_and_wrong_beginnings_are_told(fstype: str) -> None:
    assert "marked as bad" in chains(fstype, {8: BAD[fstype]}).follow(8, 100).fault
    assert "leads to" in chains(fstype, {}).follow(0, 100).fault


# ---------------------------------------------------------------- records


def records(*raw: bytes) -> list[Record]:
    return [Record(32 * number, one.ljust(32, b"\0")) for number, one in enumerate(raw)]


def long_part(number: int) -> bytes:
    return bytes((number,)) + b"n\0" * 5 + b"\x0f\0\0" + b"n\0" * 6 + b"\0\0" + b"n\0" * 2


def test_long_names_without_their_file_are_told_but_not_those_that_dos_left() -> None:
    short = b"FILE    TXT\x20"
    found = list(fat_entries(records(long_part(0x41), b"\xe5" + short[1:], short, long_part(0x41), long_part(0x41))))
    assert [one.position for one in found if isinstance(one, Broken)] == [96, 128]
    assert [one.name for one in found if isinstance(one, FatEntry)] == [b"FILE.TXT"]


def unread(*found: Record, at: int) -> list[Record]:
    return [record._replace(raw=b"") if number == at else record for number, record in enumerate(found)]


def test_the_rest_of_a_long_name_is_no_long_name() -> None:
    short = b"FILE    TXT\x20"
    checksum = 0
    for byte in short[:11]:
        checksum = ((checksum >> 1 | checksum << 7) + byte) & 0xFF
    parts = [bytearray(long_part(number)) for number in (0x43, 2, 1)]
    for part in parts:
        part[13] = checksum
    whole = records(*map(bytes, parts), short, b"OTHER   TXT\x20")
    (first, other) = fat_entries(whole)
    assert isinstance(first, FatEntry) and (first.name, first.may_be_short) == (b"n" * 39, False)
    assert isinstance(other, FatEntry) and not other.may_be_short
    for at in range(3):
        cut = [one for one in fat_entries(unread(*whole, at=at)) if isinstance(one, FatEntry)]
        assert [(one.name, one.may_be_short) for one in cut] == [(b"FILE.TXT", True), (b"OTHER.TXT", False)]
    lost = list(fat_entries(unread(*whole, at=3)))
    assert [one.name if isinstance(one, FatEntry) else one.position for one in lost] == [0, b"OTHER.TXT"]
    without_its_last = [one for one in fat_entries(whole[1:]) if isinstance(one, FatEntry)]
    assert without_its_last[0].name == b"FILE.TXT", "neither where all was read"


def test_what_stands_behind_unread_records_of_exfat_is_listed() -> None:
    primary, stream = bytes((0x85, 2)), bytes((0xC0, 0, 0, 3))
    name = bytes((0xC1, 0)) + "abc".encode("utf-16-le")
    whole = records(primary, stream, name, primary, stream, name)
    for at in range(3):
        found = list(exfat_entries(unread(*whole, at=at)))
        assert [one.name for one in found if isinstance(one, FatEntry)] == [b"abc"]
        assert len(found) == (1 if at == 0 else 2), "a set of which the beginning was read is told as broken"


def test_sets_of_exfat_that_are_broken_off_are_told() -> None:
    primary, stream = bytes((0x85, 2)), bytes((0xC0, 0, 0, 3))
    name = bytes((0xC1, 0)) + "abc".encode("utf-16-le")
    found = list(exfat_entries(records(primary, primary, stream, name, primary, stream, b"\x83", primary, stream)))
    assert [one.position for one in found if isinstance(one, Broken)] == [0, 128, 224]
    assert [one.name for one in found if isinstance(one, FatEntry) and not one.is_label] == [b"abc"]


def test_what_was_deleted_from_exfat_is_no_loss() -> None:
    gone = [bytes((kind & 0x7F, 2)) for kind in (0x85, 0xC0, 0xC1)]
    assert list(exfat_entries(records(*gone))) == []
