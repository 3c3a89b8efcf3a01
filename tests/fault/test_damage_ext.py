"""Bad sectors on ext media: what is told of each file is what debugfs says lies there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from damage_ext import MIB, SECTOR_BYTES, behind_a_table, ext2_image, ext4_image, ext_image, tree_of, truth_of
from damage_plans import Truth, complaints, plans
from damage_trial import told_of
from media_images import noise, run, written

from ntt.model import VolumeStatus
from ntt.ranges import normalised
from ntt.readers.base import ImageSource
from ntt.readers.ext.groups import ExtGroups
from ntt.readers.ext.superblock import ExtSuperblock

PLANS = 50


@dataclass(frozen=True, slots=True)
class Medium:
    image: Path
    truth: Truth


@pytest.fixture(scope="module")
def ext4(tmp_path_factory: pytest.TempPathFactory) -> Medium:
    folder = tmp_path_factory.mktemp("ext4")
    tree = tree_of(folder / "tree")
    image = ext4_image(folder / "image", tree)
    return Medium(image, truth_of(image, tree))


@pytest.fixture(scope="module")
def ext2(tmp_path_factory: pytest.TempPathFactory) -> Medium:
    """In a partition."""
    folder = tmp_path_factory.mktemp("ext2")
    tree = tree_of(folder / "tree")
    image = behind_a_table(folder / "disk", ext2_image(folder / "image", tree))
    return Medium(image, truth_of(image, tree, MIB))


@pytest.mark.parametrize("kind", ["ext4", "ext2"])
def test_planned_bad_sectors_are_told_file_by_file_as_debugfs_has_them(
    kind: str, request: pytest.FixtureRequest
) -> None:
    medium: Medium = request.getfixturevalue(kind)
    assert len(medium.truth.files[b"fragments"].records) > 2, "it has blocks of a map, or of an extent tree"
    assert not complaints(medium.truth, told_of(medium.image, ()), ())
    wrong = [
        f"{plan.name}, {plan.bad}: {complaint}"
        for plan in plans(medium.truth, PLANS, seed=4)
        for complaint in complaints(medium.truth, told_of(medium.image, plan.bad), plan.bad)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kind", ["ext4", "ext2"])
def test_each_sector_of_names_and_of_inodes_is_told_when_it_alone_is_bad(
    kind: str, request: pytest.FixtureRequest
) -> None:
    medium: Medium = request.getfixturevalue(kind)
    truth = medium.truth
    places = [one for path in (b"", b"many") for one in truth.directories[path].names]
    places += [directory.records[0][0] for directory in truth.directories.values()]
    sectors = sorted({at // SECTOR_BYTES for start, end in places for at in range(start, end, SECTOR_BYTES)})
    wrong = [
        f"sector {sector}: {complaint}"
        for sector in sectors
        for bad in (((sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES),),)
        for complaint in complaints(truth, told_of(medium.image, bad), bad)
    ]
    assert not wrong, "\n".join(wrong)


LAYOUTS = {
    "meta_bg": ("ext4", "60M", "-b", "1024", "-O", "meta_bg,^resize_inode,64bit"),
    "without flex_bg": ("ext4", "60M", "-b", "1024", "-O", "^flex_bg"),
    "sparse_super2": ("ext4", "60M", "-b", "1024", "-O", "sparse_super2,^resize_inode"),
    "a copy in every group": ("ext3", "40M", "-b", "1024", "-O", "^sparse_super,^resize_inode"),
    "uninit_bg": ("ext4", "60M", "-b", "1024", "-O", "uninit_bg,^metadata_csum"),
    "revision 0": ("ext2", "20M", "-b", "1024", "-r", "0"),
    "inline data": ("ext4", "20M", "-b", "2048", "-I", "512", "-O", "inline_data"),
    "inodes of 1 KiB": ("ext4", "20M", "-b", "4096", "-I", "1024"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_layouts_are_told_as_debugfs_has_them(layout: str, tmp_path: Path) -> None:
    fstype, size, *options = LAYOUTS[layout]
    contents: dict[str | bytes, bytes] = {b"folder/%d" % number: noise(number * 1009, number) for number in range(40)}
    tree = written(tmp_path / "tree", {**contents, b"short": b"a few bytes", b"empty": b""})
    image = ext_image(tmp_path / "image", tree, fstype, size, *options)
    truth = truth_of(image, tree)
    assert not complaints(truth, told_of(image, ()), ())
    wrong = [
        f"{plan.name}, {plan.bad}: {complaint}"
        for plan in plans(truth, 18, seed=8)
        for complaint in complaints(truth, told_of(image, plan.bad), plan.bad)
    ]
    assert not wrong, "\n".join(wrong)


def test_names_of_deleted_files_do_not_come_back_behind_an_unread_sector(tmp_path: Path) -> None:
    names = [b"folder/name %02d" % number for number in range(55)]
    tree = written(tmp_path / "tree", {name: noise(100, at) for at, name in enumerate(names)})
    image = ext_image(tmp_path / "image", tree, "ext2", "8M", "-b", "1024")
    gone = [name for at, name in enumerate(names) if at % 3]
    run("debugfs", "-w", "-f", "-", image, script="".join(f'rm "/{name.decode()}"\n' for name in gone))
    for name in gone:
        (tree / name.decode()).unlink()
    truth = truth_of(image, tree)
    ((start, _),) = truth.directories[b"folder"].names
    for at in (start, start + SECTOR_BYTES):
        bad = ((at, at + SECTOR_BYTES),)
        told = told_of(image, bad)
        assert not complaints(truth, told, bad)
        assert told.files, "one sector of two has names"


def test_clusters_of_blocks_are_in_use_as_dumpe2fs_has_them(tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", {b"%d" % number: noise(30_000, number) for number in range(40)})
    image = ext_image(tmp_path / "image", tree, "ext4", "200M", "-b", "1024", "-C", "16384", "-O", "bigalloc")
    truth = truth_of(image, tree)
    with image.open("rb") as file:
        source = ImageSource(file.fileno())
        superblock = ExtSuperblock.parse(source.read(1024, 1024))
        assert superblock
        groups = ExtGroups(source, 0, superblock)
        assert normalised(groups.used()) == truth.used
        tables = {one.start for one in groups.maps() if one.what == "inode table"}
    assert {directory.records[0][0][0] for directory in truth.directories.values()} >= {
        min(tables) + superblock.inode_size
    }


def test_a_copy_left_from_an_earlier_use_opens_nothing(tmp_path: Path) -> None:
    """A superblock is unread, and what its copy describes does not stand there any more."""
    image = ext_image(
        tmp_path / "image", written(tmp_path / "tree", {b"file": noise(5000)}), "ext4", "20M", "-b", "1024"
    )
    with image.open("r+b") as file:
        file.write(bytes(8 << 20))
    assert not any(volume.status is VolumeStatus.READ for volume in told_of(image, ((0, 4096),)).volumes)
