"""F142: the same file stood whole on another disc."""

from __future__ import annotations

from pathlib import Path

import msgspec
from catalogue import Catalogue
from media_images import found_at, iso_image, map_of, noise, written

LETTER = noise(50_000, 7)
OTHER = LETTER[:49_000] + noise(1_000, 8)  # as large, and like it only in part


def test_f142_a_copy_on_another_medium_is_named_where_all_that_was_read_agrees(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    damaged = iso_image(tmp_path / "1.iso", written(tmp_path / "1", {"letter.txt": LETTER, "x": noise(3000, 1)}))
    whole = iso_image(tmp_path / "2.iso", written(tmp_path / "2", {"old/LETTER.BAK": LETTER, "y": noise(3000, 2)}))
    unlike = iso_image(tmp_path / "3.iso", written(tmp_path / "3", {"letter.txt": OTHER, "z": noise(3000, 3)}))
    at = found_at(damaged, LETTER)
    bad = [(at + 4096, at + 8192)]
    first = catalogue.one(damaged, map_of(tmp_path / "1.map", damaged.stat().st_size, bad))
    document = problems(catalogue, first.medium_hash)
    assert [file["clean_copies"] for file in document["files"]] == [[]], "no other medium is known yet"
    second = catalogue.one(whole)
    catalogue.one(unlike)
    (file,) = problems(catalogue, first.medium_hash)["files"]
    assert file["path"] == "letter.txt"
    assert file["damaged_ranges"] == [[4096, 8192]]
    (copy,) = file["clean_copies"]
    assert (copy["medium_hash"], copy["path"]) == (second.medium_hash, "old/LETTER.BAK")
    said = catalogue.command("problems", first.medium_hash[:10]).stdout
    assert second.medium_hash[:8] in said
    assert "old/LETTER.BAK" in said


def test_f142_a_damaged_file_is_no_clean_copy_of_another(catalogue: Catalogue, tmp_path: Path) -> None:
    images = [
        iso_image(tmp_path / f"{n}.iso", written(tmp_path / f"{n}", {"letter.txt": LETTER, "x": noise(3000, n)}))
        for n in (1, 2)
    ]
    hashes = []
    for n, image in enumerate(images):
        at = found_at(image, LETTER) + n * 8192
        bad = map_of(tmp_path / f"{n}.map", image.stat().st_size, [(at, at + 4096)])
        hashes.append(catalogue.one(image, bad).medium_hash)
    for medium_hash in hashes:
        (file,) = problems(catalogue, medium_hash)["files"]
        assert file["clean_copies"] == []


class Document(msgspec.Struct):
    files: list[dict[str, object]]


def problems(catalogue: Catalogue, medium_hash: str) -> dict[str, list[dict[str, object]]]:
    ended = catalogue.command("problems", medium_hash, "--json")
    assert ended.status in (0, 1), ended.stderr
    return {"files": msgspec.json.decode(ended.stdout, type=Document).files}
