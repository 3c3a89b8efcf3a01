"""Imaging under attack: names that are no ASCII, maps that say nothing, media that are nearly the same, full disks."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from catalogue import Catalogue
from faulty_source import Plan, faulty_source
from media_images import ext4_image, found_at, map_of, noise, written
from rescuing import LIMITS, SECTOR_BYTES, all_but, further, medium

from ntt.errors import MediumError, StoreError
from ntt.model import Effort, PassEnd, PassRecord
from ntt.progress import Stop, Work
from ntt.ranges import Ranges
from ntt.rescue.comparing import EDGES, SPREAD_SECTORS, edges
from ntt.rescue.resuming import START_BYTES, resumed
from ntt.rescue.source import Source, SourceKind, probe
from ntt.rescue.working import WorkingImages
from ntt.stages.image import ImageStage
from ntt.tools.mapfile import mapfile_of

MIB = 1 << 20
BIG = noise(3 * MIB, 7)
CONTENTS = {"big": BIG, **{f"{n:02}.bin": noise(20_000, n + 100) for n in range(12)}}


@pytest.fixture
def catalogue(home: Path, database_url: str) -> Catalogue:
    return Catalogue(home, database_url)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk")
    return ext4_image(folder / "disk.img", written(folder / "tree", CONTENTS), 12, "-b", "4096")


def copied(original: Path, path: Path, changed: Ranges = (), seed: int = 5) -> Path:
    """Its bytes, but for those of these ranges."""
    content = bytearray(original.read_bytes())
    for start, end in changed:
        content[start:end] = noise(end - start, seed)
    path.write_bytes(content)
    return path


def own_images(catalogue: Catalogue) -> list[Path]:
    return sorted((catalogue.home / "images").glob("*.img"))


def require_whole(catalogue: Catalogue, original: Path) -> None:
    (row,) = catalogue.media()
    assert (row["health"], row["unread_bytes"]) == ("ok", 0)
    assert Path(str(row["image_path"])).read_bytes() == original.read_bytes()
    assert catalogue.files(row["medium_hash"]) == {name.encode(): content for name, content in CONTENTS.items()}


async def hardware_of(path: Path) -> dict[str, str]:
    return {"model": path.name}


def ignored(work: Work) -> None:
    """For tests that do not look at the progress."""


# ---------------------------------------------------------------- names

NAMES = ["größe.img".encode(), b"two\nlines.img", b"\xffd.img", b"tab\t and # hash.img", "한글 🎞.img".encode()]


@pytest.mark.parametrize("name", NAMES, ids=["umlaut", "line end", "no UTF-8", "tab", "wide"])
def test_a_source_of_any_name_is_imaged(name: bytes, catalogue: Catalogue, disk: Path, tmp_path: Path) -> None:
    path = copied(disk, tmp_path / os.fsdecode(name))
    ended = catalogue.command("ingest", "--effort", "normal", path)
    assert ended.status == 0, ended.stderr
    require_whole(catalogue, disk)
    assert catalogue.command("problems", str(catalogue.media()[0]["medium_hash"])).status == 0


@pytest.mark.parametrize("name", ["höme", "ho\nme"])
def test_images_are_kept_in_a_folder_of_any_name(name: str, database_url: str, disk: Path, tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path / name / "home", database_url)
    bad = found_at(disk, BIG) + 64 * SECTOR_BYTES
    with faulty_source(disk, Plan(bad=((bad, bad + SECTOR_BYTES),)), tmp_path / "drive") as drive:
        for _ in range(2):  # with the map that ddrescue wrote, too
            ended = catalogue.command("ingest", "--effort", "normal", drive.path)
            assert ended.status == 1, ended.stderr
            (row,) = catalogue.media()
            assert row["unread_bytes"] == SECTOR_BYTES
            assert len(own_images(catalogue)) == 1


def test_an_image_is_kept_whatever_became_of_its_map(catalogue: Catalogue, disk: Path, tmp_path: Path) -> None:
    bad = found_at(disk, BIG) + 64 * SECTOR_BYTES
    with faulty_source(disk, Plan(bad=((bad, bad + SECTOR_BYTES),)), tmp_path / "drive") as drive:
        assert catalogue.command("ingest", "--effort", "quick", drive.path).status == 1
        (image,) = own_images(catalogue)
        content = image.read_bytes()
        for suffix in (".map", ".map.kept"):
            image.with_suffix(suffix).write_bytes(b"# \xff nothing\n")
        catalogue.command("ingest", "--effort", "quick", drive.path)
        assert image.read_bytes() == content
    images = WorkingImages(catalogue.home / "images")
    with images.take(image) as working:
        assert working.has_lost_map


@pytest.mark.parametrize("lost", [True, False], ids=["its map is lost", "nothing was read"])
async def test_only_an_image_of_nothing_is_discarded_after_a_failure(lost: bool, tmp_path: Path) -> None:
    original = medium(tmp_path / "original", 2 * MIB)
    stage = ImageStage(tmp_path / "images", LIMITS, hardware_of)
    with pytest.raises(MediumError, match="the medium fell out"):
        async with stage.opened(original, Effort.QUICK) as imaging:
            if lost:
                await imaging.first_pass(ignored, Stop())
                for suffix in (".map", ".map.kept"):
                    imaging.image.with_suffix(suffix).write_bytes(b"")
            raise MediumError("the medium fell out")
    assert len(list((tmp_path / "images").glob("*.img"))) == lost


def test_the_map_of_a_user_may_hold_names_in_any_encoding(catalogue: Catalogue, disk: Path, tmp_path: Path) -> None:
    image = copied(disk, tmp_path / "a.img")
    map_path = map_of(tmp_path / "a.map", image.stat().st_size, [])
    # \x85 ends a line in Unicode, and is half a letter in UTF-8
    for comment in (
        "# Command line: ddrescue /dev/sr0 Übung.img\n".encode("latin-1"),
        b"# \xc3\x85ngstr\xf6m \x85 x\n",
    ):
        map_path.write_bytes(comment + map_of(map_path, image.stat().st_size, []).read_bytes())
        ended = catalogue.command("ingest", image, "--map", map_path)
        assert ended.status == 0, ended.stderr


@pytest.mark.parametrize("number", ["8_388_608", "+8388608", "٨٣٨٨٦٠٨", "8388608\xa0"])
def test_numbers_of_a_map_are_those_of_c(number: str, catalogue: Catalogue, tmp_path: Path) -> None:
    image = medium(tmp_path / "a.img", 8 * MIB)
    map_path = tmp_path / "a.map"
    map_path.write_text(f"0x0 + 1\n0x0 {number} +\n", encoding="utf-8")
    ended = catalogue.command("ingest", image, "--map", map_path)
    assert ended.status == 2
    (line,) = ended.complaints
    assert "is not a ddrescue mapfile: line 2" in line


# ---------------------------------------------------------------- media that are nearly the same

BAD_BYTES, BESIDE_BYTES = 59_904, 5_632


@pytest.mark.parametrize("behind", [True, False], ids=["behind", "before"])
def test_a_medium_that_differs_just_around_what_was_not_read_is_another(
    behind: bool, catalogue: Catalogue, disk: Path, tmp_path: Path
) -> None:
    at = found_at(disk, BIG) + MIB + 3 * SECTOR_BYTES
    bad = (at, at + BAD_BYTES)
    differs = (at, at + BAD_BYTES + BESIDE_BYTES) if behind else (at - BESIDE_BYTES, at + BAD_BYTES)
    twin = copied(disk, tmp_path / "twin.img", (differs,))
    with faulty_source(disk, Plan(bad=(bad,)), tmp_path / "drive") as drive:
        assert catalogue.command("ingest", "--effort", "normal", drive.path).status == 1
    (before,) = catalogue.media()
    assert before["unread_bytes"] == BAD_BYTES
    ended = catalogue.command("ingest", "--effort", "normal", twin)
    assert ended.status == 1, ended.stderr
    assert "at every sample, but its content differs" in ended.stderr
    rows = {row["medium_hash"]: row for row in catalogue.media()}
    assert rows[before["medium_hash"]]["unread_bytes"] == BAD_BYTES
    (other,) = [row for key, row in rows.items() if key != before["medium_hash"]]
    assert Path(str(other["image_path"])).read_bytes() == twin.read_bytes()


async def begun(source: Source, folder: Path, mapped: Ranges) -> None:
    """An image in work of which some is read."""
    with WorkingImages(folder).new(source) as image:
        await further(source, image, domain=mapped)


async def test_a_mostly_empty_medium_is_known_again(tmp_path: Path) -> None:
    """Its few files are what tells it from a blank one: it is not read anew because even samples miss them."""
    size = 64 * MIB
    content = bytearray(b"\xf6" * size)
    for at in random.Random(2).sample(range(256, size // 4096), 10):
        content[at * 4096 : at * 4096 + 4096] = noise(4096, at)
    (tmp_path / "original").write_bytes(content)
    with faulty_source(tmp_path / "original", Plan(), tmp_path / "drive") as drive:
        source = await probe(drive.path)
        await begun(source, tmp_path / "work", ((0, size - MIB),))
        before = drive.counters().bytes_read
        found = await resumed(WorkingImages(tmp_path / "work"), source)
        assert found is not None
        found.close()
        assert drive.counters().bytes_read - before <= START_BYTES + 4096 + 2 * SPREAD_SECTORS * SECTOR_BYTES


@pytest.mark.slow
async def test_what_is_asked_to_know_a_medium_again_is_bounded(tmp_path: Path) -> None:
    """Ten thousand unread ranges, and a drive of 128 KiB/s."""
    size = 32 * MIB
    original = medium(tmp_path / "original", size)
    holes = tuple((at, at + SECTOR_BYTES) for at in range(MIB, size, 6 * SECTOR_BYTES))
    images = WorkingImages(tmp_path / "work")
    with images.new(Source(original, SourceKind.FILE, size, SECTOR_BYTES, direct=False)) as image:
        read = all_but(size, holes)
        content = original.read_bytes()
        for start, end in read:
            os.pwrite(image.descriptor, content[start:end], start)
        image.put_map(mapfile_of(read, size))
    assert len(holes) > 10_000
    with faulty_source(original, Plan(), tmp_path / "fast") as drive:
        found = await resumed(images, await probe(drive.path))
        assert found is not None
        found.close()
        assert EDGES <= drive.counters().reads <= START_BYTES // SECTOR_BYTES + SPREAD_SECTORS + EDGES + 16
    with faulty_source(original, Plan(bytes_per_s=128 << 10), tmp_path / "slow") as drive:
        source = await probe(drive.path)
        began = time.monotonic()
        found = await resumed(images, source, limit_s=2)
        assert time.monotonic() - began < 3 * 2 + 4
        assert found is not None
        found.close()
    twin = copied(original, tmp_path / "twin", ((20 * MIB, 21 * MIB),))
    with faulty_source(twin, Plan(bytes_per_s=128 << 10), tmp_path / "another") as drive:
        assert await resumed(images, await probe(drive.path), limit_s=2) is None


async def test_a_drive_too_slow_to_be_asked_resumes_nothing(tmp_path: Path) -> None:
    original = medium(tmp_path / "original", 4 * MIB)
    read = all_but(4 * MIB, tuple((at, at + SECTOR_BYTES) for at in range(MIB, 3 * MIB, 64 * SECTOR_BYTES)))
    await begun(await probe(original), tmp_path / "work", read)
    with faulty_source(original, Plan(bytes_per_s=16 << 10), tmp_path / "slow") as drive:
        source = await probe(drive.path)
        assert await resumed(WorkingImages(tmp_path / "work"), source, limit_s=0.4) is None


@pytest.mark.parametrize(("count", "expected"), [(100, [512, 1024, 3072, 4096]), (2, [512, 3072])])
def test_edges_are_whole_sectors_within(count: int, expected: list[int]) -> None:
    ranges = ((100, 1600), (2600, 3000), (3000 + 72, 3584), (4000, 5632))
    assert [start for start, _ in edges(ranges, 5632, 512, count)] == expected


async def test_what_a_twin_gave_does_not_count_once_it_is_seen(tmp_path: Path) -> None:
    """It takes the medium's place while that is read, and is the same where it is asked whether it is still there."""
    size = 8 * MIB
    original = medium(tmp_path / "original", size)
    hole = ((4 * MIB, 5 * MIB),)
    await begun(await probe(original), tmp_path / "images", all_but(size, hole))
    (path,) = (tmp_path / "images").glob("*.img")
    before = path.read_bytes()
    twin = copied(original, tmp_path / "twin", ((MIB, 3 * MIB), *hole))
    drive = tmp_path / "drive"
    drive.symlink_to(original)
    stage = ImageStage(tmp_path / "images", LIMITS, hardware_of)
    async with stage.opened(drive, Effort.QUICK) as imaging:
        assert imaging.image == path
        drive.unlink()
        drive.symlink_to(twin)
        records: list[PassRecord] = []
        await imaging.further("files", hole, ignored, Stop(), records)
        assert [record.end for record in records] == [PassEnd.SOURCE_GONE]
        assert "another medium; the 1,048,576 bytes of this run do not count" in records[0].detail
        assert not imaging.going
        assert imaging.passes[-1] == records[0]
    assert path.read_bytes() == before
    images = WorkingImages(tmp_path / "images")
    with images.take(path) as image:
        assert image.mapfile().unread == hole
        (told_apart,) = image.state.told_apart
        assert MIB <= told_apart < 3 * MIB
    # where it was seen it is looked at from now on, however alike it is elsewhere
    sector = told_apart - told_apart % SECTOR_BYTES, told_apart - told_apart % SECTOR_BYTES + SECTOR_BYTES
    closer = copied(original, tmp_path / "closer", (sector, *hole))
    assert await resumed(images, await probe(closer)) is None
    again = await resumed(images, await probe(original))
    assert again is not None
    again.close()


# ---------------------------------------------------------------- several images of one medium


def image_with(images: WorkingImages, original: Path, read: Ranges, medium_hash: str | None = None) -> str:
    """Its name; it holds these bytes of the original."""
    content = original.read_bytes()
    with images.new(Source(original, SourceKind.FILE, len(content), SECTOR_BYTES, direct=False)) as image:
        for start, end in read:
            os.pwrite(image.descriptor, content[start:end], start)
        image.put_map(mapfile_of(read, len(content)))
        if medium_hash is not None:
            image.identified(medium_hash)
        return image.name


@pytest.mark.parametrize("known", [None, "ab" * 16], ids=["both unknown", "one is known"])
async def test_of_images_that_agree_the_one_with_more_is_gone_on_with(known: str | None, tmp_path: Path) -> None:
    images = WorkingImages(tmp_path / "work")
    original = medium(tmp_path / "original", 4 * MIB)
    more = image_with(images, original, ((0, 3 * MIB),), known)
    image_with(images, original, ((0, 2 * MIB),))
    other = image_with(images, original, ((0, MIB), (3 * MIB, 3 * MIB + 4096)))
    found = await resumed(images, await probe(original))
    assert found is not None
    with found:
        assert found.name == more
    left = {path.stem for path in (tmp_path / "work").glob("*.img")}
    assert left == {more, other}, "what has nothing of its own is gone, all of it"
    assert {path.name.split(".")[0] for path in (tmp_path / "work").iterdir()} == left


async def test_an_image_that_a_catalogue_knows_is_not_removed(tmp_path: Path) -> None:
    images = WorkingImages(tmp_path / "work")
    original = medium(tmp_path / "original", 4 * MIB)
    more = image_with(images, original, ((0, 3 * MIB),))
    known = image_with(images, original, ((0, 2 * MIB),), "ab" * 16)
    found = await resumed(images, await probe(original))
    assert found is not None
    with found:
        assert found.name == more
    assert {path.stem for path in (tmp_path / "work").glob("*.img")} == {more, known}


async def test_images_of_two_media_that_are_known_are_a_doubt(tmp_path: Path) -> None:
    images = WorkingImages(tmp_path / "work")
    original = medium(tmp_path / "original", 4 * MIB)
    for number in (1, 2):
        image_with(images, original, ((0, number * MIB),), f"{number}" * 32)
    assert await resumed(images, await probe(original)) is None
    assert len(list((tmp_path / "work").glob("*.img"))) == 2


def test_after_two_runs_at_once_on_one_source_the_next_goes_on(
    catalogue: Catalogue, disk: Path, tmp_path: Path
) -> None:
    """The one that came too late left an image of which nobody knows whose it is."""
    at = found_at(disk, BIG) + MIB
    bad = ((at, at + 40 * SECTOR_BYTES),)
    with faulty_source(disk, Plan(bad=bad), tmp_path / "drive") as drive:
        assert catalogue.command("ingest", "--effort", "normal", drive.path).status == 1
        late = image_with(WorkingImages(catalogue.home / "images"), disk, all_but(disk.stat().st_size, bad))
        assert len(own_images(catalogue)) == 2
        before = drive.counters().bytes_read
        assert catalogue.command("ingest", "--effort", "normal", drive.path).status == 1
        assert drive.counters().bytes_read - before < MIB, "it is not read anew"
    (image,) = own_images(catalogue)
    assert image.stem != late
    assert [Path(str(row["image_path"])) for row in catalogue.media()] == [image]


# ---------------------------------------------------------------- folders and disks


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system in memory."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "images", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("below", ["", "images"], ids=["the folder", "above the folder"])
def test_images_on_a_disk_that_is_read_only_are_refused_in_one_line(
    below: str, catalogue: Catalogue, disk: Path, tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", "ro") as folder:
        environment = {"NTT_IMAGES": str(folder / below)}
        ended = catalogue.command("ingest", "--effort", "normal", disk, env=environment)
    assert ended.status == 3
    (line,) = ended.complaints
    assert "Read-only file system" in line
    assert "Traceback" not in ended.stderr


def test_a_folder_that_cannot_be_made_is_no_place_for_images(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    images = WorkingImages(tmp_path / "file" / "images")
    with pytest.raises(StoreError, match=r"cannot hold an image of 512 bytes: Not a directory; name another folder"):
        images.new(Source(tmp_path, SourceKind.FILE, 512, SECTOR_BYTES, direct=False))


def test_what_is_read_already_needs_no_room(tmp_path: Path) -> None:
    original = medium(tmp_path / "original", 20 * MIB)
    with mounted(tmp_path / "disk", "size=40m") as folder:
        images = WorkingImages(folder / "images")
        name = image_with(images, original, ((0, 20 * MIB),))
        with images.take(folder / "images" / f"{name}.img") as image:
            (folder / "other").write_bytes(bytes(12 * MIB))
            image.require_space()
            image.put_map(mapfile_of(((0, 19 * MIB),), 20 * MIB))
            image.forget(((19 * MIB, 20 * MIB),))
            image.require_space()  # its place is taken up already
        with pytest.raises(StoreError, match="bytes are free"):
            images.new(Source(original, SourceKind.FILE, 20 * MIB, SECTOR_BYTES, direct=False))


@pytest.mark.parametrize("named", ["itself", "by a link", "by another name"])
def test_an_image_of_our_own_is_no_medium(named: str, catalogue: Catalogue, disk: Path, tmp_path: Path) -> None:
    at = found_at(disk, BIG) + MIB
    with faulty_source(disk, Plan(bad=((at, at + SECTOR_BYTES),)), tmp_path / "drive") as drive:
        assert catalogue.command("ingest", "--effort", "quick", drive.path).status == 1
    (own,) = own_images(catalogue)
    path = own if named == "itself" else tmp_path / "other.img"
    if named == "by a link":
        path.symlink_to(own)
    elif named == "by another name":
        path.hardlink_to(own)
    before = catalogue.media()
    ended = catalogue.command("ingest", "--effort", "normal", path)
    assert ended.status == 2
    (line,) = ended.complaints
    assert "is an image of NTT's own" in line
    assert catalogue.media() == before
    assert own_images(catalogue) == [own]


def test_a_drive_that_says_a_little_more_takes_nothing_from_what_is_whole(
    catalogue: Catalogue, disk: Path, tmp_path: Path
) -> None:
    """Then the first drive again, for which the longer image is none: the medium is as whole as it was."""
    at = found_at(disk, BIG) + MIB
    longer = tmp_path / "longer.img"
    longer.write_bytes(disk.read_bytes() + noise(4096, 3))
    with faulty_source(disk, Plan(bad=((at, at + 40 * SECTOR_BYTES),)), tmp_path / "drive") as drive:
        assert catalogue.command("ingest", "--effort", "normal", drive.path).status == 1
        assert catalogue.command("ingest", "--effort", "normal", longer).status == 0
        require_whole(catalogue, longer)
        catalogue.command("ingest", "--effort", "normal", drive.path)
        require_whole(catalogue, longer)
