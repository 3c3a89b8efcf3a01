"""Images written by genisoimage and xorriso -> the same tree, bytes and extents as the source folder."""

from __future__ import annotations

import os
import random
import re
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from iso_images import (
    DIFFICULT_NAMES,
    GENISOIMAGE,
    XORRISO,
    by_path,
    difficult_tree,
    image_of,
    opened,
    paths_below,
    run,
)

from ntt.model import Entry, WalkProblem
from ntt.ranges import within
from ntt.readers.base import ReadError

WRITERS = pytest.mark.parametrize("writer", [GENISOIMAGE, XORRISO], ids=["genisoimage", "xorriso"])


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return difficult_tree(tmp_path_factory.mktemp("source") / "tree")


def assert_same_as_source(found: dict[bytes, Entry], tree: Path) -> None:
    base = os.fsencode(tree)
    assert set(found) == paths_below(tree)
    for path, entry in found.items():
        there = os.lstat(os.path.join(base, path))
        assert entry.mode == there.st_mode, path
        assert (entry.uid, entry.gid) == (there.st_uid, there.st_gid), path
        assert entry.mtime_s == int(there.st_mtime), path
        if stat.S_ISLNK(there.st_mode):
            assert entry.link_target == os.readlink(os.path.join(base, path)), path
        if stat.S_ISCHR(there.st_mode) or stat.S_ISBLK(there.st_mode):
            assert entry.link_target == b"%d:%d" % (os.major(there.st_rdev), os.minor(there.st_rdev)), path
        if stat.S_ISREG(there.st_mode) or stat.S_ISLNK(there.st_mode):
            assert entry.size == there.st_size, path


def assert_same_content(image: Path, found: dict[bytes, Entry], tree: Path) -> None:
    """Read by a reader that never walked, and once more straight from the extents."""
    reader = opened(image)
    raw = image.read_bytes()
    for path, entry in found.items():
        if not entry.is_regular:
            continue
        with open(os.path.join(os.fsencode(tree), path), "rb") as source:
            content = source.read()
        assert reader.read(entry.ino, 0, entry.size) == content, path
        extents = reader.extents(entry.ino)
        assert b"".join(raw[one.image_offset : one.image_offset + one.image_length] for one in extents) == content
        assert sum(one.file_length for one in extents) == entry.size
        assert entry.first_byte == (extents[0].image_offset if extents else -1)


@WRITERS
@pytest.mark.parametrize(
    "options",
    [("-R",), ("-R", "-D"), ("-R", "-J", "-joliet-long", "-input-charset", "iso8859-1")],
    ids=["moved", "deep", "joliet"],
)
def test_a_rock_ridge_tree_is_the_source_tree(
    writer: tuple[str, ...], options: tuple[str, ...], tree: Path, tmp_path: Path
) -> None:
    image = image_of(writer, tree, tmp_path / "x.iso", *options)
    reader = opened(image)
    assert reader.names == "rock-ridge"
    found, problems = by_path(reader)
    assert problems == []
    assert_same_as_source(found, tree)
    assert_same_content(image, found, tree)
    assert reader.size_bytes <= image.stat().st_size


def test_folders_that_xorriso_relocates_are_at_their_place(tree: Path, tmp_path: Path) -> None:
    image = tmp_path / "x.iso"
    run("xorriso", "-outdev", image, "-compliance", "deep_paths_off", "-rr_reloc_dir", "rr_moved", "-map", tree, "/")
    assert b"RR_MOVED" in image.read_bytes()
    found, problems = by_path(opened(image))
    assert problems == []
    assert set(found) == paths_below(tree)
    assert_same_content(image, found, tree)


@WRITERS
def test_hard_links_share_one_inode_and_equal_files_do_not(writer: tuple[str, ...], tree: Path, tmp_path: Path) -> None:
    found, _ = by_path(opened(image_of(writer, tree, tmp_path / "x.iso", "-R")))
    links = [entry for path, entry in found.items() if path in (b"big", b"big link") or path.endswith(b"/big again")]
    assert len(links) == 3
    assert len({entry.ino for entry in links}) == 1
    assert sorted(entry.new_inode for entry in links) == [False, False, True]
    assert found[b"same"].ino != links[0].ino and found[b"same"].new_inode
    assert found[b"empty"].ino != found[b"also empty"].ino


def test_hard_links_of_empty_files_and_of_links_are_known_by_their_serial(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "empty").touch()
    os.link(tree / "empty", tree / "empty too")
    (tree / "other").touch()
    os.symlink("x", tree / "link")
    os.link(tree / "link", tree / "link too", follow_symlinks=False)
    found, _ = by_path(opened(image_of(XORRISO, tree, tmp_path / "x.iso", "-R", "--hardlinks")))
    assert found[b"empty"].ino == found[b"empty too"].ino != found[b"other"].ino
    assert found[b"link"].ino == found[b"link too"].ino


def test_extents_agree_with_what_xorriso_reports(tree: Path, tmp_path: Path) -> None:
    image = image_of(XORRISO, tree, tmp_path / "x.iso", "-R")
    report = run("xorriso", "-indev", image, "-find", "/", "-type", "f", "-exec", "report_lba")
    # File data lba:  0 , 33 , 1 , 1234 , '/name'
    lines = re.findall(
        rb"^File data lba: +0 , +(\d+) , +(\d+) , +(\d+) , '/(with space|big|same|#hash#|dot\.)'$", report, re.M
    )
    assert len(lines) == 5
    reader = opened(image)
    found, _ = by_path(reader)
    for lba, blocks, size, path in lines:
        (extent,) = reader.extents(found[path].ino)
        assert (extent.image_offset, extent.image_length) == (int(lba) * 2048, int(size))
        assert -(-extent.image_length // 2048) == int(blocks)


@WRITERS
def test_a_joliet_tree_keeps_names_and_content(writer: tuple[str, ...], tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "Ordner mit Käse").mkdir(parents=True)
    for name in ("naïve file.txt", "日本語", "no dot", "x" * 60):  # both writers refuse what is beyond UCS-2
        (tree / "Ordner mit Käse" / name).write_text(name)
    options = ("-J", "--norock") if writer == XORRISO else ("-J", "-input-charset", "utf-8")
    reader = opened(image_of(writer, tree, tmp_path / "x.iso", *options, "-V", "LABEL"))
    assert (reader.names, reader.label) == ("joliet", "LABEL")
    found, problems = by_path(reader)
    assert problems == []
    assert set(found) == paths_below(tree)
    for path, entry in found.items():
        if entry.is_regular:
            assert entry.mode == 0o100444
            assert reader.read(entry.ino, 0, 1000) == path.rpartition(b"/")[2]
        else:
            assert entry.mode == 0o040555


def test_a_long_link_target_spans_several_entries(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    target = "/" + "/".join([f"component {number} " * 5 for number in range(12)])
    os.symlink(target, tree / "link")
    found, problems = by_path(opened(image_of(XORRISO, tree, tmp_path / "x.iso", "-R")))
    assert (found[b"link"].link_target, problems) == (target.encode(), [])


def test_a_plain_tree_is_shown_as_it_is_on_the_disc(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    deep = tree / "/".join(f"d{number}" for number in range(12))
    deep.mkdir(parents=True)
    (tree / "readme.txt").write_text("one")
    (tree / "noext").write_text("two")
    (deep / "bottom").write_text("three")
    image = image_of(GENISOIMAGE, tree, tmp_path / "x.iso", "-D")
    reader = opened(image)
    assert reader.names == "plain"
    found, problems = by_path(reader)
    assert problems == []
    upper = {path.upper() for path in paths_below(tree)}
    assert set(found) == upper
    assert reader.read(found[b"NOEXT"].ino, 0, 9) == b"two"


def test_every_session_of_a_disc_can_be_opened(tmp_path: Path) -> None:
    image = tmp_path / "x.iso"
    for number in (1, 2, 3):
        (tmp_path / f"f{number}").write_text(f"session {number}")
        run("xorriso", "-dev", image, "-map", tmp_path / f"f{number}", f"/f{number}", "-commit")
    found, _ = by_path(opened(image))
    assert sorted(found) == [b"f1", b"f2", b"f3"]
    toc = run("xorriso", "-indev", image, "-toc").decode()
    starts = [int(lba) for lba in re.findall(r"^ISO session  : +\d+ , +(\d+)", toc, re.M)]
    assert len(starts) == 3
    for number, start in enumerate(starts, 1):
        reader = opened(image, session_bytes=start * 2048)
        found, _ = by_path(reader)
        assert sorted(found) == [b"f%d" % one for one in range(1, number + 1)]
        assert reader.read(found[b"f1"].ino, 0, 99) == b"session 1"


def test_numbers_are_the_same_in_another_process(tree: Path, tmp_path: Path) -> None:
    image = image_of(GENISOIMAGE, tree, tmp_path / "x.iso", "-R")
    program = (
        "import sys; from iso_images import opened; from pathlib import Path\n"
        "print([(e.ino, e.parent_ino) for e in opened(Path(sys.argv[1])).walk()])"
    )
    search = {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7", "PATH": os.environ["PATH"]}
    output = subprocess.run([sys.executable, "-c", program, image], env=search, capture_output=True, check=True).stdout
    assert output.decode().strip() == str([(e.ino, e.parent_ino) for e in opened(image).walk() if isinstance(e, Entry)])


def test_damage_in_a_directory_is_told_and_the_rest_is_listed(tree: Path, tmp_path: Path) -> None:
    image = image_of(XORRISO, tree, tmp_path / "x.iso", "-R")
    reader = opened(image)
    found, _ = by_path(reader)
    (records,) = reader.extents(found[b"deep/level 1"].ino)
    lost = (records.image_offset, records.image_offset + records.image_length)
    with image.open("r+b") as out:
        out.seek(lost[0])
        out.write(bytes(lost[1] - lost[0]))
    damaged, problems = by_path(opened(image, (lost,)))
    assert set(damaged) == {path for path in found if not path.startswith(b"deep/level 1/")}
    assert [(one.kind, one.ino) for one in problems] == [("directory_damaged", found[b"deep/level 1"].ino)]


def test_a_truncated_image_is_listed_and_says_which_bytes_are_missing(tree: Path, tmp_path: Path) -> None:
    image = image_of(GENISOIMAGE, tree, tmp_path / "x.iso", "-R")
    whole, _ = by_path(opened(image))
    cut = whole[b"big"].first_byte + 1000
    os.truncate(image, cut)
    unread = ((cut, 1 << 63),)
    reader = opened(image, unread)
    found, _ = by_path(reader)
    assert set(found) == set(whole)
    content = reader.read(found[b"big"].ino, 0, 3_000_001)
    assert content == (tree / "big").read_bytes()[:1000] + bytes(3_000_001 - 1000)
    (extent,) = reader.extents(found[b"big"].ino)
    assert within(unread, extent.image_offset, extent.image_offset + extent.image_length)


@pytest.mark.slow
def test_a_file_above_4_gib_is_one_file(tmp_path: Path) -> None:
    size = (4 << 30) + 12_345
    source, image = tmp_path / "large", tmp_path / "x.iso"
    with source.open("wb") as out:
        for at in (0, (4 << 30) - 2048 - 3, (4 << 30) - 3, size - 5):
            out.seek(at)
            out.write(b"%05d" % (at % 99991))
    write = f"xorriso -as mkisofs -quiet -iso-level 3 -R -o - '{source}'"
    run("sh", "-c", f"{write} | dd bs=1M conv=sparse iflag=fullblock of='{image}'")
    assert image.stat().st_blocks * 512 < 64 << 20
    reader = opened(image)
    found, problems = by_path(reader)
    assert problems == [] and list(found) == [b"large"]
    entry = found[b"large"]
    assert entry.size == size
    assert len(reader.extents(entry.ino)) > 1
    with source.open("rb") as original:
        for at in (0, (4 << 30) - 4096, (4 << 30) - 100, size - 4000):
            original.seek(at)
            assert reader.read(entry.ino, at, 4000) == original.read(4000)
    image.unlink()


def test_300_damaged_images_do_no_harm(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in DIFFICULT_NAMES:
        with open(os.path.join(os.fsencode(tree), name), "wb") as out:
            out.write(name * 20)
    (tree / "/".join("abcdefghijkl")).mkdir(parents=True)
    (tree / "/".join("abcdefghijkl") / "bottom").write_text("x")
    os.link(tree / "dot.", tree / "linked")
    os.symlink("/a/../b/" + "c" * 200, tree / "link")
    random_bytes = random.Random(1999)
    for image in (
        image_of(GENISOIMAGE, tree, tmp_path / "g.iso", "-R", "-J", "-input-charset", "iso8859-1"),
        image_of(XORRISO, tree, tmp_path / "x.iso", "-R"),
    ):
        good = image.read_bytes()
        first_content = min(
            one.first_byte for one in opened(image).walk() if isinstance(one, Entry) and one.is_regular and one.size
        )
        inos = {one.ino for one in opened(image).walk() if isinstance(one, Entry)}
        for _ in range(150):
            bad = bytearray(good)
            for _ in range(random_bytes.choice((1, 3, 30, 300))):
                at = random_bytes.randrange(16 * 2048, first_content)
                bad[at] = random_bytes.choice(
                    (0, 0xFF, 0x80, bad[at] ^ 1 << random_bytes.randrange(8), random_bytes.randrange(256))
                )
            image.write_bytes(bad)
            walk_and_read_everything(image, inos, len(good))


def walk_and_read_everything(image: Path, also: set[int], image_bytes: int) -> None:
    started = time.monotonic()
    try:
        reader = opened(image)
    except ReadError:
        return
    new: set[int] = set()
    count = 0
    for one in reader.walk():
        count += 1
        if isinstance(one, WalkProblem):
            continue
        assert not (one.new_inode and one.ino in new)
        assert one.new_inode or one.ino in new
        new.add(one.ino)
        if one.is_regular:
            try:
                content = reader.read(one.ino, 0, min(one.size, 1 << 20))
                extents = reader.extents(one.ino)
            except ReadError:
                continue
            assert len(content) == min(one.size, 1 << 20)
            assert sum(extent.file_length for extent in extents) == one.size
    for ino in also:
        try:
            reader.extents(ino)
            reader.read(ino, 0, 10)
        except ReadError:
            continue
    assert count <= image_bytes // 34
    assert time.monotonic() - started < 10


def apple_tree(root: Path) -> Path:
    """A file with a resource fork, as AppleDouble beside it, and one without."""
    root.mkdir()
    (root / "forked").write_bytes(b"data" * 1000)
    (root / "plain").write_bytes(b"plain")
    finder, fork = b"TEXTttxt" + b"\x20\x00" + bytes(22), bytes(range(256)) * 20
    head = struct.pack(">II16sH", 0x00051607, 0x00020000, b"Mac OS X", 2)
    head += struct.pack(">IIIIII", 9, 50, 32, 2, 82, len(fork))
    (root / "._forked").write_bytes(head + finder + fork)
    return root


@pytest.mark.parametrize("option", ["-XA", "-R"])
def test_a_resource_fork_is_an_entry_beside_its_file(option: str, tmp_path: Path) -> None:
    tree = apple_tree(tmp_path / "tree")
    image = image_of(GENISOIMAGE, tree, tmp_path / "x.iso", "-apple", "--osx-double", option)
    reader = opened(image)
    found, problems = by_path(reader)
    assert problems == []
    lower = {path.lower(): entry for path, entry in found.items()}
    assert set(lower) == {b"forked", b"forked:rsrc", b"plain"}
    fork, data = lower[b"forked:rsrc"], lower[b"forked"]
    assert fork.ino != data.ino and fork.new_inode and data.new_inode
    assert reader.read(fork.ino, 0, fork.size) == bytes(range(256)) * 20
    assert reader.read(data.ino, 0, data.size) == b"data" * 1000
    (attribute,) = data.attributes
    assert (attribute[0], attribute[1][:8], len(attribute[1])) == ("com.apple.FinderInfo", b"TEXTttxt", 32)


def test_a_disc_says_who_made_it_and_when(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "boot.img").write_bytes(bytes(2048))
    said = ("-V", "A label", "-publisher", "Pub\nlisher", "-p", "Preparer", "-A", "Writer", "-sysid", "SYS")
    boot = ("-b", "boot.img", "-no-emul-boot", "-c", "boot.cat")
    before = int(time.time())
    image = image_of(GENISOIMAGE, tree, tmp_path / "x.iso", "-J", *said, *boot)
    facts = opened(image).facts()
    assert (facts.fstype, facts.label, facts.serial, facts.entries) == ("iso9660", "A label", "", None)
    assert (facts.block_bytes, facts.size_bytes) == (2048, image.stat().st_size)
    assert facts.created_s is not None and before - 1 <= facts.created_s <= time.time() + 1
    assert facts.modified_s == facts.created_s
    listing = run("isoinfo", "-d", "-i", image).decode()
    catalog = re.search(r"boot catalog is in sector (\d+)", listing)
    assert catalog is not None
    assert set(facts.oddities) == {
        "names: joliet",
        f"it can be booted from: an El Torito boot catalog is at block {catalog[1]}",
        "system: SYS",
        "publisher: Pub\\nlisher",
        "data preparer: Preparer",
        "application: Writer",
    }


def test_what_a_descriptor_says_twice_is_compared(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(b"x")
    image = image_of(GENISOIMAGE, tree, tmp_path / "x.iso", "-R")
    content = bytearray(image.read_bytes())
    sector = 16 * 2048
    assert not [one for one in opened(image).facts().oddities if "twice" in one or "path table" in one]
    content[sector + 84 : sector + 88] = b"\0\0\0\x07"
    table = int.from_bytes(content[sector + 140 : sector + 144], "little") * 2048
    content[table + 2] ^= 0xFF
    image.write_bytes(content)
    odd = [one for one in opened(image).facts().oddities if "twice" in one or "path table" in one]
    blocks = len(content) // 2048
    assert odd == [
        f"its descriptor gives the size of the volume twice, as {blocks} and as 7",
        "its little-endian path table does not begin with the root directory",
    ]
