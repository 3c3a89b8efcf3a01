"""`ntt map`: the picture says of a place what was not read there, and what that hits."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from catalogue import Catalogue, Ended
from database_server import TEMPLATE, DatabaseServer
from media_images import ext4_image, found_at, map_of, noise, run, written

from ntt.operations.surface import Kind, State, SurfaceCell, SurfaceMap

BLOCK = 4096
WHOLE, HIT, LOST = b"docs/whole.bin", b"docs/hit.bin", b"lost.bin"
CONTENTS: dict[str | bytes, bytes] = {WHOLE: noise(50_000, 1), HIT: noise(60_000, 2), LOST: noise(20_000, 3)}


@dataclass(frozen=True, slots=True)
class Damaged:
    """A catalogue with one damaged medium; places are those of the image, found by the file system's own tools."""

    catalogue: Catalogue
    medium_hash: str
    size_bytes: int
    hit: tuple[int, int]
    lost: tuple[int, int]
    free: tuple[int, int]
    inodes: tuple[int, int]

    def map(self, *arguments: str | Path) -> Ended:
        return self.catalogue.command("map", self.medium_hash, *arguments)

    def drawn(self, *arguments: str | Path) -> SurfaceMap:
        ended = self.map("--json", *arguments)
        assert ended.status == 0, ended.stderr
        return msgspec.json.decode(ended.stdout, type=SurfaceMap)

    def at(self, place: int) -> SurfaceCell:
        return next(cell for cell in self.drawn().cells if cell.start <= place < cell.end)


@pytest.fixture(scope="module")
def damaged(database_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Damaged]:
    """An ext4 with unread sectors in a file, over all of another, in free space and in the inode table's unused end.

    The tests only look at it, so that one ingest serves them all.
    """
    tmp_path = tmp_path_factory.mktemp("damaged")
    with database_server.database(TEMPLATE) as url:
        yield _ingested(Catalogue(tmp_path / "home", url), tmp_path)


def _ingested(catalogue: Catalogue, tmp_path: Path) -> Damaged:
    image = ext4_image(tmp_path / "disk.img", written(tmp_path / "tree", CONTENTS), 16, "-b", "4096")
    hit = found_at(image, CONTENTS[HIT]) + 8192
    lost = found_at(image, CONTENTS[LOST])
    layout = run("dumpe2fs", image)
    table = re.search(r"Inode table at (\d+)-(\d+)", layout)
    free = re.findall(r"Free blocks: (?:.*, )?(\d+)-(\d+)$", layout, re.MULTILINE)
    assert table is not None
    inodes = int(table[2]) * BLOCK  # behind the inodes in use: nothing but the table itself is hit
    unused = (int(free[-1][1]) - 40) * BLOCK
    bad = {
        "hit": (hit, hit + 1024),
        "lost": (lost, lost + len(CONTENTS[LOST])),
        "free": (unused, unused + 3 * 512),
        "inodes": (inodes, inodes + 512),
    }
    size_bytes = image.stat().st_size
    report = catalogue.one(image, map_of(tmp_path / "disk.map", size_bytes, bad.values()))
    return Damaged(catalogue, report.medium_hash, size_bytes, **bad)


def test_the_place_of_a_damaged_file_names_it(damaged: Damaged) -> None:
    cell = damaged.at(damaged.hit[0])
    assert (cell.state, cell.kind) == (State.BAD, Kind.FILES)
    assert [(file.path, file.lost_bytes, file.failed) for file in cell.files] == [(HIT.decode(), 1024, False)]
    assert cell.unread is not None
    assert (cell.unread.files, cell.unread.free) == (1024, 0)
    assert cell.volume == 1
    assert Kind.FILES in cell.holds


def test_the_place_of_a_file_of_which_nothing_was_read_names_it(damaged: Damaged) -> None:
    cell = damaged.at(damaged.lost[0] + 10_000)
    assert (cell.state, cell.kind) == (State.BAD, Kind.FILES)
    assert [(file.path, file.failed) for file in cell.files] == [(LOST.decode(), True)]
    assert cell.bytes.rescued == 0


def test_the_place_of_unread_free_space_is_free(damaged: Damaged) -> None:
    cell = damaged.at(damaged.free[0])
    assert (cell.state, cell.kind, cell.bytes.bad) == (State.BAD, Kind.FREE, 3 * 512)
    assert (cell.files, cell.structures, cell.holds) == ((), (), (Kind.FREE,))


def test_the_place_of_an_unread_inode_table_says_so(damaged: Damaged) -> None:
    cell = damaged.at(damaged.inodes[0])
    assert (cell.state, cell.kind, cell.bytes.bad) == (State.BAD, Kind.STRUCTURES, 512)
    assert "inode table" in {piece.what for piece in cell.structures}
    assert Kind.STRUCTURES in cell.holds


def test_all_other_places_are_rescued_and_the_sums_agree(damaged: Damaged) -> None:
    drawn = damaged.drawn()
    hit = [damaged.hit, damaged.lost, damaged.free, damaged.inodes]
    for cell in drawn.cells:
        unread = sum(max(0, min(cell.end, end) - max(cell.start, start)) for start, end in hit)
        assert (cell.bytes.bad, cell.bytes.untried, cell.bytes.unfinished) == (unread, 0, 0)
    assert (drawn.cells[0].start, drawn.cells[-1].end) == (0, damaged.size_bytes)
    assert all(one.end == next_.start for one, next_ in zip(drawn.cells, drawn.cells[1:], strict=False))
    bad = sum(end - start for start, end in hit)
    assert (drawn.bytes.bad, drawn.bytes.rescued) == (bad, damaged.size_bytes - bad)
    assert (drawn.unread.structures, drawn.unread.free, drawn.unread.unknown) == (512, 3 * 512, 0)
    assert drawn.unread.files == 1024 + len(CONTENTS[LOST])
    assert [file.path for file in drawn.files] == [LOST.decode(), HIT.decode()], "the worst first"
    assert drawn.files_total == 2


def test_without_a_terminal_the_picture_is_letters(damaged: Damaged) -> None:
    ended = damaged.map()
    assert (ended.status, ended.stderr) == (0, "")
    assert "\x1b" not in ended.stdout
    lines = ended.stdout.splitlines()
    rows = [line[12:] for line in lines if re.match(r"^ *[\d,.]+ (bytes|KiB|MiB) [^ ]+$", line)]
    assert (len(rows), {len(row) for row in rows}) == (32, {64})
    picture = "".join(rows)
    assert {"T", "F", "E"} <= set(picture) <= set("TFE=:.")
    cell_bytes = damaged.size_bytes // len(picture)
    assert picture[damaged.free[0] // cell_bytes] == "E"
    assert picture[damaged.inodes[0] // cell_bytes] == "T"
    assert "LOST".lower() in ended.stdout
    assert f"bytes bad {sum(e - s for s, e in (damaged.hit, damaged.lost, damaged.free, damaged.inodes)):,}" in (
        ended.stdout
    )


def test_the_svg_is_one_file_with_the_same_answers(damaged: Damaged, tmp_path: Path) -> None:
    target = tmp_path / "map.svg"
    target.write_text("what was there before")
    ended = damaged.map("--svg", target)
    assert (ended.status, ended.stderr) == (0, "")
    root = ET.fromstring(target.read_bytes())
    titles = [title.text or "" for title in root.iter("{http://www.w3.org/2000/svg}title")]
    lost = [re.search(rf"^([\d,]+) of file {HIT.decode()}$", title, re.MULTILINE) for title in titles]
    assert sum(int(found[1].replace(",", "")) for found in lost if found is not None) == 1024
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert sorted(path.name for path in tmp_path.glob("*.svg*") if path.is_file()) == ["map.svg"]
    shown = damaged.map("--svg", "-")
    assert (shown.status, shown.stdout) == (0, target.read_text())


def test_an_svg_that_cannot_be_written_is_one_line(damaged: Damaged, tmp_path: Path) -> None:
    for target in (tmp_path / "no" / "folder" / "map.svg", tmp_path):
        ended = damaged.map("--svg", target)
        assert ended.status == 2
        (complaint,) = ended.complaints
        assert str(target) in complaint
    assert damaged.map("--svg", "-", "--json").status == 2


def test_a_device_is_written_to_and_not_replaced(damaged: Damaged) -> None:
    assert damaged.map("--svg", "/dev/null").status == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_an_unknown_hash_is_refused_and_an_ambiguous_one_lists_its_media(damaged: Damaged, tmp_path: Path) -> None:
    unknown = damaged.catalogue.command("map", "0" * 32)
    assert (unknown.status, len(unknown.complaints)) == (2, 1)
    damaged.catalogue.rows(
        """INSERT INTO medium (medium_hash, identity, medium_human, image_hash, image_bytes, claimed_bytes, health)
           VALUES ($1, 'assigned', 'another', repeat('0', 64), 1, 1, 'ok')""",
        damaged.medium_hash[:8] + ("0" * 24 if damaged.medium_hash[8:] != "0" * 24 else "1" * 24),
    )
    ambiguous = damaged.catalogue.command("map", damaged.medium_hash[:8])
    assert ambiguous.status == 2
    (complaint,) = ambiguous.complaints
    assert "another" in complaint
    assert damaged.medium_hash in complaint


def test_a_terminal_of_24_lines_holds_all_of_it_in_colours(damaged: Damaged) -> None:
    shown = on_terminal(damaged, 80, 24, TERM="xterm-256color", COLORTERM="truecolor")
    lines = shown.splitlines()
    plain = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in lines]
    assert len(plain) <= 23, "the prompt needs a line, too"
    assert max(map(len, plain)) <= 80
    assert "▀" * 64 in shown.replace("\x1b[0m", "") or any(line.count("▀") == 64 for line in plain)
    assert "\x1b[38;2;" in shown


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": "vt100", "COLORTERM": ""}])
def test_a_terminal_without_colours_shows_letters(damaged: Damaged, environment: dict[str, str]) -> None:
    shown = on_terminal(damaged, 80, 24, **{"TERM": "xterm-256color", **environment})
    assert "\x1b" not in shown
    assert "▀" not in shown
    assert len(shown.splitlines()) <= 23
    assert re.search(r"[:.]E\.", shown)


def on_terminal(damaged: Damaged, columns: int, rows: int, **environment: str) -> str:
    """What `ntt map` writes to a terminal of this size."""
    catalogue = damaged.catalogue
    command = (
        f"stty cols {columns} rows {rows}; exec {sys.executable} -m ntt map {damaged.medium_hash} "
        f"--home {catalogue.home} --database '{catalogue.url}'"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("NTT_", "NO_COLOR", "COLORTERM", "FORCE_COLOR"))}
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"],
        capture_output=True, stdin=subprocess.DEVNULL, env={**clean, **environment}, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout.decode().replace("\r\n", "\n").replace("\r", "")
