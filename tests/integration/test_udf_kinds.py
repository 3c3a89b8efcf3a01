"""Volumes of every revision and kind of partition, written by hand -> every entry, attribute, byte and extent."""

from __future__ import annotations

import random
import stat
import struct
from pathlib import Path

import pytest
from disk_images import Walked, walked
from udf_images import FIRST_BLOCK, METADATA, PACKET, PLAIN, SPARABLE, VIRTUAL, UdfWriter
from udf_items import (
    ALLOCATED,
    BLOCK,
    CHARACTER,
    DATA,
    DIRECTORY,
    FIFO,
    HOLE,
    NOON_NS,
    REAL_TIME,
    SOCKET,
    SYMLINK,
    Item,
    attribute,
    path_components,
    regid,
)
from udf_reading import by_libudfread, contents, listing, udf, udfinfo

from ntt.model import Extent, VolumeFacts
from ntt.readers.base import ReadError

KINDS = [
    (PLAIN, 0x0102, 2048),
    (PLAIN, 0x0150, 512),
    (PLAIN, 0x0200, 4096),
    (PLAIN, 0x0201, 1024),
    (VIRTUAL, 0x0150, 2048),
    (VIRTUAL, 0x0200, 2048),
    (VIRTUAL, 0x0201, 2048),
    (SPARABLE, 0x0150, 2048),
    (SPARABLE, 0x0201, 2048),
    (METADATA, 0x0250, 2048),
    (METADATA, 0x0260, 2048),
    (METADATA, 0x0250, 512),
]
ALL_KINDS = pytest.mark.parametrize(("kind", "revision", "block"), KINDS)


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def descriptors_of(kind: str) -> str:
    return "short" if kind in (PLAIN, SPARABLE) else "long"


def written(kind: str, revision: int, block: int) -> UdfWriter:
    return UdfWriter(kind, revision=revision, block=block, extended=revision >= 0x0200)


def filled(kind: str, revision: int, block: int) -> tuple[UdfWriter, dict[bytes, bytes]]:
    """A tree with every way of holding content, and what must be found."""
    writer = written(kind, revision, block)
    plain = descriptors_of(kind)
    pieces = noise(block * 40 + 77, 5)
    many = [(DATA, block)] * 40 + [(DATA, 77)]
    holes = b"".join((noise(block, 6), bytes(3 * block), noise(2 * block, 7), bytes(block + 5)))
    laid = [(DATA, block), (HOLE, 3 * block), (DATA, 2 * block), (ALLOCATED, block + 5)]
    shared = Item("first name", noise(3 * block, 8), ads=plain, links=2)
    folder = Item(
        "Ordner Grüße",
        kind=DIRECTORY,
        ads=plain,
        mode=0o2711,
        flags=1 << 7,
        children=[
            Item("日本語 и кириллица.txt", noise(10, 9), ads="embedded"),
            Item("\ud83d\ude00 smile", b"astral", ads="embedded"),
            Item(b"\x10\xd8\x3d lone", b"lone surrogate", ads="embedded"),
            Item("second name", same_as=shared),
            Item("deeper", kind=DIRECTORY, ads="embedded", children=[Item("leaf", b"leaf", ads=plain)]),
        ],
    )
    writer.root.children = [
        Item("embedded", b"inside of the block", ads="embedded"),
        Item("empty", b"", ads=plain),
        Item("long", pieces, ads="long", pieces=many),
        Item("extended", pieces, ads="extended", pieces=many),
        Item("chained", pieces, ads="long", pieces=many, ads_per_block=14),
        Item("holes", holes, ads="long", pieces=laid),
        Item("real time", noise(block, 10), ads=plain, kind=REAL_TIME),
        Item("removed", b"must not be seen", ads="embedded", deleted=True),
        Item("hidden", b"hidden", ads="embedded", hidden=True),
        shared,
        folder,
    ]
    found = {
        b"embedded": b"inside of the block",
        b"empty": b"",
        b"long": pieces,
        b"extended": pieces,
        b"chained": pieces,
        b"holes": holes,
        b"real time": noise(block, 10),
        b"hidden": b"hidden",
        b"first name": shared.content,
    }
    inside = {
        "日本語 и кириллица.txt".encode(): noise(10, 9),
        "\U0001f600 smile".encode(): b"astral",
        b"\xed\xa0\xbd\xe2\x81\xac\xe6\xbd\xae\x65": b"lone surrogate",
        b"second name": shared.content,
        b"deeper/leaf": b"leaf",
    }
    folder_name = "Ordner Grüße/".encode()
    return writer, found | {folder_name + name: content for name, content in inside.items()}


@ALL_KINDS
def test_every_entry_and_every_byte_is_found(kind: str, revision: int, block: int, tmp_path: Path) -> None:
    writer, expected = filled(kind, revision, block)
    image = tmp_path / "volume.img"
    writer.write(image)
    walk = listing(image)
    assert walk.problems == ()
    assert contents(image) == expected
    folders = {path for path, entry in walk.entries.items() if entry.is_directory}
    assert folders == {b"", "Ordner Grüße".encode(), "Ordner Grüße/deeper".encode()}
    first, second = walk.entries[b"first name"], walk.entries["Ordner Grüße/second name".encode()]
    assert first.ino == second.ino
    assert [one.new_inode for one in walk.all_entries if one.ino == first.ino] == [True, False]
    assert len({entry.ino for entry in walk.entries.values()}) == len(walk.entries) - 1
    folder = walk.entries["Ordner Grüße".encode()]
    assert (folder.mode, folder.uid, folder.gid) == (stat.S_IFDIR | 0o2711, 0, 0)
    assert folder.mtime_s * 10**9 + folder.mtime_ns == NOON_NS


@ALL_KINDS
def test_facts_are_those_that_udfinfo_prints(kind: str, revision: int, block: int, tmp_path: Path) -> None:
    writer, _ = filled(kind, revision, block)
    image = tmp_path / "volume.img"
    writer.write(image)
    facts, info = facts_of(image), udfinfo(image)
    assert (facts.label, facts.serial) == (info["label"], info["uuid"]) == ("Ntt Läbel", "0123456789abcdef")
    assert facts.block_bytes == int(info["blocksize"]) == block
    assert facts.created_s == facts.modified_s == NOON_NS // 10**9
    assert (facts.state, info["integrity"]) == ("clean", "closed")
    assert facts.oddities[0] == f"UDF revision {info['udfrev']}, written by “*NTT test”"
    counted = int(info["numfiles"]) + int(info["numdirs"]) - 1
    assert counted == len(listing(image).all_entries) - 1
    if (kind, revision) != (VIRTUAL, 0x0150):  # the table of revision 1.50 does not count
        assert facts.entries == counted
    if kind != VIRTUAL:
        assert facts.used_bytes == int(info["usedblocks"]) * block


def facts_of(image: Path) -> VolumeFacts:
    with udf(image) as (_, reader):
        return reader.facts()


@pytest.mark.parametrize(("kind", "revision"), [(PLAIN, 0x0102), (PLAIN, 0x0201), (METADATA, 0x0250)])
def test_another_reader_finds_the_same(kind: str, revision: int, tmp_path: Path) -> None:
    writer, expected = filled(kind, revision, 2048)
    # libudfread knows neither extended descriptors nor holes, shows deleted files, and splits characters beyond 16 bits
    awkward = ("extended", "holes", "removed")
    folder = writer.root.children[-1]
    folder.children = [one for one in folder.children if isinstance(one.name, str) and one.name.isprintable()]
    folder.children = [one for one in folder.children if "smile" not in one.name]
    writer.root.children = [one for one in writer.root.children if one.name not in awkward]
    image = tmp_path / "volume.img"
    writer.write(image)
    ours = contents(image)
    assert len(ours) == len(expected) - 4
    theirs = by_libudfread(image)
    assert {path: content for path, content in theirs.items() if content is not None} == ours
    folders = {path for path, entry in listing(image).entries.items() if entry.is_directory and path}
    assert {path for path, content in theirs.items() if content is None} == folders


def listed(*items: Item, revision: int = 0x0201, folder: Path) -> Walked:
    writer = UdfWriter(revision=revision)
    writer.root.children = list(items)
    writer.write(folder / "volume.img")
    return listing(folder / "volume.img")


def test_types_owners_permissions_and_links_are_kept(tmp_path: Path) -> None:
    device = attribute(12, struct.pack("<III", 0, 300, 70_000))
    targets = {
        "absolute": path_components(2, "usr", "lib"),
        "up": path_components(3, 3, "x", 4, "y"),
        "wide": path_components("日本語", "ü"),
        "root": path_components(2),
        "volume": path_components("ignored", 1, "a"),
    }
    walk = listed(
        Item("set-uid", b"s", mode=0o755, flags=1 << 6 | 1 << 8, uid=70_000, gid=80_000),
        Item("block", kind=BLOCK, attributes=device),
        Item("character", kind=CHARACTER, attributes=attribute(2048, bytes(4) + regid(b"*other")) + device),
        Item("fifo", kind=FIFO, mode=0o600),
        Item("socket", kind=SOCKET),
        *[Item(name, target, kind=SYMLINK, ads="embedded", mode=0o777) for name, target in targets.items()],
        Item("long link", path_components("k" * 254) * 20, kind=SYMLINK),
        folder=tmp_path,
    )
    assert walk.problems == ()
    one = walk.entries[b"set-uid"]
    assert (one.mode, one.uid, one.gid) == (stat.S_IFREG | stat.S_ISUID | stat.S_ISVTX | 0o755, 70_000, 80_000)
    assert (walk.entries[b"block"].mode, walk.entries[b"block"].link_target) == (stat.S_IFBLK | 0o644, b"300:70000")
    assert stat.S_ISCHR(walk.entries[b"character"].mode)
    assert walk.entries[b"character"].link_target == b"300:70000"
    assert walk.entries[b"fifo"].mode == stat.S_IFIFO | 0o600
    assert stat.S_ISSOCK(walk.entries[b"socket"].mode)
    found = {name: one.link_target for name, one in walk.entries.items() if stat.S_ISLNK(one.mode)}
    assert found == {
        b"absolute": b"/usr/lib",
        b"up": b"../../x/./y",
        b"wide": "日本語/ü".encode(),
        b"root": b"/",
        b"volume": b"/a",
        b"long link": b"/".join([b"k" * 254] * 20),
    }
    assert all(walk.entries[name].size == len(target) for name, target in found.items())


def test_named_streams_are_entries_beside_their_file(tmp_path: Path) -> None:
    streams = [
        Item("notes", b"a stream", ads="embedded"),
        Item("*UDF Macintosh Resource Fork", noise(5000, 1), metadata=True),
        Item("*UDF NT ACL", b"system", ads="embedded", metadata=True),
    ]
    on_folder = Item("of a folder", kind=DIRECTORY, streams=[Item("icon", b"picture", ads="embedded")])
    walk = listed(Item("file", b"data", ads="embedded", streams=streams), on_folder, folder=tmp_path)
    assert walk.problems == ()
    assert set(walk.entries) == {b"", b"file", b"file:notes", b"file:rsrc", b"of a folder", b"of a folder:icon"}
    assert len({entry.ino for entry in walk.entries.values()}) == 6
    found = contents(tmp_path / "volume.img")
    assert (found[b"file"], found[b"file:notes"]) == (b"data", b"a stream")
    assert found[b"file:rsrc"] == noise(5000, 1)
    assert found[b"of a folder:icon"] == b"picture"


def test_finder_information_is_kept_in_its_own_order(tmp_path: Path) -> None:
    packed = struct.pack("<HHI", 0, 0, 2) + struct.pack("<IIHHHH", 0x54455854, 0x74747874, 0x0100, 1, 2, 3)
    packed += struct.pack("<h6xbbhi", -5, 0, 0, 0, 9) + struct.pack("<II", 0, 0)
    raw = attribute(2048, struct.pack("<I", len(packed)) + regid(b"*UDF Mac FinderInfo") + packed)
    walk = listed(Item("text", b"t", attributes=raw), Item("bare", b"t"), folder=tmp_path)
    ((name, info),) = walk.entries[b"text"].attributes
    assert (name, info[:8], len(info)) == ("com.apple.FinderInfo", b"TEXTttxt", 32)
    assert struct.unpack(">HHHHh", info[8:18]) == (0x0100, 1, 2, 3, -5)
    assert walk.entries[b"bare"].attributes == ()


def test_times_and_their_zones(tmp_path: Path) -> None:
    day = (2004, 2, 29, 12, 0, 0, 0, 0, 0)
    cases = {
        "utc": (0, *day),
        "utc with a zone that does not count": (60, *day),
        "east": (0x1000 | 90, *day),
        "west": (0x1000 | (-60 & 0xFFF), *day),
        "no zone": (0x1000 | (-2047 & 0xFFF), *day),
        "before 1970": (0x1000, 1950, 1, 1, 0, 0, 0, 1, 0, 0),
        "no such day": (0x1000, 2003, 2, 29, 0, 0, 0, 0, 0, 0),
        "never": (0,) * 10,
    }
    walk = listed(*[Item(name, b"x", ads="embedded", time=time) for name, time in cases.items()], folder=tmp_path)
    noon = 1_078_056_000
    times = {name.decode(): (entry.mtime_s, entry.mtime_ns) for name, entry in walk.entries.items() if name}
    assert times == {
        "utc": (noon, 0),
        "utc with a zone that does not count": (noon, 0),
        "east": (noon - 5400, 0),
        "west": (noon + 3600, 0),
        "no zone": (noon, 0),
        "before 1970": (-631_152_000, 10_000_000),
        "no such day": (0, 0),
        "never": (0, 0),
    }


def test_an_indirect_entry_leads_to_the_newer_version(tmp_path: Path) -> None:
    walk = listed(Item("file", b"new" * 1000, older=b"old"), Item("other", b"x"), folder=tmp_path)
    assert walk.problems == ()
    assert contents(tmp_path / "volume.img") == {b"file": b"new" * 1000, b"other": b"x"}


def test_the_newest_logical_volume_descriptor_counts(tmp_path: Path) -> None:
    writer = UdfWriter(label="the new label")
    writer.stale_label = "the old label"
    writer.write(tmp_path / "volume.img")
    assert facts_of(tmp_path / "volume.img").label == "the new label"


def test_an_open_volume_is_dirty(tmp_path: Path) -> None:
    UdfWriter(closed=False).write(tmp_path / "volume.img")
    assert facts_of(tmp_path / "volume.img").state == "dirty"


def test_packets_that_were_moved_are_read_from_where_they_are(tmp_path: Path) -> None:
    writer = UdfWriter(SPARABLE, revision=0x0150, extended=False)
    big = Item("big", noise(2048 * 200, 1))
    writer.root.children = [big, Item("small", b"in the first packet", ads="embedded")]
    writer.write()
    first = big.runs[0][0] - FIRST_BLOCK
    packet = (first // PACKET + 2) * PACKET
    moved_to = [writer.spare(packet), writer.spare(0)]
    image = tmp_path / "volume.img"
    image.write_bytes(writer.image)
    assert contents(image) == {b"big": big.content, b"small": b"in the first packet"}
    with udf(image) as (_, reader):
        (entry,) = (one for name, one in walked(reader).entries.items() if name == b"big")
        packet_bytes, at = PACKET * 2048, (packet - first) * 2048
        assert Extent(at, packet_bytes, moved_to[0] * 2048, packet_bytes) in reader.extents(entry.ino)
        assert "2 bad packets are replaced by spare ones" in reader.facts().oddities


def test_a_large_file_of_many_extents_has_exactly_these(tmp_path: Path) -> None:
    writer = UdfWriter(blocks=16_384)
    pieces = [(DATA, 2048 * (1 + index % 3)) for index in range(3000)]
    big = Item("big", noise(sum(size for _, size in pieces), 2), pieces=pieces)
    writer.root.children = [big]
    image = tmp_path / "volume.img"
    writer.write(image)
    assert contents(image) == {b"big": big.content}
    with udf(image) as (_, reader):
        entry = walked(reader).entries[b"big"]
        found = [(one.image_offset, one.image_length) for one in reader.extents(entry.ino)]
    assert found == [(block * 2048, size) for block, size in big.runs]


def test_another_session_of_a_write_once_disc_replaces_files(tmp_path: Path) -> None:
    writer = UdfWriter(VIRTUAL, revision=0x0201)
    old, kept = Item("file", b"old", ads="embedded"), Item("kept", b"kept", ads="embedded")
    writer.root.children = [old, kept]
    writer.write()
    old.content = b"this is new"
    writer.put_icb(old.icb, writer._entry(old, old.icb, old.content, bytes(16)))
    before = writer.last_vat_block
    writer._vat()
    image = tmp_path / "volume.img"
    image.write_bytes(writer.image[: (FIRST_BLOCK + writer.next_block) * 2048])
    assert contents(image) == {b"file": b"this is new", b"kept": b"kept"}
    image.write_bytes(writer.image[: (FIRST_BLOCK + before + 1) * 2048])
    assert contents(image) == {b"file": b"old", b"kept": b"kept"}, "the disc as it was after the first session"


def test_what_is_no_regular_file_has_no_content(tmp_path: Path) -> None:
    listed(Item("fifo", kind=FIFO), Item("folder", kind=DIRECTORY), Item("file", b"x" * 5000), folder=tmp_path)
    with udf(tmp_path / "volume.img") as (_, reader):
        entries = walked(reader).entries
        for name in (b"fifo", b"folder"):
            with pytest.raises(ReadError, match="not a regular file"):
                reader.read(entries[name].ino, 0, 10)
        assert reader.extents(entries[b"fifo"].ino) == ()
        assert sum(one.file_length for one in reader.extents(entries[b"folder"].ino)) == entries[b"folder"].size
        for ino in (-1, 1 << 48, 1 << 40, 5_000_000):
            with pytest.raises(ReadError):
                reader.read(ino, 0, 1)
        ino = entries[b"file"].ino
        assert (reader.read(ino, 4990, 100), reader.read(ino, 5000, 1)) == (b"x" * 10, b"")
