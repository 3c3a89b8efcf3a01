"""Contradictory and hostile UDF volumes: nothing runs away, nothing is invented, only the reader's own errors come."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from disk_images import walked
from udf_images import FIRST_BLOCK, METADATA, SPARABLE, VIRTUAL, UdfWriter
from udf_items import DATA, DIRECTORY, SYMLINK, Item, edited, retagged
from udf_reading import listing, udf
from udf_simple import BLOCK, FIRST, at_block, noise, simple

from ntt.readers.base import ReadError


@pytest.mark.parametrize("ads", ["short", "long", "extended", "embedded"])
def test_a_size_that_its_extents_do_not_cover_is_not_read_as_a_shorter_file(ads: str, tmp_path: Path) -> None:
    writer = UdfWriter()
    writer.root.children = [Item("file", b"x" * 1500, ads=ads, size=4000)]
    image = tmp_path / "volume.img"
    writer.write(image)
    entry = listing(image).entries[b"file"]
    assert entry.size == 4000
    with udf(image) as (_, reader):
        for ask in (lambda: reader.read(entry.ino, 0, 10), lambda: reader.extents(entry.ino)):
            with pytest.raises(ReadError, match="it claims 4000 bytes"):
                ask()


def test_impossible_sizes_links_and_types_are_told_not_listed(tmp_path: Path) -> None:
    writer = UdfWriter()
    writer.root.children = [
        Item("huge", b"x", ads="embedded", size=1 << 63),
        Item("no target", b"", kind=SYMLINK, ads="embedded"),
        Item("half a target", b"\x05\x09\x00\x00\x08a", kind=SYMLINK, ads="embedded"),
        Item("no type", b"x", kind=77, ads="embedded"),
        Item("good", b"x", ads="embedded"),
    ]
    image = tmp_path / "volume.img"
    writer.write(image)
    walk = listing(image)
    assert set(walk.entries) == {b"", b"good"}
    assert {(one.kind, one.name) for one in walk.problems} == {
        ("bad_record", name) for name in (b"huge", b"no target", b"half a target", b"no type")
    }


def test_transformed_content_is_refused(tmp_path: Path) -> None:
    writer = UdfWriter()
    writer.root.children = [Item("squeezed", b"x" * 5000, flags=1 << 11)]
    image = tmp_path / "volume.img"
    writer.write(image)
    with udf(image) as (_, reader), pytest.raises(ReadError, match="transformed"):
        reader.read(walked(reader).entries[b"squeezed"].ino, 0, 10)


def test_names_that_no_path_can_hold_and_names_met_twice_are_told(tmp_path: Path) -> None:
    writer = UdfWriter()
    names: list[str | bytes] = ["a/b", "nul\0", "..", b"", "twice", "twice", b"\x07odd"]
    writer.root.children = [Item(name, b"x", ads="embedded") for name in names]
    image = tmp_path / "volume.img"
    writer.write(image)
    walk = listing(image)
    assert len(walk.all_entries) == len(names) + 1
    assert sorted((one.kind, one.name) for one in walk.problems) == [
        ("bad_record", b"\x07odd"),
        ("duplicate_name", b"twice"),
        ("name_not_storable", b""),
        ("name_not_storable", b".."),
        ("name_not_storable", b"a/b"),
        ("name_not_storable", b"nul\0"),
    ]


# ---------------------------------------------------------------- loops


def test_a_directory_inside_of_itself_is_entered_once(tmp_path: Path) -> None:
    writer = simple()
    writer.root.children[2].children.append(Item("loop", same_as=writer.root))
    writer.root.children.append(Item("again", same_as=writer.root.children[2]))
    image = tmp_path / "volume.img"
    writer.write(image)
    walk = listing(image)
    assert sorted((one.kind, one.name) for one in walk.problems) == [
        ("directory_cycle", b"again"),
        ("directory_cycle", b"loop"),
    ]
    assert {b"one", b"two", b"folder"} <= set(walk.entries)


def test_chains_that_lead_back_to_themselves_end_in_an_error(tmp_path: Path) -> None:
    writer = UdfWriter()
    chained = Item("chained", noise(60 * BLOCK, 1), pieces=[(DATA, BLOCK)] * 60, ads_per_block=10)
    indirect = Item("indirect", b"new", older=b"old", ads="embedded")
    writer.root.children = [chained, indirect]
    whole = writer.write()

    def to_itself(raw: bytearray) -> None:
        struct.pack_into("<IIH", raw, 36, BLOCK, indirect.icb, 0)

    def more_of_the_same(raw: bytearray) -> None:
        ((block, at),) = [
            (block, at)
            for at in range(24, 24 + 80, 8)
            for length, block in [struct.unpack_from("<II", raw, at)]
            if length >> 30 == 3
        ]
        struct.pack_into("<I", raw, at + 4, int.from_bytes(raw[12:16], "little"))
        assert block

    continuation = next(
        at for at in range(FIRST, len(whole), BLOCK) if whole[at : at + 2] == b"\x02\x01" and whole[at + 20] == 80
    )
    whole = retagged(whole, at_block(indirect.icb + 1), BLOCK, to_itself)
    whole = retagged(whole, continuation, BLOCK, more_of_the_same)
    image = tmp_path / "volume.img"
    image.write_bytes(whole)
    walk = listing(image)
    assert [(one.name, "does not end" in one.detail) for one in walk.problems] == [(b"indirect", True)]
    with udf(image) as (_, reader), pytest.raises(ReadError, match="does not end"):
        reader.read(walk.entries[b"chained"].ino, 0, 10)


def test_directories_that_share_their_bytes_cannot_multiply_the_walk(tmp_path: Path) -> None:
    writer = UdfWriter(blocks=8192)
    shared = Item(
        "shared", kind=DIRECTORY, children=[Item(f"{index:0200}", b"", ads="embedded") for index in range(2000)]
    )
    others = [Item(f"folder {index}", kind=DIRECTORY, ads="short") for index in range(400)]
    writer.root.children = [shared, *others]
    whole = writer.write()
    ((block, size),) = shared.runs

    def same_bytes(raw: bytearray) -> None:
        struct.pack_into("<Q", raw, 56, size)
        length = struct.unpack_from("<I", raw, 212)[0]
        assert length == 8
        struct.pack_into("<II", raw, 216, size, block - FIRST_BLOCK)

    for other in others:
        whole = retagged(whole, at_block(other.icb), BLOCK, same_bytes)
    image = tmp_path / "volume.img"
    image.write_bytes(whole)
    walk = listing(image)
    assert any("claim more bytes than the volume has" in one.detail for one in walk.problems)
    assert len(walk.all_entries) < 150_000


# ---------------------------------------------------------------- three hundred damaged volumes

CHILD = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from ntt.model import Route, Volume, VolumeStatus, WalkProblem
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.udf.probe import udf_size
from ntt.readers.udf.reader import UdfReader

def look_at(path):
    source = ImageSource(os.open(path, os.O_RDONLY), ((4096, 8192),))
    size = source.size_bytes
    udf_size(source, 0, size)
    try:
        reader = UdfReader(source, Volume(0, "none", 0, size, "udf", Route.UDF, VolumeStatus.READ))
        read_all(reader)
        reader.facts()
    except ReadError:
        pass
    os.close(source.fd)

def read_all(reader):
    for count, found in enumerate(reader.walk()):
        assert count < 20_000
        if isinstance(found, WalkProblem):
            continue
        try:
            extents = reader.extents(found.ino)
            if found.is_regular:
                content = reader.read(found.ino, 0, min(found.size, 1 << 20))
                assert len(content) == min(found.size, 1 << 20)
                assert sum(extent.file_length for extent in extents) == found.size
        except ReadError:
            pass

for line in sys.stdin:
    look_at(line.rstrip("\\n"))
    print(line.rstrip("\\n"), flush=True)
"""
EXTREMES = (0, 1, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xC0000800, 0xFFFFFFFF)


def mutated(content: bytes, seed: int) -> bytes:
    """Bits flipped, blocks cleared or swapped; and fields changed whose descriptor's tag is made right again."""
    chance = random.Random(seed)
    used = [at for at in range(0, len(content), BLOCK) if any(content[at : at + BLOCK])]
    changed = content
    for _ in range(chance.choice((1, 4, 16))):
        at = chance.choice(used)
        match chance.randrange(6):
            case 0:
                changed = edited(changed, [(at + chance.randrange(BLOCK), bytes((chance.randrange(256),)))])
            case 1:
                changed = edited(changed, [(at, bytes(BLOCK))])
            case 2:
                other = chance.choice(used)
                changed = edited(changed, [(at, changed[other : other + BLOCK])])
            case _:
                field, value = 16 + 2 * chance.randrange(240), chance.choice(EXTREMES)
                changed = retagged(changed, at, BLOCK, lambda raw, f=field, v=value: struct.pack_into("<I", raw, f, v))
    return changed


def rich(kind: str) -> bytes:
    writer = UdfWriter(kind, revision=0x0250 if kind == METADATA else 0x0201, blocks=2048)
    data = "short" if kind in ("plain", SPARABLE) else "long"
    for index in range(3):
        writer.root.children += [
            Item(f"small {index}", b"x" * 100, ads="embedded", streams=[Item("s", b"stream", ads="embedded")]),
            Item(f"many {index}", noise(20 * BLOCK, index), ads=data, pieces=[(DATA, BLOCK)] * 20, ads_per_block=8),
            Item(f"older {index}", b"new", older=b"old", ads="embedded") if kind == "plain" else Item("e", ads=data),
            Item(f"link {index}", b"\x05\x02\x00\x00\x08a", kind=SYMLINK, ads="embedded"),
            Item(
                f"folder {index}",
                kind=DIRECTORY,
                ads=data,
                children=[Item(f"{n}", b"y" * n, ads=data) for n in range(9)],
            ),
        ]
    return writer.write()


@pytest.mark.parametrize("kind", ["plain", VIRTUAL, SPARABLE, METADATA])
def test_seventy_five_damaged_volumes_of_each_kind_end_in_errors_of_the_reader_only(kind: str, tmp_path: Path) -> None:
    whole = rich(kind)
    paths = [tmp_path / f"{seed}.img" for seed in range(75)]
    for seed, path in enumerate(paths):
        path.write_bytes(mutated(whole, seed))
    names = "".join(f"{path}\n" for path in paths)
    argv = [sys.executable, "-c", CHILD]
    done = subprocess.run(argv, input=names, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{paths[done.stdout.count(chr(10))]}: {done.stderr}"
    assert done.stdout == names
