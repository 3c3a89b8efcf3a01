"""F102: 1,053,484 blobs in the store were unknown to the database."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalogue import Catalogue
from media_images import MIB, ext4_image, found_at, iso_image, map_of, noise, written


def assert_one_set(catalogue: Catalogue, contents: int) -> None:
    in_store = catalogue.hashes_in_store()
    assert in_store == catalogue.hashes_in_catalogue() == catalogue.hashes_referenced()
    assert len(in_store) == contents


def test_f102_store_and_blobs_and_references_are_one_set_after_every_run(catalogue: Catalogue, tmp_path: Path) -> None:
    shared = {"shared small": b"small", "shared large": noise(MIB + 5, 9), "empty": b""}
    first = written(tmp_path / "first", {**shared, "twice/a": b"same", "twice/b": b"same", "own": noise(70_000, 1)})
    second = written(tmp_path / "second", {**shared, "damaged": noise(9000, 2), "lost": noise(4096, 3)})
    catalogue.ingest(iso_image(tmp_path / "first.iso", first))
    assert_one_set(catalogue, 5)
    image = ext4_image(tmp_path / "second.img", second)
    damaged, lost = found_at(image, noise(9000, 2)), found_at(image, noise(4096, 3))
    bad = sorted([(damaged + 512, damaged + 1024), (lost, lost + 4096)])
    report = catalogue.one(image, map_of(tmp_path / "second.map", image.stat().st_size, bad))
    assert (report.damaged, report.failed, report.stored) == (1, 1, 1)
    assert_one_set(catalogue, 6)
    catalogue.ingest(tmp_path / "first.iso")
    catalogue.ingest(tmp_path / "first.iso", replace=True)
    assert_one_set(catalogue, 6)


def test_f102_several_images_in_one_run_share_their_contents(catalogue: Catalogue, tmp_path: Path) -> None:
    images: list[Path] = []
    for disc in range(4):
        contents = {f"{n}": noise(3000 + n, n) for n in range(disc * 10, disc * 10 + 20)}
        images.append(iso_image(tmp_path / f"{disc}.iso", written(tmp_path / f"tree {disc}", contents)))
    result = catalogue.ingest(*images, archive=False)
    assert [report.stored for report in result.media] == [20, 10, 10, 10]
    assert [report.known for report in result.media] == [0, 10, 10, 10]
    assert_one_set(catalogue, 50)
    assert catalogue.value("SELECT count(*) FROM outcome") == 80


@pytest.mark.slow
def test_f102_contents_that_the_catalogue_forgot_are_known_again(catalogue: Catalogue, tmp_path: Path) -> None:
    contents: dict[str | bytes, bytes] = {f"{n}": noise(2000 + n, n) for n in range(20)}
    contents["large"] = noise(2 * MIB, 99)
    catalogue.ingest(iso_image(tmp_path / "disc.iso", written(tmp_path / "tree", contents)), archive=False)
    before = catalogue.rows("SELECT * FROM path JOIN inode USING (medium_hash, volume, ino) ORDER BY path")
    catalogue.rows("DELETE FROM blob WHERE id % 2 = 0 OR size > 1000000")
    assert catalogue.command("audit").status == 1
    ended = catalogue.command("repair", "--apply")
    assert ended.status == 0, ended.stdout + ended.stderr
    assert_one_set(catalogue, 21)
    after = catalogue.rows("SELECT * FROM path JOIN inode USING (medium_hash, volume, ino) ORDER BY path")
    assert [row["blobid"] for row in after] == [row["blobid"] for row in before]
