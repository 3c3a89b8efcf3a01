"""F106: three "media" were the hash of nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalogue import Catalogue
from media_images import MIB, iso_image, map_of, noise, run, written

from ntt.identity import SAMPLE_BYTES, sample_positions


def filled(path: Path, byte: int, size_bytes: int = MIB) -> Path:
    path.write_bytes(bytes([byte]) * size_bytes)
    return path


@pytest.mark.parametrize("byte", [0x00, 0xFF, 0xF6, 0x55])
def test_f106_blank_media_get_distinct_ids_and_a_warning(catalogue: Catalogue, tmp_path: Path, byte: int) -> None:
    result = catalogue.ingest(filled(tmp_path / "one.img", byte), filled(tmp_path / "two.img", byte), archive=False)
    assert [report.recognition for report in result.media] == ["assigned", "assigned"]
    assert len({report.medium_hash for report in result.media}) == 2
    assert result.exit_status == 1
    assert f"the medium is blank (every byte is 0x{byte:02X})" in catalogue.heard.warnings
    for report in result.media:
        assert any("blank" in problem for problem in report.problems), report.problems
        assert any("no file could be listed" in problem for problem in report.problems), report.problems
    assert [row["identity"] for row in catalogue.media()] == ["assigned", "assigned"]
    assert [row["sample_hash"] for row in catalogue.media()] == [None, None]


def test_f106_two_identical_freshly_formatted_floppies_are_two_media(catalogue: Catalogue, tmp_path: Path) -> None:
    images = [tmp_path / "first.img", tmp_path / "second.img"]
    for image in images:
        run("mformat", "-C", "-f", "1440", "-N", "12345678", "-i", image, "::")
    assert images[0].read_bytes() == images[1].read_bytes(), "the case is only met when they are equal"
    result = catalogue.ingest(*images, archive=False)
    assert [report.recognition for report in result.media] == ["assigned", "assigned"]
    assert len({report.medium_hash for report in result.media}) == 2
    assert [report.volumes[0].fstype for report in result.media] == ["fat12", "fat12"]
    assert "nothing tells it from another of its kind" in catalogue.heard.warnings


def test_f106_the_same_image_of_a_blank_medium_is_gone_on_with(catalogue: Catalogue, tmp_path: Path) -> None:
    """Without that, a run that is repeated until it ends well would leave a medium behind each time."""
    image = filled(tmp_path / "blank.img", 0xF6)
    first, again = catalogue.one(image), catalogue.one(image)
    assert again.medium_hash == first.medium_hash
    assert len(catalogue.media()) == 1


def test_f106_a_medium_without_a_readable_sample_gets_an_assigned_id(catalogue: Catalogue, tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", {f"file {n}": noise(30_000, n) for n in range(20)})
    image = iso_image(tmp_path / "disc.iso", tree)
    size_bytes = image.stat().st_size
    bad = [(at, min(at + SAMPLE_BYTES, size_bytes)) for at in sample_positions(size_bytes)]
    map_path = map_of(tmp_path / "disc.map", size_bytes, bad)
    report = catalogue.one(image, map_path)
    assert report.recognition == "assigned"
    assert f"{len(bad)} of the samples that identify a medium were not read" in catalogue.heard.warnings
    assert catalogue.value("SELECT count(*) FROM medium_sample") == 0
    copy = tmp_path / "another disc.iso"
    copy.write_bytes(image.read_bytes()[:-2048] + noise(2048))
    other = catalogue.one(copy, map_path)
    assert other.recognition == "assigned"
    assert other.medium_hash != report.medium_hash


def test_f106_a_medium_of_which_nothing_was_read_is_an_error(catalogue: Catalogue, tmp_path: Path) -> None:
    image = filled(tmp_path / "nothing.img", 0x00)
    result = catalogue.ingest(image, map_path=map_of(tmp_path / "nothing.map", MIB, [(0, MIB)]))
    assert [failure.exit_status for failure in result.failures] == [3]
    assert "not one byte of the medium was read" in result.failures[0].error
    assert catalogue.media() == []


def test_f106_zero_bytes_are_an_error(catalogue: Catalogue, tmp_path: Path) -> None:
    empty = tmp_path / "empty.img"
    empty.touch()
    result = catalogue.ingest(empty)
    assert result.exit_status == 2
    assert "zero bytes are no medium" in result.failures[0].error
    assert catalogue.media() == []
