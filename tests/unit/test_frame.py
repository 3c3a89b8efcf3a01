"""The project's frame: what is packaged, what the sample disc promises, what the front page names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples"
IMAGE = SAMPLES / "field-notes.iso"
SECTOR = 2048


def map_rows() -> list[tuple[int, int, str]]:
    """Position, size and status of each block (GNU ddrescue manual, "Mapfile structure")."""
    lines = [line.split() for line in (SAMPLES / "field-notes.map").read_text().splitlines() if line[0] != "#"]
    return [(int(position, 0), int(size, 0), status) for position, size, status in lines[1:]]


def fact(name: str) -> list[int]:
    """The whole numbers in the row `name` of the sample's page."""
    row = re.search(rf"^\| {re.escape(name)} \| (.*) \|$", (SAMPLES / "README.md").read_text(), re.MULTILINE)
    assert row is not None, name
    return [int(number) for number in re.findall(r"\b\d+\b", row[1].replace(",", ""))]


def run(*argv: str | Path) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, errors="surrogateescape", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def made_again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    run(sys.executable, ROOT / "scripts" / "make_sample.py", folder)
    return folder


@pytest.mark.parametrize("name", ["field-notes.iso", "field-notes.map", "README.md"])
def test_the_sample_can_be_made_again_to_the_byte(made_again: Path, name: str) -> None:
    assert (made_again / name).read_bytes() == (SAMPLES / name).read_bytes()


def test_the_map_covers_the_whole_image_and_names_two_bad_areas() -> None:
    rows = map_rows()
    ends = [position + size for position, size, _ in rows]
    assert [position for position, _, _ in rows] == [0, *ends[:-1]]
    assert ends[-1] == IMAGE.stat().st_size
    bad = [(position, position + size) for position, size, status in rows if status == "-"]
    assert bad == [tuple(fact("unread, in a file")[:2]), tuple(fact("unread, in free space")[:2])]
    assert {status for _, _, status in rows} == {"+", "-"}


def test_bad_areas_are_whole_sectors_of_zeros_as_ddrescue_leaves_them() -> None:
    image = IMAGE.read_bytes()
    for position, size, _ in (row for row in map_rows() if row[2] == "-"):
        assert (position % SECTOR, size) == (0, 2 * SECTOR)
        assert image[position : position + size] == bytes(size)


def test_the_first_bad_area_lies_inside_the_recording_and_the_second_behind_every_file() -> None:
    listed = run("xorriso", "-no_rc", "-indev", IMAGE, "-find", "/", "-exec", "report_lba", "--")
    extents = re.findall(r"^File data lba:\s*0 ,\s*(\d+) ,\s*(\d+) ,\s*(\d+) , (.*)", listed, re.MULTILINE)
    used = {name: (int(lba) * SECTOR, (int(lba) + int(blocks)) * SECTOR) for lba, blocks, _, name in extents}
    start, end = used["'/recordings/gauge-upper-weir.csv'"]
    (in_file, in_file_end), (free, _) = [fact("unread, in a file")[:2], fact("unread, in free space")[:2]]
    assert start < in_file < in_file_end < end
    assert fact("its bytes hit")[:2] == [in_file - start, in_file_end - start]
    assert free > max(stop for _, stop in used.values())


def test_awkward_names_stand_on_the_sample_byte_for_byte() -> None:
    image = IMAGE.read_bytes()
    for name in (b"caf\xe9 interview.txt", b"two\nlines.txt", b"Icon\r", b"\\n.plist", b"#3 boat.txt"):
        rock_ridge = b"NM" + bytes([len(name) + 5, 1, 0]) + name  # RRIP 1.12, "Description of the NM System Use Entry"
        assert image.count(rock_ridge) == 1, name


def test_a_wheel_carries_the_schema(tmp_path: Path) -> None:
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("ntt-*.whl")
    assert zipfile.ZipFile(wheel).read("ntt/schema.sql") == (ROOT / "schema.sql").read_bytes()


def test_the_front_page_names_both_commands() -> None:
    front_page = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"make {target} " in front_page
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


@pytest.mark.parametrize(
    "page", [*sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("*.md")), "docs/install.md"]
)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text()):
        assert (ROOT / page).parent.joinpath(target).exists(), target


def test_every_runtime_dependency_is_pinned_in_both_lock_files() -> None:
    pinned = {lock: (ROOT / "requirements" / lock).read_text().splitlines() for lock in ("base.txt", "dev.txt")}
    for lines in pinned.values():
        assert all(re.fullmatch(r"[a-z0-9._-]+==[A-Za-z0-9.+!]+", line) for line in lines)
    assert set(pinned["base.txt"]) <= set(pinned["dev.txt"])
    for wanted in re.findall(r'^    "([^"]+==[^"]+)",$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE):
        assert wanted in pinned["dev.txt"], wanted


def test_scripts_may_be_run() -> None:
    for script in [*(ROOT / "scripts").glob("*.sh"), ROOT / ".ci" / "run"]:
        assert os.access(script, os.X_OK), script
