"""Where a name or a content is: every medium and path, whatever bytes the name is made of."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from blake3 import blake3
from sketches import ROOT, Catalogue, Sketch, open_catalogue

from ntt.contents_text import where_lines
from ntt.db.name_globs import parse_glob
from ntt.errors import UsageError
from ntt.operations.where import Place, Where, where

ALPHABET = (b"a", b"b", b"?", b"*", b"\\", b"\xe9", "é".encode(), "€".encode(), b"\xff", b"3", b"0", b"%", b"_", b"\n")
ASKED = (
    "a*", "*a", "?", "??", "*?3*", r"*\xe9", "é?", r"\?*", r"\**", "*0", "a?b", "%*", "_?", r"*\\*", "*é*", "*3*0",
    r"\xff*", "*",
)  # fmt: skip


@pytest.fixture
async def catalogue(database_url: str, home: Path) -> AsyncIterator[Catalogue]:
    async with open_catalogue(database_url, home) as opened:
        yield opened


async def find(catalogue: Catalogue, asked: str, kind: str | None = None, limit: int = 100) -> Where:
    return await where(catalogue.database, asked, kind, limit)


async def paths(catalogue: Catalogue, asked: str) -> list[bytes]:
    (search,) = (await find(catalogue, asked, "name")).searches
    return [place.raw for place in search.places]


async def two_media(catalogue: Catalogue) -> None:
    first, second = Sketch(), Sketch()
    letters = first.directory(first.directory(ROOT, b"old"), b"Letters")
    shared = first.file(letters, b"report.doc", b"shared")
    first.name_again(ROOT, b"link to it", shared)
    first.file(letters, b"Raport 1.doc", b"other")
    first.file(letters, b"caf\xe9.txt", b"latin")
    first.file(letters, b"half", b"damaged", damaged=((0, 2),))
    first.file(letters, b"lost.doc", None, reason="unread")
    second.file(ROOT, b"report.doc", b"another report")
    second.file(ROOT, b"copy", b"shared")
    second.special(ROOT, b"report.lnk", stat.S_IFLNK, b"report.doc")
    await catalogue.medium("first", {0: first})
    await catalogue.medium("second", {1: second})


async def test_a_name_is_found_on_every_medium_with_its_path_and_what_became_of_it(catalogue: Catalogue) -> None:
    await two_media(catalogue)
    (search,) = (await find(catalogue, "report.doc")).searches
    assert (search.by, search.more) == ("name", False)
    assert {(p.human, p.volume, p.raw, p.type, p.status, p.blob) for p in search.places} == {
        ("first", 0, b"old/Letters/report.doc", "file", "copied", blake3(b"shared").hexdigest()),
        ("second", 1, b"report.doc", "file", "copied", blake3(b"another report").hexdigest()),
    }
    (lost,) = (await find(catalogue, "lost.doc")).searches[0].places
    assert (lost.status, lost.blob) == ("failed", "")
    assert not (await find(catalogue, "report.do")).found


async def test_globs_find_beginnings_ends_and_middles(catalogue: Catalogue) -> None:
    await two_media(catalogue)
    assert sorted(await paths(catalogue, "report*")) == [b"old/Letters/report.doc", b"report.doc", b"report.lnk"]
    assert sorted(await paths(catalogue, "*.doc")) == sorted(
        [b"old/Letters/Raport 1.doc", b"old/Letters/lost.doc", b"old/Letters/report.doc", b"report.doc"]
    )
    assert sorted(await paths(catalogue, "*?aport*")) == [b"old/Letters/Raport 1.doc"]
    assert sorted(await paths(catalogue, "r?port.do?")) == [b"old/Letters/report.doc", b"report.doc"]
    assert await paths(catalogue, r"caf\xe9.txt") == await paths(catalogue, "caf?.txt") == [b"old/Letters/caf\xe9.txt"]


async def test_a_name_that_is_no_text_is_told_exactly_and_shown_escaped(catalogue: Catalogue) -> None:
    sketch = Sketch()
    sketch.file(ROOT, b"evil\x1b[2J\xff", b"x")
    await catalogue.medium("evil", {0: sketch})
    report = await find(catalogue, "evil*")
    (place,) = report.searches[0].places
    assert (place.raw, place.path_b64 is not None) == (b"evil\x1b[2J\xff", True)
    assert any(r"evil\x1b[2J\xff" in line for line in where_lines(report))
    assert not any("\x1b" in line for line in where_lines(report))


async def test_a_glob_matches_what_a_regular_expression_over_bytes_matches(catalogue: Catalogue) -> None:
    """The other implementation: Python's, over all names of up to three pieces."""
    names = {a + b + c for a in ALPHABET for b in (b"", *ALPHABET) for c in (b"", *ALPHABET)}
    sketch = Sketch()
    for name in names:
        sketch.file(ROOT, name, None, reason="none")
    await catalogue.medium("all", {0: sketch})
    character = rb"(?:[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}|.)"
    unescaped = {rb"\\": b"\\", rb"\*": b"*", rb"\?": b"?", rb"\xe9": b"\xe9", rb"\xff": b"\xff"}
    for asked in ASKED:
        parts = re.split(rb"(\\\\|\\\*|\\\?|\\xe9|\\xff|\*|\?)", asked.encode())
        wild = {b"*": b".*", b"?": character}
        expected = b"".join(wild.get(part) or re.escape(unescaped.get(part, part)) for part in parts)
        matching = {name for name in names if re.fullmatch(expected, name, re.DOTALL)}
        (search,) = (await find(catalogue, asked, "name", limit=10_000)).searches
        assert {place.raw for place in search.places} == matching, asked


async def test_a_content_is_found_by_its_hash_by_how_that_begins_and_by_a_file(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    await two_media(catalogue)
    blob = blake3(b"shared").hexdigest()
    expected = {("first", b"old/Letters/report.doc"), ("first", b"link to it"), ("second", b"copy")}
    for asked in (blob, blob.upper(), blob[:8], blob[:9]):
        search = (await find(catalogue, asked)).searches[0]
        assert (search.by, search.blob, search.size) == ("blob", blob, 6)
        assert {(place.human, place.raw) for place in search.places} == expected
    here = tmp_path / "here"
    here.write_bytes(b"shared")
    (search,) = (await find(catalogue, str(here))).searches
    assert (search.by, {(place.human, place.raw) for place in search.places}) == ("file", expected)
    here.write_bytes(b"nowhere")
    (search,) = (await find(catalogue, str(here))).searches
    assert (search.stored, search.blob) == (False, blake3(b"nowhere").hexdigest())


async def test_damaged_contents_say_so(catalogue: Catalogue) -> None:
    await two_media(catalogue)
    (place,) = (await find(catalogue, blake3(b"damaged").hexdigest())).searches[0].places
    assert (place.raw, place.status) == (b"old/Letters/half", "damaged")


async def test_a_name_that_looks_like_a_hash_is_looked_for_both_ways(catalogue: Catalogue) -> None:
    sketch = Sketch()
    sketch.file(ROOT, b"deadbeef", b"x")
    await catalogue.medium("hex", {0: sketch})
    content, name = (await find(catalogue, "deadbeef")).searches
    assert (content.by, content.stored, name.by, len(name.places)) == ("blob", False, "name", 1)


async def test_an_ambiguous_hash_lists_the_candidates(catalogue: Catalogue) -> None:
    sketch = Sketch()
    for number in range(40):
        sketch.file(ROOT, b"%d" % number, b"%d" % number)
    await catalogue.medium("many", {0: sketch})
    firsts = [blake3(b"%d" % number).hexdigest()[0] for number in range(40)]  # more than there are digits
    with pytest.raises(UsageError, match=r"ambiguous: [0-9a-f]{64}, [0-9a-f]{64}"):
        await find(catalogue, max(firsts, key=firsts.count), "blob")


async def test_no_more_is_listed_than_was_asked_for_and_that_is_said(catalogue: Catalogue) -> None:
    await two_media(catalogue)
    report = await find(catalogue, "*", limit=3)
    assert (len(report.searches[0].places), report.searches[0].more) == (3, True)
    assert any("--limit" in line for line in where_lines(report))
    with pytest.raises(UsageError):
        await find(catalogue, "*", limit=0)


@pytest.mark.parametrize("asked", ["no/such/file", "", "\0/x"])
async def test_what_can_be_nothing_is_refused(catalogue: Catalogue, asked: str) -> None:
    with pytest.raises(UsageError):
        await find(catalogue, asked)


async def test_only_a_regular_file_has_a_content(catalogue: Catalogue, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError):
            await find(catalogue, str(path), "file")


@pytest.mark.parametrize("asked", ["report.doc", "report*", "a name that is longer than the key*"])
async def test_exact_names_and_beginnings_are_found_by_the_index(catalogue: Catalogue, asked: str) -> None:
    sketch = Sketch()
    for number in range(3_000):
        sketch.file(ROOT, b"other %d" % number, None, reason="none")
    await catalogue.medium("many", {0: sketch})
    before = await scans(catalogue)
    assert not (await find(catalogue, asked, "name")).found
    assert await scans(catalogue) == before
    assert not (await find(catalogue, f"*{asked}", "name")).found
    assert await scans(catalogue) == before + 1


async def scans(catalogue: Catalogue) -> int:
    """Of all names from the first to the last, counted by the server itself."""
    async with catalogue.database.connection() as connection:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        await connection.fetchval("SELECT 1")
        count: int = await connection.fetchval("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'name'")
    return count


def test_a_place_keeps_the_bytes_of_its_path() -> None:
    assert Place("m", "h", 0, 1, "caf\ufffd", "file", 1, path_b64="Y2Fm6Q==").raw == b"caf\xe9"
    assert parse_glob(rb"caf\xe9").exact == b"caf\xe9"
