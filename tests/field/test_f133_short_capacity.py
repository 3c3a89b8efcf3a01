"""F133: a drive reported a short capacity: the map was clean, the image was cut, and nothing said so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from catalogue import Catalogue
from media_images import ext4_image, fat32_image, iso_image, map_of, noise, ntfs_image, run, written
from partitioned_images import MIB, sfdisk, sparse

from ntt.readers.detection.expected_size import SHORT, SHORT_STEP

TREE: dict[str | bytes, bytes] = {f"F{number:02}.BIN": noise(50_000, number) for number in range(20)}
SECTOR = 2048


def xfs_image(image: Path, tree: Path) -> Path:
    run("mkfs.xfs", "-q", "-f", "-d", f"file,name={image},size=320m", "-p", _prototype(tree))
    return image


def _prototype(tree: Path) -> Path:
    proto = tree.parent / "prototype"
    files = "".join(f"{one.name} ---644 0 0 {one}\n" for one in sorted(tree.iterdir()))
    proto.write_text(f"nothing\n0 0\nd--755 0 0\n{files}$\n")
    return proto


def hfs_image(image: Path, tree: Path) -> Path:
    sparse(image, 16 * MIB)
    run("env", f"HOME={tree.parent}", "hformat", image)  # it keeps a file there
    return image


def udf_image(image: Path, tree: Path) -> Path:
    sparse(image, 16 * MIB)
    run("mkudffs", "--media-type=hd", "--blocksize=2048", image)
    return image


def gpt_image(image: Path, tree: Path) -> Path:
    inner = ext4_image(image.with_suffix(".part"), tree, 8)
    return sfdisk(sparse(image, 24 * MIB), ["label: gpt", "start=2048 size=16384"], {MIB: inner})


def mbr_image(image: Path, tree: Path) -> Path:
    inner = ext4_image(image.with_suffix(".part"), tree, 8)
    return sfdisk(sparse(image, 24 * MIB), ["label: dos", "start=2048 size=45056 type=83"], {MIB: inner})


def exfat_image(image: Path, tree: Path) -> Path:
    run("mkfs.exfat", sparse(image, 16 * MIB))
    return image


def logical_image(image: Path, tree: Path) -> Path:
    """The only partition is a logical one, and ends long before the extended one that holds it."""
    inner = ext4_image(image.with_suffix(".part"), tree, 8)
    lines = ["label: dos", "start=2048 size=45056 type=5", "start=4096 size=16384 type=83"]
    return sfdisk(sparse(image, 24 * MIB), lines, {2 * MIB: inner})


KINDS: dict[str, tuple[Callable[[Path, Path], Path], int, str]] = {  # how, bytes cut, who says so
    "iso": (iso_image, 100 * SECTOR, "volume descriptor"),
    "udf": (udf_image, 2 * MIB, "volume descriptor"),
    "ext4": (ext4_image, MIB, "file system"),
    "fat": (fat32_image, MIB, "file system"),
    "ntfs": (ntfs_image, MIB, "file system"),
    "exfat": (exfat_image, MIB, "file system"),
    "hfs": (hfs_image, MIB, "file system"),
    "xfs": (xfs_image, 16 * MIB, "file system"),
    "gpt": (gpt_image, MIB, "GPT"),  # behind the last partition: nothing but the table knows
    "mbr": (mbr_image, 8 * MIB, "partition table"),
    "logical": (logical_image, 8 * MIB, "partition table"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_f133_a_clean_map_does_not_hide_that_the_end_is_missing(
    kind: str, catalogue: Catalogue, tmp_path: Path
) -> None:
    make, missing, who = KINDS[kind]
    image = make(tmp_path / "disk.img", written(tmp_path / "tree", TREE))
    whole = image.stat().st_size
    with image.open("r+b") as file:
        file.truncate(whole - missing)
    clean = map_of(tmp_path / "disk.map", whole - missing, [])
    result = catalogue.ingest(image, map_path=clean, archive=False)
    assert result.exit_status == 1
    (report,) = result.media
    ((said, next_step),) = catalogue.rows("SELECT detail, next_step FROM finding WHERE kind = 'medium_short'")
    assert said.startswith(f"the {who} says that the medium has at least ")
    expected = _number_behind("at least ", said)
    assert whole - missing < expected <= whole
    assert f"the image has {whole - missing:,}: {expected - whole + missing:,} bytes are missing" in said
    assert next_step == SHORT_STEP
    assert f"{said}; {next_step}" in report.problems
    assert report.unread_bytes == 0


def _number_behind(words: str, text: str) -> int:
    return int(text.split(words)[1].split(" ")[0].replace(",", ""))


def test_f133_problems_shows_it_with_what_to_do(catalogue: Catalogue, tmp_path: Path) -> None:
    image = iso_image(tmp_path / "disc.iso", written(tmp_path / "tree", TREE))
    whole = image.stat().st_size
    with image.open("r+b") as file:
        file.truncate(whole - 100 * SECTOR)
    report = catalogue.one(image, map_of(tmp_path / "disc.map", whole - 100 * SECTOR, []))
    shown = catalogue.command("problems", report.medium_hash[:8])
    assert shown.status == 1
    assert f"medium_short: the volume descriptor says that the medium has at least {whole:,} bytes" in shown.stdout
    assert f"next: {SHORT_STEP}" in shown.stdout


@pytest.mark.parametrize("kind", ["iso", "ext4", "fat", "ntfs", "exfat", "gpt", "mbr", "logical"])
def test_f133_a_whole_medium_is_not_called_short(kind: str, catalogue: Catalogue, tmp_path: Path) -> None:
    make, _, _ = KINDS[kind]
    image = make(tmp_path / "disk.img", written(tmp_path / "tree", TREE))
    result = catalogue.ingest(image, map_path=map_of(tmp_path / "disk.map", image.stat().st_size, []), archive=False)
    assert result.exit_status == (1 if kind == "exfat" else 0), "that one has no files"
    assert not any(SHORT in text for text in result.media[0].problems)


def test_f133_an_end_that_the_map_knows_is_not_a_short_capacity(catalogue: Catalogue, tmp_path: Path) -> None:
    image = ext4_image(tmp_path / "disk.img", written(tmp_path / "tree", TREE))
    whole = image.stat().st_size
    with image.open("r+b") as file:
        file.truncate(whole - MIB)
    told = map_of(tmp_path / "disk.map", whole, [(whole - MIB, whole)])
    result = catalogue.ingest(image, map_path=told, archive=False)
    assert not any(SHORT in text for text in result.media[0].problems)
    assert result.media[0].unread_bytes == MIB
