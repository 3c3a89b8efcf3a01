"""What the unread bytes of a medium mean, in `ntt problems`: one sentence, places, passes, and what to do next."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import msgspec
import pytest
from sketches import ROOT, Catalogue, Sketch, open_catalogue

from ntt.damage_text import problems_lines
from ntt.db.damage import Damage
from ntt.db.media import Media, Medium
from ntt.db.summary import Problems
from ntt.ingest_text import ingest_lines
from ntt.map_text import head_lines
from ntt.model import PassEnd, PassRecord
from ntt.operations.ingest_report import MediumReport, RunFacts, medium_report
from ntt.operations.problems import ProblemsReport, problems_report
from ntt.operations.status import media_list
from ntt.operations.surface import surface_maps
from ntt.ranges import Ranges, total

DRIVE = {"vendor": "ACME\x1b[5m", "model": "DVD \x1b]0;owned\x07", "serial": "S1", "bridge": "0bda:9210"}
CONTENT = bytes(range(256)) * 8


@pytest.fixture
async def catalogue(database_url: str, home: Path) -> AsyncIterator[Catalogue]:
    async with open_catalogue(database_url, home) as opened:
        yield opened


def one_pass(end: PassEnd, began_s: float = 1_000_000, **more: str | dict[str, str]) -> PassRecord:
    """A pass that read 4,096 of 8,192 bytes in two minutes."""
    given: dict[str, object] = {
        "name": "everything", "source": "/dev/sr 0", "began_s": began_s, "seconds": 125.0, "wanted_bytes": 8192,
        "rescued_before": 0, "rescued_after": 4096, "bad_bytes": 512, "read_errors": 3, "end": end, **more,
    }  # fmt: skip
    return msgspec.convert(given, PassRecord)


async def make_unread(catalogue: Catalogue, medium: Medium, unread: Ranges, used: Ranges | None = ()) -> None:
    """Its volume, which is 1 MiB at 0, keeps an account of its space unless `used` is None."""
    as_range = [asyncpg.Range(*one) for one in unread]
    account = None if used is None else [asyncpg.Range(*one) for one in used]
    await catalogue.execute(
        "UPDATE medium SET unread = $2, unread_bytes = $3 WHERE id = $1", medium.id, as_range, total(unread)
    )
    await catalogue.execute("UPDATE volume SET unread_used = $2 WHERE medium_id = $1", medium.id, account)


async def lose(catalogue: Catalogue, medium: Medium, what: str, ino: int, ranges: Ranges, spare: bool = False) -> None:
    await catalogue.execute(
        "INSERT INTO unread_structure VALUES ($1, 0, $2, $3, $4, $5)",
        medium.id, ino, what, spare, [asyncpg.Range(*one) for one in ranges],
    )  # fmt: skip


async def reported(catalogue: Catalogue, medium: Medium) -> ProblemsReport:
    again = await Media(catalogue.database).by_id(medium.id)
    return await problems_report(catalogue.database, again, catalogue.store)


async def with_one_file(catalogue: Catalogue, damaged: Ranges = ()) -> Medium:
    sketch = Sketch()
    sketch.file(ROOT, b"file", CONTENT, damaged=damaged)
    return await catalogue.medium("disc", {0: sketch})


async def test_unread_free_space_is_harmless_and_said_to_be(catalogue: Catalogue) -> None:
    medium = await with_one_file(catalogue)
    await make_unread(catalogue, medium, ((4096, 8192), (10240, 10752)))
    await lose(catalogue, medium, "journal", 8, ((10240, 10752),), spare=True)
    await Damage(catalogue.database).record(medium.id, [one_pass(PassEnd.FINISHED)])
    report = await reported(catalogue, medium)
    assert report.files_whole
    assert report.unread == {"spare": 512, "free": 4096}
    assert report.damage.verdict == (
        "all files are whole; the unread bytes lie in free space and in second copies and journals: harmless"
    )
    (step,) = report.damage.next_steps
    assert "`ntt ingest --free-space '/dev/sr 0'`" in step
    text = "\n".join(problems_lines(report))
    assert "4,608 bytes of the medium were not read" in text
    assert "  4,096 bytes in free space" in text


async def test_a_directory_that_was_not_read_is_named_with_what_it_lacks(catalogue: Catalogue) -> None:
    sketch = Sketch()
    folder = sketch.directory(ROOT, b"photos \x1b[2J\xff")
    other = sketch.directory(ROOT, b"letters")
    sketch.file(ROOT, b"file", CONTENT)
    medium = await catalogue.medium("disc", {0: sketch})
    await make_unread(catalogue, medium, ((4096, 8192), (20480, 20992), (30000, 30100)))
    await lose(catalogue, medium, "directory", folder, ((4096, 6144), (100_000, 200_000)))  # the second was read since
    await lose(catalogue, medium, "directory", other, ((20480, 20992),))
    await lose(catalogue, medium, "inode table", -1, ((30000, 30100),))
    report = await reported(catalogue, medium)
    assert not report.files_whole
    assert report.damage.structures == {"directory": 2560, "inode table": 100}
    assert [(one.raw, one.unread_bytes) for one in report.damage.directories] == [
        (b"photos \x1b[2J\xff", 2048), (b"letters", 512),
    ]  # fmt: skip
    assert report.damage.verdict.startswith("the listing may be incomplete: directories photos ")
    text = "\n".join(problems_lines(report))
    assert "\x1b" not in text
    assert "photos \\x1b[2J\\xff (volume 0): 2,048 bytes not read" in text
    assert "bytes of the file system itself: directory 2,560, inode table 100" in text
    assert "next: clean the medium and read it again" in text


async def test_lost_structures_without_a_directory_leave_the_listing_in_doubt(catalogue: Catalogue) -> None:
    medium = await with_one_file(catalogue, ((0, 512),))
    await make_unread(catalogue, medium, ((4096, 4608),))
    await lose(catalogue, medium, "inode table", -1, ((4096, 4608),))
    verdict = (await reported(catalogue, medium)).damage.verdict
    assert verdict == (
        "the listing may be incomplete: 512 bytes of file systems were not read (inode table); 1 files are damaged"
    )


async def test_where_nobody_knows_what_was_lost_nothing_is_called_whole(catalogue: Catalogue) -> None:
    medium = await with_one_file(catalogue)
    await make_unread(catalogue, medium, ((4096, 4608),), used=None)
    report = await reported(catalogue, medium)
    assert report.unread == {"unknown": 512}
    assert "files may be missing" in report.damage.verdict
    assert "whole" not in report.damage.verdict


@pytest.mark.parametrize(
    ("end", "meaning", "step"),
    [
        (PassEnd.SOURCE_GONE, "did not answer any more", "connect medium and drive again"),
        (PassEnd.NO_SPACE, "the disk with the images is full", "make room on the disk with the images"),
        (PassEnd.HOPELESS, "it would not have ended", "put the medium into another drive"),
        (PassEnd.NO_PROGRESS, "nothing moved for too long", "clean the medium"),
        (PassEnd.FINISHED, "all that was to be tried was tried", "--effort deep"),
        (PassEnd.STOPPED, "stopped by the operator", "was read is not read again"),
    ],
)
async def test_passes_tell_how_they_ended_and_through_what(
    catalogue: Catalogue, end: PassEnd, meaning: str, step: str
) -> None:
    medium = await with_one_file(catalogue, ((0, 512),))
    await make_unread(catalogue, medium, ((4096, 4608),))
    passes = [one_pass(PassEnd.FINISHED, hardware=DRIVE), one_pass(end, 2_000_000, name="files", detail="so \x1b[0m")]
    await Damage(catalogue.database).record(medium.id, passes)
    report = await reported(catalogue, medium)
    assert [(one.name, one.end, one.read_bytes) for one in report.damage.passes] == [
        ("everything", "finished", 4096), ("files", end.value, 4096),
    ]  # fmt: skip
    assert report.damage.passes[0].hardware == DRIVE
    text = "\n".join(problems_lines(report))
    assert not set(text) & {"\x1b", "\x07"}
    for piece in (
        "through /dev/sr 0: vendor ACME\\x1b[5m, model DVD", "serial S1, bridge 0bda:9210", "2 passes over", meaning,
        "first pass: 4,096 of 8,192 bytes read in 2:05 min, 3 read errors; 512 bytes bad",
    ):  # fmt: skip
        assert piece in text
    assert any(step in one for one in report.damage.next_steps), report.damage.next_steps
    assert all("'/dev/sr 0'" in one for one in report.damage.next_steps)


async def test_whole_copies_elsewhere_come_before_reading_again(catalogue: Catalogue) -> None:
    good = Sketch()
    good.file(ROOT, b"whole", CONTENT)
    other = await catalogue.medium("other", {0: good})
    sketch = Sketch()
    sketch.file(ROOT, b"file", bytes(512) + CONTENT[512:], damaged=((0, 512),))
    medium = await catalogue.medium("disc", {0: sketch})
    report = await reported(catalogue, medium)
    assert report.damage.verdict == "1 files are damaged; all other listed files are whole"
    first, *_ = report.damage.next_steps
    assert first == f"1 of the damaged files may be whole on medium {other.medium_hash[:8]}: see each file"


async def test_the_report_of_a_run_says_the_same(catalogue: Catalogue) -> None:
    sketch = Sketch()
    folder = sketch.directory(ROOT, b"folder")
    sketch.file(folder, b"file", CONTENT, damaged=((0, 512),))
    medium = await catalogue.medium("disc \x1b[1m", {0: sketch})
    await make_unread(catalogue, medium, ((4096, 4608),))
    await lose(catalogue, medium, "directory", folder, ((4096, 4608),))
    await Damage(catalogue.database).record(medium.id, [one_pass(PassEnd.FINISHED, hardware=DRIVE)])
    facts = RunFacts(medium.id, "known", changed=True, seconds={}, stored=0, stored_bytes=0, known=0)
    report = await medium_report(catalogue.database, facts)
    text = "\n".join(ingest_lines(report))
    assert not set(text) & {"\x1b", "\x07"}
    for piece in (
        "verdict   0 of 1 files stored whole, 1 damaged, 0 failed; the listing may be incomplete: directory folder",
        "512 bytes of the medium were not read: 512 of the file system itself",
        "pass      through /dev/sr 0: vendor ACME", "first pass: 4,096 of 8,192 bytes read",
        f"`ntt problems {medium.medium_hash[:8]}` looks for whole copies", "tries harder",
    ):  # fmt: skip
        assert piece in text, text
    assert msgspec.json.decode(msgspec.json.encode(report), type=MediumReport) == report


async def test_before_a_medium_is_listed_nobody_knows_what_its_unread_bytes_are_of(catalogue: Catalogue) -> None:
    medium = await with_one_file(catalogue)
    await make_unread(catalogue, medium, ((4096, 8192),))
    assert (await reported(catalogue, medium)).unread == {"free": 4096}
    await catalogue.execute(
        """UPDATE medium SET enum_done = NULL, copy_done = NULL, archive_done = NULL, claimed_bytes = 8192,
               image_bytes = 8192 WHERE id = $1""",
        medium.id,
    )
    await Problems(catalogue.database).refresh(medium.id)
    report = await reported(catalogue, medium)
    assert report.unread == {"unknown": 4096}
    assert not report.files_whole
    assert not report.is_clean
    assert report.damage.verdict == "its files are not listed yet"
    (step,) = report.damage.next_steps
    assert step.startswith("run the same `ntt ingest` again")
    text = "\n".join(problems_lines(report))
    assert "4,096 bytes of which nobody knows what they hold" in text
    again = await Media(catalogue.database).by_id(medium.id)
    (drawn,) = await surface_maps(catalogue.database, again, [4])
    assert (drawn.unread.unknown, drawn.unread.free) == (4096, 0)
    text = "\n".join((text, *head_lines(drawn)))
    assert "it is not listed yet" in text
    assert "harmless" not in text
    assert "free space 0, unknown 4,096" in text
    (line,) = (await media_list(catalogue.database)).media
    assert "to list its files" in line.next_action


async def test_what_went_well_when_it_was_tried_again_is_told_and_a_medium_is_clean_only_without(
    catalogue: Catalogue,
) -> None:
    medium = await with_one_file(catalogue)
    report = await reported(catalogue, medium)
    assert report.is_clean
    assert "nothing was found wrong with its files" in list(problems_lines(report))
    await catalogue.execute(
        """INSERT INTO diagnostic_event (at, medium_id, volume, ino, retry_count, checks, action, worker_id)
           VALUES (now(), $1, 0, 3, 1, '{detected_io_error}', 'skipped', 'w')""",
        medium.id,
    )
    await Problems(catalogue.database).refresh(medium.id)
    report = await reported(catalogue, medium)
    assert not report.is_clean, "exit 1"
    text = "\n".join(problems_lines(report))
    assert "1 times reading went wrong, and was well when it was tried again" in text
    assert "nothing was found wrong" not in text


async def test_a_medium_that_is_not_copied_yet_is_not_said_to_be_well(catalogue: Catalogue) -> None:
    sketch = Sketch()
    sketch.file(ROOT, b"file", None)
    report = await reported(catalogue, await catalogue.medium("disc", {0: sketch}))
    assert not report.is_clean
    text = "\n".join(problems_lines(report))
    assert "not all of its files are copied yet" in text
    assert "nothing was found wrong" not in text


async def test_a_file_in_doubt_is_whole_elsewhere_where_its_very_content_was_copied_whole(catalogue: Catalogue) -> None:
    good = Sketch()
    good.file(ROOT, b"whole", CONTENT)
    other = await catalogue.medium("other", {0: good})
    sketch = Sketch()
    sketch.file(ROOT, b"same", CONTENT, damaged=((0, len(CONTENT)),), reason="may hold what was not read")
    sketch.file(ROOT, b"else", bytes(len(CONTENT)), damaged=((0, len(CONTENT)),), reason="may hold what was not read")
    report = await reported(catalogue, await catalogue.medium("disc", {0: sketch}))
    assert [(file.path, file.in_doubt, file.damaged_bytes) for file in report.files] == [
        ("same", True, 0), ("else", True, 0),
    ]  # fmt: skip
    assert [[copy.medium_hash for copy in file.clean_copies] for file in report.files] == [[other.medium_hash], []]
    assert report.damage.verdict == "2 files may be damaged; all other listed files are whole"
    assert "2 files in doubt" in list(problems_lines(report))
