"""F131: the second disc with the same label was silently discarded."""

from __future__ import annotations

from pathlib import Path

from catalogue import Catalogue
from media_images import iso_image, noise, written


def test_f131_two_discs_with_one_label_are_two_media(catalogue: Catalogue, tmp_path: Path) -> None:
    images = [
        iso_image(
            tmp_path / f"{n}" / "disc.iso",
            written(tmp_path / f"{n}" / "tree", {"letter.txt": noise(5000, n), f"only on {n}": b"1"}),
            *("-V", "BACKUP", "-volset", "SET", "-sysid", "LINUX", "-publisher", "SAME"),
        )
        for n in (1, 2)
    ]
    reports = [catalogue.one(image, label="Backup 1998") for image in images]
    assert [report.volumes[0].label for report in reports] == ["BACKUP", "BACKUP"]
    assert [report.label for report in reports] == ["Backup 1998", "Backup 1998"]
    assert [report.recognition for report in reports] == ["new", "new"]
    assert reports[0].medium_hash != reports[1].medium_hash
    for n, report in enumerate(reports, 1):
        assert catalogue.files(report.medium_hash) == {b"letter.txt": noise(5000, n), b"only on %d" % n: b"1"}


def test_f131_even_discs_that_agree_at_every_sample_are_two_media(catalogue: Catalogue, tmp_path: Path) -> None:
    """Both are made alike but for a few bytes in a place where no sample lies."""
    tree = written(tmp_path / "tree", {"a": noise(40_000, 1), "letter": b"A" * 9000, "b": noise(40_000, 2)})
    first = iso_image(tmp_path / "first.iso", tree)
    data = first.read_bytes()
    at = data.index(b"A" * 9000) + 8500
    second = tmp_path / "second.iso"
    second.write_bytes(data[:at] + b"B" * 100 + data[at + 100 :])
    reports = [catalogue.one(image) for image in (first, second)]
    assert [report.recognition for report in reports] == ["new", "look_alike"]
    assert reports[0].medium_hash != reports[1].medium_hash
    assert f"looks like medium {reports[0].medium_hash[:8]}" in catalogue.heard.warnings
    assert catalogue.files(reports[0].medium_hash)[b"letter"] == b"A" * 9000
    assert catalogue.files(reports[1].medium_hash)[b"letter"] == b"A" * 8500 + b"B" * 100 + b"A" * 400
