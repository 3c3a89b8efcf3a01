"""F004: a Zip disk whose file system starts at byte 16,384 of the image, without a partition table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from catalogue import Catalogue
from media_images import noise, run, written
from partitioned_images import MIB, fat16_image, placed, sparse

CONTENTS: dict[str | bytes, bytes] = {"LETTER.TXT": noise(5_000, 1), "BOX/SCAN.TIF": noise(70_000, 2)}


def ext2_image(image: Path, tree: Path) -> Path:
    run("mke2fs", "-q", "-F", "-t", "ext2", "-d", tree, image, "8M")
    return image


@pytest.mark.parametrize("offset", [16_384, 32_256, 1024 * 1024, 512 * 37])
@pytest.mark.parametrize("make", [fat16_image, ext2_image])
def test_f004_a_file_system_at_an_odd_offset_is_found(
    make: Callable[[Path, Path], Path], offset: int, catalogue: Catalogue, tmp_path: Path
) -> None:
    inner = make(tmp_path / "inner.img", written(tmp_path / "tree", CONTENTS))
    report = catalogue.one(placed(tmp_path / "zip.img", {offset: inner}, offset + inner.stat().st_size + MIB))
    found = {path.decode(): content for path, content in catalogue.files(report.medium_hash).items()}
    assert found == {str(path): content for path, content in CONTENTS.items()}
    (row,) = catalogue.rows("SELECT offset_bytes, status FROM volume")
    assert (row["offset_bytes"], row["status"]) == (offset, "read")


def test_f004_a_blank_image_names_everything_that_was_tried(catalogue: Catalogue, tmp_path: Path) -> None:
    report = catalogue.one(sparse(tmp_path / "blank.img", 4 * MIB))
    assert report.files == 0
    (volume,) = report.volumes
    assert volume.fstype == "blank"
    for tried in ("GPT", "MBR", "Apple", "ISO 9660", "UDF", "ext2/3/4", "FAT12/16/32", "NTFS", "HFS", "LUKS", "xfs"):
        assert tried.lower() in volume.finding.lower(), tried
    assert volume.next_step
