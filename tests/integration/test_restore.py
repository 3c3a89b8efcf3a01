"""A catalogue and a store -> the tree as it was on the medium, and nothing outside of the destination."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from sketches import ROOT, Catalogue, Sketch, open_catalogue, tree_of

from ntt.db.media import Medium
from ntt.errors import StoreError, UsageError
from ntt.operations import staging
from ntt.operations.restore import RestoreReport, restore
from ntt.store.packs import BLOCK_BYTES
from ntt.text import restore_lines


@pytest.fixture
async def catalogue(database_url: str, home: Path) -> AsyncIterator[Catalogue]:
    async with open_catalogue(database_url, home) as opened:
        yield opened


async def restored(
    catalogue: Catalogue,
    medium: Medium,
    destination: Path,
    pattern: bytes | None = None,
    devices: bool = False,
    setuid: bool = False,
) -> RestoreReport:
    return await restore(
        catalogue.database, catalogue.store, medium, destination,
        pattern=pattern, devices=devices, setuid=setuid, advance=lambda files, size: None,
    )  # fmt: skip


async def test_what_is_kept_beside_a_file_comes_back_as_an_extended_attribute(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    sketch = Sketch()
    letter = sketch.file(ROOT, b"letter", b"dear", mtime=(1_100_000_000, 5), mode=0o444)
    finder_info = b"TEXTttxt" + bytes(24)
    sketch.attribute(letter, "com.apple.FinderInfo", finder_info)
    sketch.attribute(sketch.directory(ROOT, b"folder"), "com.apple.FinderInfo", bytes(31) + b"1")
    report = await restored(catalogue, await catalogue.medium("disc", {0: sketch}), tmp_path / "out")
    assert report.complete
    assert os.getxattr(tmp_path / "out" / "letter", "user.com.apple.FinderInfo") == finder_info
    assert os.getxattr(tmp_path / "out" / "folder", "user.com.apple.FinderInfo") == bytes(31) + b"1"
    assert (tmp_path / "out" / "letter").stat().st_mtime_ns == 1_100_000_000_000_000_005


async def test_the_tree_is_restored_as_it_was(catalogue: Catalogue, tmp_path: Path) -> None:
    sketch = Sketch()
    docs = sketch.directory(ROOT, b"docs", mode=0o555, mtime=(1_100_000_000, 123_456_789), owner=(1000, 1001))
    letter = sketch.file(docs, b"letter", b"dear", mode=0o4640, mtime=(-86_400, 5), owner=(1000, 1001))
    sketch.name_again(ROOT, b"same letter", letter)
    sketch.file(ROOT, b"empty", b"")
    sketch.special(ROOT, b"link", stat.S_IFLNK, b"docs/letter", mtime=(1_200_000_000, 7))
    sketch.special(ROOT, b"away", stat.S_IFLNK, b"/etc/passwd")
    sketch.special(ROOT, b"pipe", stat.S_IFIFO)
    medium = await catalogue.medium("disc", {0: sketch})
    out = tmp_path / "out"
    report = await restored(catalogue, medium, out)
    assert tree_of(out) == {
        b"away": b"/etc/passwd", b"docs": None, b"docs/letter": b"dear", b"empty": b"", b"link": b"docs/letter",
        b"pipe": None, b"same letter": b"dear",
    }  # fmt: skip
    assert (report.files, report.bytes, report.directories, report.links, report.hard_links, report.special) == (
        2, 4, 1, 2, 1, 1,
    )  # fmt: skip
    assert report.complete
    letter_status, docs_status = (out / "docs/letter").stat(), (out / "docs").stat()
    assert (letter_status.st_mode, letter_status.st_mtime_ns) == (stat.S_IFREG | 0o640, -86_400 * 10**9 + 5)
    assert (letter_status.st_uid, letter_status.st_gid, letter_status.st_nlink) == (1000, 1001, 2)
    assert (docs_status.st_mode, docs_status.st_mtime_ns) == (stat.S_IFDIR | 0o555, 1_100_000_000_123_456_789)
    assert (out / "link").lstat().st_mtime_ns == 1_200_000_000 * 10**9 + 7
    assert out.stat().st_mtime == 1_000_000_000
    assert letter_status.st_ino == (out / "same letter").stat().st_ino


async def test_names_of_every_byte_come_back_exactly(catalogue: Catalogue, tmp_path: Path) -> None:
    sketch = Sketch()
    names = [b"a%cb" % byte for byte in range(1, 256) if byte != ord("/")]
    names += [b"\\n.plist", b"Icon\r", b" ", b"#not#excluded", b"x" * 255, b"-rf", b"*"]
    for name in names:
        sketch.file(ROOT, name, name)
    medium = await catalogue.medium("names", {0: sketch})
    report = await restored(catalogue, medium, tmp_path / "out")
    assert tree_of(tmp_path / "out") == {name: name for name in names}
    assert report.complete


async def test_no_name_leads_out_of_the_destination(catalogue: Catalogue, tmp_path: Path) -> None:
    sketch = Sketch()
    for name in (b"..", b".", b"a/b", b"/abs", b"nul\0"):
        sketch.file(ROOT, name, b"evil")
    outside = sketch.directory(ROOT, b"..")
    sketch.file(outside, b"escaped", b"evil")
    deeper = sketch.directory(sketch.directory(ROOT, b"x/../.."), b"inner")
    sketch.file(deeper, b"escaped", b"evil")
    sketch.file(ROOT, b"good", b"good")
    medium = await catalogue.medium("evil", {0: sketch})
    (tmp_path / "jail").mkdir()
    report = await restored(catalogue, medium, tmp_path / "jail/out")
    assert tree_of(tmp_path / "jail") == {b"out": None, b"out/good": b"good"}
    assert report.files == 1
    # five names, the two directories, what is in them and below
    assert report.skipped_total == 5 + 2 + 3
    assert not any("\0" in line or "\n" in line for line in restore_lines(report))


async def test_a_link_restored_earlier_is_never_followed(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    sketch = Sketch()
    # the same name is a link to somewhere else and a directory with a file in it, in both orders
    for first, second in ((b"a", b"b"), (b"b", b"a")):
        sketch.special(ROOT, first, stat.S_IFLNK, bytes(tmp_path / "target"))
        inside = sketch.directory(ROOT, second)
        sketch.file(inside, b"planted", b"evil")
    medium = await catalogue.medium("link", {0: sketch})
    report = await restored(catalogue, medium, tmp_path / "out")
    assert os.listdir(tmp_path / "target") == []
    assert tree_of(tmp_path / "out") == {
        b"a": bytes(tmp_path / "target"), b"a.ntt-duplicate-1": None, b"a.ntt-duplicate-1/planted": b"evil",
        b"b": bytes(tmp_path / "target"), b"b.ntt-duplicate-1": None, b"b.ntt-duplicate-1/planted": b"evil",
    }  # fmt: skip
    assert report.altered_total == 2


async def test_equal_names_in_one_directory_are_all_kept(catalogue: Catalogue, tmp_path: Path) -> None:
    sketch = Sketch()
    long = b"y" * 255
    for number in range(3):
        sketch.file(ROOT, b"twice", b"%d" % number)
        sketch.file(ROOT, long, b"long %d" % number)
    medium = await catalogue.medium("duplicates", {0: sketch})
    report = await restored(catalogue, medium, tmp_path / "out")
    found = tree_of(tmp_path / "out")
    assert found[b"twice"] == b"0"
    assert {found[b"twice.ntt-duplicate-1"], found[b"twice.ntt-duplicate-2"]} == {b"1", b"2"}
    assert len(found) == 6
    assert {len(name) for name in found if name.startswith(b"y")} == {255}
    assert sorted(one.raw for one in report.altered) == [b"twice"] * 2 + [long] * 2
    assert not report.complete


async def test_a_tree_too_deep_for_any_path_is_restored(catalogue: Catalogue, tmp_path: Path) -> None:
    depth = 3_000
    sketch = Sketch()
    parent = ROOT
    for _ in range(depth):
        parent = sketch.directory(parent, b"directory")
    sketch.file(parent, b"treasure", b"found")
    medium = await catalogue.medium("deep", {0: sketch})
    out = tmp_path / "out"
    try:
        report = await restored(catalogue, medium, out)
        assert (report.directories, report.files) == (depth, 1)
        fd = os.open(out, os.O_RDONLY)
        for _ in range(depth):
            below = os.open("directory", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below
        treasure = os.open("treasure", os.O_RDONLY, dir_fd=fd)
        assert os.read(treasure, 10) == b"found"
        os.close(treasure)
        os.close(fd)
    finally:
        await anyio.run_process(["rm", "-rf", str(out)])  # Python's own cannot go so deep


async def test_each_volume_of_several_has_its_own_folder(catalogue: Catalogue, tmp_path: Path) -> None:
    first, second = Sketch(), Sketch()
    first.file(ROOT, b"name", b"one")
    second.file(ROOT, b"name", b"two")
    second.special(ROOT, b"socket", stat.S_IFSOCK)
    medium = await catalogue.medium("partitions", {1: first, 5: second})
    report = await restored(catalogue, medium, tmp_path / "out")
    assert tree_of(tmp_path / "out") == {
        b"volume-1": None, b"volume-1/name": b"one", b"volume-5": None, b"volume-5/name": b"two",
    }  # fmt: skip
    assert [(one.raw, one.reason) for one in report.skipped] == [(b"volume-5/socket", "a socket is not restored")]


async def test_devices_and_set_uid_bits_come_only_when_asked_for(catalogue: Catalogue, tmp_path: Path) -> None:
    sketch = Sketch()
    sketch.special(ROOT, b"null", stat.S_IFCHR, b"1:3")
    sketch.file(ROOT, b"su", b"#!", mode=0o6755)
    medium = await catalogue.medium("devices", {0: sketch})
    careful = await restored(catalogue, medium, tmp_path / "careful")
    assert os.listdir(tmp_path / "careful") == ["su"]
    assert (tmp_path / "careful/su").stat().st_mode == stat.S_IFREG | 0o755
    assert [one.path for one in careful.skipped] == ["null"]
    bold = await restored(catalogue, medium, tmp_path / "bold", devices=True, setuid=True)
    assert (tmp_path / "bold/su").stat().st_mode == stat.S_IFREG | 0o6755
    device = (tmp_path / "bold/null").stat()
    assert (stat.S_IFMT(device.st_mode), device.st_rdev) == (stat.S_IFCHR, os.makedev(1, 3))
    assert bold.complete


async def test_a_pattern_chooses_by_the_whole_path(catalogue: Catalogue, tmp_path: Path) -> None:
    sketch = Sketch()
    photos = sketch.directory(ROOT, b"photos", mode=0o711)
    year = sketch.directory(photos, b"\xff1999")
    sketch.file(year, b"a.jpg", b"jpg")
    sketch.file(year, b"a.txt", b"txt")
    sketch.file(ROOT, b"b.jpg", b"top")
    sketch.directory(ROOT, b"empty")
    medium = await catalogue.medium("pattern", {0: sketch})
    await restored(catalogue, medium, tmp_path / "jpg", pattern=b"*.jpg")
    year_path = b"photos/\xff1999"
    assert tree_of(tmp_path / "jpg") == {
        b"photos": None, year_path: None, year_path + b"/a.jpg": b"jpg", b"b.jpg": b"top",
    }  # fmt: skip
    assert (tmp_path / "jpg/photos").stat().st_mode & 0o777 == 0o711
    await restored(catalogue, medium, tmp_path / "folder", pattern=b"/photos/?1999/")
    assert set(tree_of(tmp_path / "folder")) == {b"photos", year_path, year_path + b"/a.jpg", year_path + b"/a.txt"}
    nothing = await restored(catalogue, medium, tmp_path / "nothing", pattern=b"*.gif")
    assert (tree_of(tmp_path / "nothing"), nothing.files) == ({}, 0)


async def test_what_has_no_content_is_reported_with_its_reason(catalogue: Catalogue, tmp_path: Path) -> None:
    sketch = Sketch()
    sketch.file(ROOT, b"failed", None, reason="its inode is damaged")
    sketch.file(ROOT, b"pending", None)
    sketch.file(ROOT, b"damaged", b"ab\0\0", damaged=((2, 4),))
    medium = await catalogue.medium("partial", {0: sketch})
    report = await restored(catalogue, medium, tmp_path / "out")
    assert tree_of(tmp_path / "out") == {b"damaged": b"ab\0\0"}
    assert {one.path: one.reason for one in report.failed} == {
        "failed": "its inode is damaged", "pending": "not copied from the medium yet",
    }  # fmt: skip
    assert [one.path for one in report.damaged] == ["damaged"]
    assert not report.complete


async def test_a_content_that_the_store_lost_leaves_no_half_file(catalogue: Catalogue, tmp_path: Path) -> None:
    sketch = Sketch()
    sketch.file(ROOT, b"first", b"1" * 1000)
    sketch.file(ROOT, b"second", b"2" * 1000)
    sketch.file(ROOT, b"large", bytes(range(256)) * 8192)
    medium = await catalogue.medium("rotten", {0: sketch})
    pack = next(catalogue.store.packs.iterdir())
    pack.chmod(0o600)
    with pack.open("r+b") as file:
        file.seek(BLOCK_BYTES + 500)
        file.write(b"X")
    next(catalogue.store.blobs.glob("*/*/*")).unlink()
    report = await restored(catalogue, medium, tmp_path / "out")
    assert tree_of(tmp_path / "out") == {b"second": b"2" * 1000}
    reasons = {one.path: one.reason for one in report.failed}
    assert reasons.keys() == {"first", "large"}
    assert "other content" in reasons["first"]
    assert (report.files, report.bytes) == (1, 1000)


async def test_holes_take_no_space(catalogue: Catalogue, tmp_path: Path) -> None:
    sketch = Sketch()
    data = b"head" + bytes(16 << 20) + b"tail" + bytes(4 << 20)
    sketch.file(ROOT, b"sparse", data)
    medium = await catalogue.medium("sparse", {0: sketch})
    await restored(catalogue, medium, tmp_path / "out")
    assert (tmp_path / "out/sparse").read_bytes() == data
    assert (tmp_path / "out/sparse").stat().st_blocks * 512 < 1 << 20


async def test_a_destination_that_is_not_empty_is_refused(catalogue: Catalogue, tmp_path: Path) -> None:
    sketch = Sketch()
    sketch.file(ROOT, b"file", b"data")
    medium = await catalogue.medium("disc", {0: sketch})
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for destination in (tmp_path / "full", tmp_path / "file", tmp_path / "no/such/parent"):
        with pytest.raises(UsageError):
            await restored(catalogue, medium, destination)
    assert tree_of(tmp_path / "full") == {b"mine": b"mine"}
    (tmp_path / "empty").mkdir()
    assert (await restored(catalogue, medium, tmp_path / "empty")).complete


async def test_a_full_disk_is_one_clear_error_and_leaves_nothing(catalogue: Catalogue, tmp_path: Path) -> None:
    sketch = Sketch()
    folder = sketch.directory(ROOT, b"folder")
    sketch.file(folder, b"small", b"fits")
    sketch.file(folder, b"large", os.urandom(3 << 20))
    medium = await catalogue.medium("large", {0: sketch})
    disk = tmp_path / "disk"
    disk.mkdir()
    await anyio.run_process(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)])
    try:
        with pytest.raises(StoreError, match="no space left in the destination"):
            await restored(catalogue, medium, disk / "out")
        assert os.listdir(disk) == []
        with pytest.raises(StoreError):
            await restored(catalogue, medium, disk)
        assert os.listdir(disk) == []
    finally:
        await anyio.run_process(["umount", str(disk)])


async def test_a_file_system_without_links_gets_copies(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    sketch = Sketch()
    sketch.name_again(ROOT, b"b", sketch.file(ROOT, b"a", b"data"))
    sketch.special(ROOT, b"link", stat.S_IFLNK, b"a")
    medium = await catalogue.medium("links", {0: sketch})
    monkeypatch.setattr(staging.os, "link", refused)
    monkeypatch.setattr(staging.os, "symlink", refused)
    report = await restored(catalogue, medium, tmp_path / "out")
    assert tree_of(tmp_path / "out") == {b"a": b"data", b"b": b"data"}
    assert (report.files, report.hard_links, [one.path for one in report.failed]) == (2, 0, ["link"])


async def test_contents_are_read_in_the_order_of_the_store(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sketch = Sketch()
    names = [b"%03d" % number for number in range(200)]
    for name in reversed(names):
        sketch.file(ROOT, name, b"content of " + name)
    medium = await catalogue.medium("order", {0: sketch})
    offsets: list[int] = []
    read = os.pread

    def noted(fd: int, length: int, offset: int) -> bytes:
        offsets.append(offset)
        return read(fd, length, offset)

    monkeypatch.setattr("ntt.store.reading.os.pread", noted)
    await restored(catalogue, medium, tmp_path / "out")
    assert len(offsets) == len(names)
    assert offsets == sorted(offsets)


async def test_damaged_files_and_links_to_nowhere_are_told_one_by_one_and_nothing_else_is_lost(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    sketch = Sketch()
    sketch.file(ROOT, b"damaged", b"ab\0\0ef", damaged=((2, 4),))
    sketch.file(ROOT, b"in doubt", b"content", damaged=((0, 7),), reason="may hold bytes that were not read")
    sketch.file(ROOT, b"lost", None, reason="unread")
    empty = sketch.special(ROOT, b"nowhere", stat.S_IFLNK, b"")
    sketch.name_again(ROOT, b"nowhere too", empty)
    sketch.special(ROOT, b"somewhere", stat.S_IFLNK, b"whole")
    sketch.file(ROOT, b"whole", b"whole")
    medium = await catalogue.medium("links", {0: sketch})
    report = await restored(catalogue, medium, tmp_path / "out")
    assert tree_of(tmp_path / "out") == {
        b"damaged": b"ab\0\0ef", b"in doubt": b"content", b"whole": b"whole", b"somewhere": b"whole",
    }  # fmt: skip
    no_target = "the target of this link is empty: it was not read, or the medium holds none"
    assert [(one.path, one.reason) for one in report.failed] == [
        ("lost", "unread"), ("nowhere", no_target), ("nowhere too", no_target),
    ]  # fmt: skip
    assert [(one.path, one.reason) for one in report.damaged] == [
        ("damaged", "parts could not be read from the medium"), ("in doubt", "may hold bytes that were not read"),
    ]  # fmt: skip
    assert (report.files, report.links) == (3, 1)
    text = "\n".join(restore_lines(report))
    assert text.count(no_target) == 2
    assert "everything was restored" not in text
