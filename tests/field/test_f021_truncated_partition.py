"""F021: a partition reaches beyond the end of a truncated image; readers hung, and what lay inside was lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalogue import Catalogue
from media_images import ext4_image, fat32_image, iso_image, noise, ntfs_image, written
from partitioned_images import MIB, sfdisk, sparse

CONTENTS: dict[str | bytes, bytes] = {f"F{number:02}.BIN": noise(400_000, number) for number in range(14)}


@pytest.mark.parametrize("make", [ext4_image, fat32_image, ntfs_image])
def test_f021_what_lies_inside_a_truncated_partition_is_read(
    make: object, catalogue: Catalogue, tmp_path: Path
) -> None:
    assert callable(make)
    inner = make(tmp_path / "inner.img", written(tmp_path / "tree", CONTENTS))
    size = inner.stat().st_size
    image = sparse(tmp_path / "disk.img", 2 * MIB + size)
    sfdisk(image, ["label: dos", f"start=2048 size={size // 512} type=83"], {MIB: inner})
    content = image.read_bytes()
    last = max(content.rfind(part) for part in CONTENTS.values())
    cut = last // 512 * 512  # the file that lies last is gone, or most of it
    image.write_bytes(content[:cut])
    report = catalogue.one(image)
    (volume,) = report.volumes
    assert volume.status == "read"
    assert "beyond the end of the image" in volume.finding
    assert volume.next_step
    files = {path: one for (_, path), one in catalogue.tree(report.medium_hash).items() if path.endswith(b".BIN")}
    assert files.keys() == {str(name).encode() for name in CONTENTS}
    whole = [path for path, one in files.items() if one.status == "copied"]
    assert len(whole) >= 10
    for path in whole:
        assert files[path].content == CONTENTS[path.decode()]
    hurt = [one for one in files.values() if one.status != "copied"]
    assert hurt
    assert all(one.damaged or one.reason for one in hurt)


def test_f021_a_truncated_disc_is_judged_from_its_own_descriptor(catalogue: Catalogue, tmp_path: Path) -> None:
    image = iso_image(tmp_path / "disc.iso", written(tmp_path / "tree", CONTENTS))
    content = image.read_bytes()
    image.write_bytes(content[: len(content) * 2 // 3 // 2048 * 2048])
    report = catalogue.one(image)
    (volume,) = report.volumes
    assert "beyond the end of the image" in volume.finding
    assert report.files == len(CONTENTS)
    assert 0 < report.damaged + report.failed < len(CONTENTS)
