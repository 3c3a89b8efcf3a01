"""Bytes to keys, keys to wishes: whatever is cut where, and whatever is typed when."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_boards import busy_board, drive

from ntt.board import Board, Command, Panel, Phase, Wish
from ntt.live.desk import Desk, Line, Mode, pressed, settled
from ntt.live.keys import BURST_WAIT_S, PASTE_LIMIT, Bursts, Decoder, Key, KeyKind

TYPED = [
    (b"q", [Key(KeyKind.TEXT, "q")]),
    ("é日".encode(), [Key(KeyKind.TEXT, "é"), Key(KeyKind.TEXT, "日")]),
    (b"\r", [Key(KeyKind.ENTER)]),
    (b"\n", [Key(KeyKind.ENTER)]),
    (b"\r\n", [Key(KeyKind.ENTER)]),
    (b"\r\r", [Key(KeyKind.ENTER), Key(KeyKind.ENTER)]),
    (b"\t\x1b[Z", [Key(KeyKind.TAB), Key(KeyKind.BACK_TAB)]),
    (b"\x1b[A\x1bOB\x1b[1;5C\x1b[D", [Key(kind) for kind in (KeyKind.UP, KeyKind.DOWN, KeyKind.RIGHT, KeyKind.LEFT)]),
    (b"\x1b[H\x1b[4~\x1b[3~\x1bOM", [Key(kind) for kind in (KeyKind.HOME, KeyKind.END, KeyKind.DELETE, KeyKind.ENTER)]),
    (b"\x7f\x08", [Key(KeyKind.BACKSPACE), Key(KeyKind.BACKSPACE)]),
    (b"\x15\x17\x0c\x1a", [Key(KeyKind(k)) for k in ("erase line", "erase word", "redraw", "suspend")]),
    (b"\x1bx\x1b[999q\x1b[15~\x00\x02", []),  # Alt with a key, what no key sends, F5, other controls
    (b"\x1b\x1b[A", [Key(KeyKind.ESCAPE), Key(KeyKind.UP)]),
    (b"\x1b[200~17/\x1b[A045\r\nq\x1b[201~p", [Key(KeyKind.PASTE, "17/[A045 q"), Key(KeyKind.TEXT, "p")]),
    (b"\x1b[" + b"1" * 100 + b"Ap", [Key(KeyKind.TEXT, "p")]),
    (b"\xff\xc3", [Key(KeyKind.TEXT, "�")]),
]


@pytest.mark.parametrize(("data", "keys"), TYPED, ids=[str(number) for number in range(len(TYPED))])
def test_bytes_become_keys_wherever_they_are_cut(data: bytes, keys: list[Key]) -> None:
    assert Decoder().feed(data) == keys
    byte_by_byte = Decoder()
    assert [key for at in range(len(data)) for key in byte_by_byte.feed(data[at : at + 1])] == keys


def test_an_escape_alone_waits_for_more_and_is_then_a_key() -> None:
    decoder = Decoder()
    assert decoder.feed(b"\x1b") == []
    assert decoder.wait_s is not None
    assert decoder.expired() == [Key(KeyKind.ESCAPE)]
    assert decoder.wait_s is None
    assert decoder.feed(b"[A") == [Key(KeyKind.TEXT, "["), Key(KeyKind.TEXT, "A")]


def test_a_paste_without_an_end_is_given_back_and_swallows_nothing() -> None:
    decoder = Decoder()
    decoder.feed(b"\x1b[200~abc" + b"d" * 3 * PASTE_LIMIT)
    assert decoder.wait_s is not None
    (key,) = decoder.expired()
    assert key.kind is KeyKind.PASTE
    assert len(key.text) == PASTE_LIMIT
    assert decoder.feed(b"p") == [Key(KeyKind.TEXT, "p")]


def test_a_paste_that_is_too_long_still_ends() -> None:
    keys = Decoder().feed(b"\x1b[200~" + b"d" * 3 * PASTE_LIMIT + b"\x1b[201~p")
    assert [(key.kind, len(key.text)) for key in keys] == [(KeyKind.PASTE, PASTE_LIMIT), (KeyKind.TEXT, 1)]


@given(st.lists(st.binary(max_size=12), max_size=12))
def test_no_bytes_make_a_key_that_could_control_a_terminal(pieces: list[bytes]) -> None:
    decoder = Decoder()
    keys = [key for piece in pieces for key in decoder.feed(piece)] + decoder.expired()
    assert all(key.text.isprintable() for key in keys)
    assert decoder.wait_s is None


def test_what_a_scanner_types_is_one_burst_and_fingers_are_single_keys() -> None:
    bursts, fast, slow = Bursts(), 0.004, BURST_WAIT_S * 2
    scanned = [Key(KeyKind.TEXT, c) for c in "SPEQ"]
    got = [made for at, key in enumerate(scanned) for made in bursts.feed([key], at * fast)]
    got += bursts.feed([Key(KeyKind.ENTER)], 4 * fast)
    assert got == [Key(KeyKind.PASTE, "SPEQ"), Key(KeyKind.ENTER)]
    typed = [made for at, key in enumerate(scanned) for made in bursts.feed([key], 10 + at * slow)]
    typed += bursts.expired(20.0)
    assert typed == scanned
    assert bursts.wait_s(20.0) is None


def test_one_character_with_its_enter_is_a_scan_too() -> None:
    assert Bursts().feed([Key(KeyKind.TEXT, "q"), Key(KeyKind.ENTER)], 1.0)[0] == Key(KeyKind.PASTE, "q")


# ---------------------------------------------------------------- wishes


def typed(text: str) -> list[Key]:
    return [Key(KeyKind.TEXT, character) for character in text]


def after(board: Board, keys: list[Key], desk: Desk | None = None) -> tuple[Desk, list[Command]]:
    desk, wishes = settled(desk or Desk(), board), []
    for key in keys:
        desk, commands = pressed(desk, board, key)
        wishes += commands
    return settled(desk, board), wishes


def board_of(*phases: Phase) -> Board:
    panels = {f"k{at}": Panel(drive(at), phase, "DISC", "old") for at, phase in enumerate(phases)}
    return Board(panels=panels)


WISHES = [
    (Phase.READING, "p", [Command(Wish.PAUSE, "k0")]),
    (Phase.PAUSED, "p", [Command(Wish.PAUSE, "k0")]),
    (Phase.EMPTY, "p", []),
    (Phase.READING, "s", [Command(Wish.ENOUGH, "k0")]),
    (Phase.WORKING, "s", []),
    (Phase.READING, "e", []),
    (Phase.READING, "ey", [Command(Wish.EJECT, "k0")]),
    (Phase.READING, "en", []),
    (Phase.READING, "ee", []),
    (Phase.WORKING, "ey", [Command(Wish.EJECT, "k0")]),
    (Phase.PARKED, "e", [Command(Wish.EJECT, "k0")]),
    (Phase.EMPTY, "e", [Command(Wish.EJECT, "k0")]),
    (Phase.REFUSED, "e", []),
    (Phase.EJECTING, "e", []),
    (Phase.EMPTY, "l", []),
    (Phase.READING, "q", [Command(Wish.QUIT)]),
    (Phase.READING, "qq", [Command(Wish.QUIT), Command(Wish.QUIT)]),
    (Phase.READING, "?qp", [Command(Wish.PAUSE, "k0")]),  # the first key leaves the help
    (Phase.READING, "xyz", []),
]


@pytest.mark.parametrize(("phase", "keys", "wishes"), WISHES)
def test_a_key_wishes_only_what_the_drive_allows(phase: Phase, keys: str, wishes: list[Command]) -> None:
    assert after(board_of(phase), typed(keys))[1] == wishes


def test_digits_tab_and_arrows_choose_the_drive() -> None:
    board = board_of(Phase.READING, Phase.READING, Phase.READING)
    chosen = [
        after(board, keys)[0].selected
        for keys in (typed("3"), typed("9"), [Key(KeyKind.TAB)], [Key(KeyKind.UP)], [Key(KeyKind.DOWN)] * 4)
    ]
    assert chosen == ["k2", "k0", "k1", "k2", "k1"]


def test_a_question_is_void_when_the_drive_holds_something_else_by_then() -> None:
    board = board_of(Phase.READING)
    desk, _ = after(board, typed("e"))
    assert desk.mode is Mode.CONFIRM
    board.panels["k0"].medium = "ANOTHER"
    assert after(board, typed("y"), desk)[1] == []


def test_a_label_is_edited_on_one_line_and_kept_with_enter() -> None:
    board = board_of(Phase.READING)
    keys = [
        *typed("l"),
        Key(KeyKind.ERASE_LINE),
        *typed("abd"),
        Key(KeyKind.LEFT),
        *typed("c"),
        Key(KeyKind.END),
        Key(KeyKind.PASTE, "  e q"),
        Key(KeyKind.ENTER),
    ]
    desk, wishes = after(board, keys)
    assert wishes == [Command(Wish.LABEL, "k0", "abcd  e q")]
    assert desk.mode is Mode.KEYS


def test_esc_leaves_the_label_as_it_was() -> None:
    desk, wishes = after(board_of(Phase.READING), [*typed("lxyz"), Key(KeyKind.ESCAPE)])
    assert (desk.mode, wishes) == (Mode.KEYS, [])


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (KeyKind.BACKSPACE, Line("one twothree", 7)),
        (KeyKind.DELETE, Line("one two hree", 8)),
        (KeyKind.HOME, Line("one two three", 0)),
        (KeyKind.END, Line("one two three", 13)),
        (KeyKind.RIGHT, Line("one two three", 9)),
        (KeyKind.ERASE_WORD, Line("one three", 4)),
        (KeyKind.ERASE_LINE, Line()),
    ],
)
def test_a_line_can_be_edited_anywhere(kind: KeyKind, line: Line) -> None:
    assert Line("one two three", 8).edited(kind) == line


def test_scans_go_to_the_drives_that_ask_one_after_the_other() -> None:
    board = board_of(Phase.READING, Phase.ASKING, Phase.ASKING)
    scan = [Key(KeyKind.PASTE, "SPEQ1"), Key(KeyKind.ENTER)]
    desk, wishes = after(board, scan * 3)  # the board has taken none of them yet
    assert wishes == [Command(Wish.LABEL, "k1", "SPEQ1"), Command(Wish.LABEL, "k2", "SPEQ1")]
    assert desk.selected == "k0"
    board.panels["k1"].phase = Phase.READING
    board.panels["k2"].phase = Phase.READING
    desk, _ = after(board, [], desk)
    board.panels["k1"].phase = Phase.ASKING  # its next medium
    assert after(board, scan, desk)[1] == [Command(Wish.LABEL, "k1", "SPEQ1")]


def test_a_scan_while_no_drive_asks_is_no_command() -> None:
    desk, wishes = after(
        board_of(Phase.READING), [Key(KeyKind.TEXT, "speq1"), Key(KeyKind.PASTE, "q"), Key(KeyKind.ENTER)]
    )
    assert wishes == []
    assert "press l" in desk.message


def test_enter_alone_answers_that_there_is_no_label_and_esc_gives_the_keys_back() -> None:
    board = board_of(Phase.ASKING)
    assert after(board, [Key(KeyKind.ENTER)])[1] == [Command(Wish.LABEL, "k0", "")]
    desk, wishes = after(board, [Key(KeyKind.ESCAPE), *typed("q")])
    assert wishes == [Command(Wish.QUIT)]
    assert after(board, [*typed("l"), Key(KeyKind.ERASE_LINE), *typed("7"), Key(KeyKind.ENTER)], desk)[1] == [
        Command(Wish.LABEL, "k0", "7")
    ]


def test_a_label_is_for_the_chosen_drive_if_it_asks_and_is_not_moved_while_it_is_typed() -> None:
    board = board_of(Phase.ASKING, Phase.ASKING)
    desk, _ = after(board, [Key(KeyKind.TAB)])
    assert desk.drive == "k1"
    assert after(board, [*typed("a"), Key(KeyKind.TAB), Key(KeyKind.ENTER)], desk)[1] == [
        Command(Wish.LABEL, "k1", "a")
    ]


def test_the_label_of_a_medium_that_is_gone_goes_to_no_other() -> None:
    board = board_of(Phase.ASKING)
    desk, _ = after(board, typed("12"))
    board.panels["k0"].phase = Phase.EMPTY
    desk, wishes = after(board, [*typed("3"), Key(KeyKind.ENTER)], desk)
    assert wishes == []
    del board.panels["k0"]
    assert after(board, typed("ep"), desk)[1] == []


def test_a_line_has_an_end() -> None:
    desk, _ = after(board_of(Phase.ASKING), [Key(KeyKind.PASTE, "x" * 5000)])
    assert len(desk.line.text) == 200


def test_ctrl_z_stops_nothing_and_says_so() -> None:
    desk, wishes = after(busy_board(1, 0.0), [Key(KeyKind.SUSPEND)])
    assert wishes == []
    assert "Ctrl-Z" in desk.message
    assert replace(desk, message="") == after(busy_board(1, 0.0), [])[0]
