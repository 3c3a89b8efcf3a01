"""The newest session's descriptor on an unread sector: its files are listed all the same, and it is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from damage_iso import SECTOR, run
from damage_trial import Told, told_of

from ntt.model import OutcomeStatus

SECOND = 12_000  # where the second session begins


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    """Two sessions as they lie on a write-once disc; the second shows the files of the first too."""
    trees = [tmp_path / f"tree{number}" for number in (1, 2)]
    for number, tree in enumerate(trees, 1):
        tree.mkdir()
        (tree / f"file{number}").write_bytes(bytes([number]) * 5000)
    image, second = tmp_path / "disc.iso", tmp_path / "second.iso"
    run("genisoimage", "-quiet", "-R", "-J", "-o", image, trees[0])
    run("genisoimage", "-quiet", "-R", "-J", "-C", f"0,{SECOND}", "-M", image, "-o", second, trees[1])
    with image.open("r+b") as file:
        file.seek(SECOND * SECTOR)
        file.write(second.read_bytes())
    return image


def sessions(told: Told) -> list[int]:
    return [volume.session_bytes for volume in told.volumes]


@pytest.mark.parametrize("session", [0, SECOND])
@pytest.mark.parametrize("lost", [1, 2])
def test_a_session_whose_descriptor_was_not_read_is_found_all_the_same(disc: Path, session: int, lost: int) -> None:
    whole = told_of(disc, ())
    assert sessions(whole) == [SECOND * SECTOR, 0]
    place = (session + 16) * SECTOR
    told = told_of(disc, ((place, place + lost * SECTOR),))
    assert len(told.volumes) == 2
    assert {path for _, path in told.files} == {b"file1", b"file2"}
    assert told.files.keys() == whole.files.keys()
    assert all(file.status is OutcomeStatus.COPIED for file in told.files.values())
    assert any("primary volume descriptor was not read" in problem.detail for _, problem in told.problems)
