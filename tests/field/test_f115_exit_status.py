"""F115: the run ended with "interrupted" and exit 0, though workers had failed."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalogue import Catalogue, command
from failing_image import Failing, failing_image
from media_images import ext4_image, found_at, noise, written

CONTENTS: dict[str | bytes, bytes] = {f"{number}.bin": noise(30_000 + number, number) for number in range(8)}


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return ext4_image(tmp_path / "stick.img", written(tmp_path / "tree", CONTENTS))


def test_f115_zero_means_that_everything_is_done(catalogue: Catalogue, disk: Path) -> None:
    assert catalogue.command("ingest", disk).status == 0
    assert catalogue.value("SELECT count(*) FROM outcome WHERE status = 'c'") == len(CONTENTS)


def test_f115_one_file_that_failed_is_not_zero(catalogue: Catalogue, disk: Path) -> None:
    at = found_at(disk, CONTENTS["3.bin"])
    with failing_image(disk, Failing(start=at, end=at + 512, names=("EIO",))) as medium:
        for _ in range(2):  # nor when nothing is left to do
            ended = catalogue.command("ingest", medium, env={"NTT_ONLY_ROUTE": "tsk"})
            assert ended.status == 1, ended.stderr
            assert "interrupted" not in ended.stdout + ended.stderr
    assert catalogue.value("SELECT count(*) FROM outcome WHERE status = 'f'") == 1


def test_f115_usage_and_failure_have_a_status_of_their_own(catalogue: Catalogue, disk: Path, tmp_path: Path) -> None:
    assert catalogue.command("ingest", tmp_path / "missing.img").status == 2
    assert catalogue.command("ingest", disk, "--no-such-option").status == 2
    store = tmp_path / "store"
    store.write_bytes(b"a file where a folder ought to be")
    ended = catalogue.command("ingest", disk, env={"NTT_STORE": str(store)})
    assert ended.status == 3, ended.stderr


def test_f115_several_media_end_as_the_worst_of_them(catalogue: Catalogue, disk: Path, tmp_path: Path) -> None:
    assert catalogue.command("ingest", tmp_path / "missing.img", disk).status != 0
    assert catalogue.value("SELECT count(*) FROM outcome WHERE status = 'c'") == len(CONTENTS)


@pytest.mark.parametrize("name", ["ingest", "retry", "problems"])
def test_f115_the_statuses_are_documented(name: str) -> None:
    text = " ".join(command(name, "--help").stdout.split())
    for words in ("0 all done", "1 done, with problems recorded", "2 usage", "3 failed", "130 interrupted"):
        assert words in text
