"""What FUSE drivers and 7z reach, as root: right, or refused, and never more of it than is true."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
import pytest
from media_images import MIB, noise, ntfs_image, run, written
from mounting import (
    behind,
    made_image,
    pure_udf,
    seen_below,
    session_of,
    sha256,
    until_nothing_is_left_of,
    what_is_kept,
    what_was_given,
)
from source_tree import EXT4, NTFS, make_tree

from ntt.model import Route
from ntt.mounts.drivers import DRIVERS
from ntt.mounts.session import MountLimits

FUSE = (Route.FUSE,)
UNPACKED = (Route.SEVENZIP,)


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("tree") / "tree", EXT4)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Without links: what every one of the drivers can show."""
    contents = {f"folder {number % 3}/file {number}": noise(number * 100, number) for number in range(60)}
    return written(tmp_path / "plain", {**contents, "Grüße": b"umlaut", "empty": b"", "large": noise(3 * MIB)})


def contents_of(tree: Path) -> dict[bytes, bytes]:
    return {path: content for path, (*_, content) in what_was_given(tree).items() if content is not None}


@pytest.mark.parametrize(("kind", "driver"), [("ext4", "fuse2fs"), ("ext2", "fuse2fs"), ("squashfs", "squashfuse")])
async def test_a_driver_shows_all_that_was_given(kind: str, driver: str, tree: Path, tmp_path: Path) -> None:
    image = made_image(kind, tmp_path / "image", tree)
    before = sha256(image)
    async with session_of(image, kind, FUSE, tmp_path / "work") as (session, volume):
        assert session.refused == {}
        seen = seen_below(session.mounted[1], volume)
        assert session.mounted[1].how == f"fuse {driver}"
    assert seen.problems == ()
    assert what_is_kept(seen) == what_was_given(tree)
    await until_nothing_is_left_of(tmp_path / "work")
    assert sha256(image) == before


async def test_numbers_that_a_driver_makes_up_are_replaced_by_the_same_ones_in_every_mount(tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", {f"{number % 7}/{number}": b"x" for number in range(100)})
    image = made_image("squashfs", tmp_path / "image", tree)
    numbers = []
    for _ in range(2):
        async with session_of(image, "squashfs", FUSE, tmp_path / "work") as (session, volume):
            entries = seen_below(session.mounted[1], volume).entries
            numbers.append({path: entry.ino for path, entry in entries.items()})
    assert numbers[0] == numbers[1]
    assert len(set(numbers[0].values())) == len(numbers[0])


async def test_ntfs_is_shown_with_its_links(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", NTFS)
    image = ntfs_image(tmp_path / "image", tree, 64)
    async with session_of(image, "ntfs", FUSE, tmp_path / "work") as (session, volume):
        seen = seen_below(session.mounted[1], volume)
        assert session.mounted[1].how == "fuse ntfs-3g"
        assert session.mounted[1].remarks == ("alternate data streams are not listed by this route",)
    given = what_was_given(tree)
    assert {path: (kept[3], kept[4]) for path, kept in what_is_kept(seen).items()} == {
        path: (kept[3], kept[4]) for path, kept in given.items()
    }
    assert {entry.mode & 0o777 for path, entry in seen.entries.items() if path in seen.contents} == {0o644}


@pytest.mark.parametrize("kind", ["xfs", "btrfs", "ext4", "squashfs"])
async def test_grub_mount_reads_what_has_no_other_driver(kind: str, plain: Path, tmp_path: Path) -> None:
    if kind == "squashfs":
        run("mksquashfs", plain, tmp_path / "image", "-quiet", "-noappend", "-no-progress")
    else:
        made_image(kind, tmp_path / "image", plain)
    only_grub = [driver for driver in DRIVERS if driver.programs == ("grub-mount",)]
    async with session_of(tmp_path / "image", kind, FUSE, tmp_path / "work", drivers=only_grub) as (session, volume):
        seen = seen_below(session.mounted[1], volume)
        assert session.mounted[1].how == "fuse grub-mount"
    assert {path: content for path, content in seen.contents.items()} == contents_of(plain)
    assert seen.problems == ()


async def test_links_that_a_driver_follows_do_not_lead_in_circles(tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", {"a/b/file": b"deep", "same/same/same/same/same/file": b"no circle"})
    for number in range(4):
        (tree / "a" / f"circle {number}").symlink_to("..")
    image = made_image("xfs", tmp_path / "image", tree)
    async with session_of(image, "xfs", FUSE, tmp_path / "work") as (session, volume):
        seen = seen_below(session.mounted[1], volume)
    assert seen.contents[b"a/b/file"] == b"deep"
    assert seen.contents[b"same/same/same/same/same/file"] == b"no circle"
    assert {problem.kind for problem in seen.problems} == {"directory_cycle"}
    assert len(seen.entries) < 40


async def test_fuseiso_reads_an_iso_that_grub_mount_does_not(tmp_path: Path, plain: Path) -> None:
    run("genisoimage", "-quiet", "-R", "-o", tmp_path / "image", plain)
    only = [driver for driver in DRIVERS if driver.programs == ("fuseiso",)]
    async with session_of(tmp_path / "image", "iso9660", FUSE, tmp_path / "work", drivers=only) as (session, volume):
        assert seen_below(session.mounted[1], volume).contents == contents_of(plain)
        assert session.mounted[1].how == "fuse fuseiso"


async def test_exfat_is_mounted_by_its_driver(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.touch()
    os.truncate(image, 16 * MIB)
    run("mkfs.exfat", image)
    root = tmp_path / "root"
    root.mkdir()
    device = run("losetup", "-f", "--show", image).strip()
    run("mount.exfat-fuse", device, root)
    (root / "a file").write_bytes(noise(5000))
    run("umount", root)
    run("losetup", "-d", device)
    async with session_of(image, "exfat", FUSE, tmp_path / "work") as (session, volume):
        assert seen_below(session.mounted[1], volume).contents == {b"a file": noise(5000)}


async def test_f008_a_pure_udf_medium_is_read_by_the_first_route_that_can(plain: Path, tmp_path: Path) -> None:
    image = pure_udf(tmp_path / "image", plain)
    routes = (Route.KERNEL, Route.FUSE, Route.SEVENZIP)
    async with session_of(image, "udf", routes, tmp_path / "work") as (session, volume):
        assert session.refused == {}
        assert seen_below(session.mounted[1], volume).contents == contents_of(plain)


# ---------------------------------------------------------------- 7z


async def test_7z_unpacks_a_udf_medium(plain: Path, tmp_path: Path) -> None:
    image = pure_udf(tmp_path / "image", plain)
    async with session_of(image, "udf", UNPACKED, tmp_path / "work") as (session, volume):
        mounted = session.mounted[1]
        seen = seen_below(mounted, volume)
        assert (mounted.route, mounted.how) == (Route.SEVENZIP, "7z")
        assert "may alter names" in mounted.remarks[0]
    assert seen.contents == contents_of(plain)
    await until_nothing_is_left_of(tmp_path / "work")


async def test_7z_unpacks_a_volume_that_begins_later(plain: Path, tmp_path: Path) -> None:
    disk = behind(pure_udf(tmp_path / "image", plain), 3 * MIB + 512)
    async with session_of(disk, "udf", UNPACKED, tmp_path / "work", offset_bytes=3 * MIB + 512) as (session, volume):
        assert seen_below(session.mounted[1], volume).contents == contents_of(plain)


async def test_no_empty_file_stands_for_a_link_that_7z_refuses(tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", {"folder/file": b"content", "folder/empty": b""})
    (tree / "folder" / "out").symlink_to("../../../../etc/passwd")
    (tree / "folder" / "in").symlink_to("file")
    image = made_image("squashfs", tmp_path / "image", tree)
    async with session_of(image, "squashfs", UNPACKED, tmp_path / "work") as (session, volume):
        seen = seen_below(session.mounted[1], volume)
        assert "made no link out of 1" in session.mounted[1].remarks[1]
    assert seen.contents == {b"folder/file": b"content", b"folder/empty": b""}
    assert seen.entries[b"folder/in"].link_target == b"file"
    assert b"folder/out" not in seen.entries


async def test_a_medium_that_ends_early_is_refused_by_7z_rather_than_read_in_part(plain: Path, tmp_path: Path) -> None:
    image = pure_udf(tmp_path / "image", plain)
    whole_bytes = image.stat().st_size
    os.truncate(image, whole_bytes // 2)
    async with session_of(image, "udf", UNPACKED, tmp_path / "work", size_bytes=whole_bytes) as (session, _):
        assert session.refused[1].tried[0].startswith("7z: ")
    await until_nothing_is_left_of(tmp_path / "work")


async def test_7z_stops_where_the_disk_would_be_full(plain: Path, tmp_path: Path) -> None:
    image = pure_udf(tmp_path / "image", plain)
    limits = MountLimits(reserve_bytes=1 << 60)
    async with session_of(image, "udf", UNPACKED, tmp_path / "work", limits=limits) as (session, _):
        assert "no room to unpack it" in session.refused[1].tried[0]


# ---------------------------------------------------------------- who reads

READS_ALL = """
import os, sys
refused = []
for folder, folders, files, fd in os.fwalk(".", dir_fd=int(sys.argv[1]), onerror=refused.append):
    for name in files:
        try:
            with open(name, "rb", opener=lambda path, flags: os.open(path, flags, dir_fd=fd)) as file:
                file.read()
        except OSError as error:
            refused.append(error)
print(os.getuid(), refused)
"""


@pytest.mark.parametrize(
    ("kind", "route", "driver"),
    [
        ("ext4", Route.KERNEL, ""),
        ("ext4", Route.FUSE, "fuse2fs"),
        ("ext4", Route.FUSE, "grub-mount"),
        ("squashfs", Route.FUSE, "squashfuse"),
        ("squashfs", Route.SEVENZIP, ""),
    ],
)
async def test_another_user_may_read_everything(kind: str, route: Route, driver: str, tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", {"folder/file": b"secret", "file": b"secret too"})
    (tree / "folder").chmod(0o700)
    (tree / "file").chmod(0o600)
    image = made_image(kind, tmp_path / "image", tree)
    only = [one for one in DRIVERS if driver in one.programs]
    async with session_of(image, kind, (route,), tmp_path / "work", drivers=only) as (session, _):
        root_fd = session.mounted[1].root_fd
        rights = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--no-new-privs")
        nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *rights)
        done = await anyio.run_process([*nobody, sys.executable, "-c", READS_ALL, str(root_fd)], pass_fds=[root_fd])
    assert done.stdout == b"65534 []\n"
