"""A CD-R written track at once ends in two sectors that no drive reads: every such disc was called damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalogue import Catalogue
from faulty_source import Plan, faulty_source
from media_images import ext4_image, found_at, iso_image, map_of, noise, run, written

from ntt.model import Effort
from ntt.operations.ingest_report import MediumReport

SECTOR = 2048
RUN_OUT = 2
PADDING = 150
TREE: dict[str | bytes, bytes] = {f"F{number:02}.BIN": noise(50_000, number) for number in range(8)}
LAST = max(TREE)  # genisoimage writes files in the order of their names


def sectors(size_bytes: int, first: int, last: int) -> tuple[int, int]:
    """A range by its first and last sector, counted from the end: 1 is the last of the disc."""
    return size_bytes - first * SECTOR, size_bytes - (last - 1) * SECTOR


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    """As a drive shows it: the volume, which holds 150 sectors of padding, and the two sectors behind it."""
    image = iso_image(tmp_path / "disc.iso", written(tmp_path / "tree", TREE))
    claimed = int(run("isoinfo", "-d", "-i", image).split("Volume size is: ")[1].split()[0])
    assert image.stat().st_size == claimed * SECTOR
    with image.open("ab") as file:
        file.write(bytes(RUN_OUT * SECTOR))
    return image


def ingested(catalogue: Catalogue, image: Path, *bad: tuple[int, int]) -> MediumReport:
    return catalogue.one(image, map_of(image.with_suffix(".map"), image.stat().st_size, bad))


def health(catalogue: Catalogue) -> object:
    return catalogue.value("SELECT health FROM medium")


def test_the_last_two_sectors_are_no_damage(catalogue: Catalogue, disc: Path) -> None:
    bad = sectors(disc.stat().st_size, 2, 1)
    report = ingested(catalogue, disc, bad)
    assert (report.health, report.problems) == ("ok", ())
    assert (report.files, report.damaged, report.failed) == (len(TREE), 0, 0)
    assert (report.unread_bytes, report.unread) == (RUN_OUT * SECTOR, {"run_out": RUN_OUT * SECTOR})
    assert report.files_whole
    assert health(catalogue) == "ok"
    assert catalogue.value("SELECT problems FROM medium") is None


def test_the_commands_call_it_harmless_and_end_well(catalogue: Catalogue, disc: Path) -> None:
    bad = sectors(disc.stat().st_size, 2, 1)
    told = catalogue.command("ingest", "--no-archive", disc, "--map", map_of(disc.with_suffix(".map"), bad[1], [bad]))
    assert told.status == 0
    report = ingested(catalogue, disc, bad)
    of_medium = catalogue.command("problems", report.medium_hash[:8])
    assert of_medium.status == 0
    assert "4,096 bytes in run-out sectors at the end of the disc (harmless)" in of_medium.stdout
    overview = catalogue.command("problems")
    assert "no problems on any of 1 media" in overview.stdout
    assert overview.status == 0


def test_padding_that_nothing_lies_on_is_none_either(catalogue: Catalogue, disc: Path) -> None:
    bad = sectors(disc.stat().st_size, PADDING + RUN_OUT, 1)
    report = ingested(catalogue, disc, bad)
    assert report.health == "ok"
    assert report.unread == {"run_out": (PADDING + RUN_OUT) * SECTOR}
    assert not any("of the medium were not read" in text for text in report.problems)


def test_a_single_sector_of_the_padding_is_none(catalogue: Catalogue, disc: Path) -> None:
    report = ingested(catalogue, disc, sectors(disc.stat().st_size, 60, 60))
    assert (report.health, report.unread) == ("ok", {"run_out": SECTOR})


def test_one_more_unread_sector_in_a_file_is_damage(catalogue: Catalogue, disc: Path) -> None:
    size = disc.stat().st_size
    hit = found_at(disc, TREE[LAST]) + 3 * SECTOR
    report = ingested(catalogue, disc, (hit, hit + SECTOR), sectors(size, 2, 1))
    assert report.health == "incomplete"
    assert (report.damaged, report.failed) == (1, 0)
    assert report.unread == {"files": SECTOR, "run_out": RUN_OUT * SECTOR}
    (said,) = [text for text in report.problems if "of the medium were not read" in text]
    assert "6,144 bytes of the medium were not read: 2,048 in files" in said
    assert "4,096 in run-out sectors at the end of the disc (harmless)" in said
    assert health(catalogue) == "incomplete"


def test_a_file_among_the_last_sectors_is_damaged_as_any_other(catalogue: Catalogue, tmp_path: Path) -> None:
    """Without padding, the last file ends where the run-out begins."""
    disc = iso_image(tmp_path / "disc.iso", written(tmp_path / "tree", TREE), "-no-pad")
    with disc.open("ab") as file:
        file.write(bytes(RUN_OUT * SECTOR))
    size = disc.stat().st_size
    assert found_at(disc, TREE[LAST]) + len(TREE[LAST]) > size - 3 * SECTOR
    report = ingested(catalogue, disc, sectors(size, 3, 1))
    assert (report.health, report.damaged) == ("incomplete", 1)
    rest = len(TREE[LAST]) % SECTOR
    assert report.unread == {"files": rest, "unclaimed": SECTOR - rest, "run_out": RUN_OUT * SECTOR}
    (file,) = report.worst
    assert (file.path, file.damaged_ranges) == (LAST, ((len(TREE[LAST]) - rest, len(TREE[LAST])),))


def test_a_volume_that_says_less_than_its_files_take_makes_no_file_run_out(catalogue: Catalogue, disc: Path) -> None:
    content = bytearray(disc.read_bytes())
    hit = found_at(disc, TREE[LAST]) + 2 * SECTOR
    claimed = hit // SECTOR
    descriptor = 16 * SECTOR
    content[descriptor + 80 : descriptor + 88] = claimed.to_bytes(4, "little") + claimed.to_bytes(4, "big")
    del content[hit + 60 * SECTOR :]  # so that the end of the disc is near
    disc.write_bytes(content)
    size = disc.stat().st_size
    report = ingested(catalogue, disc, (hit, hit + SECTOR), sectors(size, 2, 1))
    assert (report.health, report.damaged) == ("incomplete", 1)
    assert report.unread["files"] == SECTOR


def test_far_behind_the_volume_another_session_may_lie(catalogue: Catalogue, disc: Path) -> None:
    with disc.open("ab") as file:
        file.write(bytes(400 * SECTOR))
    report = ingested(catalogue, disc, sectors(disc.stat().st_size, 2, 1))
    assert report.health == "incomplete"
    assert "run_out" not in report.unread


def test_the_end_of_a_disk_is_none(catalogue: Catalogue, tmp_path: Path) -> None:
    image = ext4_image(tmp_path / "disk.img", written(tmp_path / "tree", TREE), 8)
    report = ingested(catalogue, image, sectors(image.stat().st_size, 2, 1))
    assert report.health == "incomplete"
    assert "run_out" not in report.unread


def test_the_same_image_at_another_place_keeps_its_health(catalogue: Catalogue, disc: Path) -> None:
    bad = sectors(disc.stat().st_size, 2, 1)
    ingested(catalogue, disc, bad)
    moved = disc.rename(disc.with_name("moved.iso"))
    report = ingested(catalogue, moved, bad)
    assert (report.health, health(catalogue)) == ("ok", "ok")


def test_another_pass_is_judged_anew(catalogue: Catalogue, disc: Path) -> None:
    size = disc.stat().st_size
    hit = found_at(disc, TREE[LAST])
    first = ingested(catalogue, disc, (hit, hit + SECTOR), sectors(size, 2, 1))
    assert first.health == "incomplete"
    better = ingested(catalogue, disc, sectors(size, 2, 1))
    assert (better.medium_hash, better.health, better.damaged) == (first.medium_hash, "ok", 0)
    assert health(catalogue) == "ok"


@pytest.mark.parametrize(("effort", "is_tried"), [(Effort.NORMAL, False), (Effort.DEEP, True)])
def test_only_who_wants_every_trick_has_it_read_again(
    catalogue: Catalogue, disc: Path, tmp_path: Path, effort: Effort, is_tried: bool
) -> None:
    bad = sectors(disc.stat().st_size, 2, 1)
    with faulty_source(disc, Plan(bad=(bad,), sector_bytes=SECTOR), tmp_path / "drive") as source:
        result = catalogue.ingest(source.path, effort=effort, free_space=True, archive=False)
    assert not result.failures
    (report,) = result.media
    assert report.health == "ok"
    assert set(report.unread) == {"run_out"}
    names = {row["name"] for row in catalogue.rows("SELECT name FROM image_pass")}
    assert any("run-out" in name for name in names) is is_tried
