"""docs/filesystems.md: every layout and file system by every route against what was written; written anew by this test.

`NTT_WRITE_PAGE=1 pytest tests/integration/test_filesystems.py` writes the page, which is then to be looked at.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import pytest
from catalogue import Catalogue
from database_server import TEMPLATE, DatabaseServer
from filesystem_catalogue import catalogued
from filesystem_matrix import Matrix, found_out, label, ways
from filesystem_page import DEFAULTS, PAGE, merged, page, rows_of, without_what_was_not_measured
from filesystem_readers import BESIDE
from filesystem_verdicts import NONE, YES

from ntt.model import Route
from ntt.routes import ORDER, disagreement

pytestmark = pytest.mark.slow
WRITE = os.environ.get("NTT_WRITE_PAGE") == "1"


@pytest.fixture(scope="module")
def matrix(database_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    return found_out(database_server, tmp_path_factory.mktemp("matrix"))


def test_the_page_says_what_this_machine_finds(matrix: Matrix) -> None:
    committed_text = PAGE.read_text() if PAGE.exists() else ""
    committed = rows_of(committed_text)
    if WRITE:
        PAGE.write_text(page(merged(matrix.rows, committed)))
        return
    found = page(without_what_was_not_measured(matrix.rows, committed))
    differences = difflib.unified_diff(
        committed_text.splitlines(), found.splitlines(), "committed", "found", n=0, lineterm=""
    )
    assert found == committed_text, "\n".join(differences)


def test_a_page_that_was_written_is_read_back_as_it_was(matrix: Matrix) -> None:
    rows = matrix.rows
    text = page(rows)
    again = rows_of(text)
    assert list(again) == list(rows)
    assert page(again) == text


def test_what_ntts_own_readers_say_is_right(matrix: Matrix) -> None:
    titles = {table.title for table in DEFAULTS}
    wrong = {
        key: cells
        for key, cells in matrix.rows.items()
        if key[0] in titles and Route.FUSE not in key and ":" not in key[2] and key[2] not in ("", "7z")
        if any(cell not in (YES, NONE) for cell in cells[:4]) or "wrong" in cells[4].word
    }
    assert wrong == {}


def test_a_route_is_taken_in_its_turn_with_and_without_root(matrix: Matrix) -> None:
    for medium in matrix.all_media:
        expected = [(side.fstype, _first(matrix, medium.name, side.fstype, root=True)) for side in medium.sides]
        volumes = matrix.by_default[medium.name]
        assert [(volume.fstype, volume.route) for volume in volumes] == expected, medium.name
        for side, volume in zip(medium.sides, matrix.ordinary.get(medium.name, ()), strict=False):
            assert volume.route == _first(matrix, medium.name, side.fstype, root=False), medium.name


def _first(matrix: Matrix, name: str, fstype: str, *, root: bool) -> str:
    """The first route that this machine has and that does not refuse the medium when it is forced."""
    if fstype in ("apfs", "amiga"):
        return "none"  # there is no route that takes those here
    for route in ways(fstype):
        forced = matrix.forced.get((name, route))
        if route.is_reader or (forced is not None and forced.status == "read" and (root or route is not Route.KERNEL)):
            return route.value
    return "none"


def test_an_ordinary_user_gets_the_same_files(matrix: Matrix) -> None:
    read = 0
    for medium in matrix.all_media:
        for side, volume in zip(medium.sides, matrix.ordinary.get(medium.name, ()), strict=False):
            if volume.status != "read":
                continue
            read += 1
            route = Route(volume.route)
            by_root = matrix.by_default[medium.name][0] if route.is_reader else matrix.forced[medium.name, route]
            assert {path: item.blob for path, item in volume.tree.items()} == {
                path: item.blob for path, item in by_root.tree.items()
            }, medium.name
            assert matrix.verdict_of(side, volume, NONE) == matrix.verdict_of(side, by_root, NONE), medium.name
    assert read > 20


def test_each_mount_is_made_by_the_driver_that_the_page_names(matrix: Matrix) -> None:
    fstypes = {medium.name: medium.sides[0].fstype for medium in matrix.all_media}
    for (name, route), placed in matrix.placed.items():
        if placed.how:
            assert label(route, fstypes[name]) in (f"{route.value}: {placed.how}", placed.how), name


def test_iso_ext4_ntfs_and_fat_stand_beside_two_other_readers(matrix: Matrix) -> None:
    for name in ("ext4", "NTFS", "FAT12", "FAT16", "FAT32", *(name for name in BESIDE if name.startswith("ISO"))):
        assert len(BESIDE[name]) >= 2
        assert any(matrix.beside[name, reader].contents == YES for reader in BESIDE[name]), name
    # where both list a file with two contents, it is not NTT that is alone: see the test of its own readers
    assert {
        (name, reader) for name, reader in matrix.disagreeing if matrix.beside[name, reader].contents == YES
    } == set()
    alone = {(name, path) for (name, _), paths in matrix.disagreeing.items() for path in paths}
    for name, path in alone:
        others = [reader for reader in BESIDE[name] if path not in matrix.disagreeing.get((name, reader), [])]
        assert others or name == "HFS+", f"{name}: {path!r}: every other reader has another content"


def test_every_file_system_that_has_a_route_has_a_medium(matrix: Matrix) -> None:
    assert set(ORDER) <= {side.fstype for medium in matrix.all_media for side in medium.sides}


def test_the_rules_of_disagreement_are_those_that_the_page_tells() -> None:
    assert disagreement(0, 1, "")
    assert disagreement(10, 10, "the reason")
    assert not disagreement(100, 116, "")
    assert disagreement(100, 117, "")
    assert not disagreement(950, 1000, "")
    assert disagreement(949, 1000, "")
    assert not disagreement(10, None, "")


def test_only_the_named_route_is_taken(matrix: Matrix, database_server: DatabaseServer, tmp_path: Path) -> None:
    (bridge,) = (medium for medium in matrix.all_media if medium.name.startswith("bridge"))
    with database_server.database(TEMPLATE) as url:
        ((iso, udf),) = catalogued(Catalogue(tmp_path / "home", url), [bridge.image], Route.UDF)
    assert (iso.status, iso.tree) == ("finding", {})
    assert "NTT_ONLY_ROUTE" in iso.next_step
    assert (udf.status, udf.route) == ("read", "udf")
    assert udf.tree == matrix.by_default[bridge.name][1].tree
