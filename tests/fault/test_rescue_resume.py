"""NTT is killed, the drive changes, the map is torn: the same medium goes on where it was, another one never does."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faulty_source import FaultySource, Plan, faulty_source
from rescuing import SECTOR_BYTES, first, further, medium, rescued, wrong_bytes

from ntt.errors import BusyError, StoreError
from ntt.model import Effort
from ntt.ranges import Ranges, total
from ntt.rescue.resuming import resumed
from ntt.rescue.source import Source, SourceKind, probe
from ntt.rescue.working import WorkingImage, WorkingImages

MIB = 1 << 20
DRIVER = Path(__file__).with_name("rescue_driver.py")
REPEATED_S = 30  # of reading, at most, after a kill
HURT = ((2 * MIB, 2 * MIB + 2000 * SECTOR_BYTES),)


@contextmanager
def driver(faulty: FaultySource, folder: Path, effort: Effort = Effort.NORMAL) -> Iterator[subprocess.Popen[bytes]]:
    """NTT in a process of its own, working on the medium; gone when this is left."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, DRIVER, faulty.path, folder, effort.value], env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def gone(faulty: FaultySource) -> None:
    """Returns when nobody has the medium open any more: ddrescue died with NTT."""
    subprocess.run(["timeout", "20", "sh", "-c", 'while fuser -s "$1"; do :; done', "sh", faulty.path], check=True)


@pytest.mark.slow
async def test_a_kill_in_the_first_pass_repeats_little(tmp_path: Path) -> None:
    rate = 4 * MIB
    original = medium(tmp_path / "original", 64 * MIB)
    with faulty_source(original, Plan(bytes_per_s=rate), tmp_path / "faulty") as faulty:
        with driver(faulty, tmp_path / "work") as ntt:
            faulty.wait_for("bytes_read", 40 * MIB)
            ntt.send_signal(signal.SIGKILL)
            assert ntt.wait() == -signal.SIGKILL
        gone(faulty)
        killed_at = faulty.counters().bytes_read
        with driver(faulty, tmp_path / "work") as ntt:
            assert ntt.wait(100) == 0
        repeated = faulty.counters().bytes_read - 64 * MIB
        assert killed_at < 60 * MIB
        assert repeated <= 12 * rate < REPEATED_S * rate  # the map is saved every 5 s
        assert total(faulty.counters().read_twice) <= 12 * rate
        (image,) = (tmp_path / "work").glob("*.img")
        assert image.read_bytes() == original.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("bad_reads", [200, 1200, 2600], ids=["trimming and scraping", "scraping", "again"])
async def test_a_kill_in_a_later_pass_repeats_little(bad_reads: int, tmp_path: Path) -> None:
    original = medium(tmp_path / "original", 8 * MIB)
    with faulty_source(original, Plan(bad=HURT), tmp_path / "undisturbed") as faulty:
        with driver(faulty, tmp_path / "undisturbed work", Effort.DEEP) as ntt:
            assert ntt.wait(100) == 0
        undisturbed = faulty.counters()
    with faulty_source(original, Plan(bad=HURT, bytes_per_s=2 * MIB), tmp_path / "faulty") as faulty:
        with driver(faulty, tmp_path / "work", Effort.DEEP) as ntt:
            faulty.wait_for("bad_reads", bad_reads)
            ntt.send_signal(signal.SIGKILL)
            assert ntt.wait() == -signal.SIGKILL
        gone(faulty)
        with driver(faulty, tmp_path / "work", Effort.DEEP) as ntt:
            assert ntt.wait(300) == 0
        assert faulty.counters().bytes_read - undisturbed.bytes_read <= 2 * MIB
        (path,) = (tmp_path / "work").glob("*.img")
        with WorkingImages(tmp_path / "work").take(path) as image:
            assert image.mapfile().ranges("-") == image.mapfile().unread == HURT
            assert wrong_bytes(image, original) == ()


async def begun(source: Source, folder: Path, mapped: Ranges) -> None:
    """An image in work of which some is read."""
    with WorkingImages(folder).new(source) as image:
        await further(source, image, domain=mapped)


async def test_a_map_that_was_cut_short_falls_back_on_the_kept_one(tmp_path: Path) -> None:
    original = medium(tmp_path / "original", 4 * MIB)
    with faulty_source(original, Plan(bad=((MIB, MIB + 512),)), tmp_path / "faulty") as faulty:
        source = await probe(faulty.path)
        with WorkingImages(tmp_path / "work").new(source) as image:
            await first(source, image)
            image.follow_map()
            before = image.mapfile()
            whole = image.map_path.read_text()
            for torn in ("", whole[: len(whole) // 2], whole[: whole.rindex("\n", 0, -1) + 1]):
                image.map_path.write_text(torn)
                assert image.mapfile() == before
            reads = faulty.counters().bytes_read
            await further(source, image)
            assert image.mapfile().unread == ((MIB, MIB + 512),)
            assert faulty.counters().bytes_read - reads < MIB // 2
            image.map_path.unlink()
            image.kept_map_path.unlink()
            assert image.mapfile().unread == ((0, 4 * MIB),)  # then nothing counts as read


async def test_the_medium_is_known_again_in_another_drive_whatever_that_cannot_read(tmp_path: Path) -> None:
    original = medium(tmp_path / "original", 8 * MIB)
    with faulty_source(original, Plan(bad=((4 * MIB, 5 * MIB),)), tmp_path / "one") as faulty:
        image, source = await rescued(faulty.path, tmp_path / "work", Effort.QUICK)
        name = image.name
        image.close()
    with faulty_source(original, Plan(bad=((0, 2048), (6 * MIB, 6 * MIB + 4096))), tmp_path / "two") as faulty:
        again = await resumed(WorkingImages(tmp_path / "work"), await probe(faulty.path))
        assert again is not None
        with again:
            assert again.name == name
            assert again.state.source == str(source.path)


@pytest.mark.parametrize("changed_at", [700, 33 * 1024, 60_000, None], ids=["start", "descriptor", "64 KiB", "nothing"])
async def test_a_medium_that_differs_in_one_probed_byte_is_another(changed_at: int | None, tmp_path: Path) -> None:
    original = medium(tmp_path / "original", 2 * MIB)
    source = await probe(original)
    await begun(source, tmp_path / "work", ((0, MIB),))
    other = bytearray(original.read_bytes())
    if changed_at is not None:
        other[changed_at] ^= 1
    (tmp_path / "other").write_bytes(other)
    found = await resumed(WorkingImages(tmp_path / "work"), await probe(tmp_path / "other"))
    assert (found is None) == (changed_at is not None)
    if found is not None:
        found.close()


async def test_a_medium_that_differs_only_far_inside_is_another(tmp_path: Path) -> None:
    """Two backups on media of one kind that begin alike."""
    original = medium(tmp_path / "original", 2 * MIB)
    await begun(await probe(original), tmp_path / "work", ((0, 2 * MIB),))
    rest = random.Random(9).randbytes(MIB)
    (tmp_path / "other").write_bytes(original.read_bytes()[:MIB] + rest)
    assert await resumed(WorkingImages(tmp_path / "work"), await probe(tmp_path / "other")) is None


@pytest.mark.parametrize("informative", [15, 16])
async def test_blank_media_are_never_taken_for_each_other(informative: int, tmp_path: Path) -> None:
    content = random.Random(3).randbytes(informative * SECTOR_BYTES)
    (tmp_path / "medium").write_bytes(content.ljust(2 * MIB, b"\xf6"))
    source = await probe(tmp_path / "medium")
    await begun(source, tmp_path / "work", ((0, 2 * MIB),))
    found = await resumed(WorkingImages(tmp_path / "work"), source)
    assert (found is not None) == (informative == 16)
    if found is not None:
        found.close()


async def test_two_images_that_agree_with_the_medium_and_not_with_each_other_are_a_doubt(tmp_path: Path) -> None:
    original = medium(tmp_path / "original", 2 * MIB)
    twin = bytearray(original.read_bytes())
    twin[18 * 4096 + 100] ^= 1  # of the first MiB every other 4 KiB is looked at
    (tmp_path / "twin").write_bytes(twin)
    source = await probe(original)
    await begun(source, tmp_path / "work", ((0, MIB),))
    await begun(await probe(tmp_path / "twin"), tmp_path / "work", ((0, MIB),))
    images = WorkingImages(tmp_path / "work")
    assert await resumed(images, source) is None
    held = images.free(source.size_bytes)  # and none of them is held any more
    assert len(held) == 2
    for image in held:
        image.close()


async def test_a_drive_that_reads_too_little_of_it_resumes_nothing(tmp_path: Path) -> None:
    original = medium(tmp_path / "original", 2 * MIB)
    await begun(await probe(original), tmp_path / "work", ((0, MIB),))
    with faulty_source(original, Plan(bad=((0, 2 * MIB),)), tmp_path / "faulty") as faulty:
        assert await resumed(WorkingImages(tmp_path / "work"), await probe(faulty.path)) is None
        assert faulty.counters().bad_reads < 50


async def test_an_image_has_one_writer(tmp_path: Path) -> None:
    source = await probe(medium(tmp_path / "original", 2 * MIB))
    images = WorkingImages(tmp_path / "work")
    with images.new(source) as image:
        await further(source, image, domain=((0, MIB),))
        with pytest.raises(BusyError, match="another process"):
            images.take(image.path)
        assert await resumed(images, source) is None
    with images.take(image.path) as again:
        assert total(again.mapfile().rescued) == MIB
        assert [record.rescued_after for record in again.state.passes] == [MIB]


def image_source(path: Path, size_bytes: int) -> Source:
    return Source(path, SourceKind.FILE, size_bytes, SECTOR_BYTES, direct=False)


def test_an_image_that_does_not_fit_is_not_begun(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"bytes are free in .* the image needs .* more; make room"):
        WorkingImages(tmp_path / "work").new(image_source(tmp_path, 1 << 42))
    assert list((tmp_path / "work").iterdir()) == []


def test_what_a_process_that_died_at_once_left_is_removed(tmp_path: Path) -> None:
    images = WorkingImages(tmp_path)
    (tmp_path / "leftover.img").touch()
    (tmp_path / "of somebody.img").write_bytes(b"content without a state is not ours to remove")
    kept: WorkingImage = images.new(image_source(tmp_path, MIB))
    assert images.free(MIB) == []
    assert sorted(p.name for p in tmp_path.glob("*.img")) == sorted([kept.path.name, "of somebody.img"])
    kept.close()
