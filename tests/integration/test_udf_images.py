"""UDF volumes made by genisoimage, mkudffs and wrudf -> the tree they were made from, as other readers see it."""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from pathlib import Path

import pytest
from disk_images import bytes_at, run, walked
from udf_reading import contents, listing, udf, udfinfo

from ntt.model import VolumeFacts
from ntt.ranges import within
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.udf.probe import is_recognised, udf_size

MIB = 1 << 20
SEVEN_ZIP = shutil.which("7zz") or "7z"
TREE = {
    "a": b"one",
    "empty": b"",
    "Grüße aus Köln.txt": b"latin",
    "日本語.txt": b"wide",
    "deep/er/still/file": random.Random(1).randbytes(5000),
    "deep/Ж": b"cyrillic",
    "big": random.Random(2).randbytes(3_000_001),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("source") / "tree"
    for index, (name, content) in enumerate(TREE.items()):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
        os.utime(root / name, (0, 1_100_000_000 + index))
    return root


def facts_of(image: Path) -> VolumeFacts:
    with udf(image) as (_, reader):
        return reader.facts()


def size_of(image: Path) -> int | None:
    fd = os.open(image, os.O_RDONLY)
    try:
        return udf_size(ImageSource(fd), 0, image.stat().st_size)
    finally:
        os.close(fd)


def formatted(image: Path, size_mib: int, *options: str) -> Path:
    with image.open("wb") as file:
        file.truncate(size_mib * MIB)
    run("mkudffs", "--utf8", "--label=Scheibe Ä", *options, image)
    return image


def by_7zip(image: Path) -> dict[bytes, int | None]:
    """Path -> size, None of a directory."""
    found: dict[bytes, int | None] = {}
    for block in run(SEVEN_ZIP, "l", "-slt", "-tudf", image).partition("----------\n")[2].split("\n\n"):
        fields = dict(re.findall(r"(?m)^(\w+) = (.*)$", block))
        if "Path" in fields:
            found[fields["Path"].encode()] = None if fields["Folder"] == "+" else int(fields["Size"])
    return found


def test_the_udf_side_of_a_bridge_disc_is_the_source_tree(tree: Path, tmp_path: Path) -> None:
    image = tmp_path / "bridge.iso"
    run("genisoimage", "-quiet", "-udf", "-r", "-J", "-V", "BRIDGE", "-o", image, tree)
    walk = listing(image)
    assert walk.problems == ()
    assert contents(image) == {name.encode(): content for name, content in TREE.items()}
    assert {path for path, entry in walk.entries.items() if entry.is_directory} == {
        b"",
        b"deep",
        b"deep/er",
        b"deep/er/still",
    }
    for path, entry in walk.entries.items():
        if entry.is_regular:
            assert entry.mtime_s == int((tree / path.decode()).stat().st_mtime), path
    entries = {path: None if one.is_directory else one.size for path, one in walk.entries.items() if path}
    assert entries == by_7zip(image)
    run(SEVEN_ZIP, "x", "-tudf", f"-o{tmp_path / 'by 7zip'}", image)
    for path, content in contents(image).items():
        assert (tmp_path / "by 7zip" / path.decode()).read_bytes() == content, path


def test_facts_of_a_bridge_disc(tree: Path, tmp_path: Path) -> None:
    image = tmp_path / "bridge.iso"
    run("genisoimage", "-quiet", "-udf", "-r", "-J", "-V", "BRIDGE", "-o", image, tree)
    facts, info = facts_of(image), udfinfo(image)
    assert (facts.label, facts.serial, facts.block_bytes) == ("BRIDGE", info["uuid"], 2048)
    assert facts.entries == len(listing(image).entries) - 1
    assert facts.entries == int(info["numfiles"]) + int(info["numdirs"]) - 1
    assert facts.state == "clean"
    assert facts.created_s is not None and abs(facts.created_s - time.time()) < 86_400
    assert any("UDF revision 1.02, written by “*genisoimage”" in oddity for oddity in facts.oddities)
    assert any("write protected" in oddity for oddity in facts.oddities)
    size = size_of(image)
    assert size is not None and size <= image.stat().st_size


MEDIA = [
    *[("hd", revision, block) for revision in ("1.02", "1.50", "2.00", "2.01") for block in (512, 1024, 2048, 4096)],
    ("hd", "2.01", 32768),
    *[("dvd", revision, 2048) for revision in ("1.02", "2.01")],
    *[(kind, revision, 2048) for kind in ("cdr", "cdrw", "dvdr", "dvdrw") for revision in ("1.50", "2.01")],
    ("dvdram", "2.00", 2048),
]


@pytest.mark.parametrize(("kind", "revision", "block"), MEDIA)
def test_an_empty_volume_holds_its_root_only(kind: str, revision: str, block: int, tmp_path: Path) -> None:
    options = (f"--media-type={kind}", f"--udfrev={revision}", f"--blocksize={block}")
    image = formatted(tmp_path / "empty.img", 60, *options)
    walk = listing(image)
    # revision 1.50 keeps the list of spare packets in a hidden file of the root
    assert set(walk.entries) - {b"Non-Allocatable Space", b"lost+found"} == {b""}
    assert walk.entries[b""].mode == 0o40755
    assert walk.problems == ()
    facts, info = facts_of(image), udfinfo(image) if kind not in ("cdr", "dvdr") else {}
    assert facts.label == "Scheibe Ä"
    assert facts.oddities[0] == f"UDF revision {revision}, written by “*Linux UDFFS”"
    assert facts.block_bytes == block
    assert facts.state == "clean"
    if info:
        assert facts.used_bytes == int(info["usedblocks"]) * block
        assert facts.free_bytes == int(info["freeblocks"]) * block
        assert facts.serial == info["uuid"]
        assert facts.entries == len(walk.entries) - 1
    size = size_of(image)
    assert size is not None and size <= 60 * MIB


@pytest.mark.parametrize("area", ["preserve", "erase", "mbr"])
def test_what_stands_in_the_boot_area_does_not_matter(area: str, tmp_path: Path) -> None:
    image = formatted(tmp_path / "stick.img", 20, "--media-type=hd", f"--bootarea={area}", "--blocksize=512")
    assert set(listing(image).entries) == {b""}


@pytest.mark.parametrize("strategy", ["--strategy=4", "--strategy=4096"])
@pytest.mark.parametrize("descriptors", ["--ad=inicb", "--ad=short", "--ad=long"])
def test_every_way_of_describing_the_root_is_read(strategy: str, descriptors: str, tmp_path: Path) -> None:
    image = formatted(tmp_path / "x.img", 20, "--media-type=dvd", strategy, descriptors)
    walk = listing(image)
    assert (set(walk.entries), walk.problems) == ({b""}, ())


def test_a_blu_ray_volume_of_revision_2_50_is_read(tmp_path: Path) -> None:
    image = formatted(tmp_path / "bdr.img", 700, "--media-type=bdr", "--udfrev=2.50")
    assert set(listing(image).entries) == {b""}


@pytest.mark.parametrize("identifier", ["0123456789ABCDEF", "01234567Grüße und", "zz345678901234567", "äöüß"])
def test_the_serial_is_what_udfinfo_prints(identifier: str, tmp_path: Path) -> None:
    image = formatted(tmp_path / "x.img", 20, "--media-type=dvd", f"--fullvsid={identifier}")
    assert facts_of(image).serial == udfinfo(image)["uuid"]


FLAT = {name: content for name, content in TREE.items() if "/" not in name}


def filled_by_wrudf(image: Path, tree: Path) -> Path:
    """A packet-written CD-RW: a folder of files, a chain of folders, one file deleted, one left.

    wrudf loses its way where files follow a folder, so no folder here holds both.
    """
    formatted(image, 40, "--media-type=cdrw", "--udfrev=1.50")
    flat = image.parent / "flat"
    flat.mkdir()
    for name, content in FLAT.items():
        (flat / name).write_bytes(content)
    for name in ("gone.bin", "stays.bin"):
        (image.parent / name).write_bytes(name.encode() * 1000)
    sources = [
        f"-r {flat}",
        f"-r {tree / 'deep' / 'er'}",
        f"{image.parent / 'gone.bin'}",
        f"{image.parent / 'stays.bin'}",
    ]
    copies = "".join(f"cp {source} .\n" for source in sources)
    run("wrudf", image, script=f"y\n{copies}rm gone.bin\nquit\n")
    return image


def test_a_rewritable_disc_filled_by_wrudf_is_the_source_tree(tree: Path, tmp_path: Path) -> None:
    image = filled_by_wrudf(tmp_path / "cdrw.img", tree)
    assert (b"gone.bin" * 1000) in image.read_bytes(), "what was deleted is still on the disc"
    walk = listing(image)
    assert walk.problems == ()
    expected = {b"flat/" + name.encode(): content for name, content in FLAT.items()}
    expected[b"er/still/file"] = TREE["deep/er/still/file"]
    expected |= {b"stays.bin": b"stays.bin" * 1000, b"Non-Allocatable Space": b""}
    assert contents(image) == expected
    assert facts_of(image).entries == len(walk.entries) - 1


def test_a_volume_behind_others_on_a_disk_is_read_from_its_own_start(tree: Path, tmp_path: Path) -> None:
    inner = filled_by_wrudf(tmp_path / "cdrw.img", tree)
    expected, entries = contents(inner), listing(inner).entries
    image = tmp_path / "disk.img"
    image.write_bytes(b"\xaa" * (3 * MIB) + inner.read_bytes())
    with udf(image, offset=3 * MIB) as (source, reader):
        shifted = walked(reader).entries
        assert set(shifted) == set(entries)
        for path, entry in shifted.items():
            before = entries[path].first_byte
            assert (entry.ino, entry.first_byte) == (entries[path].ino, before + 3 * MIB if before >= 0 else -1)
            if entry.is_regular:
                assert reader.read(entry.ino, 0, entry.size) == expected[path]
                assert bytes_at(source, reader.extents(entry.ino)) == expected[path]


def test_what_is_no_udf_volume_is_said_to_be_none(tmp_path: Path) -> None:
    for name, content in {"zeros": bytes(MIB), "noise": random.Random(3).randbytes(2 * MIB), "nothing": b""}.items():
        (tmp_path / name).write_bytes(content)
        assert size_of(tmp_path / name) is None
        with pytest.raises(ReadError), udf(tmp_path / name):
            pass


def test_the_recognition_sequence_is_known_by_its_names(tree: Path, tmp_path: Path) -> None:
    bridge, plain = tmp_path / "bridge.iso", tmp_path / "plain.iso"
    run("genisoimage", "-quiet", "-udf", "-r", "-o", bridge, tree)
    run("genisoimage", "-quiet", "-r", "-o", plain, tree)
    large = formatted(tmp_path / "large.img", 20, "--media-type=hd", "--blocksize=4096")
    found = {}
    for image in (bridge, plain, large):
        fd = os.open(image, os.O_RDONLY)
        found[image] = is_recognised(ImageSource(fd), 0)
        os.close(fd)
    assert found == {bridge: True, plain: False, large: True}
    assert size_of(plain) is None


def test_a_cut_image_gives_what_lies_inside_and_names_what_does_not(tree: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.iso"
    run("genisoimage", "-quiet", "-udf", "-r", "-J", "-o", whole, tree)
    full = listing(whole).entries
    expected = contents(whole)
    big = full[b"big"]
    cut = tmp_path / "cut.iso"
    cut.write_bytes(whole.read_bytes()[: big.first_byte + 1_000_000])
    unread = ((cut.stat().st_size, 1 << 63),)
    walk = listing(cut, unread)
    assert walk.entries == full
    assert walk.problems == ()
    size = size_of(cut)
    assert size is not None and size > cut.stat().st_size, "the volume says that it is larger than the image"
    with udf(cut, unread) as (source, reader):
        for path, entry in walk.entries.items():
            if not entry.is_regular:
                continue
            lost = [
                within(source.unread, one.image_offset, one.image_offset + one.image_length)
                for one in reader.extents(entry.ino)
            ]
            assert any(lost) == (entry.first_byte + entry.size > cut.stat().st_size), path
            content = reader.read(entry.ino, 0, entry.size)
            if any(lost):
                assert len(content) == entry.size, "what is unread is zeros, and the extents say so"
            else:
                assert content == expected[path]
    assert any(path for path in expected if full[path].first_byte + full[path].size <= cut.stat().st_size)


def test_twenty_thousand_files_are_listed_in_seconds(tmp_path: Path) -> None:
    for folder in range(20):
        (tmp_path / "tree" / f"{folder}").mkdir(parents=True)
        for number in range(1000):
            (tmp_path / "tree" / f"{folder}" / f"a file with number {number}").write_bytes(b"x")
    image = tmp_path / "many.iso"
    run("genisoimage", "-quiet", "-udf", "-r", "-J", "-o", image, tmp_path / "tree")
    started = time.process_time()
    with udf(image) as (_, reader):
        count = sum(1 for _ in reader.walk())
    taken_s = time.process_time() - started
    assert count == 20_021
    assert taken_s < 6, f"{taken_s} s of processor time"
