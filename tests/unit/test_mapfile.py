"""ddrescue's mapfile: what it writes is understood, and whatever else comes is refused with the line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntt.errors import UsageError
from ntt.tools.mapfile import STATUSES, Block, parse_mapfile

STATUS_LINE = "0x00000000     ?               1\n"
BLOCKS = st.lists(st.tuples(st.integers(1, 1 << 40), st.sampled_from(STATUSES)), min_size=1, max_size=30)


def text_of(blocks: list[tuple[int, str]], start: int = 0) -> str:
    lines = ["# Mapfile. Created by GNU ddrescue version 1.27\n", "# current_pos  current_status  current_pass\n"]
    lines.append(STATUS_LINE)
    for size, status in blocks:
        lines.append(f"0x{start:08X}  0x{size:08X}  {status}\n")
        start += size
    return "".join(lines)


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


@pytest.mark.parametrize("status_line", ["0x0 ?", "0x0 F 2", "100 + 1", "0x00000000     *               1"])
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
