"""F140 behind mounts: what was not read is never called whole, and what reads well is never thrown away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from catalogue import Catalogue, Stored
from media_images import MIB, found_at, map_of, noise, run, written
from mounting import made_image, writable

from ntt.copier.wholeness import IN_DOUBT, NOTHING_READ
from ntt.operations.ingest_report import MediumReport

CONTENTS: dict[bytes, bytes] = {b"f%02d.bin" % n: noise(60_000 + 100 * n, n) for n in range(20)}
HIT = b"f07.bin"
SUPERBLOCK_BYTES = 96  # of squashfs
PACKED_BYTES = 128 << 10  # of a file, that btrfs and squashfs pack into one piece
Ranges = tuple[tuple[int, int], ...]


def ingested(
    catalogue: Catalogue, kind: str, folder: Path, *bad: tuple[int, int], contents: dict[bytes, bytes] = CONTENTS
) -> tuple[MediumReport, dict[bytes, Stored]]:
    """An image of which these bytes, counted from the start of the hit file, are zeros and were not read."""
    image = made_image(kind, folder / "medium.img", written(folder / "tree", dict(contents)))
    at = found_at(image, contents[HIT][:32768])  # erofs keeps ends elsewhere
    ranges = [(at + start, at + end) for start, end in bad]
    with image.open("r+b") as file:
        for start, end in ranges:
            file.seek(start)
            file.write(bytes(end - start))
    report = catalogue.one(image, map_of(folder / "medium.map", image.stat().st_size, ranges))
    tree = catalogue.tree(report.medium_hash)
    return report, {path: one for (_, path), one in tree.items() if path in contents}


def as_stored(files: dict[bytes, Stored]) -> dict[bytes, tuple[str | None, Ranges, bytes | None]]:
    return {path: (one.status, one.damaged, one.content) for path, one in files.items()}


def test_f140_files_of_which_nobody_knows_where_they_lie_are_stored_and_in_doubt(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    report, files = ingested(catalogue, "squashfs", tmp_path, (1024, 3072))
    assert (report.damaged, report.doubtful, report.failed) == (len(CONTENTS), len(CONTENTS), 0)
    for path, content in CONTENTS.items():
        one = files[path]
        assert (one.status, one.reason, one.damaged) == ("damaged", IN_DOUBT, ((0, len(content)),))
        assert (one.content == content) is (path != HIT), "all that was read well is there"
    assert report.unread == {"unknown": 2048}
    shown = catalogue.command("problems", report.medium_hash[:8])
    assert shown.status == 1
    assert f"{len(CONTENTS)} files in doubt" in shown.stdout
    assert f"{len(CONTENTS)} files may be damaged" in shown.stdout
    assert IN_DOUBT in shown.stdout
    assert "could not be read" not in shown.stdout
    assert "bytes (100.00 %) not read" not in shown.stdout
    drawn = catalogue.command("map", report.medium_hash[:8]).stdout
    assert f"{len(CONTENTS)} files are not whole, or in doubt" in drawn
    assert f"where {len(CONTENTS)} files are hit is not known" in drawn


@pytest.mark.parametrize("blocks", [4, 1])
def test_f140_what_a_driver_refuses_for_want_of_unread_bytes_is_zeros_and_the_rest_is_kept(
    blocks: int, catalogue: Catalogue, tmp_path: Path
) -> None:
    content = noise(64) * (blocks * PACKED_BYTES // 64)
    image = made_image("squashfs", tmp_path / "medium.img", written(tmp_path / "tree", {b"packed": content}))
    at = SUPERBLOCK_BYTES + 16  # in the first of its blocks, which stand behind the superblock
    with image.open("r+b") as file:
        file.seek(at)
        assert any(file.read(64))
        file.seek(at)
        file.write(bytes(64))
    report = catalogue.one(image, map_of(tmp_path / "medium.map", image.stat().st_size, [(at, at + 64)]))
    (one,) = [one for (_, path), one in catalogue.tree(report.medium_hash).items() if path == b"packed"]
    if blocks == 1:
        assert (one.status, one.reason, one.content) == ("failed", NOTHING_READ, None)
    else:
        assert (one.status, one.reason, one.damaged) == ("damaged", IN_DOUBT, ((0, len(content)),))
        assert one.content == bytes(PACKED_BYTES) + content[PACKED_BYTES:]
    (row,) = catalogue.rows("SELECT unread FROM outcome WHERE status <> 'c'")
    assert [(r.lower, r.upper) for r in row["unread"]] == [(at, at + 64)], "with these it is tried again"


@pytest.mark.parametrize("kind", ["btrfs", "erofs", "xfs"])
def test_f140_where_the_file_system_tells_only_what_was_hit_is_damaged(
    kind: str, catalogue: Catalogue, tmp_path: Path
) -> None:
    report, files = ingested(catalogue, kind, tmp_path, (1024, 3072), (8192, 8704), (12288, 12289))
    assert (report.damaged, report.doubtful, report.failed) == (1, 0, 0)
    # btrfs has a checksum for each 4 KiB: with a byte of it all of them are gone
    lost = ((0, 4096), (8192, 16384)) if kind == "btrfs" else ((1024, 3072), (8192, 8704), (12288, 12289))
    content = bytearray(CONTENTS[HIT])
    for start, end in lost:
        content[start:end] = bytes(end - start)
    wanted = {path: ("copied", (), whole) for path, whole in CONTENTS.items()}
    assert as_stored(files) == {**wanted, HIT: ("damaged", lost, bytes(content))}
    assert files[HIT].reason is None


def test_f140_the_end_of_an_erofs_file_that_stands_behind_its_inode_is_damaged_alone(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    end = len(CONTENTS[HIT]) % 4096
    image = made_image("erofs", tmp_path / "medium.img", written(tmp_path / "tree", dict(CONTENTS)))
    at = found_at(image, CONTENTS[HIT][-end:])
    bad = [(at + 10, at + 20), (at + end, at + end + 4)]  # and what follows it in the same block
    report = catalogue.one(image, map_of(tmp_path / "medium.map", image.stat().st_size, bad))
    assert (report.damaged, report.doubtful, report.failed) == (1, 0, 0)
    tree = {path: one for (_, path), one in catalogue.tree(report.medium_hash).items()}
    start = len(CONTENTS[HIT]) - end
    content = CONTENTS[HIT]
    assert tree[HIT].damaged == ((start + 10, start + 20),)
    assert tree[HIT].content == content[: start + 10] + bytes(10) + content[start + 20 :], "whatever the mount shows"


@pytest.mark.parametrize("zeroed", [True, False])
def test_f140_a_packed_file_of_btrfs_is_judged_by_its_place_and_its_checksums(
    zeroed: bool, catalogue: Catalogue, tmp_path: Path
) -> None:
    image = tmp_path / "medium.img"
    image.touch()
    os.truncate(image, 320 * MIB)
    run("mkfs.btrfs", "-q", image)
    texts = {b"%d.txt" % n: b"line %d of a text that packs well\n" % n * 8000 for n in range(6)}
    with writable(image) as root:
        run("mount", "-o", "remount,compress-force=zlib", root)
        places = [_written(image, root / path.decode(), text) for path, text in texts.items()]
    # they lie one behind the other: what is packed may take up to 128 KiB, so the last one alone is sure to be alone
    start = max(places)
    hit = list(texts)[places.index(start)]
    if zeroed:
        with image.open("r+b") as file:
            file.seek(start)
            file.write(bytes(512))
    report = catalogue.one(image, map_of(tmp_path / "medium.map", image.stat().st_size, [(start, start + 512)]))
    files = {path: one for (_, path), one in catalogue.tree(report.medium_hash).items()}
    lost = bytes(PACKED_BYTES) if zeroed else texts[hit][:PACKED_BYTES]
    assert files[hit].content == lost + texts[hit][PACKED_BYTES:], "stored as it was read"
    assert files[hit].damaged == ((0, PACKED_BYTES),)
    assert files[hit].reason == (None if zeroed else IN_DOUBT)
    far = [path for path, place in zip(texts, places, strict=True) if place + PACKED_BYTES <= start]
    for path in texts:
        if path != hit:
            assert files[path].content == texts[path]
        if path in far:
            assert files[path].status == "copied"


def _written(image: Path, file: Path, text: bytes) -> int:
    """Where the file begins in the image, as btrfs's own tools tell."""
    file.write_bytes(text)
    run("sync", "-f", file)
    logical = int(run("filefrag", "-v", "-b1", file).splitlines()[3].split()[3].rstrip(".:"))
    told = run("btrfs-map-logical", "-l", str(logical), "-b", "4096", image)
    return int(told.split("physical ")[1].split()[0])
