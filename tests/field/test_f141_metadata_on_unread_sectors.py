"""F141: metadata on unread sectors: whole directories missing, nobody noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalogue import Catalogue
from media_images import ext4_image, map_of, noise, run, written

BLOCK = 1024
FILES = {f"docs/{n:03}.txt": noise(2_000, n) for n in range(30)}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    tree = written(tmp_path / "tree", {**FILES, "top.txt": b"top"})
    return ext4_image(tmp_path / "disk.img", tree, 8, "-b", str(BLOCK))


def block_of(image: Path, what: str) -> tuple[int, int]:
    """The first block of a file or directory, as e2fsprogs sees it."""
    block = int(run("debugfs", "-R", f"blocks {what}", image).split()[0])
    return block * BLOCK, (block + 1) * BLOCK


def free_block(image: Path) -> tuple[int, int]:
    block = int(run("debugfs", "-R", "ffb 1 6000", image).split()[-1])
    return block * BLOCK, (block + 1) * BLOCK


def test_f141_a_directory_on_unread_sectors_is_named(catalogue: Catalogue, image: Path, tmp_path: Path) -> None:
    start, end = block_of(image, "/docs")
    report = catalogue.one(image, map_of(tmp_path / "disk.map", image.stat().st_size, [(start, end)]))
    assert report.files < len(FILES) + 1
    assert not report.files_whole
    assert report.unread == {"structures": BLOCK}
    (said,) = [text for text in report.problems if "may be incomplete" in text]
    assert "1,024 bytes of its directory were not read" in said
    assert "directories concerned: docs" in said
    assert "metadata_unread" in {row["kind"] for row in catalogue.rows("SELECT kind FROM finding")}
    ended = catalogue.command("problems", report.medium_hash[:8])
    assert "docs" in ended.stdout


def test_f141_unread_inodes_are_told_and_their_files_fail(catalogue: Catalogue, image: Path, tmp_path: Path) -> None:
    place = run("debugfs", "-R", "imap /docs/007.txt", image)
    start = int(place.split("located at block ")[1].split(",")[0]) * BLOCK
    report = catalogue.one(image, map_of(tmp_path / "disk.map", image.stat().st_size, [(start, start + BLOCK)]))
    assert report.unread == {"structures": BLOCK}
    assert any("inode table" in text for text in report.problems)
    files = catalogue.tree(report.medium_hash)
    states = {path: stored.status for (_, path), stored in files.items() if stored.type == "file"}
    assert states[b"docs/007.txt"] == "failed"
    for path, status in states.items():
        content = FILES.get(path.decode(), b"top")
        stored = next(one for (_, name), one in files.items() if name == path)
        assert status == "failed" or (status == "copied" and stored.content == content)


def test_f141_damage_in_free_space_only_is_said_to_be_harmless(
    catalogue: Catalogue, image: Path, tmp_path: Path
) -> None:
    start, end = free_block(image)
    bad = map_of(tmp_path / "disk.map", image.stat().st_size, [(start, end)])
    report = catalogue.one(image, bad)
    assert report.unread == {"free": BLOCK}
    assert report.files_whole
    assert (report.files, report.damaged, report.failed) == (len(FILES) + 1, 0, 0)
    assert any("in free space (harmless)" in text for text in report.problems)
    ended = catalogue.command("ingest", image, "--map", bad)
    assert "complete for its files: all 31 stored whole" in ended.stdout
    assert ended.status == 1, "the medium is not whole, though its files are"
