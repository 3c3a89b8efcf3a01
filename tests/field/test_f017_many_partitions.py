"""F017: a scan for arrays over all of the host hung every image with partitions. F-003: each partition is told of."""

from __future__ import annotations

import time
from pathlib import Path

from catalogue import Catalogue
from media_images import ext4_image, fat32_image, noise, ntfs_image, run, written
from partitioned_images import MIB, fat16_image, luks_image, sfdisk, sparse

LIMIT_S = 10


def box(tmp_path: Path, name: str, seed: int) -> tuple[Path, dict[str, bytes]]:
    contents: dict[str | bytes, bytes] = {f"{name}.TXT": noise(4_000, seed), "SAME.BIN": noise(9_000, 99)}
    return written(tmp_path / name, contents), {str(path): content for path, content in contents.items()}


def test_f_003_each_partition_is_read_or_has_a_reason_and_a_next_step(catalogue: Catalogue, tmp_path: Path) -> None:
    trees = [box(tmp_path, f"P{number}", number) for number in range(5)]
    parts = {
        1 * MIB: ext4_image(tmp_path / "1.img", trees[0][0], 8),
        10 * MIB: fat32_image(tmp_path / "2.img", trees[1][0], 40),
        60 * MIB: luks_image(tmp_path / "3.img", 2),
        91 * MIB: ntfs_image(tmp_path / "5.img", trees[2][0], 12),
        111 * MIB: fat16_image(tmp_path / "6.img", trees[3][0]),
        141 * MIB: sparse(tmp_path / "7.img", 4 * MIB),
        151 * MIB: ext4_image(tmp_path / "8.img", trees[4][0], 16),
    }
    run("mkswap", parts[141 * MIB])
    kinds = ["83", "c", "83", "5", "7", "6", "82", "83", "83"]
    places = [(1, 8), (10, 40), (60, 20), (90, 110), (91, 12), (111, 16), (141, 4), (151, 16), (171, 24)]
    lines = ["label: dos"]
    for number, (kind, (start, size)) in enumerate(zip(kinds, places, strict=True), 1):
        lines.append(f"{number}: start={start * MIB // 512} size={size * MIB // 512} type={kind}")
    image = sfdisk(sparse(tmp_path / "disk.img", 200 * MIB), lines, parts)
    with image.open("r+b") as file:
        file.truncate(160 * MIB)  # within partition 8; partition 9 is gone altogether
    started = time.monotonic()
    report = catalogue.one(image)
    assert time.monotonic() - started < LIMIT_S
    by_index = {volume.index: volume for volume in report.volumes}
    assert [volume.fstype for volume in report.volumes] == [
        "ext4", "fat32", "luks2", "ntfs", "fat16", "swap", "ext4",
    ]  # fmt: skip
    assert [volume.status for volume in report.volumes] == [
        "read", "read", "finding", "read", "read", "finding", "read",
    ]  # fmt: skip
    assert "beyond the end of the image" in by_index[7].finding
    assert any("chain of logical partitions breaks off" in problem for problem in report.problems), "partition 9"
    assert all(volume.next_step for volume in report.volumes if volume.status == "finding")
    tree = catalogue.tree(report.medium_hash)
    for volume, (_, contents) in zip((1, 2, 4, 5), (trees[0], trees[1], trees[2], trees[3]), strict=True):
        for path, content in contents.items():
            assert tree[volume, path.encode()].content == content, (volume, path)


def test_f_003_the_same_of_a_gpt_whose_primary_copy_is_damaged(catalogue: Catalogue, tmp_path: Path) -> None:
    tree, contents = box(tmp_path, "GPT", 7)
    image = sparse(tmp_path / "disk.img", 64 * MIB)
    inner = {2 * MIB: ext4_image(tmp_path / "1.img", tree, 8), 20 * MIB: luks_image(tmp_path / "2.img", 1)}
    lines = ["label: gpt", f"start=4096 size={8 * MIB // 512}", f"start=40960 size={20 * MIB // 512}"]
    sfdisk(image, lines, inner)
    with image.open("r+b") as file:
        file.seek(512)
        file.write(bytes(512))
    report = catalogue.one(image)
    assert [volume.fstype for volume in report.volumes] == ["ext4", "luks1"]
    assert any("backup" in problem for problem in report.problems)
    files = catalogue.files(report.medium_hash)
    assert {path.decode(): content for path, content in files.items()} == contents
