"""Bad sectors on UFS: what is told of each file equals where its content and its inode were found in the image."""

from __future__ import annotations

from pathlib import Path

import pytest
from media_images import found_at, noise, run, written

from ntt.model import OutcomeStatus
from tests.damage_trial import Told, told_of

CONTENTS = {b"folder/%02d" % number: noise(2000 + number * 3001, number + 1) for number in range(30)}
INODE_BYTES = {1: 128, 2: 256}


@pytest.fixture(scope="module", params=[1, 2], ids=["ufs1", "ufs2"])
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    folder = tmp_path_factory.mktemp("ufs")
    tree = written(folder / "tree", CONTENTS)
    run("makefs", "-t", "ffs", "-o", f"version={request.param}", "-s", "8m", folder / "image", tree)
    return folder / "image", request.param


def inode_at(image: Path, version: int, size: int) -> int:
    """Where the only inode of a regular file of this size lies: `struct ufs1_dinode` and `ufs2_dinode` of FreeBSD."""
    data, step = image.read_bytes(), INODE_BYTES[version]
    size_at = 8 if version == 1 else 16
    (found,) = (
        at
        for at in range(0, len(data), step)
        if data[at + size_at : at + size_at + 8] == size.to_bytes(8, "little") and data[at + 1] & 0xF0 == 0x80
    )
    return found


def statuses(told: Told) -> dict[bytes, OutcomeStatus]:
    return {path: file.status for (_, path), file in told.files.items()}


def test_a_whole_image_is_told_whole(image: tuple[Path, int]) -> None:
    told = told_of(image[0], ())
    assert statuses(told) == dict.fromkeys(CONTENTS, OutcomeStatus.COPIED)
    assert (told.problems, told.lost) == ([], {1: ()})


def test_damage_in_contents_is_exact(image: tuple[Path, int]) -> None:
    at = found_at(image[0], CONTENTS[b"folder/01"])
    told = told_of(image[0], ((at + 1024, at + 2048),))
    file = told.of(b"folder/01")
    assert file is not None
    assert file.damaged == ((1024, 2048),)
    assert statuses(told) == {**dict.fromkeys(CONTENTS, OutcomeStatus.COPIED), b"folder/01": OutcomeStatus.DAMAGED}
    assert told.lost == {1: ()}


def test_files_without_their_inodes_have_names_and_fail_with_what_was_not_read(image: tuple[Path, int]) -> None:
    places = {path: inode_at(*image, len(content)) for path, content in CONTENTS.items()}
    start = places[b"folder/05"] // 512 * 512
    told = told_of(image[0], ((start, start + 512),))
    assert statuses(told) == {
        path: OutcomeStatus.FAILED if start <= at < start + 512 else OutcomeStatus.COPIED for path, at in places.items()
    }
    file = told.of(b"folder/05")
    assert file is not None
    assert file.unread == ((places[b"folder/05"], places[b"folder/05"] + INODE_BYTES[image[1]]),)
    assert [(lost.what, lost.ranges) for lost in told.lost[1]] == [("inode table", ((start, start + 512),))]
