"""F010: one disk of a Linux software RAID 1, healthy or degraded: its files are read, no array is assembled."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalogue import Catalogue
from media_images import ext4_image, noise, written
from partitioned_images import raid1_member

CONTENTS: dict[str | bytes, bytes] = {"a": noise(5_000, 1), "b/c": noise(90_000, 2)}


@pytest.mark.parametrize("version", ["1.0", "1.2"])
@pytest.mark.parametrize("degraded", [False, True])
def test_f010_a_member_of_a_mirror_is_named_and_its_files_are_read(
    version: str, degraded: bool, catalogue: Catalogue, tmp_path: Path
) -> None:
    before = Path("/proc/mdstat").read_text() if Path("/proc/mdstat").exists() else ""
    inner = ext4_image(tmp_path / "inner.img", written(tmp_path / "tree", CONTENTS), 8)
    report = catalogue.one(raid1_member(tmp_path / "member.img", inner, version, degraded=degraded))
    files = {path.decode(): content for path, content in catalogue.files(report.medium_hash).items()}
    assert files == {str(path): content for path, content in CONTENTS.items()}
    told = " ".join(report.problems)
    assert "linux_raid_member" in told
    assert "level 1" in told
    assert f"metadata {version}" in told
    assert ("degraded" in told) is degraded
    after = Path("/proc/mdstat").read_text() if Path("/proc/mdstat").exists() else ""
    assert after == before, "an array of this machine was touched"
