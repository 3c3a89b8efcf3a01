"""F135: a partial image was deleted after the first read error."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from catalogue import Catalogue
from faulty_source import FaultySource, Plan, faulty_source
from media_images import MIB, ext4_image, found_at, noise, written

from ntt.ranges import intersection, normalised, total
from ntt.tools.mapfile import Mapfile, parse_mapfile

CONTENTS = {f"{n:02}.bin": noise(100_000, n) for n in range(60)}
FILES: dict[bytes, bytes | None] = {name.encode(): content for name, content in CONTENTS.items()}
KNOWN_AGAIN_BYTES = (64 << 10) + 4096 + (2 * 128 + 64) * 512  # what a source is asked again for, to know it
SAVED_S = 6  # the map is saved every 5 s


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk")
    return ext4_image(folder / "disk.img", written(folder / "tree", CONTENTS), 16)


def kept(catalogue: Catalogue) -> tuple[Path, Mapfile]:
    """The one image that there is, and its map."""
    (image,) = (catalogue.home / "images").glob("*.img")
    return image, parse_mapfile(image.with_suffix(".map").read_text(), "map")


def require_whole(catalogue: Catalogue, disk: Path, image: Path) -> None:
    (medium,) = catalogue.media()
    assert kept(catalogue)[0] == image == Path(medium["image_path"])
    assert image.read_bytes() == disk.read_bytes()
    assert medium["health"] == "ok"
    assert catalogue.files(medium["medium_hash"]) == FILES


@pytest.mark.parametrize("effort", ["quick", "normal", "deep"])
def test_f135_after_a_read_error_image_and_map_are_there_and_another_drive_goes_on(
    effort: str, catalogue: Catalogue, disk: Path, tmp_path: Path
) -> None:
    at = found_at(disk, CONTENTS["20.bin"][:40_000]) + 8192
    bad = (at, at + 512)
    with faulty_source(disk, Plan(bad=(bad,)), tmp_path / "one") as one:
        assert catalogue.command("ingest", "--effort", effort, one.path).status == 1
        by_one = one.counters()
    image, mapfile = kept(catalogue)
    rescued = mapfile.rescued
    assert intersection(rescued, (bad,)) == ()
    content, original = image.read_bytes(), disk.read_bytes()
    assert all(content[slice(*piece)] == original[slice(*piece)] for piece in rescued)
    assert total(by_one.read_twice) <= KNOWN_AGAIN_BYTES + 16 * 4096
    with faulty_source(disk, Plan(bad=()), tmp_path / "another") as another:
        ended = catalogue.command("ingest", "--effort", effort, "--free-space", another.path)
        assert ended.status == 0, ended.stderr + ended.stdout
        again = intersection(rescued, another.counters().read_once)
        assert total(again) <= KNOWN_AGAIN_BYTES
    require_whole(catalogue, disk, image)


@pytest.mark.slow
@pytest.mark.parametrize("elsewhere", [False, True], ids=["the same drive", "another drive"])
def test_f135_a_killed_run_is_gone_on_with(elsewhere: bool, catalogue: Catalogue, disk: Path, tmp_path: Path) -> None:
    rate = MIB
    with faulty_source(disk, Plan(bytes_per_s=rate), tmp_path / "one") as one:
        killed_after(catalogue, one, 10 * MIB)
        image, mapfile = kept(catalogue)
        assert total(mapfile.rescued) >= 10 * MIB - SAVED_S * rate - MIB
        assert catalogue.media() == [], "it was not even identified"
        read = mapfile.rescued
        if elsewhere:
            with faulty_source(disk, Plan(), tmp_path / "another") as another:
                assert catalogue.command("ingest", "--effort", "normal", another.path).status == 0
                again = intersection(read, another.counters().read_once)
        else:
            before = one.reads()
            assert catalogue.command("ingest", "--effort", "normal", one.path).status == 0
            later = one.reads()[len(before) :]
            again = intersection(read, normalised((r.offset, r.offset + r.size) for r in later))
    assert total(again) <= KNOWN_AGAIN_BYTES
    require_whole(catalogue, disk, image)


def killed_after(catalogue: Catalogue, source: FaultySource, read_bytes: int) -> None:
    """A run that is killed, and ddrescue with it, once the source gave so much."""
    argv = [sys.executable, "-m", "ntt", "ingest", "--effort", "normal", source.path]
    argv += ["--home", catalogue.home, "--database", catalogue.url]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as running:
        try:
            source.wait_for("bytes_read", read_bytes)
        finally:
            running.kill()
    assert running.returncode == -signal.SIGKILL
    wait = 'while fuser -s "$1"; do :; done'
    subprocess.run(["timeout", "20", "sh", "-c", wait, "sh", source.path], check=True)
