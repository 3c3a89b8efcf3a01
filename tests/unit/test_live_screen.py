"""The board as rows: every size, nothing wrapped, nothing unescaped, every drive's rate and time left in sight."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from live_boards import MIB, busy_board, drive, reading_panel
from rich.cells import cell_len
from rich.console import Console

from ntt.board import Board, Finished, Panel, Phase, Room, StageLine, Verdict
from ntt.live.desk import Desk, Line, Mode, pressed, settled
from ntt.live.keys import Key, KeyKind
from ntt.live.lines import PROGRESS_EVERY_S, BoardLines, last_lines
from ntt.live.rows import cut, row, safe, wrapped
from ntt.live.running import Bells
from ntt.live.screen import BoardView, frame
from ntt.live.wording import rates, said_of, surface_letters
from ntt.model import Stage
from ntt.progress import Reading, Work

NOW = 1000.0
SIZES = [(1, 1), (3, 2), (10, 4), (20, 6), (33, 9), (59, 14), (80, 24), (100, 30), (121, 24), (200, 50), (300, 12)]


def screen(board: Board, width: int, height: int, desk: Desk | None = None, *, plain: bool = False) -> list[str]:
    """The rows as text; each is as wide as the terminal."""
    view = BoardView(board, width, height, NOW, settled(desk or Desk(), board), "12:00:00", plain)
    rows = [text.plain for text in view.rows()]
    assert len(rows) == height
    assert {cell_len(text) for text in rows} == {width}
    assert not any(control in text for text in rows for control in "\x1b\n\r\t")
    return rows


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("drives", range(9))
def test_the_screen_is_filled_exactly_at_any_size_with_any_number_of_drives(size: tuple[int, int], drives: int) -> None:
    board = busy_board(drives, NOW)
    screen(board, *size)
    for panel, phase in zip(board.panels.values(), Phase, strict=False):
        panel.phase, panel.message = phase, "a long message with what to do about it " * 5
        panel.stage = panel.stage if phase is Phase.READING else None
    for key in ("k0", ""):
        for mode in Mode:
            screen(board, *size, Desk(selected=key, mode=mode, drive=key, line=Line("17/045", 3)))


@pytest.mark.parametrize(("drives", "width", "height"), [(3, 80, 24), (8, 80, 24), (3, 200, 50), (8, 200, 50)])
def test_every_drive_shows_its_rate_its_time_left_and_what_is_bad(drives: int, width: int, height: int) -> None:
    text = "\n".join(screen(busy_board(drives, NOW), width, height))
    for number in range(drives):
        assert f"/dev/sr{number}" in text
        assert f"{number + 1}.0 MB/s" in text
        assert f" {number + 1}:00 left" in text
    assert "24.0 KB bad" in text
    for word in ("12 done", "2 with problems", "BOX-17", "! store 3.0 GB free, needs 5.0 GB", "DISC_012", "DISC_013"):
        assert word in text, word
    assert "embedded, 0.4 ms" in text
    assert "DISC_011: 3 files damaged" in text


def test_three_drives_of_a_small_terminal_have_whole_panels() -> None:
    rows = screen(busy_board(3, NOW), 80, 24)
    assert [at for at, text in enumerate(rows) if text.startswith("╭─") and text.endswith("─╮")] == [1, 7, 13]
    assert [at for at, text in enumerate(rows) if text.startswith("╰─") and text.endswith("─╯")] == [6, 12, 18]
    assert all(rows[at].startswith("│ ") and rows[at].endswith(" │") for at in (2, 3, 4, 5, 8, 9, 14, 17))
    assert "24.0 KB bad, 12 sectors" in rows[10]
    assert rows[11].count("X") in (2, 3)
    assert "X" not in rows[5] + rows[17]


def test_a_wide_terminal_has_the_drives_side_by_side() -> None:
    rows = screen(busy_board(3, NOW), 200, 50)
    assert rows[1].count("╭─") == 3
    assert sum("BACKUP_" in text for text in rows[:14]) == 1


def test_more_drives_than_rows_show_those_around_the_chosen_one() -> None:
    rows = screen(busy_board(8, NOW), 80, 6, Desk(selected="k6"))
    assert any("▶7 sr6" in text for text in rows)


def test_what_looks_like_markup_or_controls_is_shown_as_it_is() -> None:
    board = busy_board(1, NOW)
    board.panels["k0"] = reading_panel(0, NOW, title="[red]drive[/red] :smile:")
    board.panels["k0"].medium = "[bold]x[/bold] \x1b[31m\u202e \\x1b"
    board.panels["k0"].label = "\t\n"
    board.notes = [("[link=file:///]note[/link]\x07\x9b", True)]
    board.finished = [Finished(1, "[a]", "", Verdict.KNOWN, "\x1b]0;title\x07", 0.0, 0.0)]
    text = "\n".join(screen(board, 120, 24))
    assert "[red]drive[/red] :smile:" in text
    assert "[bold]x[/bold] \\x1b[31m\\u202e \\x1b" in text
    assert "[link=file:///]note[/link]\\x07\\x9b" in text


def test_wide_and_combining_characters_keep_the_columns() -> None:
    board = busy_board(2, NOW)
    board.panels["k0"].medium = "日本語" * 30
    board.panels["k1"].medium = "e\u0301" * 60 + "👩‍👩‍👧"
    for size in SIZES:
        screen(board, *size)
        assert all(text.isascii() for text in screen(board, *size, plain=True))


def test_the_frame_for_a_terminal_has_one_piece_per_row() -> None:
    console = Console(file=StringIO(), force_terminal=True, color_system="256", width=80, height=24)
    view = BoardView(busy_board(3, NOW), 80, 24, NOW)
    assert len(frame(view, console)) == 24


def test_the_label_that_is_typed_is_in_sight_at_any_size() -> None:
    board = busy_board(3, NOW)
    board.panels["k2"].phase = Phase.ASKING
    for width, height in ((80, 24), (200, 50), (30, 6)):
        desk, _ = pressed(Desk(), board, Key(KeyKind.TEXT, "4711"))
        assert sum("4711" in text for text in screen(board, width, height, desk)) >= 1
        assert "label: 4711" in screen(board, width, height, desk)[-1]


def test_a_message_of_a_parked_drive_is_said_whole_where_there_is_room() -> None:
    board = Board(panels={"k0": Panel(drive(0), Phase.PARKED, "DISC", "", "nothing could be read of it; " * 4)})
    assert "".join(screen(board, 80, 24)).count("nothing") == 4
    assert "parked" in screen(board, 80, 4)[1]


def test_the_foot_says_what_the_keys_do_now() -> None:
    board = busy_board(1, NOW)
    assert "p pause" in screen(board, 80, 24)[-1]
    board.stopping = True
    assert "q once more" in screen(board, 80, 24)[-1]
    desk = pressed(Desk(), board, Key(KeyKind.TEXT, "e"))[0]
    assert screen(board, 80, 24, desk)[-1].startswith("Eject 1 sr0 now")


# ---------------------------------------------------------------- words


def stage_line(work: Work, marks: list[tuple[float, int, int]]) -> StageLine:
    return StageLine(Stage.COPY, NOW - 100, work, marks)


def test_a_stage_that_stands_still_has_no_rate_of_before() -> None:
    moving = stage_line(Work(bytes_done=50 * MIB, bytes_total=100 * MIB), [(NOW - 10, 0, 0), (NOW, 50 * MIB, 0)])
    assert (said_of(moving, NOW).rate, said_of(moving, NOW).left) == ("5.0 MB/s", "0:10 left")
    assert (said_of(moving, NOW + 60).rate, said_of(moving, NOW + 60).left) == ("0 B/s", "-:-- left")


def test_time_left_is_that_of_the_slower_of_bytes_and_files() -> None:
    work = Work(files_done=10, files_total=110, bytes_done=50 * MIB, bytes_total=100 * MIB)
    assert said_of(stage_line(work, [(NOW - 10, 0, 0)]), NOW).left == "1:40 left"
    assert rates(stage_line(work, []), NOW) == (50 * MIB / 100, 0.1)


def test_it_is_never_all_before_the_end() -> None:
    assert said_of(stage_line(Work(bytes_done=9999, bytes_total=10000), []), NOW).percent == "99 %"
    assert said_of(stage_line(Work(bytes_done=7), []), NOW).percent == ""


def test_a_drive_that_does_not_answer_is_told_instead_of_its_time_left() -> None:
    work = Work(bytes_done=1, bytes_total=9, reading=Reading("everything", silent_s=65, remaining_s=3))
    assert said_of(stage_line(work, []), NOW).left == "no answer 1:05"
    work = replace(work, reading=Reading("everything", nothing_read_s=65.0, remaining_s=3))
    assert said_of(stage_line(work, []), NOW).trouble == "nothing read for 1:05"


@pytest.mark.parametrize(
    ("surface", "cells", "letters"),
    [
        (b"", 5, ""),
        (bytes([0, 1, 2]), 3, "░█X"),
        (bytes([0, 1, 2]), 6, "░░██XX"),
        (bytes([1] * 99 + [2] + [0] * 100), 4, "█X░░"),
        (bytes([1, 1, 1, 0]), 2, "█▒"),
    ],
)
def test_a_bad_place_is_seen_however_small_it_is(surface: bytes, cells: int, letters: str) -> None:
    assert surface_letters(surface, cells) == letters


def test_texts_are_cut_and_broken_by_columns() -> None:
    assert [cut("日本語", width) for width in (6, 5, 4, 1, 0)] == ["日本語", "日本…", "日 …", "…", ""]
    assert wrapped("one 日本語日本語 two", 6) == ["one", "日本語", "日本語", "two"]
    assert row(10, (("left side", ""),), (("end", ""),)).plain == "left … end"
    assert safe("a\\x1b\x1b\u2028") == "a\\x1b\\x1b\\u2028"


# ---------------------------------------------------------------- lines and bells


def test_lines_tell_each_change_once_and_progress_every_half_minute() -> None:
    board, lines = Board(panels={"k0": Panel(drive(0))}), BoardLines()
    panel = board.panels["k0"]
    assert list(lines.news(board, NOW)) == ["sr0: TSSTcorp CDDVDW SH-224DB, empty"]
    panel.phase, panel.medium = Phase.READING, "DISC"
    panel.stage = StageLine(Stage.IMAGE, NOW, Work(bytes_total=100 * MIB))
    assert list(lines.news(board, NOW)) == ["sr0: image ...", "sr0: reading DISC"]
    assert list(lines.news(board, NOW + 1)) == []
    panel.stage.work = Work(bytes_done=50 * MIB, bytes_total=100 * MIB)
    panel.stage.marks = [(NOW + 20, 0, 0)]
    panel.bad_bytes = 2048
    (progress,) = lines.news(board, NOW + PROGRESS_EVERY_S)
    assert progress == "sr0: image 50 %, 50.0 MB/100.0 MB, 5.0 MB/s, 0:10 left, 2.0 KB bad"
    assert list(lines.news(board, NOW + PROGRESS_EVERY_S + 1)) == []
    panel.stage.work = Work(bytes_done=100 * MIB, bytes_total=100 * MIB)
    panel.stage, panel.phase, panel.message = None, Phase.PARKED, "why \x1b"
    board.notes.append(("a note", True))
    board.finished.append(Finished(1, "DISC", "abcdef0123", Verdict.FAILED, "because", 0.0, 62.0))
    board.rooms = (Room("store", 1, 1 << 30),)
    board.stopping = True
    assert list(lines.news(board, NOW + 62)) == [
        "sr0: image ended after 1:02 (100.0 MB/100.0 MB)",
        "sr0: parked DISC, 2.0 KB bad: why \\x1b",
        "problem: a note",
        "#1 DISC abcdef01: failed in 1:02, because",
        "problem: store: 1 B free, the next medium needs 1.0 GB",
        "finishing what is in hand; once more stops at once",
    ]
    board.rooms = (Room("store", 2 << 30, 1 << 30),)
    assert list(lines.news(board, NOW + 63)) == ["store: 2.0 GB free, enough again"]
    del board.panels["k0"]
    assert list(lines.news(board, NOW + 64)) == ["k0: the drive is gone"]


def test_a_list_that_forgets_its_start_is_still_told_once() -> None:
    board, lines = Board(notes=[("a", False), ("b", False)]), BoardLines()
    list(lines.news(board, NOW))
    board.notes = [("b", False), ("b", False), ("c", False)]
    assert list(lines.news(board, NOW)) == ["b", "c"]


def test_a_stage_that_goes_on_in_the_background_has_not_ended() -> None:
    board, lines = busy_board(1, NOW), BoardLines()
    list(lines.news(board, NOW))
    panel = board.panels["k0"]
    board.queue[1].stage, panel.stage, panel.phase = panel.stage, None, Phase.EMPTY
    assert not any("ended" in line for line in lines.news(board, NOW))


def test_the_last_lines_tell_everything() -> None:
    text = "\n".join(last_lines(busy_board(2, NOW), NOW))
    for word in (
        "12 media done",
        "#1 DISC_001",
        "#12 DISC_012",
        "DISC_014: not finished",
        "sr1: reading BACKUP_1",
        "24.0",
    ):
        assert word in text, word


def test_the_bell_rings_once_when_done_and_twice_for_a_problem() -> None:
    board, bells = busy_board(1, NOW), Bells()

    def rung() -> int:
        return sum(bells.ring(board) for _ in range(4))

    assert rung() == 0
    board.finished.append(Finished(13, "DISC", "", Verdict.COMPLETE, "", 0.0, 0.0))
    assert rung() == 1
    board.finished = [*board.finished[-3:], Finished(14, "DISC", "", Verdict.PROBLEMS, "", 0.0, 0.0)]
    assert rung() == 2
    board.panels["k0"].phase = Phase.PARKED
    assert rung() == 2
    assert rung() == 0
