"""F117: people type 8 hex digits."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalogue import Catalogue, Ended
from media_images import iso_image, noise, written

HASHES = ("aaaa1111" + "0" * 24, "aaaa2222" + "0" * 24, "bbbb1111" + "0" * 24)
COMMANDS = (("problems",), ("status",), ("restore", "DEST"), ("audit",), ("verify",))


@pytest.fixture
def three_media(catalogue: Catalogue, tmp_path: Path) -> Catalogue:
    """Three media whose hashes are the ones above, as only chance makes them."""
    for number, medium_hash in enumerate(HASHES):
        tree = written(tmp_path / f"{number}", {f"file {number}": noise(40_000, number)})
        report = catalogue.one(iso_image(tmp_path / f"{number}.iso", tree), label=f"disc {number}")
        catalogue.rows("UPDATE medium SET medium_hash = $1 WHERE medium_hash = $2", medium_hash, report.medium_hash)
    return catalogue


def asked(catalogue: Catalogue, command: tuple[str, ...], prefix: str, target: Path) -> Ended:
    name, *rest = command
    return catalogue.command(name, prefix, *(target if part == "DEST" else part for part in rest))


def test_f117_a_unique_prefix_is_enough_everywhere(three_media: Catalogue, tmp_path: Path) -> None:
    for prefix in ("b", "BBBB1111", HASHES[2]):
        ended = three_media.command("restore", prefix, tmp_path / f"out-{prefix}")
        assert ended.status == 0, ended.stderr
        assert (tmp_path / f"out-{prefix}" / "file 2").read_bytes() == noise(40_000, 2)
    for command in COMMANDS:
        ended = asked(three_media, command, "bbbb", tmp_path / "another")
        assert ended.status == 0, (command, ended.stderr)


def test_f117_an_ambiguous_prefix_lists_the_candidates_and_fails_everywhere(
    three_media: Catalogue, tmp_path: Path
) -> None:
    for command in COMMANDS:
        ended = asked(three_media, command, "aaaa", tmp_path / "out")
        assert ended.status == 2, command
        (complaint,) = ended.complaints
        assert "aaaa is ambiguous" in complaint
        for medium_hash, label in zip(HASHES[:2], ("disc 0", "disc 1"), strict=True):
            assert f"{medium_hash} ({label})" in complaint
        assert HASHES[2] not in complaint
        assert ended.stdout == ""
    assert not (tmp_path / "out").exists()


def test_f117_what_no_medium_begins_with_is_an_error_everywhere(three_media: Catalogue, tmp_path: Path) -> None:
    asked_for = [(command, "cccc", "no medium begins with cccc") for command in COMMANDS]
    asked_for += [(COMMANDS[0], "xyz", "not the beginning"), (COMMANDS[0], "", "not the beginning")]
    for command, prefix, told in asked_for:
        ended = asked(three_media, command, prefix, tmp_path / "out")
        assert ended.status == 2, (command, prefix)
        (complaint,) = ended.complaints
        assert told in complaint
    assert not (tmp_path / "out").exists()
