"""F140: files lying on unread sectors were copied as zeros and called good."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from catalogue import Catalogue, Stored
from media_images import ext4_image, fat32_image, found_at, iso_image, map_of, noise, ntfs_image, written

from ntt.operations.ingest_report import MediumReport

# so few and so short names that the root folder of a FAT is one cluster, in front of all files
CONTENTS: dict[bytes, bytes] = {b"F%02d.BIN" % n: noise(30_000 + 100 * n, n) for n in range(14)}
HIT, CUT = b"F07.BIN", b"F08.BIN"
MAKERS = [ext4_image, fat32_image, ntfs_image, iso_image]
Make = Callable[[Path, Path], Path]


@pytest.fixture(params=MAKERS)
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    make: Make = request.param
    return make(tmp_path / "medium.img", written(tmp_path / "tree", dict(CONTENTS)))


def files_of(catalogue: Catalogue, report: MediumReport) -> dict[bytes, Stored]:
    return {path: one for (_, path), one in catalogue.tree(report.medium_hash).items() if path in CONTENTS}


def zeroed(content: bytes, *ranges: tuple[int, int]) -> bytes:
    for start, end in ranges:
        content = content[:start] + bytes(end - start) + content[end:]
    return content


def assert_all_clean_but(files: dict[bytes, Stored], *hit: bytes) -> None:
    for path, content in CONTENTS.items():
        if path not in hit:
            assert (files[path].status, files[path].damaged, files[path].content) == ("copied", (), content), path


def test_f140_the_damaged_ranges_of_a_file_are_exact(catalogue: Catalogue, image: Path, tmp_path: Path) -> None:
    at = found_at(image, CONTENTS[HIT])
    ranges = [(1024, 1536), (5 * 2048, 7 * 2048), (29 * 1024, len(CONTENTS[HIT]))]
    bad = [(at + start, at + end) for start, end in ranges]
    report = catalogue.one(image, map_of(tmp_path / "medium.map", image.stat().st_size, bad))
    assert (report.damaged, report.failed, report.pending) == (1, 0, 0)
    files = files_of(catalogue, report)
    assert files[HIT].status == "damaged"
    assert files[HIT].damaged == tuple(ranges)
    assert files[HIT].content == zeroed(CONTENTS[HIT], *ranges), "what was not read is zeros, whatever the image holds"
    assert_all_clean_but(files, HIT)
    (worst,) = report.worst
    assert (worst.path, worst.damaged_ranges) == (HIT.decode(), tuple(ranges))


def test_f140_a_bad_run_that_ends_with_a_file_leaves_its_neighbours_clean(
    catalogue: Catalogue, image: Path, tmp_path: Path
) -> None:
    at, size = found_at(image, CONTENTS[HIT]), len(CONTENTS[HIT])
    bad = [(at + size - 1, at + size)]
    report = catalogue.one(image, map_of(tmp_path / "medium.map", image.stat().st_size, bad))
    files = files_of(catalogue, report)
    assert files[HIT].damaged == ((size - 1, size),)
    assert_all_clean_but(files, HIT)


def test_f140_a_file_in_the_slack_of_whose_last_cluster_nothing_was_read_is_clean(
    catalogue: Catalogue, image: Path, tmp_path: Path
) -> None:
    at, size = found_at(image, CONTENTS[HIT]), len(CONTENTS[HIT])
    end_of_sector = -(-(at + size) // 512) * 512
    assert end_of_sector > at + size
    report = catalogue.one(image, map_of(tmp_path / "m.map", image.stat().st_size, [(at + size, end_of_sector)]))
    assert (report.damaged, report.failed) == (0, 0)
    assert report.health == "incomplete"
    assert_all_clean_but(files_of(catalogue, report))


def test_f140_a_bad_run_over_several_files_is_told_of_each(catalogue: Catalogue, image: Path, tmp_path: Path) -> None:
    places = {path: found_at(image, content) for path, content in CONTENTS.items()}
    start, end = places[HIT] + 10_000, places[HIT] + 10_000 + 70_000
    report = catalogue.one(image, map_of(tmp_path / "medium.map", image.stat().st_size, [(start, end)]))
    files = files_of(catalogue, report)
    wanted: dict[bytes, tuple[tuple[int, int], ...]] = {}
    lost: list[bytes] = []
    for path, at in places.items():
        low, high = max(start, at) - at, min(end, at + len(CONTENTS[path])) - at
        if low < high:
            wanted[path] = ((low, high),)
            if (low, high) == (0, len(CONTENTS[path])):
                lost.append(path)
    assert len(wanted) >= 3, "the case is only met when several files are hit"
    for path, ranges in wanted.items():
        if path in lost:
            assert (files[path].status, files[path].content) == ("failed", None)
        else:
            assert (files[path].status, files[path].damaged) == ("damaged", ranges)
            assert files[path].content == zeroed(CONTENTS[path], *ranges)
    assert_all_clean_but(files, *wanted)


def test_f140_what_lies_behind_the_end_of_a_truncated_image_is_damaged(
    catalogue: Catalogue, image: Path, tmp_path: Path
) -> None:
    places = {path: found_at(image, content) for path, content in CONTENTS.items()}
    cut = places[CUT] + 13 * 512
    os.truncate(image, cut)
    report = catalogue.one(image)
    files = files_of(catalogue, report)
    size = len(CONTENTS[CUT])
    assert files[CUT].status == "damaged"
    assert files[CUT].damaged == ((13 * 512, size),)
    assert files[CUT].content == CONTENTS[CUT][: 13 * 512] + bytes(size - 13 * 512)
    behind = [path for path, at in places.items() if at >= cut]
    assert behind, "the case is only met when files lie behind the cut"
    for path in behind:
        assert (files[path].status, files[path].content) == ("failed", None), path
    assert_all_clean_but(files, CUT, *behind)
    assert any("beyond" in problem or "truncated" in problem or "cut" in problem for problem in report.problems), (
        report.problems
    )
    assert (report.damaged, report.failed) == (1, len(behind))


def test_f140_the_report_of_problems_names_path_ranges_and_reason(
    catalogue: Catalogue, image: Path, tmp_path: Path
) -> None:
    hit, lost = found_at(image, CONTENTS[HIT]), found_at(image, CONTENTS[CUT])
    bad = sorted([(hit + 512, hit + 2048), (lost, lost + len(CONTENTS[CUT]))])
    report = catalogue.one(image, map_of(tmp_path / "medium.map", image.stat().st_size, bad))
    ended = catalogue.command("problems", report.medium_hash[:10], "--json")
    assert ended.status == 1, ended.stderr
    told = ended.json
    assert isinstance(told, dict)
    assert told["medium_hash"] == report.medium_hash
    files = {file["path"]: file for file in told["files"]}
    assert set(files) == {HIT.decode(), CUT.decode()}
    damaged, failed = files[HIT.decode()], files[CUT.decode()]
    assert (damaged["status"], damaged["damaged_ranges"]) == ("damaged", [[512, 2048]])
    assert damaged["size"] == len(CONTENTS[HIT])
    assert (failed["status"], failed["reason"]) == (
        "failed",
        "unread: none of its bytes could be read from the medium",
    )


def test_f140_a_file_inside_its_mft_record_is_damaged_with_the_record(catalogue: Catalogue, tmp_path: Path) -> None:
    small = {f"small {n}": noise(100, 1000 + n) for n in range(6)}
    image = ntfs_image(tmp_path / "disk.img", written(tmp_path / "tree", dict(small)))
    at = found_at(image, small["small 3"])
    report = catalogue.one(image, map_of(tmp_path / "disk.map", image.stat().st_size, [(at + 10, at + 20)]))
    tree = {path: one for (_, path), one in catalogue.tree(report.medium_hash).items() if path.startswith(b"small")}
    assert tree[b"small 3"].status in ("damaged", "failed")
    for n in (0, 1, 2, 4, 5):
        assert (tree[b"small %d" % n].status, tree[b"small %d" % n].content) == ("copied", small[f"small {n}"])
