"""Three hundred media, forty of them broken at random: exactly those are found, mended as far as can be, and undone."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from filed_media import Filed, digest, filed, flip, location, repaired, rows
from sketches import Catalogue, open_catalogue

from ntt.db.undo import undo
from ntt.operations.audit import AuditReport, audit
from ntt.operations.findings import Finding
from ntt.store.packs import seal

MEDIA = 300
BREAKS = 40
SEED = 20261
Key = tuple[str, str]  # kind, and what it concerns


@dataclass(frozen=True, slots=True)
class Broken:
    """What an audit must say of a break, and what must be left of it after a repair."""

    found: tuple[Key, ...]
    left: tuple[Key, ...] = ()


Break = Callable[[Catalogue, Filed], Awaitable[Broken]]


def key_of(finding: Finding) -> Key:
    return finding.kind, finding.medium_hash or finding.blob or str(finding.pack_id)


def path(text: str | None) -> Path:
    assert text is not None
    return Path(text)


# ---------------------------------------------------------------- of media with an archive


async def all_stamps_gone(catalogue: Catalogue, one: Filed) -> Broken:
    statement = "UPDATE medium SET enum_done = NULL, copy_done = NULL, archive_done = NULL WHERE id = $1"
    await catalogue.execute(statement, one.medium.id)
    return Broken((("unstamped_rows", one.medium.medium_hash), ("archive_unstamped", one.medium.medium_hash)))


async def two_stamps_gone(catalogue: Catalogue, one: Filed) -> Broken:
    await catalogue.execute("UPDATE medium SET copy_done = NULL, archive_done = NULL WHERE id = $1", one.medium.id)
    return Broken((("complete_unstamped", one.medium.medium_hash), ("archive_unstamped", one.medium.medium_hash)))


async def an_inode_gone(catalogue: Catalogue, one: Filed) -> Broken:
    await catalogue.execute("DELETE FROM node WHERE medium_id = $1 AND ino = $2", one.medium.id, one.ino(1))
    return Broken((("name_without_node", one.medium.medium_hash), ("outcome_without_file", one.medium.medium_hash)))


async def a_file_gone_altogether(catalogue: Catalogue, one: Filed) -> Broken:
    for table in ("node", "name", "outcome"):
        await catalogue.execute(f"DELETE FROM {table} WHERE medium_id = $1 AND ino = $2", one.medium.id, one.ino(1))
    blob = digest(one.files[1][1]).hex()
    return Broken((("rows_missing", one.medium.medium_hash), ("blob_unreferenced", blob)))


async def an_outcome_gone(catalogue: Catalogue, one: Filed) -> Broken:
    await catalogue.execute("DELETE FROM outcome WHERE medium_id = $1 AND ino = $2", one.medium.id, one.ino(2))
    blob = digest(one.files[2][1]).hex()
    return Broken((("stamped_incomplete", one.medium.medium_hash), ("blob_unreferenced", blob)))


async def a_time_altered(catalogue: Catalogue, one: Filed) -> Broken:
    await catalogue.execute("UPDATE node SET mtime_s = 5 WHERE medium_id = $1 AND ino = $2", one.medium.id, one.ino(0))
    return Broken((("rows_differ", one.medium.medium_hash),))


async def the_archive_gone(catalogue: Catalogue, one: Filed) -> Broken:
    path(one.medium.archive_path).unlink()
    return Broken((("archive_missing", one.medium.medium_hash),))


async def the_archive_cut_short(catalogue: Catalogue, one: Filed) -> Broken:
    archive = path(one.medium.archive_path)
    os.truncate(archive, archive.stat().st_size // 2)
    left = ("archive_unstamped", one.medium.medium_hash)
    return Broken((("archive_size", one.medium.medium_hash),), (left,))


async def the_archive_flipped(catalogue: Catalogue, one: Filed) -> Broken:
    archive = path(one.medium.archive_path)
    archive.chmod(0o644)
    with archive.open("r+b") as file:
        file.seek(archive.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0xFF]))
    archive.chmod(0o444)
    left = ("archive_unstamped", one.medium.medium_hash)
    return Broken((("archive_wrong", one.medium.medium_hash),), (left,))


# ---------------------------------------------------------------- of any medium


async def an_attempt_left_open(catalogue: Catalogue, one: Filed) -> Broken:
    await catalogue.execute(
        """INSERT INTO stage_run (medium_id, stage, run_id, host, pid) VALUES ($1, 'archive', 'dead', 'here', 4711)""",
        one.medium.id,
    )
    return Broken((("attempt_open", one.medium.medium_hash),))


async def stamps_of_an_image_gone(catalogue: Catalogue, one: Filed) -> Broken:
    await catalogue.execute("UPDATE medium SET enum_done = NULL, copy_done = NULL WHERE id = $1", one.medium.id)
    return Broken((("unstamped_rows", one.medium.medium_hash),))


async def a_content_row_gone(catalogue: Catalogue, one: Filed) -> Broken:
    await catalogue.execute("DELETE FROM blob WHERE hash = $1", digest(one.files[1][1]))
    blob = digest(one.files[1][1]).hex()
    return Broken((("unknown_blob", blob), ("blob_row_missing", one.medium.medium_hash)))


async def a_content_flipped(catalogue: Catalogue, one: Filed) -> Broken:
    flip(catalogue, await location(catalogue, one.files[3][1]), 17)
    return Broken((("blob_damaged", digest(one.files[3][1]).hex()),))


async def a_header_flipped(catalogue: Catalogue, one: Filed) -> Broken:
    flip(catalogue, await location(catalogue, one.files[2][1]), -500)
    return Broken((("member_differs", digest(one.files[2][1]).hex()),))


async def a_content_flipped_and_no_image(catalogue: Catalogue, one: Filed) -> Broken:
    flip(catalogue, await location(catalogue, one.files[3][1]), 17)
    path(one.medium.image_path).unlink()
    blob, gone = digest(one.files[3][1]).hex(), ("image_missing", one.medium.medium_hash)
    return Broken((("blob_damaged", blob), gone), (("unknown_blob", blob), gone))


async def an_inode_of_an_image_gone(catalogue: Catalogue, one: Filed) -> Broken:
    broken = await an_inode_gone(catalogue, one)
    return Broken(broken.found, (*broken.found, ("unstamped_rows", one.medium.medium_hash)))


async def a_summary_that_lies(catalogue: Catalogue, one: Filed) -> Broken:
    await catalogue.execute("UPDATE medium SET problems = '{\"skip_count\": 1}' WHERE id = $1", one.medium.id)
    return Broken((("summary_stale", one.medium.medium_hash),))


# ---------------------------------------------------------------- of the media with a large file


async def a_large_file_gone(catalogue: Catalogue, one: Filed) -> Broken:
    blob = digest(one.files[-1][1])
    catalogue.store.blob_path(blob).unlink()
    return Broken((("blob_missing", blob.hex()),))


async def a_large_file_cut(catalogue: Catalogue, one: Filed) -> Broken:
    blob = digest(one.files[-1][1])
    os.truncate(catalogue.store.blob_path(blob), 1000)
    return Broken((("blob_size", blob.hex()),))


ARCHIVED: tuple[Break, ...] = (
    all_stamps_gone, two_stamps_gone, an_inode_gone, a_file_gone_altogether, an_outcome_gone, a_time_altered,
    the_archive_gone, the_archive_cut_short, the_archive_flipped, an_attempt_left_open, a_content_flipped,
    a_summary_that_lies,
)  # fmt: skip
IMAGED: tuple[Break, ...] = (
    an_attempt_left_open, stamps_of_an_image_gone, a_content_row_gone, a_content_flipped, a_header_flipped,
    a_content_flipped_and_no_image, an_inode_of_an_image_gone, a_summary_that_lies,
)  # fmt: skip
LARGE: tuple[Break, ...] = (a_large_file_gone, a_large_file_cut)


@pytest.fixture
async def catalogue(database_url: str, home: Path) -> AsyncIterator[Catalogue]:
    async with open_catalogue(database_url, home) as opened:
        yield opened


async def audited(catalogue: Catalogue) -> AuditReport:
    work = catalogue.archives.parent / "work"
    return await audit(catalogue.database, catalogue.store, catalogue.archives, medium=None, work_dir=work, deep=True)


async def seal_the_pack(catalogue: Catalogue) -> int:
    """What comes next goes to another one."""
    async with catalogue.database.connection() as connection:
        row = await connection.fetchrow("SELECT id, committed_bytes FROM pack WHERE NOT sealed")
        assert row is not None
        seal(catalogue.store, row["id"], row["committed_bytes"])
        await connection.execute("UPDATE pack SET sealed = true WHERE id = $1", row["id"])
    pack_id: int = row["id"]
    return pack_id


async def break_packs(catalogue: Catalogue, short: Filed, lost_id: int, short_id: int) -> list[Broken]:
    """One pack is deleted, one ends in its last member."""
    catalogue.store.pack_path(lost_id).unlink()
    last = await location(catalogue, short.files[-1][1])
    assert last.pack_offset is not None
    os.truncate(catalogue.store.pack_path(short_id), last.pack_offset + 5)
    blob = digest(short.files[-1][1]).hex()
    return [Broken((("pack_missing", str(lost_id)),)), Broken((("pack_short", str(short_id)), ("blob_missing", blob)))]


@pytest.mark.slow
async def test_forty_breaks_are_found_mended_told_and_undone(catalogue: Catalogue, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    media: list[Filed] = []
    packs: list[int] = []
    for number in range(MEDIA):
        large = number in (20, 21)
        media.append(await filed(catalogue, tmp_path, number, archived=number % 8 == 0, files=4, large=large))
        if number in (1, 3, 150):  # the first two packs hold two media each
            packs.append(await seal_the_pack(catalogue))
    assert (await audited(catalogue)).totals == {}

    broken = await break_packs(catalogue, media[3], packs[0], packs[1])
    for one, how in zip((media[20], media[21]), LARGE, strict=True):
        broken.append(await how(catalogue, one))
    left_over = [number for number in range(4, MEDIA) if number not in (20, 21)]
    archived = chance.sample([number for number in left_over if number % 8 == 0], 20)
    imaged = chance.sample([number for number in left_over if number % 8], BREAKS - len(broken) - len(archived))
    for at, number in enumerate(archived):
        broken.append(await ARCHIVED[at % len(ARCHIVED)](catalogue, media[number]))
    for at, number in enumerate(imaged):
        broken.append(await IMAGED[at % len(IMAGED)](catalogue, media[number]))
    assert len(broken) == BREAKS
    before = await rows(catalogue)

    found = await audited(catalogue)
    assert Counter(map(key_of, found.findings)) == Counter(key for one in broken for key in one.found)

    report = await repaired(catalogue, deep=True)
    expected_left = Counter(key for one in broken for key in one.left)
    assert Counter(map(key_of, report.left)) == expected_left, report.refusals
    assert all(finding.next_step for finding in report.left)
    again = await audited(catalogue)
    assert again.findings == report.left

    assert report.undo is not None
    undone = await undo(catalogue.database, Path(report.undo))
    assert undone.skipped == 0, undone.examples
    assert await rows(catalogue) == before
