"""F121: equal inode numbers on two partitions; one file got the other's content."""

from __future__ import annotations

from pathlib import Path

from catalogue import Catalogue
from media_images import ext4_image, mbr_image, noise, written


def test_f121_files_with_equal_inode_numbers_keep_their_own_contents(catalogue: Catalogue, tmp_path: Path) -> None:
    left = {f"{n}": noise(3000, n) for n in range(12)}
    right = {f"{n}": noise(3000, 100 + n) for n in range(12)}
    parts = [
        ext4_image(tmp_path / "left.img", written(tmp_path / "left", left), 4),
        ext4_image(tmp_path / "right.img", written(tmp_path / "right", right), 4),
    ]
    report = catalogue.one(mbr_image(tmp_path / "disk.img", parts))
    first, second = (volume.index for volume in report.volumes)
    wanted = {(first, name.encode()): content for name, content in left.items()}
    wanted |= {(second, name.encode()): content for name, content in right.items()}

    def stored() -> dict[tuple[int, bytes], bytes | None]:
        found = catalogue.tree(report.medium_hash)
        return {place: one.content for place, one in found.items() if one.type == "file"}

    assert stored() == wanted
    tree = catalogue.tree(report.medium_hash)
    numbers = [{one.ino for (volume, _), one in tree.items() if volume == index} for index in (first, second)]
    assert numbers[0] == numbers[1], "the case is only met when the numbers are equal"
    catalogue.rows("DELETE FROM outcome WHERE volume = $1", second)
    (tmp_path / "disk.img").rename(tmp_path / "moved.img")
    assert catalogue.one(tmp_path / "moved.img").pending == 0
    assert stored() == wanted
