"""F020: every reader of a corrupt UDF volume hung in the kernel; nothing went on, and each start tried it again."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalogue import Catalogue
from media_images import ext4_image, noise, written

STALL_S = 1.5


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return ext4_image(tmp_path / "disc.img", written(tmp_path / "tree", {f"{n}": noise(500, n) for n in range(30)}))


def test_f020_a_walk_that_stops_answering_is_ended_recorded_and_not_tried_again(
    image: Path, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ext4_image(tmp_path / "other.img", written(tmp_path / "more", {"a": b"whole"}))
    monkeypatch.setenv("PYTHONPATH", str(_hanging(tmp_path)))
    monkeypatch.setenv("NTT_TEST_HANGS", "disc.img")
    result = catalogue.ingest(image, other, archive=False, stall_s=STALL_S)
    assert not result.failures, result.failures
    hung, whole = result.media
    assert any(f"no progress for {STALL_S:.0f} s" in problem for problem in hung.problems)
    assert whole.problems == ()
    assert whole.files == 1
    again = catalogue.ingest(image, archive=False, stall_s=STALL_S).media[0]
    assert "enumerate" not in again.stages, "it is not tried again by itself"


def _hanging(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH: walks of an image of that name wait for ever in their hundredth read."""
    folder = tmp_path / "injected"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HANGING)
    return folder


HANGING = """
import os, sys, time
reads, real = 0, os.pread
def pread(fd, length, at):
    global reads
    reads += 1
    while reads > 12:
        time.sleep(60)
    return real(fd, length, at)
if "ntt.worker" in sys.orig_argv:
    image_fd = sys.orig_argv[sys.orig_argv.index("ntt.worker") + 2]
    if os.readlink(f"/proc/self/fd/{image_fd}").endswith(os.environ["NTT_TEST_HANGS"]):
        os.pread = pread
"""
