"""F011, F-002: ext3, ext4 and XFS with a journal that was not replayed: all files, and not one byte written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from blake3 import blake3
from catalogue import Catalogue
from dirty_images import dirty_image
from media_images import noise

CONTENTS = {f"box {n // 10}/{n}": noise(3_000 + n, n) for n in range(40)}


@pytest.mark.parametrize("fstype", ["ext3", "ext4", "xfs"])
def test_f011_a_dirty_journal_is_not_replayed_and_hides_no_file(
    fstype: str, catalogue: Catalogue, tmp_path: Path
) -> None:
    image = dirty_image(tmp_path / "disc.img", fstype, CONTENTS)
    before = blake3(image.read_bytes()).hexdigest()
    stamps = os.stat(image).st_mtime_ns
    report = catalogue.one(image)
    assert blake3(image.read_bytes()).hexdigest() == before
    assert os.stat(image).st_mtime_ns == stamps
    (volume,) = report.volumes
    assert volume.status == "read", volume.finding
    told = " ".join(report.problems)
    assert "not replayed" in told
    files = {path.decode(): content for path, content in catalogue.files(report.medium_hash).items()}
    assert files == CONTENTS
