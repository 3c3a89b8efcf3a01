"""`ntt ingest` of media that read badly: two drives, passes made elsewhere, kills; and what is read how often."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from catalogue import Catalogue
from faulty_source import FaultySource, Plan, faulty_source
from media_images import MIB, ext4_image, found_at, map_of, noise, run, written
from ntt_runs import Machine

from ntt.ranges import Ranges, difference, intersection, normalised, total

SECTOR = 512
BLOCK = 4096
# what a source is asked again to know it: its start, descriptors, 128 sectors evenly and 128 that tell it from others;
# then a few before and after passes
KNOWN_AGAIN_BYTES = (64 << 10) + 4096 + (2 * 128 + 64) * SECTOR
CONTENTS = {f"folder/{n:02}.bin": noise(60_000, n) for n in range(40)}
FILES: Mapping[bytes, bytes | None] = {name.encode(): content for name, content in CONTENTS.items()}


@pytest.fixture
def catalogue(home: Path, database_url: str) -> Catalogue:
    return Catalogue(home, database_url)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk")
    return ext4_image(folder / "disk.img", written(folder / "tree", CONTENTS), 12, "-b", str(BLOCK))


def of_file(disk: Path, number: int, sectors: int = 1) -> tuple[int, int]:
    """Bytes of the image in the middle of a file."""
    at = found_at(disk, CONTENTS[f"folder/{number:02}.bin"][: 40 * SECTOR]) + 16 * SECTOR
    return at, at + sectors * SECTOR


def of_inode_table(disk: Path) -> tuple[int, int]:
    """The sectors of the inode table with the first files of the folder."""
    told = run("debugfs", "-R", "imap /folder/20.bin", disk)
    block, offset = re.findall(r"located at block (\d+), offset 0x([0-9a-f]+)", told)[0]
    at = int(block) * BLOCK + int(offset, 16) // SECTOR * SECTOR
    return at, at + SECTOR


def of_free_space(disk: Path) -> tuple[int, int]:
    told = re.findall(r"Free blocks: .*?(\d+)-(\d+)\s*$", run("dumpe2fs", disk), re.MULTILINE)
    last = max(int(end) for _, end in told) - 8
    return last * BLOCK, last * BLOCK + 3 * SECTOR


def spoiled(original: Path, path: Path, bad: Ranges) -> Path:
    """The image of a pass that could not read `bad`."""
    content = bytearray(original.read_bytes())
    for start, end in bad:
        content[start:end] = bytes(end - start)
    path.write_bytes(content)
    return path


def own_images(catalogue: Catalogue) -> list[Path]:
    return sorted((catalogue.home / "images").glob("*.img"))


def image_of(catalogue: Catalogue) -> Path:
    return Path(str(catalogue.value("SELECT image_path FROM medium")))


def require_whole(catalogue: Catalogue, disk: Path) -> None:
    (medium,) = catalogue.media()
    assert (medium["health"], medium["unread_bytes"]) == ("ok", 0)
    assert image_of(catalogue).read_bytes() == disk.read_bytes()
    assert catalogue.files(medium["medium_hash"]) == FILES
    assert {stored.status for stored in catalogue.tree(medium["medium_hash"]).values()} == {"copied", None}
    assert medium["archive_done"] is not None


def read_again(before: FaultySource, after: FaultySource) -> int:
    """Bytes that the second gave, though the first had given them."""
    return total(intersection(before.counters().read_once, after.counters().read_once))


def test_two_drives_with_complementary_bad_areas_give_a_perfect_image(
    catalogue: Catalogue, disk: Path, tmp_path: Path
) -> None:
    ones = normalised([of_file(disk, 3), of_file(disk, 21, 30), of_inode_table(disk)])
    others = normalised([of_file(disk, 5, 8), of_free_space(disk)])
    assert not intersection(ones, others)
    options = ("--effort", "normal", "--free-space")
    with faulty_source(disk, Plan(bad=ones), tmp_path / "one") as one:
        ended = catalogue.command("ingest", *options, one.path)
        assert ended.status == 1, ended.stderr
        (medium,) = catalogue.media()
        assert medium["unread_bytes"] == total(ones)
        first_image = image_of(catalogue)
        with faulty_source(disk, Plan(bad=others), tmp_path / "other") as other:
            ended = catalogue.command("ingest", *options, other.path)
            assert ended.status == 0, ended.stderr + ended.stdout
            assert other.counters().bad_reads == 0, "what the first drive read is not asked for"
            assert total(ones) <= other.counters().bytes_read <= total(ones) + 2 * BLOCK + KNOWN_AGAIN_BYTES
            assert read_again(one, other) <= KNOWN_AGAIN_BYTES
    require_whole(catalogue, disk)
    assert own_images(catalogue) == [image_of(catalogue)] == [first_image]


def test_a_pass_that_was_made_elsewhere_joins(catalogue: Catalogue, disk: Path, tmp_path: Path) -> None:
    ones, others = (of_file(disk, 3, 4), of_inode_table(disk)), (of_file(disk, 4, 4), of_file(disk, 30))
    passes = []
    for name, bad in (("a", ones), ("b", others)):
        image = spoiled(disk, tmp_path / f"{name}.img", normalised(bad))
        passes.append((image, map_of(tmp_path / f"{name}.map", image.stat().st_size, bad)))
    before = [path.read_bytes() for both in passes for path in both]
    statuses = [catalogue.command("ingest", image, "--map", map_path).status for image, map_path in passes]
    assert statuses == [1, 0]
    require_whole(catalogue, disk)
    assert [path.read_bytes() for both in passes for path in both] == before


def test_a_drive_goes_on_where_a_pass_that_was_made_elsewhere_ended(
    catalogue: Catalogue, disk: Path, tmp_path: Path
) -> None:
    """Also where the drive's own first pass, which skips, read nothing that was not read before."""
    bad = of_file(disk, 3, 4)
    image = spoiled(disk, tmp_path / "a.img", (bad,))
    map_path = map_of(tmp_path / "a.map", image.stat().st_size, [bad])
    assert catalogue.command("ingest", image, "--map", map_path).status == 1
    heals = [(bad[0], bad[1], 2)]
    with faulty_source(disk, Plan(heals=tuple(heals)), tmp_path / "drive") as drive:
        ended = catalogue.command("ingest", "--effort", "normal", drive.path)
        assert ended.status == 0, ended.stderr + ended.stdout
    require_whole(catalogue, disk)
    assert own_images(catalogue) == [image_of(catalogue)]
    assert catalogue.value("SELECT count(*) FROM image_pass WHERE name = 'everything'") == 1


def test_after_a_join_a_drive_goes_on_with_the_joined_image(catalogue: Catalogue, disk: Path, tmp_path: Path) -> None:
    still = of_file(disk, 7, 2)
    with faulty_source(disk, Plan(bad=normalised([still, of_file(disk, 3)])), tmp_path / "drive") as drive:
        assert catalogue.command("ingest", "--effort", "normal", drive.path).status == 1
        elsewhere = normalised([still, of_file(disk, 9)])
        image = spoiled(disk, tmp_path / "b.img", elsewhere)
        map_path = map_of(tmp_path / "b.map", image.stat().st_size, elsewhere)
        assert catalogue.command("ingest", image, "--map", map_path).status == 1
        assert catalogue.media()[0]["unread_bytes"] == total([still])
        before = drive.counters()
        assert catalogue.command("ingest", "--effort", "normal", drive.path).status == 1
        assert drive.counters().bytes_read - before.bytes_read <= KNOWN_AGAIN_BYTES
    assert own_images(catalogue) == [image_of(catalogue)]
    assert len(catalogue.media()) == 1


@pytest.mark.parametrize("whole", ["former", "latter"])
def test_of_two_passes_the_longer_one_decides_how_long_the_medium_is(
    whole: str, catalogue: Catalogue, disk: Path, tmp_path: Path
) -> None:
    """A drive that reports a short capacity takes nothing away from what another one read, nor hides its end."""
    size_bytes = disk.stat().st_size
    short_bytes = found_at(disk, CONTENTS["folder/35.bin"]) // MIB * MIB
    bad = of_file(disk, 3)
    long = spoiled(disk, tmp_path / "long.img", (bad,))
    short = tmp_path / "short.img"
    short.write_bytes(disk.read_bytes()[:short_bytes])
    images = [(long, map_of(tmp_path / "long.map", size_bytes, [bad])), (short, None)]
    for image, map_path in images if whole == "former" else reversed(images):
        catalogue.command("ingest", image, *(() if map_path is None else ("--map", map_path)))
    require_whole(catalogue, disk)


def test_an_image_without_its_map_makes_nothing_whole(catalogue: Catalogue, disk: Path, tmp_path: Path) -> None:
    """The zeros that stand for what was not read are the same with a map and without it."""
    hole = of_file(disk, 3)
    image = spoiled(disk, tmp_path / "a.img", (hole,))
    assert catalogue.command("ingest", image, "--map", map_of(tmp_path / "a.map", disk.stat().st_size, [hole])).status
    (before,) = catalogue.media()
    ended = catalogue.command("ingest", image)
    assert ended.status == 1
    assert "without its map nothing says what of it was read" in ended.stderr
    assert catalogue.media() == [before]
    assert b"damaged" in {str(stored.status).encode() for stored in catalogue.tree(before["medium_hash"]).values()}


def test_a_whole_medium_that_is_imaged_anew_keeps_its_image(catalogue: Catalogue, disk: Path, tmp_path: Path) -> None:
    with faulty_source(disk, Plan(), tmp_path / "drive") as drive:
        for options in ((), ("--replace",), ()):
            ended = catalogue.command("ingest", "--effort", "normal", *options, drive.path)
            assert ended.status == 0, ended.stderr
            require_whole(catalogue, disk)
            assert own_images(catalogue) == [image_of(catalogue)]


def test_an_image_in_work_of_another_catalogue_is_gone_on_with(
    catalogue: Catalogue, bare_database_url: str, disk: Path, tmp_path: Path
) -> None:
    """The database was lost, the images were not."""
    bad = of_file(disk, 3)
    with faulty_source(disk, Plan(bad=(bad,)), tmp_path / "drive") as drive:
        assert catalogue.command("ingest", "--effort", "quick", drive.path).status == 1
        before = drive.counters()
        (medium,) = catalogue.media()
        other = Catalogue(tmp_path / "other home", bare_database_url)
        images = {"NTT_IMAGES": str(catalogue.home / "images")}
        assert other.command("ingest", "--effort", "quick", drive.path, env=images).status == 1
        assert drive.counters().bytes_read - before.bytes_read <= KNOWN_AGAIN_BYTES
    (again,) = other.media()
    assert (again["medium_hash"], again["unread_bytes"]) == (medium["medium_hash"], medium["unread_bytes"])


# ---------------------------------------------------------------- passes that differ


def differing(disk: Path, path: Path, sectors: list[int]) -> Path:
    content = bytearray(disk.read_bytes())
    for at in sectors:
        content[at : at + SECTOR] = noise(SECTOR, at)
    path.write_bytes(content)
    return path


def test_what_two_passes_read_differently_counts_as_unread(catalogue: Catalogue, disk: Path, tmp_path: Path) -> None:
    hole, differs = of_file(disk, 3), of_file(disk, 11)
    first = spoiled(disk, tmp_path / "a.img", (hole,))
    assert catalogue.command("ingest", first, "--map", map_of(tmp_path / "a.map", disk.stat().st_size, [hole])).status
    (medium,) = catalogue.media()
    second = differing(disk, tmp_path / "b.img", [differs[0]])
    ended = catalogue.command("ingest", second, "--same-as", medium["medium_hash"][:10])
    assert ended.status == 1, ended.stderr
    (medium,) = catalogue.media()
    assert medium["unread_bytes"] == total([differs])
    assert image_of(catalogue).read_bytes() == disk.read_bytes(), "the first pass's bytes stay"
    damaged = {path: stored.damaged for (_, path), stored in catalogue.tree(medium["medium_hash"]).items()
               if stored.status not in ("copied", None)}  # fmt: skip
    assert damaged == {b"folder/11.bin": ((16 * SECTOR, 17 * SECTOR),)}
    told = catalogue.command("problems", medium["medium_hash"]).stdout
    assert "two passes read different contents at 512 bytes" in told
    assert "passes_disagree" in str(catalogue.value("SELECT problems FROM medium"))


ROWS = """SELECT t.name, md5(xml::text) FROM (SELECT relname AS name,
    query_to_xml('SELECT * FROM ' || quote_ident(relname) || ' t ORDER BY t::text', true, true, '') AS xml
    FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace) t ORDER BY 1"""


@pytest.mark.parametrize("as_device", [False, True], ids=["an image", "a drive"])
def test_what_differs_in_more_than_a_hundredth_is_refused_whatever_was_said(
    as_device: bool, catalogue: Catalogue, disk: Path, tmp_path: Path
) -> None:
    hole = of_file(disk, 3)
    first = spoiled(disk, tmp_path / "a.img", (hole,))
    catalogue.command("ingest", first, "--map", map_of(tmp_path / "a.map", disk.stat().st_size, [hole]))
    (medium,) = catalogue.media()
    rows = catalogue.rows(ROWS)
    size_bytes = disk.stat().st_size
    second = differing(disk, tmp_path / "b.img", list(range(MIB, size_bytes, 90 * SECTOR)))
    options = ("--effort", "quick") if as_device else ()
    ended = catalogue.command("ingest", second, "--same-as", medium["medium_hash"][:10], *options)
    assert ended.status == 3
    (line,) = ended.complaints
    assert "these are two media" in line
    assert catalogue.rows(ROWS) == rows
    assert len(own_images(catalogue)) == as_device, "what was read of it is kept, and nothing else"
    alone = catalogue.command("ingest", second, *options)
    assert alone.status == 0, alone.stderr + alone.stdout
    assert len(catalogue.media()) == 2


# ---------------------------------------------------------------- kills

KILLED = normalised([(2 * MIB + 64 * SECTOR, 2 * MIB + 700 * SECTOR), (5 * MIB, 5 * MIB + 300 * SECTOR)])
HEALS = 2


def outcome(catalogue: Catalogue) -> list[object]:
    """What the catalogue says in the end, but for times and names of NTT's own files."""
    (medium,) = catalogue.media()
    kept = ("medium_hash", "identity", "image_hash", "image_bytes", "unread", "unread_bytes", "health")
    problems = msgspec.json.decode(medium["problems"], type=dict[str, object])
    told = {name: problems.get(name) for name in ("unread", "findings", "findings_total", "error_files_total")}
    tree = {place: (s.type, s.size, s.status, s.damaged, s.content)
            for place, s in catalogue.tree(medium["medium_hash"]).items()}  # fmt: skip
    done = [medium[name] is not None for name in ("enum_done", "copy_done", "archive_done")]
    return [{name: medium[name] for name in kept}, told, tree, done, image_of(catalogue).read_bytes()]


@pytest.fixture(scope="module")
def undisturbed(
    disk: Path, database_server: object, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[object], int, int]:
    """The end of a run that nobody killed, the bytes and the bad reads that it took."""
    from database_server import TEMPLATE, DatabaseServer

    assert isinstance(database_server, DatabaseServer)
    folder = tmp_path_factory.mktemp("undisturbed")
    with (
        database_server.database(TEMPLATE) as url,
        faulty_source(disk, Plan(bad=KILLED), folder / "drive") as drive,
    ):
        catalogue = Catalogue(folder / "home", url)
        assert catalogue.command("ingest", "--effort", "deep", drive.path).status == 1
        return outcome(catalogue), drive.counters().bytes_read, drive.counters().bad_reads


def gone(drive: FaultySource) -> None:
    """Returns when nobody has the medium open any more: ddrescue died with NTT."""
    subprocess.run(["timeout", "20", "sh", "-c", 'while fuser -s "$1"; do :; done', "sh", drive.path], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("counter", "least"),
    [("bytes_read", 6 * MIB), ("bad_reads", 40), ("bad_reads", 800), ("bad_reads", 2000), ("bad_reads", 4500)],
    ids=["first pass", "trimming", "scraping", "again", "backwards"],
)
def test_a_killed_run_ends_as_an_undisturbed_one_when_it_is_repeated(
    counter: str,
    least: int,
    disk: Path,
    undisturbed: tuple[list[object], int, int],
    catalogue: Catalogue,
    tmp_path: Path,
) -> None:
    expected, bytes_read, bad_reads = undisturbed
    assert counter == "bytes_read" or least < bad_reads, f"there are only {bad_reads}"
    rate = 4 * MIB
    machine = Machine(catalogue.home, catalogue.url)
    options = ("--effort", "deep")
    with faulty_source(disk, Plan(bad=KILLED, bytes_per_s=rate), tmp_path / "drive") as drive:
        with machine.started(drive.path, options=options) as running:
            drive.wait_for(counter, least)
            running.send(signal.SIGKILL)
            assert running.process.wait() == -signal.SIGKILL
        gone(drive)
        ended = machine.ingest(drive.path, options=options)
        assert ended.status == 1, ended.stderr
        assert drive.counters().bytes_read - bytes_read <= 30 * rate
        assert total(drive.counters().read_twice) <= 6 * rate, "the map is saved every 5 s"
    for found, wanted in zip(outcome(catalogue), expected, strict=True):
        assert found == wanted
    assert own_images(catalogue) == [image_of(catalogue)]


# ---------------------------------------------------------------- nothing is read twice

CALL = re.compile(r"(?P<process>\d+) +(?P<call>\w+)\(\d+<(?P<path>[^>]*)>.*?(?: = (?P<size>\d+)|<unfinished \.\.\.>)$")
RESUMED = re.compile(r"(?P<process>\d+) +<\.\.\. (?P<call>\w+) resumed>.* = (?P<size>\d+)$")


def bytes_read_of(path: Path, calls: Path) -> int:
    """By all processes, as strace saw them; none has mapped it."""
    waiting: set[str] = set()
    size_bytes = 0
    for line in calls.read_text(errors="replace").splitlines():
        if (match := CALL.match(line)) and match["path"] == str(path):
            assert match["call"] != "mmap"
            size_bytes += int(match["size"] or 0)
            waiting |= set() if match["size"] else {match["process"]}
        elif (match := RESUMED.match(line)) and match["process"] in waiting:
            waiting.remove(match["process"])
            size_bytes += int(match["size"])
    return size_bytes


def test_a_healthy_medium_and_its_image_are_read_once_to_be_identified(catalogue: Catalogue, tmp_path: Path) -> None:
    """Without an archive: the files are copied from the image, which is the only other reading of it."""
    image = ext4_image(tmp_path / "disk.img", written(tmp_path / "tree", {"small": noise(5_000, 1)}), 24)
    with image.open("r+b") as file:
        file.seek(16 * MIB)
        file.write(noise(4 * MIB, 2))
    calls = tmp_path / "calls"
    with faulty_source(image, Plan(), tmp_path / "drive") as drive:
        argv: list[str | Path] = [
            "strace",
            "-f",
            "-y",
            "-qq",
            "-e",
            "trace=read,pread64,preadv,preadv2,mmap",
            "-o",
            calls,
        ]
        argv += [sys.executable, "-m", "ntt", "ingest", "--effort", "normal", "--no-archive", drive.path]
        argv += ["--home", catalogue.home, "--database", catalogue.url]
        done = subprocess.run(argv, capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        size_bytes = image.stat().st_size
        assert difference(((0, size_bytes),), drive.counters().read_once) == ()
        assert drive.counters().bytes_read <= size_bytes + KNOWN_AGAIN_BYTES
    read_bytes = bytes_read_of(image_of(catalogue), calls)
    assert size_bytes <= read_bytes <= 1.2 * size_bytes, "hashed once while it was written; then samples, lists, files"
