"""The newest session's descriptor on an unread sector: its files are listed all the same, and it is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from damage_iso import SECTOR, run
from damage_trial import told_of

from ntt.model import OutcomeStatus
from ntt.readers.base import ImageSource
from ntt.readers.iso.sessions import find_sessions


@pytest.fixture
def disc(tmp_path: Path) -> tuple[Path, int]:
    """Two sessions as on a write-once disc, and the sector where the second begins."""
    image = tmp_path / "disc.iso"
    for number in (1, 2):
        tree = tmp_path / f"tree{number}"
        tree.mkdir()
        (tree / f"file{number}").write_bytes(bytes([number]) * 5000)
        run("xorriso", "-outdev" if number == 1 else "-dev", f"stdio:{image}", "-compliance", "no_emul_toc",
            "-joliet", "on", "-map", tree, "/", "-close", "off", "-commit", "-end")  # fmt: skip
    with image.open("rb") as file:
        starts = find_sessions(ImageSource(file.fileno()), 0, image.stat().st_size)
    assert len(starts) == 2
    return image, starts[-1] // SECTOR


def test_a_session_whose_descriptor_was_not_read_is_found_by_the_next_one(disc: tuple[Path, int]) -> None:
    image, start = disc
    place = (start + 16) * SECTOR
    whole = told_of(image, ())
    told = told_of(image, ((place, place + SECTOR),))
    assert [volume.session_bytes for volume in told.volumes] == [volume.session_bytes for volume in whole.volumes]
    assert told.files.keys() == whole.files.keys()
    assert {path for _, path in told.files} == {b"file1", b"file2"}
    assert all(file.status is OutcomeStatus.COPIED for file in told.files.values())
    assert any("primary volume descriptor was not read" in problem.detail for _, problem in told.problems)
