"""A content that rotted in the store is read again from a medium that had it, durable before its row points there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from catalogue import Catalogue
from media_images import ext4_image, iso_image, map_of, noise, written

SMALL = {f"folder/{number}.dat": noise(3_000 + number, number) for number in range(20)}
CONTENTS = {**SMALL, "large.bin": noise(2_500_000, 99), "empty": b""}


@pytest.fixture
def catalogue(home: Path, database_url: str) -> Catalogue:
    return Catalogue(home, database_url)


def taken(catalogue: Catalogue, image: Path, map_path: Path | None = None) -> str:
    """The hash of a medium that is archived."""
    (report,) = catalogue.ingest(image, map_path=map_path).media
    assert report.archive
    return report.medium_hash


def rot(path: Path, *offsets: int) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        for offset in offsets:
            file.seek(offset)
            byte = file.read(1)
            file.seek(offset)
            file.write(bytes([byte[0] ^ 0x20]))
    path.chmod(0o444)


def rot_all(catalogue: Catalogue) -> int:
    """One bit of every content that has any."""
    for row in catalogue.rows("SELECT pack_id, array_agg(pack_offset) AS at FROM blob WHERE pack_id IS NOT NULL "
                              "AND size > 0 GROUP BY pack_id"):  # fmt: skip
        rot(catalogue.store / "packs" / f"{row['pack_id']:08d}.tar", *row["at"])
    for path in (catalogue.store / "blobs").glob("*/*/*"):
        rot(path, 1_234_567)
    return int(str(catalogue.value("SELECT count(*) FROM blob WHERE size > 0")))


def document(stdout: str) -> dict[str, object]:
    return msgspec.json.decode(stdout, type=dict[str, object])


@pytest.mark.parametrize("image_is_there", [True, False])
def test_every_content_is_healed_from_the_image_or_from_the_archive(
    catalogue: Catalogue, tmp_path: Path, image_is_there: bool
) -> None:
    image = iso_image(tmp_path / "disc.iso", written(tmp_path / "tree", CONTENTS))
    medium = taken(catalogue, image)
    before = catalogue.files(medium)
    if not image_is_there:
        image.unlink()
    count = rot_all(catalogue)
    ended = catalogue.command("verify", "--all", "--json")
    assert ended.status == 0, ended.stderr
    report = document(ended.stdout)
    assert (report["healed_total"], report["damaged_total"]) == (count, 0)
    assert catalogue.files(medium) == before
    assert catalogue.value("SELECT count(*) FROM blob WHERE last_checked IS NULL") == 0
    again = document(catalogue.command("verify", "--all", "--json").stdout)
    assert (again["blobs"], again["healed_total"], again["damaged_total"]) == (len(CONTENTS), 0, 0)
    assert not list((catalogue.home / "work").iterdir())
    assert not list((catalogue.store / "tmp").iterdir())


def test_what_one_medium_cannot_give_another_one_does(catalogue: Catalogue, tmp_path: Path) -> None:
    first = iso_image(tmp_path / "first.iso", written(tmp_path / "a", CONTENTS))
    second = ext4_image(tmp_path / "second.img", written(tmp_path / "b", {**SMALL, "other": noise(700, 5)}))
    media = [taken(catalogue, first), taken(catalogue, second)]
    before = [catalogue.files(medium) for medium in media]
    for gone in (first, catalogue.home / "archives" / f"{media[0]}.tar.zst"):
        gone.unlink()
    rot_all(catalogue)
    ended = catalogue.command("verify", media[1], "--json")
    assert ended.status == 0, ended.stderr
    assert document(ended.stdout)["healed_total"] == len(SMALL) + 1
    assert catalogue.files(media[1]) == before[1]
    ended = catalogue.command("verify", "--all")
    assert ended.status == 1
    lost = "large.bin"
    assert f"needed by {media[0][:8]}: {lost}" in ended.stdout
    assert "is not there" in ended.stdout
    problems = catalogue.command("problems", media[0])
    assert (problems.status, "no longer in the store" in problems.stdout) == (1, True)
    # what was lost comes back with an image
    iso_image(first, written(tmp_path / "a", CONTENTS))
    catalogue.ingest(first, archive=False)
    ended = catalogue.command("verify", "--all")
    assert "healed" in ended.stdout
    assert catalogue.files(media[0]) == before[0]


def test_what_was_never_whole_is_healed_with_the_same_holes(catalogue: Catalogue, tmp_path: Path) -> None:
    image = iso_image(tmp_path / "disc.iso", written(tmp_path / "tree", {"half": noise(9_000, 3), "b": noise(10, 4)}))
    at = image.read_bytes().index(noise(9_000, 3))
    medium = taken(catalogue, image, map_of(tmp_path / "disc.map", image.stat().st_size, [(at + 2048, at + 4096)]))
    before = catalogue.tree(medium)[1, b"half"]
    assert before.status == "damaged"
    image.unlink()
    rot_all(catalogue)
    assert catalogue.command("verify", medium).status == 0
    assert catalogue.tree(medium)[1, b"half"] == before


def test_an_image_that_is_another_one_by_now_heals_nothing_and_the_archive_does(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    image = iso_image(tmp_path / "disc.iso", written(tmp_path / "tree", SMALL))
    medium = taken(catalogue, image)
    before = catalogue.files(medium)
    image.write_bytes(noise(image.stat().st_size, 8))
    rot_all(catalogue)
    ended = catalogue.command("verify", medium)
    assert ended.status == 0, ended.stdout + ended.stderr
    assert catalogue.files(medium) == before


def test_a_pack_that_is_gone_is_stored_anew(catalogue: Catalogue, tmp_path: Path) -> None:
    medium = taken(catalogue, iso_image(tmp_path / "disc.iso", written(tmp_path / "tree", SMALL)))
    before = catalogue.files(medium)
    for pack in (catalogue.store / "packs").iterdir():
        pack.unlink()
    assert catalogue.command("verify", medium).status == 0
    assert catalogue.files(medium) == before
    assert f"healed {len(SMALL)}" in catalogue.command("status", medium).stdout


def test_without_healing_the_store_is_left_as_it_is(catalogue: Catalogue, tmp_path: Path) -> None:
    taken(catalogue, iso_image(tmp_path / "disc.iso", written(tmp_path / "tree", SMALL)))
    rot_all(catalogue)
    rows = catalogue.rows("SELECT * FROM blob ORDER BY id")
    assert catalogue.command("verify", "--all", "--no-heal").status == 1
    assert catalogue.rows("SELECT * FROM blob ORDER BY id") == rows


def test_a_store_whose_disk_is_not_mounted_is_no_store_full_of_rot(catalogue: Catalogue, tmp_path: Path) -> None:
    taken(catalogue, iso_image(tmp_path / "disc.iso", written(tmp_path / "tree", SMALL)))
    catalogue.store.rename(tmp_path / "elsewhere")
    ended = catalogue.command("verify", "--all")
    assert ended.status == 3
    assert "mounted" in ended.stderr
    assert catalogue.value("SELECT count(*) FROM finding WHERE stage = 'verify'") == 0


def test_what_to_verify_has_to_be_said_just_once(catalogue: Catalogue) -> None:
    for words in ((), ("--all", "--oldest"), ("--sample", "3", "--all")):
        assert catalogue.command("verify", *words).status == 2


def test_ctrl_c_ends_it_and_says_how_to_go_on(catalogue: Catalogue, tmp_path: Path) -> None:
    taken(catalogue, iso_image(tmp_path / "disc.iso", written(tmp_path / "tree", CONTENTS)))
    argv = [sys.executable, "-m", "ntt", "verify", "--all", "--rate", "0.01"]  # minutes
    process = subprocess.Popen(
        [*argv, "--home", catalogue.home, "--database", catalogue.url],
        env={key: value for key, value in os.environ.items() if not key.startswith("NTT_")},
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while catalogue.value("SELECT count(*) FROM stage_run WHERE stage = 'verify'") == 0:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    said, complaints = process.communicate(timeout=60)
    assert process.returncode == 130, complaints
    assert "the same command goes on" in said
    assert catalogue.value("SELECT state FROM stage_run WHERE stage = 'verify'") == "interrupted"
    left = int(str(catalogue.value("SELECT count(*) FROM blob WHERE last_checked IS NULL")))
    assert left > 0
    ended = document(catalogue.command("verify", "--all", "--json").stdout)
    assert (ended["blobs"], ended["archives"]) == (left, 1)
