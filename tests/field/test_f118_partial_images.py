"""F118: a 97 % image ended the run."""

from __future__ import annotations

from pathlib import Path

from catalogue import Catalogue, command
from media_images import ext4_image, iso_image, map_of, noise, written


def test_f118_a_partial_image_goes_through_and_is_said_to_be_partial(catalogue: Catalogue, tmp_path: Path) -> None:
    contents = {f"{n:02}.bin": noise(60_000, n) for n in range(16)}
    image = iso_image(tmp_path / "disc.iso", written(tmp_path / "tree", contents))
    size = image.stat().st_size
    bad = size * 3 // 100 // 2048 * 2048
    start = size // 2 // 2048 * 2048
    ended = catalogue.command("ingest", image, "--map", map_of(tmp_path / "disc.map", size, [(start, start + bad)]))
    assert ended.status == 1
    (medium,) = catalogue.media()
    assert medium["health"] == "incomplete"
    assert None not in (medium["enum_done"], medium["copy_done"], medium["archive_done"])
    assert f"{bad:,} not read" in ended.stdout
    assert "damaged" in ended.stdout.splitlines()[-1]
    states = {stored.status for (_, path), stored in catalogue.tree(medium["medium_hash"]).items()}
    assert states == {"copied", "damaged"}


def test_f118_it_does_not_keep_the_next_from_its_turn(catalogue: Catalogue, tmp_path: Path) -> None:
    damaged = ext4_image(tmp_path / "cut.img", written(tmp_path / "one", {"a": noise(500_000, 1)}), 4)
    with damaged.open("r+b") as file:
        file.truncate(damaged.stat().st_size * 97 // 100 // 512 * 512)
    whole = ext4_image(tmp_path / "whole.img", written(tmp_path / "two", {"b": noise(500_000, 2)}), 4)
    ended = command("ingest", damaged, whole, "--home", catalogue.home, "--database", catalogue.url)
    assert ended.status == 1
    assert [medium["copy_done"] is not None for medium in catalogue.media()] == [True, True]
