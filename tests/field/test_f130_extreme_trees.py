"""F130: sparse 1 TB files, 100,000-deep or 255-byte names, 10,000 hard links, special and set-uid files."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

from catalogue import Catalogue
from media_images import ext4_image, iso_image, noise, run, written

MIB = 1 << 20
GIB = 1 << 30
PEAK_LIMIT_BYTES = 150 * MIB  # of the largest of its processes
DEEP = 10_500

# between the test and the program: what a process inherits as its peak is that of who started it
MEASURED = "import os, sys; p = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ); _, s, u = os.wait4(p, 0); \
print(os.waitstatus_to_exitcode(s), u.ru_maxrss << 10)"


def ingested_with_peak(catalogue: Catalogue, image: Path) -> int:
    """Peak resident bytes of the largest process of an `ntt ingest` that must end well."""
    program = [sys.executable, "-m", "ntt", "ingest", "--json", "--no-archive", str(image)]
    argv = [sys.executable, "-S", "-c", MEASURED, *program, "--home", str(catalogue.home), "--database", catalogue.url]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    status, peak_bytes = done.stdout.splitlines()[-1].split()
    assert status == "0", done.stderr
    return int(peak_bytes)


def test_f130_special_files_are_recorded_and_never_opened(catalogue: Catalogue, tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", {"set-uid": b"#!/bin/sh\n", "set-gid sticky": noise(20_000)})
    (tree / "set-uid").chmod(0o4755)
    (tree / "set-gid sticky").chmod(0o3644)
    os.mkfifo(tree / "fifo", 0o640)
    os.mknod(tree / "null", 0o020666, os.makedev(1, 3))
    os.mknod(tree / "disk", 0o060660, os.makedev(259, 65_536))
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tree / "socket"))
    (tree / "link").symlink_to("/etc/passwd")
    (tree / "folder").mkdir(mode=0o1777)
    for image in (ext4_image(tmp_path / "stick.img", tree), iso_image(tmp_path / "disc.iso", tree)):
        report = catalogue.one(image)
        found = {path: one for (_, path), one in catalogue.tree(report.medium_hash).items()}
        assert {path: one.type for path, one in found.items() if path != b"lost+found"} == {
            b"set-uid": "file", b"set-gid sticky": "file", b"fifo": "fifo", b"null": "chardev", b"disk": "blockdev",
            b"socket": "socket", b"link": "link", b"folder": "directory",
        }  # fmt: skip
        for path, one in found.items():
            if path != b"lost+found":
                assert one.mode == os.lstat(tree / os.fsdecode(path)).st_mode, path
        assert (found[b"null"].link_target, found[b"disk"].link_target) == (b"1:3", b"259:65536")
        assert found[b"link"].link_target == b"/etc/passwd"
        assert report.files == 2, "only regular files are to be copied"
        assert {path for path, one in found.items() if one.status} == {b"set-uid", b"set-gid sticky"}
        assert report.problems == ()


def test_f130_special_files_come_back_only_where_they_are_allowed(catalogue: Catalogue, tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", {"set-uid": b"#!/bin/sh\n"})
    (tree / "set-uid").chmod(0o4755)
    os.mkfifo(tree / "fifo")
    os.mknod(tree / "null", 0o020666, os.makedev(1, 3))
    report = catalogue.one(iso_image(tmp_path / "disc.iso", tree))
    ended = catalogue.command("restore", report.medium_hash[:8], tmp_path / "by default")
    assert ended.status == 1, "what was left out is said"
    kept = {path.name: path.lstat().st_mode for path in (tmp_path / "by default").iterdir()}
    assert "null" not in kept
    assert stat.S_IMODE(kept["set-uid"]) == 0o755
    all_of_it = catalogue.restored(report.medium_hash)
    assert {path.name: path.lstat().st_mode for path in all_of_it.iterdir()} == {
        path.name: path.lstat().st_mode for path in tree.iterdir()
    }


def test_f130_holes_cost_neither_space_nor_memory(catalogue: Catalogue, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    size_bytes = 8 * GIB + 12_345
    with (tree / "sparse").open("wb") as file:
        file.truncate(size_bytes)
        for at in (1 * GIB + 7, 5 * GIB - 3, size_bytes - 100):
            file.seek(at)
            file.write(noise(100, at))
    peak_bytes = ingested_with_peak(catalogue, ext4_image(tmp_path / "stick.img", tree))
    assert peak_bytes < PEAK_LIMIT_BYTES
    (row,) = catalogue.rows("SELECT size, copied, blobid FROM inode WHERE type = 'file'")
    assert (row["size"], row["copied"]) == (size_bytes, True)
    (blob,) = [path for path in (catalogue.store / "blobs").rglob("*") if path.is_file()]
    assert blob.name == row["blobid"]
    assert blob.stat().st_size == size_bytes
    assert blob.stat().st_blocks * 512 < 8 * MIB
    with blob.open("rb") as stored:
        for at in (1 * GIB + 7, 5 * GIB - 3, size_bytes - 100):
            stored.seek(at - 1)
            assert stored.read(101) == b"\0" + noise(100, at)
    assert sum(path.stat().st_blocks * 512 for path in catalogue.store.rglob("*")) < 16 * MIB


def test_f130_ten_thousand_hard_links_are_one_inode(catalogue: Catalogue, tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", {"a/0": noise(5000)})
    (tree / "b").mkdir()
    for number in range(1, 10_000):
        os.link(tree / "a" / "0", tree / ("a" if number % 2 else "b") / str(number))
    report = catalogue.one(ext4_image(tmp_path / "stick.img", tree))
    assert (report.files, report.stored, report.bytes) == (1, 1, 5000)
    rows = catalogue.rows("SELECT p.path, p.ino FROM path p JOIN inode i USING (medium_hash, volume, ino) "
                          "WHERE i.type = 'file'")  # fmt: skip
    assert len({row["path"] for row in rows}) == len(rows) == 10_000
    assert len({row["ino"] for row in rows}) == 1
    restored = catalogue.restored(report.medium_hash)
    assert (restored / "b" / "9998").stat().st_nlink == 10_000
    assert (restored / "a" / "9999").read_bytes() == noise(5000)


def test_f130_names_and_targets_of_the_greatest_length(catalogue: Catalogue, tmp_path: Path) -> None:
    names = [b"n" * 255, b"\xe2\x82\xac" * 85, b"\xff" * 255, b" " * 255]
    folder = b"/".join(bytes([0x61 + depth]) * 255 for depth in range(12))
    tree = written(tmp_path / "tree", {name: name[:100] for name in names} | {folder + b"/deepest": b"deepest"})
    (tree / "longest target").symlink_to("t" * 4095)
    report = catalogue.one(ext4_image(tmp_path / "stick.img", tree, 16, "-b", "4096"))
    found = {path: one for (_, path), one in catalogue.tree(report.medium_hash).items()}
    for name in names:
        assert found[name].content == name[:100]
    assert found[folder + b"/deepest"].content == b"deepest"
    assert found[b"longest target"].link_target == b"t" * 4095
    restored = os.fsencode(catalogue.restored(report.medium_hash))
    assert set(names) < set(os.listdir(restored))
    with open(os.path.join(restored, folder, b"deepest"), "rb") as file:
        assert file.read() == b"deepest"
    assert os.readlink(os.path.join(restored, b"longest target")) == b"t" * 4095


def deep_ext4(image: Path, depth: int) -> Path:
    """Folders named `d`, one in the other, with a file in the last; deeper than any path can name."""
    ext4_image(image, None, depth // 1000 * 2 + 8, "-b", "1024", "-N", str(depth + 100), "-O", "^has_journal")
    content = image.with_suffix(".content")
    content.write_bytes(b"at the bottom")
    script = "mkdir d\ncd d\n" * depth + f"write {content} bottom\n"
    run("debugfs", "-w", "-f", "/dev/stdin", image, script=script)
    return image


def test_f130_a_tree_deeper_than_any_path_is_listed_copied_and_restored(catalogue: Catalogue, tmp_path: Path) -> None:
    peak_bytes = ingested_with_peak(catalogue, deep_ext4(tmp_path / "stick.img", DEEP))
    assert peak_bytes < PEAK_LIMIT_BYTES
    (medium,) = catalogue.media()
    assert catalogue.value("SELECT count(*) FROM name WHERE name = 'd'::bytea") == DEEP
    (row,) = catalogue.rows("SELECT i.copied, i.ino, n.name FROM inode i JOIN name n USING (ino) WHERE type = 'file'")
    assert (row["copied"], row["name"]) == (True, b"bottom")
    (path,) = catalogue.rows("SELECT path FROM path WHERE ino = $1", row["ino"])
    assert path["path"].startswith(b".../d/d/"), "the view shows the end of a path that is too long"
    restored = catalogue.restored(medium["medium_hash"])
    try:
        assert content_at_the_bottom(restored, DEEP) == b"at the bottom"
    finally:
        run("rm", "-rf", restored)  # what pytest uses for it recurses


def content_at_the_bottom(root: Path, depth: int) -> bytes:
    fd = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    file = os.open("bottom", os.O_RDONLY, dir_fd=fd)
    try:
        return os.read(file, 100)
    finally:
        os.close(file)
        os.close(fd)
