"""F111: a tree of symbolic links; 22 files were copied instead of 12,065, and nobody was told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from catalogue import Catalogue
from media_images import ext4_image, iso_image

LINKS = 500


@pytest.mark.parametrize("make", [ext4_image, iso_image])
def test_f111_a_medium_of_only_links_keeps_their_targets_and_is_reported(
    make: object, catalogue: Catalogue, tmp_path: Path
) -> None:
    assert callable(make)
    for number in range(LINKS):
        folder = tmp_path / "tree" / f"box {number // 100}"
        folder.mkdir(parents=True, exist_ok=True)
        os.symlink(f"../../elsewhere/{number}.tif", folder / f"{number}.tif")
    report = catalogue.one(make(tmp_path / "disc.img", tmp_path / "tree"))
    links = {
        path: one.link_target for (_, path), one in catalogue.tree(report.medium_hash).items() if one.type == "link"
    }
    assert links == {b"box %d/%d.tif" % (n // 100, n): b"../../elsewhere/%d.tif" % n for n in range(LINKS)}
    assert report.files == 0
    assert f"the medium holds {LINKS} symbolic links and no regular file" in " ".join(report.problems)
