"""A table of partitions on unread sectors: volumes were missing, and nothing said so."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from catalogue import Catalogue
from faulty_source import Plan, faulty_source
from media_images import ext4_image, map_of, noise, run, written
from partitioned_images import MIB, sfdisk, sparse

from ntt.model import Effort
from ntt.operations.ingest_report import MediumReport

SECTOR = 512
Spot = tuple[int, int]  # first sector, sectors


def extended_disk(folder: Path) -> Path:
    """A primary partition, and three logical ones, of which the last two begin where no partition usually does."""
    lines = ["label: dos", "start=2048 size=16384 type=83", "start=20480 size=90000 type=5"]
    starts = (22528, 45001, 70003)
    lines += [f"start={start} size=16384 type=83" for start in starts]
    parts: dict[int, Path] = {}
    for number, start in enumerate((2048, *starts)):
        tree = written(folder / f"tree{number}", {f"{number}.bin": noise(20_000, number)})
        parts[start * SECTOR] = ext4_image(folder / f"{number}.part", tree, 8)
    return sfdisk(sparse(folder / "disk.img", 60 * MIB), lines, parts)


def apple_disk(folder: Path) -> Path:
    """Inside Macintosh: Devices, "SCSI Manager": a driver map, an entry for the map itself, and two HFS volumes."""
    image = sparse(folder / "disk.img", 24 * MIB)
    places = (("Apple_partition_map", 1, 63), ("Apple_HFS", 2001, 16384), ("Apple_HFS", 20003, 16384))
    with image.open("r+b") as file:
        file.write(b"ER" + struct.pack(">HI", SECTOR, 24 * MIB // SECTOR))
        for number, (kind, start, blocks) in enumerate(places, 1):
            file.seek(number * SECTOR)
            file.write(b"PM\0\0" + struct.pack(">III", len(places), start, blocks) + bytes(32) + kind.encode())
        for _, start, blocks in places[1:]:
            part = sparse(folder / f"{start}.part", blocks * SECTOR)
            run("env", f"HOME={folder}", "hformat", part)
            file.seek(start * SECTOR)
            file.write(part.read_bytes())
    return image


FIRST_EBR, SECOND_EBR, THIRD_EBR = 20480, 22528 + 16384, 45001 + 16384
DISKS: dict[str, Callable[[Path], Path]] = {"extended": extended_disk, "apple": apple_disk}
CASES: list[tuple[str, Spot]] = [
    ("extended", (FIRST_EBR, 1)),
    ("extended", (0, 1)),
    ("apple", (1, 1)),
    ("apple", (2, 1)),
    ("apple", (3, 1)),
    ("apple", (1, 3)),  # all entries: the driver map alone tells that there were any
    ("apple", (0, 4)),
]


def ingested(catalogue: Catalogue, image: Path, spot: Spot) -> MediumReport:
    bad = (spot[0] * SECTOR, (spot[0] + spot[1]) * SECTOR)
    return catalogue.one(image, map_of(image.with_suffix(".map"), image.stat().st_size, [bad]))


def links(image: Path) -> list[int]:
    """Where sfdisk put the boot records of the logical partitions: each links to the next, as bytes 470 on say."""
    content = image.read_bytes()
    found, at = [], FIRST_EBR
    while True:
        found.append(at)
        (link,) = struct.unpack_from("<I", content, at * SECTOR + 470)
        if not link:
            return found
        at = FIRST_EBR + link


def assert_told(catalogue: Catalogue, report: MediumReport, spot: Spot) -> None:
    findings = {row["kind"]: row for row in catalogue.rows("SELECT kind, detail, next_step FROM finding")}
    assert "partitions may be missing" in findings["table_unread"]["detail"]
    assert "volumes may be missing" in findings["metadata_unread"]["detail"]
    assert "partition table were not read" in findings["metadata_unread"]["detail"]
    assert findings["table_unread"]["next_step"] == findings["metadata_unread"]["next_step"]
    assert "in another drive" in findings["table_unread"]["next_step"]
    assert not report.files_whole
    assert 0 < report.unread["structures"] <= spot[1] * SECTOR


@pytest.mark.parametrize(("kind", "spot"), CASES)
def test_volumes_that_may_be_missing_are_told(kind: str, spot: Spot, catalogue: Catalogue, tmp_path: Path) -> None:
    image = DISKS[kind](tmp_path)
    report = ingested(catalogue, image, spot)
    assert_told(catalogue, report, spot)
    shown = catalogue.command("problems", report.medium_hash[:8])
    assert shown.status == 1
    assert "partitions may be missing" in shown.stdout


@pytest.mark.parametrize("number", [1, 2])
def test_a_lost_link_of_the_chain_is_told_and_what_is_before_it_read(
    number: int, catalogue: Catalogue, tmp_path: Path
) -> None:
    image = extended_disk(tmp_path)
    chain = links(image)
    assert len(chain) == 3
    spot = chain[number], 1
    report = ingested(catalogue, image, spot)
    assert_told(catalogue, report, spot)
    assert report.unread == {"structures": SECTOR}
    assert len(report.volumes) >= 1 + number
    assert_nothing_twice(catalogue, report)


def assert_nothing_twice(catalogue: Catalogue, report: MediumReport) -> None:
    """A boot record that was read names its partition again, to who looks for lost ones."""
    rows = catalogue.rows("SELECT offset_bytes, size_bytes FROM volume ORDER BY offset_bytes")
    spans = [(row["offset_bytes"], row["offset_bytes"] + row["size_bytes"]) for row in rows]
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans)), spans
    files = [path for _, path in catalogue.tree(report.medium_hash) if path.endswith(b".bin")]
    assert len(files) == len(set(files))


def test_a_partition_before_a_lost_link_is_listed_once_where_partitions_usually_begin(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    """The record that names the partition begins a MiB before it, where partitions are looked for too."""
    lines = ["label: dos", "start=2048 size=16384 type=83", "start=20480 size=90000 type=5"]
    lines += ["start=22528 size=16384 type=83", "start=43008 size=16384 type=83"]
    parts: dict[int, Path] = {}
    for number, start in enumerate((2048, 22528, 43008)):
        tree = written(tmp_path / f"tree{number}", {f"{number}.bin": noise(20_000, number)})
        parts[start * SECTOR] = ext4_image(tmp_path / f"{number}.part", tree, 8)
    image = sfdisk(sparse(tmp_path / "disk.img", 60 * MIB), lines, parts)
    report = ingested(catalogue, image, (links(image)[1], 1))
    assert_nothing_twice(catalogue, report)
    assert len(report.volumes) == 3


@pytest.mark.parametrize("kind", DISKS)
def test_a_table_that_was_read_is_not_called_lost(kind: str, catalogue: Catalogue, tmp_path: Path) -> None:
    image = DISKS[kind](tmp_path)
    last = image.stat().st_size // SECTOR - 8
    report = ingested(catalogue, image, (last, 1))
    kinds = {row["kind"] for row in catalogue.rows("SELECT kind FROM finding")}
    assert not kinds & {"table_unread", "metadata_unread"}
    assert "structures" not in report.unread


def test_a_chain_that_goes_on_behind_the_end_of_the_image_is_told(catalogue: Catalogue, tmp_path: Path) -> None:
    image = extended_disk(tmp_path)
    whole, cut = image.stat().st_size, links(image)[2] * SECTOR
    with image.open("r+b") as file:
        file.truncate(cut)
    report = catalogue.one(image, map_of(tmp_path / "disk.map", whole, [(cut, whole)]))
    (said,) = catalogue.rows("SELECT detail FROM finding WHERE kind = 'table_unread'")
    assert f"breaks off at byte {cut}, which lies beyond the end of the image" in said["detail"]
    assert report.unread["structures"] == SECTOR


@pytest.mark.parametrize("kind", DISKS)
def test_tables_are_read_again_first_and_then_no_volume_is_missing(
    kind: str, catalogue: Catalogue, tmp_path: Path
) -> None:
    image = DISKS[kind](tmp_path)
    spots = [link * SECTOR for link in links(image)] if kind == "extended" else [SECTOR, 2 * SECTOR, 3 * SECTOR]
    plan = Plan(heals=tuple((at, at + SECTOR, 2) for at in spots))
    with faulty_source(image, plan, tmp_path / "drive") as source:
        result = catalogue.ingest(source.path, effort=Effort.NORMAL, archive=False)
    assert not result.failures
    (report,) = result.media
    assert len(report.volumes) == {"extended": 4, "apple": 2}[kind]
    assert report.files_whole
    assert "structures" not in report.unread
    assert not any("may be missing" in text for text in report.problems)
    passes = [row["name"] for row in catalogue.rows("SELECT name FROM image_pass ORDER BY began_at")]
    about_files = [name for name in passes if name != "samples"]  # which are what the medium is known by
    assert about_files[:2] == ["everything", "structures"]
