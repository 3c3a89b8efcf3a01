"""Where a reader fails, or finds too little, the next route is tried, and the difference is recorded."""

from __future__ import annotations

from pathlib import Path

from catalogue import Catalogue
from media_images import ext4_image, found_at, noise, written
from test_f018_bounded_attempts import served

CONTENTS: dict[str | bytes, bytes] = {f"{number}.bin": noise(3_000 + number, number) for number in range(20)}
VICTIM = "7.bin"


def test_a_file_that_the_reader_cannot_read_is_read_through_a_mount(catalogue: Catalogue, tmp_path: Path) -> None:
    image = ext4_image(tmp_path / "stick.img", written(tmp_path / "tree", CONTENTS))
    at = found_at(image, CONTENTS[VICTIM])
    with served(image, "kill", at, at + 512) as medium:  # only what reads the image itself is struck
        (report,) = catalogue.ingest(medium, archive=False, workers=1).media
    assert (report.files, report.failed, report.damaged, report.pending) == (len(CONTENTS), 0, 0, 0)
    files = {path.decode(): content for path, content in catalogue.files(report.medium_hash).items()}
    assert files == CONTENTS
    (difference,) = [problem for problem in report.problems if "could not read" in problem]
    assert "1 files that the reader could not read were read through kernel ext4" in difference
    assert "worker_crashed" in difference
    (event,) = catalogue.rows("SELECT * FROM diagnostic_event")
    assert "worker_crashed" in event["checks"], "that it had failed stays in the history"


def test_what_no_route_reads_names_all_that_were_tried(catalogue: Catalogue, tmp_path: Path) -> None:
    image = ext4_image(tmp_path / "stick.img", written(tmp_path / "tree", CONTENTS))
    at = found_at(image, CONTENTS[VICTIM])
    with served(image, "eio-all", at, at + 512) as medium:
        (report,) = catalogue.ingest(medium, archive=False, workers=1).media
    assert (report.failed, report.pending) == (1, 0)
    (row,) = catalogue.rows("SELECT reason FROM outcome WHERE status = 'f'")
    assert "Input/output error" in row["reason"]
    assert "; tsk: " in row["reason"]


def test_a_volume_that_the_reader_does_not_open_is_read_through_a_mount(catalogue: Catalogue, tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", CONTENTS)
    report = catalogue.one(ext4_image(tmp_path / "disk.img", tree, 64, "-O", "bigalloc", "-C", "16384"))
    (volume,) = report.volumes
    assert (volume.fstype, volume.status, volume.route) == ("ext4", "read", "kernel")
    files = {path.decode(): content for path, content in catalogue.files(report.medium_hash).items()}
    assert files == CONTENTS
    (row,) = catalogue.rows("SELECT tried FROM volume")
    assert any(tried.startswith("tsk: ") for tried in row["tried"]), "why the reader did not is told"
