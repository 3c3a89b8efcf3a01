"""ddrescue's mapfile: what it writes is understood, and whatever else comes is refused with the line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntt.errors import UsageError
from ntt.ranges import difference, intersection, normalised
from ntt.tools.mapfile import (
    PHASES,
    STATUSES,
    Block,
    Mapfile,
    best_of,
    domain_text,
    mapfile_of,
    mapfile_text,
    parse_mapfile,
    with_status,
)

STATUS_LINE = "0x00000000     ?               1\n"
BLOCKS = st.lists(st.tuples(st.integers(1, 1 << 40), st.sampled_from(STATUSES)), min_size=1, max_size=30)
SMALL = st.text(STATUSES, min_size=1, max_size=40)  # one letter per byte
RANGES = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=8).map(normalised)


def text_of(blocks: list[tuple[int, str]], start: int = 0) -> str:
    lines = ["# Mapfile. Created by GNU ddrescue version 1.27\n", "# current_pos  current_status  current_pass\n"]
    lines.append(STATUS_LINE)
    for size, status in blocks:
        lines.append(f"0x{start:08X}  0x{size:08X}  {status}\n")
        start += size
    return "".join(lines)


def map_of(letters: str, start: int = 0) -> Mapfile:
    return Mapfile(tuple(Block(start + at, 1, letter) for at, letter in enumerate(letters)))


def letters_of(found: Mapfile) -> str:
    return "?" * found.start + "".join(block.status * block.size for block in found.blocks)


@given(BLOCKS, st.integers(0, 1 << 40))
def test_blocks_come_out_as_they_were_written(blocks: list[tuple[int, str]], start: int) -> None:
    found = parse_mapfile(text_of(blocks, start), "map")
    assert [(block.size, block.status) for block in found.blocks] == blocks
    assert found.start == start
    assert found.end == start + sum(size for size, _ in blocks)


@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from(STATUSES)), min_size=1, max_size=12), st.integers(0, 9))
def test_every_byte_is_rescued_or_unread(blocks: list[tuple[int, str]], start: int) -> None:
    found = parse_mapfile(text_of(blocks, start), "map")
    letters = "?" * start + "".join(status * size for size, status in blocks)
    rescued = {at for at, letter in enumerate(letters) if letter == "+"}
    assert {at for low, high in found.rescued for at in range(low, high)} == rescued
    assert {at for low, high in found.unread for at in range(low, high)} == set(range(len(letters))) - rescued


def test_the_example_of_the_manual_is_understood() -> None:
    text = """# Mapfile. Created by GNU ddrescue version 1.23
# Command line: ddrescue -d -c18 /dev/fd0 fdimage mapfile
# Start time:   2015-07-21 09:37:44
# Copying non-tried blocks...
# current_pos  current_status  current_pass
0x00119000     ?               1
#      pos        size  status
0x00000000  0x00117000  +
0x00117000  0x00000200  -
0x00117200  0x00001000  /
0x00118200  0x00007E00  *
0x00120000  0x00048000  ?
"""
    found = parse_mapfile(text, "map")
    assert found.blocks[1] == Block(0x117000, 0x200, "-")
    assert found.rescued == ((0, 0x117000),)
    assert found.unread == ((0x117000, 0x168000),)


def test_what_ddrescue_itself_writes_is_understood(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"x" * 300_000)
    argv = ["ddrescue", "-q", "-s", "200000", tmp_path / "source", tmp_path / "image", tmp_path / "map"]
    subprocess.run(argv, check=True)
    found = parse_mapfile((tmp_path / "map").read_text(), "map")
    assert found.rescued == ((0, 200_000),)
    assert found.start == 0


@pytest.mark.parametrize(
    ("row", "block"),
    [("0 512 +", Block(0, 512, "+")), ("00 01000 -", Block(0, 512, "-")), ("0X0 0X200 /", Block(0, 512, "/"))],
)
def test_numbers_are_decimal_octal_or_hex(row: str, block: Block) -> None:
    assert parse_mapfile(f"0 + 1\n{row}  # a remark\n", "map").blocks == (block,)


@pytest.mark.parametrize("status_line", ["0x0 ?", "0x0 F 2", "100 + 1", "0x0 S 1", "0x00000000     *               1"])
def test_status_lines_of_old_and_new_versions_are_taken(status_line: str) -> None:
    assert parse_mapfile(f"{status_line}\n0x0 0x200 +\n", "map").end == 512


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "status line is missing"),
        ("# only remarks\n\n", 1, "status line is missing"),
        (STATUS_LINE, 1, "no blocks"),
        ("hello world, this is a letter\n", 1, "status line is missing"),
        ("0x0 0x200 +\n", 1, "status line is missing"),
        (STATUS_LINE + "0x0 0x200\n", 2, "expected `position size status`"),
        (STATUS_LINE + "0x0 0x200 + more\n", 2, "expected `position size status`"),
        (STATUS_LINE + "0x0 0x200 x\n", 2, "expected `position size status`"),
        (STATUS_LINE + "0x0 0x200 +-\n", 2, "expected `position size status`"),
        (STATUS_LINE + "0x0 twelve +\n", 2, "not a number"),
        (STATUS_LINE + "0x 0x200 +\n", 2, "not a number"),
        (STATUS_LINE + "08 0x200 +\n", 2, "not a number"),
        (STATUS_LINE + "0x0 0 +\n", 2, "out of range"),
        (STATUS_LINE + "0x0 -512 +\n", 2, "out of range"),
        (STATUS_LINE + "-1 0x200 +\n", 2, "out of range"),
        (STATUS_LINE + "# remark\n0x0 0x200 +\n0x400 0x200 -\n", 4, "does not begin where the one before ends"),
        (STATUS_LINE + "0x0 0x200 +\n0x100 0x200 -\n", 3, "does not begin where the one before ends"),
    ],
)
def test_what_is_no_mapfile_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_mapfile(text, "disc.map")
    assert f"disc.map is not a ddrescue mapfile: line {line}: " in str(refused.value)
    assert words in str(refused.value)


@given(st.one_of(st.text(), st.text("0123456789xXabF+-*/?# \n\t")))
def test_no_text_makes_it_fail_otherwise(text: str) -> None:
    try:
        found = parse_mapfile(text, "map")
    except UsageError:
        return
    assert found.blocks


def test_a_wrong_status_line_is_refused() -> None:
    for text in (
        STATUS_LINE + "0x0 0x200 ?*\n",
        "0x0 ?* 1\n0x0 0x200 +\n",
        "x ? 1\n0x0 0x200 +\n",
        "0 ? -1\n0x0 0x200 +\n",
    ):
        with pytest.raises(UsageError):
            parse_mapfile(text, "map")


@given(BLOCKS, st.integers(0, 1 << 61), st.sampled_from(PHASES), st.integers(1, 9), st.text())
def test_what_is_written_is_read_back(
    blocks: list[tuple[int, str]], position: int, phase: str, pass_number: int, remark: str
) -> None:
    found = parse_mapfile(text_of(blocks, 512), "map")
    wanted = Mapfile(found.blocks, position, phase, pass_number)
    assert parse_mapfile(mapfile_text(wanted, remark), "map") == wanted


@given(RANGES, RANGES, st.integers(1, 60))
def test_a_map_is_made_of_what_is_finished_and_bad(
    finished: tuple[tuple[int, int], ...], bad: tuple[tuple[int, int], ...], size: int
) -> None:
    made, whole = mapfile_of(finished, size, bad), ((0, size),)
    assert (made.start, made.end) == (0, size)
    assert made.rescued == intersection(finished, whole)
    assert made.ranges("-") == difference(intersection(bad, whole), finished)
    assert made.ranges("*/") == ()
    assert all(left.status != right.status for left, right in zip(made.blocks, made.blocks[1:], strict=False))


def test_a_map_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one byte"):
        mapfile_of((), 0)


@given(SMALL, RANGES, st.sampled_from(STATUSES), st.integers(0, 9))
def test_only_the_named_ranges_change_their_status(
    letters: str, ranges: tuple[tuple[int, int], ...], status: str, start: int
) -> None:
    before = Mapfile(map_of(letters, start).blocks, 7, "-", 3)
    named = {at for low, high in ranges for at in range(low, high)}
    after = with_status(before, ranges, status)
    wanted = [status if at in named else letter for at, letter in enumerate(letters, start)]
    assert letters_of(after) == "?" * start + "".join(wanted)
    assert (after.start, after.position, after.phase, after.pass_number) == (start, 0, "?", 1)


@given(SMALL, SMALL, st.integers(0, 9))
def test_of_two_maps_the_better_byte_counts(left: str, right: str, start: int) -> None:
    merged = best_of(map_of(left), map_of(right, start))
    other = "?" * start + right
    length = max(len(left), len(other))
    pairs = zip(left.ljust(length, "?"), other.ljust(length, "?"), strict=True)
    assert letters_of(merged) == "".join(max(pair, key="?*/-+".index) for pair in pairs)
    assert merged == best_of(map_of(right, start), map_of(left))


def test_a_map_of_a_hundred_thousand_blocks_is_merged_at_once() -> None:
    left = map_of("+-" * 50_000)
    assert len(best_of(left, map_of("-+" * 50_000)).blocks) == 1
    assert len(best_of(left, map_of("/-" * 50_000)).blocks) == 100_000


def test_ddrescue_resumes_on_a_written_map(tmp_path: Path) -> None:
    source, image, map_path = tmp_path / "source", tmp_path / "image", tmp_path / "map"
    source.write_bytes(b"s" * 8192)
    image.write_bytes(b"i" * 8192)
    made = mapfile_of(((0, 2048), (4096, 6144)), 8192, bad=((6144, 8192),))
    map_path.write_text(mapfile_text(made, "for ddrescue\nin two lines"))
    subprocess.run(["ddrescue", "-q", source, image, map_path], check=True)
    assert image.read_bytes() == (b"i" * 2048 + b"s" * 2048) + b"i" * 4096, "only what was non-tried is read"
    assert letters_of(parse_mapfile(map_path.read_text(), "map")) == "+" * 6144 + "-" * 2048


@pytest.mark.parametrize("phase", PHASES.replace("F", "").replace("G", ""))
@pytest.mark.parametrize("pass_number", [1, 5])
def test_ddrescue_reads_what_was_set_back_wherever_it_had_been(tmp_path: Path, phase: str, pass_number: int) -> None:
    source, image, map_path = tmp_path / "source", tmp_path / "image", tmp_path / "map"
    source.write_bytes(b"s" * 8192)
    image.write_bytes(b"i" * 8192)
    before = Mapfile(mapfile_of(((0, 8192),), 8192).blocks, 6144, phase, pass_number)
    map_path.write_text(mapfile_text(with_status(before, ((2048, 4096),), "?")))
    subprocess.run(["ddrescue", "-q", source, image, map_path], check=True)
    assert image.read_bytes() == b"i" * 2048 + b"s" * 2048 + b"i" * 4096
    assert parse_mapfile(map_path.read_text(), "map").unread == ()


@pytest.mark.parametrize("flags", [(), ("-R",), ("-b2048",)])
def test_ddrescue_reads_only_the_domain(tmp_path: Path, flags: tuple[str, ...]) -> None:
    source, image, domain = tmp_path / "source", tmp_path / "image", tmp_path / "domain"
    source.write_bytes(b"s" * 65536)
    wanted = ((2048, 4096), (20480, 22528), (63488, 65536))
    domain.write_text(domain_text(wanted, 65536))
    subprocess.run(["ddrescue", "-q", *flags, "-m", domain, source, image, tmp_path / "map"], check=True)
    assert parse_mapfile((tmp_path / "map").read_text(), "map").rescued == wanted
    read = image.read_bytes()
    assert normalised((at, at + 1) for at, byte in enumerate(read) if byte == ord("s")) == wanted
