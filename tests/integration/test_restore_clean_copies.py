"""A damaged file is restored from a whole one only where nothing but that can be meant."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sketches import ROOT, Catalogue, Sketch, open_catalogue

from ntt.operations.restore import RestoreReport, restore

WHOLE = bytes(range(256)) * 40


@pytest.fixture
async def catalogue(database_url: str, home: Path) -> AsyncIterator[Catalogue]:
    async with open_catalogue(database_url, home) as opened:
        yield opened


async def restored(catalogue: Catalogue, bad: Sketch, good: Sketch, target: Path) -> RestoreReport:
    medium = await catalogue.medium("bad", {0: bad})
    await catalogue.medium("good", {0: good})
    return await restore(
        catalogue.database, catalogue.store, medium, target,
        pattern=None, devices=False, setuid=False, advance=lambda files, size: None, clean_copies=True,
    )  # fmt: skip


def with_hole(data: bytes, start: int, end: int) -> bytes:
    return data[:start] + bytes(end - start) + data[end:]


async def test_every_name_of_the_file_gets_the_whole_content_with_its_own_times(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    bad, good = Sketch(), Sketch()
    hit = bad.file(ROOT, b"hit", with_hole(WHOLE, 10, 20), damaged=((10, 20),), mtime=(1_100_000_000, 7), mode=0o640)
    bad.name_again(ROOT, b"again", hit)
    good.file(ROOT, b"whole", WHOLE)
    report = await restored(catalogue, bad, good, tmp_path / "out")
    assert (tmp_path / "out" / "hit").read_bytes() == (tmp_path / "out" / "again").read_bytes() == WHOLE
    status = (tmp_path / "out" / "hit").stat()
    assert (status.st_mtime_ns, status.st_mode & 0o777) == (1_100_000_000_000_000_007, 0o640)
    assert (report.replaced_total, report.damaged_total, report.complete) == (1, 0, False)


async def test_of_two_contents_that_agree_none_is_taken(catalogue: Catalogue, tmp_path: Path) -> None:
    bad, good = Sketch(), Sketch()
    cut = with_hole(WHOLE, 100, 200)
    bad.file(ROOT, b"hit", cut, damaged=((100, 200),))
    for number in range(25):
        good.file(ROOT, b"whole %d" % number, WHOLE)
    good.file(ROOT, b"another", WHOLE[:120] + b"another" + WHOLE[127:])
    report = await restored(catalogue, bad, good, tmp_path / "out")
    assert (tmp_path / "out" / "hit").read_bytes() == cut
    (note,) = report.damaged
    assert note.reason.endswith("2 different contents agree with what was read of it: none was taken")
    assert report.replaced_total == 0


async def test_a_copy_that_agrees_in_nothing_but_one_byte_over_and_over_is_not_taken(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    bad, good = Sketch(), Sketch()
    bad.file(ROOT, b"hit", bytes(1000), damaged=((500, 1000),))
    good.file(ROOT, b"whole", bytes(500) + b"x" * 500)
    report = await restored(catalogue, bad, good, tmp_path / "out")
    assert (tmp_path / "out" / "hit").read_bytes() == bytes(1000)
    assert "one byte over and over" in report.damaged[0].reason


async def test_a_damaged_copy_is_never_taken(catalogue: Catalogue, tmp_path: Path) -> None:
    bad, good = Sketch(), Sketch()
    bad.file(ROOT, b"hit", with_hole(WHOLE, 10, 20), damaged=((10, 20),))
    good.file(ROOT, b"hit too", with_hole(WHOLE, 15, 18), damaged=((15, 18),))
    report = await restored(catalogue, bad, good, tmp_path / "out")
    assert (tmp_path / "out" / "hit").read_bytes() == with_hole(WHOLE, 10, 20)
    assert (report.replaced_total, report.damaged_total) == (0, 1)
