"""`ntt problems` as it is typed: words, status and documents agree, and no file of the user's is overwritten."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from catalogue import Catalogue, Ended
from database_server import TEMPLATE, DatabaseServer
from media_images import found_at, iso_image, map_of, noise, written

LETTER = noise(50_000, 7)


@dataclass(frozen=True, slots=True)
class Two:
    """A damaged medium, and a whole one that holds the damaged file under another name."""

    catalogue: Catalogue
    damaged: str
    whole: str
    folder: Path

    def problems(self, *arguments: str | Path) -> Ended:
        return self.catalogue.command("problems", *arguments)


@pytest.fixture(scope="module")
def two(database_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    """The tests only look at them, so that they are made once."""
    folder = tmp_path_factory.mktemp("two")
    with database_server.database(TEMPLATE) as url:
        catalogue = Catalogue(folder / "home", url)
        first = iso_image(folder / "1.iso", written(folder / "1", {"letter.txt": LETTER, "x": noise(3000, 1)}))
        at = found_at(first, LETTER)
        bad = map_of(folder / "1.map", first.stat().st_size, [(at + 4096, at + 8192)])
        damaged = catalogue.one(first, bad).medium_hash
        second = iso_image(folder / "2.iso", written(folder / "2", {"old/LETTER.BAK": LETTER, "y": noise(3000, 2)}))
        yield Two(catalogue, damaged, catalogue.one(second).medium_hash, folder)


class Document(msgspec.Struct):
    medium_hash: str
    next_steps: list[str]


def test_words_and_status_agree(two: Two) -> None:
    bad, good, every = two.problems(two.damaged), two.problems(two.whole), two.problems()
    assert (bad.status, good.status, every.status) == (1, 0, 1)
    assert "nothing was found wrong" in good.stdout
    assert "nothing was found wrong" not in bad.stdout
    assert two.whole[:8] in bad.stdout
    assert two.whole[:8] not in every.stdout
    assert two.damaged[:8] in every.stdout


def test_the_page_is_written_and_only_a_page_is_replaced(two: Two, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    first = two.problems(two.damaged[:10], "--html", page)
    assert first.status == 1
    assert "files are damaged" in first.stdout
    before = page.read_text()
    assert "letter.txt" in before
    page.chmod(0o600)
    assert two.problems(two.damaged, "--html", page).status == 1, "a page of NTT's own is replaced"
    assert sorted(tmp_path.iterdir()) == [page]
    mine = tmp_path / "thesis.html"
    mine.write_text("<!doctype html><title>my own work</title>")
    refused = two.problems(two.damaged, "--html", mine)
    assert refused.status == 2
    assert "is there and is not a page that NTT wrote" in refused.stderr
    assert mine.read_text() == "<!doctype html><title>my own work</title>"
    assert two.problems(two.damaged, "--html", tmp_path).status == 2
    assert two.problems(two.damaged, "--html", tmp_path / "no" / "where.html").status == 2
    assert sorted(tmp_path.iterdir()) == [page, mine]


def test_a_page_goes_to_standard_output_and_through_a_link(two: Two, tmp_path: Path) -> None:
    piped = two.problems(two.whole, "--html", "-")
    assert (piped.status, piped.stdout[:15]) == (0, "<!doctype html>")
    assert "Nothing wrong" in piped.stdout
    (tmp_path / "link.html").symlink_to(tmp_path / "real.html")
    assert two.problems("--html", tmp_path / "link.html").status == 1
    assert os.path.islink(tmp_path / "link.html")
    assert two.damaged[:8] in (tmp_path / "real.html").read_text()


def test_tables_and_documents_tell_the_same(two: Two) -> None:
    (row,) = csv.DictReader(io.StringIO(two.problems(two.damaged, "--csv").stdout, newline=""))
    assert (row["path"], row["unread_ranges"], row["clean_copy_medium"]) == ("letter.txt", "[4096,8192)", two.whole)
    document = msgspec.json.decode(two.problems(two.damaged, "--json").stdout, type=Document)
    assert document.medium_hash == two.damaged
    assert any(two.whole[:8] in step for step in document.next_steps)
    (medium,) = csv.DictReader(io.StringIO(two.problems("--csv").stdout, newline=""))
    assert medium["medium_hash"] == two.damaged


@pytest.mark.parametrize("by", ["check", "action", "exception", "medium"])
def test_all_media_are_counted_by_what_is_asked_for(two: Two, by: str) -> None:
    for form in ([], ["--json"], ["--csv"]):
        ended = two.problems("--by", by, *form)
        assert ended.status == 1, ended.stderr
        assert ended.stdout


def test_what_cannot_be_asked_for_together_is_refused(two: Two, tmp_path: Path) -> None:
    for arguments in (
        ["--json", "--csv"], ["--html", "-", "--csv"], ["--by", "check", "--html", str(tmp_path / "x")],
        [two.damaged, "--by", "medium"], ["--by", "colour"],
    ):  # fmt: skip
        assert two.problems(*arguments).status == 2, arguments
    assert list(tmp_path.iterdir()) == []


def test_clean_copies_are_written_only_when_asked_for_and_each_is_named(two: Two, tmp_path: Path) -> None:
    restore = two.catalogue.command("restore", two.damaged, tmp_path / "as read")
    assert restore.status == 1
    cut = (tmp_path / "as read" / "letter.txt").read_bytes()
    assert (cut[:4096], cut[8192:]) == (LETTER[:4096], LETTER[8192:])
    assert cut != LETTER
    whole = two.catalogue.command("restore", two.damaged, tmp_path / "whole", "--clean-copies")
    assert whole.status == 1, "what was not read from this medium is not quite as it was"
    assert (tmp_path / "whole" / "letter.txt").read_bytes() == LETTER
    assert "written from a clean copy: 1" in whole.stdout
    assert f"letter.txt: as in medium {two.whole[:8]}: old/LETTER.BAK" in whole.stdout
    assert "everything was restored" not in whole.stdout
    assert "45,904 of 50,000 bytes" in whole.stdout
    status = two.catalogue.value("SELECT status FROM inode WHERE medium_hash = $1 AND status <> 'copied'", two.damaged)
    assert status == "damaged", "the catalogue goes on saying what was read"
