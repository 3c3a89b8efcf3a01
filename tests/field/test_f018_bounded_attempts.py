"""F018: 188,000 retries of 3 files in 7 hours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import poisoned_image
import pytest
from catalogue import Catalogue
from media_images import ext4_image, found_at, iso_image, noise, run, written

POISONED = b"file 33"
CONTENTS: dict[str | bytes, bytes] = {b"file %02d" % n: noise(9000 + n, n) for n in range(60)}
CONTENTS[POISONED] = noise(400_000, 33)  # so large that no read of anything else comes near its middle


@contextmanager
def served(image: Path, mode: str, start: int, end: int) -> Iterator[Path]:
    folder = image.parent / "served"
    folder.mkdir()
    argv = [sys.executable, poisoned_image.__file__, image, folder, mode, str(start), str(end)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            yield folder / poisoned_image.NAME
        finally:
            run("umount", folder)
            assert server.wait(10) == 0


@pytest.mark.parametrize(
    ("mode", "reason", "error_type", "attempts"),
    [
        ("eio", "Input/output error", "ReadError", 3),
        ("hang", "worker_timeout", "WorkerDied", 3),
        ("kill", "worker_crashed", "WorkerDied", 3),
    ],
)
def test_f018_attempts_are_bounded_and_every_file_gets_an_outcome(
    catalogue: Catalogue, tmp_path: Path, mode: str, reason: str, error_type: str, attempts: int
) -> None:
    image = ext4_image(tmp_path / "stick.img", written(tmp_path / "tree", CONTENTS))
    poison = found_at(image, CONTENTS[POISONED]) + 200_000
    with served(image, mode, poison, poison + 512) as medium:
        result = catalogue.ingest(medium, archive=False, attempts=3, stall_s=1.0, workers=2, only_route="tsk")
    assert not result.failures, result.failures
    (report,) = result.media
    assert (report.files, report.failed, report.pending) == (60, 1, 0), [(w.path, w.reason) for w in report.worst]
    assert result.exit_status == 1
    (row,) = catalogue.rows("SELECT * FROM outcome WHERE status = 'f'")
    assert reason in row["reason"]
    assert row["attempts"] == attempts
    assert catalogue.files(report.medium_hash) == CONTENTS | {POISONED: None}
    (event,) = catalogue.rows("SELECT * FROM diagnostic_event")
    assert event["exception_type"] == error_type
    assert event["retry_count"] == attempts
    assert catalogue.hashes_in_store() == catalogue.hashes_in_catalogue() == catalogue.hashes_referenced()


def test_f018_what_has_failed_is_not_tried_again_by_itself(catalogue: Catalogue, tmp_path: Path) -> None:
    image = iso_image(tmp_path / "disc.iso", written(tmp_path / "tree", CONTENTS))
    poison = found_at(image, CONTENTS[POISONED]) + 200_000
    with served(image, "kill", poison, poison + 512) as medium:
        catalogue.ingest(medium, archive=False, attempts=2, only_route="iso9660")
        for _ in range(3):
            (again,) = catalogue.ingest(medium, archive=False, attempts=2, only_route="iso9660").media
            assert (again.failed, again.changed) == (1, False)
    assert catalogue.value("SELECT attempts FROM outcome WHERE status = 'f'") == 2
    assert catalogue.value("SELECT count(*) FROM diagnostic_event") == 1
    assert catalogue.value("SELECT count(*) FROM stage_run WHERE stage = 'copy'") == 1
