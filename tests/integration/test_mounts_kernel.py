"""What the kernel mounts: exactly what is in it, seen by nobody else, and not a byte of the image changed."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from media_images import MIB, noise, run, written
from mounting import (
    LIMITS,
    behind,
    left_of,
    made_image,
    options_of_mounts,
    seen_below,
    session_of,
    sha256,
    until_nothing_is_left_of,
    what_is_kept,
    what_was_given,
    writable,
)
from source_tree import EXT4, make_tree

from ntt.model import Route
from ntt.mounts.session import MountLimits
from ntt.mounts.tree import MountedTree
from ntt.ranges import normalised

KERNEL = (Route.KERNEL,)
KINDS = ("ext2", "ext3", "ext4", "xfs", "btrfs", "squashfs", "erofs")
KNOW_WHERE = ("ext2", "ext3", "ext4", "xfs", "erofs")
AWKWARD = "a folder, with 'quotes' \"and\" \\ more\nlines"


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two thousand files, difficult names, links, modes; and what is no file."""
    root = make_tree(tmp_path_factory.mktemp("tree") / "tree", EXT4)
    os.mkfifo(root / "fifo")
    os.mknod(root / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    os.chown(root / "fifo", 1234, 5678)
    return root


@pytest.fixture(scope="session")
def trees(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """For each file system; this mkfs.erofs fails on long names in deep folders."""
    shallow = tmp_path_factory.mktemp("shallow") / "tree"
    run("cp", "-a", tree, shallow)
    shutil.rmtree(shallow / "level 0")
    return {kind: shallow if kind == "erofs" else tree for kind in KINDS}


@pytest.fixture(scope="session")
def images(trees: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("images") / AWKWARD
    folder.mkdir()
    return {kind: made_image(kind, folder / kind, trees[kind]) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
async def test_all_that_was_given_is_there_and_the_image_stays_as_it_is(
    kind: str, images: dict[str, Path], trees: dict[str, Path], tmp_path: Path
) -> None:
    before = sha256(images[kind])
    async with session_of(images[kind], kind, KERNEL, tmp_path) as (session, volume):
        assert session.refused == {}
        mounted = session.mounted[1]
        assert (mounted.route, mounted.remarks) == (Route.KERNEL, ())
        assert mounted.how.startswith(f"kernel {kind} (ro")
        assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
        seen = seen_below(mounted, volume)
    assert seen.problems == ()
    assert what_is_kept(seen) == what_was_given(trees[kind])
    links = {path for path, entry in seen.entries.items() if entry.ino == seen.entries[b"letters/second name"].ino}
    assert len(links) == (2 if kind == "erofs" else 3)
    assert sum(seen.entries[path].new_inode for path in links) == 1
    await until_nothing_is_left_of(tmp_path)
    assert sha256(images[kind]) == before


@pytest.mark.parametrize("kind", KNOW_WHERE)
async def test_the_extents_lead_to_the_content_in_the_image(kind: str, images: dict[str, Path], tmp_path: Path) -> None:
    offset = 3 * 512
    disk = behind(images[kind], offset)
    async with session_of(disk, kind, KERNEL, tmp_path, offset_bytes=offset) as (session, volume):
        seen = seen_below(session.mounted[1], volume)
        mounted = session.mounted[1]
        with closing(MountedTree(mounted.root_fd, volume, mounted.kind)) as tree, disk.open("rb") as file:
            placed = 0
            for path, content in seen.contents.items():
                entry = seen.entries[path]
                tree.locate(entry.ino, path)
                extents = tree.extents(entry.ino)
                assert sum(extent.file_length for extent in extents) == entry.size
                for extent in extents:
                    if extent.image_offset < 0 or extent.vague or extent.file_length != extent.image_length:
                        continue
                    file.seek(extent.image_offset)
                    assert file.read(extent.image_length) == content[extent.file_offset :][: extent.file_length]
                    placed += extent.file_length
                if entry.first_byte >= 0:
                    assert entry.first_byte == extents[0].image_offset
    disk.unlink()
    total = sum(map(len, seen.contents.values()))
    assert placed > total // 2


@pytest.mark.parametrize("kind", ["xfs", "ext4", "squashfs", "erofs"])
async def test_what_a_file_system_counts_is_what_is_listed(kind: str, images: dict[str, Path], tmp_path: Path) -> None:
    async with session_of(images[kind], kind, KERNEL, tmp_path) as (session, volume):
        mounted = session.mounted[1]
        seen = seen_below(mounted, volume)
        as_mounted = msgspec.structs.replace(volume, route=mounted.route)
        with closing(MountedTree(mounted.root_fd, as_mounted, mounted.kind)) as tree:
            facts = tree.facts()
    listed = len({entry.ino for entry in seen.entries.values()}) - 1
    assert facts.entries is not None
    assert abs(facts.entries - listed) <= 2
    assert facts.size_bytes is not None


async def test_a_sparse_file_is_holes_and_content(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    with (tree / "sparse").open("wb") as file:
        file.seek(5 * MIB)
        file.write(noise(MIB))
        file.truncate(20 * MIB)
    image = made_image("xfs", tmp_path / "image", tree)
    async with session_of(image, "xfs", KERNEL, tmp_path / "work") as (session, volume):
        with closing(MountedTree(session.mounted[1].root_fd, volume, session.mounted[1].kind)) as found:
            found.locate(7, b"sparse")
            extents = found.extents(7)
            assert found.read(7, 5 * MIB - 1, 3) == b"\0" + noise(MIB)[:2]
    holes = normalised((e.file_offset, e.file_offset + e.file_length) for e in extents if e.image_offset == -1)
    assert holes == ((0, 5 * MIB), (6 * MIB, 20 * MIB))


async def test_every_mount_is_as_restricted_as_can_be(images: dict[str, Path], tmp_path: Path) -> None:
    for route in (Route.KERNEL, Route.FUSE):
        async with session_of(images["squashfs"], "squashfs", (route,), tmp_path):
            options = options_of_mounts(tmp_path)
        assert {"ro", "nosuid", "nodev", "noexec", "noatime", "nosymfollow"} <= options


# ---------------------------------------------------------------- journals


@pytest.mark.parametrize("kind", ["ext3", "ext4", "xfs"])
async def test_f011_a_dirty_journal_is_not_replayed(kind: str, tmp_path: Path) -> None:
    early = written(tmp_path / "early", {f"early {number}": noise(5000, number) for number in range(50)})
    image = made_image(kind, tmp_path / "image", early)
    copy = tmp_path / "copy"
    with writable(image) as root:
        late = root / "late"
        late.write_bytes(noise(70_000, 99))
        with late.open("rb") as file:
            os.fsync(file.fileno())
        run("cp", "--sparse=always", image, copy)  # as if the power had failed now
    before = sha256(copy)
    async with session_of(copy, kind, KERNEL, tmp_path / "work") as (session, volume):
        mounted = session.mounted[1]
        seen = seen_below(mounted, volume)
    if kind != "xfs":
        assert "journal was not replayed" in mounted.remarks[0]
    kept, given = what_is_kept(seen), what_was_given(early)
    assert {path: kept.get(path) for path in given} == given
    assert sha256(copy) == before


# ---------------------------------------------------------------- which bytes are mounted


async def test_f012_a_replaced_image_is_not_the_one_that_is_mounted(tmp_path: Path) -> None:
    image = made_image("squashfs", tmp_path / "image", written(tmp_path / "one", {"first": b"first"}))
    other = made_image("squashfs", tmp_path / "other", written(tmp_path / "two", {"second": b"second"}))
    async with session_of(image, "squashfs", KERNEL, tmp_path / "work") as (session, volume):
        os.replace(other, image)
        await session.reopen(1)
        assert set(seen_below(session.mounted[1], volume).contents) == {b"first"}


async def test_f021_a_volume_that_is_cut_off_is_filled_up_in_a_private_copy(tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", {f"file {number}": noise(20_000, number) for number in range(100)})
    image = made_image("ext4", tmp_path / "image", tree)
    whole_bytes = image.stat().st_size
    os.truncate(image, whole_bytes * 2 // 3)
    before = sha256(image)
    async with session_of(image, "ext4", KERNEL, tmp_path / "work", size_bytes=whole_bytes) as (session, volume):
        assert what_is_kept(seen_below(session.mounted[1], volume)) == what_was_given(tree)
    await until_nothing_is_left_of(tmp_path / "work")
    no_room = MountLimits(reserve_bytes=1 << 60)
    async with session_of(image, "ext4", KERNEL, tmp_path / "work", size_bytes=whole_bytes, limits=no_room) as (
        session,
        _,
    ):
        assert "a copy takes" in session.refused[1].tried[0]
    assert sha256(image) == before


async def test_a_clone_is_mounted_beside_its_original(images: dict[str, Path], tmp_path: Path) -> None:
    for kind in ("xfs", "btrfs"):
        async with (
            session_of(images[kind], kind, KERNEL, tmp_path / "one") as (one, _),
            session_of(images[kind], kind, KERNEL, tmp_path / "two") as (two, _),
        ):
            assert (one.refused, two.refused) == ({}, {})


# ---------------------------------------------------------------- what does not go


async def test_what_is_no_such_file_system_is_refused_with_every_reason(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(noise(4 * MIB))
    async with session_of(image, "xfs", (Route.KERNEL, Route.FUSE), tmp_path / "work") as (session, _):
        refused = session.refused[1]
    assert refused.tried[0].startswith("kernel xfs (ro,nouuid): the kernel does not take it: ")
    assert refused.tried[1].startswith("kernel xfs (ro,norecovery,nouuid): the kernel does not take it: ")
    assert refused.tried[2].startswith("fuse grub-mount: ")
    assert refused.next_step
    await until_nothing_is_left_of(tmp_path)


async def test_what_this_kernel_does_not_know_is_not_tried(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(MIB))
    async with session_of(image, "amiga", KERNEL, tmp_path / "work") as (session, _):
        known = "affs" in Path("/proc/filesystems").read_text()
        expected = "kernel affs (ro): the kernel does not" if known else "kernel: it has no affs"
        assert session.refused[1].tried[0].startswith(expected)


async def test_what_a_link_or_a_path_out_of_the_volume_names_is_never_opened(tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", {"folder/file": b"inside"})
    (tree / "out").symlink_to("/etc")
    (tree / "file link").symlink_to("folder/file")
    os.mkfifo(tree / "fifo")
    image = made_image("squashfs", tmp_path / "image", tree)
    async with session_of(image, "squashfs", KERNEL, tmp_path / "work") as (session, volume):
        with closing(MountedTree(session.mounted[1].root_fd, volume, session.mounted[1].kind)) as found:
            for path in (
                b"out/passwd",
                b"file link",
                b"fifo",
                b"../image",
                b"folder/../../image",
                b"/etc/passwd",
                b"folder",
            ):
                found.locate(1, path)
                with pytest.raises(OSError):
                    found.read(1, 0, 10)
            found.locate(1, b"folder/file")
            assert (found.read(1, 0, 99), found.read(1, 2, 3), found.read(1, 6, 1)) == (b"inside", b"sid", b"")


async def test_the_subvolumes_of_btrfs_are_listed_with_numbers_of_their_own(tmp_path: Path) -> None:
    image = made_image("btrfs", tmp_path / "image", written(tmp_path / "tree", {"file": b"outside"}))
    with writable(image) as root:
        run("btrfs", "subvolume", "create", root / "sub")
        written(root / "sub", {f"inside {number}": noise(100, number) for number in range(20)})
        os.link(root / "sub" / "inside 0", root / "sub" / "again")
        run("btrfs", "subvolume", "snapshot", "-r", root / "sub", root / "snapshot")
    numbers = []
    for _ in range(2):
        async with session_of(image, "btrfs", KERNEL, tmp_path / "work") as (session, volume):
            seen = seen_below(session.mounted[1], volume)
        assert seen.problems == ()
        assert seen.contents[b"snapshot/inside 7"] == seen.contents[b"sub/inside 7"] == noise(100, 7)
        assert seen.entries[b"sub/again"].ino == seen.entries[b"sub/inside 0"].ino
        numbers.append({path: entry.ino for path, entry in seen.entries.items()})
    assert numbers[0] == numbers[1]
    assert len(set(numbers[0].values())) == len(numbers[0]) - 2


async def test_a_directory_on_unread_bytes_is_reported(tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", {f"folder/file {number}": b"x" for number in range(50)})
    image = made_image("ext4", tmp_path / "image", tree)
    async with session_of(image, "ext4", KERNEL, tmp_path / "work") as (session, volume):
        kind, root_fd = session.mounted[1].kind, session.mounted[1].root_fd
        with closing(MountedTree(root_fd, volume, kind, ((0, volume.size_bytes),))) as damaged:
            problems = [found for found in damaged.walk() if not hasattr(found, "mode")]
    assert {problem.kind for problem in problems} == {"directory_damaged"}
    assert len(problems) == 3  # the root, lost+found and the folder


def test_nothing_of_these_tests_is_left(images: dict[str, Path]) -> None:
    assert left_of(next(iter(images.values())).parent) == []
    assert LIMITS.grace_s > 0
