"""Damaged and cut UDF volumes: what is there is listed and read, what is not is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from disk_images import bytes_at, walked
from udf_images import METADATA, SPARABLE, VIRTUAL, UdfWriter
from udf_items import DATA, Item, edited
from udf_reading import contents, listing, udf
from udf_simple import BLOCK, EXPECTED, at_block, damaged, noise, simple

from ntt.copier.damage import damaged_ranges
from ntt.readers.base import ReadError

MAIN, RESERVE, INTEGRITY, ANCHOR = 96 * BLOCK, 128 * BLOCK, 160 * BLOCK, 256 * BLOCK


# ---------------------------------------------------------------- descriptors of the volume

LOST = {
    "main": ([(MAIN, bytes(16 * BLOCK))], "reserve"),
    "one of the main ones": ([(MAIN + BLOCK, bytes(BLOCK))], "reserve"),
    "a bit of the main ones": ([(MAIN + 2 * BLOCK + 190, b"\xff")], "reserve"),
    "reserve": ([(RESERVE, bytes(16 * BLOCK))], ""),
    "first anchor": ([(ANCHOR, bytes(BLOCK))], ""),
    "everything before the partition": (
        [(0, bytes(MAIN)), (MAIN, bytes(16 * BLOCK)), (ANCHOR, bytes(BLOCK))],
        "reserve",
    ),
    "all anchors": ([(ANCHOR, bytes(BLOCK)), (4095 * BLOCK, bytes(BLOCK))], "searching"),
    "anchors and main": (
        [(MAIN, bytes(16 * BLOCK)), (ANCHOR, bytes(BLOCK)), (4095 * BLOCK, bytes(BLOCK))],
        "searching",
    ),
    "integrity": ([(INTEGRITY, bytes(BLOCK))], ""),
}


@pytest.mark.parametrize("lost", LOST)
def test_lost_descriptors_are_found_elsewhere(lost: str, tmp_path: Path) -> None:
    changes, remark = LOST[lost]
    image = tmp_path / "volume.img"
    image.write_bytes(edited(simple().write(), changes))
    assert contents(image) == EXPECTED
    with udf(image) as (_, reader):
        facts = reader.facts()
    told = [oddity for oddity in facts.oddities if "reserve" in oddity or "searching" in oddity]
    assert len(told) == bool(remark)
    assert not remark or remark in told[0]
    assert facts.state == ("" if lost == "integrity" else "clean")


def test_without_any_descriptor_the_volume_does_not_open(tmp_path: Path) -> None:
    image = tmp_path / "volume.img"
    image.write_bytes(edited(simple().write(), [(MAIN, bytes(16 * BLOCK)), (RESERVE, bytes(16 * BLOCK))]))
    with pytest.raises(ReadError, match="no readable UDF volume descriptors"), udf(image):
        pass


def test_a_lost_file_set_is_searched_for_and_doubted(tmp_path: Path) -> None:
    writer = simple()
    image = tmp_path / "volume.img"
    image.write_bytes(damaged(writer.write(), writer.file_set))
    assert contents(image) == EXPECTED
    (problem,) = listing(image).problems
    assert (problem.kind, "found by searching" in problem.detail) == ("directory_damaged", True)


def test_without_its_root_directory_the_volume_does_not_open(tmp_path: Path) -> None:
    writer = simple()
    image = tmp_path / "volume.img"
    image.write_bytes(damaged(writer.write(), writer.root.icb))
    with pytest.raises(ReadError, match="no file entry"), udf(image):
        pass


@pytest.mark.parametrize(("old", "new"), [(512, 2048), (2048, 512)])
def test_the_newer_of_two_file_systems_with_anchors_left_is_read(old: int, new: int, tmp_path: Path) -> None:
    volumes = {}
    for block, year in ((old, 1999), (new, 2005)):
        writer = UdfWriter(block=block, blocks=(8 << 20) // block, label=f"of {year}")
        writer.created = (0, year, 3, 1, 0, 0, 0, 0, 0, 0)
        volumes[block] = writer.write()
    written = [at for at in range(0, 8 << 20, 512) if any(volumes[new][at : at + 512])]
    image = tmp_path / "volume.img"
    image.write_bytes(edited(volumes[old], [(at, volumes[new][at : at + 512]) for at in written]))
    with udf(image) as (_, reader):
        assert (reader.label, reader.facts().block_bytes) == ("of 2005", new)


# ---------------------------------------------------------------- files and directories


def test_a_lost_file_entry_is_named_and_the_rest_is_listed(tmp_path: Path) -> None:
    writer = simple()
    whole = writer.write()
    one, _, folder = writer.root.children
    image = tmp_path / "volume.img"
    image.write_bytes(damaged(whole, one.icb, folder.icb))
    walk = listing(image)
    assert set(walk.entries) == {b"", b"two"}
    assert {(one.kind, one.name, one.ino) for one in walk.problems} == {
        ("bad_record", b"one", one.icb),
        ("directory_unreadable", b"folder", folder.icb),
    }
    unread = ((at_block(one.icb), at_block(one.icb) + BLOCK),)
    image.write_bytes(whole)
    (problem,) = listing(image, unread).problems
    assert (problem.name, "was not read" in problem.detail) == (b"one", True)


def many_names() -> tuple[UdfWriter, list[bytes]]:
    writer = UdfWriter()
    writer.root.children = [Item(f"file number {index}", b"x", ads="embedded") for index in range(300)]
    return writer, [f"file number {index}".encode() for index in range(300)]


def test_names_behind_an_unread_part_of_a_directory_are_found(tmp_path: Path) -> None:
    writer, names = many_names()
    image = tmp_path / "volume.img"
    writer.write(image)
    ((block, size),) = writer.root.runs
    assert size > 6 * BLOCK
    walk = listing(image, ((block * BLOCK + BLOCK, block * BLOCK + 2 * BLOCK),))
    found = [name for name in names if name in walk.entries]
    assert (found[0], found[-1]) == (names[0], names[-1])
    assert 0 < len(names) - len(found) <= BLOCK // 52 + 2, "a record has 52 bytes or more; two are cut"
    (problem,) = walk.problems
    assert (problem.kind, problem.ino) == ("directory_damaged", writer.root.icb)
    assert problem.detail == f"{BLOCK} of its {size} bytes were not read: names may be missing"


def test_a_directory_beyond_the_end_of_the_image_is_damaged_not_shorter(tmp_path: Path) -> None:
    writer, names = many_names()
    whole = writer.write()
    ((block, size),) = writer.root.runs
    image = tmp_path / "volume.img"
    image.write_bytes(whole[: block * BLOCK + 2 * BLOCK])
    walk = listing(image)
    assert 60 < len(walk.entries) < 120
    (problem,) = walk.problems
    assert problem.detail == f"{size - 2 * BLOCK} of its {size} bytes were not read: names may be missing"
    assert names[0] in walk.entries


def test_a_broken_name_is_told_and_the_next_ones_are_found(tmp_path: Path) -> None:
    writer, names = many_names()
    whole = writer.write()
    ((block, _),) = writer.root.runs
    broken = whole.index(b"file number 100", block * BLOCK)
    image = tmp_path / "volume.img"
    image.write_bytes(
        edited(whole, [(broken, b"F"), (whole.index(b"file number 200", block * BLOCK) - 30, b"\xff" * 9)])
    )
    walk = listing(image)
    assert set(names) - set(walk.entries) == {b"file number 100", b"file number 200"}
    assert [problem.kind for problem in walk.problems] == ["bad_record", "bad_record"]
    assert all(re.search(r"bytes \d+ to \d+ of the directory hold no names", one.detail) for one in walk.problems)


def test_unread_bytes_of_a_file_are_exactly_those(tmp_path: Path) -> None:
    writer = UdfWriter()
    big = Item("big", noise(30 * BLOCK, 1), pieces=[(DATA, 10 * BLOCK)] * 3)
    small = Item("small", b"s" * 1000, ads="embedded")
    writer.root.children = [big, small]
    image = tmp_path / "volume.img"
    whole = writer.write(image)
    second = big.runs[1][0] * BLOCK
    inside = whole.index(b"s" * 1000)
    unread = ((inside + 100, inside + 200), (second + 1000, second + 1512))
    with udf(image, unread) as (source, reader):
        entries = walked(reader).entries
        extents = reader.extents(entries[b"big"].ino)
        assert damaged_ranges(extents, source.unread) == ((10 * BLOCK + 1000, 10 * BLOCK + 1512),)
        content = bytearray(big.content)
        content[10 * BLOCK + 1000 : 10 * BLOCK + 1512] = bytes(512)
        assert reader.read(entries[b"big"].ino, 0, len(content)) == content == bytes_at(source, extents)


# ---------------------------------------------------------------- what belongs to each kind


def test_a_lost_end_of_a_write_once_disc_is_rebuilt_from_what_is_there(tmp_path: Path) -> None:
    writer = simple(VIRTUAL)
    whole = writer.write()
    image = tmp_path / "volume.img"
    image.write_bytes(whole[: at_block(writer.last_vat_block)])
    assert contents(image) == EXPECTED
    (problem,) = listing(image).problems
    assert (problem.kind, problem.name) == ("directory_damaged", b"")
    assert "virtual allocation table is lost" in problem.detail
    with udf(image) as (_, reader):
        assert (reader.facts().state, reader.facts().entries) == ("dirty", None)


def test_zeros_behind_the_last_table_do_not_matter(tmp_path: Path) -> None:
    image = tmp_path / "volume.img"
    image.write_bytes(simple(VIRTUAL).write() + bytes(5 << 20))
    assert contents(image) == EXPECTED
    assert listing(image).problems == ()


def test_what_was_written_behind_the_last_table_is_used(tmp_path: Path) -> None:
    writer = simple(VIRTUAL)
    one = writer.root.children[0]
    writer.write()
    writer.put_icb(one.icb, writer._entry(one, one.icb, b"newer than the table", bytes(16)))
    image = tmp_path / "volume.img"
    image.write_bytes(writer.image[: at_block(writer.next_block)])
    assert contents(image) == EXPECTED | {b"one": b"newer than the table"}
    (problem,) = listing(image).problems
    assert "1 file entries stand behind the last virtual allocation table" in problem.detail


def test_lost_sparing_tables_are_a_doubt_and_one_of_two_is_enough(tmp_path: Path) -> None:
    writer = simple(SPARABLE, 0x0150)
    writer.write()
    writer.spare(0)
    image = tmp_path / "volume.img"
    image.write_bytes(edited(bytes(writer.image), [(300 * BLOCK, bytes(BLOCK))]))
    assert contents(image) == EXPECTED
    image.write_bytes(edited(bytes(writer.image), [(300 * BLOCK, bytes(BLOCK)), (310 * BLOCK, b"\xff")]))
    with pytest.raises(ReadError), udf(image):
        pass
    writer = simple(SPARABLE, 0x0150)
    image.write_bytes(edited(writer.write(), [(300 * BLOCK, bytes(BLOCK)), (310 * BLOCK, bytes(BLOCK))]))
    (problem,) = listing(image).problems
    assert "none of its sparing tables could be read" in problem.detail


@pytest.mark.parametrize("lost", ["file entry", "file entries", "root", "unread"])
def test_the_mirror_serves_where_the_metadata_file_does_not(lost: str, tmp_path: Path) -> None:
    writer = simple(METADATA, 0x0250)
    whole = writer.write()
    start, end = at_block(writer.metadata_first), at_block(writer.metadata_first + 256)
    image = tmp_path / "volume.img"
    unread = ((start, end),) if lost == "unread" else ()
    # only file entries have a second try: the bytes of a directory do not say where they belong
    entries = [at for at in range(start, end, BLOCK) if whole[at : at + 2] == b"\x0a\x01"]
    changes = {
        "file entry": [(at_block(0), bytes(BLOCK))],
        "file entries": [(at, b"\xff" * 20) for at in entries],
        "root": [(at_block(writer.metadata_first + writer.root.icb), b"\xff")],
        "unread": [],
    }[lost]
    image.write_bytes(edited(whole, changes))
    walk = listing(image, unread)
    assert walk.problems == ()
    assert set(walk.entries) == {b"", b"one", b"two", b"folder", b"folder/three"}
    with udf(image, unread) as (source, reader):
        for path, content in EXPECTED.items():
            entry = walk.entries[path]
            assert reader.read(entry.ino, 0, entry.size) == content
            assert damaged_ranges(reader.extents(entry.ino), source.unread) == ()


def test_without_metadata_file_and_mirror_the_volume_does_not_open(tmp_path: Path) -> None:
    writer = simple(METADATA, 0x0250)
    image = tmp_path / "volume.img"
    image.write_bytes(damaged(writer.write(), 0, 2))
    with pytest.raises(ReadError, match="neither the metadata file nor its mirror"), udf(image):
        pass
