"""F109: the "image" was a tar.bz2, and all that was said was "mount failed"."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalogue import Catalogue
from media_images import noise, run, written

CONTENTS: dict[str | bytes, bytes] = {"letter.txt": b"dear " * 1000, "box/scan.tif": noise(70_000, 2)}
PACKERS = {
    "tar": ("tar", "-cf"),
    "tar.gz": ("tar", "-czf"),
    "tar.bz2": ("tar", "-cjf"),
    "tar.xz": ("tar", "-cJf"),
    "tar.zst": ("tar", "--zstd", "-cf"),
}


@pytest.mark.parametrize("suffix", [*PACKERS, "zip", "7z"])
def test_f109_an_archive_is_named_and_its_files_are_read(suffix: str, catalogue: Catalogue, tmp_path: Path) -> None:
    tree, image = written(tmp_path / "tree", CONTENTS), tmp_path / f"disc.{suffix}"
    if suffix in PACKERS:
        run(*PACKERS[suffix], image, "-C", tree, "letter.txt", "box")
    else:
        run("7zz", "a", "-bd", f"-t{suffix}", image, f"{tree}/letter.txt", f"{tree}/box")
    report = catalogue.one(image)
    (volume,) = report.volumes
    assert (volume.fstype, volume.status, volume.route) == ("archive", "read", "archive")
    files = {path.decode(): content for path, content in catalogue.files(report.medium_hash).items()}
    assert files == {str(path): content for path, content in CONTENTS.items()}
